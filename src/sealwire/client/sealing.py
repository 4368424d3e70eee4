"""
One call as its rule wants it: in clear, or sealed under a session, which is opened, renewed and left as needed
(docs/protocol.md, "Sealed bodies").

Owns: that what the rules want sealed goes out sealed or not at all, whatever an answer says; how often one call may
find its session over; and that a call which may have been carried out is never said to be "not done".
Refuses to know: sockets, threads, how a session is opened, how a reply is proven.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import NamedTuple, TypeVar

from sealwire.client.conversation import converse
from sealwire.client.errors import KeyUnknown, NotSignable, OutcomeUnknown, Refused, ReplyUnproven
from sealwire.client.exchange import Call, Cut, Incoming, Outgoing, Proven, Turn
from sealwire.client.origin import Origin
from sealwire.client.problems import outcome_of
from sealwire.client.rulebook import RuleBook
from sealwire.client.rules import Sealed, choose
from sealwire.client.session import PATH, Session, Sessions, opening
from sealwire.client.signing import NONCE_BYTES, SAFE, Signatures, by_session, compose, nonce_of
from sealwire.client.wrapping import code_of, judge, key_of, seal, unseal
from sealwire.protocol import envelope

#: What this client opens sessions with unless it is told otherwise, best first.
DEFAULT_KEMS = ("MLKEM768-X25519", "X25519", "P-256")
#: How often one call may find that its session is over.
_RENEWALS = 3
_OVER = frozenset(("session-unknown", "session-expired"))
# Of these the server says, in clear and signed, that the call should have been sealed otherwise than its rules said.
_OTHERWISE = frozenset(("encryption-required", "encryption-unexpected", "query-in-clear"))

Result = TypeVar("Result")
Carried = Generator[Outgoing | Turn, Incoming, Result]


class Ends(NamedTuple):
    """What the calls of one process share: the origin, the key, the rules, the session."""

    origin: Origin
    signatures: Signatures
    rules: RuleBook
    sessions: Sessions
    kems: tuple[str, ...]
    clock: Callable[[], float]
    entropy: Callable[[int], bytes]


def carry_out(call: Call, ends: Ends, *, resumed: bool = False) -> Carried[Proven]:
    """
    The conversation of one call with its Idempotency-Key, sealed where its rule says so. `resumed` as in `Talk`.

    Raises: as `converse`; ReplyUnproven for an answer in clear to a sealed call, or one that does not open; NotSignable
    where no rule decides the call, or it cannot be sealed.
    """
    sealed = yield from _decide(call, ends)
    if sealed is None:
        proven = yield from converse(call, ends.origin, ends.signatures, ends.clock, ends.entropy, resumed=resumed)
    else:
        proven = yield from _sealed(call, sealed, ends, in_doubt=resumed)
    if code_of(proven) in _OTHERWISE:
        # The rules have changed. The answer stands as it is; the next call asks for them anew.
        ends.rules.forget()
    return proven


def _decide(call: Call, ends: Ends) -> Carried[Sealed | None]:
    asked_at = ends.clock()
    rules = yield from ends.rules.ask(ends.origin, ends.clock, ends.entropy)
    try:
        return rules.decide(call.method, call.target, silent=not call.body)
    except NotSignable:
        if rules.asked_at >= asked_at:
            raise
    # Held ones may lack what is new at the server.
    rules = yield from ends.rules.ask(ends.origin, ends.clock, ends.entropy, past=rules)
    return rules.decide(call.method, call.target, silent=not call.body)


def leave(ends: Ends) -> Generator[Outgoing, Incoming, None]:
    """
    Ends the session that is held, if there is one: one request, whatever becomes of it, since a session that is left
    ends by itself soon.
    """
    held = ends.sessions.leave()
    if held is None:
        return
    path = PATH + b"/" + held.id.encode("ascii")
    created = int(ends.clock() + ends.origin.offset_seconds)
    nonce = nonce_of(ends.entropy(NONCE_BYTES))
    signed = ends.signatures.put_on(compose(Call("DELETE", path), ends.origin.authority), created, nonce)
    with contextlib.suppress(Cut, ReplyUnproven):
        yield Outgoing("DELETE", path, signed.request.headers, b"")


def with_key(call: Call, entropy: Callable[[int], bytes]) -> Call:
    """One Idempotency-Key for all that is sent of this call, under whichever session or approval."""
    if call.method in SAFE or any(name.lower() == b"idempotency-key" for name, _ in call.headers):
        return call
    fresh = nonce_of(entropy(NONCE_BYTES)).encode("ascii")
    return call._replace(headers=(*call.headers, (b"idempotency-key", fresh)))


def _sealed(call: Call, sealed: Sealed, ends: Ends, *, in_doubt: bool) -> Carried[Proven]:
    judge(call, sealed)
    kem = choose(sealed, ends.kems)
    # In doubt: it may have been carried out already. Then nothing later shows that it was not.
    forgiven = False
    for last in (*([False] * _RENEWALS), True):
        session = yield from _session(kem, sealed, call, ends, in_doubt=in_doubt)
        if isinstance(session, Proven):
            return session
        try:
            proven = yield from _under(session, call, sealed, ends, in_doubt=in_doubt)
        except KeyUnknown:
            # Unsigned, and all that a server can say which lost its sessions: one more try, under the same key.
            if last or forgiven or not sealed.session_mac:
                raise
            forgiven = in_doubt = True
            ends.sessions.drop(session)
            continue
        # A sealed answer is never about the session, whatever code is inside: the guard had opened the call.
        if last or code_of(proven) not in _OVER:
            opened = unseal(proven, session, key_of(call))
            alone = opened.sends == 1 and not in_doubt
            return opened._replace(outcome=outcome_of(opened, ends.origin.name, alone=alone))
        in_doubt = in_doubt or proven.outcome != "not done"
        ends.sessions.drop(session)
    raise AssertionError("the last round returns")


def _session(kem: str, sealed: Sealed, call: Call, ends: Ends, *, in_doubt: bool) -> Carried[Session | Proven]:
    """A session for one message of this call, or the refusal of one. Raises: as `opening`, in the name of the call."""
    session = _held(sealed, ends)
    if session is not None:
        return session
    yield Turn.TAKE
    opened: Session | Proven | None = _held(sealed, ends)
    outcome = "unknown" if in_doubt else "not done"
    if opened is None:
        try:
            opened = yield from opening(kem, ends.origin, ends.signatures, ends.clock, ends.entropy, resumed=in_doubt)
        except (OutcomeUnknown, Refused, ReplyUnproven) as why:
            why.outcome, why.idempotency_key = outcome, key_of(call)
            raise
        if isinstance(opened, Session):
            opened.take(0)
            ends.sessions.hold(opened)
    yield Turn.GIVE
    return opened if isinstance(opened, Session) else opened._replace(outcome=outcome)


def _held(sealed: Sealed, ends: Ends) -> Session | None:
    return ends.sessions.take(ends.clock() + ends.origin.offset_seconds, sealed.kems)


def _under(session: Session, call: Call, sealed: Sealed, ends: Ends, *, in_doubt: bool) -> Carried[Proven]:
    """The call's answer as it came, proven and not opened."""
    signatures, mac = ends.signatures, None
    if sealed.session_mac:
        # All keys and not the one: a traceback that shows the values of its frames would show a bare key.
        signatures, mac = by_session(session.id, session.keys.c2s_mac), (session.id, session.keys)
    outer = seal(call, session, ends.entropy(envelope.IV_BYTES))
    return (yield from converse(outer, ends.origin, signatures, ends.clock, ends.entropy, mac=mac, resumed=in_doubt))
