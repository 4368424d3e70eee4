"""What the tests of the stages are made of: a clock that stands, a small signer, a key home, calls with evidence."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.call import Call, Caller, Rule, Session
from sealwire.errors import Fault, Problem
from sealwire.ports import Invitation
from sealwire.ports.people import Notice
from sealwire.protocol import envelope
from sealwire.protocol.handshake import Keys
from sealwire.protocol.jwk import Signer, Verifier, load_verifier
from sealwire.protocol.message import Request, combine, read_target
from sealwire.protocol.signature import signer_of
from sealwire.records import KeyRecord
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger

NOW = 1_790_000_000
NONCE = "AAAAAAAAAAAAAAAAAAAAAA"
OTHER = "BBBBBBBBBBBBBBBBBBBBBB"
BODY = b'{"amount":"1"}'
COVERED = ("@method", "@authority", "@path", "@query")
CALLER = Caller("cli_a", None, frozenset(("orders",)), "key", "signature")
RULE = Rule("/v1/orders", frozenset(("POST", "GET")), "signed")
SEALED = RULE._replace(profile="sealed", session_mac=True)
KEYS = Keys(b"s" * 32, b"context")


def key(seed: int) -> Signer:
    """An Ed25519 key, the same for the same seed."""
    return signer_of(Ed25519PrivateKey.from_private_bytes(bytes((seed,)) * 32))


CLIENT, NEW, SERVER = key(1), key(2), key(3)


SESSION = Session("ses_1", CLIENT.keyid, NOW + 900, 10, KEYS)
#: Who calls in that session.
OWNER = CALLER._replace(key=CLIENT.keyid)


def seal(plaintext: bytes = BODY, content_type: str = "application/json", session: Session = SESSION) -> bytes:
    """A body as its client seals it."""
    protected = envelope.protect(session.id, content_type)
    return envelope.seal(session.keys.c2s, protected, b"i" * 12, plaintext)


class FixedClock:
    """A clock that stands until it is set."""

    def __init__(self, at: float = NOW) -> None:
        self.at = at

    def now(self) -> float:
        """Unix seconds, as set."""
        return self.at

    def monotonic(self) -> float:
        """The same reading."""
        return self.at


def entropy(count: int) -> bytes:
    """Bytes that are not random."""
    return bytes(range(count))


class MadeKeyring:
    """A key home in this process: one signing key, AES-GCM and HMAC under two fixed keys."""

    def __init__(self) -> None:
        self.verifier: Verifier = load_verifier(SERVER.jwk)
        self._aead = AESGCM(b"w" * 32)
        self._wrapped = 0

    async def sign(self, base: bytes) -> bytes:
        """As the port says."""
        return SERVER.sign(base)

    def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """As the port says; the IV counts."""
        self._wrapped += 1
        iv = self._wrapped.to_bytes(12, "big")
        return iv + self._aead.encrypt(iv, plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As the port says."""
        try:
            return self._aead.decrypt(wrapped[:12], wrapped[12:], context)
        except InvalidTag:
            raise Fault("custody-unavailable", "wrap") from None

    def digest(self, data: bytes) -> bytes:
        """As the port says."""
        return hmac.digest(b"d" * 32, data, hashlib.sha256)


class KeptNotices(list[Notice]):
    """Notices that were told, for looking at."""

    def tell(self, notice: Notice) -> None:
        """As the port says."""
        self.append(notice)


class Stores:
    """Fresh stores that began `age` seconds before the clock's reading, with CLIENT's key enrolled where asked."""

    def __init__(self, age: float = 1000, live_nonces: int = 1000) -> None:
        self.clock = FixedClock(NOW - age)
        self.nonces = MemoryNonces(self.clock, entropy, live_nonces)
        self.clock.at = NOW
        self.sessions = MemorySessions(self.clock)
        self.buckets = MemoryBuckets(self.clock)
        self.directory = MemoryDirectory()
        self.ledger = MemoryLedger(self.clock)
        self.approvals = MemoryApprovals(self.clock, self.ledger, self.directory)
        self.apikeys = MemoryApiKeys(self.ledger, self.directory)
        self.keyring = MadeKeyring()

    async def invite(self, name: str, secret: bytes, expires_at: float = NOW + 100) -> None:
        """Keeps an invitation whose HMAC key is `secret`."""
        wrapped = self.keyring.wrap(secret, b"invitation " + name.encode())
        await self.directory.add_invitation(
            Invitation(name, "Acme", "", None, frozenset(("orders",)), (), wrapped, expires_at)
        )

    async def enrol(self, signer: Signer = CLIENT, at: float = NOW - 5000) -> KeyRecord:
        """Enrols the key, and answers its record."""
        await self.invite(f"for-{signer.keyid}", b"s" * 32, at + 1)
        await self.directory.enrol(f"for-{signer.keyid}", load_verifier(signer.jwk), "cli_a", "k", at)
        record = await self.directory.key(signer.keyid)
        assert record is not None
        return record


