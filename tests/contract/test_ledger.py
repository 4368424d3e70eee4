"""What Ledger promises, held against every adapter, and what durability asks of the SQLite file."""

import asyncio
import multiprocessing
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sealwire.errors import Fault, Misuse
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.ports import Decision, DurableNonce, IdempotencyClaim, Ledger
from sealwire.stores import sqlite_file
from sealwire.stores.memory_durable import MemoryLedger
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_file import SqliteFile
from tests.contract.adapters import DAY, KINDS, START, SetClock, durable

DECISION = Decision("req_1", START, "entered", "ok", "cli_1", "u", "k", "192.0.2.1", "POST", "/v1/orders", "p")
NONCE = DurableNonce("k", "n", START + 60, 20)
CLAIM = IdempotencyClaim("s", b"key", b"print")


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[Ledger]:
    """Each ledger."""
    with durable(request.param, clock, tmp_path) as (opened, _):
        yield opened


def decisions(ledger: Ledger) -> int:
    """How many decisions stand in it."""
    if isinstance(ledger, MemoryLedger):
        return len(ledger.decisions)
    assert isinstance(ledger, SqliteLedger)
    return int(ledger._file.read("SELECT count(*) FROM decisions")[0][0])


async def test_a_lost_claim_writes_no_decision(ledger: Ledger, clock: SetClock) -> None:
    """Seen, late and taken: no decision, and a lost nonce leaves the idempotency key free."""
    assert await ledger.record(DECISION, NONCE, CLAIM) == "recorded"
    assert await ledger.record(DECISION, NONCE._replace(last_valid=START + 300)) == "seen"
    other = CLAIM._replace(key=b"other")
    assert await ledger.record(DECISION, NONCE, other) == "seen"
    assert await ledger.recall("s", b"other") is None
    assert await ledger.record(DECISION, NONCE._replace(nonce="m"), CLAIM) == "taken"
    clock.at = START + 69.999
    assert await ledger.record(DECISION, NONCE._replace(nonce="in time")) == "recorded"
    clock.at = START + 70
    assert await ledger.record(DECISION, NONCE._replace(nonce="late"), other) == "late"
    assert await ledger.recall("s", b"other") is None
    assert decisions(ledger) == 2


async def test_one_of_many_is_recorded(ledger: Ledger) -> None:
    """Of 50 concurrent records of one idempotency key, or of one nonce, one is recorded."""
    outcomes = await asyncio.gather(*(ledger.record(DECISION, None, CLAIM) for _ in range(50)))
    assert sorted(outcomes) == ["recorded"] + ["taken"] * 49
    outcomes = await asyncio.gather(*(ledger.record(DECISION, NONCE) for _ in range(50)))
    assert sorted(outcomes) == ["recorded"] + ["seen"] * 49
    assert decisions(ledger) == 2


@pytest.mark.parametrize("step", [-3600, 3600])
async def test_no_step_of_the_clock_makes_a_replay_valid(ledger: Ledger, clock: SetClock, step: int) -> None:
    """The clock set back or forward: the same message is never recorded again."""
    assert await ledger.record(DECISION, NONCE) == "recorded"
    clock.at = START + step
    assert await ledger.record(DECISION, NONCE) in {"seen", "late"}


async def test_finished_once(ledger: Ledger) -> None:
    """An answer is recalled as it was kept; the first one stays, and an answered key is not released."""
    assert await ledger.recall("s", b"key") is None
    await ledger.finish("s", b"key", b"of nothing")
    await ledger.record(DECISION, None, CLAIM)
    assert await ledger.recall("s", b"key") == (b"print", None, START)
    await ledger.finish("s", b"key", b"wrapped")
    await ledger.finish("s", b"key", b"another")
    await ledger.release("s", b"key")
    assert await ledger.recall("s", b"key") == (b"print", b"wrapped", START)
    assert await ledger.recall("other", b"key") is None


async def test_a_released_key_is_free(ledger: Ledger) -> None:
    """After a release the key can be claimed again."""
    await ledger.record(DECISION, None, CLAIM)
    await ledger.release("s", b"key")
    assert await ledger.recall("s", b"key") is None
    assert await ledger.record(DECISION, None, CLAIM) == "recorded"


async def test_an_answer_is_kept_a_day(ledger: Ledger, clock: SetClock) -> None:
    """Until 24 hours exactly the key is taken; then it is free."""
    await ledger.record(DECISION, None, CLAIM)
    clock.at = START + DAY - 1
    assert await ledger.recall("s", b"key") is not None
    assert await ledger.record(DECISION, None, CLAIM) == "taken"
    clock.at = START + DAY
    assert await ledger.recall("s", b"key") is None
    assert await ledger.record(DECISION, None, CLAIM) == "recorded"


async def test_what_is_recorded_outlives_the_file(clock: SetClock, tmp_path: Path) -> None:
    """Decision, nonce, idempotency key and answer are there when the file is opened again."""
    with durable("sqlite", clock, tmp_path) as (ledger, _):
        assert await ledger.record(DECISION, NONCE, CLAIM) == "recorded"
        await ledger.finish("s", b"key", b"wrapped")
        await ledger.tally((("192.0.2.1", 1, "key-unknown", 7),))
    with durable("sqlite", clock, tmp_path) as (ledger, _):
        assert decisions(ledger) == 1
        assert await ledger.record(DECISION, NONCE) == "seen"
        assert await ledger.recall("s", b"key") == (b"print", b"wrapped", START)


