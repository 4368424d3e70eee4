"""
How a client opens and ends a session: `/.well-known/sealwire/sessions` (docs/protocol.md, "The session").

Owns: the two endpoints, what a session is bound to, and that its secret goes to the store and to nobody else.
Refuses to know: how the request was proven, how bodies are sealed.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from sealwire.call import Body, Call, Caller, Proof, Rule, Session
from sealwire.endpoints import SESSIONS, Endpoint
from sealwire.errors import Refusal
from sealwire.ports import SESSION_PREFIX, Clock, Entropy, SessionStore
from sealwire.protocol import strictjson
from sealwire.protocol.handshake import SECRET_BYTES, Keys, Offer, Terms
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.jwk import b64url
from sealwire.protocol.message import Reply

_SESSION = f"{SESSIONS}/{{session}}"
_REQUEST_BYTES = 8 * 1024
_MEMBERS = ("kem", "public_key")


class SessionTerms(NamedTuple):
    """How long a session lasts, and how many messages it may carry."""

    lifetime_seconds: int = 900
    max_requests: int = 65_536


DEFAULT_TERMS = SessionTerms()


def session_rules() -> tuple[Rule, ...]:
    """The rules of the two endpoints; a policy cannot name these paths."""
    return (
        Rule(SESSIONS, frozenset(("POST",)), "signed", max_body_bytes=_REQUEST_BYTES),
        Rule(_SESSION, frozenset(("DELETE",)), "signed"),
    )


class SessionEndpoints:
    """Opens and ends sessions over a store."""

    def __init__(self, terms: SessionTerms, sessions: SessionStore, clock: Clock, entropy: Entropy) -> None:
        self._terms = terms
        self._sessions = sessions
        self._clock = clock
        self._entropy = entropy

    def table(self) -> dict[str, Endpoint]:
        """Each endpoint by its rule's template."""
        return {SESSIONS: self._open, _SESSION: self._end}

    async def _open(self, call: Call) -> Reply:
        body, proof = call.get(Body).content, call.get(Proof)
        offer = read_offer(body)
        now = self._clock.now()
        session_id = identifier(SESSION_PREFIX.rstrip("_"), int(now * 1000), self._entropy(RANDOM_BYTES))
        expires_at = int(now) + self._terms.lifetime_seconds
        terms = Terms(
            call.request.authority,
            proof.keyid,
            offer.kem,
            session_id,
            hashlib.sha256(body).digest(),
            proof.claim.nonce,
            expires_at,
            self._terms.max_requests,
        )
        secret, context = self._entropy(SECRET_BYTES), terms.context()
        keys = Keys(secret, context)
        sealed_key = offer.seal(secret, context)
        session = Session(session_id, proof.keyid, expires_at, self._terms.max_requests, keys, call.now)
        await self._sessions.keep(session, secret, context)
        document = {
            "session": session_id,
            "kem": offer.kem,
            "sealed_key": b64url(sealed_key),
            "commitment": b64url(keys.commitment),
            "expires_at": expires_at,
            "max_requests": self._terms.max_requests,
        }
        answer = json.dumps(document, separators=(",", ":")).encode("ascii")
        return Reply(201, ((b"content-type", b"application/json"),), answer)

    async def _end(self, call: Call) -> Reply:
        session = await self._sessions.session(call.request.decoded.rpartition("/")[2])
        if session is None or session.keyid != call.get(Caller).key:
            raise Refusal("session-unknown", "unknown", failed="policy")
        await self._sessions.end(session.id)
        return Reply(204, (), b"")


def read_offer(body: bytes) -> Offer:
    """
    What a client offers: an object of exactly two texts, `kem` and `public_key`.

    Raises: request-invalid, pointing at the member where it is one of the two.
    """
    members = strictjson.read(body) if body else None
    if not isinstance(members, dict):
        raise _unfit("", "The body is an object with kem and public_key.")
    if members.keys() - set(_MEMBERS):
        raise _unfit("", "A member too many.")
    for name in _MEMBERS:
        if not isinstance(members.get(name), str):
            raise _unfit(f"/{name}", "The member is missing." if name not in members else "The member is no string.")
    return Offer(str(members["kem"]), str(members["public_key"]))


def _unfit(pointer: str, detail: str) -> Refusal:
    errors = [{"pointer": pointer, "detail": detail}]
    return Refusal("request-invalid", "session", failed="policy", members={"errors": errors})
