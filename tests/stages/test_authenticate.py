"""Authenticate: the proven key makes the caller."""

from typing import Any, cast

import pytest

from sealwire.call import Caller, FirstSeen, Proof
from sealwire.stages.authenticate import Authenticate
from tests.stages.made import CLIENT, RULE, call, record, refused

_NO_CLAIM = cast(Any, None)


async def test_the_key_makes_the_caller() -> None:
    """Client, user and scopes are those of the key's record."""
    proof = Proof(_NO_CLAIM, record(user="usr_1"), 0, 20)
    caller = await Authenticate()(call(None, *_evidence(proof)))
    assert caller == Caller("cli_a", "usr_1", frozenset(("orders",)), CLIENT.keyid, "signature")


async def test_an_invitation_is_nobody() -> None:
    """A proof without a key makes nobody a caller."""
    with refused("internal/evidence"):
        await Authenticate()(call(None, *_evidence(Proof(_NO_CLAIM, None, 0, 20, "inv"))))


async def test_not_before_the_nonce() -> None:
    """Without a claimed nonce there is no caller, whoever signed."""
    with pytest.raises(KeyError):
        await Authenticate()(call(None, *_evidence(Proof(_NO_CLAIM, record(), 0, 20))[:2]))


def _evidence(proof: Proof) -> tuple[Any, ...]:
    return RULE, proof, FirstSeen()
