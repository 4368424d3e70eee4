"""Accepted once also across a restart, a set clock, and a store that loses its last second"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sealwire.build import Ports, wire
from sealwire.call import Rule
from sealwire.fronts.asgi import GuardedApp
from sealwire.guard import Deployment
from sealwire.ports import BucketStore, Ledger, NonceStore
from sealwire.stores import sqlite_fast
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_fast import SqliteFast
from sealwire.stores.sqlite_file import SqliteFile
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import ORIGIN, RULES, START, Wire, World

HOUR = 3600


def start(world: World, nonces: NonceStore, ledger: Ledger, rules: tuple[Rule, ...] = RULES) -> None:
    """The world's server starts with these stores; key directory, key files and clock are those it had."""
    buckets: BucketStore = MemoryBuckets(world.clock)
    ports = Ports(
        world.directory, ledger, nonces, MemorySessions(world.clock), buckets, world.keyring, world.clock, os.urandom,
        lambda: None, world.approvals, world.approvals, world.notices, world.apikeys, world.apikeys,
    )  # fmt: skip
    guard = wire(rules, Deployment(ORIGIN, frozenset(("api.example",)), "policy-1"), ports)
    world.app = GuardedApp(world._app, guard)


def restart(world: World) -> None:
    """The process ends and another begins: what was held in memory is gone, what is durable is not."""
    start(world, MemoryNonces(world.clock, os.urandom), world.ledger)


async def offered(world: World, request: Wire) -> str:
    """The server nonce that this request is refused with."""
    reply: httpx2.Response = await world.send(request)
    found = re.search(r'nonce="([^"]+)"', reply.headers["accept-signature"])
    assert reply.status_code == 401
    assert found is not None
    return found[1]


async def replayed_until_it_ends(world: World, request: Wire, until: float) -> None:
    """The same bytes again every few seconds: none of them is accepted."""
    while world.clock.at < until:
        entered = len(world.entered)
        assert (await world.send(request)).status_code == 401
        assert len(world.entered) == entered
        world.clock.at += 3


async def test_a_call_dated_ahead_before_a_restart(world: World) -> None:
    """
    C8, C22: a call dated 9 s ahead is accepted, the server starts anew with an empty memory, and the call comes again.

    Stopped by: verify
    """
    request = Wire().sign(world.signer, created=int(START) + 9)
    assert (await world.send(request)).status_code == 200
    world.clock.at += 1
    restart(world)
    problem = await refused(world, request, 401, "clock-skew")
    assert "started anew" in str(problem["detail"])
    await replayed_until_it_ends(world, request, START + 100)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("off", [-HOUR, HOUR])
async def test_a_server_nonce_of_an_earlier_start(world: World, off: int, method: str) -> None:
    """
    C19, C22: a client an hour off used a server nonce; after a restart its call comes again, also when the time has
    come that it is dated at.

    Stopped by: verify
    """

    def call(nonce: str = "") -> Wire:
        request = Wire(method, b"/v1/orders", BODY) if method == "POST" else Wire()
        return request.sign(world.signer, created=int(START) + off, nonce=nonce)

    request = call(await offered(world, call()))
    assert (await world.send(request)).status_code == 200
    world.clock.at += 1
    restart(world)
    await replayed_until_it_ends(world, request, START + 100)
    # Other calls have swept out of every memory what had run out by its issue time.
    world.clock.at = START + HOUR
    other = Wire("POST", b"/v1/orders", BODY).sign(world.signer, created=int(world.clock.at))
    assert (await world.send(other)).status_code == 200
    await replayed_until_it_ends(world, request, START + HOUR + 100)


@pytest.fixture
def real(tmp_path: Path) -> Iterator[World]:
    """A world over the real stores: SQLite, fast and durable."""
    world = World(tmp_path)
    world.clock.at -= 2 * HOUR  # so that the rule of restarts is not what refuses
    sqlite_fast.make(tmp_path / "fast.db", world.clock, os.urandom)
    world.clock.at = START
    file = SqliteFile(tmp_path / "durable.db")
    start(world, SqliteFast(tmp_path / "fast.db", world.clock), SqliteLedger(file, world.clock))
    yield world
    file.close()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("stores", ["world", "real"])
