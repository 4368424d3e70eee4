"""
The host's clocks: read, asked whether anything keeps them, and watched for being set.

Owns: what the kernel says of its own synchronisation, and what counts as a step. Refuses to know: what is done about
it.
"""

from __future__ import annotations

import ctypes
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from sealwire.call import Outcome
from sealwire.ports import Clock

#: Wall and monotonic time are slewed together; what moves them apart by more than this has set the clock.
STEP_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_STA_UNSYNC = 0x0040
_LOG = logging.getLogger("sealwire.clock")


class SystemClock:
    """The host's clocks."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


class Timex(ctypes.Structure):
    """The head of Linux's `struct timex`, and room for the rest of it (adjtimex(2)). `modes` 0 only asks."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def adjtimex(timex: Timex) -> int:
    """The call of the C library; -1 where there is none, or it is not allowed here."""
    if sys.platform != "linux":
        return -1
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return -1
    return answer


def synchronised(ask: Callable[[Timex], int] = adjtimex) -> bool | None:
    """Whether the kernel says that something keeps its clock; None where it can't be asked."""
    timex = Timex()
    if ask(timex) < 0:
        return None
    status: Any = timex.status
    return not status & _STA_UNSYNC


class ClockWatch:
    """Observer that compares the two clocks at each outcome: a step is one alarm in the log, and `stepped` is told."""

    def __init__(self, clock: Clock, stepped: Callable[[], object]) -> None:
        self._clock = clock
        self._stepped = stepped
        self._distance = clock.now() - clock.monotonic()

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        before = self._clock.monotonic()
        distance = self._clock.now() - before
        step = distance - self._distance
        # A process that was halted between the two readings would look like a step; the next outcome judges again.
        if abs(step) <= STEP_SECONDS or self._clock.monotonic() - before > _PAUSE_SECONDS:
            return
        self._distance = distance
        _LOG.error("alarm: the wall clock was set by %+.1f s, noticed at %s", step, outcome.request_id)
        self._stepped()
