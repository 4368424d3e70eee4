"""How many commits calls cost, and that what waits is written before the file is closed."""

import asyncio
import sqlite3
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from sealwire.errors import Fault
from sealwire.stores import sqlite_file
from sealwire.stores.sqlite_file import Insert, SqliteFile

FAULT = ("audit-unavailable", "write")


ROW = "INSERT INTO refusals (address, minute, slug, calls) VALUES (?, 1, 's', 1)"


def insert(connection: sqlite3.Connection) -> int:
    return connection.execute("INSERT INTO refusals (address, minute, slug, calls) VALUES ('a', 1, 's', 1)").rowcount


def counted(path: Path) -> int:
    bare = sqlite3.connect(path)
    count: int = bare.execute("SELECT count(*) FROM refusals").fetchone()[0]
    bare.close()
    return count


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many writes each commit takes, in their order."""
    noted: list[int] = []
    commit = sqlite_file._commit

    def commits(connection: sqlite3.Connection, jobs: list[Any]) -> None:
        noted.append(len(jobs))
        commit(connection, jobs)

    monkeypatch.setattr(sqlite_file, "_commit", commits)
    return noted


async def test_calls_that_come_together_are_committed_together(tmp_path: Path, sizes: list[int]) -> None:
    """Three hundred at once: two commits, since one holds 256 at the most."""
    file = SqliteFile(tmp_path / "a.db")
    await asyncio.gather(*(file.write(insert, FAULT) for _ in range(300)))
    assert sizes == [256, 44]
    await file.write(insert, FAULT)
    assert sizes == [256, 44, 1]
    file.close()
    assert counted(tmp_path / "a.db") == 301


@pytest.mark.parametrize(("apart", "together"), [(1, 3), (3, 1)])
async def test_calls_a_turn_apart_are_committed_together(
    tmp_path: Path, sizes: list[int], apart: int, together: int
) -> None:
    """
    Calls that came together are a turn of the loop apart when they are decided. One commit takes them, and waits for
    nobody who is further behind: those are the next one.
    """
    file = SqliteFile(tmp_path / "a.db")

    async def later(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await file.write(insert, FAULT)

    await asyncio.gather(*(later(number * apart) for number in range(3)))
    file.close()
    assert sizes[0] == together
    assert sum(sizes) == 3


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


async def test_rows_among_other_work(tmp_path: Path) -> None:
    """Rows are one statement where they stand together, and each call hears its own answer, in whatever order."""
    file = SqliteFile(tmp_path / "a.db")
    work = [Insert(ROW, ("a",), f"row {at}") if at % 5 else (lambda _, at=at: f"work {at}") for at in range(20)]
    answers = await asyncio.gather(*(file.write(one, FAULT) for one in work))
    assert answers == [f"{'row' if at % 5 else 'work'} {at}" for at in range(20)]
    file.close()
    assert counted(tmp_path / "a.db") == 16


async def test_a_row_that_cannot_be(tmp_path: Path) -> None:
    """Then nothing of its commit is, and nobody hears that it was."""
    file = SqliteFile(tmp_path / "a.db")
    rows = [Insert(ROW, (address,), "row") for address in ("a", None, "b")]
    answers = await asyncio.gather(*(file.write(row, FAULT) for row in rows), return_exceptions=True)
    assert [type(answer) for answer in answers] == [Fault] * 3
    assert await file.write(Insert(ROW, ("a",), "row"), FAULT) == "row"
    file.close()
    assert counted(tmp_path / "a.db") == 1


async def test_each_write_is_given_up_in_its_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One timer serves all: a write that came later is not given up with the one before, nor forgotten."""
    monkeypatch.setattr(sqlite_file, "WRITE_SECONDS", 0.2)
    file, stalled, begun = SqliteFile(tmp_path / "a.db"), Event(), Event()

    def stall(connection: sqlite3.Connection) -> None:
        begun.set()
        assert stalled.wait(20)
        insert(connection)

    first = asyncio.ensure_future(file.write(stall, FAULT))
    assert await asyncio.to_thread(begun.wait, 20)
    loop, since = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    await asyncio.sleep(0.1)
    row = asyncio.ensure_future(file.write(Insert(ROW, ("a",), "row"), FAULT))
    for waiting, least in ((first, 0), (row, 0.29)):
        with pytest.raises(Fault, match="audit-unavailable"):
            await waiting
        assert loop.time() - since >= least
    stalled.set()
    assert await file.write(Insert(ROW, ("b",), "row"), FAULT) == "row"
    file.close()
    assert counted(tmp_path / "a.db") == 2, "what was begun was written, what waited was not"
