"""What the ports promise, held against every adapter."""

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.errors import Fault, Misuse, Refusal
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.ports import (
    BucketStore,
    Charge,
    Decision,
    Directory,
    DurableNonce,
    IdempotencyClaim,
    Invitation,
    Ledger,
    NonceStore,
)
from sealwire.protocol.jwk import Verifier, verifier_of
from sealwire.protocol.ratelimit import Limit
from sealwire.stores import sqlite_fast, sqlite_file
from sealwire.stores.memory import MemoryBuckets, MemoryNonces
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_fast import SqliteFast
from sealwire.stores.sqlite_file import SqliteFile
from tests.stories.world import START, SetClock

DECISION = Decision("req_1", START, "entered", "ok", "cli_1", "u", "k", "192.0.2.1", "POST", "/v1/orders", "p")


@pytest.fixture
def clock() -> SetClock:
    """A clock that stands still until it is moved."""
    return SetClock()


@pytest.fixture(params=["memory", "sqlite"])
def fast(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[tuple[NonceStore, BucketStore]]:
    """Both fast stores, each with two live nonces a key at most."""
    if request.param == "memory":
        yield MemoryNonces(clock, os.urandom, 2), MemoryBuckets(clock)
        return
    sqlite_fast.make(tmp_path / "fast.db", clock, os.urandom)
    store = SqliteFast(tmp_path / "fast.db", clock, 2)
    yield store, store
    store.close()


@pytest.fixture(params=["memory", "sqlite"])
def durable(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[tuple[Ledger, Directory]]:
    """Both durable stores."""
    if request.param == "memory":
        yield MemoryLedger(clock), MemoryDirectory()
        return
    file = SqliteFile(tmp_path / "durable.db")
    yield SqliteLedger(file, clock), SqliteDirectory(file)
    file.close()


async def test_one_claim_of_many_is_first(fast: tuple[NonceStore, BucketStore]) -> None:
    """Of a hundred claims of one nonce exactly one is first; another last_valid makes it no other nonce."""
    claims = [fast[0].claim("k", "n", START + 60 + i, 20) for i in range(100)]
    assert sorted(await asyncio.gather(*claims)) == ["first"] + ["seen"] * 99
    assert await fast[0].claim("other", "n", START + 60, 20) == "first"


async def test_a_late_claim_is_refused(fast: tuple[NonceStore, BucketStore], clock: SetClock) -> None:
    """From the last valid instant plus 10 s on nothing is granted."""
    clock.at = START + 69.9
    assert await fast[0].claim("k", "a", START + 60, 20) == "first"
    clock.at = START + 70
    assert await fast[0].claim("k", "b", START + 60, 20) == "late"


async def test_a_nonce_is_remembered_long_enough(fast: tuple[NonceStore, BucketStore], clock: SetClock) -> None:
    """Until its last valid instant plus 20 s, whatever the clock does; and not for ever."""
    assert await fast[0].claim("k", "n", START + 60, 20) == "first"
    assert await fast[0].claim("k", "m", START + 60, 20) == "first"
    for at in (START + 79, START - 3600, START + 60):
        clock.at = at
        assert await fast[0].claim("k", "n", at + 60, 20) == "seen"
    assert await fast[0].claim("k", "more", START + 60, 20) == "full"
    assert await fast[0].claim("another", "more", START + 60, 20) == "first"
    clock.at = START + 200
    assert await fast[0].claim("z", "z", START + 300, 20) == "first"
    assert await fast[0].claim("k", "new", START + 300, 20) == "first"


async def test_all_charges_or_none(fast: tuple[NonceStore, BucketStore], clock: SetClock) -> None:
    """Exactly the quota fits at a held clock; one that does not fit charges none; the wait never grows."""
    buckets = fast[1]
    few, many = Limit(3, 60, "key"), Limit(100, 60, "user")
    both = (Charge(few, "k"), Charge(many, "u"))
    answers = [await buckets.charge(both) for _ in range(200)]
    assert sum(all(one.fits for one in spent) for spent in answers) == 3
    assert {spent[0].wait_seconds for spent in answers[3:]} == {20.0}
    assert (await buckets.charge((Charge(many, "u"),)))[0].remaining == 96
    clock.at = START + 20
    assert all(one.fits for one in await buckets.charge(both))


async def test_claims_hold_or_fall_with_the_decision(durable: tuple[Ledger, Directory], clock: SetClock) -> None:
    """A lost nonce or idempotency key records nothing; of many at once one is recorded."""
    ledger = durable[0]
    nonce, claim = DurableNonce("k", "n", START + 60, 20), IdempotencyClaim("s", b"key", b"print")
    outcomes = await asyncio.gather(*(ledger.record(DECISION, nonce) for _ in range(50)))
    assert sorted(outcomes) == ["recorded"] + ["seen"] * 49
    outcomes = await asyncio.gather(*(ledger.record(DECISION, None, claim) for _ in range(50)))
    assert sorted(outcomes) == ["recorded"] + ["taken"] * 49
    clock.at = START + 70
    assert await ledger.record(DECISION, DurableNonce("k", "m", START + 60, 20)) == "late"


async def test_the_life_of_an_idempotency_key(durable: tuple[Ledger, Directory], clock: SetClock) -> None:
    """Claimed, ended, kept 24 hours; a released one is free."""
    ledger, claim = durable[0], IdempotencyClaim("s", b"key", b"print")
    assert await ledger.recall("s", b"key") is None
    await ledger.record(DECISION, None, claim)
    entry = await ledger.recall("s", b"key")
    assert entry is not None
    assert entry.wrapped is None
    await ledger.release("s", b"key")
    assert await ledger.recall("s", b"key") is None
    await ledger.record(DECISION, None, claim)
    await ledger.finish("s", b"key", b"wrapped")
    entry = await ledger.recall("s", b"key")
    assert entry is not None
    assert (entry.fingerprint, entry.wrapped) == (b"print", b"wrapped")
    clock.at = START + 24 * 3600
    assert await ledger.recall("s", b"key") is None
    assert await ledger.record(DECISION, None, claim) == "recorded"
    await ledger.tally((("192.0.2.1", 1, "key-unknown", 7),))


def a_key() -> Verifier:
    """A key of nobody yet."""
    return verifier_of(Ed25519PrivateKey.generate().public_key())


async def test_a_key_comes_and_goes(durable: tuple[Ledger, Directory], clock: SetClock) -> None:
    """Enrolled once, the same again the same, rotated, revoked; a thumbprint belongs to one client for ever."""
    directory, one, two, three = durable[1], a_key(), a_key(), a_key()
    for name in ("a", "b"):
        await directory.add_invitation(Invitation(name, name, "", None, frozenset("xy"), (), b"w", START + 60))
    first = await directory.enrol("a", one, "cli_a", "laptop", START)
    assert await directory.enrol("a", one, "cli_other", "again", START + 3600) == first
    for invitation, key, now, code in (
        ("a", two, START, "invitation-invalid/spent"),
        ("b", one, START, "request-invalid/enrolment"),
        ("b", two, START + 60, "invitation-invalid/expired"),
        ("c", two, START, "invitation-invalid/unknown"),
        ("a", one, START + 86_400, "invitation-invalid/spent"),
    ):
        with pytest.raises(Refusal, match=code):
            await directory.enrol(invitation, key, "cli_x", "n", now)
    record = await directory.key(one.keyid)
    assert record is not None
    assert (record.client, record.client_name, record.scopes, record.state) == ("cli_a", "a", frozenset("xy"), "active")
    rotated = await directory.rotate(one.keyid, two, "new", START, 600)
    assert await directory.rotate(one.keyid, two, "new", START + 60, 600) == rotated
    before = await directory.key(one.keyid)
    assert before is not None
    assert (before.state, before.expires_at) == ("retiring", START + 600)
    with pytest.raises(Refusal, match="approval-required"):
        await directory.rotate(one.keyid, three, "n", START, 600)
    with pytest.raises(Refusal, match="request-invalid"):
        await directory.rotate(two.keyid, one, "n", START, 600)
    assert await directory.revoke(two.keyid)
    assert not await directory.revoke("nobody")
    assert await directory.revoke_client("cli_a") == 1
    assert {key.state for key in await directory.keys("cli_a")} == {"revoked"}
    assert len(await directory.keys()) == 2
    assert {i.id: i.used_by for i in await directory.invitations()} == {"a": one.keyid, "b": ""}
    assert await directory.key_set_version("t1", START) == (1, int(START))
    assert await directory.key_set_version("t1", START + 9) == (1, int(START))
    assert await directory.key_set_version("t2", START + 9) == (2, int(START + 9))


def contents(folder: Path) -> list[bytes]:
    """Every file of a folder, database and WAL."""
    return [part.read_bytes() for part in folder.iterdir()]


async def test_a_decision_outlives_the_process(clock: SetClock, tmp_path: Path) -> None:
    """What was recorded is there when the file is opened again; neither nonce nor key stands in it in clear."""
    path = tmp_path / "durable.db"
    file = SqliteFile(path)
    nonce = DurableNonce("k", "MARKERMARKERMARKERMARKER", START + 60, 20)
    assert await SqliteLedger(file, clock).record(DECISION, nonce) == "recorded"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not any(b"MARKER" in content for content in await asyncio.to_thread(contents, tmp_path))
    file.close()
    file = SqliteFile(path)
    assert await SqliteLedger(file, clock).record(DECISION, nonce) == "seen"
    assert file.read("SELECT count(*) FROM decisions") == [(1,)]
    file.close()


async def test_a_locked_database_lets_nothing_through(
    clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the record cannot be written it is a Fault, within a bound, and nothing is written later either."""
    monkeypatch.setattr(sqlite_file, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    file = SqliteFile(tmp_path / "durable.db")
    holder = sqlite3.connect(tmp_path / "durable.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Fault, match="audit-unavailable/write"):
        await SqliteLedger(file, clock).record(DECISION)
    holder.execute("ROLLBACK")
    holder.close()
    assert await SqliteLedger(file, clock).record(DECISION) == "recorded"
    assert file.read("SELECT count(*) FROM decisions") == [(1,)]
    file.close()


def test_a_newer_schema_stops_the_start(tmp_path: Path) -> None:
    """A database of a later version is not touched; what is no database is said to be none."""
    SqliteFile(tmp_path / "durable.db").close()
    newer = sqlite3.connect(tmp_path / "durable.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(Misuse, match="schema 99"):
        SqliteFile(tmp_path / "durable.db")
    (tmp_path / "text.db").write_bytes(b"no database" * 100)
    with pytest.raises(Misuse, match=r"text\.db"):
        SqliteFile(tmp_path / "text.db")


def test_keys_in_files(tmp_path: Path) -> None:
    """What is wrapped opens under its context only; a file that others can read stops the start; repr tells nothing."""
    signing, wrapping = tmp_path / "signing.pem", tmp_path / "wrapping.key"
    make_signing_key(signing)
    make_wrapping_key(wrapping, os.urandom)
    keyring = FileKeyring(signing, wrapping, os.urandom)
    wrapped = keyring.wrap(b"secret", b"here")
    assert b"secret" not in wrapped
    assert keyring.unwrap(wrapped, b"here") == b"secret"
    for damaged, context in ((wrapped, b"there"), (wrapped[:-1], b"here"), (b"", b"here")):
        with pytest.raises(Fault, match="custody-unavailable"):
            keyring.unwrap(damaged, context)
    assert repr(keyring) == f"FileKeyring({keyring.verifier.keyid})"
    wrapping.chmod(0o644)
    with pytest.raises(Misuse, match="chmod 600"):
        FileKeyring(signing, wrapping, os.urandom)
    wrapping.chmod(0o600)
    wrapping.write_text("short")
    with pytest.raises(Misuse, match="32 bytes"):
        FileKeyring(signing, wrapping, os.urandom)
    with pytest.raises(Misuse, match="cannot be read"):
        FileKeyring(tmp_path / "none.pem", wrapping, os.urandom)


@pytest.mark.parametrize("shared", [False, True])
async def test_addresses_push_out_no_caller(tmp_path: Path, *, shared: bool) -> None:
    """L8: past the bound the longest unused bucket of an address goes; a caller's spent limit stays spent."""
    clock = SetClock()
    if shared:
        sqlite_fast.make(tmp_path / "fast.db", clock, os.urandom)
    buckets: BucketStore = (
        SqliteFast(tmp_path / "fast.db", clock, max_buckets=3) if shared else MemoryBuckets(clock, max_buckets=3)
    )
    caller, first = Charge(Limit(1, 60, "key"), "mallory"), Charge(Limit(1, 60, "address"), "a0")
    for charge in (caller, *(Charge(Limit(1, 60, "address"), f"a{i}") for i in range(4))):
        assert (await buckets.charge((charge,)))[0].fits
    assert not (await buckets.charge((caller,)))[0].fits
    assert (await buckets.charge((first,)))[0].fits
    assert not (await buckets.charge((Charge(Limit(1, 60, "address"), "a3"),)))[0].fits
