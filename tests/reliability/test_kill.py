"""`kill -9` under load, again and again on the same state: nothing twice, nothing acknowledged lost, no copy taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from tests.reliability.damage import damages
from tests.reliability.history import judge
from tests.reliability.rounds import AT_LEAST_IN_FLIGHT, Round, play
from tests.reliability.serving import Victim, running

ROUNDS = 10
_TRIES = 5


def victim_of(random: Random, workers: int) -> Victim:
    """Who is killed in a round."""
    return "group" if workers == 1 else random.choice(("group", "one worker", "all workers"))


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
        histories = []
        for seed in range(first, first + ROUNDS):
            for again in range(_TRIES):
                random = Random(f"{seed} {again}")  # noqa: S311  # a seed repeats a round
                victim = victim_of(random, workers)
                played = asyncio.run(play(served, credentials, f"{seed}.{again}", random, victim))
                # A round that does not count for its load counts for its findings all the same.
                assert judge(played.history) == [], f"seed {seed}, try {again}, killed: {victim}"
                if enough(played, victim):
                    break
            histories.append(played.history)
            assert enough(played, victim), f"seed {seed}: {played.in_flight} calls in flight, {played.lost} lost"
    # Damage done to what really happened, where a round had every kind of end, is found as in a history made by hand.
    rich = next(
        history for history in histories if any(told[-1].kind == "unknown" for told in history.answers.values())
    )
    missed = [d.what for d in damages(rich) if not any(d.finding in finding for finding in judge(d.history))]
    assert missed == []


def enough(played: Round, victim: Victim) -> bool:
    """Whether the kill met enough calls: unanswered when it came and, if nobody survived, for ever after."""
    if victim == "one worker":
        return played.in_flight >= AT_LEAST_IN_FLIGHT and played.lost > 0
    return played.lost >= AT_LEAST_IN_FLIGHT


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
        played = asyncio.run(play(served, [served.enrolled("one"), served.enrolled("two")], "1", random, "group"))
    assert [finding for finding in judge(played.history) if finding.endswith(found)]