async def test_the_servers_clock_is_set(request: pytest.FixtureRequest, stores: str, step: int, method: str) -> None:
    """
    C14: the server's clock is an hour off and set right again, and the other way; nothing that was ever accepted is
    accepted once more. Over memory and over the real stores.

    Stopped by: nonce
    """
    world: World = request.getfixturevalue(stores)

    def dated(created: float) -> Wire:
        call = Wire("POST", b"/v1/orders", BODY) if method == "POST" else Wire()
        return call.sign(world.signer, created=int(created))

    accepted: list[Wire] = []
    for visit, off in enumerate((0, step, 0, -step, 0, HOUR + 100)):
        for second in (2 * visit, 2 * visit + 1):
            world.clock.at = START + off + second
            for call in accepted:
                entered = len(world.entered)
                assert (await world.send(call)).status_code == 401
                assert len(world.entered) == entered
            call = dated(world.clock.at)
            if (await world.send(call)).status_code == 200:
                accepted.append(call)
    # Nor did the steps shut everybody out for good: the last visit's own calls went through.
    assert accepted[-1] is call


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_clock_is_set_between_check_and_claim(world: World, method: str) -> None:
    """
    C14: while the body is read the clock is set forward: the claim judges time again, and remembers nothing too short.

    Stopped by: nonce
    """
    request = Wire(method, b"/v1/orders", BODY) if method == "POST" else Wire("GET", b"/v1/x", BODY)
    request.sign(world.signer)
    world.while_reading = lambda: setattr(world.clock, "at", START + 70)
    await refused(world, request, 401, "clock-skew")
    world.while_reading = lambda: setattr(world.clock, "at", START + 69)
    world.clock.at = START
    assert (await world.send(request)).status_code == 200
    for at in (START, START + 59, START + 69, START + 70, START):
        world.clock.at = at
        entered = len(world.entered)
        world.while_reading = lambda: None
        assert (await world.send(request)).status_code == 401
        assert len(world.entered) == entered


async def test_two_clients_without_a_clock_in_one_millisecond(world: World) -> None:
    """
    C23: two programs that share a key, an hour off, ask at the same time: two nonces, and each works once.

    Stopped by: nonce
    """
    wrong = int(START) - HOUR
    first, second = [await offered(world, Wire().sign(world.signer, created=wrong)) for _ in range(2)]
    assert first != second
    for nonce in (first, second):
        request = Wire().sign(world.signer, created=wrong, nonce=nonce)
        assert (await world.send(request)).status_code == 200
        await refused(world, request, 401, "replay-detected")


@pytest.mark.parametrize(
    ("method", "fast", "again"),
    [("POST", False, 401), ("DELETE", False, 401), ("POST", True, 200), ("GET", False, 200)],
)
async def test_the_fast_store_loses_its_last_second(
    world: World, tmp_path: Path, method: str, fast: bool, again: int
) -> None:
    """
    C24: the fast store's file is what it was before the call; the claim in the decision's transaction holds. A rule
    that gave that up, and a GET, are accepted again: that is what was given up.

    Stopped by: guard
    """
    rules = (Rule("/v1/**", frozenset(("GET", "POST", "DELETE")), "signed", fast_replay=fast),)
    before, path = tmp_path / "before.db", tmp_path / "fast.db"
    # Made long ago, so that the rule of restarts is not what refuses.
    world.clock.at -= HOUR
    sqlite_fast.make(before, world.clock, os.urandom)
    world.clock.at = START
    file = SqliteFile(tmp_path / "durable.db")

    def begin() -> SqliteFast:
        for left in tmp_path.glob("fast.db*"):
            left.unlink()
        shutil.copy(before, path)
        nonces = SqliteFast(path, world.clock)
        start(world, nonces, SqliteLedger(file, world.clock), rules)
        return nonces

    call = (Wire(method, b"/v1/orders", BODY) if method == "POST" else Wire(method, b"/v1/x")).sign(world.signer)
    nonces = begin()
    assert (await world.send(call)).status_code == 200
    await refused(world, call, 401, "replay-detected")
    nonces.close()
    world.clock.at += 1
    begin()
    reply = await world.send(call)
    assert (reply.status_code, len(world.entered)) == (again, 1 + (again == 200))
    file.close()
