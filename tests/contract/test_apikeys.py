"""What ApiKeys and Uses promise, held against every adapter: what one process writes, another reads."""

import asyncio
import hashlib
import json
import os
import sqlite3
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sealwire.credentials import Credentials, digest_of
from sealwire.errors import Fault, Refusal
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.ports import Decision, Invitation
from sealwire.ports.apikeys import USE_DAYS, Client, NewApiKey, Use
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import Limit
from sealwire.records import ApiKeyRecord, Bounds
from sealwire.stores import sqlite_file
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile, schema_versions
from tests.contract.adapters import DAY, KINDS, START, Desk, SetClock, a_key, apikeys

END = START + 90 * DAY
NO_BOUNDS = Bounds("apk_1", (), ())
CLIENT = Client("Dashboard", "alice", frozenset(("read", "trade")), Bounds("cli_a", (), ()), START)


@pytest.fixture(params=KINDS)
def desks(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[Desk]]:
    """The store as each process sees it."""
    with apikeys(request.param, clock, tmp_path) as opened:
        yield opened


def decided(request: str, at: float = START) -> Decision:
    """A decision of an administrative act."""
    return Decision(request, at, "entered", "apikey", "cli_a", "alice", "apk_1", "", "ADMIN", "apikey", "")


def new(named: str = "apk_1", digest: bytes = b"1" * 32, client: str = "cli_a", made_at: float = START) -> NewApiKey:
    """An API key that reads, for 90 days."""
    return NewApiKey(client, "screen", frozenset(("read",)), Bounds(named, (), ()), digest, made_at, END)


async def laid(desks: list[Desk]) -> tuple[Desk, Desk]:
    """A client with one API key, made by the first process; the first and the last of them."""
    await desks[0].apikeys.add_apikey(new(), CLIENT, decided("made"))
    return desks[0], desks[-1]


async def held(desk: Desk, digest: bytes) -> ApiKeyRecord:
    """The API key of a secret."""
    record = await desk.apikeys.apikey(digest)
    assert record is not None
    return record


async def opens(desk: Desk, digest: bytes, now: float) -> str:
    """Why a secret opens nothing, empty where it opens."""
    record = await desk.apikeys.apikey(digest)
    return "unknown" if record is None else record.why_not(now)


async def test_made_and_read_at_once(desks: list[Desk]) -> None:
    """What one process made, every other reads: the key by its secret, the client with it, and one decision."""
    one, other = await laid(desks)
    assert await held(other, b"1" * 32) == ApiKeyRecord(
        "apk_1", "cli_a", "Dashboard", "screen", "alice", frozenset(("read",)), (), "active", START, END
    )
    assert await other.apikeys.apikey(b"2" * 32) is None
    assert await other.apikeys.clients() == [CLIENT] == await other.apikeys.clients("alice")
    assert await other.apikeys.clients("bob") == []
    await other.apikeys.add_apikey(new("apk_2", b"2" * 32, made_at=START + 1), None, decided("second"))
    bob = Client("Bot", "bob", frozenset(("read",)), Bounds("cli_b", (), ()), START + 2)
    await one.apikeys.add_apikey(new("apk_3", b"3" * 32, "cli_b", START + 2), bob, decided("third"))
    assert [key.id for key in await one.apikeys.apikeys()] == ["apk_1", "apk_2", "apk_3"]
    assert [key.id for key in await other.apikeys.apikeys("cli_a")] == ["apk_1", "apk_2"]
    assert [client.id for client in await other.apikeys.clients()] == ["cli_a", "cli_b"]
    assert other.decisions() == ["made", "second", "third"]


async def test_clients_stand_oldest_first(desks: list[Desk]) -> None:
    """Those with a key that signs and those with an API key, in the order in which they were made."""
    one, other = await laid(desks)
    invitation = Invitation("inv_b", "bot", "", "bob", frozenset(("read",)), (), b"w", START + 60)
    await one.directory.add_invitation(invitation)
    key = a_key()
    await one.directory.enrol("inv_b", key, "cli_b", "laptop", START + 10)
    last = Client("Late", "carol", frozenset(), Bounds("cli_c", (), ()), START + 15)
    await one.apikeys.add_apikey(new("apk_3", b"3" * 32, "cli_c", START + 15), last, decided("late"))
    await one.directory.rotate(key.keyid, a_key(), "laptop", START + 20, 60)
    assert [(client.id, client.made_at) for client in await other.apikeys.clients()] == [
        ("cli_a", START),
        ("cli_b", START + 10),
        ("cli_c", START + 15),
    ]