async def test_a_locked_database_lets_nothing_through(
    clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written it is a Fault, within the bound, and nothing of it is written later."""
    monkeypatch.setattr(sqlite_file, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    with durable("sqlite", clock, tmp_path) as (ledger, _):
        holder = sqlite3.connect(tmp_path / "durable.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Fault, match="audit-unavailable"):
            await ledger.record(DECISION, NONCE, CLAIM)
        holder.execute("ROLLBACK")
        holder.close()
        assert decisions(ledger) == 0
        assert await ledger.recall("s", b"key") is None
        assert await ledger.record(DECISION, NONCE, CLAIM) == "recorded"


async def test_a_closed_file_takes_nothing(clock: SetClock, tmp_path: Path) -> None:
    """After close, which may be called twice, a write is a Fault and is left to nobody."""
    file = SqliteFile(tmp_path / "durable.db")
    file.close()
    file.close()
    with pytest.raises(Fault, match="audit-unavailable"):
        await SqliteLedger(file, clock).record(DECISION)
    assert file._batches.get() is None, "the second close"
    assert file._batches.empty()
    assert file._lanes == {}


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    """The database and what SQLite puts beside it have mode 0600."""
    file = SqliteFile(tmp_path / "durable.db")
    assert {part.stat().st_mode & 0o777 for part in tmp_path.iterdir()} == {0o600}
    file.close()


def test_a_newer_schema_stops_the_start(tmp_path: Path) -> None:
    """A database of a later version is not touched."""
    SqliteFile(tmp_path / "durable.db").close()
    newer = sqlite3.connect(tmp_path / "durable.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Misuse, match="schema 99"):
        SqliteFile(tmp_path / "durable.db")


def open_and_close(path: Path) -> None:
    """What each of several processes does at its start."""
    SqliteFile(path).close()


def test_processes_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    """Eight processes that open a file nobody made yet all succeed."""
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        for i in range(10):
            pool.map(open_and_close, [tmp_path / f"durable{i}.db"] * 8, chunksize=1)


async def test_opened_twice_in_one_process_beside_another(clock: SetClock, tmp_path: Path) -> None:
    """
    A second file object in the process that serves (an `Admin` that invites, say) takes no lock of the first: another
    process that comes and goes then leaves the WAL alone, and what is recorded after that is on the disk.
    """
    path = tmp_path / "durable.db"
    file = SqliteFile(path)
    SqliteFile(path).close()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(open_and_close, [path])
        assert await SqliteLedger(file, clock).record(DECISION, NONCE, None) == "recorded"
        assert pool.apply(decisions_in, [path]) == 1
    file.close()


def decisions_in(path: Path) -> int:
    """How many decisions a process finds that has nothing but the file."""
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM decisions").fetchone()[0]
    return found


def contents(folder: Path) -> bytes:
    """Every byte of a folder: database and WAL."""
    return b"".join(part.read_bytes() for part in folder.iterdir())


async def test_nothing_stands_there_in_clear(clock: SetClock, tmp_path: Path) -> None:
    """Neither nonce nor idempotency key nor reply body is found in the bytes of database and WAL."""
    keys, store = tmp_path / "keys", tmp_path / "store"
    keys.mkdir()
    store.mkdir()
    make_signing_key(keys / "signing.pem")
    make_wrapping_key(keys / "wrapping.key", os.urandom)
    keyring = FileKeyring(keys / "signing.pem", keys / "wrapping.key", os.urandom)
    key, nonce = keyring.digest(b"MARKER-idempotency"), NONCE._replace(nonce="MARKER-nonce-MARKER-nonce")
    with durable("sqlite", clock, store) as (ledger, _):
        assert await ledger.record(DECISION, nonce, IdempotencyClaim("cli_1", key, b"print")) == "recorded"
        await ledger.finish("cli_1", key, keyring.wrap(b'{"body": "MARKER-reply"}', key))
        found = contents(store)
    assert b"cli_1" in found
    assert b"MARKER" not in found
    assert b"MARKER" not in contents(store)


async def test_a_clock_set_right_again_makes_nothing_valid(ledger: Ledger, clock: SetClock) -> None:
    """An hour ahead, other calls sweep what ran out there; set right again, the first message is still a replay."""
    first = DurableNonce("k", "n" * 22, START + 60, 20)
    assert await ledger.record(DECISION, first) == "recorded"
    clock.at = START + 3600
    for i in range(3):
        assert await ledger.record(DECISION, DurableNonce("other", f"{i:022d}", clock.at + 60, 20)) == "recorded"
        clock.at += 2
    clock.at = START + 1
    assert await ledger.record(DECISION, first) in ("seen", "late")
    assert await ledger.record(DECISION, first._replace(nonce="m" * 22, last_valid=START + 9000)) == "recorded"
