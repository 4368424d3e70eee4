"""The examples of docs/protocol.md are recomputed: a stranger can check an implementation against them."""

import hashlib
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwire.client.exchange import Incoming, Proven
from sealwire.client.proving import Asked, prove
from sealwire.client.session import Session, _read
from sealwire.errors import TABLE
from sealwire.protocol import apikey, envelope, profile, ratelimit, strictjson
from sealwire.protocol.digest import content_digest
from sealwire.protocol.handshake import KeyPair, Terms
from sealwire.protocol.jwk import Signer, b64url, read_jwk, unb64url, verifier_of
from sealwire.protocol.message import Request, read_authority, read_head, read_target
from sealwire.protocol.signature import sign_hmac, signer_of

PAGE = Path(__file__).parents[1].joinpath("docs/protocol.md").read_text("utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^```text ([a-z.]+)\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE))
_LIMITS = ((600, "key"), (1200, "address"))
RECEIVED_HEAD = re.compile(r"([A-Za-z-]+): (.*)")


def fields_of(head: list[str]) -> list[tuple[bytes, bytes]]:
    found = [RECEIVED_HEAD.fullmatch(line) for line in head]
    return [(line[1].encode(), line[2].encode()) for line in found if line]


def request_of(name: str) -> tuple[Request, bytes]:
    """The example's request as a server reads it, and its body."""
    head, _, body = EXAMPLES[name].partition("\n\n")
    first, *lines = head.split("\n")
    method, target, _ = first.split(" ")
    headers, fields = read_head(fields_of(lines))
    read = read_target(target.encode())
    authority = read_authority(fields[b"host"], frozenset(("api.example",)))
    assert int(fields.get(b"content-length", b"0")) == len(body)
    assert fields.get(b"content-digest") == (content_digest(body.encode()) if body else None)
    path, query = read.path, read.query
    request = Request(method, target.encode(), authority, path, query, read.decoded, headers, fields)
    return request, body.encode()


def private_of(name: str) -> tuple[Ed25519PrivateKey, Signer]:
    """The example's key, whose thumbprint is the one that stands beside the seed."""
    found = re.fullmatch(r"seed ([0-9a-f]{64})\nkeyid (\S+)", EXAMPLES[name])
    assert found is not None
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(found[1]))
    signer = signer_of(private)
    assert signer.keyid == found[2]
    return private, signer


def signed_call(name: str = "call.request") -> tuple[Request, profile.Claim]:
    request, _ = request_of(name)
    return request, profile.claim(request, profile.TAG, profile.Plans())


def proven(name: str, asked: str, session: Session | None = None) -> Proven:
    """The example's reply, as our client takes it for the answer to the example `asked`."""
    head, _, body = EXAMPLES[name].partition("\n\n")
    first, *lines = head.split("\n")
    request, claim = signed_call(asked)
    private, signer = private_of("reply.key")
    trusted = {signer.keyid: verifier_of(private.public_key())}
    secret = {} if session is None else {session.id: session.keys.s2c_mac}
    reply = Incoming(int(first.split(" ")[1]), tuple(fields_of(lines)), body.encode())
    return prove(reply, Asked(request, (claim,)), lambda keyid, _: trusted.get(keyid) or secret.get(keyid))


def listed(name: str) -> dict[str, str]:
    """The lines of an example that are a name and a value each."""
    return dict(line.rsplit(" ", 1) for line in EXAMPLES[name].split("\n"))


def key_pair(name: str, kem: str) -> KeyPair:
    """The example's key pair: its private key is the one that stands there, and so is what follows from it."""
    found, pair = listed(name), KeyPair(kem)
    raw = bytes.fromhex(found["private"])
    if kem == "X25519":
        pair._private = x25519 = X25519PrivateKey.from_private_bytes(raw)
        public = x25519.public_key().public_bytes_raw()
    else:
        pair._private = curve = derive_private_key(int.from_bytes(raw, "big"), SECP256R1())
        public = curve.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert found["public_key"] == b64url(public)
    return pair


def session(kind: str = "session") -> Session:
    """The session of an example as our client reads it from the answer: its commitment holds."""
    kem = {"session": "X25519", "curve": "P-256"}[kind]
    if kind == "session":
        request, body = request_of("session.request")
        nonce = profile.claim(request, profile.TAG, profile.Plans()).nonce
        answer = proven("session.response", "session.request").body
    else:
        body, answer = EXAMPLES["curve.request"].encode(), EXAMPLES["curve.response"].encode()
        nonce = EXAMPLES["curve.context"].split("\n")[6]
    asked = Terms("api.example", private_of("call.key")[1].keyid, kem, "", hashlib.sha256(body).digest(), nonce, 0, 0)
    return _read(answer, key_pair(f"{kind}.key", kem), asked)