async def test_both_secrets_live_in_the_overlap(desks: list[Desk]) -> None:
    """A rotated key has two secrets until the overlap is over, and then the new one alone, until its own end."""
    one, other = await laid(desks)
    at, new_end = START + 10, START + 100 * DAY
    assert await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, new_end, decided("turn", at))
    old, fresh = await held(other, b"1" * 32), await held(other, b"2" * 32)
    assert (old.retires_at, fresh.retires_at) == (at + 600, None)
    assert old._replace(retires_at=None) == fresh
    assert fresh.expires_at == new_end
    assert [await opens(other, b"1" * 32, now) for now in (at, at + 599, at + 600)] == ["", "", "retired"]
    assert [await opens(other, b"2" * 32, now) for now in (at + 600, new_end - 1, new_end)] == ["", "", "expired"]
    assert [key.retires_at for key in await other.apikeys.apikeys()] == [at + 600]
    assert other.decisions() == ["made", "turn"]


async def test_a_third_secret_ends_the_oldest(desks: list[Desk]) -> None:
    """There are never more than two: rotating within the overlap ends the first secret at once."""
    one, other = await laid(desks)
    await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, END, decided("turn"))
    assert await other.apikeys.rotate_apikey("apk_1", b"3" * 32, 600, END, decided("again", START + 1))
    assert await opens(one, b"1" * 32, START + 1) == "unknown"
    assert (await held(one, b"2" * 32)).retires_at == START + 601
    assert await opens(one, b"3" * 32, START + 602) == ""
    assert [key.retires_at for key in await one.apikeys.apikeys()] == [START + 601]


async def test_an_old_secret_never_outlives_its_end(desks: list[Desk]) -> None:
    """However long the overlap and the new life, the secret so far ends when its key would have."""
    one, other = await laid(desks)
    assert await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, END + DAY, decided("turn", END - 60))
    assert (await held(other, b"1" * 32)).retires_at == END
    assert await opens(other, b"1" * 32, END) == "retired"
    assert await opens(other, b"2" * 32, END) == ""


async def test_a_new_end_before_the_overlap(desks: list[Desk]) -> None:
    """A new life that is shorter than the overlap ends both."""
    one, other = await laid(desks)
    await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, START + 60, decided("turn"))
    assert [await opens(other, digest * 32, START + 60) for digest in (b"1", b"2")] == ["expired", "expired"]


async def test_expired(desks: list[Desk]) -> None:
    """At its end, to the second, a key opens nothing, and is not rotated any more."""
    one, other = await laid(desks)
    assert [await opens(other, b"1" * 32, now) for now in (END - 1, END)] == ["", "expired"]
    assert not await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, END + DAY, decided("late", END))
    assert (await held(other, b"1" * 32))[9:] == (END, None)
    assert await other.apikeys.apikey(b"2" * 32) is None
    assert other.decisions() == ["made"]


async def test_revoked(desks: list[Desk]) -> None:
    """Revoked by one process, dead at the next look of every other, both secrets, for ever."""
    one, other = await laid(desks)
    await one.apikeys.rotate_apikey("apk_1", b"2" * 32, 600, END, decided("turn"))
    assert await one.apikeys.revoke_apikey("apk_1", decided("end"))
    assert [await opens(other, digest * 32, START) for digest in (b"1", b"2")] == ["revoked", "revoked"]
    assert not await other.apikeys.rotate_apikey("apk_1", b"3" * 32, 600, END, decided("no"))
    assert await other.apikeys.apikey(b"3" * 32) is None
    assert not await other.apikeys.revoke_apikey("apk_9", decided("no"))
    assert await one.apikeys.revoke_apikey("apk_1", decided("again"))
    assert [key.state for key in await one.apikeys.apikeys()] == ["revoked"]
    assert one.decisions() == ["made", "turn", "end", "again"]


