"""A caller with a session, made by hand over a World: what it seals, what it opens."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx2

from sealwire.build import Ports, wire
from sealwire.call import Rule
from sealwire.fronts.asgi import GuardedApp, Receive, Scope, Send
from sealwire.guard import Deployment
from sealwire.ports import BucketStore, Directory, Invitation, Ledger, NonceStore, SessionStore
from sealwire.protocol import envelope
from sealwire.protocol.digest import content_digest
from sealwire.protocol.handshake import KeyPair, Keys, Terms
from sealwire.protocol.jwk import Signer, b64url, load_verifier, unb64url
from sealwire.protocol.message import Reply, Request, Response, combine
from sealwire.protocol.signature import base, check, check_hmac, parse, sign_hmac
from sealwire.sessions import DEFAULT_TERMS, SessionTerms
from sealwire.stores import sqlite_fast, sqlite_sessions
from sealwire.stores.memory import MemoryBuckets
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_fast import SqliteFast
from sealwire.stores.sqlite_file import SqliteFile
from sealwire.stores.sqlite_sessions import SqliteSessions
from tests.stories.world import ORIGIN, PAGES, SetClock, Wire, World, tally, together

SESSIONS = b"/.well-known/sealwire/sessions"
SEALED_RULES = (
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
    Rule("/v1/notes", frozenset(("POST",)), "signed"),
    Rule("/v1/orders", frozenset(("GET", "POST")), "sealed", scopes=frozenset(("trade",))),
    Rule("/v1/quotes", frozenset(("POST",)), "sealed", session_mac=True, clear_query=frozenset(("page",))),
    Rule("/v1/ticks", frozenset(("GET", "POST")), "sealed", session_mac=True),
)
PLAINTEXT = b'{"amount": "0.01"}'
JSON_TYPE = (b"content-type", b"application/json")


class Stores(NamedTuple):
    """Where a SealedWorld keeps things: None is memory. `fast` was made by the parent of its workers."""

    fast: Path | None = None
    durable: Path | None = None


IN_MEMORY = Stores()


class SealedWorld(World):
    """A World whose app answers `answer` or fails with `failure`, that keeps all it drew and all that was said."""

    def __init__(
        self,
        folder: Path,
        rules: tuple[Rule, ...] = SEALED_RULES,
        terms: SessionTerms = DEFAULT_TERMS,
        stores: Stores = IN_MEMORY,
    ) -> None:
        super().__init__(folder, rules)
        self.answer = Reply(200, (JSON_TYPE,), b'{"ok": true}')
        self.failure: Exception | None = None
        self.drawn: list[bytes] = []
        self.seen: list[tuple[Wire, httpx2.Response]] = []
        self.opened: list[SqliteFile | SqliteFast | SqliteSessions] = []
        nonces: NonceStore = self.nonces
        buckets: BucketStore = MemoryBuckets(self.clock)
        self.session_store: SessionStore = self.sessions
        if stores.fast is not None:
            nonces = buckets = fast = SqliteFast(stores.fast, self.clock)
            self.session_store = shared = SqliteSessions(stores.fast, self.clock, self.draw)
            self.opened += [fast, shared]
        directory: Directory = self.directory
        ledger: Ledger = self.ledger
        if stores.durable is not None:
            file = SqliteFile(stores.durable)
            self.opened.append(file)
            directory, ledger = SqliteDirectory(file), SqliteLedger(file, self.clock)
        self.people, self.books = directory, ledger
        self.asked: MemoryApprovals | SqliteApprovals = self.approvals
        self.bearers: MemoryApiKeys | SqliteApiKeys = self.apikeys
        if stores.durable is not None:
            self.asked, self.bearers = SqliteApprovals(file, self.clock), SqliteApiKeys(file)
        ports = Ports(
            directory, ledger, nonces, self.session_store, buckets, self.keyring, self.clock, self.draw, lambda: None,
            self.asked, self.asked, self.notices, self.bearers, self.bearers,
        )  # fmt: skip
        deployment = Deployment(ORIGIN, frozenset(("api.example",)), "policy-1")
        self.guard = wire(rules, deployment, ports, session_terms=terms, pages=PAGES)
        self.observers, self.tally = together(self.guard), tally(self.guard)
        self.app = GuardedApp(self._app, self.guard)

    def draw(self, size: int) -> bytes:
        """Randomness, kept."""
        self.drawn.append(os.urandom(size))
        return self.drawn[-1]

    async def enrol(self, signer: Signer, client: str) -> None:
        """Enrols a key in whatever directory there is, from an invitation."""
        scopes, until = frozenset(("trade",)), self.clock.now() + 60
        invitation = Invitation(f"inv_{client}", client, "", client, scopes, (), b"", until)
        await self.people.add_invitation(invitation)
        verifier = load_verifier(signer.jwk)
        await self.people.enrol(invitation.id, verifier, f"cli_{client}", client, self.clock.now())

    async def send(self, request: Wire) -> httpx2.Response:
        """As a World does; whoever terminates TLS keeps both."""
        reply = await super().send(request)
        self.seen.append((request, reply))
        return reply

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.append(scope)
        self.bodies.append((await receive())["body"])
        if self.failure is not None:
            raise self.failure
        status, headers, body = self.answer
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    def close(self) -> None:
        """Closes the files; memory is gone with the world."""
        for one in self.opened:
            one.close()


def make_fast(folder: Path) -> Path:
    """The fast store of a start, as the parent of several workers makes it."""
    path, clock = folder / "fast.db", SetClock()
    clock.at -= 86_400  # the keys of these stories were enrolled after the start
    sqlite_fast.make(path, clock, os.urandom)
    sqlite_sessions.make(path, os.urandom)
    return path


class Opened(NamedTuple):
    """A session as its client holds it."""

    id: str
    keys: Keys
    expires_at: int
    max_requests: int
    secret: bytes
    pair: KeyPair  # a client drops it here; these stories hand it to an attacker
    terms: Terms

    def seal(self, plaintext: bytes, content_type: str = "application/json") -> bytes:
        """A request's body, sealed."""
        return envelope.seal(self.keys.c2s, envelope.protect(self.id, content_type), os.urandom(12), plaintext)

    def read(self, reply: httpx2.Response) -> tuple[bytes, str]:
        """A reply's content and its media type, opened."""
        assert reply.headers["content-type"] == "application/jose"
        found = envelope.read(reply.content, envelope.Headers())
        assert found.header.session == self.id
        return envelope.open_sealed(found, self.keys.s2c), found.header.content_type


