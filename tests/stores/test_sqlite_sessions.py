"""Sessions in the fast store's file: what stands in it, who can read it, and what a damaged one does."""

import hashlib
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.call import Session
from sealwire.errors import Fault, Misuse
from sealwire.ports import LATE_SECONDS
from sealwire.protocol.handshake import Keys
from sealwire.protocol.jwk import b64url
from sealwire.stores import sqlite_fast, sqlite_sessions
from sealwire.stores.sqlite_sessions import SqliteSessions
from tests.contract.adapters import START, SetClock
from tests.protocol.hkdf import hkdf_sha256

SECRET, CONTEXT = b"THE SECRET OF THE SESSION, MARK!", b"context"


@pytest.fixture
def clock() -> SetClock:
    """A clock that stands still until it is moved."""
    return SetClock()


@pytest.fixture
def path(tmp_path: Path, clock: SetClock) -> Path:
    """The fast store of a start."""
    sqlite_fast.make(tmp_path / "fast.db", clock, os.urandom)
    sqlite_sessions.make(tmp_path / "fast.db", os.urandom)
    return tmp_path / "fast.db"


@pytest.fixture
def store(path: Path, clock: SetClock) -> Iterator[SqliteSessions]:
    """One worker's view of it."""
    opened = SqliteSessions(path, clock, os.urandom)
    yield opened
    opened.close()


def a_session(name: str = "a", expires: float = START + 900) -> Session:
    """A session of a key of its own."""
    return Session(f"ses_{name}", f"k{name}", int(expires), 10, Keys(SECRET, CONTEXT))


def run(path: Path, sql: str, *values: object) -> list[tuple[object, ...]]:
    """One statement on the bare file."""
    bare = sqlite3.connect(path, isolation_level=None)
    found = bare.execute(sql, values).fetchall()
    bare.close()
    return found


async def test_no_secret_stands_in_a_file(path: Path, store: SqliteSessions) -> None:
    """Neither the secret nor a key made of it is in any file beside the store, in bytes or as text."""
    await store.keep(a_session(), SECRET, CONTEXT)
    assert await store.session("ses_a") is not None
    assert await store.count("ses_a") == "counted"
    files = {one.name: one.read_bytes() for one in path.parent.iterdir()}
    assert b"ses_a" in files["fast.db"] + files["fast.db-wal"]
    salt = hashlib.sha256(CONTEXT).digest()
    labels = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac", b"commitment")
    for secret in (SECRET, *(hkdf_sha256(SECRET, salt, b"sealwire " + label, 32) for label in labels)):
        forms = (secret, secret[:16], secret[16:], secret.hex().encode(), b64url(secret).encode())
        assert [name for name, content in files.items() if any(form in content for form in forms)] == []


async def test_the_files_are_private(path: Path, store: SqliteSessions) -> None:
    """Database, WAL, its index and the wrapping key: mode 0600, whatever the umask of the parent."""
    await store.keep(a_session(), SECRET, CONTEXT)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == dict.fromkeys(("fast.db", "fast.db-wal", "fast.db-shm", "fast.key"), 0o600)


async def test_the_same_secret_is_wrapped_otherwise(path: Path, store: SqliteSessions) -> None:
    """Each row has an IV of its own, drawn when it is kept."""
    for name in ("a", "b"):
        await store.keep(a_session(name), SECRET, CONTEXT)
    (one,), (other,) = run(path, "SELECT wrapped FROM sessions")
    assert isinstance(one, bytes)
    assert isinstance(other, bytes)
    assert len(one) == len(other) == 12 + 32 + 16
    assert one[:12] != other[:12]
    assert one[12:] != other[12:]


async def test_a_wrong_wrapping_key_opens_nothing(path: Path, clock: SetClock, store: SqliteSessions) -> None:
    """Under another key, and in another session's row, a secret does not open: a Fault, not other keys."""
    for name in ("a", "b"):
        await store.keep(a_session(name), SECRET, CONTEXT)
    (path.parent / "fast.key").write_bytes(os.urandom(32))
    other = SqliteSessions(path, clock, os.urandom)
    with pytest.raises(Fault, match="store-unavailable/sessions"):
        await other.session("ses_a")
    other.close()
    run(path, "UPDATE sessions SET wrapped = (SELECT wrapped FROM sessions WHERE id = 'ses_a') WHERE id = 'ses_b'")
    with pytest.raises(Fault, match="store-unavailable/sessions"):
        await store.session("ses_b")
    assert await store.session("ses_a") is not None


