"""What Directory promises, held against every adapter."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.errors import Refusal
from sealwire.ports import Directory, Enrolled, Invitation
from tests.contract.adapters import DAY, KINDS, START, SetClock, a_key, durable


@pytest.fixture(params=KINDS)
def directory(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[Directory]:
    """Each directory."""
    with durable(request.param, clock, tmp_path) as (_, opened):
        yield opened


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
