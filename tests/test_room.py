"""The room for calls at work: full is full, and whoever waits for a body takes none of it."""

import asyncio
from pathlib import Path

import pytest

from sealwire.call import Rule
from sealwire.entry import Room, busy
from sealwire.fronts.asgi import TARGET_EXTENSION, GuardedApp, Message, Receive, Scope, Send
from sealwire.protocol.ratelimit import parse_limit
from tests.stories.limiting import deliver, told
from tests.stories.sealing import SealedWorld
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.world import Wire

RULES = (
    Rule("/v1/time", frozenset(("GET",)), "open", limits=(parse_limit("100/min per address"),)),
    Rule("/v1/ticks", frozenset(("GET",)), "open", stream=True),
    Rule("/v1/orders", frozenset(("POST",)), "signed"),
)


def test_as_many_as_may_be() -> None:
    """Full with the last one, and not before; who leaves makes room."""
    room = Room(2)
    first, second = room.take("192.0.2.1"), room.take("192.0.2.2")
    assert first is not None
    assert second is not None
    assert room.take("192.0.2.3") is None
    first.leave()
    third = room.take("192.0.2.3")
    assert third is not None
    assert room.take("192.0.2.4") is None
    assert Room(0).take("") is None
    second.leave()
    third.leave()
    assert room._of == {}


@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_of_one_address_at_most_half(most: int, share: int) -> None:
    """Whoever calls slow rules from one place leaves room for others; a /64 is one place, and nobody's address none."""
    room = Room(most)
    taken = [room.take(f"2001:db8::{number}") for number in range(1, most + 1)]
    assert [place is not None for place in taken] == [True] * share + [False] * (most - share)
    others = [room.take("") for _ in range(most - share)]
    assert all(place is not None for place in others)
    assert room.take("192.0.2.1") is None


async def test_a_turn_for_those_that_came_together() -> None:
    """Who is at work alone goes on at once; of several each lets the others come as far."""
    room, said = Room(2), []

    async def work(name: str) -> None:
        said.append(f"{name} begins")
        await room.turn()
        said.append(f"{name} goes on")

    shared = []
    for _ in range(2):
        assert room.take("") is not None
        shared.append(room.shared)
    assert shared == [False, True]
    await asyncio.gather(work("a"), work("b"))
    assert said == ["a begins", "b begins", "a goes on", "b goes on"]


async def test_who_waits_for_its_peer_takes_no_room() -> None:
    """While the peer is waited for the room is free; once the part is there, or the peer gone, it is taken again."""
    room, seen = Room(1), []
    place = room.take("192.0.2.1")
    assert place is not None

    def is_free() -> bool:
        other = room.take("192.0.2.1")
        if other is not None:
            other.leave()
        return other is not None

    async def part() -> tuple[bytes, bool]:
        seen.append(is_free())
        return b"x", False

    async def gone() -> tuple[bytes, bool]:
        seen.append(is_free())
        raise ConnectionError

    assert await place.reading(part)() == (b"x", False)
    assert not is_free()
    with pytest.raises(ConnectionError):
        await place.reading(gone)()
    assert not is_free()
    place.leave()
    assert seen == [True, True]
    assert is_free()


def test_busy() -> None:
    """It is said when to come again."""
    refusal = busy()
    assert (refusal.code, refusal.status, dict(refusal.fields)) == ("rate-limited/busy", 429, {b"retry-after": b"1"})


class Waiting(SealedWorld):
    """Its app waits until it may go on."""

    def __init__(self, folder: Path, most: int) -> None:
        super().__init__(folder, RULES)
        self.may_go = asyncio.Event()
        self.guard._room = Room(2 * most)  # all of its calls are from one address
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
    await world.tally.flush()
    assert [(row[2], row[3]) for row in world.ledger.tallies] == [("rate-limited", 1)]


async def test_slow_readers_of_a_stream_take_no_room(tmp_path: Path) -> None:
    """Fifty that do not read on what they are sent, in a room for two: another call is served meanwhile."""
    world = Waiting(tmp_path, 2)
    world.may_go.set()
    writing, reads_on = 0, asyncio.Event()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal writing
        if message["type"] == "http.response.body":
            writing += 1
            await reads_on.wait()

    def scope() -> Scope:
        return {
            "type": "http", "method": "GET", "path": "/v1/ticks", "raw_path": b"/v1/ticks", "query_string": b"",
            "headers": [(b"host", b"api.example")], "client": ("192.0.2.1", 4000), "root_path": "",
            "extensions": {TARGET_EXTENSION: {"target": b"/v1/ticks"}},
        }  # fmt: skip

    slow = []
    for number in range(1, 51):
        slow.append(asyncio.create_task(world.app(scope(), receive, send)))
        for _ in range(10_000):
            if writing == number:
                break
            await asyncio.sleep(0)
    assert writing == 50
    assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 200
    reads_on.set()
    await asyncio.gather(*slow)
    assert world.guard._room._at_work == 0
