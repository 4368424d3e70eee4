"""
A small server that really verifies and really signs, and the way to it, on which anything can happen.

It is written from the wire's description with the functions of `protocol/`, without the guard: what the client is held
to here is the protocol and not one implementation of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.errors import Refusal
from sealwire.protocol import profile, servernonce
from sealwire.protocol.digest import expect
from sealwire.protocol.handshake import KEMS
from sealwire.protocol.jwk import JOSE_NAMES, Signer, Verifier, b64url, read_jwk
from sealwire.protocol.message import Reply, Request, read_authority, read_head, read_target
from sealwire.protocol.problem import answer
from sealwire.protocol.reply import attach, reply_base
from sealwire.protocol.signature import check, check_hmac, signer_of
from sealwire.protocol.window import Window, accept_signature, judge

ORIGIN = "https://api.example.com"
NOW = 1_790_000_000.0
KEYS = "/.well-known/sealwire/keys"
JWKS = "/.well-known/sealwire/jwks.json"
RULES = "/.well-known/sealwire/rules"
EVERY_METHOD = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def rule(path: str, profile: str, **members: object) -> dict[str, object]:
    """A rule as the rules endpoint shows it."""
    kems = list(KEMS) if profile in ("sealed", "critical") else []
    shown = {"path": path, "methods": EVERY_METHOD, "profile": profile, "session_mac": False, "content_types": []}
    return shown | {"clear_query": [], "max_age": 60, "kems": kems} | members


def new_signer() -> Signer:
    return signer_of(Ed25519PrivateKey.generate())


@dataclass(repr=False)  # a traceback that shows values would show the server's secrets too
class Server:
    """The double. `effects` counts what was carried out; `seen` holds every request that arrived."""

    origin: str = ORIGIN
    clock: Callable[[], float] = field(default_factory=Clock)
    signer: Signer = field(default_factory=new_signer)
    version: int = 1
    next_signers: list[Signer] = field(default_factory=list)
    clients: dict[str, tuple[str, Verifier]] = field(default_factory=dict)
    invitations: dict[str, bytes] = field(default_factory=dict)
    spent: dict[str, str] = field(default_factory=dict)
    effects: list[bytes] = field(default_factory=list)
    seen: list[httpx2.Request] = field(default_factory=list)
    nonces: set[tuple[str, str]] = field(default_factory=set)
    answers: dict[str, Reply] = field(default_factory=dict)
    secret: bytes = field(default_factory=lambda: os.urandom(32))
    app: Callable[[Request, bytes], Reply] | None = None
    stream: bool = False
    fresh: bool = False
    keys_expire: int = 1 << 39
    rules: list[dict[str, object]] = field(default_factory=lambda: [rule("/**", "signed")])

    @property
    def authority(self) -> str:
        return self.origin.partition("://")[2]

    def handle(self, received: httpx2.Request) -> httpx2.Response:
        """One request in, one response out, as bytes on a wire."""
        if received.url.path != RULES:
            self.seen.append(received)
        body = received.read()
        try:
            reply = self._answer(received, body)
        except Refusal as refusal:
            reply = Reply(*answer(refusal, self.origin, "req_TEST"))
        return to_response(reply._replace(body=b"") if received.method == "HEAD" else reply)

    def _answer(self, received: httpx2.Request, body: bytes) -> Reply:
        headers, fields = read_head([(name.lower(), value) for name, value in received.headers.raw])
        authority = read_authority(fields.get(b"host"), frozenset((self.authority,)))
        target = read_target(received.url.raw_path)
        request = Request(
            received.method,
            received.url.raw_path,
            authority,
            target.path,
            target.query,
            target.decoded,
            headers,
            fields,
        )
        path = target.decoded
        if path == JWKS:
            return self.sign(self._jwks(), request, [])
        if path == RULES:
            return self.sign(self._rules(), request, [])
        if path == KEYS and request.method == "POST":
            return self._enrol(request, body)
        claim, client = self._verify(request, body)
        return self.sign(self._run(request, body, client, claim), request, [claim])

    def _verify(self, request: Request, body: bytes) -> tuple[profile.Claim, str]:
        claim = profile.claim(request, profile.TAG, profile.Plans())
        base = profile.build_base(claim, request)
        if claim.keyid not in self.clients:
            raise Refusal("key-unknown", "unknown", failed="key")
        client, key = self.clients[claim.keyid]
        self._in_time(claim, request, profile.TAG)
        try:
            check(key, base, claim.signature)
        except Refusal as refusal:
            refusal.members["base_lines"] = profile.fingerprints(claim, base)
            raise
        self._digest(request, body)
        self._claim(claim)
        return claim, client

    def _in_time(self, claim: profile.Claim, request: Request, tag: str) -> None:
        now = self.clock()
        issued = servernonce.issued_at(self.secret, claim.nonce, claim.keyid)
        try:
            judge(Window.of(claim, issued, 60), now, restarted=False, demand_server_nonce=self.fresh)
        except Refusal as refusal:
            nonce = servernonce.issue(self.secret, int(now * 1000), os.urandom(8), claim.keyid)
            refusal.members["clock"] = {"server_time": int(now), "skew_ms": int((claim.created - now) * 1000)}
            refusal.fields += (accept_signature(request, nonce, tag),)
            raise

    def _digest(self, request: Request, body: bytes) -> None:
        if body:
            digest = expect(request.fields[b"content-digest"])
            digest.update(body)
            digest.judge()

    def _claim(self, claim: profile.Claim) -> None:
        if (claim.keyid, claim.nonce) in self.nonces:
            raise Refusal("replay-detected", "nonce", failed="replay")
        self.nonces.add((claim.keyid, claim.nonce))

    def _run(self, request: Request, body: bytes, client: str, claim: profile.Claim) -> Reply:
        if request.decoded.startswith(f"{KEYS}/") and request.method == "DELETE":
            return self._revoke(request.decoded.removeprefix(f"{KEYS}/"), client, claim.keyid)
        key = request.fields.get(b"idempotency-key", b"").decode()
        if key in self.answers and key:
            return self.answers[key]
        if self.app is not None:
            reply = self.app(request, body)
        else:
            self.effects.append(body)
            content = json.dumps({"client": client, "number": len(self.effects)}).encode()
            reply = Reply(201 if body else 200, ((b"content-type", b"application/json"),), content)
        if reply.headers[:1] != ((b"content-type", b"application/problem+json"),):
            self.answers[key] = reply  # a refusal frees the key
        return reply

    def _revoke(self, keyid: str, client: str, by: str) -> Reply:
        if self.clients.get(keyid, ("",))[0] != client:
            return self.problem("not-found", "no-key")
        if keyid != by:
            return self.problem("approval-required", "another-key")
        del self.clients[keyid]
        return Reply(204, (), b"")

    def problem(self, slug: str, cause: str, *, wait: str = "", **members: object) -> Reply:
        """A refusal after proof: it goes out signed. `wait` is its Retry-After."""
        fields = ((b"retry-after", wait.encode()),) if wait else ()
        return Reply(*answer(Refusal(slug, cause, members=dict(members), fields=fields), self.origin, "req_PROVEN"))

    def _enrol(self, request: Request, body: bytes) -> Reply:
        label = profile.find_label(request, profile.TAG_POSSESSION)
        invited = profile.has_tag(request, profile.TAG_INVITATION)
        tag = profile.TAG_INVITATION if invited else profile.TAG
        claim = profile.claim(request, tag, profile.Plans(), possession=label)
        base = profile.build_base(claim, request)
        offered = json.loads(body)
        key = read_jwk(offered["key"])
        if invited:
            if claim.keyid not in self.invitations or self.spent.get(claim.keyid, key.keyid) != key.keyid:
                raise Refusal("invitation-invalid", "unknown", failed="key")
            self._in_time(claim, request, tag)
            check_hmac(hashlib.sha256(self.invitations[claim.keyid]).digest(), base, claim.signature)
            client = f"cli_{claim.keyid}"
        else:
            client, active = self.clients[claim.keyid]
            self._in_time(claim, request, tag)
            check(active, base, claim.signature)
            if (offered["client"], offered["by"]) != (client, claim.keyid):
                raise Refusal("request-invalid", "enrolment")
        self._digest(request, body)
        possession = profile.claim(request, profile.TAG_POSSESSION, profile.Plans())
        if (possession.created, possession.expires) != (claim.created, claim.expires):
            raise Refusal("signature-malformed", "possession-times", failed="parse")
        check(key, profile.build_base(possession, request), possession.signature)
        self._claim(claim)
        self._claim(possession)
        self.spent[claim.keyid] = key.keyid
        self.clients[key.keyid] = (client, key)
        told = {"client": client, "key": {"kid": key.keyid, "state": "active", "expires_at": None}}
        reply = Reply(201, ((b"content-type", b"application/json"),), json.dumps(told).encode())
        return self.sign(reply, request, [possession, claim])

    def _jwks(self) -> Reply:
        return Reply(200, ((b"content-type", b"application/jwk-set+json"),), json.dumps(self.key_set()).encode())

    def _rules(self) -> Reply:
        return Reply(200, ((b"content-type", b"application/json"),), json.dumps({"rules": self.rules}).encode())

    def key_set(self) -> dict[str, object]:
        times = {"nbf": 0, "exp": self.keys_expire}
        keys = [
            {**s.jwk, "use": "sig", "kid": s.keyid, "alg": JOSE_NAMES[s.algorithm], **times}
            for s in (self.signer, *self.next_signers)
        ]
        return {"version": self.version, "issued_at": int(self.clock()), "keys": keys, "handovers": []}

    def sign(self, reply: Reply, request: Request, claims: Sequence[profile.Claim]) -> Reply:
        hardened = reply._replace(headers=(*reply.headers, (b"cache-control", b"no-store, no-transform")))
        stream = self.stream and request.decoded not in (JWKS, RULES)
        base = reply_base(hardened, request, claims, int(self.clock()), self.signer.keyid, stream=stream)
        return attach(hardened, base, self.signer.sign(base.base))

    def invite(self) -> str:
        """An invitation that this server takes."""
        name, secret = b64url(os.urandom(9)), b64url(os.urandom(32))
        self.invitations[name] = secret.encode()
        return f"sw_test_inv_{name}.{secret}.{self.signer.keyid}"


def to_response(reply: Reply) -> httpx2.Response:
    """A reply as a client's library hands it over, with what servers and proxies add."""
    added = [(b"date", b"Thu, 01 Jan 2026 00:00:00 GMT"), (b"server", b"double")]
    return httpx2.Response(reply.status, headers=[*reply.headers, *added], stream=httpx2.ByteStream(reply.body))


