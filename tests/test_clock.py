"""What the kernel says of its clock, and what is no step."""

import sys

import pytest

from sealwire.clock import ClockWatch, SystemClock, Timex, adjtimex, synchronised
from tests.contract.adapters import SetClock
from tests.observers.test_observers import OUTCOME


@pytest.mark.parametrize(
    ("returned", "status", "said"), [(0, 0x2001, True), (5, 0x0040, False), (0, 0x0041, False), (-1, 0, None)]
)
def test_what_the_kernel_says(returned: int, status: int, said: bool | None) -> None:
    """STA_UNSYNC alone decides; an error is no answer."""

    def ask(timex: Timex) -> int:
        assert timex.modes == 0
        timex.status = status
        return returned

    assert synchronised(ask) is said


def test_the_real_call_only_asks() -> None:
    """It is answered within the states of adjtimex(2), or not at all; off Linux it is not."""
    timex = Timex()
    assert adjtimex(timex) in (range(-1, 6) if sys.platform == "linux" else {-1})
    assert timex.modes == 0
    assert synchronised() in {True, False, None}


def test_clocks_that_go_together_are_no_step(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the host's own clocks nor a slow call are an alarm; many small steps become one."""
    steps: list[int] = []
    real = ClockWatch(SystemClock(), lambda: steps.append(0))
    real.heard(OUTCOME)
    clock = SetClock()
    watch = ClockWatch(clock, lambda: steps.append(1))
    clock.at, clock.elapsed = clock.at + 50_000, clock.elapsed + 50_000
    watch.heard(OUTCOME)
    assert (steps, caplog.text) == ([], "")
    for _ in range(3):
        clock.at += 0.5
        watch.heard(OUTCOME)
    assert steps == [1]


class Halted(SetClock):
    """A clock whose process is halted for an hour between two readings."""

    def now(self) -> float:
        self.at += 3600
        self.elapsed += 3600
        return self.at


def test_a_halted_process_is_no_step() -> None:
    """The clock was not set: the two readings were only made an hour apart."""
    clock = SetClock()
    steps: list[int] = []
    watch = ClockWatch(clock, lambda: steps.append(1))
    halted = Halted()
    watch._clock = halted
    watch.heard(OUTCOME)
    assert steps == []
