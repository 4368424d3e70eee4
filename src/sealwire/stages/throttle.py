"""
Throttle: the limits of a rule and of its caller, decided together and exactly.

Before anything is proven the limits of address and rule are looked at; once the caller is known all limits of the call
are charged in one step, after the nonce, so that a replayed call spends nothing of the victim's and a call that one
limit refuses spends nothing of the others. No bucket is named by a field that is not proven.
"""

from __future__ import annotations

from sealwire.call import AddressSpent, Call, Caller, CallerSpent
from sealwire.charges import WITHOUT_PROOF, judge, without_proof
from sealwire.ports import BucketStore, Charge

_UNLIMITED = CallerSpent(())


class ThrottleAddress:
    """
    The limits by address and of the whole rule: charged, or with `later` only looked at, since they are charged with
    the caller's. Refuses: rate-limited. Faults: internal where an address is counted and none is known.
    """

    def __init__(self, buckets: BucketStore, *, later: bool) -> None:
        self._ask = buckets.look if later else buckets.charge
        self._later = later
        self._unlimited = AddressSpent((), later)

    async def __call__(self, call: Call) -> AddressSpent:
        charges = without_proof(call) if call.rule.limits else ()
        if not charges:
            return self._unlimited
        return AddressSpent(judge(await self._ask(tuple(charges)), ""), self._later)


class ThrottleCaller:
    """Charges all limits of the call in one step: address, rule, key, client, user, its own. Refuses: rate-limited."""

    def __init__(self, buckets: BucketStore) -> None:
        self._buckets = buckets

    async def __call__(self, call: Call) -> CallerSpent:
        caller, rule = call.get(Caller), call.rule
        charges = without_proof(call) if rule.limits else []
        for limit in rule.limits:
            if limit.kind not in WITHOUT_PROOF:
                charges.append(Charge(limit, f"{rule.template} {limit.kind} {_named(caller, limit.kind)}"))
        for bounds in caller.bounds:
            charges += [Charge(limit, f"own {bounds.owner}") for limit in bounds.limits]
        if not charges:
            return _UNLIMITED
        failed = "policy" if caller.assurance == "signature" else ""
        return CallerSpent(judge(await self._buckets.charge(tuple(charges)), failed))


def _named(caller: Caller, kind: str) -> str:
    if kind == "key":
        return caller.key
    # No user is called by the id of a client that has none: the app decides what its users are called.
    return caller.client if kind == "client" or caller.user is None else f"of {caller.user}"
