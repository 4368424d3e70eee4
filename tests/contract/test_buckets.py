"""What BucketStore promises, held against every adapter."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.ports import BucketStore, Charge
from sealwire.protocol.ratelimit import Limit
from tests.contract.adapters import BUCKETS, KINDS, START, SetClock, fast

FEW, MANY = Limit(3, 60, "key"), Limit(100, 60, "user")


@pytest.fixture(params=KINDS)
def workers(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[BucketStore]]:
    """The store as each worker sees it."""
    with fast(request.param, clock, tmp_path) as opened:
        yield [buckets for _, buckets in opened]


@pytest.mark.parametrize("quota", [1, 7, 60, 199])
async def test_exactly_the_quota_fits(workers: list[BucketStore], quota: int) -> None:
    """Of 200 calls at a held clock exactly N fit, over all workers."""
    charges = (Charge(Limit(quota, 60, "key"), "k"),)
    answers = await asyncio.gather(*(workers[i % len(workers)].charge(charges) for i in range(200)))
    assert sum(spent[0].fits for spent in answers) == quota


async def test_all_or_none(workers: list[BucketStore]) -> None:
    """Where one of several charges does not fit, none was charged, in whichever order they stand."""
    for i in range(20):
        both = (Charge(FEW, "k"), Charge(MANY, "u"))
        await workers[i % len(workers)].charge(both if i % 2 else both[::-1])
    (left,) = await workers[0].charge((Charge(MANY, "u"),))
    assert left.remaining == 100 - 3 - 1


async def test_refused_calls_never_lengthen_the_wait(workers: list[BucketStore], clock: SetClock) -> None:
    """However many are refused, the next call fits when the first refusal said."""
    answers = [(await workers[i % len(workers)].charge((Charge(FEW, "k"),)))[0] for i in range(53)]
    assert [one.remaining for one in answers[:3]] == [2, 1, 0]
    assert {one.wait_seconds for one in answers[3:]} == {20.0}
    clock.elapsed += 20
    assert (await workers[0].charge((Charge(FEW, "k"),)))[0].fits
    assert not (await workers[-1].charge((Charge(FEW, "k"),)))[0].fits


async def test_buckets_and_limits_are_apart(workers: list[BucketStore]) -> None:
    """Another bucket, and another limit of the same bucket, have a count of their own."""
    for _ in range(4):
        await workers[0].charge((Charge(FEW, "k"),))
    assert (await workers[-1].charge((Charge(FEW, "other"),)))[0].fits
    assert (await workers[-1].charge((Charge(Limit(3, 3600, "key"), "k"),)))[0].fits


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_the_host_clock_does_not_matter(workers: list[BucketStore], clock: SetClock, step: int) -> None:
    """A step of the wall clock gives no call back and takes none."""
    for _ in range(3):
        assert (await workers[0].charge((Charge(FEW, "k"),)))[0].fits
    clock.at = START + step
    assert (await workers[-1].charge((Charge(FEW, "k"),)))[0].wait_seconds == 20.0


async def test_as_many_buckets_as_the_bound(workers: list[BucketStore], clock: SetClock) -> None:
    """Past the bound the longest unused one goes, over all workers, whoever makes up the names; others stay."""
    for i in range(BUCKETS + 2):
        clock.elapsed += 1
        for _ in range(3):
            assert (await workers[i % len(workers)].charge((Charge(FEW, f"k{i}"),)))[0].fits
    kept = [not (await workers[0].charge((Charge(FEW, f"k{i}"),)))[0].fits for i in reversed(range(2, BUCKETS + 2))]
    assert kept == [True] * BUCKETS
    assert (await workers[0].charge((Charge(FEW, "k0"),)))[0].fits


async def test_buckets_that_emptied_leave_room(workers: list[BucketStore], clock: SetClock) -> None:
    """What has run out is not counted: after it, as many buckets as the bound are kept again."""
    for turn in range(4):
        clock.elapsed += 100
        for i in range(BUCKETS):
            for _ in range(3):
                assert await workers[i % len(workers)].charge((Charge(FEW, f"{turn} {i}"), Charge(FEW, f"{turn} {i}")))
        assert [(await workers[0].charge((Charge(FEW, f"{turn} {i}"),)))[0].fits for i in range(BUCKETS)] == (
            [False] * BUCKETS
        )


ADDRESS, SITE = Limit(3, 60, "address"), Limit(3, 60, "site")


async def test_a_look_says_what_a_charge_would(workers: list[BucketStore], clock: SetClock) -> None:
    """At each step of a burst, and after it: the same words, in the same order."""
    for _ in range(5):
        charges = (Charge(FEW, "k"), Charge(MANY, "u"), Charge(ADDRESS, "a"))
        looked = await workers[-1].look(charges)
        assert looked == await workers[-1].look(charges)
        assert looked == await workers[0].charge(charges)
        clock.elapsed += 1


async def test_a_look_costs_nothing(workers: list[BucketStore]) -> None:
    """However often one looks, also at a bucket that is none yet or is spent, everything that was left is there."""
    for turn in range(4):
        for _ in range(50):
            spent = await workers[turn % len(workers)].look((Charge(FEW, "k"), Charge(MANY, "u")))
            assert [one.fits for one in spent] == [turn < 3, True]
        await workers[0].charge((Charge(FEW, "k"), Charge(MANY, "u")))
    assert (await workers[-1].look((Charge(MANY, "u"),)))[0].remaining == 100 - 3 - 1


async def test_a_look_makes_no_bucket(workers: list[BucketStore], clock: SetClock) -> None:
    """Looking at many names pushes nobody's bucket out."""
    for _ in range(3):
        await workers[0].charge((Charge(FEW, "k"),))
    for i in range(BUCKETS * 3):
        clock.elapsed += 0.001
        assert (await workers[-1].look((Charge(FEW, f"stranger {i}"),)))[0].fits
    assert not (await workers[0].look((Charge(FEW, "k"),)))[0].fits


