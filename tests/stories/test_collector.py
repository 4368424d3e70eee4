"""
A collector keeps all traffic now and gets hold of files and keys later.

It terminates TLS before a real server, with a certificate that the clients trust, so it has each byte of each message;
it has the database, its WAL and a backup; in the end it has the signing keys of both ends. `collecting.opened` is what
it does with them.
"""

import hashlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

import sealwire.client.session
from sealwire.protocol import envelope
from sealwire.protocol.handshake import KEMS, KeyPair, Offer
from sealwire.protocol.jwk import b64url
from tests.stories import collecting
from tests.stories.collecting import Hoard, opened
from tests.stories.markers import marker
from tests.stories.passage import Passage, passing, trusts
from tests.stories.talkative import answer_to
from tests.stories.terminator import Passed

pytestmark = pytest.mark.xdist_group("server")
#: A client on each kem, whose own key is of the same kind as the kem's, where there is one.
CLIENTS = {
    "X25519": "ed25519",
    "P-256": "ecdsa-p256-sha256",
    "RSA-OAEP-256": "rsa-pss-sha512",
    "MLKEM768-X25519": "ml-dsa-65",
}
LABELS = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac")
#: Of one client: an order, sent twice, a quote by the session's own key, an order that is read, one that is refused by
#: the guard and one by the app.
CALLS = 6
REFUSED = b'{"word": "%s", "word": "again"}'


class Remembered(KeyPair):
    """The client's pair, which it drops; here it is handed to an attacker."""

    __slots__ = ()
    made: ClassVar[list[KeyPair]] = []  # all of them, wherever they are made

    def __init__(self, kem: str) -> None:
        super().__init__(kem)
        self.made.append(self)


class Client:
    """One client after its calls: its credential, what went out and came back in its session, the session's secret."""

    def __init__(self, passage: Passage, kem: str, algorithm: str) -> None:
        self.kem = kem
        self.credential = passage.enrolled(algorithm, algorithm)
        self.pem = self.credential.key.reveal()
        self.passed: list[Passed] = []  # its own exchanges, when all is over
        before = len(Remembered.made)
        with passage.client(self.credential, kem) as http:
            self.plaintexts = self._call(http)
            ((self.session, self.secret),) = passage.secrets().items()
        (self.pair,) = Remembered.made[before:]

    def _call(self, http: httpx2.Client) -> list[bytes]:
        plaintexts = []
        order, quote, named, refused = (marker() for _ in range(4))
        for path, body, status in (
            ("/v1/orders", {"word": order}, 200),
            ("/v1/orders", {"word": order}, 200),
            ("/v1/quotes", {"word": quote}, 200),
            ("/v1/orders", {"word": refused, "do": "refuse"}, 409),
        ):
            content = json.dumps(body).encode()
            headers = {"content-type": "application/json", "idempotency-key": f"{body['word']}-key"}
            reply = http.post(path, content=content, headers=headers)
            assert (reply.status_code, reply.json()["detail"]) == (status, answer_to(body["word"]))
            plaintexts += [content, reply.content]
        reply = http.get(f"/v1/orders/{named}")
        assert reply.json()["detail"] == answer_to(named)
        twice = http.post("/v1/orders", content=REFUSED % order.encode(), headers={"content-type": "application/json"})
        assert (twice.status_code, twice.json()["code"]) == (422, "request-invalid")
        return [*plaintexts, reply.content, REFUSED % order.encode(), twice.content]

    def keys(self) -> list[bytes]:
        """The secret and each key made of it."""
        (handshake,) = (one for one in collecting._handshakes(Hoard(self.passed)) if one.session == self.session)
        salt = hashlib.sha256(handshake.context).digest()
        return [self.secret, *(collecting._hkdf(self.secret, salt, b"sealwire " + label) for label in LABELS)]


