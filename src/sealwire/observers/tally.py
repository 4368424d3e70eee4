"""
Refusals that have no row in the ledger, counted by address, minute and slug, so that noise cannot flood it.

Keeps: the counts that are not written yet, at most `bound` rows, those on their way to the ledger among them; past the
bound they count under the address `other`, one row a slug here and one on its way. No count is lost to a ledger that
fails, however long it does.
"""

from __future__ import annotations

import asyncio
import logging
import math

from sealwire.call import Outcome
from sealwire.errors import Fault
from sealwire.ports import Ledger

_OTHER = "other"
_LOG = logging.getLogger("sealwire.observers")
_Row = tuple[str, int, str]


class Tally:
    """
    Observer that appends each minute's counts to the ledger once the minute is over, and all of them at `flush`.

    `failures` is how many writes failed.
    """

    def __init__(self, ledger: Ledger, bound: int = 10_000) -> None:
        self.failures = 0
        self._ledger = ledger
        self._bound = bound
        self._counts: dict[_Row, int] = {}
        self._others: dict[str, int] = {}  # the minute under which a slug's row past the bound stands
        self._minute = 0
        self._on_their_way = 0
        self._writing: asyncio.Task[None] | None = None

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        minute = int(outcome.at // 60)
        if minute != self._minute and self._counts and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write(minute))
        self._minute = minute
        if outcome.decision == "refused" and not outcome.recorded:
            slug = outcome.code.partition("/")[0]
            self._add((outcome.address, minute, slug), 1)

    async def flush(self) -> None:
        """
        Writes all that was counted, after what is on its way; counts that could not be written are kept for the next
        try.
        """
        writing = self._writing
        # One that began on another loop, which is over, will never end.
        if writing is not None and writing.get_loop() is asyncio.get_running_loop():
            await asyncio.wait((writing,))
        await self._write(math.inf)

    async def _write(self, before: float) -> None:
        """Writes the minutes before this one: a minute that still runs would get a second row for the same thing."""
        rows = tuple((*row, self._counts.pop(row)) for row in [row for row in self._counts if row[1] < before])
        if not rows:
            return
        self._others = {slug: minute for slug, minute in self._others.items() if minute >= before}
        self._on_their_way += len(rows)
        kept = rows
        try:
            await self._ledger.tally(rows)
            kept = ()
        except Exception as failure:  # noqa: BLE001  # in a task nobody would hear of it, and the counts would be gone
            self.failures += 1
            why = failure.code if isinstance(failure, Fault) else type(failure).__name__
            _LOG.error("counts of refusals could not be written: %s", why)
        finally:
            self._on_their_way -= len(rows)
            for address, minute, slug, calls in kept:
                self._add((address, minute, slug), calls)

    def _add(self, row: _Row, calls: int) -> None:
        if row not in self._counts and len(self._counts) + self._on_their_way >= self._bound:
            # One row a slug, not one a minute too: a ledger that is down for days would have them grow without end.
            row = (_OTHER, self._others.setdefault(row[2], row[1]), row[2])
        self._counts[row] = self._counts.get(row, 0) + calls
