"""What the guard costs: a whole signed call in this process over the cryptography in it."""

import asyncio
import statistics
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.timing import CALLS, RUNS, Figures, ratio
from sealwire.entry import Arrival, Begin, Entry
from sealwire.protocol.message import Reply
from tests.stories.world import Wire, World

_ANSWER = Reply(200, ((b"content-type", b"application/json"),), b'{"time": "2026-01-01T00:00:00Z"}')


async def _receive() -> tuple[bytes, bool]:
    return b"", False


async def _enter(_entry: Entry, _begin: Begin) -> Reply | None:
    return _ANSWER


def guard(folder: Path) -> Figures:
    """guard_signed_over_floor: verify, nonce, decision (in memory) and signed reply over one verify and one sign."""
    world = World(folder)
    private = Ed25519PrivateKey.generate()
    public, base = private.public_key(), b"x" * 600
    signature = private.sign(base)

    async def calls(arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            reply = await world.guard.handle(arrival, _enter)
            assert reply is not None
            assert reply.status == 200

    times: tuple[list[float], list[float]] = ([], [])
    with asyncio.Runner() as runner:
        for _ in range(RUNS):
            signed = [Wire().sign(world.signer) for _ in range(CALLS)]
            arrivals = [Arrival("GET", one.target, one.headers, "192.0.2.1", _receive) for one in signed]
            begun = time.process_time()
            runner.run(calls(arrivals))
            times[0].append((time.process_time() - begun) / CALLS * 1e6)
            begun = time.process_time()
            for _ in range(CALLS):
                public.verify(signature, base)
                private.sign(base)
            times[1].append((time.process_time() - begun) / CALLS * 1e6)
    return {"guard_signed_over_floor": ratio(statistics.median(times[0]), statistics.median(times[1]))}
