"""What NonceStore promises, held against every adapter."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.ports import NonceStore
from tests.contract.adapters import KINDS, LIVE, START, SetClock, fast


@pytest.fixture(params=KINDS)
def workers(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[NonceStore]]:
    """The store as each worker sees it."""
    with fast(request.param, clock, tmp_path) as opened:
        yield [nonces for nonces, _ in opened]


async def test_one_of_many_is_first(workers: list[NonceStore]) -> None:
    """Of 100 concurrent claims of one nonce, over all workers, exactly one is first."""
    claims = [workers[i % len(workers)].claim("k", "n", START + 60, 20) for i in range(100)]
    assert sorted(await asyncio.gather(*claims)) == ["first"] + ["seen"] * 99


async def test_all_workers_share_one_start(workers: list[NonceStore]) -> None:
    """Epoch and nonce key are those of the start, for every worker."""
    assert {(one.epoch, one.secret) for one in workers} == {(START, workers[0].secret)}
    assert len(workers[0].secret) == 32


async def test_another_window_is_no_other_nonce(workers: list[NonceStore]) -> None:
    """The same nonce with another last_valid is seen; of another key it is first."""
    assert await workers[0].claim("k", "n", START + 60, 20) == "first"
    assert await workers[-1].claim("k", "n", START + 300, 20) == "seen"
    assert await workers[-1].claim("k", "n", START + 5, 20) == "seen"
    assert await workers[-1].claim("other", "n", START + 60, 20) == "first"


async def test_the_boundary_of_late(workers: list[NonceStore], clock: SetClock) -> None:
    """From last_valid + 10 s exactly nothing is granted; just before, it is."""
    clock.at = START + 69.999
    assert await workers[0].claim("k", "a", START + 60, 20) == "first"
    clock.at = START + 70
    assert await workers[0].claim("k", "b", START + 60, 20) == "late"
    assert await workers[0].claim("k", "b", START + 60.001, 20) == "first"


async def test_remembered_for_as_long_as_it_could_count(workers: list[NonceStore], clock: SetClock) -> None:
    """Until last_valid + 20 s a nonce is seen under any window, though others come and go."""
    assert await workers[0].claim("k", "n", START + 60, 20) == "first"
    for at in (START + 60, START + 79, START + 80):
        clock.at = at
        assert await workers[-1].claim(f"at{at}", "x", at + 60, 20) == "first"
        assert await workers[-1].claim("k", "n", at + 60, 20) == "seen"


async def fill_twice(store: NonceStore, clock: SetClock) -> None:
    """A key holds as many nonces as it may, at the start, and the very same ones again once they are over."""
    for at in (START, START + 80 + 17):
        clock.at = at
        assert await store.claim("other", f"sweeps at {at}", at + 60, 20) == "first"
        for i in range(LIVE):
            assert await store.claim("k", f"n{i}", at + 60, 20) == "first"


async def test_forgotten_after_that(workers: list[NonceStore], clock: SetClock) -> None:
    """A while after last_valid + 20 s nonces leave, so that a key's live nonces are bounded and free again."""
    await fill_twice(workers[0], clock)


async def test_forgotten_after_the_clock_was_set_back(workers: list[NonceStore], clock: SetClock) -> None:
    """A clock that ran ahead and was set right: nonces leave when their own time is over, and not an hour later."""
    clock.at = START + 3600
    assert await workers[0].claim("other", "ahead", clock.at + 60, 20) == "first"
    clock.at = START
    await fill_twice(workers[0], clock)


async def test_full_is_of_one_key(workers: list[NonceStore]) -> None:
    """At its live nonces a key is full, its old nonces are still seen, and no other key is limited."""
    for i in range(LIVE):
        assert await workers[i % len(workers)].claim("k", f"n{i}", START + 60, 20) == "first"
    assert await workers[0].claim("k", "more", START + 60, 20) == "full"
    assert await workers[0].claim("k", "n0", START + 60, 20) == "seen"
    assert await workers[0].claim("other", "more", START + 60, 20) == "first"


@pytest.mark.parametrize("steps", [(-3600,), (3600,), (-3600, 0), (3600, 0), (3600, -3600, 0)])
async def test_no_step_of_the_clock_makes_a_replay_valid(
    workers: list[NonceStore], clock: SetClock, steps: tuple[int, ...]
) -> None:
    """The clock set back, set forward, and set right again, with traffic each time: no claim is first again."""
    assert await workers[0].claim("k", "n", START + 60, 20) == "first"
    for step in steps:
        clock.at = START + step
        await workers[-1].claim(f"after{step}", "x", clock.at + 600, 20)
        assert await workers[-1].claim("k", "n", START + 60, 20) in {"seen", "late"}
