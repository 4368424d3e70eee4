"""`kill -9` under load, again and again on the same state: nothing twice, nothing acknowledged lost, no copy taken."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.reliability.damage import missed
from tests.reliability.history import judge
from tests.reliability.rounds import play, played
from tests.reliability.serving import running
from tests.reliability.strike import Strike

ROUNDS = 10


def kill(workers: int, random: Random) -> Strike:
    """Who is killed in a round."""
    return Strike("group" if workers == 1 else random.choice(("group", "one worker", "all workers")))


@pytest.mark.parametrize(
    ("workers", "first"),
    [
        pytest.param(1, 1, marks=pytest.mark.xdist_group("kill-1")),
        pytest.param(2, 11, marks=pytest.mark.xdist_group("kill-2")),
    ],
)
def test_killed_under_load(tmp_path: Path, workers: int, first: int) -> None:
    """Ten rounds, each with sixteen calls and more in flight when the processes die."""
    with running(tmp_path, workers=workers) as served:
        credentials = [served.enrolled("one"), served.enrolled("two")]
        seeds = range(first, first + ROUNDS)
        rounds = [played(served, seed, partial(kill, workers), credentials=credentials) for seed in seeds]
    # Damage done to what really happened, where a round had every kind of end, is found as in a history made by hand.
    assert missed(next(one.history for one in rounds if one.had_every_end)) == []


@pytest.mark.xdist_group("kill-1")
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("does_it_twice", "was done 2 times"),
        ("enters_before_the_record", "entered the app before its decision was durable"),
        ("keeps_no_claims", "was done 2 times"),
    ],
)
def test_a_broken_server_is_found(tmp_path: Path, fault: str, found: str) -> None:
    """The same round against servers with a fault planted in them."""
    with running(tmp_path, f"tests.reliability.faults:{fault}") as served:
        random = Random(fault)  # noqa: S311  # a seed repeats a round
        played = asyncio.run(
            play(served, [served.enrolled("one"), served.enrolled("two")], "1", random, Strike("group"))
        )
    assert [finding for finding in judge(played.history) if finding.endswith(found)]
