"""CountRefused: what a call that does not go through costs, and who hears that it was too much."""

import contextlib
from typing import Any

import pytest

from sealwire.call import AddressSpent, CallerSpent
from sealwire.errors import Fault, Problem, Refusal
from sealwire.ports import Charge
from sealwire.protocol.ratelimit import Limit, Spent, tiers
from sealwire.stages.refused import CountRefused
from tests.stages.made import RULE, Stores, call, head, refused

PER_ADDRESS, PER_KEY = Limit(2, 60, "address"), Limit(3, 60, "key")
ADDRESS, WHOLE = Limit(5, 60, "address"), Limit(7, 60, "rule")
LIMITED = RULE._replace(limits=(ADDRESS, WHOLE, Limit(9, 60, "key")))
LOOKED = AddressSpent((), later=True)
#: Refusals of a credential that was presented and is none.
FAILED = (
    "signature-mismatch/does-not-verify",
    "key-unknown/unknown",
    "token-invalid/unknown",
    "invitation-invalid/spent",
)


def count(stores: Stores) -> CountRefused:
    """The stage over these stores."""
    return CountRefused(stores.buckets, PER_ADDRESS, PER_KEY)


def problem(code: str, claimed: str = "") -> Refusal:
    """A refusal that names a key of ours."""
    slug, _, cause = code.partition("/")
    made = Refusal(slug, cause)
    made.claimed = claimed
    return made


async def left(stores: Stores, limit: Limit, bucket: str) -> int:
    """What is left of a bucket, before the next call."""
    (spent,) = await stores.buckets.look((Charge(limit, bucket),))
    return spent.remaining + 1 if spent.fits else 0


async def rule_left(stores: Stores) -> tuple[int, int]:
    """What is left of the rule's limits, by this address and of the whole."""
    return await left(stores, ADDRESS, "/v1/orders 192.0.2.1"), await left(stores, WHOLE, "/v1/orders")


async def test_a_refused_call_costs_its_address() -> None:
    """Where limits were looked at only, the address pays now; the whole rule does not."""
    stores = Stores()
    await count(stores)(call(None, LIMITED, LOOKED), problem("digest-mismatch/differs"))
    assert await rule_left(stores) == (4, 7)


async def test_an_observed_call_costs_both() -> None:
    """A call that is entered without its caller is one of the rule's."""
    stores = Stores()
    await count(stores)(call(None, LIMITED._replace(observe=True), LOOKED), None)
    assert await rule_left(stores) == (4, 6)


async def test_who_left_costs_its_address() -> None:
    """With no problem, under a rule that does not observe, it is a call whose client left."""
    stores = Stores()
    await count(stores)(call(None, LIMITED, LOOKED), None)
    assert await rule_left(stores) == (4, 7)


@pytest.mark.parametrize(
    "evidence",
    [(), (AddressSpent(()),), (LOOKED, CallerSpent(()))],
    ids=["not looked", "paid", "paid with the caller's"],
)
async def test_none_pays_twice(evidence: tuple[Any, ...]) -> None:
    """What did not come to the limits, or has paid, pays nothing here."""
    stores = Stores()
    for _ in range(9):
        await count(stores)(call(None, LIMITED, *evidence), problem("digest-mismatch/differs"))
    assert await rule_left(stores) == (5, 7)


@pytest.mark.parametrize("cause", ["address", "caller", "rule", "live-nonces"])
async def test_what_a_limit_refused_costs_nothing(cause: str) -> None:
    """Refused calls never lengthen the wait."""
    stores = Stores()
    for _ in range(9):
        await count(stores)(call(None, LIMITED, LOOKED), problem(f"rate-limited/{cause}"))
    assert await rule_left(stores) == (5, 7)


