"""Authorize: scopes and addresses."""

from typing import Any, cast

import pytest

from sealwire.call import Allowed, Proof
from sealwire.stages.authorize import Authorize, within
from tests.stages.made import CALLER, RULE, call, record, refused


def _proof(**changes: Any) -> Proof:
    return Proof(cast(Any, None), record(**changes), 0, 20)


async def test_all_scopes_are_needed() -> None:
    """Each scope of the rule is demanded, and the missing ones are named, sorted."""
    assert await Authorize()(call(None, RULE._replace(scopes=CALLER.scopes), CALLER, _proof())) == Allowed()
    with refused("scope-insufficient/missing", "policy") as caught:
        await Authorize()(call(None, RULE._replace(scopes=frozenset(("z", "orders", "a"))), CALLER, _proof()))
    assert (caught.value.detail, caught.value.status) == ("Missing: a, z.", 403)


async def test_bound_addresses() -> None:
    """A client that is bound to addresses calls from those only."""
    proof = _proof(addresses=("192.0.2.0/24",))
    assert await Authorize()(call(None, RULE, CALLER, proof, address="192.0.2.255")) == Allowed()
    with refused("address-not-allowed/client", "policy"):
        await Authorize()(call(None, RULE, CALLER, proof, address="192.0.3.0"))


async def test_without_a_key_no_address_binds() -> None:
    """A proof without a key binds to no address."""
    assert await Authorize()(call(None, RULE, CALLER, Proof(cast(Any, None), None, 0, 20))) == Allowed()


@pytest.mark.parametrize(
    ("address", "inside"), [("192.0.2.1", True), ("2001:db8::1", True), ("192.0.3.1", False), ("unix", False)]
)
def test_within(address: str, inside: bool) -> None:
    """An address lies in one of the networks, whichever; one that cannot be read lies in none."""
    assert within(address, ("192.0.2.0/24", "2001:db8::/32")) is inside
