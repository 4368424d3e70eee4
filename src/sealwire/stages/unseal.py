"""
Unseal: the session that the call names, and what its sealed body says (docs/protocol.md, "Sealed bodies").

The call is proven and its caller allowed before anything is decrypted.
"""

from __future__ import annotations

from urllib.parse import unquote_plus

from sealwire.call import Allowed, Body, Call, Plain, Proof
from sealwire.errors import Refusal
from sealwire.ports import SessionStore
from sealwire.protocol import envelope


class Unseal:
    """
    Refuses: query-in-clear, encryption-required, envelope-malformed, session-unknown, session-expired, decrypt-failed,
    media-type.
    """

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions
        self._headers = envelope.Headers()

    async def __call__(self, call: Call) -> Plain:
        call.get(Allowed)
        _judge_query(call)
        body = call.get(Body).content
        sealed = self._read(call, body) if body else None
        session_id = _named(call, sealed)
        session = await self._sessions.session(session_id)
        if session is None or session.keyid != _signer(call):
            raise Refusal("session-unknown", "unknown", failed="policy")
        if call.now >= session.expires_at:
            raise Refusal("session-expired", "time", failed="policy")
        if await self._sessions.count(session_id) == "spent":
            raise Refusal("session-expired", "spent", failed="policy")
        if sealed is None:
            return Plain(session, b"", b"")
        plaintext = envelope.open_sealed(sealed, session.keys.c2s)
        self._headers.keep(sealed)
        return Plain(session, plaintext, _judged_type(call, sealed))

    def _read(self, call: Call, body: bytes) -> envelope.Envelope:
        if call.request.fields.get(b"content-type") != envelope.MEDIA_TYPE:
            raise Refusal("encryption-required", "plaintext", failed="policy")
        return envelope.read(body, self._headers)


def _judge_query(call: Call) -> None:
    names = [unquote_plus(pair.partition("=")[0]) for pair in call.request.query.decode("latin-1").split("&") if pair]
    if any(name not in call.rule.clear_query for name in names):
        raise Refusal("query-in-clear", "parameter", failed="policy")


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


def _signer(call: Call) -> str:
    proof = call.get(Proof)
    return proof.session.keyid if proof.session is not None else proof.keyid


def _judged_type(call: Call, sealed: envelope.Envelope) -> bytes:
    content_type = sealed.header.content_type.encode("ascii", "replace")
    if not call.rule.takes(content_type):
        raise Refusal("media-type", "sealed", f"This route takes {', '.join(sorted(call.rule.content_types))}.")
    return content_type
