"""What Directory promises, held against every adapter."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from sealwire.errors import Fault, Refusal
from sealwire.ports import Decision, Directory, Enrolled, Invitation
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile
from tests.contract.adapters import DAY, KINDS, START, Desk, SetClock, a_key, apikeys, durable


@pytest.fixture(params=KINDS)
def directory(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[Directory]:
    """Each directory."""
    with durable(request.param, clock, tmp_path) as (_, opened):
        yield opened


@pytest.fixture(params=KINDS)
def desks(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[Desk]]:
    """The directory and its decisions as each process sees them."""
    with apikeys(request.param, clock, tmp_path) as opened:
        yield opened


def ending(named: str, at: float = START) -> Decision:
    """The decision that ends an invitation."""
    return Decision(f"end of {named}", at, "invitation-ended", "user", "", "alice", named, "192.0.2.9", "", "", "p")


async def invite(directory: Directory, name: str, client: str = "") -> None:
    """Keeps an invitation good for a minute."""
    await directory.add_invitation(
        Invitation(name, f"name {name}", client, None, frozenset("xy"), ("192.0.2.0/24",), b"w", START + 60)
    )


async def test_enrolled_once(directory: Directory) -> None:
    """The invitation gives its rights to the key and is spent on it."""
    one = a_key()
    await invite(directory, "a")
    assert await directory.enrol("a", one, "cli_a", "laptop", START) == Enrolled("cli_a", one.keyid, "active", None)
    record = await directory.key(one.keyid)
    assert record is not None
    assert record[:7] == (one.keyid, "cli_a", "name a", "laptop", None, frozenset("xy"), ("192.0.2.0/24",))
    assert record.verifier.jwk == one.jwk
    spent = await directory.invitation("a")
    assert spent is not None
    assert (spent.used_by, spent.used_at) == (one.keyid, START)
    assert await directory.key("nobody") is None


async def test_the_same_again_for_a_day(directory: Directory) -> None:
    """The same key with the same invitation gets the same answer for 24 hours, and not longer."""
    one = a_key()
    await invite(directory, "a")
    first = await directory.enrol("a", one, "cli_a", "laptop", START)
    assert await directory.enrol("a", one, "cli_b", "other", START + DAY - 1) == first
    with pytest.raises(Refusal, match="invitation-invalid/spent"):
        await directory.enrol("a", one, "cli_a", "laptop", START + DAY)
    assert len(await directory.keys()) == 1


async def test_an_invitation_opens_once(directory: Directory) -> None:
    """Spent on another key, late or unknown: invitation-invalid, judged as a matter of the key, and nothing is kept."""
    await invite(directory, "a")
    await invite(directory, "b")
    await directory.enrol("a", a_key(), "cli_a", "laptop", START)
    for invitation, now, cause in (("a", START, "spent"), ("b", START + 60, "expired"), ("c", START, "unknown")):
        with pytest.raises(Refusal, match=f"invitation-invalid/{cause}") as raised:
            await directory.enrol(invitation, a_key(), "cli_b", "n", now)
        assert raised.value.failed == "key"
    assert len(await directory.keys()) == 1


async def test_of_many_keys_one_gets_in(directory: Directory) -> None:
    """Of 20 keys that spend one invitation at once, one is enrolled."""
    await invite(directory, "a")
    tries = (directory.enrol("a", a_key(), f"cli_{i}", "n", START) for i in range(20))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Enrolled) for one in outcomes) == 1
    assert len(await directory.keys()) == 1


async def test_a_key_belongs_to_one_client(directory: Directory) -> None:
    """A key of another is request-invalid, even when revoked, and the invitation stays good."""
    one = a_key()
    await invite(directory, "a")
    await invite(directory, "b")
    await directory.enrol("a", one, "cli_a", "laptop", START)
    await directory.revoke(one.keyid)
    with pytest.raises(Refusal, match="request-invalid"):
        await directory.enrol("b", one, "cli_b", "n", START)
    assert (await directory.enrol("b", a_key(), "cli_b", "n", START)).client == "cli_b"


async def test_an_invitation_can_add_a_key(directory: Directory) -> None:
    """An invitation for a client that is there adds the key to it."""
    await invite(directory, "a")
    await directory.enrol("a", a_key(), "cli_a", "laptop", START)
    await invite(directory, "b", "cli_a")
    assert (await directory.enrol("b", a_key(), "cli_new", "phone", START + 1)).client == "cli_a"
    assert [key.name for key in await directory.keys("cli_a")] == ["laptop", "phone"]
    assert [one.id for one in await directory.invitations()] == ["a", "b"]


async def test_whose_invitations(directory: Directory) -> None:
    """All, or one user's, spent or not; those that end first come first."""
    for name, user, seconds in (
        ("late", "alice", 90),
        ("his", "bob", 60),
        ("soon", "alice", 30),
        ("no one's", None, 9),
    ):
        await directory.add_invitation(Invitation(name, "bot", "", user, frozenset(), (), b"w", START + seconds))
    await directory.enrol("soon", a_key(), "cli_a", "laptop", START)
    assert [one.id for one in await directory.invitations()] == ["no one's", "soon", "his", "late"]
    assert [one.id for one in await directory.invitations("alice")] == ["soon", "late"]
    assert await directory.invitations("carol") == []