async def test_frozen_with_its_client(desks: list[Desk]) -> None:
    """Who disowns a client stops its API keys too; a frozen one is not rotated, and what was revoked stays so."""
    one, other = await laid(desks)
    await one.apikeys.add_apikey(new("apk_2", b"2" * 32), None, decided("second"))
    await one.apikeys.revoke_apikey("apk_2", decided("end"))
    assert await one.approvals.freeze("cli_a", "bob", decided("not his")) == 0
    assert await opens(other, b"1" * 32, START) == ""
    assert await one.approvals.freeze("cli_a", "alice", decided("freeze")) == 1
    assert [await opens(other, digest * 32, START) for digest in (b"1", b"2")] == ["frozen", "revoked"]
    assert not await other.apikeys.rotate_apikey("apk_1", b"3" * 32, 600, END, decided("no"))
    assert await other.apikeys.apikey(b"3" * 32) is None
    assert [key.state for key in await other.apikeys.apikeys()] == ["frozen", "revoked"]
    assert not await other.apikeys.add_apikey(new("apk_3", b"3" * 32), None, decided("way around"))
    assert "way around" not in other.decisions()
    assert await other.apikeys.apikey(b"3" * 32) is None
    assert await other.approvals.thaw("cli_a", decided("thaw")) == 1
    assert [await opens(one, digest * 32, START) for digest in (b"1", b"2")] == ["", "revoked"]


async def test_revoked_while_frozen(desks: list[Desk]) -> None:
    """A frozen key that is revoked is not thawed."""
    one, other = await laid(desks)
    await one.approvals.freeze("cli_a", "alice", decided("freeze"))
    await one.apikeys.revoke_apikey("apk_1", decided("end"))
    assert await other.approvals.thaw("cli_a", decided("thaw")) == 0
    assert await opens(other, b"1" * 32, START) == "revoked"


async def test_the_end_of_a_client(desks: list[Desk]) -> None:
    """It ends its keys, its API keys and the invitations that would add a key; another client's stay."""
    one, other = await laid(desks)
    bob = Client("Bot", "bob", frozenset(("read",)), Bounds("cli_b", (), ()), START + 2)
    await one.apikeys.add_apikey(new("apk_2", b"2" * 32, "cli_b"), bob, decided("bob"))
    for name, client in (("mine", "cli_a"), ("spent", "cli_a"), ("his", "cli_b")):
        await one.directory.add_invitation(
            Invitation(name, name, client, "alice", frozenset(("read",)), (), b"w", START + 60)
        )
    signing = a_key()
    await one.directory.enrol("spent", signing, "cli_x", "laptop", START)
    assert await one.directory.revoke_client("cli_a") == 2
    assert [await opens(other, digest * 32, START) for digest in (b"1", b"2")] == ["revoked", ""]
    assert [key.state for key in await other.directory.keys("cli_a")] == ["revoked"]
    with pytest.raises(Refusal, match="invitation-invalid/expired"):
        await other.directory.enrol("mine", a_key(), "cli_x", "n", START)
    ends = {invitation.id: invitation.expires_at for invitation in await other.directory.invitations()}
    assert ends == {"mine": 0, "spent": START + 60, "his": START + 60}
    assert (await other.directory.enrol("his", a_key(), "cli_x", "n", START)).client == "cli_b"
    assert await other.directory.revoke_client("cli_a") == 0


ADDRESSES = ("192.0.2.0/24", "2001:db8::/32")
LIMITS = (Limit(10, 1, "key-own"), Limit(60, 60, "key-own"))


