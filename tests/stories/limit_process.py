"""
One worker of a deployment with limits of every kind, over the files that it shares with others; it does what it is told
on its standard input, a line each. Its clock stands still, or runs with the host's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stories.approval_process import Running, answer
from tests.stories.limiting import RULES, burst, lay
from tests.stories.sealing import SealedWorld, Stores, make_fast


def worker(folder: Path, clock: str) -> SealedWorld:
    """A worker's guard over the files of the folder."""
    world = SealedWorld(folder, RULES, stores=Stores(folder / "fast.db", folder / "durable.db"))
    if clock == "running":
        # One for all processes of this host, and nobody can set it.
        world.clock.monotonic = time.monotonic  # type: ignore[method-assign]
    return world


async def serve(world: SealedWorld) -> None:
    """Until there is nothing more to do."""
    answer("ready")
    for line in sys.stdin:
        command, *given = json.loads(line)
        answer(await do(world, command, given))
    world.close()


async def do(world: SealedWorld, command: str, given: list[Any]) -> object:
    """One command: `burst` answers when it began and ended, and what each caller heard."""
    if command == "move":
        world.clock.at += given[0]
        return "moved"
    if command == "step":
        world.clock.stepped = given[0]
        return "stepped"
    began = world.clock.monotonic()
    replies = await burst(world, *given)
    heard = [[reply.status_code, int(reply.headers.get("retry-after", 0))] for reply in replies]
    return {"began": began, "ended": world.clock.monotonic(), "heard": heard}


@contextmanager
def workers(folder: Path, clock: str, count: int = 4) -> Iterator[list[Running]]:
    """So many workers on the files of one folder."""
    running = [Running(folder, b"", clock, module=__name__) for _ in range(count)]
    try:
        for one in running:
            assert one.hear() == "ready"
        yield running
    finally:
        for one in running:
            one.end()


async def laid(folder: Path) -> None:
    """The files of the deployment, as its parent makes them."""
    make_fast(folder)
    world = worker(folder, "held")
    await lay(world)
    world.close()


if __name__ == "__main__":
    _, _folder, _key, _clock = sys.argv
    asyncio.run(serve(worker(Path(_folder), _clock)))