class Collected:
    """What the collector has when all is over, and the clients whose it was."""

    def __init__(self, passage: Passage, copies: Path) -> None:
        self.clients = [Client(passage, kem, algorithm) for kem, algorithm in CLIENTS.items()]
        passage.copy(copies)
        self.exchanges = passage.terminator.passed()
        self.versions = {version for one in passage.terminator.connections for version in one.versions}
        for client in self.clients:
            names = (client.session.encode(), client.credential.signer.keyid.encode())
            client.passed = [
                one for one in self.exchanges if any(name in one.field(b"signature-input") for name in names)
            ]
        self.live, self.backup = copies / "sealwire.db", copies / "backup.db"
        # As they were: whoever opens a copy takes its WAL into it.
        self.files = tuple(file.read_bytes() for file in (self.live, copies / "sealwire.db-wal", self.backup))
        read = {name: (passage.state.folder / name).read_bytes() for name in ("keys/signing.pem", "tls/key.pem")}
        self.of_the_server = (*read.values(), (passage.front.folder / "tls" / "key.pem").read_bytes())
        self.wrapping = (passage.state.folder / "keys" / "wrapping.key").read_bytes()
        self.invitations = [one.encode() for one in passage.invitations]

    def hoard(self, *keys: bytes) -> Hoard:
        """All traffic, the database as it is, its WAL, a backup, and these keys."""
        return Hoard(self.exchanges, (self.live, self.backup), self.files, keys)

    def all_keys(self) -> list[bytes]:
        """The signing keys of both ends, and what else lay beside them: TLS keys, invitations."""
        return [*self.of_the_server, *self.invitations, *(client.pem for client in self.clients)]


@pytest.fixture(scope="module")
def passage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Passage]:
    """A deployment with a terminator before it."""
    with passing(tmp_path_factory.mktemp("passage")) as made:
        yield made