OnRequest = Callable[[httpx2.Request], httpx2.Request]
OnReply = Callable[[httpx2.Response], httpx2.Response]


@dataclass(repr=False, eq=False)
class Way(httpx2.BaseTransport, httpx2.AsyncBaseTransport):
    """
    The network, with whoever sits on it. `on_request` and `on_reply` may change or lose what passes; each entry of
    `script` is used up by one exchange: "cut" loses the reply after the server had the request, "lost" the request.
    """

    server: Server
    #: Whether the one question for the rules, before the first call, is told of and meets what sits on the way too.
    with_rules: bool = False
    script: list[str | httpx2.Response | Exception] = field(default_factory=list)
    on_request: OnRequest | None = None
    on_reply: OnReply | None = None
    sent: list[httpx2.Request] = field(default_factory=list)
    closed: int = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return self._carry(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        return self._carry(request)

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1

    def _carry(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == RULES and not self.with_rules:
            return self.server.handle(request)
        self.sent.append(request)
        what = self.script.pop(0) if self.script else "pass"
        if isinstance(what, httpx2.Response):
            return what
        if isinstance(what, Exception):
            raise what
        if what == "lost":
            raise httpx2.WriteError("connection reset")
        if self.on_request is not None:
            request = self.on_request(request)
        response = self.server.handle(request)
        if what == "cut":
            raise httpx2.ReadTimeout("timed out")
        return self.on_reply(response) if self.on_reply is not None else response


def changed(
    response: httpx2.Response,
    *,
    status: int | None = None,
    body: bytes | None = None,
    drop: Sequence[str] = (),
    add: Sequence[tuple[str, str]] = (),
) -> httpx2.Response:
    """The response with some of it changed, as whoever terminates TLS can."""
    headers = [(n, v) for n, v in response.headers.raw if n.decode().lower() not in drop]
    headers += [(n.encode(), v.encode()) for n, v in add]
    content = response.read() if body is None else body
    return httpx2.Response(status or response.status_code, headers=headers, stream=httpx2.ByteStream(content))


def problem_response(
    slug: str, status: int, *, add: Sequence[tuple[str, str]] = (), **members: object
) -> httpx2.Response:
    """An unsigned refusal, as anyone can write one."""
    document = {"code": slug, "status": status, "detail": "someone says so", "request_id": "req_ANY", **members}
    headers = [("content-type", "application/problem+json"), *add]
    return httpx2.Response(status, headers=headers, stream=httpx2.ByteStream(json.dumps(document).encode()))
