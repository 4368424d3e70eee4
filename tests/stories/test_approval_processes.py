"""
One approval, several processes of the operating system on one file

The attacker tries them all at once; an honest caller is sent from one to the next.
"""

from __future__ import annotations

from pathlib import Path

from sealwire.ports.people import APPROVAL_TRIES
from tests.stories.approval_process import effects_in, laid, processes


async def test_asked_given_and_used_elsewhere(tmp_path: Path) -> None:
    """
    J6: asked at one process, given at another, used at a third, which answers; a fourth use anywhere is refused,
    and the repeat under its key finds the answer at each of them.

    Stopped by: step up
    """
    with processes(tmp_path, await laid(tmp_path), ("", "", "")) as (first, second, third):
        status, problem = first.do("ask", "")
        assert (status, problem["code"]) == (403, "approval-required")
        approval = problem["approval"]["id"]
        assert third.do("ask", "")[1]["approval"]["id"] == approval, "one question, wherever it is asked"
        assert third.do("ask", approval)[1]["code"] == "approval-pending"
        assert second.do("approve", approval, "") == "right"
        assert first.do("approve", approval, "") == "late"
        assert third.do("ask", approval) == [200, {}]
        for one in (first, second, third):
            assert one.do("use at once", approval, ["another"]) == [403]
            assert one.do("ask", approval) == [200, {}]
    assert effects_in(tmp_path) == 1


async def test_two_hundred_over_two_processes(tmp_path: Path) -> None:
    """
    J2: one approval, used a hundred times at once at each of two processes: one call of the two hundred is done.

    Stopped by: guard
    """
    with processes(tmp_path, await laid(tmp_path), ("", "")) as both:
        one, _ = both
        approval = one.do("ask", "")[1]["approval"]["id"]
        assert one.do("approve", approval, "") == "right"
        for at, process in enumerate(both):
            process.say("use at once", approval, [f"{at}-{number}" for number in range(100)])
        told = [status for process in both for status in process.hear()]
    assert sorted(told) == [200] + [403] * 199
    assert effects_in(tmp_path) == 1


async def test_guesses_at_several_processes(tmp_path: Path) -> None:
    """
    J3: guesses are spread over processes, which have one count.

    Stopped by: presence
    """
    with processes(tmp_path, await laid(tmp_path), ("", "")) as both:
        approval = both[0].do("ask", "")[1]["approval"]["id"]
        said = [both[number % 2].do("approve", approval, f"{number:06}") for number in range(APPROVAL_TRIES + 2)]
        assert said == ["wrong"] * APPROVAL_TRIES + ["locked"] * 2
        assert both[1].do("approve", approval, "") == "locked"
