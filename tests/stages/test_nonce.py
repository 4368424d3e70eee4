"""Nonce: claimed once, in time, and no more at once than a key may hold."""

from typing import Any

import pytest

from sealwire.call import Call, FirstSeen, Possession, Proof
from sealwire.protocol import profile
from sealwire.protocol.jwk import load_verifier
from sealwire.stages.nonce import ClaimNonce
from tests.stages.made import CLIENT, NEW, NONCE, NOW, OTHER, RULE, Stores, call, head, record, refused, sign


def _proof(nonce: str = NONCE, last_valid: float = NOW + 60) -> Proof:
    claim = profile.claim(sign(head(), nonce=nonce), "sealwire", profile.Plans())
    return Proof(claim, record(), last_valid, 20)


def _possession(nonce: str) -> Possession:
    request = sign(head(), NEW, tag="sealwire-possession", nonce=nonce)
    return Possession(profile.claim(request, "sealwire-possession", profile.Plans()), load_verifier(NEW.jwk))


def _call(*evidence: Any) -> Call:
    return call(None, RULE, *evidence)


async def test_once() -> None:
    """A nonce is taken once, and another one after it."""
    stage = ClaimNonce(Stores().nonces)
    assert await stage(_call(_proof())) == FirstSeen()
    with refused("replay-detected/nonce", "replay") as caught:
        await stage(_call(_proof()))
    assert caught.value.status == 401
    assert await stage(_call(_proof(OTHER))) == FirstSeen()


@pytest.mark.parametrize("after", [0, 60, 79])
async def test_remembered(after: int) -> None:
    """A nonce signed anew is a replay until the first message's last valid instant plus 20 s."""
    stores = Stores()
    await ClaimNonce(stores.nonces)(_call(_proof(last_valid=NOW + 60)))
    stores.clock.at = NOW + after
    with refused("replay-detected/nonce", "replay"):
        await ClaimNonce(stores.nonces)(_call(_proof(last_valid=NOW + after + 60)))


async def test_late_by_the_store() -> None:
    """From the last valid instant plus 10 s on, by the store's own clock, a claim is refused and never granted."""
    stores = Stores()
    stores.clock.at = NOW + 9.999
    assert await ClaimNonce(stores.nonces)(_call(_proof(last_valid=NOW))) == FirstSeen()
    stores.clock.at = NOW + 10
    with refused("clock-skew/claim-late", "created"):
        await ClaimNonce(stores.nonces)(_call(_proof(OTHER, NOW)))


async def test_both_nonces_of_an_enrolment() -> None:
    """At enrolment the possession's nonce is claimed too, under the new key."""
    stores = Stores()
    stage = ClaimNonce(stores.nonces)
    assert await stage(_call(_proof(), _possession(NONCE))) == FirstSeen()
    with refused("replay-detected/nonce", "replay"):
        await stage(_call(_proof(OTHER), _possession(NONCE)))
    assert await stores.nonces.claim(CLIENT.keyid, OTHER, NOW + 60, 20) == "seen"
    assert await stores.nonces.claim(NEW.keyid, NONCE, NOW + 60, 20) == "seen"


async def test_no_more_than_a_key_may_hold() -> None:
    """A key that holds as many nonces as it may is told when the first of them may be gone."""
    stage = ClaimNonce(Stores(live_nonces=1).nonces)
    await stage(_call(_proof()))
    with refused("rate-limited/live-nonces", "replay") as caught:
        await stage(_call(_proof(OTHER)))
    assert caught.value.fields == ((b"retry-after", b"60"),)
