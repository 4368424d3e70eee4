"""
Refusals before proof, counted by address, minute and slug, so that noise cannot flood the ledger.

Keeps: the counts of minutes that are not written yet, at most 10,000 rows; past that they count under the address
`other`.
"""

from __future__ import annotations

import asyncio
import logging

from sealwire.call import Outcome
from sealwire.errors import Fault
from sealwire.ports import Ledger

_OTHER = "other"
_LOG = logging.getLogger("sealwire.observers")
_Row = tuple[str, int, str]


class Tally:
    """Observer that appends each minute's counts to the ledger once the minute is over, or at `flush`."""

    def __init__(self, ledger: Ledger, bound: int = 10_000) -> None:
        self._ledger = ledger
        self._bound = bound
        self._counts: dict[_Row, int] = {}
        self._minute = 0
        self._writing: asyncio.Task[None] | None = None

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        minute = int(outcome.at // 60)
        if minute != self._minute and self._counts and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self.flush())
        self._minute = minute
        if outcome.decision == "refused" and not outcome.client:
            slug = outcome.code.partition("/")[0]
            self._add((outcome.address, minute, slug), 1)

    async def flush(self) -> None:
        """Writes what was counted; counts that could not be written are kept for the next try."""
        counts, self._counts = self._counts, {}
        try:
            await self._ledger.tally(tuple((*row, calls) for row, calls in counts.items()))
        except Fault as fault:
            _LOG.error("counts of refusals could not be written: %s", fault.code)
            for row, calls in counts.items():
                self._add(row, calls)

    def _add(self, row: _Row, calls: int) -> None:
        if row not in self._counts and len(self._counts) >= self._bound:
            row = (_OTHER, *row[1:])
        self._counts[row] = self._counts.get(row, 0) + calls
