"""A whole guard in this process: real stages over memory stores, a settable clock, requests made as bytes by hand."""

from __future__ import annotations

import os
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.build import Ports, wire
from sealwire.call import Rule
from sealwire.fronts.asgi import TARGET_EXTENSION, GuardedApp, Message, Receive, Scope, Send
from sealwire.guard import Deployment, Guard
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.observers.tally import Tally
from sealwire.observers.together import Together
from sealwire.pipeline import Failures
from sealwire.ports import Observer
from sealwire.ports.people import Notice
from sealwire.protocol.digest import content_digest
from sealwire.protocol.jwk import Signer, load_verifier
from sealwire.protocol.signature import signer_of
from sealwire.records import KeyRecord
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger

ORIGIN, PAGES = "https://api.example", "https://pages.example"
START = 1_790_000_000.0
FAILURES = Failures()

RULES = (
    Rule("/v1/time", frozenset(("GET",)), "open"),
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
    Rule("/v1/orders", frozenset(("POST",)), "signed", scopes=frozenset(("trade",))),
    Rule("/v1/orders/{id}", frozenset(("GET", "DELETE")), "signed"),
    Rule("/v1/**", frozenset(("GET", "POST")), "signed"),
)


class SetClock:
    """
    A clock that stands still until it is moved. `stepped` is how far the host's wall clock was set, `tick` how much
    time passes with each reading of the other.
    """

    def __init__(self) -> None:
        self.at = START
        self.stepped = self.tick = self.ticked = 0.0

    def now(self) -> float:
        return self.at + self.stepped

    def monotonic(self) -> float:
        self.ticked += self.tick
        return self.at + self.ticked


class KeptNotices(list[Notice]):
    """Notices that were told, for looking at."""

    def tell(self, notice: Notice) -> None:
        """As the port says."""
        self.append(notice)


class World:
    """One deployment: its guard, its app, one enrolled client with one key."""

    def __init__(
        self,
        folder: Path,
        rules: tuple[Rule, ...] = RULES,
        *,
        failures: Failures = FAILURES,
        observers: tuple[Observer, ...] = (),
        buckets: type[MemoryBuckets] = MemoryBuckets,
    ) -> None:
        self.clock = SetClock()
        if not (folder / "signing.pem").exists():
            make_signing_key(folder / "signing.pem")
            make_wrapping_key(folder / "wrapping.key", os.urandom)
        self.keyring = FileKeyring(folder / "signing.pem", folder / "wrapping.key", os.urandom)
        self.directory = MemoryDirectory()
        self.ledger = MemoryLedger(self.clock)
        self.approvals = MemoryApprovals(self.clock, self.ledger, self.directory)
        self.apikeys = MemoryApiKeys(self.ledger, self.directory)
        self.notices = KeptNotices()
        self.nonces = MemoryNonces(self.clock, os.urandom)
        self.buckets = buckets(self.clock)
        # Keys of these stories were enrolled after the start, so the rule of restarts does not concern them.
        self.nonces.epoch = START - 86_400
        self.sessions = MemorySessions(self.clock)
        self.signer = signer_of(Ed25519PrivateKey.generate())
        self.add_key(self.signer, "alice")
        self.entered: list[Scope] = []
        self.bodies: list[bytes] = []
        self.reads = 0
        self.address = "192.0.2.1"
        self.while_reading: Callable[[], None] = lambda: None
        ports = Ports(
            self.directory,
            self.ledger,
            self.nonces,
            self.sessions,
            self.buckets,
            self.keyring,
            self.clock,
            os.urandom,
            lambda: None,
            self.approvals,
            self.approvals,
            self.notices,
            self.apikeys,
            self.apikeys,
        )
        deployment = Deployment(ORIGIN, frozenset(("api.example",)), "policy-1")
        self.guard = wire(rules, deployment, ports, failures=failures, pages=PAGES, observers=observers)
        self.observers = together(self.guard)
        self.tally = tally(self.guard)
        self.app = GuardedApp(self._app, self.guard)

    def add_key(self, signer: Signer, client: str, state: str = "active", expires_at: float | None = None) -> None:
        """Enrols a key without the ceremony."""
        record = KeyRecord(
            signer.keyid, f"cli_{client}", client, client, client, frozenset(("trade",)), (),
            load_verifier(signer.jwk), state, START - 100, expires_at,
        )  # fmt: skip
        self.directory._keys[signer.keyid] = record

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.append(scope)
        self.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"ok": true}'})

    async def send(self, request: Wire) -> httpx2.Response:
        """Delivers the very bytes of a request as our own runner would, and gives back what came out."""
        path, _, query = request.target.partition(b"?")
        chunks = [request.body]

        async def receive() -> Message:
            self.reads += 1
            self.while_reading()
            if chunks:
                return {"type": "http.request", "body": chunks.pop(), "more_body": False}
            return {"type": "http.disconnect"}

        sent: list[Message] = []

        async def collect(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {
            "type": "http",
            "method": request.method,
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": request.headers,
            "client": (self.address, 4000),
            "extensions": {TARGET_EXTENSION: {"target": request.target}},
            "root_path": "",
        }
        await self.app(scope, receive, collect)
        self.observers.flush()
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return httpx2.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)


