"""Throttle: limits by address before proof, by caller after it."""

import pytest

from sealwire.call import AddressSpent, CallerSpent
from sealwire.protocol.ratelimit import Limit, Spent
from sealwire.stages.throttle import ThrottleAddress, ThrottleCaller
from tests.stages.made import CALLER, RULE, Stores, call, refused


async def test_no_limits() -> None:
    """A rule without limits of a kind charges nothing."""
    stores = Stores()
    caller_only = RULE._replace(limits=(Limit(1, 60, "key"),))
    assert await ThrottleAddress(stores.buckets, later=False)(call(None, caller_only)) == AddressSpent(())
    assert await ThrottleCaller(stores.buckets)(call(None, RULE, CALLER)) == CallerSpent(())


async def test_by_address() -> None:
    """The quota of an address fits, one more does not, another address and another rule are not touched."""
    limit = Limit(2, 60, "address")
    rule = RULE._replace(limits=(limit, Limit(1, 60, "key")))
    stage = ThrottleAddress(Stores().buckets, later=False)
    assert await stage(call(None, rule)) == AddressSpent((Spent(limit, True, 1, 0.0, 30.0),))
    assert await stage(call(None, rule)) == AddressSpent((Spent(limit, True, 0, 0.0, 60.0),))
    with refused("rate-limited/address") as caught:
        await stage(call(None, rule))
    assert caught.value.detail == "The limit of 2 a 60 s per address is spent."
    assert dict(caught.value.fields) == {
        b"ratelimit-policy": b'"address-60";q=2;w=60',
        b"ratelimit": b'"address-60";r=0;t=60',
        b"retry-after": b"30",
    }
    await stage(call(None, rule, address="192.0.2.2"))
    await stage(call(None, rule._replace(template="/other")))


@pytest.mark.parametrize(("kind", "user"), [("key", None), ("client", None), ("user", "usr_1"), ("user", None)])
async def test_by_caller(kind: str, user: str | None) -> None:
    """Key, client and user each have their own count; a caller without a user counts as its client."""
    rule = RULE._replace(limits=(Limit(1, 60, kind), Limit(9, 60, "address")))
    stage = ThrottleCaller(Stores().buckets)
    caller = CALLER._replace(user=user)
    await stage(call(None, rule, caller))
    with refused("rate-limited/caller", "policy"):
        await stage(call(None, rule, caller, address="192.0.2.9"))
    await stage(call(None, rule, caller._replace(client="cli_b", user=user and "usr_2", key="other")))


async def test_the_worst_is_named_and_none_is_charged() -> None:
    """Of several spent limits the longest wait is told, and a refused call spends nothing of the others."""
    rule = RULE._replace(limits=(Limit(1, 60, "key"), Limit(1, 3600, "client")))
    stores = Stores()
    stage = ThrottleCaller(stores.buckets)
    await stage(call(None, rule, CALLER))
    with refused("rate-limited/caller", "policy") as caught:
        await stage(call(None, rule, CALLER))
    assert caught.value.detail == "The limit of 1 a 3600 s per client is spent."
    assert dict(caught.value.fields)[b"retry-after"] == b"3600"
    with refused("rate-limited/caller", "policy"):
        await stage(call(None, rule, CALLER._replace(key="second")))
    await stage(call(None, rule, CALLER._replace(key="second", client="cli_b")))
