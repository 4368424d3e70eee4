"""
One SQLite file of durable state: its connections, its schema, and the one thread that writes it.

Keeps: nothing of its own. The writer takes what is waiting, runs it in one transaction and commits once (group
commit): it commits when it has all that waits and never lingers while idle. A reader never waits for it (WAL).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from sealwire.errors import Fault, Misuse

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: A write that takes longer than this is a Fault; what it would have done is not done.
WRITE_SECONDS = 5.0
_BUSY_SECONDS = 2.0
_READ_BUSY_SECONDS = 0.25
_BATCH = 256
_WAL_TRIES = 50


class _Job(Generic[T]):
    """One piece of work on its way to the writer and back. `abandoned` once nobody waits for it."""

    __slots__ = ("abandoned", "failure", "future", "loop", "result", "work")

    def __init__(self, work: Work[T], loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[T] = loop.create_future()
        self.abandoned = False
        self.result: T | None = None
        self.failure: BaseException | None = None


class SqliteFile:
    """A durable file. Raises at construction: Misuse if it cannot be opened or has a newer schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        _create_private(path)
        try:
            writing = connect(path, _BUSY_SECONDS)
            _migrate(writing)
            self._reading = connect(path, _READ_BUSY_SECONDS)
            self._reading.execute("PRAGMA query_only = ON")
        except sqlite3.Error as why:
            raise Misuse(f'store.durable: "{path.name}" cannot be opened as a SQLite database: {why}') from None
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, args=(writing,), name="sealwire-writer", daemon=True)
        self._thread.start()

    def read(
        self, sql: str, *values: object, fault: tuple[str, str] = ("store-unavailable", "directory")
    ) -> list[tuple[Any, ...]]:
        """Rows as of now. Raises: Fault, of the given slug and cause."""
        try:
            return self._reading.execute(sql, values).fetchall()
        except sqlite3.Error:
            raise Fault(*fault) from None

    async def write(self, work: Work[T], fault: tuple[str, str]) -> T:
        """
        Runs `work` in the next transaction; on stable storage when this returns. What `work` raises before it wrote
        is raised.

        Raises: Fault, of the given slug and cause, if it could not be written within WRITE_SECONDS.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, loop)
        self._jobs.put(job)
        bound = loop.call_later(WRITE_SECONDS, _abandon, job)
        try:
            return await job.future
        except (sqlite3.Error, TimeoutError):
            raise Fault(*fault) from None
        except asyncio.CancelledError:
            job.abandoned = True
            raise
        finally:
            bound.cancel()

    def close(self) -> None:
        """Writes what waits and ends the thread."""
        self._jobs.put(None)
        self._thread.join()
        self._reading.close()

    def _write(self, connection: sqlite3.Connection) -> None:
        ending = False
        while not ending:
            batch: list[_Job[Any]] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _BATCH or self._jobs.empty():
                    break
                job = self._jobs.get()
            ending = job is None
            if batch:
                _commit(connection, batch)
        connection.close()


def _commit(connection: sqlite3.Connection, batch: list[_Job[Any]]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            if not job.abandoned:
                _run(connection, job)
        connection.execute("COMMIT")
    except sqlite3.Error as why:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in batch:
            job.failure = why
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[Any]]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_hand_back, jobs)


def _run(connection: sqlite3.Connection, job: _Job[Any]) -> None:
    try:
        job.result = job.work(connection)
    except sqlite3.Error:
        raise
    except Exception as why:  # noqa: BLE001  # handed to who waits for it
        job.failure = why


def _hand_back(jobs: list[_Job[Any]]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.failure is not None:
            job.future.set_exception(job.failure)
        else:
            job.future.set_result(job.result)


def _abandon(job: _Job[Any]) -> None:
    job.abandoned = True
    if not job.future.done():
        job.future.set_exception(TimeoutError())


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """A connection to a durable file: WAL, and on stable storage at each commit."""
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    _enter_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _enter_wal(connection: sqlite3.Connection) -> None:
    """
    Turns WAL on. Where several processes do so at once on a fresh file, SQLite says "locked" without waiting; between
    two tries this waits for the write lock instead, for no longer than the busy timeout.
    """
    for _ in range(_WAL_TRIES):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as why:
            if why.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        else:
            return
    connection.execute("PRAGMA journal_mode = WAL")


def _create_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as why:
        raise Misuse(f'store.durable: "{path}" cannot be opened: {why.strerror}') from None


def _migrate(connection: sqlite3.Connection) -> None:
    """Applies the numbered files that the database has not seen, each whole or not at all, one process at a time."""
    scripts = sorted(
        (int(entry.name.partition(".")[0]), entry.read_text("utf-8"))
        for entry in files("sealwire.stores").joinpath("schema").iterdir()
        if entry.name.endswith(".sql")
    )
    connection.execute("BEGIN IMMEDIATE")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > scripts[-1][0]:
        connection.execute("ROLLBACK")
        raise Misuse(f"store.durable: the database has schema {version}, this version knows {scripts[-1][0]}")
    for number, script in scripts:
        if number > version:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")


def _statements(script: str) -> list[str]:
    lines = [line for line in script.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";") if statement.strip()]
