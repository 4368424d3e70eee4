"""Every adapter of each port, ready to be held against its contract."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.ports import BucketStore, Directory, Ledger, NonceStore, SessionStore
from sealwire.ports.apikeys import ApiKeys, Uses
from sealwire.ports.people import Approvals, Factors
from sealwire.protocol.jwk import Verifier, verifier_of
from sealwire.stores import sqlite_fast, sqlite_sessions
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_fast import SqliteFast
from sealwire.stores.sqlite_file import SqliteFile
from sealwire.stores.sqlite_sessions import SqliteSessions

START = 1_790_000_000.0
DAY = 24 * 3600
#: How many live nonces the stores under test allow a key.
LIVE = 3
#: How many buckets they keep.
BUCKETS = 5
#: How many sessions they keep in all.
SESSIONS = 40
KINDS = ("memory", "sqlite")


class SetClock:
    """A clock that stands still until it is moved; `elapsed` only grows."""

    def __init__(self) -> None:
        self.at = START
        self.elapsed = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.elapsed


def a_key() -> Verifier:
    """A key of nobody yet."""
    return verifier_of(Ed25519PrivateKey.generate().public_key())


@contextmanager
def fast(kind: str, clock: SetClock, folder: Path) -> Iterator[list[tuple[NonceStore, BucketStore]]]:
    """The fast store as each worker sees it: one worker in memory, two on one file."""
    if kind == "memory":
        yield [(MemoryNonces(clock, os.urandom, LIVE), MemoryBuckets(clock, BUCKETS))]
        return
    sqlite_fast.make(folder / "fast.db", clock, os.urandom)
    workers = [SqliteFast(folder / "fast.db", clock, LIVE, BUCKETS) for _ in range(2)]
    yield [(worker, worker) for worker in workers]
    for worker in workers:
        worker.close()


@contextmanager
def sessions(kind: str, clock: SetClock, folder: Path) -> Iterator[list[SessionStore]]:
    """The sessions as each worker sees them: one worker in memory, two on one file."""
    if kind == "memory":
        yield [MemorySessions(clock, SESSIONS)]
        return
    sqlite_fast.make(folder / "fast.db", clock, os.urandom)
    sqlite_sessions.make(folder / "fast.db", os.urandom)
    workers = [SqliteSessions(folder / "fast.db", clock, os.urandom, SESSIONS) for _ in range(2)]
    yield [*workers]
    for worker in workers:
        worker.close()


@contextmanager
def durable(kind: str, clock: SetClock, folder: Path) -> Iterator[tuple[Ledger, Directory]]:
    """A durable store."""
    if kind == "memory":
        yield MemoryLedger(clock), MemoryDirectory()
        return
    file = SqliteFile(folder / "durable.db")
    yield SqliteLedger(file, clock), SqliteDirectory(file)
    file.close()


class Process(NamedTuple):
    """What one process sees of the durable store: who was asked, who has what, and what hangs on it."""

    approvals: Approvals
    factors: Factors
    ledger: Ledger
    directory: Directory


@contextmanager
def people(kind: str, clock: SetClock, folder: Path) -> Iterator[list[Process]]:
    """Approvals and factors as each process sees them: one in memory, two on one file."""
    if kind == "memory":
        ledger, directory = MemoryLedger(clock), MemoryDirectory()
        asked = MemoryApprovals(clock, ledger, directory)
        yield [Process(asked, asked, ledger, directory)]
        return
    files = [SqliteFile(folder / "durable.db") for _ in range(2)]
    made = [(SqliteApprovals(file, clock), SqliteLedger(file, clock), SqliteDirectory(file)) for file in files]
    yield [Process(asked, asked, ledger, directory) for asked, ledger, directory in made]
    for file in files:
        file.close()


class Desk(NamedTuple):
    """What one process sees of API keys and their uses, and `decisions` counts the rows of the ledger."""

    apikeys: ApiKeys
    uses: Uses
    directory: Directory
    approvals: Approvals
    decisions: Callable[[], list[str]]


@contextmanager
def apikeys(kind: str, clock: SetClock, folder: Path) -> Iterator[list[Desk]]:
    """API keys as each process sees them: one in memory, two on one file."""
    if kind == "memory":
        ledger, directory = MemoryLedger(clock), MemoryDirectory()
        held = MemoryApiKeys(ledger, directory)
        asked = MemoryApprovals(clock, ledger, directory)
        yield [Desk(held, held, directory, asked, lambda: [one.request_id for one in ledger.decisions])]
        return
    files = [SqliteFile(folder / "durable.db") for _ in range(2)]
    yield [_desk(file, clock) for file in files]
    for file in files:
        file.close()


def _desk(file: SqliteFile, clock: SetClock) -> Desk:
    kept = SqliteApiKeys(file)
    return Desk(
        kept,
        kept,
        SqliteDirectory(file),
        SqliteApprovals(file, clock),
        lambda: [request for (request,) in file.read("SELECT request FROM decisions ORDER BY seq")],
    )