def record(signer: Signer = CLIENT, **changes: Any) -> KeyRecord:
    """A key record, changed as said."""
    verifier = load_verifier(signer.jwk)
    made = KeyRecord(
        signer.keyid, "cli_a", "Acme", "k", None, frozenset(("orders",)), (), verifier, "active", NOW - 5000, None
    )
    return made._replace(**changes)


def digest_of(body: bytes) -> bytes:
    """The Content-Digest of `body`."""
    return b"sha-256=:" + b64encode(hashlib.sha256(body).digest()) + b":"


def head(
    method: str = "POST", target: bytes = b"/v1/orders", body: bytes = b"", more: Mapping[bytes, bytes | None] = {}
) -> Request:
    """A request's head; with a body its type, length and digest. `more` adds fields, or takes them out with None."""
    fields: dict[bytes, bytes | None] = {b"host": b"api.example"}
    if body:
        fields[b"content-type"] = b"application/json"
        fields[b"content-length"] = b"%d" % len(body)
        fields[b"content-digest"] = digest_of(body)
    return build(method, target, {name: value for name, value in {**fields, **more}.items() if value is not None})


def build(method: str, target: bytes, fields: Mapping[bytes, bytes]) -> Request:
    """A request with exactly these fields."""
    headers = tuple(fields.items())
    read = read_target(target)
    return Request(
        method, target, "api.example", read.path, read.query, read.decoded, headers, combine(headers), slashes=False
    )


def change(request: Request, more: Mapping[bytes, bytes]) -> Request:
    """The same request with these fields set after it was signed."""
    return build(request.method, request.target, {**request.fields, **more})


def sign(
    request: Request,
    signer: Signer = CLIENT,
    *,
    created: int = NOW,
    expires: int | None = None,
    keyid: str | None = None,
    nonce: str = NONCE,
    tag: str = "sealwire",
    label: str = "sig",
    alg: str = "",
    covered: Sequence[str] | None = None,
    bind: str = "",
    secret: bytes = b"",
) -> Request:
    """The request with one more signature (RFC 9421): by `signer`, or by HMAC under `secret`; `bind` a label."""
    if covered is None:
        covered = (*COVERED, *(name.decode() for name in request.fields if name in _WHEN_PRESENT))
    values = {
        "@method": request.method.encode(),
        "@authority": request.authority.encode(),
        "@path": request.path,
        "@query": b"?" + request.query,
        **{name.decode(): value for name, value in request.fields.items()},
    }
    lines = [(f'"{name}"'.encode(), values[name]) for name in covered]
    if bind:
        lines += [
            (f'"{field}";key="{bind}"'.encode(), _member(request.fields[field.encode()], bind))
            for field in ("signature", "signature-input")
        ]
    until = created + 60 if expires is None else expires
    params = f';created={created};expires={until};keyid="{keyid or signer.keyid}";nonce="{nonce}"'
    params += (f';alg="{alg}"' if alg else "") + f';tag="{tag}"'
    said = b"(" + b" ".join(name for name, _ in lines) + b")" + params.encode()
    base = b"\n".join([name + b": " + value for name, value in lines] + [b'"@signature-params": ' + said])
    octets = hmac.digest(secret, base, hashlib.sha256) if secret else signer.sign(base)
    fields = dict(request.fields)
    for field, value in ((b"signature-input", said), (b"signature", b":" + b64encode(octets) + b":")):
        before = fields[field] + b", " if field in fields else b""
        fields[field] = before + label.encode() + b"=" + value
    return build(request.method, request.target, fields)


_WHEN_PRESENT = frozenset(
    (b"content-type", b"content-digest", b"authorization", b"idempotency-key", b"sealwire-session")
)


def _member(field: bytes, label: str) -> bytes:
    """The one member of a field that has but one."""
    assert field.startswith(label.encode() + b"=")
    return field[len(label) + 1 :]


def call(
    request: Request | None = None,
    rule: Rule = RULE,
    *evidence: Any,
    now: float = NOW,
    chunks: Sequence[bytes] = (b"",),
    address: str = "192.0.2.1",
) -> Call:
    """A call at `now` with this evidence, whose body comes in these chunks and no more often than asked for."""
    left = list(chunks)

    async def receive() -> tuple[bytes, bool]:
        chunk = left.pop(0)
        return chunk, bool(left)

    held = {type(one): one for one in evidence}
    return Call(request or head(), rule, now, "req_1", address, receive, held)


@contextmanager
def refused(code: str, failed: str = "") -> Iterator[pytest.ExceptionInfo[Problem]]:
    """The code of the problem that must be raised, and the judgement it failed at."""
    with pytest.raises(Problem) as caught:
        yield caught
    assert (caught.value.code, caught.value.failed) == (code, failed)
