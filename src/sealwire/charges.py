"""
What a call is charged for that needs no proof, and what it hears where a limit is spent.

Owns: that an address which nobody says is no bucket. Refuses to know: when charges are made, and where they are kept.
"""

from __future__ import annotations

from sealwire.call import Call
from sealwire.errors import Fault, Refusal
from sealwire.ports import Charge
from sealwire.protocol.ratelimit import Spent, fields, tiers

#: Kinds of limits that are known before anything is proven.
WITHOUT_PROOF = frozenset(("address", "rule", "site"))


def without_proof(call: Call) -> list[Charge]:
    """The rule's limits by address and of the whole rule. Raises: Fault internal where no address is known."""
    charges = []
    for limit in call.rule.limits:
        if limit.kind == "rule":
            charges.append(Charge(limit, call.rule.template))
        elif limit.kind == "address":
            if not call.address:
                # One bucket for all whose address nobody says would be everybody's to empty.
                raise Fault("internal", "address")
            charges += [Charge(each, f"{call.rule.template} {who}") for each, who in tiers(limit, call.address)]
    return charges


def judge(spent: tuple[Spent, ...], failed: str) -> tuple[Spent, ...]:
    """What was charged, if it fitted. Raises: rate-limited, naming the limit with the longest wait."""
    if all(one.fits for one in spent):
        return spent
    worst = max(spent, key=lambda one: one.wait_seconds)
    kind = worst.limit.kind
    cause = "rule" if kind == "rule" else "address" if kind in WITHOUT_PROOF else "caller"
    detail = f"The limit of {worst.limit.quota} a {worst.limit.period_seconds} s per {kind} is spent."
    raise Refusal("rate-limited", cause, detail, failed=failed, fields=fields(spent))
