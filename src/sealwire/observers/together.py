"""
All observers as one.

Keeps: the outcomes of one turn of the event loop, until the turn is over.
"""

from __future__ import annotations

import asyncio
import logging

from sealwire.call import Outcome
from sealwire.ports import Observer
from sealwire.trace import place

_LOG = logging.getLogger("sealwire.observers")


class Together:
    """
    Observer that hands the outcomes of one turn of the loop to each of `observers`, once the turn is over: the replies
    have gone out then, and an observer that is at work anyway hears of the next call in half the time. What one raises
    is logged and goes no further.
    """

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self._observers = observers
        self._waiting: list[Outcome] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        loop = asyncio.get_running_loop()
        # What was to be called by another loop, which is over, never will be.
        if not self._waiting or self._loop is not loop:
            self._loop = loop
            loop.call_soon(self.flush)
        self._waiting.append(outcome)

    def flush(self) -> None:
        """All that was heard is handed on now."""
        outcomes, self._waiting = self._waiting, []
        for observer in self._observers:
            for outcome in outcomes:
                try:
                    observer.heard(outcome)
                except Exception as failure:  # noqa: BLE001  # whatever it was, calls and other observers go on
                    _LOG.error("an observer failed on %s: %s", outcome.request_id, place(failure))
