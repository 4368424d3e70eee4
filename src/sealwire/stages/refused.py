"""
Refused: what a call that does not go through is counted for, before it is told so.

It costs its address what a call that goes through costs it, and everybody else nothing. A failed credential counts
for its address and for the key that it named, apart, and outside every transaction: nothing takes it back.
"""

from __future__ import annotations

from sealwire.call import AddressSpent, Call, CallerSpent
from sealwire.charges import judge, without_proof
from sealwire.errors import Problem, Refusal
from sealwire.ports import BucketStore, Charge
from sealwire.protocol.ratelimit import Limit, fields, tiers

#: Refusals of a credential that was presented and is none: what somebody hears who tries many.
_FAILED = frozenset(("signature-mismatch", "key-unknown", "token-invalid", "invitation-invalid"))
#: Causes of these that are no try: none was sent, or a session went with the start that it was opened in.
_NO_TRY = frozenset(("absent", "session"))


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
        if problem.claimed or problem.slug == "token-invalid":
            # No step tells whether an API key ever was one: what names none is counted too, and nobody hears of it.
            charges = [Charge(self._per_key, f"failed {problem.claimed}")]
            told = "Too many tries failed." if problem.claimed else ""
            await self._count(charges, problem, "failures-key", told)

    async def _count(self, charges: list[Charge], problem: Problem, cause: str, detail: str) -> None:
        spent = await self._buckets.charge(tuple(charges))
        if detail and not all(one.fits for one in spent):
            refusal = Refusal("rate-limited", cause, detail, fields=fields(spent))
            refusal.claimed = problem.claimed  # for those who look after it: whose key is tried
            raise refusal
