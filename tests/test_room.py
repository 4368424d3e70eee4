"""The room for calls at work: full is full, and whoever waits for a body takes none of it."""

import asyncio
from pathlib import Path

import pytest

from sealwire.call import Rule
from sealwire.entry import Room, busy
from sealwire.fronts.asgi import GuardedApp, Message, Receive, Scope, Send
from sealwire.observers.tally import Tally
from sealwire.protocol.ratelimit import parse_limit
from tests.stories.limiting import deliver, told
from tests.stories.sealing import SealedWorld
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.world import Wire

RULES = (
    Rule("/v1/time", frozenset(("GET",)), "open", limits=(parse_limit("100/min per address"),)),
    Rule("/v1/orders", frozenset(("POST",)), "signed"),
)


def test_as_many_as_may_be() -> None:
    """Full with the last one, and not before; who leaves makes room."""
    room = Room(2)
    with room:
        assert not room.is_full()
        with room:
            assert room.is_full()
        assert not room.is_full()
    assert not room.is_full()
    assert Room(0).is_full()


async def test_who_waits_for_a_body_takes_no_room() -> None:
    """While the peer is waited for the room is free; once the part is there, or the peer gone, it is taken again."""
    room, seen = Room(1), []

    async def part() -> tuple[bytes, bool]:
        seen.append(room.is_full())
        return b"x", False

    async def gone() -> tuple[bytes, bool]:
        seen.append(room.is_full())
        raise ConnectionError

    with room:
        assert await room.outside(part)() == (b"x", False)
        assert room.is_full()
        with pytest.raises(ConnectionError):
            await room.outside(gone)()
        assert room.is_full()
    assert seen == [False, False]
    assert not room.is_full()


def test_busy() -> None:
    """It is said when to come again."""
    refusal = busy()
    assert (refusal.code, refusal.status, dict(refusal.fields)) == ("rate-limited/busy", 429, {b"retry-after": b"1"})


class Waiting(SealedWorld):
    """Its app waits until it may go on."""

    def __init__(self, folder: Path, most: int) -> None:
        super().__init__(folder, RULES)
        self.may_go = asyncio.Event()
        self.guard._room = Room(most)
        self.app = GuardedApp(self.slow, self.guard)

    async def slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An app that takes as long as the test likes."""
        await self.may_go.wait()
        await self._app(scope, receive, send)


async def at_work(world: Waiting, count: int) -> list[asyncio.Task[int]]:
    """So many calls in the app, none of them done."""

    async def one() -> int:
        return (await world.send(Wire("GET", b"/v1/time"))).status_code

    tasks = [asyncio.create_task(one()) for _ in range(count)]
    for _ in range(1000):
        if world.guard._room._at_work == count:
            break
        await asyncio.sleep(0)
    assert world.guard._room._at_work == count
    return tasks


async def test_a_full_room_turns_away(tmp_path: Path) -> None:
    """One call more hears when to come again, is not entered, and costs nothing; those at work are not disturbed."""
    world = Waiting(tmp_path, 3)
    working = await at_work(world, 3)
    for _ in range(5):
        async with asyncio.timeout(20):  # one that is let in would wait with the others
            reply = await world.send(Wire("GET", b"/v1/time"))
        assert (reply.status_code, reply.json()["code"]) == (429, "rate-limited")
        assert (reply.headers["retry-after"], reply.headers["connection"]) == ("1", "close")
        assert reply.json()["retryable"]
    world.may_go.set()
    assert [await one for one in working] == [200, 200, 200]
    reply = await world.send(Wire("GET", b"/v1/time"))
    assert told(reply) == {"address-60": 96}
    assert len(world.entered) == 4


async def test_slow_bodies_take_no_room(tmp_path: Path) -> None:
    """Fifty uploads that never come, in a room for two: another call is served; they go on when their bodies come."""
    world = Waiting(tmp_path, 2)
    world.may_go.set()
    began, comes = 0, asyncio.Event()

    async def receive() -> Message:
        nonlocal began
        began += 1
        await comes.wait()
        return {"type": "http.request", "body": BODY, "more_body": False}

    wires = [Wire("POST", b"/v1/orders", BODY).sign(world.signer) for _ in range(50)]
    slow = [asyncio.create_task(deliver(world, wire, receive)) for wire in wires]
    for _ in range(10_000):
        if began == 50:
            break
        await asyncio.sleep(0)
    assert began == 50
    for _ in range(5):
        assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 200
    comes.set()
    assert [sent[0]["status"] for sent in await asyncio.gather(*slow)] == [200] * 50
    assert world.guard._room._at_work == 0


async def test_room_is_given_back(tmp_path: Path) -> None:
    """However a call ends, by an app that fails, a refusal or a client that leaves, its room is there again."""
    world = Waiting(tmp_path, 1)
    world.may_go.set()

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    for _ in range(3):
        assert (await world.send(Wire("GET", b"/nowhere"))).status_code == 404
        assert (await world.send(Wire("POST", b"/v1/orders", BODY))).status_code == 401
        assert await deliver(world, Wire("POST", b"/v1/orders", BODY).sign(world.signer), gone) == []
        world.app = GuardedApp(fails, world.guard)
        assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 500
        world.app = GuardedApp(world.slow, world.guard)
    assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 200


async def test_busy_is_heard_and_health_is_answered(tmp_path: Path) -> None:
    """Observers hear of each call that found no room; whoever asks whether we live is answered all the same."""
    world = Waiting(tmp_path, 0)
    world.guard._deployment = world.guard._deployment._replace(health="/healthz")
    assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 429
    assert (await world.send(Wire("GET", b"/healthz"))).status_code == 200
    (tally,) = (one for one in world.guard._observers if isinstance(one, Tally))
    await tally.flush()
    assert [(row[2], row[3]) for row in world.ledger.tallies] == [("rate-limited", 1)]
