"""
One at a time: who of a process's threads or tasks asks for the rules, or opens a session, while the others wait for it.

Owns: the waiting, which has an end: one that hangs holds up nobody else for longer than `PATIENCE_SECONDS`.
Refuses to know: what is done in a turn.
"""

from __future__ import annotations

import threading

import anyio

#: How long a turn is waited for. Past it two may do the same, which costs a request and harms nothing.
PATIENCE_SECONDS = 30.0


class Turns:
    """The turns of one process: for threads, or for tasks of one event loop. A fork begins with its own."""

    def __init__(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._patience = patience_seconds
        self._threads = threading.Lock()
        self._tasks = anyio.Lock()

    def take(self) -> bool:
        """Waits for the turn; False if it did not come in time."""
        return self._threads.acquire(timeout=self._patience)

    def give(self) -> None:
        """To the next thread; called by who took it."""
        self._threads.release()

    async def take_async(self) -> bool:
        """`take`, for tasks."""
        with anyio.move_on_after(self._patience):
            await self._tasks.acquire()
            return True
        return False

    def give_async(self) -> None:
        """`give`, for tasks."""
        self._tasks.release()
