"""
The double with sessions: opens, ends, unseals and seals, written from the wire's description without the guard. What
the guard would never do, it does when it is told to: its answers are signed all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sealwire.errors import TABLE, Refusal
from sealwire.protocol import envelope, profile
from sealwire.protocol.handshake import Keys, Offer, Terms
from sealwire.protocol.identifier import identifier
from sealwire.protocol.jwk import b64url
from sealwire.protocol.message import Reply, Request
from sealwire.protocol.reply import attach, reply_base
from sealwire.protocol.signature import check_hmac, sign_hmac
from tests.client.server_double import Server, rule

SESSIONS = "/.well-known/sealwire/sessions"
JSON = (b"content-type", b"application/json")
Document = dict[str, Any]


def seal(keys: Keys, session: str, reply: Reply) -> Reply:
    """The reply as an honest server seals it."""
    kind = dict(reply.headers).get(b"content-type", b"application/octet-stream").decode("latin-1")
    headers = tuple((name, value) for name, value in reply.headers if name != b"content-type")
    body = envelope.seal(keys.s2c, envelope.protect(session, kind), os.urandom(12), reply.body)
    return Reply(reply.status, (*headers, (b"content-type", envelope.MEDIA_TYPE)), body)


def no(server: Server, slug: str, **members: object) -> Reply:
    """A refusal of the guard, for whichever of its causes."""
    return server.problem(slug, min(TABLE[slug].causes), **members)  # type: ignore[arg-type]  # none is a Retry-After


@dataclass(repr=False)
class SealingServer(Server):
    """`/v1/orders` is sealed, `/v1/quotes` too and under the session's key, all else is in clear."""

    rules: list[dict[str, object]] = field(
        default_factory=lambda: [
            rule("/v1/orders", "sealed"),
            rule("/v1/quotes", "sealed", session_mac=True, clear_query=["page"]),
            rule("/**", "signed"),
        ]
    )
    sessions: dict[str, tuple[str, Keys]] = field(default_factory=dict)
    #: How many sessions a key may have: the oldest makes room.
    most: int = 16
    opened: int = 0
    lifetime: int = 900
    max_requests: int = 65_536
    #: What was inside of each sealed call.
    inside: list[bytes] = field(default_factory=list)
    #: Secret and context of each session.
    drawn: list[tuple[bytes, bytes]] = field(default_factory=list)
    #: What the next calls of a sealed route are answered, in clear, before anything is opened or done.
    refusals: list[Reply] = field(default_factory=list)
    on_open: Callable[[Document], object] = lambda document: document
    on_answer: Callable[[Keys, str, Reply], Reply] = seal

    def _verify(self, request: Request, body: bytes) -> tuple[profile.Claim, str]:
        claim = profile.claim(request, profile.TAG, profile.Plans())
        if not claim.keyid.startswith("ses_"):
            return super()._verify(request, body)
        if claim.keyid not in self.sessions:
            raise Refusal("key-unknown", "unknown", failed="key")
        keyid, keys = self.sessions[claim.keyid]
        self._in_time(claim, request, profile.TAG)
        check_hmac(keys.c2s_mac, profile.build_base(claim, request), claim.signature)
        self._digest(request, body)
        self._claim(claim)
        return claim, self.clients[keyid][0]

    def _run(self, request: Request, body: bytes, client: str, claim: profile.Claim) -> Reply:
        if request.decoded == SESSIONS:
            return self._open(request, body, claim)
        if request.decoded.startswith(SESSIONS + "/"):
            gone = self.sessions.pop(request.decoded.rpartition("/")[2], None)
            return self.problem("session-unknown", "unknown") if gone is None else Reply(204, (), b"")
        if request.decoded not in ("/v1/orders", "/v1/quotes"):
            return super()._run(request, body, client, claim)
        sealed = envelope.read(body, envelope.Headers()) if body else None
        session = sealed.header.session if sealed else request.fields[b"sealwire-session"].decode()
        if session not in self.sessions:
            return self.problem("session-unknown", "unknown")
        if self.refusals:
            return self.refusals.pop(0)
        keys = self.sessions[session][1]
        plaintext = envelope.open_sealed(sealed, keys.c2s) if sealed else b""
        self.inside.append(plaintext)
        return self.on_answer(keys, session, super()._run(request, plaintext, client, claim))

    def _open(self, request: Request, body: bytes, claim: profile.Claim) -> Reply:
        self.opened += 1
        asked = json.loads(body)
        session = identifier("ses", int(self.clock() * 1000) + self.opened, os.urandom(16))
        expires_at = int(self.clock()) + self.lifetime
        terms = Terms(
            self.authority,
            claim.keyid,
            asked["kem"],
            session,
            hashlib.sha256(body).digest(),
            claim.nonce,
            expires_at,
            self.max_requests,
        )
        secret, context = os.urandom(32), terms.context()
        self.drawn.append((secret, context))
        keys = Keys(secret, context)
        of_key = [name for name, (keyid, _) in list(self.sessions.items()) if keyid == claim.keyid]
        if len(of_key) >= self.most:
            self.sessions.pop(of_key[0], None)
        self.sessions[session] = (claim.keyid, keys)
        document = {
            "session": session,
            "kem": asked["kem"],
            "sealed_key": b64url(Offer(asked["kem"], asked["public_key"]).seal(secret, context)),
            "commitment": b64url(keys.commitment),
            "expires_at": expires_at,
            "max_requests": self.max_requests,
        }
        answer = self.on_open(document)
        if isinstance(answer, Reply):
            return answer
        return Reply(201, (JSON,), answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    def sign(self, reply: Reply, request: Request, claims: Sequence[profile.Claim]) -> Reply:
        keyid = claims[-1].keyid if claims else ""
        if keyid not in self.sessions or reply.headers[0][1] == b"application/problem+json":
            return super().sign(reply, request, claims)
        hardened = reply._replace(headers=(*reply.headers, (b"cache-control", b"no-store, no-transform")))
        base = reply_base(hardened, request, claims, int(self.clock()), keyid)
        return attach(hardened, base, sign_hmac(self.sessions[keyid][1].s2c_mac, base.base))
