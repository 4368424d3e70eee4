"""
Step up: what moves money waits for a person's yes to this very call (docs/protocol.md, "Approvals").

After unsealing, because a person approves what the plaintext says. A call that names an approval asks for no other: a
call that was changed on the way asks nobody anything.
"""

from __future__ import annotations

from sealwire.call import Assured, Call, Caller, Idempotent, InSession
from sealwire.desk import Desk
from sealwire.errors import Fault, Refusal
from sealwire.protocol import approval as form
from sealwire.protocol.approval import Shown

_WAIT = ((b"retry-after", b"2"),)


class StepUp:
    """Refuses: approval-required, -pending, -denied, -expired; request-invalid; rate-limited."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def __call__(self, call: Call) -> Assured:
        call.get(InSession)
        terms = call.rule.approve
        if terms is None:
            raise Fault("internal", "evidence")  # a critical rule without its terms: wiring, and never a caller's doing
        if call.get(Idempotent).stored is not None:
            return Assured()  # answered before: nothing happens again, and no second yes is needed
        named = call.request.fields.get(b"sealwire-approval")
        shown = None if terms.show is None else terms.show.show(call.content())
        if named is not None:
            return await self._judge(call, named, shown)
        if shown is not None:
            raise await self._desk.ask(call, shown, terms, "asked")
        return Assured()

    async def _judge(self, call: Call, named: bytes, shown: Shown | None) -> Assured:
        caller, known = call.get(Caller), form.ID.fullmatch(named)
        approval = await self._desk.approvals.approval(named.decode("ascii")) if known else None
        principal = (caller.client, caller.user, caller.key)
        if approval is None or (approval.client, approval.user, approval.key) != principal:
            raise _required("unknown", "This key asked for no such approval.")
        asked = self._desk.shown(approval)
        shown = asked if shown is None else shown
        both = zip(form.PARTS, approval.binding, self._desk.binding(call, shown), strict=True)
        differing = [part for part, then, now in both if then != now]
        if differing:
            raise _required("differs", f"this approval was for {asked.differing(shown) or f'another {differing[0]}'}")
        match approval.state_at(call.now):
            case "approved":
                return Assured(approval, shown)
            case "pending":
                raise Refusal("approval-pending", "pending", failed="policy", fields=_WAIT)
            case "used":
                raise _required("used", "This approval was used before.")
            case over:
                raise Refusal(f"approval-{over}", over, failed="policy")


def _required(cause: str, detail: str) -> Refusal:
    return Refusal("approval-required", cause, detail, failed="policy")