async def test_bound_closer(desks: list[Desk]) -> None:
    """Scopes are those that key and client both have; the bounds of both hold, each where it has any."""
    one, other = await laid(desks)
    own = Bounds("apk_1", ADDRESSES, LIMITS)
    assert await one.apikeys.bind_apikey(frozenset(("read", "trade", "other")), own, decided("bind"))
    record = await held(other, b"1" * 32)
    assert (record.scopes, record.bounds) == (frozenset(("read", "trade")), (own,))
    around = Bounds("cli_a", ("192.0.2.8/32",), (Limit(5, 60, "client-own"),))
    assert await other.apikeys.bind_client(frozenset(("read", "more")), around, decided("bind all"))
    record = await held(one, b"1" * 32)
    assert (record.scopes, record.bounds) == (frozenset(("read",)), (own, around))
    assert [(c.scopes, c.bounds) for c in await one.apikeys.clients()] == [(frozenset(("read", "more")), around)]
    assert await one.apikeys.bind_client(frozenset(("read", "trade")), Bounds("cli_a", (), ()), decided("wider"))
    assert (await held(other, b"1" * 32)).bounds == (own,)
    assert (await held(other, b"1" * 32)).scopes == {"read", "trade"}, "what the key was given is not lost"
    assert one.decisions() == ["made", "bind", "bind all", "wider"]


async def test_what_was_changed_meanwhile_is_not_bound(desks: list[Desk]) -> None:
    """A bind that was judged by what the client had is none of a client that has less by now, in any process."""
    one, other = await laid(desks)
    (judged,) = await one.apikeys.clients()
    taken = Bounds("cli_a", ADDRESSES, (Limit(5, 60, "client-own"), Limit(2, 1, "client-own")))
    assert await other.apikeys.bind_client(frozenset(("read",)), taken, decided("taken"), judged)
    assert not await one.apikeys.bind_client(judged.scopes, judged.bounds, decided("undone"), judged)
    (now,) = await one.apikeys.clients()
    assert now.scopes == {"read"}
    assert ({*now.bounds.addresses}, {*now.bounds.limits}) == ({*ADDRESSES}, {*taken.limits})
    assert await one.apikeys.bind_client(now.scopes, taken._replace(limits=()), decided("again"), now)
    assert one.decisions() == ["made", "taken", "again"]


async def test_nobody_is_bound(desks: list[Desk]) -> None:
    """An id that is none's changes nothing and leaves no decision."""
    one, _ = await laid(desks)
    nobody = Bounds("apk_9", ADDRESSES, ())
    assert not await one.apikeys.bind_apikey(frozenset(), nobody, decided("no"))
    assert not await one.apikeys.bind_client(frozenset(), nobody, decided("no"))
    assert not await one.apikeys.rotate_apikey("apk_9", b"9" * 32, 600, END, decided("no"))
    assert (await held(one, b"1" * 32)).bounds == ()
    assert one.decisions() == ["made"]


async def test_what_holds_a_client_holds_its_keys(desks: list[Desk]) -> None:
    """Its signing keys too, those there are, those that are rotated in, and those that an earlier invitation adds."""
    one, other = await laid(desks)
    wide = frozenset(("read", "trade"))
    limits = (Limit(7, 60, "client-own"),)
    await one.directory.add_invitation(
        Invitation("first", "bot", "", "bob", wide, ADDRESSES, b"w", START + 60, limits=limits)
    )
    signing, rotated, added = a_key(), a_key(), a_key()
    await one.directory.enrol("first", signing, "cli_b", "laptop", START)
    record = await other.directory.key(signing.keyid)
    assert record is not None
    assert (record.scopes, record.addresses, record.limits) == (wide, ADDRESSES, limits)
    await one.directory.add_invitation(Invitation("second", "bot", "cli_b", "bob", wide, (), b"w", START + 60))
    around = Bounds("cli_b", ("192.0.2.8/32",), (Limit(5, 60, "client-own"),))
    assert await one.apikeys.bind_client(frozenset(("read",)), around, decided("bind"))
    await other.directory.rotate(signing.keyid, rotated, "new", START + 1, 60)
    await other.directory.enrol("second", added, "cli_x", "phone", START + 2)
    for key in (signing, rotated, added):
        record = await other.directory.key(key.keyid)
        assert record is not None
        assert (record.client, record.scopes) == ("cli_b", frozenset(("read",)))
        assert (record.addresses, record.limits) == (around.addresses, around.limits)


