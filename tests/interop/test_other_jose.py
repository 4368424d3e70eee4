"""Our compact JWE, written by hand, against two libraries that know all of RFC 7516: joserfc, and jose in Node."""

import itertools
import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from sealwire.errors import Refusal
from sealwire.protocol import envelope
from sealwire.protocol.jwk import b64url, unb64url
from tests.interop.oracle import opinions

KEY = bytes(range(32))
SESSION = "ses_01jzzzzzzzzzzzzzzzzzzzzzzz"
HEADER = {"alg": "dir", "enc": "A256GCM", "kid": SESSION, "cty": "application/json"}
JOSE = ("dir", "A256GCM")
# Each remainder of base64's groups of three, nothing at all, all bytes, and more than one read of a socket.
PLAINTEXTS = [b"", b"{", b"{}", b'{"a":1}', '{"größe":"½"}'.encode(), bytes(range(256)), bytes(range(256)) * 200]
TYPES = ["application/json", "application/problem+json", "text/plain; charset=utf-8", "application/json;profile=a"]


class Roomy(jwe.JWERegistry):
    """joserfc stops at 64 KiB of ciphertext unless it is told otherwise."""

    max_ciphertext_length = 1 << 20


def ours(plaintext: bytes, content_type: str = "application/json") -> bytes:
    """Sealed by us."""
    return envelope.seal(AESGCM(KEY), envelope.protect(SESSION, content_type), os.urandom(12), plaintext)


def opened(body: bytes) -> tuple[envelope.Header, bytes]:
    """Read and opened by us."""
    found = envelope.read(body, envelope.Headers())
    return found.header, envelope.open_sealed(found, AESGCM(KEY))


def theirs(body: bytes | str) -> jwe.CompactEncryption:
    """Opened by joserfc."""
    return jwe.decrypt_compact(body, OctKey.import_key(KEY), registry=Roomy(algorithms=JOSE))


def damaged(body: bytes) -> list[bytes]:
    """The same body with one bit of IV, ciphertext or tag changed, or the members of its header in another order."""
    parts = body.split(b".")
    changed = []
    for at in (2, 3, 4):
        raw = bytearray(unb64url(parts[at].decode()))
        raw[0] ^= 1
        changed.append(b".".join((*parts[:at], b64url(bytes(raw)).encode(), *parts[at + 1 :])))
    members = ('"alg":"dir"', '"cty":"application/json"', f'"kid":"{SESSION}"', '"enc":"A256GCM"')
    changed.append(b".".join((b64url(f"{{{','.join(members)}}}".encode()).encode(), *parts[1:])))
    return changed


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("plaintext", PLAINTEXTS, ids=len)
def test_joserfc_opens_what_we_seal(plaintext: bytes, content_type: str) -> None:
    found = theirs(ours(plaintext, content_type))
    assert found.plaintext == plaintext
    assert found.protected == {**HEADER, "cty": content_type}


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("plaintext", PLAINTEXTS, ids=len)
def test_we_open_what_joserfc_seals(plaintext: bytes, content_type: str) -> None:
    body = jwe.encrypt_compact({**HEADER, "cty": content_type}, plaintext, OctKey.import_key(KEY), algorithms=JOSE)
    assert opened(body.encode()) == ((SESSION, content_type), plaintext)


def test_the_members_stand_in_any_order() -> None:
    """Whatever order a library writes a header in, it is read to the same values."""
    for order in itertools.permutations(HEADER):
        protected = {name: HEADER[name] for name in order}
        body = jwe.encrypt_compact(protected, b"{}", OctKey.import_key(KEY), algorithms=JOSE)
        assert opened(body.encode()) == ((SESSION, "application/json"), b"{}")


def test_node_opens_what_we_seal() -> None:
    asked = [("decrypt", b64url(KEY), ours(plaintext, kind).decode()) for plaintext in PLAINTEXTS for kind in TYPES]
    due = [[{**HEADER, "cty": kind}, b64url(plaintext)] for plaintext in PLAINTEXTS for kind in TYPES]
    assert opinions(*asked) == due


def test_we_open_what_node_seals() -> None:
    asked = [
        ("encrypt", b64url(KEY), {**HEADER, "cty": kind}, b64url(plaintext))
        for plaintext in PLAINTEXTS
        for kind in TYPES
    ]
    found = [opened(body.encode()) for body in opinions(*asked)]
    assert found == [((SESSION, kind), plaintext) for plaintext in PLAINTEXTS for kind in TYPES]


def test_all_three_refuse_what_was_changed() -> None:
    """IV, ciphertext, tag and header are each held by the tag, wherever the body was sealed."""
    foreign = jwe.encrypt_compact(HEADER, b'{"a":1}', OctKey.import_key(KEY), algorithms=JOSE).encode()
    bodies = [changed for body in (ours(b'{"a":1}'), foreign) for changed in damaged(body)]
    for body in bodies:
        with pytest.raises(Refusal) as refused:
            opened(body)
        assert refused.value.slug == "decrypt-failed"
        with pytest.raises(JoseError):
            theirs(body)
    answers = opinions(*(("decrypt", b64url(KEY), body.decode()) for body in bodies))
    assert answers == [{"refused": "ERR_JWE_DECRYPTION_FAILED"}] * len(bodies)


@pytest.mark.parametrize(
    "header",
    [{"zip": "DEF"}, {"typ": "JOSE"}, {"enc": "A128GCM"}, {"enc": "A256CBC-HS512"}, {"alg": "A256KW"}],
    ids=str,
)
def test_we_take_less_than_the_standard(header: dict[str, str]) -> None:
    """What joserfc seals by another algorithm, compresses, or says more of, is not of the one form."""
    size = {"A128GCM": 16, "A256CBC-HS512": 64}.get(header.get("enc", ""), 32)
    algorithms = ("dir", "A256KW", "A256GCM", "A128GCM", "A256CBC-HS512", "DEF")
    body = jwe.encrypt_compact({**HEADER, **header}, b"{}", OctKey.import_key(bytes(size)), algorithms=algorithms)
    with pytest.raises(Refusal) as refused:
        envelope.read(body.encode(), envelope.Headers())
    assert refused.value.code == "envelope-malformed/header"
