"""
One call as its rule wants it: in clear, or sealed under a session, which is opened, renewed and left as needed
(docs/protocol.md, "Sealed bodies").

Owns: that what the rules want sealed goes out sealed or not at all, whatever an answer says; and that of a sealed
call's answer nothing is handed out that was not sealed, but for refusals of the guard before it opened the call.
Refuses to know: sockets, threads, how a session is opened, how a reply is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple
from urllib.parse import unquote_plus

from sealwire.client.conversation import Conversation, converse
from sealwire.client.errors import KeyUnknown, NotSignable, ReplyUnproven
from sealwire.client.exchange import Call, Incoming, Outgoing, Proven
from sealwire.client.origin import Origin
from sealwire.client.problems import read_problem
from sealwire.client.rules import RuleBook, Sealed, choose
from sealwire.client.session import PATH, Session, Sessions, opening
from sealwire.client.signing import NONCE_BYTES, SAFE, Signatures, by_session, nonce_of
from sealwire.errors import Refusal
from sealwire.protocol import envelope

#: What this client opens sessions with unless it is told otherwise, best first.
DEFAULT_KEMS = ("MLKEM768-X25519", "X25519", "P-256")
#: How often one call may find that its session is over.
_RENEWALS = 3
_OVER = frozenset(("session-unknown", "session-expired"))
# Of these the server says, in clear and signed, that the call should have been sealed otherwise than its rules said.
_OTHERWISE = frozenset(("encryption-required", "encryption-unexpected", "query-in-clear"))


class Ends(NamedTuple):
    """What the calls of one process share: the origin, the key, the rules, the session."""

    origin: Origin
    signatures: Signatures
    rules: RuleBook
    sessions: Sessions
    kems: tuple[str, ...]
    clock: Callable[[], float]
    entropy: Callable[[int], bytes]


def carry_out(call: Call, ends: Ends) -> Conversation:
    """
    The conversation of one call, sealed where its rule says so.

    Raises: as `converse`; ReplyUnproven for an answer in clear to a sealed call, or one that does not open; NotSignable
    where the call cannot be sealed.
    """
    rules = yield from ends.rules.ask(ends.origin, ends.clock, ends.entropy)
    sealed = rules.decide(call.method, call.target, silent=not call.body)
    if sealed is None:
        proven = yield from converse(call, ends.origin, ends.signatures, ends.clock, ends.entropy)
    else:
        proven = yield from _sealed(_with_key(call, ends), sealed, ends)
    if _code(proven) in _OTHERWISE:
        # The rules have changed. The answer stands as it is; the next call asks for them anew.
        ends.rules.forget()
    return proven


def leave(ends: Ends) -> Generator[Outgoing, Incoming, None]:
    """Ends the session that is held, if there is one. Raises: as a call."""
    held = ends.sessions.leave()
    if held is not None:
        call = Call("DELETE", PATH + b"/" + held.id.encode("ascii"))
        yield from converse(call, ends.origin, ends.signatures, ends.clock, ends.entropy, idempotent=False)


def _with_key(call: Call, ends: Ends) -> Call:
    """One Idempotency-Key for all that is sent of this call, under whichever session."""
    if call.method in SAFE or any(name.lower() == b"idempotency-key" for name, _ in call.headers):
        return call
    fresh = nonce_of(ends.entropy(NONCE_BYTES)).encode("ascii")
    return call._replace(headers=(*call.headers, (b"idempotency-key", fresh)))


def _sealed(call: Call, sealed: Sealed, ends: Ends) -> Conversation:
    _judge(call, sealed)
    kem = choose(sealed, ends.kems)
    repeated = False
    for last in (*([False] * _RENEWALS), True):
        session = ends.sessions.take(ends.clock() + ends.origin.offset_seconds)
        if session is None:
            opened = yield from opening(kem, ends.origin, ends.signatures, ends.clock, ends.entropy)
            if isinstance(opened, Proven):
                return opened
            session = opened
            session.take(0)
            ends.sessions.hold(session)
        try:
            proven = yield from _under(session, call, sealed, ends)
        except KeyUnknown:
            # Unsigned, and all that a server can say which lost its sessions: one more try, under the same key.
            if not sealed.session_mac or repeated:
                raise
            repeated = True
            ends.sessions.drop(session)
            continue
        if _code(proven) not in _OVER or last:
            return proven
        ends.sessions.drop(session)
    raise AssertionError("the last round returns")


def _judge(call: Call, sealed: Sealed) -> None:
    if call.stream:
        raise NotSignable("the answer of a sealed route is no stream")
    query = call.target.partition(b"?")[2].decode("latin-1")
    shown = {unquote_plus(pair.partition("=")[0]) for pair in query.split("&") if pair} - sealed.clear_query
    if shown:
        raise NotSignable("the route is sealed, and would show a query parameter: put it into the body")


def _under(session: Session, call: Call, sealed: Sealed, ends: Ends) -> Conversation:
    signatures, mac = ends.signatures, None
    if sealed.session_mac:
        signatures, mac = by_session(session.id, session.keys.c2s_mac), (session.id, session.keys.s2c_mac)
    outer = _seal(call, session, ends.entropy(envelope.IV_BYTES))
    proven = yield from converse(outer, ends.origin, signatures, ends.clock, ends.entropy, mac=mac)
    return _open(proven, session)


def _seal(call: Call, session: Session, iv: bytes) -> Call:
    """The call as whoever terminates TLS sees it."""
    types = [value for name, value in call.headers if name.lower() == b"content-type"]
    headers = [
        (name, value) for name, value in call.headers if name.lower() not in (b"content-type", b"content-length")
    ]
    if not call.body:
        return call._replace(headers=(*headers, (b"sealwire-session", session.id.encode("ascii"))))
    content_type = types[0].decode("latin-1") if types else "application/octet-stream"
    try:
        protected = envelope.protect(session.id, content_type)
    except Refusal:
        raise NotSignable("the Content-Type cannot be sealed") from None
    body = envelope.seal(session.keys.c2s, protected, iv, call.body)
    return call._replace(headers=(*headers, (b"content-type", envelope.MEDIA_TYPE)), body=body)


def _open(proven: Proven, session: Session) -> Proven:
    """The answer as the app gave it. Raises: ReplyUnproven."""
    types = [value for name, value in proven.headers if name == b"content-type"]
    if types == [envelope.MEDIA_TYPE]:
        try:
            found = envelope.read(proven.body, envelope.Headers())
            if found.header.session != session.id:
                raise ReplyUnproven("it is sealed under another session", proven.status)
            plaintext = envelope.open_sealed(found, session.keys.s2c)
        except Refusal:
            raise ReplyUnproven("it does not open", proven.status) from None
        headers = [(name, value) for name, value in proven.headers if name not in (b"content-type", b"content-digest")]
        inner = (b"content-type", found.header.content_type.encode("latin-1", "replace"))
        return proven._replace(headers=(*headers, inner), body=plaintext)
    if proven.body and (proven.keyid == session.id or _code(proven) is None):
        raise ReplyUnproven("the call was sealed, and its answer is in clear", proven.status)
    return proven


def _code(proven: Proven) -> str | None:
    """The slug of a refusal of the guard's form, else None."""
    document = read_problem(proven.status, proven.headers, proven.body)
    return str(document["code"]) if document is not None else None