async def open_session(world: World, kem: str = "X25519", signer: Signer | None = None) -> Opened:
    """Opens a session over the wire, and checks what it is bound to."""
    pair, signer = KeyPair(kem), signer or world.signer
    body = json.dumps({"kem": kem, "public_key": pair.public_key}).encode()
    nonce = "n" + os.urandom(16).hex()
    reply = await world.send(Wire("POST", SESSIONS, body).sign(signer, int(world.clock.at), nonce=nonce))
    assert reply.status_code == 201, reply.text
    answer = reply.json()
    terms = Terms(
        "api.example",
        signer.keyid,
        kem,
        answer["session"],
        hashlib.sha256(body).digest(),
        nonce,
        answer["expires_at"],
        answer["max_requests"],
    )
    secret = pair.open(unb64url(answer["sealed_key"]), terms.context())
    keys = Keys(secret, terms.context())
    assert keys.fits(unb64url(answer["commitment"]))
    return Opened(answer["session"], keys, answer["expires_at"], answer["max_requests"], secret, pair, terms)


def sealed(session: Opened, plaintext: bytes = PLAINTEXT, target: bytes = b"/v1/orders") -> Wire:
    """A sealed POST, not signed yet."""
    return carrying(session.seal(plaintext), target)


def carrying(body: bytes, target: bytes = b"/v1/orders", content_type: bytes = b"application/jose") -> Wire:
    """A POST with these bytes where a sealed body belongs, not signed yet."""
    return Wire("POST", target, body).change(b"content-type", content_type)


def bare(session: str, target: bytes = b"/v1/orders") -> Wire:
    """A GET that names its session, not signed yet."""
    return Wire("GET", target).change(b"sealwire-session", session.encode())


async def turned_away(
    world: World, wire: Wire, status: int, code: str, session: Opened | None = None
) -> dict[str, object]:
    """
    Sends, and holds the refusal against what it must be: status, slug, the app not entered, sealed exactly where
    `session` is given.
    """
    entered = len(world.entered)
    reply = await world.send(wire)
    content, kind = (reply.content, reply.headers["content-type"]) if session is None else session.read(reply)
    assert kind == "application/problem+json", reply.headers
    problem: dict[str, object] = json.loads(content)
    assert (reply.status_code, problem["code"]) == (status, code), problem
    assert len(world.entered) == entered
    return problem


def problem_of(reply: httpx2.Response, session: Opened) -> dict[str, object]:
    """What a refusal says, whether it came in clear or sealed under `session`."""
    content = session.read(reply)[0] if reply.headers["content-type"] == "application/jose" else reply.content
    problem: dict[str, object] = json.loads(content)
    return problem


def proven(world: World, wire: Wire, reply: httpx2.Response, session: Opened | None = None) -> None:
    """
    Holds a reply against the request it must answer: by the server's key, or under the mac of `session`.

    Raises: signature-mismatch.
    """
    headers = tuple((name.lower(), value) for name, value in reply.headers.raw if name.lower() != b"content-length")
    fields = combine(headers)
    (signed,) = parse(fields[b"signature-input"], fields[b"signature"])
    path, _, query = wire.target.partition(b"?")
    asked = tuple(wire.headers)
    request = Request(wire.method, wire.target, "api.example", path, query, path.decode(), asked, combine(asked))
    made = base(signed.components, signed.covered, Response(reply.status_code, headers, fields), request)
    covered = {component.identifier() for component in signed.components}
    assert {b'"@status"', b'"@path";req', b'"signature";req;key="sig"'} <= covered
    if reply.content:
        assert {b'"content-type"', b'"content-digest"'} <= covered
        assert fields[b"content-digest"] == content_digest(reply.content)
    if session is None:
        assert signed.params["keyid"] == world.keyring.verifier.keyid
        check(world.keyring.verifier, made, signed.signature)
    else:
        assert signed.params["keyid"] == session.id
        check_hmac(session.keys.s2c_mac, made, signed.signature)


def taken_apart(body: bytes) -> list[bytes]:
    """The five parts of a sealed body, decoded."""
    return [unb64url(part.decode()) for part in body.split(b".")]


def put_together(parts: Sequence[bytes]) -> bytes:
    """Parts as a sealed body again."""
    return b".".join(b64url(part).encode() for part in parts)


def by_mac(wire: Wire, session: Opened, created: int) -> Wire:
    """The message under the session's own key."""
    return wire.sign(_NOBODY, created, keyid=session.id, secret=lambda base: sign_hmac(session.keys.c2s_mac, base))


_NOBODY = Signer("hmac-sha256", "", {}, lambda base: base)
