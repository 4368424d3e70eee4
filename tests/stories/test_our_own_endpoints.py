"""What the guard serves itself cannot be made to cost more than it must, and every 401 says what to sign"""

import pytest

from sealwire.errors import Fault
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.world import Wire, World

RULES = b"/.well-known/sealwire/rules"


async def test_documents_fill_no_ledger(world: World) -> None:
    """
    L8: a flood for the documents that anybody may have: no row is written, and past the limit of an address no
    signature is made.

    Stopped by: throttle
    """
    statuses = [(await world.send(Wire("GET", RULES))).status_code for _ in range(602)]
    assert statuses == [200] * 600 + [429] * 2
    assert not world.ledger.decisions
    world.address = "192.0.2.2"
    assert (await world.send(Wire("GET", RULES))).status_code == 200


async def test_a_ledger_that_fails_is_waited_for_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    L8: a store that does not answer: its refusal is not recorded in it, so the caller waits once.

    Stopped by: guard
    """
    waits = 0

    async def hangs(*_: object) -> str:
        nonlocal waits
        waits += 1
        raise Fault("audit-unavailable", "write")

    monkeypatch.setattr(world.ledger, "record", hangs)
    reply = await world.send(Wire("POST", b"/v1/orders", BODY).sign(world.signer))
    assert (reply.status_code, reply.json()["code"], waits) == (503, "audit-unavailable", 1)
    assert reply.headers["retry-after"] == "2"
    assert not world.entered


async def test_a_message_that_ran_out_gets_a_nonce(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    C15, C21: a message that ran out of its time before it was claimed is refused with a nonce that serves at once, also
    where only the decision's own claim found it.

    Stopped by: nonce
    """
    for store, name in ((world.nonces, "claim"), (world.ledger, "record")):

        async def late(*_: object) -> str:
            return "late"

        with monkeypatch.context() as patched:
            patched.setattr(store, name, late)
            reply = await world.send(Wire("POST", b"/v1/orders", BODY).sign(world.signer))
        assert (reply.status_code, reply.json()["code"], reply.json()["clock"]["window"]) == (401, "clock-skew", 60)
        nonce = reply.headers["accept-signature"].partition('nonce="')[2].partition('"')[0]
        again = Wire("POST", b"/v1/orders", BODY).sign(world.signer, nonce=nonce)
        assert (await world.send(again)).status_code == 200


async def test_an_enrolment_without_signatures(world: World) -> None:
    """
    C15: every 401 about a signature says what to sign, also at enrolment.

    Stopped by: permit
    """
    reply = await world.send(Wire("POST", b"/.well-known/sealwire/keys", b"{}"))
    assert (reply.status_code, reply.json()["code"]) == (401, "signature-missing")
    assert reply.headers["accept-signature"].endswith('tag="sealwire-invitation"')