def test_the_signed_call() -> None:
    """The base is the one we build, the signature that of the seed, the digest that of the body."""
    private, signer = private_of("call.key")
    request, claim = signed_call()
    base = profile.build_base(claim, request).decode()
    assert base == EXAMPLES["call.base"]
    assert claim.keyid == signer.keyid
    assert claim.signature == private.sign(base.encode())


def test_the_two_signatures_of_an_enrolment() -> None:
    """Both bases are those we build; the new key made the one signature, the invitation's secret the other."""
    private, signer = private_of("enrolment.key")
    request, body = request_of("enrolment.request")
    offered = strictjson.read(body)
    assert isinstance(offered, dict)
    assert read_jwk(offered["key"]).keyid == signer.keyid

    possession = profile.claim(request, profile.TAG_POSSESSION, profile.Plans())
    base = profile.build_base(possession, request)
    assert base.decode() == EXAMPLES["enrolment.possession"]
    assert possession.keyid == signer.keyid
    assert possession.signature == private.sign(base)

    prefix, secret, pin = EXAMPLES["enrolment.invitation"].split(".")
    claim = profile.claim(request, profile.TAG_INVITATION, profile.Plans(), possession=possession.label)
    base = profile.build_base(claim, request)
    assert base.decode() == EXAMPLES["enrolment.authorising"]
    assert claim.keyid == prefix.partition("_inv_")[2]
    assert claim.signature == sign_hmac(hashlib.sha256(secret.encode()).digest(), base)
    assert (claim.created, claim.expires) == (possession.created, possession.expires)
    assert pin == private_of("reply.key")[1].keyid


def test_the_signed_reply() -> None:
    """Our client takes the reply as the answer to the signed call, and the server's seed made its signature."""
    private, _ = private_of("reply.key")
    found = proven("reply.response", "call.request")
    assert found.base.decode() == EXAMPLES["reply.base"]
    assert found.signature == private.sign(found.base)


@pytest.mark.parametrize("kind", ["session", "curve"])
def test_the_sessions(kind: str) -> None:
    """
    The private key opens what was sealed to it; context, salt, keys and commitment follow as the page says, by the
    library's HKDF alone.
    """
    opened, lines, shown = session(kind), EXAMPLES[f"{kind}.context"].split("\n"), listed(f"{kind}.keys")
    body = EXAMPLES["curve.request"].encode() if kind == "curve" else request_of("session.request")[1]
    answer = strictjson.read(EXAMPLES[f"{kind}.response"].rpartition("\n")[2].encode())
    offered = strictjson.read(body)
    assert isinstance(answer, dict)
    assert offered == {"kem": opened.kem, "public_key": listed(f"{kind}.key")["public_key"]}
    assert (lines[0], lines[1], len(lines)) == ("sealwire session 1", "api.example", 9)
    assert lines[2:6] == [private_of("call.key")[1].keyid, opened.kem, opened.id, b64url(hashlib.sha256(body).digest())]
    assert lines[7:] == [str(opened.expires_at), str(opened.max_requests)]

    context = EXAMPLES[f"{kind}.context"].encode()
    secret = key_pair(f"{kind}.key", opened.kem).open(unb64url(str(answer["sealed_key"])), context)
    assert secret.hex() == shown.pop("secret")
    salt = bytes.fromhex(shown.pop("salt"))
    assert salt == hashlib.sha256(context).digest()
    derived = {name: HKDF(SHA256(), 32, salt, f"sealwire {name}".encode()).derive(secret).hex() for name in shown}
    assert shown == derived
    assert list(shown) == ["c2s key", "s2c key", "c2s mac", "s2c mac", "commitment"]
    assert b64url(bytes.fromhex(shown["commitment"])) == answer["commitment"]
    assert (opened.keys.c2s_mac.hex(), opened.keys.s2c_mac.hex()) == (shown["c2s mac"], shown["s2c mac"])


def test_a_session_is_opened_by_the_client_s_key() -> None:
    """The request is the client's, the answer the server's, and both bind the key pair."""
    request, claim = signed_call("session.request")
    assert claim.signature == private_of("call.key")[0].sign(profile.build_base(claim, request))
    assert EXAMPLES["session.context"].split("\n")[6] == claim.nonce
    found = proven("session.response", "session.request")
    assert (found.status, found.keyid) == (201, private_of("reply.key")[1].keyid)
    assert found.signature == private_of("reply.key")[0].sign(found.base)


