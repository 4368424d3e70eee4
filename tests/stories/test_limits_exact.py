"""
Two hundred callers at once against each kind of limit, in one process and in four

The attacker has many connections, many addresses and many keys, and wants one call more than the limit.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests.stories.approval_process import Running
from tests.stories.limit_process import laid, workers
from tests.stories.limiting import KINDS, PERIOD, RULES, burst, lay, told
from tests.stories.sealing import SealedWorld

CALLERS = 200


async def limited(folder: Path) -> SealedWorld:
    """The deployment in this process."""
    world = SealedWorld(folder, RULES)
    await lay(world)
    return world


def accepted(statuses: list[int]) -> int:
    """How many got through; the others were told to wait, and nothing else went wrong."""
    assert set(statuses) <= {200, 429}
    return statuses.count(200)


@pytest.mark.parametrize("kind", list(KINDS))
async def test_exactly_the_limit_in_one_process(tmp_path: Path, kind: str) -> None:
    """
    L1, L2: two hundred at once while the clock stands; then again, and again, for one call more.

    Stopped by: throttle
    """
    world = await limited(tmp_path)
    replies = await burst(world, kind, 0, CALLERS)
    quota = KINDS[kind].quota
    assert accepted([reply.status_code for reply in replies]) == quota == len(world.entered)
    wait = PERIOD / quota
    waits = {int(reply.headers["retry-after"]) for reply in replies if reply.status_code == 429}
    assert waits == {math.ceil(wait)}, "no refused call lengthened the wait of the next"
    world.clock.at += wait - 0.001
    assert accepted([reply.status_code for reply in await burst(world, kind, 200, 50)]) == 0
    world.clock.at += 0.001
    assert accepted([reply.status_code for reply in await burst(world, kind, 300, 50)]) == 1


@pytest.mark.parametrize("kind", list(KINDS))
async def test_the_limit_while_the_clock_runs(tmp_path: Path, kind: str) -> None:
    """
    L2: two hundred at once while time passes: what trickled in meanwhile, and not one more.

    Stopped by: throttle
    """
    world = await limited(tmp_path)
    world.clock.tick = 0.02
    began = world.clock.monotonic()
    replies = await burst(world, kind, 0, CALLERS)
    elapsed = world.clock.monotonic() - began
    quota = KINDS[kind].quota
    assert elapsed > 2 * PERIOD / quota
    count = accepted([reply.status_code for reply in replies])
    assert quota < count <= quota + math.floor(elapsed * quota / PERIOD)


@pytest.mark.parametrize("step", [-3000, 3000])
async def test_a_clock_that_is_set(tmp_path: Path, step: float) -> None:
    """
    L2, C14: the host's clock is set, forth or back: no limit gives a call more for it, and none takes one.

    Stopped by: throttle
    """
    world = await limited(tmp_path)
    for kind in KINDS:
        half = KINDS[kind].quota // 2
        assert accepted([reply.status_code for reply in await burst(world, kind, 0, half)]) == half
    world.clock.stepped = step
    for kind, counted in KINDS.items():
        replies = await burst(world, kind, half, CALLERS - half)
        assert accepted([reply.status_code for reply in replies]) == counted.quota - counted.quota // 2


async def test_of_all_limits_together_none_is_overcharged(tmp_path: Path) -> None:
    """
    L2: of a call that the least limit refuses, the others take nothing: an API's owner reads it in RateLimit.

    Stopped by: throttle
    """
    world = await limited(tmp_path)
    replies = await burst(world, "all", 0, CALLERS)
    last = [reply for reply in replies if reply.status_code == 200][-1]
    assert told(last) == {"address-60": 14, "site-60": 104, "key-60": 13, "client-60": 12, "user-60": 11, "rule-60": 0}
    world.clock.at += PERIOD / 16
    (once_more,) = await burst(world, "all", 300, 1)
    # In 3.75 s each gained less than two calls, and lost one.
    assert [told(once_more)[name] for name in ("key-60", "client-60", "user-60")] == [13, 12, 11]


# --- four processes of the operating system on one file ---------------------------------------------------------------


def all_at_once(four: list[Running], kind: str, first: int = 0, count: int = CALLERS) -> tuple[list[Any], float]:
    """What all callers heard, spread over the processes, and how long it took from the first to the last."""
    share = count // len(four)
    for at, process in enumerate(four):
        process.say("burst", kind, first + at * share, share)
    told_by = [process.hear() for process in four]
    elapsed = max(one["ended"] for one in told_by) - min(one["began"] for one in told_by)
    return [heard for one in told_by for heard in one["heard"]], elapsed


async def test_exactly_the_limit_in_four_processes(tmp_path: Path) -> None:
    """
    L2: the two hundred are spread over four workers, which have one count of each kind, also when the host's clock
    is set.

    Stopped by: throttle
    """
    await laid(tmp_path)
    with workers(tmp_path, "held") as four:
        for kind, counted in KINDS.items():
            heard, _ = all_at_once(four, kind)
            assert (kind, accepted([status for status, _ in heard])) == (kind, counted.quota)
            assert {wait for status, wait in heard if status == 429} == {math.ceil(PERIOD / counted.quota)}
        for step in (-3000, 3000):
            for process in four:
                process.do("step", step)
            for kind in KINDS:
                heard, _ = all_at_once(four, kind, 300, 100)
                assert (kind, accepted([status for status, _ in heard])) == (kind, 0)
        for process in four:
            process.do("move", PERIOD / 16)
        for kind in KINDS:
            heard, _ = all_at_once(four, kind, 600, 40)
            assert (kind, accepted([status for status, _ in heard])) == (kind, 2 if kind == "site" else 1)


async def test_the_limit_in_four_processes_while_time_passes(tmp_path: Path) -> None:
    """
    L2: with a clock that runs the four let through what the limit is, and what trickled in since the first call.

    Stopped by: throttle
    """
    await laid(tmp_path)
    with workers(tmp_path, "running") as four:
        for kind, counted in KINDS.items():
            heard, elapsed = all_at_once(four, kind)
            count = accepted([status for status, _ in heard])
            assert counted.quota <= count <= counted.quota + math.floor(elapsed * counted.quota / PERIOD)
