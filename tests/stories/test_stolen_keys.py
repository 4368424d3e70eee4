"""
A stolen key makes itself no company and drives nobody out

The attacker signs with the bot's key, and has a yes that the user gave to a withdrawal. It wants keys that outlive the
day it is found out, or its owner's other keys gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sealwire.protocol.jwk import Signer
from tests.stories.approving import ApprovingWorld, ask, asked_for, begun, code_of
from tests.stories.sealing import IN_MEMORY, Opened, Stores, make_fast, open_session, turned_away
from tests.stories.test_enrolment import KEYS, fresh, offer
from tests.stories.world import START, Wire

Begun = tuple[ApprovingWorld, Opened]


@pytest.fixture(params=["memory", "sqlite"])
async def both(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Begun]:
    """A world with alice's phone and her bot's session, over each kind of store."""
    stores = IN_MEMORY if request.param == "memory" else Stores(make_fast(tmp_path), tmp_path / "durable.db")
    world, session = await begun(tmp_path, stores)
    yield world, session
    world.close()


def rotation(world: ApprovingWorld, by: Signer, new: Signer) -> Wire:
    """A rotation from one key of alice's client to another."""
    body: dict[str, object] = {"key": new.jwk, "name": "n", "client": "cli_alice", "by": by.keyid}
    return offer(world, new, by.sign, by.keyid, "sealwire", body=body, created=int(world.clock.at))


def revocation(key: Signer) -> Wire:
    """Ends a key, not signed yet."""
    return Wire("DELETE", KEYS + b"/" + key.keyid.encode())


async def states(world: ApprovingWorld) -> dict[str, str]:
    """Each key of the client, and its state."""
    return {key.keyid: key.state for key in await world.people.keys("cli_alice")}


async def test_keys_added_and_revoked_with_an_approval(both: Begun) -> None:
    """
    G9, G13: the stolen key rotates once, as any key may; it adds no second one, and does not end the one that followed
    it, with a yes that was given to a withdrawal either, which stays unused.

    Stopped by: authorize
    """
    world, session = both
    stolen, owners, more = world.signer, fresh(), fresh()
    approval = await asked_for(world, session)
    assert (await world.approve(approval)).result == "right"
    assert (await world.send(rotation(world, stolen, owners))).status_code == 201
    await turned_away(world, rotation(world, stolen, more), 403, "approval-required")
    for end in (revocation(owners), revocation(owners).change(b"sealwire-approval", approval.encode())):
        await turned_away(world, end.sign(stolen), 403, "approval-required")
    assert await states(world) == {stolen.keyid: "retiring", owners.keyid: "active"}
    assert (await world.approval(approval)).state == "approved"


async def test_keys_that_were_made_before_it_was_found_out(both: Begun) -> None:
    """
    G9, G13: the stolen key has rotated to one of the attacker's. "This was not me" freezes both, whichever asked;
    neither rotates, ends or opens anything then, and the lost answer of the rotation is not given again.

    Stopped by: permit
    """
    world, session = both
    stolen, theirs, more = world.signer, fresh(), fresh()
    waits = await asked_for(world, session)
    assert (await world.send(rotation(world, stolen, theirs))).status_code == 201
    assert await world.presence.disown(await world.approval(waits), "192.0.2.9") == 2
    assert await states(world) == {stolen.keyid: "frozen", theirs.keyid: "frozen"}
    await turned_away(world, rotation(world, stolen, theirs), 401, "key-unknown")
    for key in (stolen, theirs):
        await turned_away(world, rotation(world, key, more), 401, "key-unknown")
        await turned_away(world, revocation(key).sign(key), 401, "key-unknown")
        await turned_away(world, Wire().sign(key), 401, "key-unknown")
    assert await world.presence.disown(await world.approval(waits), "192.0.2.9") == 0
    # What the operator ends meanwhile is not thawed, and what was retiring goes on to retire.
    assert await world.people.revoke(theirs.keyid)
    world.clock.at += 1
    await world.presence.thaw("cli_alice", "192.0.2.9")
    assert await states(world) == {stolen.keyid: "retiring", theirs.keyid: "revoked"}
    assert world.entered == []


async def test_the_owner_goes_on_after_the_thaw(both: Begun) -> None:
    """
    G9: after the thaw the bot asks anew, and a person says yes: nothing of before serves, and nothing is in its way.

    Stopped by: nothing
    """
    world, session = both
    waits = await asked_for(world, session)
    await world.presence.disown(await world.approval(waits), "192.0.2.9")
    world.clock.at = START + 30
    assert await world.presence.thaw("cli_alice", "192.0.2.9") == 1
    session = await open_session(world)
    assert code_of(await ask(world, session, approval=waits), session) == "approval-denied"
    again = await asked_for(world, session)
    assert again != waits
    assert (await world.approve(again)).result == "right"
    assert (await ask(world, session, approval=again)).status_code == 200
