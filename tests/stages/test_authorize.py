"""Authorize: scopes and addresses."""

import pytest

from sealwire.call import Allowed
from sealwire.records import Bounds
from sealwire.stages.authorize import Authorize, within
from tests.stages.made import CALLER, RULE, call, refused


async def test_all_scopes_are_needed() -> None:
    """Each scope of the rule is demanded, and the missing ones are named, sorted."""
    assert await Authorize()(call(None, RULE._replace(scopes=CALLER.scopes), CALLER)) == Allowed()
    with refused("scope-insufficient/missing", "policy") as caught:
        await Authorize()(call(None, RULE._replace(scopes=frozenset(("z", "orders", "a"))), CALLER))
    assert (caught.value.detail, caught.value.status) == ("Missing: a, z.", 403)


async def test_bound_addresses() -> None:
    """Who is bound to addresses calls from those only, and from those of its API key too where both have some."""
    near = CALLER._replace(bounds=(Bounds("cli_a", ("192.0.2.0/24",), ()),))
    assert await Authorize()(call(None, RULE, near, address="192.0.2.255")) == Allowed()
    with refused("address-not-allowed/client", "policy"):
        await Authorize()(call(None, RULE, near, address="192.0.3.0"))
    nearer = near._replace(bounds=(*near.bounds, Bounds("apk_1", ("192.0.2.8/32", "2001:db8::/32"), ())))
    assert await Authorize()(call(None, RULE, nearer, address="192.0.2.8")) == Allowed()
    for outside in ("192.0.2.9", "2001:db8::1", ""):
        with refused("address-not-allowed/client", "policy"):
            await Authorize()(call(None, RULE, nearer, address=outside))


async def test_a_bearer_fails_at_no_judgement_of_a_signature() -> None:
    """What is refused of a call that nobody signed names no judgement."""
    bearer = CALLER._replace(assurance="api-key", bounds=(Bounds("cli_a", ("192.0.2.0/24",), ()),))
    with refused("address-not-allowed/client"):
        await Authorize()(call(None, RULE, bearer, address="192.0.3.0"))
    with refused("scope-insufficient/missing"):
        await Authorize()(call(None, RULE._replace(scopes=frozenset(("more",))), bearer))


@pytest.mark.parametrize(
    ("address", "inside"), [("192.0.2.1", True), ("2001:db8::1", True), ("192.0.3.1", False), ("unix", False)]
)
def test_within(address: str, inside: bool) -> None:
    """An address lies in one of the networks, whichever; one that cannot be read lies in none."""
    assert within(address, ("192.0.2.0/24", "2001:db8::/32")) is inside