async def test_a_rule_without_such_limits() -> None:
    """Nothing is charged, and no store is asked."""
    stores = Stores()
    asked = []

    async def charge(charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        asked.append(charges)
        return ()

    stores.buckets.charge = charge  # type: ignore[method-assign]
    for rule in (RULE, RULE._replace(limits=(WHOLE, Limit(9, 60, "key")))):
        await count(stores)(call(None, rule, LOOKED), problem("digest-mismatch/differs"))
    assert asked == []


async def test_the_last_of_an_address_is_told() -> None:
    """Two calls that were looked at together and of which one finds room: the other hears rate-limited instead."""
    stores, rule = Stores(), RULE._replace(limits=(Limit(1, 60, "address"),))
    await count(stores)(call(None, rule, LOOKED), problem("digest-mismatch/differs"))
    with refused("rate-limited/address") as caught:
        await count(stores)(call(None, rule, LOOKED), problem("digest-mismatch/differs"))
    assert dict(caught.value.fields)[b"retry-after"] == b"60"


@pytest.mark.parametrize("code", FAILED)
async def test_failed_credentials_of_an_address(code: str) -> None:
    """Past the limit whoever fails again from there hears rate-limited, for as long as it takes; others do not."""
    stores = Stores()
    for _ in range(2):
        await count(stores)(call(None, RULE), problem(code))
    for _ in range(3):
        with refused("rate-limited/failures-address") as caught:
            await count(stores)(call(None, RULE), problem(code, "key_1"))
    assert caught.value.detail == "Too many failed tries came from this address."
    assert caught.value.claimed == "key_1"
    assert dict(caught.value.fields) == {
        b"ratelimit-policy": b'"address-60";q=2;w=60',
        b"ratelimit": b'"address-60";r=0;t=60',
        b"retry-after": b"30",
    }
    await count(stores)(call(None, RULE, address="192.0.2.2"), problem(code))
    stores.clock.at += 30
    await count(stores)(call(None, RULE), problem(code))


@pytest.mark.parametrize("code", FAILED)
async def test_failed_credentials_of_a_key(code: str) -> None:
    """Past the limit of a key whoever fails with it hears so, from wherever, and who looks after it hears which."""
    stores = Stores()
    one = head(more={b"authorization": b"Bearer one"})
    for i in range(3):
        await count(stores)(call(one, RULE, address=f"192.0.2.{i}"), problem(code, "key_1"))
    with refused("rate-limited/failures-key") as caught:
        await count(stores)(call(one, RULE, address="192.0.2.9"), problem(code, "key_1"))
    assert (caught.value.detail, caught.value.claimed) == ("Too many tries failed.", "key_1")
    other = head(more={b"authorization": b"Bearer other"})
    await count(stores)(call(other, RULE, address="192.0.2.9"), problem(code, "key_2"))


async def test_of_an_api_key_no_count_tells_whether_it_was_one() -> None:
    """What never was a key is counted and refused as one that has ended, and any number of guesses fill no table."""
    for claimed in ("apk_1", ""):
        stores = Stores()
        presented = head(more={b"authorization": b"Bearer sw_live_sk_ended"})
        for i in range(3):
            await count(stores)(call(presented, RULE, address=f"192.0.2.{i}"), problem(FAILED[2], claimed))
        with refused("rate-limited/failures-key") as caught:
            await count(stores)(call(presented, RULE, address="192.0.2.9"), problem(FAILED[2], claimed))
        assert (caught.value.detail, caught.value.claimed) == ("Too many tries failed.", claimed)
    for i in range(9000):
        with contextlib.suppress(Refusal):
            guess = head(more={b"authorization": b"Bearer %d" % i})
            await count(stores)(call(guess, RULE, address=""), problem(FAILED[2]))
    assert len(stores.buckets._arrivals["caller"]) <= 4096


async def test_the_address_and_the_key_are_apart() -> None:
    """An address past its limit takes nothing more of the key's: it cannot lock the key's owner out by trying on."""
    stores = Stores()
    for _ in range(2):
        await count(stores)(call(None, RULE), problem(FAILED[0], "key_1"))
    for _ in range(9):
        with refused("rate-limited/failures-address"):
            await count(stores)(call(None, RULE), problem(FAILED[0], "key_1"))
    assert await left(stores, PER_KEY, "failed key_1") == 1


@pytest.mark.parametrize(
    "code",
    [
        "token-invalid/absent",
        "digest-mismatch/differs",
        "clock-skew/late",
        "replay-detected/nonce",
        "signature-missing/absent",
        "signature-malformed/fields",
        "scope-insufficient/missing",
        "rate-limited/busy",
    ],
)
async def test_what_is_no_failed_credential(code: str) -> None:
    """Who presents none, or a good one, is never past this limit."""
    stores = Stores()
    for _ in range(9):
        await count(stores)(call(None, RULE), problem(code, "key_1"))
    assert await left(stores, PER_ADDRESS, "failed 192.0.2.1") == 2
    assert await left(stores, PER_KEY, "failed key_1") == 3


async def test_a_fault_is_nobodys_try() -> None:
    """Neither is one of ours."""
    stores = Stores()
    for _ in range(9):
        await count(stores)(call(None, RULE), Fault("store-unavailable", "directory"))
    assert await left(stores, PER_ADDRESS, "failed 192.0.2.1") == 2


async def test_tries_of_a_site() -> None:
    """Tries from many /64s of one /56 are one flood: four times what one of them may."""
    stores = Stores()
    heard = []
    for i in range(12):
        try:
            await count(stores)(call(None, RULE, address=f"2001:db8:0:42{i:02x}::1"), problem(FAILED[1]))
            heard.append("")
        except Problem as told:
            heard.append(told.code)
    assert heard == [""] * 8 + ["rate-limited/failures-address"] * 4
    assert len(tiers(PER_ADDRESS, "2001:db8:0:4200::1")) == 2


async def test_an_address_that_nobody_says_has_no_count() -> None:
    """No bucket is shared by all of them: tries of a key count, and nothing else does."""
    stores = Stores()
    for _ in range(3):
        await count(stores)(call(None, RULE, address=""), problem(FAILED[0], "key_1"))
    with refused("rate-limited/failures-key"):
        await count(stores)(call(None, RULE, address=""), problem(FAILED[0], "key_1"))
    assert await left(stores, PER_ADDRESS, "failed ") == 2


async def test_both_are_paid() -> None:
    """A failed try under a rule with limits costs its address there, and counts as a failed try too."""
    stores = Stores()
    await count(stores)(call(None, LIMITED, LOOKED), problem(FAILED[0], "key_1"))
    assert await rule_left(stores) == (4, 7)
    assert await left(stores, PER_ADDRESS, "failed 192.0.2.1") == 1
    assert await left(stores, PER_KEY, "failed key_1") == 2
