"""
One SQLite file of durable state: its connections, its schema, and the one thread that writes it.

Keeps: nothing of its own. What calls have to write is run in one transaction for all that wait and committed once
(group commit). A reader never waits for the writer (WAL).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from sealwire.errors import Fault, Misuse

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]

#: A write that takes longer than this is a Fault; what it would have done is not done.
WRITE_SECONDS = 5.0
_BUSY_SECONDS = 2.0
_READ_BUSY_SECONDS = 0.25
_BATCH = 256
_WAL_TRIES = 50


class Insert(Generic[T]):
    """
    Work that adds one row and answers with `done`. Those that stand together in a batch are one call to SQLite, since
    between two calls the writer would wait its turn with the event loop.
    """

    __slots__ = ("done", "sql", "values")

    def __init__(self, sql: str, values: tuple[object, ...], done: T) -> None:
        self.sql = sql
        self.values = values
        self.done = done

    def __call__(self, connection: sqlite3.Connection) -> T:
        """The row alone."""
        connection.execute(self.sql, self.values)
        return self.done


class _Job(Generic[T]):
    """One piece of work on its way to the writer and back. `abandoned` once nobody waits for it."""

    __slots__ = ("abandoned", "failure", "future", "result", "since", "work")

    def __init__(self, work: Work[T], future: asyncio.Future[T], since: float) -> None:
        self.work = work
        self.future = future
        self.since = since  # by the loop's clock
        self.abandoned = False
        self.result: T | None = None
        self.failure: BaseException | None = None


class _Lane:
    """
    The jobs of one event loop on their way to the writer, one batch at a time, each batch one commit.

    A batch leaves once the writer is done with the one before and no call has joined in the loop's last turn: calls
    that came in together are committed together, and nothing is held back while the writer idles.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, batches: SimpleQueue[_Batch | None]) -> None:
        self.loop = loop
        self._batches = batches
        self._waiting: list[_Job[Any]] = []
        self._away: list[_Job[Any]] = []  # with the writer
        self._counted = 0
        self._held = False  # by a writer at work, or by a look at the loop's next turn
        self._overdue: asyncio.TimerHandle | None = None

    def add(self, job: _Job[Any]) -> None:
        """Puts a job behind those that wait."""
        self._waiting.append(job)
        if self._overdue is None:
            self._overdue = self.loop.call_later(WRITE_SECONDS, self._give_up)
        if not self._held:
            self._held = True
            self._counted = 0  # those that came together may be a turn behind
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        count = len(self._waiting)
        if self._counted < count < _BATCH:
            self._counted = count
            self.loop.call_soon(self._look)
        else:
            self._hand_over()

    def flush(self) -> None:
        """All that waits goes to the writer now."""
        while self._waiting:
            self._hand_over()

    def _hand_over(self) -> None:
        batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        self._away += batch
        self._batches.put(_Batch(self, batch))

    def _give_up(self) -> None:
        """Jobs that have waited too long are a Fault; one timer serves all, and comes back for those behind."""
        self._overdue = None
        late = self.loop.time() - WRITE_SECONDS
        pending = [job for job in (*self._away, *self._waiting) if not job.abandoned]
        for job in pending:
            if job.since > late:
                self._overdue = self.loop.call_at(job.since + WRITE_SECONDS, self._give_up)
                return
            _abandon(job)

    def written(self, jobs: list[_Job[Any]]) -> None:
        """The writer is done with these jobs, the first of those it had; in the loop's own thread."""
        del self._away[: len(jobs)]
        _hand_back(jobs)
        self._held = bool(self._waiting)
        if self._held:
            self._counted = 0
            self.loop.call_soon(self._look)


class _Batch(NamedTuple):
    """What one commit is made of, and whom to tell."""

    lane: _Lane
    jobs: list[_Job[Any]]


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
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._lanes: dict[asyncio.AbstractEventLoop, _Lane] = {}
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
        if not self._thread.is_alive():
            raise Fault(*fault)  # closed, or left behind by a fork: nobody would ever write it
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(work, future, loop.time())
        lane = self._lanes.get(loop)
        if lane is None:
            self._lanes = {other: kept for other, kept in self._lanes.items() if not other.is_closed()}
            lane = self._lanes[loop] = _Lane(loop, self._batches)
        lane.add(job)
        try:
            return await future
        except (sqlite3.Error, TimeoutError):
            raise Fault(*fault) from None
        except asyncio.CancelledError:
            job.abandoned = True
            raise

    def close(self) -> None:
        """Writes what waits and ends the thread; a second time nothing happens."""
        for lane in self._lanes.values():
            lane.flush()
        self._batches.put(None)
        self._thread.join()
        self._reading.close()

    def _write(self, connection: sqlite3.Connection) -> None:
        while (batch := self._batches.get()) is not None:
            _commit(connection, batch.jobs)
            with contextlib.suppress(RuntimeError):  # the loop closed meanwhile: nobody waits for the answer
                batch.lane.loop.call_soon_threadsafe(batch.lane.written, batch.jobs)
        connection.close()


def _commit(connection: sqlite3.Connection, batch: list[_Job[Any]]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for sql, jobs in itertools.groupby((job for job in batch if not job.abandoned), _inserts):
            if sql:
                _insert(connection, sql, list(jobs))
            else:
                for job in jobs:
                    _run(connection, job)
        connection.execute("COMMIT")
    except sqlite3.Error as why:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in batch:
            job.failure = why


def _inserts(job: _Job[Any]) -> str:
    return job.work.sql if isinstance(job.work, Insert) else ""


def _insert(connection: sqlite3.Connection, sql: str, jobs: list[_Job[Any]]) -> None:
    work = [job.work for job in jobs if isinstance(job.work, Insert)]
    connection.executemany(sql, [insert.values for insert in work])
    for job, insert in zip(jobs, work, strict=True):
        job.result = insert.done


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
    """
    Makes the file for its owner alone. One that is there stays unopened: closing any descriptor of a file drops every
    POSIX lock that this process holds on it, and another process would then take the WAL away under an open file.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    except OSError as why:
        raise Misuse(f'store.durable: "{path}" cannot be opened: {why.strerror}') from None


def schema_versions(path: Path) -> tuple[int, int]:
    """The schema of a file, which is only looked at, and the newest one known here. Raises: Misuse."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as looking:
            found: int = looking.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as why:
        raise Misuse(f'store.durable: "{path.name}" cannot be opened as a SQLite database: {why}') from None
    return found, _scripts()[-1][0]


def _scripts() -> list[tuple[int, str]]:
    return sorted(
        (int(entry.name.partition(".")[0]), entry.read_text("utf-8"))
        for entry in files("sealwire.stores").joinpath("schema").iterdir()
        if entry.name.endswith(".sql")
    )


def _migrate(connection: sqlite3.Connection) -> None:
    """Applies the numbered files that the database has not seen, each whole or not at all, one process at a time."""
    scripts = _scripts()
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
    statements, begun = [], ""
    for line in script.splitlines():
        begun += f"{line}\n"
        if sqlite3.complete_statement(begun):  # a trigger has semicolons of its own
            statements.append(begun)
            begun = ""
    return [*statements, begun] if begun.strip() else statements
