"""
How each credential is used: when and from where last, how often refused and why, of which limit little is left.

Keeps: counts that are not written yet, at most `bound` rows, for some seconds; past the bound, or with a store that
fails, the rows that are there go on counting and no new one begins.
"""

from __future__ import annotations

import asyncio
import logging

from sealwire.call import Outcome
from sealwire.errors import Fault
from sealwire.ports.apikeys import Use, Uses

_WRITTEN_EVERY_SECONDS = 5.0
_DAY = 86_400
_LOG = logging.getLogger("sealwire.observers")
#: Client, credential, reason and day of a Use, and what is counted for it: calls, and the last one's time and address.
_Name = tuple[str, str, str, int]
_Counted = tuple[int, float, str]


class Usage:
    """
    Observer that adds what it heard to the store some seconds later, and all of it at `flush`. A refusal counts for the
    credential that was proven: nobody can fill another's count.
    """

    def __init__(self, uses: Uses, bound: int = 10_000) -> None:
        self._uses = uses
        self._bound = bound
        self._counts: dict[_Name, _Counted] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        credentials = {outcome.key, outcome.apikey} if outcome.client else set()
        if outcome.code.startswith("token-invalid/"):
            # Who sends an API key that has ended has proven that it is theirs.
            credentials.add(outcome.claimed)
        credentials.discard("")
        if not credentials:
            return
        reason = outcome.code.partition("/")[0]
        for credential in credentials:
            self._add(outcome, credential, reason)
            if outcome.near:
                self._add(outcome, credential, f"near {outcome.near} {outcome.template}")
        loop = asyncio.get_running_loop()
        # A timer that was set on another loop, which is over, will never ring.
        if self._timer is None or self._loop is not loop:
            self._loop, self._timer = loop, loop.call_later(_WRITTEN_EVERY_SECONDS, self._ring)

    async def flush(self) -> None:
        """Writes all that was counted, after what is on its way."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        writing = self._writing
        # One that began on another loop, which is over, will never end.
        if writing is not None and writing.get_loop() is asyncio.get_running_loop():
            await asyncio.wait((writing,))
        await self._write()

    def _add(self, outcome: Outcome, credential: str, reason: str) -> None:
        name = (outcome.client, credential, reason, int(outcome.at // _DAY))
        before = self._counts.get(name)
        if before is not None or len(self._counts) < self._bound:
            self._counts[name] = (1 if before is None else before[0] + 1, outcome.at, outcome.address)

    def _ring(self) -> None:
        self._timer = None
        if self._counts and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        try:
            await self._uses.add_uses(tuple(Use(*name, *counted) for name, counted in counts.items()))
        except Exception as failure:  # noqa: BLE001  # in a task nobody would hear of it, and the counts would be gone
            why = failure.code if isinstance(failure, Fault) else type(failure).__name__
            _LOG.error("uses of credentials could not be written: %s", why)
            for name, counted in counts.items():
                later = self._counts.get(name)
                if later is not None:
                    self._counts[name] = (later[0] + counted[0], *later[1:])
                elif len(self._counts) < self._bound:
                    self._counts[name] = counted
