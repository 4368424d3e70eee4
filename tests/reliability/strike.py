"""What befalls the server of a round, and its start after that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from tests.reliability.serving import Served, Victim
from tests.reliability.tape import Tape, Taped


class Strike(NamedTuple):
    """
    What befalls the server: SIGKILL to `victim`, or a stop in order. When clients `wait`, their calls go on through it,
    as behind a proxy that holds what comes until the server is there again; else they end as they are cut. `again`: all
    is killed once more, when some of what is sent or answered after the start is such, and for that nobody waits.
    """

    victim: Victim | Literal["stopped"]
    wait: bool = False
    again: Callable[[Taped], bool] | None = None

    @property
    def ends_the_start(self) -> bool:
        """Whether what was held in memory is gone."""
        return self.victim in ("group", "stopped")


async def strike_at(served: Served, strike: Strike, tape: Tape, working: Sequence[asyncio.Task[None]]) -> list[Taped]:
    """Strikes, and sees that the server is there again. What was sent before it was."""
    if strike.wait and strike.ends_the_start:
        tape.way_is_open.clear()
    try:
        if strike.victim == "stopped":
            await asyncio.to_thread(served.stop)
        else:
            served.kill(strike.victim)
        if not strike.wait:
            await asyncio.gather(*working)
        if strike.ends_the_start:
            return await started(served, tape)
        before = list(tape.messages)
        await asyncio.to_thread(served.wait)
        return before
    finally:
        tape.way_is_open.set()


async def started(served: Served, tape: Tape) -> list[Taped]:
    """Starts the server anew. What was sent before."""
    before = list(tape.messages)
    tape.start += 1
    tape.watcher = lambda _: None
    await asyncio.to_thread(served.start)
    return before


def opens_a_session(message: Taped) -> bool:
    """Of what goes out."""
    return message.opens and message.status == 0


def names_an_ended_session(message: Taped) -> bool:
    """Of what is answered."""
    return message.code == "session-unknown"


class Killer:
    """Kills all that serves at the n-th message that is such, or when it is told to."""

    def __init__(self, served: Served, such: Callable[[Taped], bool], count: int) -> None:
        self._served = served
        self._such = such
        self._left = count

    def __call__(self, message: Taped) -> None:
        if self._left > 0 and self._such(message):
            self._left -= 1
            if self._left == 0:
                self._served.kill()

    def kill(self) -> None:
        """Where there were not so many."""
        if self._left > 0:
            self._left = 0
            self._served.kill()