async def test_a_client_of_an_api_key_enrols(desks: list[Desk]) -> None:
    """An invitation adds a signing key to a client that began with an API key: it may what its client may."""
    one, other = await laid(desks)
    more = frozenset(("read", "trade", "withdraw"))
    await one.directory.add_invitation(Invitation("inv", "x", "cli_a", "mallory", more, (), b"w", START + 60))
    key = a_key()
    await one.directory.enrol("inv", key, "cli_x", "phone", START)
    record = await other.directory.key(key.keyid)
    assert record is not None
    assert (record.client, record.client_name, record.user) == ("cli_a", "Dashboard", "alice")
    assert record.scopes == {"read", "trade"}
    assert await other.apikeys.clients() == [CLIENT]


async def test_of_many_rotations_each_is_whole(desks: list[Desk]) -> None:
    """Twenty at once over all processes: two secrets live, the last one and the one before it."""
    one, other = await laid(desks)
    turns = (
        desks[i % len(desks)].apikeys.rotate_apikey("apk_1", bytes((i,)) * 32, 600, END, decided(f"{i}"))
        for i in range(100, 120)
    )
    assert all(await asyncio.gather(*turns))
    living = [i for i in range(100, 120) if await opens(other, bytes((i,)) * 32, START) == ""]
    assert len(living) == 2
    assert len(one.decisions()) == 21