async def test_a_worker_that_starts_again_goes_on(path: Path, clock: SetClock, store: SqliteSessions) -> None:
    """It opens the file and the wrapping key of this start, and knows every session."""
    await store.keep(a_session(), SECRET, CONTEXT)
    store.close()
    again = SqliteSessions(path, clock, os.urandom)
    found = await again.session("ses_a")
    assert found is not None
    assert found.keys.fits(Keys(SECRET, CONTEXT).commitment)
    again.close()


async def test_a_new_session_sweeps_a_few(path: Path, clock: SetClock, store: SqliteSessions) -> None:
    """What ran out goes a few at a time, however much there is: the cost of a session has a bound."""
    for i in range(30):
        await store.keep(a_session(f"{i}"), SECRET, CONTEXT)
    clock.at = START + 901 + LATE_SECONDS
    left = []
    for i in range(5):
        await store.keep(a_session(f"new{i}", clock.at + 900), SECRET, CONTEXT)
        left += run(path, "SELECT count(*) FROM sessions WHERE keyid NOT LIKE 'knew%'")
    assert left == [(22,), (14,), (6,), (0,), (0,)]
    assert run(path, "SELECT count(*) FROM sessions") == [(5,)]


async def test_keys_held_ready_are_bounded(store: SqliteSessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the bound those held are dropped, and unwrapped again where they are asked for; an ended one is not held."""
    monkeypatch.setattr(sqlite_sessions, "_HELD_KEYS", 3)
    for i in range(7):
        await store.keep(a_session(f"{i}"), SECRET, CONTEXT)
        found = await store.session(f"ses_{i}")
        assert found is not None
        assert found.keys is (await store.session(f"ses_{i}") or found).keys
        assert len(store._keys) <= 3
    assert await store.session("ses_0") is not None
    await store.end("ses_0")
    assert await store.session("ses_0") is None
    assert "ses_0" not in store._keys


async def test_a_store_that_does_not_answer(path: Path, store: SqliteSessions) -> None:
    """Each act is a Fault, and never an answer."""
    await store.keep(a_session(), SECRET, CONTEXT)
    run(path, "DROP TABLE sessions")
    for act in (
        store.keep(a_session("b"), SECRET, CONTEXT),
        store.session("ses_a"),
        store.count("ses_a"),
        store.end("ses_a"),
    ):
        with pytest.raises(Fault, match="store-unavailable/sessions"):
            await act


async def test_a_session_that_cannot_be_kept_leaves_nothing(path: Path, store: SqliteSessions) -> None:
    """The same id again is a Fault; the first stays as it was, and the file is free for the next."""
    await store.keep(a_session(), SECRET, CONTEXT)
    with pytest.raises(Fault, match="store-unavailable/sessions"):
        await store.keep(a_session(), bytes(32), b"other")
    assert run(path, "SELECT count(*), max(context) FROM sessions") == [(1, CONTEXT)]
    await store.keep(a_session("b"), SECRET, CONTEXT)
    assert await store.session("ses_b") is not None


def test_a_start_makes_its_own(path: Path, clock: SetClock) -> None:
    """A wrapping key that is there is not taken over; without one, with a short one, without a store: a Misuse."""
    with pytest.raises(Misuse, match=r"fast\.key\" cannot be made: File exists"):
        sqlite_sessions.make(path, os.urandom)
    for damage in (b"short", b""):
        (path.parent / "fast.key").write_bytes(damage)
        with pytest.raises(Misuse, match="not the fast store of this start"):
            SqliteSessions(path, clock, os.urandom)
    (path.parent / "fast.key").unlink()
    with pytest.raises(Misuse, match="not the fast store of this start"):
        SqliteSessions(path, clock, os.urandom)
    with pytest.raises(Misuse, match="cannot be made: No such file"):
        sqlite_sessions.make(path.parent / "none" / "fast.db", os.urandom)
