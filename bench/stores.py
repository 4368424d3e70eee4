"""What is remembered costs: nonces in process, decisions on disk."""

import asyncio
import gc
import os
import secrets
import sqlite3
import statistics
import time
import tracemalloc
from pathlib import Path

from bench.timing import RUNS, Figures, interleaved, ratio
from sealwire.ports import Decision, DurableNonce
from sealwire.stores.memory import MemoryNonces
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_file import SqliteFile
from tests.stories.world import START, SetClock

_BATCH = 2_000


async def _filled(count: int) -> tuple[MemoryNonces, float]:
    """A store of so many nonces, and the bytes that each takes."""
    store = MemoryNonces(SetClock(), os.urandom, 10_000_000)
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        await store.claim("k", f"{number:022d}", START + 60, 20)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return store, held / count


async def _claims(store: MemoryNonces, first: int) -> tuple[float, float]:
    """Cost of a claim, the mean of a batch of new nonces, and the worst one, in µs."""
    names = [f"{number:022d}" for number in range(first, first + _BATCH)]
    worst, begun = 0.0, time.perf_counter()
    for name in names:
        at = time.perf_counter()
        await store.claim("k", name, START + 60, 20)
        worst = max(worst, time.perf_counter() - at)
    return (time.perf_counter() - begun) / _BATCH * 1e6, worst * 1e6


async def _nonces() -> Figures:
    large, size = await _filled(1_000_000)
    costs: tuple[list[float], list[float]] = ([], [])
    worst = 0.0
    for run in range(RUNS):
        cost, longest = await _claims(large, 1_000_000 + run * _BATCH)
        costs[0].append(cost)
        worst = max(worst, longest)
        costs[1].append((await _claims((await _filled(1_000))[0], 1_000))[0])
    growth = ratio(statistics.median(costs[0]), statistics.median(costs[1]))
    return {
        "nonce_bytes": {"ratio": round(size, 1), "ours_bytes": round(size, 1)},
        "nonce_growth": {**growth, "worst_us": round(worst, 1)},
    }


def nonces() -> Figures:
    """nonce_bytes at a million; nonce_growth, a claim at a million over one at a thousand, with the worst beside it."""
    return asyncio.run(_nonces())


def audit(folder: Path) -> Figures:
    """
    audit_append_vs_insert: a durable decision over a bare insert of the same bytes, both in commits of 32. Beside it
    `with_nonce`, the same ratio for a decision that claims a nonce in its transaction.
    """
    decision = Decision(
        "req_01", START, "entered", "ok", "cli_01", "u", "k" * 43, "192.0.2.1", "GET", "/v1/balances", "p"
    )
    file = SqliteFile(folder / "ours.db")
    ledger = SqliteLedger(file, SetClock())
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE d (seq INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h, i, j, k)")

    async def alone() -> None:
        await asyncio.gather(*(ledger.record(decision) for _ in range(32)))

    async def claiming() -> None:
        claims = [DurableNonce("k" * 43, secrets.token_urlsafe(18), START + 60, 20) for _ in range(32)]
        await asyncio.gather(*(ledger.record(decision, claim) for claim in claims))

    def other() -> None:
        bare.execute("BEGIN IMMEDIATE")
        for _ in range(32):
            bare.execute("INSERT INTO d (a, b, c, d, e, f, g, h, i, j, k) VALUES (?,?,?,?,?,?,?,?,?,?,?)", decision)
        bare.execute("COMMIT")

    with asyncio.Runner() as runner:
        figures = interleaved(lambda: runner.run(alone()), other, calls=20)
        figures["with_nonce"] = interleaved(lambda: runner.run(claiming()), other, calls=20)["ratio"]
    file.close()
    bare.close()
    return {"audit_append_vs_insert": figures}