async def test_an_ended_invitation_opens_nothing(desks: list[Desk]) -> None:
    """Ended by one process, it enrols at no other, not even a call that began before; it ends once and for good."""
    one, other = desks[0], desks[-1]
    for name in ("a", "b"):
        await invite(one.directory, name)
    assert await one.directory.end_invitation("a", ending("a", START + 59))
    assert not await other.directory.end_invitation("a", ending("again", START + 59))
    assert not await other.directory.end_invitation("a", ending("again", START - DAY))
    for now in (START - DAY, START, START + 59):
        with pytest.raises(Refusal, match="invitation-invalid/expired"):
            await other.directory.enrol("a", a_key(), "cli_a", "laptop", now)
    ended = await other.directory.invitation("a")
    assert ended is not None
    assert (ended.used_by, ended.expires_at <= START) == ("", True)
    assert (await other.directory.enrol("b", a_key(), "cli_b", "laptop", START)).client == "cli_b"
    assert other.decisions() == ["end of a"]


async def test_what_is_no_invitation_that_waits_does_not_end(desks: list[Desk]) -> None:
    """A spent one keeps its key, and the same answer for it; a late one and none end nothing; no decision is left."""
    one, other = desks[0], desks[-1]
    key = a_key()
    for name in ("spent", "late"):
        await invite(one.directory, name)
    enrolled = await one.directory.enrol("spent", key, "cli_a", "laptop", START)
    for name, at in (("spent", START), ("late", START + 60), ("none", START)):
        assert not await other.directory.end_invitation(name, ending(name, at))
    assert await other.directory.enrol("spent", key, "cli_x", "laptop", START + 1) == enrolled
    assert (await other.directory.enrol("late", a_key(), "cli_b", "n", START + 59)).client == "cli_b"
    assert other.decisions() == []


async def test_ended_or_spent_never_both(desks: list[Desk]) -> None:
    """At once, in two processes: whoever was told that it ended has no key of it, and its decision is there."""
    one, other = desks[0], desks[-1]
    names = [str(number) for number in range(20)]
    for name in names:
        await invite(one.directory, name)
    # Each process ends every other one and enrols with the rest, so that either may come first.
    tries: list[Coroutine[Any, Any, bool | Enrolled]] = []
    for number, name in enumerate(names):
        ends, enrols = (one, other) if number % 2 else (other, one)
        tries.append(ends.directory.end_invitation(name, ending(name)))
        tries.append(enrols.directory.enrol(name, a_key(), f"cli_{name}", "n", START))
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    ended = [name for name, outcome in zip(names, outcomes[::2], strict=True) if outcome is True]
    spent = [name for name, outcome in zip(names, outcomes[1::2], strict=True) if isinstance(outcome, Enrolled)]
    assert sorted(ended + spent) == sorted(names)
    assert sorted(key.client for key in await one.directory.keys()) == sorted(f"cli_{name}" for name in spent)
    assert sorted(one.decisions()) == sorted(f"end of {name}" for name in ended)


