"""How many commits calls cost, and that what waits is written before the file is closed."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sealwire.stores import sqlite_file
from sealwire.stores.sqlite_file import SqliteFile

FAULT = ("audit-unavailable", "write")


def insert(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO refusals (address, minute, slug, calls) VALUES ('a', 1, 's', 1)").rowcount


def counted(path: Path) -> int:
    bare = sqlite3.connect(path)
    count: int = bare.execute("SELECT count(*) FROM refusals").fetchone()[0]
    bare.close()
    return count


async def test_calls_that_come_together_are_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hundred at once: two commits, since one holds 256 at the most."""
    sizes: list[int] = []
    commit = sqlite_file._commit

    def noted(connection: sqlite3.Connection, jobs: list[Any]) -> None:
        sizes.append(len(jobs))
        commit(connection, jobs)

    monkeypatch.setattr(sqlite_file, "_commit", noted)
    file = SqliteFile(tmp_path / "a.db")
    await asyncio.gather(*(file.write(insert, FAULT) for _ in range(300)))
    assert sizes == [256, 44]
    await file.write(insert, FAULT)
    assert sizes == [256, 44, 1]
    file.close()
    assert counted(tmp_path / "a.db") == 301


def test_what_waits_is_written_at_the_end(tmp_path: Path) -> None:
    """The loop stopped before it handed a write over: closing the file writes it."""
    file = SqliteFile(tmp_path / "a.db")
    loop = asyncio.new_event_loop()
    task = loop.create_task(file.write(insert, FAULT))
    loop.call_soon(loop.stop)
    loop.run_forever()
    file.close()
    assert counted(tmp_path / "a.db") == 1
    assert loop.run_until_complete(task) == 1
    loop.close()


def test_another_loop_is_served_too(tmp_path: Path) -> None:
    """One file, one event loop after the other, as a command line has them."""
    file = SqliteFile(tmp_path / "a.db")
    assert [asyncio.run(file.write(insert, FAULT)) for _ in range(3)] == [1, 1, 1]
    file.close()