def test_the_sealed_call() -> None:
    """Header, IV and content give the body, by the page's keys; the client's key signed it; its reply opens."""
    header, iv, content = (line.partition(" ")[2] for line in EXAMPLES["sealed.plaintext"].split("\n"))
    protected = b64url(header.encode()).encode()
    key = AESGCM(bytes.fromhex(listed("session.keys")["c2s key"]))
    request, body = request_of("sealed.request")
    assert body == envelope.seal(key, protected, bytes.fromhex(iv), content.encode())
    found = envelope.read(body, envelope.Headers())
    assert found.header == (session().id, "application/json")
    assert envelope.open_sealed(found, session().keys.c2s) == content.encode()

    claim = profile.claim(request, profile.TAG, profile.Plans())
    assert claim.signature == private_of("call.key")[0].sign(profile.build_base(claim, request))
    answer = proven("sealed.response", "sealed.request")
    assert answer.signature == private_of("reply.key")[0].sign(answer.base)
    assert opened(answer) == EXAMPLES["sealed.opened"]


def test_the_call_that_the_session_signs() -> None:
    """Both signatures are the session's, each with its direction's key; nothing else vouches for either."""
    keys = {name: bytes.fromhex(value) for name, value in listed("session.keys").items()}
    request, claim = signed_call("mac.request")
    assert claim.signature == sign_hmac(keys["c2s mac"], profile.build_base(claim, request))
    assert claim.keyid == request.fields[b"sealwire-session"].decode() == session().id
    answer = proven("mac.response", "mac.request", session())
    assert (answer.keyid, answer.signature) == (session().id, sign_hmac(keys["s2c mac"], answer.base))
    assert opened(answer) == EXAMPLES["mac.opened"]


def opened(answer: Proven) -> str:
    """Media type and content of a sealed answer, by the key of the page."""
    found = envelope.read(answer.body, envelope.Headers())
    assert dict(answer.headers)[b"content-type"] == envelope.MEDIA_TYPE
    assert found.header.session == session().id
    key = AESGCM(bytes.fromhex(listed("session.keys")["s2c key"]))
    return f"{found.header.content_type}\n{envelope.open_sealed(found, key).decode()}"


def test_the_api_key_is_whole() -> None:
    """It has the form and the checksum that the page tells, and is that of the bytes 0 to 31."""
    request, body = request_of("bearer.request")
    sent = apikey.presented(request.fields[b"authorization"])
    assert (sent.decode(), body) == (apikey.write("live", bytes(range(32))), b"")
    assert apikey.is_whole(sent)


def test_the_fields_of_limits() -> None:
    """What the first call of two whole limits is answered."""
    spent = [ratelimit.charge(ratelimit.Limit(quota, 60, kind), 0, 1e6)[1] for quota, kind in _LIMITS]
    made = ratelimit.fields(tuple(spent))
    written = [(name.lower(), value) for name, value in fields_of(EXAMPLES["limits.fields"].split("\n"))]
    assert written == list(made)


def test_every_example_is_recomputed() -> None:
    """No example stands in the page that no test here looks at."""
    assert set(EXAMPLES) == {
        "call.key", "call.request", "call.base", "reply.key", "reply.response", "reply.base",
        "enrolment.key", "enrolment.invitation", "enrolment.request", "enrolment.possession", "enrolment.authorising",
        "session.key", "session.request", "session.response", "session.context", "session.keys",
        "curve.key", "curve.request", "curve.response", "curve.context", "curve.keys",
        "sealed.plaintext", "sealed.request", "sealed.response", "sealed.opened",
        "mac.request", "mac.response", "mac.opened", "bearer.request", "limits.fields",
    }  # fmt: skip
    assert PAGE.count("```") == 2 * len(EXAMPLES)


def test_the_sections_are_those_that_the_code_cites() -> None:
    """The docstrings name these sections."""
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == [
        "Transport", "The request target and the head", "The request signature", "The window", "Server nonces",
        "Enrolment, rotation, revocation", "Replies", "The session", "Sealed bodies", "Discovery", "Saying no",
        "API keys", "Limits", "Idempotency", "Approvals",
    ]  # fmt: skip


def test_every_slug_stands_in_the_table() -> None:
    """The table of slugs is that of the code, with its statuses and what can be repeated."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (yes)?", PAGE, re.MULTILINE)
    assert rows == [(slug, str(row.status), "yes" if row.retryable else "") for slug, row in TABLE.items()]
