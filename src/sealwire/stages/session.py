"""
Session: the one that a sealed call names, its own and not over (docs/protocol.md, "The session").

What is refused here goes out in clear, since no session is known to be the caller's; all that is refused later is
sealed under it. A message counts once it is proven and allowed: junk that names a captured session moves nothing.
"""

from __future__ import annotations

from sealwire.call import Allowed, Body, Call, Caller, InSession, Proof
from sealwire.errors import Refusal
from sealwire.ports import SessionStore
from sealwire.protocol import envelope


class JoinSession:
    """Refuses: encryption-required, envelope-malformed, session-unknown, session-expired."""

    def __init__(self, sessions: SessionStore, headers: envelope.Headers) -> None:
        self._sessions = sessions
        self._headers = headers

    async def __call__(self, call: Call) -> InSession:
        call.get(Allowed)
        sealed = self._read(call)
        session_id = _named(call, sealed)
        session = await self._sessions.session(session_id)
        key = call.get(Proof).key
        own = session is not None and session.keyid == call.get(Caller).key
        if session is None or key is None or not own or session.opened_at <= key.frozen_at:
            raise Refusal("session-unknown", "unknown", failed="policy")
        if call.now >= session.expires_at:
            raise Refusal("session-expired", "time", failed="policy")
        if await self._sessions.count(session_id) == "spent":
            raise Refusal("session-expired", "spent", failed="policy")
        return InSession(session, sealed)

    def _read(self, call: Call) -> envelope.Envelope | None:
        if call.request.fields.get(b"content-type") != envelope.MEDIA_TYPE:
            return None
        return envelope.read(call.get(Body).content, self._headers)


def _named(call: Call, sealed: envelope.Envelope | None) -> str:
    """The one session that the envelope, the field and the signature name."""
    names = set()
    if sealed is not None:
        names.add(sealed.header.session)
    if b"sealwire-session" in call.request.fields:
        names.add(call.request.fields[b"sealwire-session"].decode("latin-1"))
    proof = call.get(Proof)
    if proof.session is not None:
        names.add(proof.session.id)
    if not names:
        raise Refusal("encryption-required", "no-session", failed="policy")
    if len(names) > 1:
        raise Refusal("envelope-malformed", "two-sessions", failed="policy")
    return names.pop()
