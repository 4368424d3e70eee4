"""Throttle: limits by address before proof, by caller after it."""

import pytest

from sealwire.call import AddressSpent, CallerSpent
from sealwire.ports import Charge
from sealwire.protocol.ratelimit import Limit, Spent
from sealwire.records import Bounds
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


EVERY = tuple(
    Limit(quota, 60, kind) for quota, kind in ((9, "address"), (8, "rule"), (7, "key"), (6, "client"), (5, "user"))
)
OWN = (Bounds("cli_a", (), (Limit(4, 60, "client-own"),)), Bounds("apk_1", (), (Limit(3, 60, "key-own"),)))


async def test_a_look_before_the_proof() -> None:
    """Where the caller is charged later, the address is only looked at: so often as one likes, until it is spent."""
    stores = Stores()
    rule = RULE._replace(limits=(Limit(2, 60, "address"), Limit(9, 60, "rule"), Limit(1, 60, "key")))
    look, caller = ThrottleAddress(stores.buckets, later=True), ThrottleCaller(stores.buckets)
    for _ in range(5):
        found = await look(call(None, rule))
    assert found.later
    assert [one.remaining for one in found.spent] == [1, 8]
    await caller(call(None, rule, CALLER))
    await caller(call(None, rule, CALLER._replace(key="second")))
    for _ in range(3):
        with refused("rate-limited/address") as caught:
            await look(call(None, rule))
    assert dict(caught.value.fields)[b"retry-after"] == b"30"
    assert await look(call(None, RULE)) == AddressSpent((), later=True)


async def test_all_of_a_call_in_one_step() -> None:
    """Address, rule, key, client, user and what holds client and API key closer: one charge, in this order."""
    stores = Stores()
    asked = []
    charge = stores.buckets.charge

    async def counted(charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        asked.append(charges)
        return await charge(charges)

    stores.buckets.charge = counted  # type: ignore[method-assign]
    caller = CALLER._replace(user="usr_1", bounds=OWN)
    spent = (await ThrottleCaller(stores.buckets)(call(None, RULE._replace(limits=EVERY), caller))).spent
    assert [(one.limit.kind, one.remaining) for one in spent] == [
        ("address", 8), ("rule", 7), ("key", 6), ("client", 5), ("user", 4), ("client-own", 3), ("key-own", 2)
    ]  # fmt: skip
    assert len(asked) == 1
    assert [each.bucket for each in asked[0]] == [
        "/v1/orders 192.0.2.1",
        "/v1/orders",
        "/v1/orders key key",
        "/v1/orders client cli_a",
        "/v1/orders user of usr_1",
        "own cli_a",
        "own apk_1",
    ]


@pytest.mark.parametrize("least", range(len(EVERY) + len(OWN)))
async def test_one_that_is_spent_spends_none_of_the_others(least: int) -> None:
    """Whichever limit is the least: once it is spent, refused calls take nothing of any."""
    limits = tuple(one._replace(quota=2 if i == least else 9) for i, one in enumerate(EVERY))
    own = tuple(
        one._replace(limits=tuple(each._replace(quota=2 if i == least else 9) for each in one.limits))
        for i, one in enumerate(OWN, len(EVERY))
    )
    stores = Stores()
    rule, caller = RULE._replace(limits=limits), CALLER._replace(user="usr_1", bounds=own)
    stage = ThrottleCaller(stores.buckets)
    for _ in range(2):
        await stage(call(None, rule, caller))
    kind = ("address", "rule", "caller")[min(least, 2)]
    for _ in range(5):
        with refused(f"rate-limited/{kind}", "policy"):
            await stage(call(None, rule, caller))
    stores.clock.at += 30
    spent = (await stage(call(None, rule, caller))).spent
    assert [one.remaining for one in spent] == [0 if i == least else 8 for i in range(len(spent))]


async def test_limits_of_ones_own_count_under_every_rule() -> None:
    """A client's own limit is one for all rules, and so is an API key's; another's are another's."""
    stage = ThrottleCaller(Stores().buckets)
    caller = CALLER._replace(bounds=OWN[:1])
    rules = [RULE._replace(template=template) for template in ("/v1/orders", "/v1/other", "/v1/third")]
    assert [(await stage(call(None, rule, caller))).spent[0].remaining for rule in rules] == [3, 2, 1]
    other = caller._replace(client="cli_b", bounds=(OWN[0]._replace(owner="cli_b"),))
    assert (await stage(call(None, RULE, other))).spent[0].remaining == 3


async def test_a_bearer_fails_at_no_judgement() -> None:
    """What is refused of a call that nobody signed names no judgement of a signature."""
    stage = ThrottleCaller(Stores().buckets)
    rule, bearer = RULE._replace(limits=(Limit(1, 60, "key"),)), CALLER._replace(assurance="api-key")
    await stage(call(None, rule, bearer))
    with refused("rate-limited/caller"):
        await stage(call(None, rule, bearer))


async def test_the_whole_rule_by_its_cause() -> None:
    """A limit of the whole rule is named as such, and counts callers and addresses together."""
    rule = RULE._replace(limits=(Limit(2, 60, "rule"),))
    stage = ThrottleAddress(Stores().buckets, later=False)
    await stage(call(None, rule))
    await stage(call(None, rule, address="192.0.2.2"))
    with refused("rate-limited/rule"):
        await stage(call(None, rule, address="192.0.2.3"))


@pytest.mark.parametrize("later", [False, True])
async def test_a_site_and_its_parts(later: bool) -> None:
    """An IPv6 address counts with its /64 and with its /56, in one step, whichever is spent first."""
    rule, stores = RULE._replace(limits=(Limit(2, 60, "address"),)), Stores()
    stage = ThrottleAddress(stores.buckets, later=later)
    charge = ThrottleCaller(stores.buckets)
    for i in range(8):
        at = call(None, rule, CALLER, address=f"2001:db8:0:42{i // 2:02x}::{i:x}")
        await stage(at)
        if later:
            await charge(at)
    for near in ("2001:db8:0:4200::", "2001:db8:0:42ff::"):
        with refused("rate-limited/address") as caught:
            await stage(call(None, rule, address=near))
    assert caught.value.detail == "The limit of 8 a 60 s per site is spent."
    assert [one.limit.kind for one in (await stage(call(None, rule, address="2001:db8:0:4300::"))).spent] == [
        "address",
        "site",
    ]


@pytest.mark.parametrize("later", [False, True])
async def test_an_address_that_nobody_says(later: bool) -> None:
    """It is our fault, before any bucket is touched; where no limit needs it, nobody minds."""
    stores = Stores()
    rule = RULE._replace(limits=(Limit(9, 60, "rule"), Limit(9, 60, "address")))
    stage = ThrottleAddress(stores.buckets, later=later)
    for _ in range(3):
        with refused("internal/address"):
            await stage(call(None, rule, address=""))
        with refused("internal/address"):
            await ThrottleCaller(stores.buckets)(call(None, rule, CALLER, address=""))
    (left,) = await stores.buckets.look((Charge(Limit(9, 60, "rule"), "/v1/orders"),))
    assert left.remaining == 8
    without = RULE._replace(limits=(Limit(9, 60, "rule"), Limit(9, 60, "key")))
    await stage(call(None, without, address=""))
    assert len((await ThrottleCaller(stores.buckets)(call(None, without, CALLER, address=""))).spent) == 2