async def test_an_end_that_is_not_recorded_is_none(tmp_path: Path) -> None:
    """One transaction: without its decision the invitation goes on."""
    file = SqliteFile(tmp_path / "durable.db")
    directory = SqliteDirectory(file)
    await invite(directory, "a")
    refuses = "CREATE TRIGGER full BEFORE INSERT ON decisions BEGIN SELECT RAISE(ABORT, 'full'); END"
    await file.write(lambda connection: connection.execute(refuses), ("store-unavailable", "directory"))
    with pytest.raises(Fault, match="store-unavailable"):
        await directory.end_invitation("a", ending("a"))
    kept = await directory.invitation("a")
    assert kept is not None
    assert kept.expires_at == START + 60
    file.close()


async def test_rotation(directory: Directory) -> None:
    """The new key is active, the old one retires after the overlap; the same again is the same for 24 hours."""
    one, two = a_key(), a_key()
    await invite(directory, "a")
    await directory.enrol("a", one, "cli_a", "laptop", START)
    first = await directory.rotate(one.keyid, two, "new", START, 600)
    assert first == Enrolled("cli_a", two.keyid, "active", None)
    assert await directory.rotate(one.keyid, two, "new", START + DAY - 1, 600) == first
    with pytest.raises(Refusal, match="request-invalid"):
        await directory.rotate(one.keyid, two, "new", START + DAY, 600)
    before = await directory.key(one.keyid)
    after = await directory.key(two.keyid)
    assert before is not None
    assert after is not None
    assert (before.state, before.expires_at) == ("retiring", START + 600)
    assert (after.follows, after.scopes, after.expires_at) == (one.keyid, before.scopes, None)


async def test_who_may_not_rotate(directory: Directory) -> None:
    """A retiring, revoked or unknown key adds none; a key that is someone's is not added."""
    one, two, other = a_key(), a_key(), a_key()
    await invite(directory, "a")
    await invite(directory, "b")
    await directory.enrol("a", one, "cli_a", "laptop", START)
    await directory.enrol("b", other, "cli_b", "laptop", START)
    with pytest.raises(Refusal, match="request-invalid"):
        await directory.rotate(one.keyid, other, "n", START, 600)
    await directory.rotate(one.keyid, two, "new", START, 600)
    await directory.revoke(two.keyid)
    for old in (one.keyid, two.keyid, "nobody"):
        with pytest.raises(Refusal, match="approval-required/more-keys"):
            await directory.rotate(old, a_key(), "n", START, 600)


async def test_revoked_for_ever(directory: Directory) -> None:
    """A revoked key is read as revoked at once; one that is not there is False."""
    one = a_key()
    await invite(directory, "a")
    await directory.enrol("a", one, "cli_a", "laptop", START)
    assert await directory.revoke(one.keyid)
    record = await directory.key(one.keyid)
    assert record is not None
    assert record.state == "revoked"
    assert not await directory.revoke("nobody")


async def test_a_client_revoked(directory: Directory) -> None:
    """Every key of the client ends and no other; only those not ended before are counted."""
    one, two, other = a_key(), a_key(), a_key()
    await invite(directory, "a")
    await invite(directory, "b")
    await directory.enrol("a", one, "cli_a", "laptop", START)
    await directory.enrol("b", other, "cli_b", "laptop", START)
    await directory.rotate(one.keyid, two, "new", START, 600)
    assert await directory.revoke_client("cli_a") == 2
    assert await directory.revoke_client("cli_a") == 0
    assert {key.state for key in await directory.keys("cli_a")} == {"revoked"}
    assert [key.state for key in await directory.keys("cli_b")] == ["active"]


async def test_the_version_of_the_key_set(directory: Directory) -> None:
    """The same set keeps version and issue time; another set, a former one too, gets the next version."""
    assert await directory.key_set_version("t1", START) == (1, int(START))
    assert await directory.key_set_version("t1", START + 9) == (1, int(START))
    assert await directory.key_set_version("t2", START + 9) == (2, int(START + 9))
    assert await directory.key_set_version("t1", START + 10) == (3, int(START + 10))


async def test_every_process_sees_a_revocation(clock: SetClock, tmp_path: Path) -> None:
    """What one opening of the file wrote, another reads at once."""
    one = a_key()
    with durable("sqlite", clock, tmp_path) as (_, here), durable("sqlite", clock, tmp_path) as (_, there):
        await invite(here, "a")
        await here.enrol("a", one, "cli_a", "laptop", START)
        assert await there.key(one.keyid) is not None
        await here.revoke(one.keyid)
        record = await there.key(one.keyid)
        assert record is not None
        assert record.state == "revoked"