@pytest.fixture(scope="module")
def collected(passage: Passage, tmp_path_factory: pytest.TempPathFactory) -> Collected:
    """After the calls of all clients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealwire.client.session, "KeyPair", Remembered)
        return Collected(passage, tmp_path_factory.mktemp("copied") / "copies")


def test_the_collector_stands_between(passage: Passage, collected: Collected) -> None:
    """
    F22: what it has is all there is: it ends the clients' TLS 1.3 and begins the server's, each call passed through it,
    and no client would talk to the server past it.

    Stopped by: nothing
    """
    assert collected.versions == {"TLSv1.3"}
    assert sorted(CLIENTS) == sorted(KEMS)
    for client in collected.clients:
        calls = [one for one in client.passed if one.path().startswith("/v1/")]
        assert [one.status for one in calls] == [200, 200, 200, 409, 200, 422]
        assert all(one.reply_fields and one.field(b"host").decode() in passage.state.origin for one in calls)
        with httpx2.Client(verify=trusts(client.credential)) as http, pytest.raises(httpx2.ConnectError) as caught:
            http.get(f"{passage.url}/v1/time")
        assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)


def test_what_was_collected_opens_nothing(collected: Collected) -> None:
    """
    F22: all traffic, database, WAL and backup, and later the signing keys of both ends, each in every role: nothing.

    Stopped by: sessions
    """
    hoard = collected.hoard(*collected.all_keys())
    # 11 sealed bodies a client, since one of its six calls has none; the enrolments and the handshakes, too.
    assert len(list(collecting._bodies(hoard))) == (2 * CALLS - 1) * len(CLIENTS)
    assert len(list(collecting._handshakes(hoard))) == len(CLIENTS)
    assert len(list(collecting._macs(hoard))) == len(CLIENTS)
    assert opened(hoard) == []


def test_the_sessions_secret_opens_it(collected: Collected) -> None:
    """
    F22: the same search, handed the secret of one session and another's traffic beside it: each body of that session
    opens, and its calls could be forged.

    Stopped by: nothing
    """
    for client, other in zip(collected.clients, collected.clients[1:] + collected.clients[:1], strict=True):
        found = opened(Hoard(client.passed + other.passed, keys=(client.secret,)))
        assert sorted(one for one in found if not one.startswith(b"forged")) == sorted(client.plaintexts)
        (forged,) = (one for one in found if one.startswith(b"forged"))
        assert client.session.encode() in forged


def test_all_secrets_open_all_of_it(collected: Collected) -> None:
    """
    F22: the same search over the same hoard, handed the secret of every session: every body that passed.

    Stopped by: nothing
    """
    found = opened(collected.hoard(*collected.all_keys(), *(client.secret for client in collected.clients)))
    plaintexts = [one for client in collected.clients for one in client.plaintexts]
    assert sorted(one for one in found if not one.startswith(b"forged")) == sorted(plaintexts)


def test_each_role_is_tried(collected: Collected) -> None:
    """
    F22: the same search, handed one key of each kind: it opens what that key opens.

    Stopped by: nothing
    """
    client = collected.clients[0]
    bare = Hoard(client.passed)
    _, c2s, s2c, c2s_mac, _ = client.keys()
    quoted = client.plaintexts[5]
    asked = [one for one in client.plaintexts if b'"word"' in one]
    assert sorted(opened(bare._replace(keys=(c2s,)))) == sorted(asked)
    answers = opened(bare._replace(keys=(s2c,)))
    assert quoted in answers
    assert sorted(asked + answers) == sorted(client.plaintexts)
    (forged,) = opened(bare._replace(keys=(c2s_mac,)))
    assert forged.startswith(b'forged "@method": POST')
    # Somewhere within a file, as the secret or as one of the keys.
    for key, count in (
        (client.secret, len(client.plaintexts) + 1),
        (c2s, len(asked)),
        (s2c, len(answers)),
        (c2s_mac, 1),
    ):
        assert len(opened(bare._replace(files=(b"core dump" + key + b"more",)))) == count
    for one in collected.clients:
        assert one.pair.kem == one.kem
        assert len(opened(Hoard(one.passed, pairs=(one.pair,)))) == len(one.plaintexts) + 1


def test_a_secret_sealed_to_a_signing_key_is_found(collected: Collected) -> None:
    """
    F22: the same search over sessions whose secret was sealed to a key that the client keeps, of each kem's kind: with
    that key all of it opens, which is why the pair is fresh for each session.

    Stopped by: nothing
    """
    for client in collected.clients:
        (handshake,) = collecting._handshakes(Hoard(client.passed))
        lasting = Offer(client.kem, b64url(public_for(client.kem, client.pem)))
        sealed_key = b64url(lasting.seal(client.secret, handshake.context))
        hoard = Hoard(
            [
                one._replace(reply=json.dumps({**json.loads(one.reply), "sealed_key": sealed_key}).encode())
                if one.path().endswith("/sessions")
                else one
                for one in client.passed
            ]
        )
        found = opened(hoard._replace(keys=(client.pem,)))
        assert sorted(one for one in found if not one.startswith(b"forged")) == sorted(client.plaintexts)
        assert opened(hoard) == []


def public_for(kem: str, pem: bytes) -> bytes:
    """The public key of this kem that belongs to the private key of a signature."""
    private = load_pem_private_key(pem, None)
    match private:
        case Ed25519PrivateKey():
            return _on_25519(hashlib.sha512(private.private_bytes_raw()).digest()[:32])
        case MLDSA65PrivateKey():
            seed = private.private_bytes_raw()
            return MLKEM768PrivateKey.from_seed_bytes(seed + seed).public_key().public_bytes_raw() + _on_25519(seed)
        case EllipticCurvePrivateKey():
            return private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert isinstance(private, RSAPrivateKey), kem
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _on_25519(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def test_what_two_keys_agree_on_is_tried(collected: Collected) -> None:
    """
    F22: the same search over a session whose keys come from what a signing key and a fresh one agree on, as is done by
    careless protocols: it opens.

    Stopped by: nothing
    """
    client = collected.clients[0]
    (handshake,) = collecting._handshakes(Hoard(client.passed))
    signing = load_pem_private_key(client.pem, None)
    assert isinstance(signing, Ed25519PrivateKey)
    private = X25519PrivateKey.from_private_bytes(hashlib.sha512(signing.private_bytes_raw()).digest()[:32])
    agreed = private.exchange(X25519PublicKey.from_public_bytes(handshake.sealed_key[:32]))
    derived = collecting._hkdf(agreed, hashlib.sha256(handshake.context).digest(), b"sealwire c2s key")
    for key in (agreed, derived):
        body = envelope.seal(AESGCM(key), envelope.protect(client.session, "text/plain"), bytes(12), b"agreed")
        careless = [one._replace(body=body) if _header_of(one) else one for one in client.passed]
        hoard = Hoard(careless, keys=(client.pem,))
        assert opened(hoard) == [b"agreed"] * (CALLS - 1)
        assert opened(hoard._replace(keys=())) == []


def test_the_wrapping_key_opens_what_is_kept_for_repeats(collected: Collected) -> None:
    """
    F22: the same search, handed the key home's wrapping key and the backup: the answers of 24 hours, and no traffic.

    Stopped by: sessions
    """
    keys = (*collected.all_keys(), collected.wrapping)
    found = opened(Hoard(collected.clients[0].passed, (collected.backup,), keys=keys))
    heads = [one.partition(b"\n") for one in found]
    assert all(json.loads(head)[0] in (200, 409) for head, _, _ in heads)
    # The order, which was asked for twice and kept once, the quote, and the app's own refusal.
    kept = [client.plaintexts[at] for client in collected.clients for at in (1, 5, 7)]
    assert sorted(body for _, _, body in heads) == sorted(kept)


def test_the_fast_store_holds_the_secrets_while_they_live(passage: Passage, tmp_path: Path) -> None:
    """
    F22, F26: the same search, handed the fast store in memory and the key beside it while a session lives: all of it
    opens. There the secrets are, and after the session's end they are not.

    Stopped by: nothing
    """
    credential = passage.enrolled("late")
    with passage.client(credential) as http:
        asked = json.dumps({"word": marker()}).encode()
        headers = {"content-type": "application/json", "idempotency-key": "late"}
        answered = http.post("/v1/orders", content=asked, headers=headers).content
        ((session, secret),) = passage.secrets().items()
        name = json.dumps(session).encode()[1:-1]
        hoard = Hoard([one for one in passage.terminator.passed() if name in one.reply or name in _header_of(one)])
        stolen = hoard._replace(databases=(_copied(passage, tmp_path / "live"),), keys=_fast_key(passage))
        assert sorted(opened(stolen)) == sorted([secret, asked, answered])
    left = hoard._replace(databases=(_copied(passage, tmp_path / "left"),), keys=_fast_key(passage))
    assert opened(left) == []


def _header_of(one: Passed) -> bytes:
    return urlsafe_b64decode(one.body.partition(b".")[0] + b"==") if b"." in one.body else b""


def _copied(passage: Passage, to: Path) -> Path:
    """The fast store's file with its WAL."""
    to.mkdir()
    for name in ("fast.db", "fast.db-wal"):
        (to / name).write_bytes((passage.fast.parent / name).read_bytes())
    return to / "fast.db"


def _fast_key(passage: Passage) -> tuple[bytes]:
    return ((passage.fast.parent / "fast.key").read_bytes(),)


def test_one_clients_keys_against_anothers_traffic(collected: Collected) -> None:
    """
    F22: a client with all its own keys, secrets and pairs, and the others' traffic: nothing.

    Stopped by: handshake
    """
    for own in collected.clients:
        theirs = [one for client in collected.clients if client is not own for one in client.passed]
        hoard = Hoard(theirs, keys=(own.pem, *own.keys()), pairs=(own.pair,))
        assert len(list(collecting._bodies(hoard))) == (2 * CALLS - 1) * (len(CLIENTS) - 1)
        assert opened(hoard) == []
        assert set(opened(hoard._replace(exchanges=own.passed))) >= set(own.plaintexts)
