"""One round: load, a strike at a seeded moment, the repeats, the copies, and all that was seen of it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import NamedTuple

from sealwire.client import Credential
from tests.fronts.test_workers import worker_of
from tests.reliability.calling import Caller, send_again
from tests.reliability.history import Answer, Copy, Effect, Entry, History, Order, Sent, judge
from tests.reliability.serving import SIGNED, Served
from tests.reliability.sessions import Opening, Under, judge_sessions
from tests.reliability.strike import Killer, Strike, started, strike_at
from tests.reliability.tape import Tape, Taped

CLIENTS, CALLS_OF_EACH = 8, 5
AT_LEAST_IN_FLIGHT = 16
_TRIES = 5
_AGAIN_AT_ONCE, _AGAIN_AFTER = 3, 8
_SHARE_SECONDS = 30


class Round(NamedTuple):
    """
    What a round was: `in_flight` messages were out and unanswered when the strike came, `lost` of them for ever. The
    messages are as they lie on the `tape`.
    """

    history: History
    in_flight: int
    lost: int
    tape: Tape

    @property
    def had_every_end(self) -> bool:
        """Whether there is a call among them that only the app knows the end of."""
        return any(told[-1].kind == "unknown" for told in self.history.answers.values())


def played(
    served: Served,
    seed: int,
    choose: Callable[[Random], Strike],
    paths: Sequence[str] = (SIGNED,),
    credentials: Sequence[Credential] = (),
) -> Round:
    """
    A round whose strike met enough calls. One that did not counts for its findings all the same. Without `credentials`
    its clients are enrolled for it: to a key as old as the last start no call is granted at once so soon after that.
    """
    for again in range(_TRIES):
        name = f"{seed}.{again}"
        random = Random(f"{seed} {again}")  # noqa: S311  # a seed repeats a round
        strike = choose(random)
        own = credentials or [served.enrolled(f"{name}.{principal}") for principal in ("one", "two")]
        one = asyncio.run(play(served, own, name, random, strike, paths))
        assert judge(one.history) == [], f"seed {seed}, try {again}: {strike}"
        if _met_enough(one, strike):
            return one
    raise AssertionError(f"seed {seed}: {one.in_flight} calls in flight, {one.lost} lost")


def _met_enough(one: Round, strike: Strike) -> bool:
    """Unanswered when the strike came and, if it was a kill that nobody survived, for ever after."""
    if strike.victim == "one worker":
        return one.in_flight >= AT_LEAST_IN_FLIGHT and one.lost > 0
    return (one.in_flight if strike.victim == "stopped" else one.lost) >= AT_LEAST_IN_FLIGHT


async def play(
    served: Served,
    credentials: Sequence[Credential],
    name: str,
    random: Random,
    strike: Strike,
    paths: Sequence[str] = (SIGNED,),
) -> Round:
    """Plays a round against a server that runs, and leaves one that runs."""
    tape = Tape(wanted=random.randint(0, 40))
    answers: dict[Order, list[Answer]] = defaultdict(list)
    tls, port = served.trust(), served.state.port
    over = asyncio.Event()

    async def load(caller: Caller, number: int) -> None:
        count = 0
        while not over.is_set():
            # Two principals use the same names at the same time: a key counts for one of them only.
            order = f"{name}-{number // len(credentials)}-{count}"
            answers[caller.principal, order].append(await caller.ask(order))
            count += 1

    async with AsyncExitStack() as stack:
        made = [
            Caller(credentials[i % len(credentials)], port, tls, tape, paths=paths, connections=CALLS_OF_EACH)
            for i in range(CLIENTS)
        ]
        callers = await asyncio.gather(*(stack.enter_async_context(caller) for caller in made))
        working = [asyncio.create_task(load(callers[i % CLIENTS], i)) for i in range(CLIENTS * CALLS_OF_EACH)]
        if tape.wanted:
            await tape.answered.wait()
        await asyncio.sleep(random.random() * 0.1)
        await _busy(served, name)
        in_flight = [message for message in tape.messages if message.status == 0]
        if not strike.wait:
            over.set()
        before = await strike_at(served, strike, tape, working)
        if strike.again is not None:
            tape.watcher = killer = Killer(served, strike.again, random.randint(1, _AGAIN_AFTER))
        over.set()
        await asyncio.gather(*working)
        if strike.again is not None:
            killer.kill()
            before = await started(served, tape)
        await _ask_again(callers, answers)
        if any(message.session for message in tape.messages):
            await _until_all_share(served, name, callers, tape, answers)
        told = await send_again(before, port, tls)
    copies = tuple(Copy(m.key, m.nonce, status) for m, status in zip(before, told, strict=True))
    lost = sum(message.status == 0 for message in in_flight)
    history = seen(served, name, answers, tape.messages, copies, forgot=strike.ends_the_start)
    return Round(history._replace(orderly=strike.victim == "stopped"), len(in_flight), lost, tape)


async def _busy(served: Served, name: str) -> None:
    """
    Until the app is in the midst of enough orders, or after so many looks. What clients have not read yet says little:
    they are as busy as the server, and an answer may wait for them.
    """
    midst = "SELECT (SELECT count(*) FROM entries {0}) - (SELECT count(*) FROM effects {0})"
    for _ in range(400):
        ((count,),) = served.rows(served.books, midst.format(f"WHERE id LIKE '{name}-%'"))
        if count >= AT_LEAST_IN_FLIGHT // 2:
            break
        await asyncio.sleep(0.002)


async def _ask_again(callers: Sequence[Caller], answers: dict[Order, list[Answer]]) -> None:
    """The same clients ask again for what has no verified answer, and for a quarter of what has one."""
    open_orders = [order for order, told in answers.items() if told[-1].kind != "done"]
    waiting: dict[str, list[str]] = defaultdict(list)
    for principal, name in open_orders + [order for order in answers if order not in open_orders][::4]:
        waiting[principal].append(name)

    async def work(caller: Caller) -> None:
        while names := waiting[caller.principal]:
            name = names.pop(0)
            answers[caller.principal, name].append(await caller.ask(name))

    await asyncio.gather(*(work(caller) for caller in callers for _ in range(_AGAIN_AT_ONCE)))


async def _until_all_share(
    served: Served, name: str, callers: Sequence[Caller], tape: Tape, answers: dict[Order, list[Answer]]
) -> None:
    """
    Until the workers there are share the clients' sessions, or one was not found where it must be. Which worker a new
    connection comes to is the kernel's choice.
    """

    async def ask(caller: Caller, order: str) -> None:
        await caller.reconnect()
        answers[caller.principal, order].append(await caller.ask(order))

    until, turn = time.monotonic() + _SHARE_SECONDS, 0
    while not shared(served, tape) and not list(judge_sessions(*_sessions(tape.messages))):
        assert time.monotonic() < until, "some worker takes no call in a session, or only in those that it opened"
        await asyncio.gather(*(ask(caller, f"{name}-share-{turn}-{i}") for i, caller in enumerate(callers)))
        turn += 1


def shared(served: Served, tape: Tape) -> bool:
    """
    Whether as many workers as there must be took calls in the sessions of this start, and some worker took one in a
    session that another opened, which may be dead by now; true where one process serves alone.
    """
    if served.count == 1:
        return True
    workers = set(served.workers())
    judges = worker_of(served.state, [message.request for message in tape.messages])
    openers = {message.session: judges.get(message.request) for message in tape.messages if message.opens}
    took = {
        (judges[message.request], openers[message.session])
        for message in tape.messages
        if message.status == 200 and message.start == tape.start and openers.get(message.session)
        # a call that was answered this moment has no line yet, and one of a worker that was killed then never has
        if message.request in judges
    }
    all_took = len(workers) == served.count and workers <= {judge for judge, _ in took}
    return all_took and any(judge != opener for judge, opener in took)


def seen(
    served: Served,
    name: str,
    answers: Mapping[Order, Sequence[Answer]],
    messages: list[Taped],
    copies: tuple[Copy, ...] = (),
    *,
    forgot: bool = False,
) -> History:
    """What clients, app and ledger hold of the orders whose names begin with `name-`."""
    orders = f"FROM {{}} WHERE id LIKE '{name}-%'"
    entries = served.rows(served.books, "SELECT request, principal, id, nonce, decided " + orders.format("entries"))
    effects = served.rows(served.books, "SELECT request, principal, id " + orders.format("effects"))
    claims, claims_in_all = served.claims(answers)
    return History(
        answers={order: tuple(told) for order, told in answers.items()},
        sent=tuple(Sent(m.order, m.key, m.nonce, m.status, m.ask, _under(m)) for m in messages),
        copies=copies,
        entries=tuple(Entry(request, (who, order), nonce, bool(d)) for request, who, order, nonce, d in entries),
        effects=tuple(Effect(request, (who, order)) for request, who, order in effects),
        decisions=served.decisions(),
        claims=claims,
        claims_in_all=claims_in_all,
        burnt=served.burnt({(m.key, m.nonce) for m in messages}),
        forgot=forgot,
        openings=_sessions(messages)[0],
    )


def _sessions(messages: list[Taped]) -> tuple[tuple[Opening, ...], tuple[Under, ...]]:
    """The sessions that were opened, and what was sent under them."""
    openings = tuple(Opening(m.client, m.session, m.start) for m in messages if m.opens and m.session)
    return openings, tuple(under for m in messages if (under := _under(m)) is not None)


def _under(message: Taped) -> Under | None:
    if message.opens or not message.session:
        return None
    return Under(message.client, message.session, message.start, message.status != 0, message.code)