def together(guard: Guard) -> Together:
    """The observers of a guard."""
    assert isinstance(guard._observer, Together)
    return guard._observer


def tally(guard: Guard) -> Tally:
    """The one of them that counts refusals."""
    (found,) = (one for one in together(guard)._observers if isinstance(one, Tally))
    return found


class Wire:
    """A request as bytes, signed by hand: the parts can be changed before and after the signature is made."""

    def __init__(self, method: str = "GET", target: bytes = b"/v1/balances", body: bytes = b"") -> None:
        self.method = method
        self.target = target
        self.body = body
        self.headers: list[tuple[bytes, bytes]] = [(b"host", b"api.example")]
        if body:
            self.headers += [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"content-digest", content_digest(body)),
            ]

    def header(self, name: bytes) -> bytes:
        """The value of a field."""
        return dict(self.headers)[name]

    def without(self, name: bytes) -> Wire:
        """Drops a field."""
        self.headers = [(field, value) for field, value in self.headers if field != name]
        return self

    def change(self, name: bytes, value: bytes) -> Wire:
        """Sets a field to another value, in its place or at the end."""
        self.without(name)
        self.headers.append((name, value))
        return self

    def sign(
        self,
        signer: Signer,
        created: int = int(START),
        *,
        expires: int | None = None,
        nonce: str = "",
        covered: list[str] | None = None,
        tag: str = "sealwire",
        label: str = "sig",
        alg: str = "",
        keyid: str = "",
        secret: Callable[[bytes], bytes] | None = None,
    ) -> Wire:
        """Adds Signature-Input and Signature over what the profile demands, or over `covered`."""
        nonce = nonce or urlsafe_b64encode(os.urandom(18)).decode()
        if covered is None:
            covered = ["@method", "@authority", "@path", "@query"]
            covered += [name.decode() for name, _ in self.headers if name in _SIGNED_FIELDS]
        path, _, query = self.target.partition(b"?")
        derived = {
            "@method": self.method.encode(),
            "@authority": b"api.example",
            "@path": path,
            "@query": b"?" + query,
        }
        lines = []
        for name in covered:
            value = derived.get(name)
            lines.append(
                b'"%s": %s' % (name.encode(), dict(self.headers).get(name.encode(), b"") if value is None else value)
            )
        listed = " ".join(f'"{name}"' for name in covered)
        text = f"({listed});created={created};expires={created + 60 if expires is None else expires}"
        text += f';keyid="{keyid or signer.keyid}";nonce="{nonce}"'
        text += f';alg="{alg}"' if alg else ""
        text += f';tag="{tag}"'
        lines.append(b'"@signature-params": ' + text.encode())
        signature = (secret or signer.sign)(b"\n".join(lines))
        self.headers.append((b"signature-input", f"{label}={text}".encode()))
        self.headers.append((b"signature", f"{label}=:".encode() + b64encode(signature) + b":"))
        return self


_SIGNED_FIELDS = {
    b"content-type",
    b"content-digest",
    b"authorization",
    b"dpop",
    b"idempotency-key",
    b"sealwire-approval",
    b"sealwire-session",
}

Sender = Callable[[Wire], Awaitable[httpx2.Response]]