DAY_0 = int(START // DAY)


def use(reason: str, calls: int, at: float, credential: str = "apk_1", client: str = "cli_a", address: str = "") -> Use:
    """So many calls on the day of `at`."""
    return Use(client, credential, reason, int(at // DAY), calls, at, address or f"192.0.2.{calls}")


async def test_uses_add_up(desks: list[Desk]) -> None:
    """Counts of all processes are one, by credential, reason and day; the last moment and its address stand."""
    one, other = await laid(desks)
    await one.uses.add_uses((use("ok", 3, START + 5), use("rate-limited", 1, START + 1)))
    await other.uses.add_uses((use("ok", 4, START + 2), use("ok", 2, START + DAY)))
    assert await one.uses.uses() == [
        use("rate-limited", 1, START + 1),
        use("ok", 7, START + 5, address="192.0.2.3"),
        use("ok", 2, START + DAY),
    ]
    await one.uses.add_uses((use("ok", 1, START + 5),))
    assert (await other.uses.uses())[1] == use("ok", 8, START + 5, address="192.0.2.1"), "of two at once the later said"
    await one.uses.add_uses(())
    assert len(await other.uses.uses()) == 3


async def test_whose_uses(desks: list[Desk]) -> None:
    """A client's are those of its keys, and those of its API keys that were not good any more; no other client's."""
    one, other = await laid(desks)
    bob = Client("Bot", "bob", frozenset(), Bounds("cli_b", (), ()), START)
    await one.apikeys.add_apikey(new("apk_2", b"2" * 32, "cli_b"), bob, decided("bob"))
    mine = [use("ok", 1, START, "thumb"), use("ok", 2, START + 1), use("token-invalid", 3, START + 2, client="")]
    his = [use("ok", 4, START + 3, "apk_2", "cli_b"), use("token-invalid", 5, START + 4, "apk_2", "")]
    await one.uses.add_uses((*his, *mine))
    assert await other.uses.uses("cli_a") == mine
    assert await other.uses.uses("cli_b") == his
    assert await other.uses.uses("cli_c") == []
    assert await other.uses.uses() == [*mine, *his]


async def test_uses_are_forgotten(desks: list[Desk]) -> None:
    """After 30 days a count is gone, once something newer is written; the days within stay."""
    one, other = await laid(desks)
    await one.uses.add_uses((use("ok", 1, START), use("ok", 2, START + DAY)))
    await one.uses.add_uses((use("ok", 3, START + (USE_DAYS - 1) * DAY),))
    assert [one.calls for one in await other.uses.uses()] == [1, 2, 3]
    await other.uses.add_uses((use("ok", 4, START + USE_DAYS * DAY), use("ok", 5, START)))
    assert [one.calls for one in await one.uses.uses()] == [2, 3, 4]


async def test_acts_on_clients_leave_decisions(desks: list[Desk]) -> None:
    """An invitation, the end of a key and the end of a client each with its decision; what did nothing has none."""
    one, other = await laid(desks)
    key = a_key()
    invitation = Invitation("inv", "bot", "cli_a", "alice", frozenset(), (), b"w", START + 60)
    await one.directory.add_invitation(invitation, decided("invited"))
    await one.directory.enrol("inv", key, "cli_x", "n", START)
    assert await other.directory.revoke(key.keyid, decided("key ended"))
    assert not await other.directory.revoke("nobody", decided("no"))
    assert await one.directory.revoke_client("cli_a", decided("client ended")) == 1
    assert other.decisions() == ["made", "invited", "key ended", "client ended"]


# --- the file --------------------------------------------------------------------------------------------------------


async def test_no_secret_is_in_the_file(tmp_path: Path) -> None:
    """Neither a key, nor its random bytes, nor a digest that can be made without the pepper, in the WAL either."""
    make_signing_key(tmp_path / "signing.pem")
    make_wrapping_key(tmp_path / "wrapping.key", os.urandom)
    keyring = FileKeyring(tmp_path / "signing.pem", tmp_path / "wrapping.key", os.urandom)
    (tmp_path / "store").mkdir()
    file = SqliteFile(tmp_path / "store" / "durable.db")
    kept = SqliteApiKeys(file)
    secrets = [os.urandom(apikey.SECRET_BYTES) for _ in range(2)]
    keys = [apikey.write("live", secret).encode() for secret in secrets]
    digests = [digest_of(keyring, key) for key in keys]
    await kept.add_apikey(new(digest=digests[0]), CLIENT, decided("made"))
    await kept.rotate_apikey("apk_1", digests[1], 600, END, decided("turn"))
    await kept.add_uses((use("ok", 1, START),))
    content = b"".join(part.read_bytes() for part in (tmp_path / "store").iterdir())
    assert len(list((tmp_path / "store").iterdir())) == 3, "database, WAL and its index"
    assert all(digest in content for digest in digests)
    for secret, key in zip(secrets, keys, strict=True):
        for clear in (key, key[11:], key[11:54], secret, secret.hex().encode(), b64encode(secret)):
            assert clear not in content
        for bare in (hashlib.sha256(key), hashlib.sha256(secret), hashlib.sha256(b"apikey\0" + key)):
            assert bare.digest() not in content
            assert bare.hexdigest().encode() not in content
    file.close()


async def test_a_copy_of_the_database_opens_nothing(tmp_path: Path) -> None:
    """What is kept of a key is no key: presented, it is digested again; and under another pepper no key is found."""
    rings = []
    for name in ("ours", "theirs"):
        make_signing_key(tmp_path / f"{name}.pem")
        make_wrapping_key(tmp_path / f"{name}.key", os.urandom)
        rings.append(FileKeyring(tmp_path / f"{name}.pem", tmp_path / f"{name}.key", os.urandom))
    file = SqliteFile(tmp_path / "durable.db")
    kept, key = SqliteApiKeys(file), apikey.write("live", os.urandom(32)).encode()
    await kept.add_apikey(new(digest=digest_of(rings[0], key)), CLIENT, decided("made"))
    assert (await Credentials(kept, rings[0]).find(key, START)).id == "apk_1"
    ((digest,),) = file.read("SELECT digest FROM apikey_secrets")
    for presented, ring in ((digest, rings[0]), (digest.hex().encode(), rings[0]), (key, rings[1])):
        with pytest.raises(Refusal, match="token-invalid"):
            await Credentials(kept, ring).find(presented, START)
    file.close()


async def test_a_decision_that_cannot_be_written_undoes_the_act(tmp_path: Path) -> None:
    """Act and decision are one transaction: without the row there is neither a key, a secret, nor an end."""
    file = SqliteFile(tmp_path / "durable.db")
    kept = SqliteApiKeys(file)
    await kept.add_apikey(new(), CLIENT, decided("made"))
    before = [(await kept.apikeys()), (await kept.clients()), await kept.apikey(b"1" * 32)]
    bad = decided("bad")._replace(outcome=None)  # type: ignore[arg-type]  # the ledger refuses a row without it
    bounds = Bounds("apk_1", ADDRESSES, ())
    other = Client("Bot", "bob", frozenset(), Bounds("cli_b", (), ()), START)
    acts: tuple[Callable[[], Awaitable[bool]], ...] = (
        lambda: kept.add_apikey(new("apk_2", b"2" * 32, "cli_b"), other, bad),
        lambda: kept.rotate_apikey("apk_1", b"2" * 32, 600, END + DAY, bad),
        lambda: kept.revoke_apikey("apk_1", bad),
        lambda: kept.bind_apikey(frozenset(), bounds, bad),
        lambda: kept.bind_client(frozenset(), bounds._replace(owner="cli_a"), bad),
    )
    for act in acts:
        with pytest.raises(Fault, match="store-unavailable/directory"):
            await act()
    assert [(await kept.apikeys()), (await kept.clients()), await kept.apikey(b"1" * 32)] == before
    assert await kept.apikey(b"2" * 32) is None
    assert file.read("SELECT request FROM decisions") == [("made",)]
    file.close()


async def test_a_locked_or_closed_file_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is let in on what could not be read, and nothing is half written."""
    monkeypatch.setattr(sqlite_file, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    file = SqliteFile(tmp_path / "durable.db")
    kept = SqliteApiKeys(file)
    await kept.add_apikey(new(), CLIENT, decided("made"))
    holder = sqlite3.connect(tmp_path / "durable.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for act in (
        lambda: kept.revoke_apikey("apk_1", decided("end")),
        lambda: kept.rotate_apikey("apk_1", b"2" * 32, 600, END, decided("turn")),
        lambda: kept.add_uses((use("ok", 1, START),)),
    ):
        with pytest.raises(Fault, match="store-unavailable/directory"):
            await act()
    assert (await kept.apikey(b"1" * 32)) is not None, "who reads waits for no writer"
    holder.execute("ROLLBACK")
    holder.close()
    assert await kept.uses() == []
    assert (await kept.apikeys())[0].state == "active"
    file.close()
    for read in (lambda: kept.apikey(b"1" * 32), kept.apikeys, kept.clients, kept.uses):
        with pytest.raises(Fault, match="store-unavailable/directory"):
            await read()
    with pytest.raises(Fault, match="store-unavailable/directory"):
        await kept.revoke_apikey("apk_1", decided("end"))


OLD_ROWS = """
INSERT INTO clients (id, name, user, scopes, addresses, created) VALUES ('cli_a', 'Bot', 'alice', 'read', '', {at});
INSERT INTO invitations (id, name, client, user, scopes, addresses, wrapped, expires)
  VALUES ('inv', 'Bot', 'cli_a', 'alice', 'read', '', x'00', {at});
"""


async def test_a_schema_3_file_keeps_what_it_holds(tmp_path: Path) -> None:
    """Clients, keys and invitations of before API keys are as they were, bound by nothing, and can have API keys."""
    path, signing = tmp_path / "durable.db", a_key()
    old = sqlite3.connect(path)
    for number, script in sqlite_file._scripts()[:3]:
        old.executescript(script)
        old.execute(f"PRAGMA user_version = {number}")
    old.executescript(OLD_ROWS.format(at=START))

    old.execute(
        "INSERT INTO keys (keyid, client, name, jwk, state, enrolled) VALUES (?, 'cli_a', 'k', ?, 'active', ?)",
        (signing.keyid, json.dumps(signing.jwk), START),
    )
    old.commit()
    old.close()
    assert schema_versions(path)[0] == 3
    file = SqliteFile(path)
    assert len(set(schema_versions(path))) == 1
    directory, kept = SqliteDirectory(file), SqliteApiKeys(file)
    record = await directory.key(signing.keyid)
    assert record is not None
    assert (record.client, record.state, record.scopes, record.limits) == ("cli_a", "active", frozenset(("read",)), ())
    (invitation,) = await directory.invitations()
    assert (invitation.client, invitation.limits) == ("cli_a", ())
    assert await kept.clients("alice") == [Client("Bot", "alice", frozenset(("read",)), Bounds("cli_a", (), ()), START)]
    await kept.add_apikey(new(), None, decided("made"))
    assert (await kept.apikeys("cli_a"))[0].scopes == {"read"}
    file.close()
