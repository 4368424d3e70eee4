"""A sound history damaged in one place: each a loss, a double or a lie that the judge must find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.reliability.history import Answer, Copy, Effect, Entry, History, Order, Sent, judge
from tests.reliability.sessions import Opening, Under


class Damage(NamedTuple):
    """`history` with something planted in it, and a part of the finding that must come of it."""

    what: str
    history: History
    finding: str


def missed(history: History) -> list[str]:
    """The damages to a history that the judge does not find."""
    return [one.what for one in damages(history) if not any(one.finding in finding for finding in judge(one.history))]


def damages(history: History) -> Iterator[Damage]:
    """Every kind of damage, done to a history that has an acknowledged order, and an unknown one that entered."""
    order, entry, effect = _acknowledged(history)
    told = history.answers[order]
    yield Damage("the app lost it", history._replace(effects=_without(history.effects, effect)), "app does not have")
    yield Damage("done twice", history._replace(effects=(*history.effects, effect)), "was done 2 times")
    yield Damage("one message, two entries", history._replace(entries=(*history.entries, entry)), "entered the app 2")
    twice = Entry("req_other", order, "another", decided=True)
    yield Damage("one key, two entries", history._replace(entries=(*history.entries, twice)), "entered the app 2 times")
    lost = {request: outcome for request, outcome in history.decisions.items() if request != entry.request}
    yield Damage("the ledger lost it", history._replace(decisions=lost), "the ledger does not have it")
    yield Damage("a decision that nobody asks for", history._replace(decisions=_one_less(history)), "keys claimed")
    early = entry._replace(decided=False)
    entries = tuple(early if one == entry else one for one in history.entries)
    yield Damage("entered too early", history._replace(entries=entries), "before its decision was durable")
    unclaimed = {one: ended for one, ended in history.claims.items() if one != order}
    yield Damage("the claim lost", history._replace(claims=unclaimed), "without a durable claim")
    yield Damage("the end lost", history._replace(claims={**history.claims, order: False}), "no recorded end")
    burnt = frozenset(message for message in history.burnt if message[1] != entry.nonce)
    yield Damage("the nonce lost", history._replace(burnt=burnt), "its nonce is not durable")
    stray = Effect("req_stray", order)
    yield Damage("done by nobody", history._replace(effects=(*history.effects, stray)), "never entered the app")
    other = told[-1]._replace(body=b"another answer", kind="done", request=told[0].request)
    yield Damage("two answers", _with_answers(history, order, (*told, other)), "in two ways")
    yield Damage("unknown again", _with_answers(history, order, (*told, Answer("unknown"))), "unknown again")
    yield Damage("refused", _with_answers(history, order, (*told, Answer("refused"))), 'its key tells "refused"')
    calm = tuple(sent._replace(status=200) if sent.order in _unknown(history) else sent for sent in history.sent)
    yield Damage("unknown for no reason", history._replace(sent=calm), "no send of it was lost")
    ended = {**history.claims, **dict.fromkeys(_unknown(history), True)}
    yield Damage("unknown though it ended", history._replace(claims=ended), "the ledger knows better")
    forgotten = {one: answers for one, answers in history.answers.items() if one != order}
    yield Damage("done for nobody", history._replace(answers=forgotten), "nobody asked for it")
    key = next(sent.key for sent in history.sent if sent.nonce == entry.nonce)
    copies = (*history.copies, Copy(key, entry.nonce, 200))
    yield Damage("a copy taken", history._replace(copies=copies, forgot=False), "a copy of")
    fresh = (*history.copies, Copy(key, "never heard of", 200))
    yield Damage("a copy taken after a start", history._replace(copies=fresh, forgot=True), "a copy of")
    both = (*history.copies, *[Copy(key, "never heard of", 200)] * 2)
    yield Damage("two copies taken", history._replace(copies=both, forgot=False), "a copy of")
    silent = (*history.copies, Copy(key, entry.nonce, 0))
    yield Damage("a copy without an answer", history._replace(copies=silent), "is not known")
    denied = (Answer("not done"), *told[1:])
    yield Damage("said not to be done", _with_answers(history, order, denied), "was said not to be done")
    cut = _resent(history, entry.nonce, lambda sent: sent._replace(status=0))
    yield Damage("a stop cuts calls off", cut._replace(orderly=True), "the stop lost its answer")
    if history.openings:
        yield from _session_damages(history, entry)


def _session_damages(history: History, entry: Entry) -> Iterator[Damage]:
    """What a session must not do, done to the one that an entry came under."""
    under = next(sent.under for sent in history.sent if sent.nonce == entry.nonce)
    assert under is not None
    opening = next(opening for opening in history.openings if opening.session == under.session)

    def but(change: Callable[[Under], Under]) -> History:
        return _resent(history, entry.nonce, lambda sent: sent._replace(under=change(under)))

    later = under._replace(start=under.start + 1)
    yield Damage("a session outlives its start", but(lambda _: later), "outlived the start")
    unheard = _resent(history, entry.nonce, lambda sent: sent._replace(status=0, under=later._replace(answered=False)))
    yield Damage("it does, and the answer is lost", unheard, "outlived the start")
    refused = but(lambda _: later._replace(code="validation"))
    without = refused._replace(entries=tuple(one for one in history.entries if one != entry))
    yield Damage("it is found, and refused by a later judgement", without, "outlived the start")
    gone = but(lambda one: one._replace(code="session-unknown"))
    yield Damage("a session is lost", gone, "was lost in the start")
    gone = but(lambda one: one._replace(code="key-unknown"))
    yield Damage("a session's key is lost", gone, "was lost in the start")
    yield Damage("a session of another client", but(lambda one: one._replace(client=-1)), "was used by client -1")
    yield Damage("a session of nobody", but(lambda one: one._replace(session="ses_other")), "which nobody opened")
    again = (*history.openings, opening._replace(start=-1))
    yield Damage("one session, two openings", history._replace(openings=again), "was opened 2 times")
    needless = (*history.openings, Opening(opening.client, "ses_needless", opening.start))
    yield Damage("a needless handshake", history._replace(openings=needless), "opened 2 sessions in start")


def _acknowledged(history: History) -> tuple[Order, Entry, Effect]:
    """An order whose first answer was the app's own, with its entry and its effect."""
    for entry in history.entries:
        told = history.answers.get(entry.order, ())
        if told and told[0].kind == "done" and told[0].request == entry.request:
            (effect,) = (effect for effect in history.effects if effect.order == entry.order)
            return entry.order, entry, effect
    raise AssertionError("no order of this round was acknowledged")


def _unknown(history: History) -> set[Order]:
    found = {order for order, answers in history.answers.items() if answers[-1].kind == "unknown"}
    assert found, "no order of this round ended unknown"
    return found


def _without(effects: tuple[Effect, ...], gone: Effect) -> tuple[Effect, ...]:
    return tuple(effect for effect in effects if effect != gone)


def _one_less(history: History) -> dict[str, str]:
    """A row of the ledger whose call neither app nor client ever spoke of."""
    entered = [request for request, outcome in history.decisions.items() if outcome == "entered"]
    return {request: outcome for request, outcome in history.decisions.items() if request != entered[-1]}


def _with_answers(history: History, order: Order, told: tuple[Answer, ...]) -> History:
    return history._replace(answers={**history.answers, order: told})


def _resent(history: History, nonce: str, change: Callable[[Sent], Sent]) -> History:
    return history._replace(sent=tuple(change(sent) if sent.nonce == nonce else sent for sent in history.sent))
