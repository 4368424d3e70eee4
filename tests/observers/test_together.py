"""The observers as one: whoever hears, hears all, once the turn of the loop is over."""

import asyncio
import logging

import pytest

from sealwire.call import Outcome
from sealwire.observers.together import Together
from tests.observers.test_observers import OUTCOME


class Hears:
    """An observer that notes its name for each outcome, and fails where it is told to."""

    def __init__(self, name: str, said: list[str], failing: str = "") -> None:
        self._name = name
        self._said = said
        self._failing = failing

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        if outcome.request_id == self._failing:
            raise ValueError("what the caller sent")
        self._said.append(f"{self._name} {outcome.request_id}")


def outcome(request_id: str) -> Outcome:
    """An outcome of that name."""
    return OUTCOME._replace(request_id=request_id)


async def test_all_of_a_turn_once_it_is_over() -> None:
    """Nobody hears while calls of this turn are still on their way; then each hears all of them, in their order."""
    said: list[str] = []
    together = Together((Hears("log", said), Hears("counts", said)))
    together.heard(outcome("1"))
    together.heard(outcome("2"))
    assert said == []
    await asyncio.sleep(0)
    assert said == ["log 1", "log 2", "counts 1", "counts 2"]
    together.heard(outcome("3"))
    await asyncio.sleep(0)
    assert said[4:] == ["log 3", "counts 3"]


async def test_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """It hears of the next outcome all the same, others hear of every one, and the log has place and kind alone."""
    said: list[str] = []
    together = Together((Hears("fails", said, failing="1"), Hears("counts", said)))
    together.heard(outcome("1"))
    together.heard(outcome("2"))
    together.flush()
    assert said == ["fails 2", "counts 1", "counts 2"]
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith("an observer failed on 1: ValueError at test_together.py:")
    assert "caller sent" not in line


def test_a_loop_that_ended_before() -> None:
    """What it left is heard with the first outcome of the next loop."""
    said: list[str] = []
    together = Together((Hears("log", said),))

    async def last() -> None:
        asyncio.get_running_loop().stop()
        together.heard(outcome("1"))

    loop = asyncio.new_event_loop()
    loop.create_task(last())  # noqa: RUF006  # the loop stops with it
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert said == []

    async def following() -> None:
        together.heard(outcome("2"))
        await asyncio.sleep(0)

    asyncio.run(following())
    assert said == ["log 1", "log 2"]


async def test_nothing_is_heard_twice() -> None:
    """Handed on early, as at the end of a deployment, it is not handed on again."""
    said: list[str] = []
    together = Together((Hears("log", said),))
    together.heard(outcome("1"))
    together.flush()
    together.flush()
    await asyncio.sleep(0)
    assert said == ["log 1"]
