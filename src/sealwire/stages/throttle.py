"""
Throttle: the limits of a rule, by address before anything is proven and by caller after the nonce.

The limiter's key never comes from an unproven field, and the caller's limits come after the nonce, so that a replayed
call spends nothing of the victim's.
"""

from __future__ import annotations

from sealwire.call import AddressSpent, Call, Caller, CallerSpent
from sealwire.errors import Refusal
from sealwire.ports import BucketStore, Charge
from sealwire.protocol.ratelimit import Spent, fields, network


class ThrottleAddress:
    """Charges the rule's `per address` limits. Refuses: rate-limited."""

    def __init__(self, buckets: BucketStore) -> None:
        self._buckets = buckets

    async def __call__(self, call: Call) -> AddressSpent:
        charges = tuple(
            Charge(limit, f"{call.rule.template} {network(call.address)}")
            for limit in call.rule.limits
            if limit.kind == "address"
        )
        if not charges:
            return AddressSpent(())
        return AddressSpent(_judge(await self._buckets.charge(charges), "address"))


class ThrottleCaller:
    """Charges the rule's limits by key, client and user, of a proven caller. Refuses: rate-limited."""

    def __init__(self, buckets: BucketStore) -> None:
        self._buckets = buckets

    async def __call__(self, call: Call) -> CallerSpent:
        caller = call.get(Caller)
        names = {"key": caller.key, "client": caller.client, "user": caller.user or caller.client}
        charges = tuple(
            Charge(limit, f"{call.rule.template} {limit.kind} {names[limit.kind]}")
            for limit in call.rule.limits
            if limit.kind != "address"
        )
        if not charges:
            return CallerSpent(())
        return CallerSpent(_judge(await self._buckets.charge(charges), "caller"))


def _judge(spent: tuple[Spent, ...], cause: str) -> tuple[Spent, ...]:
    if all(one.fits for one in spent):
        return spent
    worst = max(spent, key=lambda one: one.wait_seconds)
    detail = f"The limit of {worst.limit.quota} a {worst.limit.period_seconds} s per {worst.limit.kind} is spent."
    failed = "policy" if cause == "caller" else ""
    raise Refusal("rate-limited", cause, detail, failed=failed, fields=fields(spent))
