"""One round: load, a kill at a seeded moment, the start, the repeats, the copies, and all that was seen of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import NamedTuple

from sealwire.client import Credential
from tests.reliability.calling import Caller, Tape, Taped, send_again
from tests.reliability.history import Answer, Copy, Effect, Entry, History, Order, Sent
from tests.reliability.serving import Served, Victim

CALLERS = 40
AT_LEAST_IN_FLIGHT = 16


class Round(NamedTuple):
    """What a round was: `in_flight` messages were out and unanswered when the kill came, `lost` of them for ever."""

    history: History
    in_flight: int
    lost: int


async def play(served: Served, credentials: Sequence[Credential], name: str, random: Random, victim: Victim) -> Round:
    """Plays a round against a server that runs, and leaves one that runs."""
    tape = Tape(wanted=random.randint(0, 40))
    answers: dict[Order, list[Answer]] = defaultdict(list)
    tls, port = served.trust(), served.state.port
    made = [Caller(credentials[i % len(credentials)], port, tls, tape) for i in range(CALLERS)]
    over = asyncio.Event()

    async def load(caller: Caller, number: int) -> None:
        count = 0
        while not over.is_set():
            # Two principals use the same names at the same time: a key counts for one of them only.
            order = f"{name}-{number // len(credentials)}-{count}"
            answers[caller.principal, order].append(await caller.ask(order))
            count += 1

    async with AsyncExitStack() as stack:
        callers = await asyncio.gather(*(stack.enter_async_context(caller) for caller in made))
        working = [asyncio.create_task(load(caller, number)) for number, caller in enumerate(callers)]
        if tape.wanted:
            await tape.answered.wait()
        await asyncio.sleep(random.random() * 0.1)
        await _busy(served, name)
        in_flight = [message for message in tape.messages if message.status == 0]
        served.kill(victim)
        over.set()
        await asyncio.gather(*working)
    before = list(tape.messages)
    if victim == "group":
        await asyncio.to_thread(served.start)
    else:
        await asyncio.to_thread(served.wait)
    await _ask_again(served, credentials, tape, answers)
    told = await send_again(before, port, tls)
    copies = tuple(Copy(m.key, m.nonce, status) for m, (status, _) in zip(before, told, strict=True))
    lost = sum(message.status == 0 for message in in_flight)
    history = seen(served, name, answers, tape.messages, copies, forgot=victim == "group")
    return Round(history, len(in_flight), lost)


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


async def _ask_again(
    served: Served, credentials: Sequence[Credential], tape: Tape, answers: dict[Order, list[Answer]]
) -> None:
    """What has no verified answer is asked for again, and a quarter of what has one."""
    open_orders = [order for order, told in answers.items() if told[-1].kind != "done"]
    waiting = open_orders + [order for order in answers if order not in open_orders][::4]
    tls = served.trust()
    by_client = {credential.client: credential for credential in credentials}

    async def work() -> None:
        made = {client: Caller(one, served.state.port, tls, tape) for client, one in by_client.items()}
        async with AsyncExitStack() as stack:
            own = {client: await stack.enter_async_context(caller) for client, caller in made.items()}
            while waiting:
                order = waiting.pop(0)
                answers[order].append(await own[order[0]].ask(order[1]))

    await asyncio.gather(*(work() for _ in range(12)))


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
        sent=tuple(Sent(m.order, m.key, m.nonce, m.status) for m in messages),
        copies=copies,
        entries=tuple(Entry(request, (who, order), nonce, bool(d)) for request, who, order, nonce, d in entries),
        effects=tuple(Effect(request, (who, order)) for request, who, order in effects),
        decisions=served.decisions(),
        claims=claims,
        claims_in_all=claims_in_all,
        burnt=served.burnt({(m.key, m.nonce) for m in messages}),
        forgot=forgot,
    )
