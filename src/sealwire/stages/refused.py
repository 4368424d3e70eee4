"""
Refused: what a call that does not go through is counted for, before it is told so.

It costs its address what a call that goes through costs it, and everybody else nothing. A failed credential counts
for its address and for the key that it named, apart, and outside every transaction: nothing takes it back.
"""

from __future__ import annotations

import hashlib

from sealwire.call import AddressSpent, Call, CallerSpent
from sealwire.charges import judge, without_proof
from sealwire.errors import Problem, Refusal
from sealwire.ports import BucketStore, Charge
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import Limit, fields, tiers

#: Refusals of a credential that was presented and is none: what somebody hears who tries many.
_FAILED = frozenset(("signature-mismatch", "key-unknown", "token-invalid", "invitation-invalid"))
#: Causes of these that are no try: none was sent, or a session went with the start that it was opened in.
_NO_TRY = frozenset(("absent", "session"))

_SLOTS = 4096


def _slot(call: Call) -> str:
    """
    Under what an API key that opens nothing is counted: by a part of its digest that is too short to fill a table, for
    those that were keys once and those that never were alike, so that no answer tells the one from the other.
    """
    presented = apikey.presented(call.request.fields.get(b"authorization", b""))
    return f"slot {int.from_bytes(hashlib.sha256(presented).digest()[:2], 'big') % _SLOTS}"


class CountRefused:
    """
    Past a limit of failed credentials whoever fails again hears rate-limited, and nobody else does: no call that is
    proven is refused for the failures of others, so nobody is locked out.
    """

    def __init__(self, buckets: BucketStore, per_address: Limit, per_key: Limit) -> None:
        self._buckets = buckets
        self._per_address = per_address
        self._per_key = per_key

    async def __call__(self, call: Call, problem: Problem | None) -> None:
        """
        `problem` is None for a call that is entered without its caller, where a rule only observes, or whose client
        left before its body was whole.

        Raises: Refusal rate-limited to be told in place of `problem`; Fault store-unavailable.
        """
        looked = AddressSpent in call.held and call.get(AddressSpent).later and CallerSpent not in call.held
        # A call that a limit refused spends nothing.
        limited = problem is not None and problem.slug == "rate-limited"
        if looked and not limited:
            # What all callers of a rule share is nothing that whoever proves nothing could spend.
            entered = problem is None and call.rule.observe
            own = [one for one in without_proof(call) if entered or one.limit.kind != "rule"]
            if own:
                judge(await self._buckets.charge(tuple(own)), "")
        if problem is None or problem.slug not in _FAILED or problem.cause in _NO_TRY:
            return
        if call.address:
            charges = [Charge(limit, f"failed {who}") for limit, who in tiers(self._per_address, call.address)]
            await self._count(charges, problem, "failures-address", "Too many failed tries came from this address.")
        named = _slot(call) if problem.slug == "token-invalid" else problem.claimed
        if named:
            charges = [Charge(self._per_key, f"failed {named}")]
            await self._count(charges, problem, "failures-key", "Too many tries failed.")

    async def _count(self, charges: list[Charge], problem: Problem, cause: str, detail: str) -> None:
        spent = await self._buckets.charge(tuple(charges))
        if not all(one.fits for one in spent):
            refusal = Refusal("rate-limited", cause, detail, fields=fields(spent))
            refusal.claimed = problem.claimed  # for those who look after it: whose key is tried
            raise refusal
