"""What SqliteDirectory holds ready of keys, and that nothing of it outlives a change, whoever makes it."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from sealwire.clock import SystemClock
from sealwire.errors import Fault
from sealwire.ports import Decision, Directory, Invitation
from sealwire.records import KeyRecord
from sealwire.stores import sqlite_directory
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile
from tests.contract.adapters import START, a_key

NO = Decision("req_1", START, "entered", "ok", "cli_a", "", "k", "192.0.2.1", "GET", "/v1/orders", "p")


class Counted(SqliteFile):
    """A file that notes what is read of it, and fails where it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []
        self.failing = False

    def read(
        self, sql: str, *values: object, fault: tuple[str, str] = ("store-unavailable", "directory")
    ) -> list[tuple[object, ...]]:
        """As ever."""
        if self.failing:
            raise Fault(*fault)
        self.asked.append(sql.split(" FROM ")[1].split(maxsplit=1)[0])
        return super().read(sql, *values, fault=fault)


async def enrolled(directory: Directory, count: int = 1) -> list[str]:
    """The ids of so many keys of client `cli_a`."""
    keyids = []
    for number in range(count):
        invitation = Invitation(f"i{number}", "a", "", "alice", frozenset(), (), b"w", START + 60)
        await directory.add_invitation(invitation)
        key = a_key()
        await directory.enrol(invitation.id, key, "cli_a", "k", START)
        keyids.append(key.keyid)
    return keyids


async def known(directory: Directory, keyid: str) -> KeyRecord:
    """The record of a key that is there."""
    record = await directory.key(keyid)
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("UPDATE keys SET state = 'revoked'", "revoked"),
        ("UPDATE keys SET frozen = 1", "frozen"),
        ("UPDATE keys SET client = 'cli_b'", "cli_b"),
        ("UPDATE clients SET limits = '5/min' WHERE id = 'cli_a'", "('5', 60)"),
        ("UPDATE clients SET user = 'mallory' WHERE id = 'cli_a'", "mallory"),
        ("UPDATE OR REPLACE clients SET user = 'mallory' WHERE id = 'cli_a'", "mallory"),
        (
            "REPLACE INTO clients (id, name, user, scopes, addresses, created) VALUES ('cli_a', '', 'm', '', '', 1)",
            "cli_a m ",
        ),
        ("REPLACE INTO keys SELECT keyid, 'cli_b', name, jwk, state, enrolled, expires, '', 0, -1 FROM keys", "cli_b"),
        ("DELETE FROM keys", "None"),
    ],
)
async def test_a_change_by_any_hand_counts_at_the_next_call(tmp_path: Path, change: str, seen: str) -> None:
    """Another connection changes a key or its client, as the command line or a tool of the database does."""
    file = SqliteFile(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    (keyid,) = await enrolled(directory)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute(
        "INSERT INTO clients (id, name, user, scopes, addresses, created) VALUES ('cli_b', 'b', 'b', '', '', 1)"
    )
    for _ in range(3):
        record = await known(directory, keyid)
        assert (record.state, record.client, record.user, record.limits) == ("active", "cli_a", "alice", ())
        await asyncio.sleep(0)
    other.execute(change)
    other.close()
    found = await directory.key(keyid)
    told = (
        "None"
        if found is None
        else f"{found.state} {found.client} {found.user} "
        + " ".join(str((str(limit.quota), limit.period_seconds)) for limit in found.limits)
    )
    assert seen in told
    file.close()


async def test_one_look_a_turn_and_one_reading_a_change(tmp_path: Path) -> None:
    """
    Calls of one turn of the loop share a look at the version; a key is read again when a key or a client was changed,
    and not for every decision that is written beside it.
    """
    file = Counted(tmp_path / "a.db")
    directory, ledger = SqliteDirectory(file), SqliteLedger(file, SystemClock())
    first, second = await enrolled(directory, 2)
    await asyncio.sleep(0)
    for _ in range(20):
        assert await directory.key(first) is not None
        assert await directory.key(second) is not None
    assert file.asked == ["directory_version", "keys", "keys"]
    for _ in range(5):
        await ledger.record(NO)
        assert await directory.key(first) is not None
    assert file.asked == ["directory_version", "keys", "keys", *["directory_version"] * 5]
    assert await directory.revoke(second)
    assert [(await known(directory, keyid)).state for keyid in (first, second)] == ["active", "revoked"]
    assert file.asked[-3:] == ["directory_version", "keys", "keys"]
    file.close()


async def test_a_key_that_nobody_has_is_not_held(tmp_path: Path) -> None:
    """Strangers can name any number of keys; and one that is enrolled a moment later is found."""
    file = SqliteFile(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    for number in range(100):
        assert await directory.key(f"nobody {number}") is None
    assert directory._held[1] == {}
    (keyid,) = await enrolled(directory)
    assert await directory.key(keyid) is not None
    file.close()


async def test_no_more_than_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound a key is read at each call, and found all the same."""
    monkeypatch.setattr(sqlite_directory, "_MAX_LOADED", 2)
    file = SqliteFile(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    keyids = await enrolled(directory, 4)
    for _ in range(2):
        assert [(await known(directory, keyid)).keyid for keyid in keyids] == keyids
    assert (len(directory._held[1]), len(directory._loaded)) == (2, 2)
    file.close()


async def test_what_is_held_opens_nothing_where_the_file_cannot_be_asked(tmp_path: Path) -> None:
    """A check that could not be made is not passed: each call fails until the file answers again."""
    file = Counted(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    (keyid,) = await enrolled(directory)
    assert await directory.key(keyid) is not None
    await asyncio.sleep(0)
    file.failing = True
    for _ in range(2):
        with pytest.raises(Fault, match="store-unavailable"):
            await directory.key(keyid)
    file.failing = False
    assert await directory.key(keyid) is not None
    file.close()


def test_a_loop_that_ended_is_no_turn(tmp_path: Path) -> None:
    """What one loop looked at holds for no other, though it ended in the same turn."""
    file = SqliteFile(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    (keyid,) = asyncio.run(enrolled(directory))
    loop = asyncio.new_event_loop()

    async def last() -> None:
        assert await directory.key(keyid) is not None
        loop.stop()

    loop.create_task(last())  # noqa: RUF006  # the loop stops with it
    loop.run_forever()
    loop.close()
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("UPDATE keys SET state = 'revoked'")
    other.close()

    async def following() -> str:
        return (await known(directory, keyid)).state

    assert asyncio.run(following()) == "revoked"
    file.close()


async def test_what_a_slow_thread_read_is_held_for_nobody(tmp_path: Path) -> None:
    """A key is read by one thread, revoked, and another thread has looked since: the first one's record is its own."""
    read, revoked = threading.Event(), threading.Event()

    class Slow(SqliteFile):
        def read(
            self, sql: str, *values: object, fault: tuple[str, str] = ("store-unavailable", "directory")
        ) -> list[tuple[object, ...]]:
            rows = super().read(sql, *values, fault=fault)
            if threading.current_thread() is slow and "FROM keys" in sql:
                read.set()
                assert revoked.wait(10)
            return rows

    file = Slow(tmp_path / "a.db")
    directory = SqliteDirectory(file)
    (keyid,) = await enrolled(directory)
    slow = threading.Thread(target=lambda: asyncio.run(directory.key(keyid)))
    slow.start()
    assert await asyncio.to_thread(read.wait, 10)
    assert await directory.revoke(keyid)
    assert await directory.key("nobody") is None
    revoked.set()
    await asyncio.to_thread(slow.join, 10)
    assert (await known(directory, keyid)).state == "revoked"
    file.close()
