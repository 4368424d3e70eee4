"""A sound history damaged in one place: each a loss, a double or a lie that the judge must find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tests.reliability.history import Answer, Copy, Effect, Entry, History, Order


class Damage(NamedTuple):
    """`history` with something planted in it, and a part of the finding that must come of it."""

    what: str
    history: History
    finding: str


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
