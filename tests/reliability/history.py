"""
The judge of one round: what clients, app and stores saw of it, held against what is promised.

Pure: a history in, what is wrong with it out, in words. The promises, by the numbers that the findings carry:

1. At most one entry to the app for each (key, nonce), at most one effect for each (principal, idempotency key).
2. Each entry has an earlier durable decision. Each 2xx that a client verified is in the ledger and in the app.
4. A call without an answer was done or not done, never both, and its idempotency key tells which. What a client says
   was not done was not.
5. A session lives as long as the start of the server that it was opened in (`sessions.py`).

What a key may tell in the end is its answer, or "outcome unknown". The second is lawful only for a call of which a send
got no answer: the process died, or the store, between the claim and the recorded end, and nobody but the app can know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from tests.reliability.sessions import Opening, Under, judge_sessions

#: Whose it is, and the id of the order, which is its idempotency key too.
Order = tuple[str, str]


class Answer(NamedTuple):
    """
    What a client has after one call: a verified 2xx, a verified "outcome unknown", another no, the SDK's word that it
    was not done, or nothing.
    """

    kind: Literal["done", "unknown", "refused", "not done", "none"]
    request: str = ""
    body: bytes = b""


class Sent(NamedTuple):
    """
    One message that went out whole, for the `ask`-th asking for its order, and the status that came back, 0 for none.
    What it was `under`, if it was sealed.
    """

    order: Order
    key: str
    nonce: str
    status: int
    ask: int = 0
    under: Under | None = None


class Copy(NamedTuple):
    """The same bytes again, sent by an attacker after the kill."""

    key: str
    nonce: str
    status: int


class Entry(NamedTuple):
    """The app's own note of an entry. `decided`: the decision stood in the ledger's file when the app looked there."""

    request: str
    order: Order
    nonce: str
    decided: bool


class Effect(NamedTuple):
    """What the app did."""

    request: str
    order: Order


class History(NamedTuple):
    """
    One round. `decisions` is request to outcome and `claims` order to "its end is recorded", both of the ledger's file;
    `burnt` are the messages of the round, as (key, nonce), whose nonce is there. `forgot`: the fast store went with the
    kill, or the stop. `orderly`: the server was asked to stop, and had the time to answer. `openings` of sessions are
    those that were answered.
    """

    answers: Mapping[Order, tuple[Answer, ...]]
    sent: tuple[Sent, ...]
    copies: tuple[Copy, ...]
    entries: tuple[Entry, ...]
    effects: tuple[Effect, ...]
    decisions: Mapping[str, str]
    claims: Mapping[Order, bool]
    claims_in_all: int
    burnt: frozenset[tuple[str, str]]
    forgot: bool
    orderly: bool = False
    openings: tuple[Opening, ...] = ()


def judge(history: History) -> list[str]:
    """What is wrong; nothing for a history that keeps its promises."""
    return [
        *_nothing_twice(history),
        *_entries_were_decided(history),
        *_acknowledged_is_kept(history),
        *_the_key_tells(history),
        *_not_done_is_true(history),
        *_an_orderly_stop_loses_nothing(history),
        *_no_copy_is_taken(history),
        *judge_sessions(history.openings, _sealed(history)),
    ]


def _nothing_twice(history: History) -> Iterator[str]:
    for nonce, times in Counter(entry.nonce for entry in history.entries).items():
        if times > 1:
            yield f"1: the message {nonce} entered the app {times} times"
    for order, times in Counter(effect.order for effect in history.effects).items():
        if times > 1:
            yield f"1: {order} was done {times} times"
    for order, times in Counter(entry.order for entry in history.entries).items():
        if times > 1:
            yield f"1: {order} entered the app {times} times"


def _entries_were_decided(history: History) -> Iterator[str]:
    burnt = {nonce for _, nonce in history.burnt}
    for entry in history.entries:
        if not entry.decided:
            yield f"2: {entry.request} entered the app before its decision was durable"
        if history.decisions.get(entry.request) != "entered":
            yield f"2: {entry.request} entered the app and the ledger does not have it"
        if entry.order not in history.claims:
            yield f"2: {entry.order} entered the app without a durable claim of its key"
        if entry.nonce not in burnt:
            yield f"2: {entry.request} entered the app and its nonce is not durable"
    entered = {entry.request for entry in history.entries}
    for effect in history.effects:
        if effect.request not in entered:
            yield f"2: {effect.order} was done by {effect.request}, which never entered the app"
    # One transaction makes both, so the ledger's own books must agree, also for calls that nobody heard of again.
    decided = sum(outcome == "entered" for outcome in history.decisions.values())
    if decided != history.claims_in_all:
        yield f"2: the ledger has {decided} calls let through and {history.claims_in_all} keys claimed"


def _acknowledged_is_kept(history: History) -> Iterator[str]:
    done = {effect.order for effect in history.effects}
    for order, answers in history.answers.items():
        acknowledged = [answer for answer in answers if answer.kind == "done"]
        for answer in acknowledged:
            if history.decisions.get(answer.request) not in ("entered", "repeated"):
                yield f"2: {order} was acknowledged by {answer.request} and the ledger does not have it"
        if acknowledged and order not in done:
            yield f"2: {order} was acknowledged and the app does not have it"
        if acknowledged and not history.claims.get(order):
            yield f"2: {order} was acknowledged and its key has no recorded end"
        if len({answer.body for answer in acknowledged}) > 1:
            yield f"4: {order} was answered in two ways"


def _the_key_tells(history: History) -> Iterator[str]:
    lost = {sent.order for sent in history.sent if sent.status == 0 or sent.status >= 500}
    done = {effect.order for effect in history.effects}
    for order, answers in history.answers.items():
        kinds = [answer.kind for answer in answers]
        if kinds[-1] not in ("done", "unknown"):
            yield f'4: {order} was asked for again and its key tells "{kinds[-1]}"'
        if "done" in kinds and kinds[-1] != "done":
            yield f"4: {order} was acknowledged and is unknown again"
        if kinds[-1] == "unknown" and order not in lost:
            yield f"4: {order} is unknown and no send of it was lost"
        if kinds[-1] == "unknown" and history.claims.get(order) is not False:
            yield f"4: {order} is said to be unknown and the ledger knows better"
    for order in done - history.answers.keys():
        yield f"4: {order} was done and nobody asked for it"


def _not_done_is_true(history: History) -> Iterator[str]:
    asked = {sent.nonce: sent.ask for sent in history.sent}
    for entry in history.entries:
        told, ask = history.answers.get(entry.order, ()), asked.get(entry.nonce, 0)
        if 0 < ask <= len(told) and told[ask - 1].kind == "not done":
            yield f"4: {entry.order} was said not to be done and {entry.request} entered the app"


def _an_orderly_stop_loses_nothing(history: History) -> Iterator[str]:
    lost = {sent.nonce for sent in history.sent if sent.status == 0 or sent.status >= 500}
    for entry in history.entries:
        if history.orderly and entry.nonce in lost:
            yield f"4: {entry.request} entered the app and the stop lost its answer"


def _sealed(history: History) -> list[Under]:
    entered = {entry.nonce for entry in history.entries}
    sealed = [(sent.under, sent.nonce in entered) for sent in history.sent if sent.under is not None]
    return [under._replace(entered=under.entered or entered) for under, entered in sealed]


def _no_copy_is_taken(history: History) -> Iterator[str]:
    # A message is used up by any answer but those that say that nothing was claimed for it.
    used = {(sent.key, sent.nonce) for sent in history.sent if sent.status not in (0, 401)}
    used |= {(sent.key, sent.nonce) for sent in history.sent if any(e.nonce == sent.nonce for e in history.entries)}
    taken = Counter((copy.key, copy.nonce) for copy in history.copies if copy.status != 401)
    for message, times in taken.items():
        if history.forgot or message in used or times > 1:
            yield f"1: a copy of {message[1]} was taken"
    for copy in history.copies:
        if copy.status == 0:
            yield f"1: what became of the copy of {copy.nonce} is not known"
