"""Whoever terminates TLS sees ciphertext both ways, and what it keeps opens nothing."""

from pathlib import Path

import pytest

from sealwire.protocol.handshake import KEMS
from tests.stories.sealing import SEALED_RULES, by_mac, open_session, sealed
from tests.stories.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, SEALED_RULES)


@pytest.mark.parametrize("kem", KEMS)
async def test_honest_sealed_calls_go_through(world: World, kem: str) -> None:
    """
    F0: honest calls over each kem, so that no story below is refused for another reason.

    Stopped by: nothing
    """
    session = await open_session(world, kem)
    reply = await world.send(sealed(session).sign(world.signer))
    assert reply.status_code == 200
    assert session.read(reply) == (b'{"ok": true}', "application/json")
    assert world.bodies == [b'{"amount": "0.01"}']


async def test_session_mac(world: World) -> None:
    """
    F0: honest calls under the session's own key.

    Stopped by: nothing
    """
    session = await open_session(world)
    reply = await world.send(by_mac(sealed(session, target=b"/v1/quotes"), session, int(world.clock.at)))
    assert reply.status_code == 200, reply.text
    assert session.read(reply) == (b'{"ok": true}', "application/json")
    assert f'keyid="{session.id}"' in reply.headers["signature-input"]