async def test_one_that_is_spent_charges_none_of_any_kind(workers: list[BucketStore]) -> None:
    """Address, site and caller are in different places, and are decided together all the same."""
    spent = Limit(1, 60, "key")
    await workers[0].charge((Charge(spent, "k"),))
    others = (Charge(ADDRESS, "a"), Charge(SITE, "s"), Charge(MANY, "u"))
    for i in range(3 * 4):
        at = i % 4
        told = await workers[i % len(workers)].charge((*others[:at], Charge(spent, "k"), *others[at:]))
        assert [one.fits for one in told].count(False) == 1
    assert [one.remaining for one in await workers[-1].charge(others)] == [2, 2, 99]


KINDS_APART = {"address": ADDRESS, "site": SITE, "caller": FEW}


@pytest.mark.parametrize("filled", sorted(KINDS_APART))
async def test_no_kind_pushes_out_another(workers: list[BucketStore], clock: SetClock, filled: str) -> None:
    """Addresses, their sites and callers are bounded apart: whoever fills one kind empties none of the others."""
    for limit in KINDS_APART.values():
        for _ in range(3):
            assert (await workers[0].charge((Charge(limit, f"spent {limit.kind}"),)))[0].fits
    for i in range(BUCKETS * 2):
        clock.elapsed += 0.001
        assert (await workers[i % len(workers)].charge((Charge(KINDS_APART[filled], f"made up {i}"),)))[0].fits
    kept = {
        name: not (await workers[-1].look((Charge(limit, f"spent {limit.kind}"),)))[0].fits
        for name, limit in KINDS_APART.items()
    }
    assert kept == {name: name != filled for name in KINDS_APART}


async def test_wait_and_reset(workers: list[BucketStore], clock: SetClock) -> None:
    """`reset_seconds` is when all of the quota is there again, also where a call did not fit."""
    told = [(await workers[i % len(workers)].charge((Charge(FEW, "k"),)))[0] for i in range(4)]
    assert [one.reset_seconds for one in told] == [20.0, 40.0, 60.0, 60.0]
    clock.elapsed += 45
    (left,) = await workers[0].look((Charge(FEW, "k"),))
    assert (left.remaining, left.reset_seconds) == (1, 35.0)


@pytest.mark.parametrize("kind", ["client-own", "key-own"])
async def test_a_limit_of_ones_own_that_is_changed(workers: list[BucketStore], clock: SetClock, kind: str) -> None:
    """What was spent stays spent: whoever makes it smaller, step by step, gets no fresh burst each time."""
    accepted = 0
    for quota in range(60, 40, -1):
        for _ in range(60):
            (spent,) = await workers[accepted % len(workers)].charge((Charge(Limit(quota, 60, kind), "own cli_a"),))
            accepted += spent.fits
    assert accepted == 60
    clock.elapsed += 60
    assert (await workers[0].charge((Charge(Limit(41, 60, kind), "own cli_a"),)))[0].remaining == 40
