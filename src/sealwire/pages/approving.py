"""
The page of one question: what exactly, who asks, from where, until when; yes with a code, no, or "this was not me".

Owns: that nobody sees a question of somebody else. Refuses to know: how a code is judged.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sealwire.call import Approval
from sealwire.pages.door import Door, address_of
from sealwire.pages.visits import Visit
from sealwire.ports.people import Approvals, Factors
from sealwire.presence import Presence, Said
from sealwire.protocol.approval import Shown

_SAID = {
    "late": "This is no longer waiting: see below.",
    "locked": "Too many wrong codes. No more are taken now; deny it if you did not ask for it.",
    "cooling": "Your factors were reset a short while ago. Until that time is over, nothing can be approved.",
    "no-factor": "You have nothing to approve this with yet.",
}
_FROZEN = "The keys of {} are frozen, and nothing that it asked for will be done. Tell the operator."


class Approving:
    """Shows a question to its user, and takes the answer."""

    def __init__(
        self,
        door: Door,
        approvals: Approvals,
        factors: Factors,
        presence: Presence,
        shown: Callable[[Approval], Shown],
    ) -> None:
        self._door = door
        self._approvals = approvals
        self._factors = factors
        self._presence = presence
        self._shown = shown

    async def show(self, request: Request) -> Response:
        """The question, or what became of it."""
        visit = self._door.visit(request)
        approval = await self._own(request, visit)
        return self._door.page("nothing.html", visit, 404) if approval is None else await self._page(visit, approval)

    async def answer(self, request: Request) -> Response:
        """Approve, Deny, or This was not me."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        approval, address = await self._own(request, visit), address_of(request)
        if approval is None:
            return self._door.page("nothing.html", visit, 404)
        match fields.get("answer"):
            case "approve":
                said = await self._presence.approve(approval, fields.get("code", ""), address)
                if said.result != "right":
                    return await self._page(visit, approval, said)
            case "deny":
                await self._presence.deny(approval, "user", address)
            case "disown":
                await self._presence.disown(approval, address)
                # The question was denied or is long over: that the client is stopped is said beside it.
                visit.said = _FROZEN.format(approval.client_name)
        return RedirectResponse(f"/approve/{approval.id}", 303)

    async def _own(self, request: Request, visit: Visit) -> Approval | None:
        approval = await self._approvals.approval(request.path_params["approval"])
        return approval if approval is not None and approval.user == visit.user else None

    async def _page(self, visit: Visit, approval: Approval, said: Said | None = None) -> Response:
        told, visit.said = visit.said, ""
        kinds = {factor.kind for factor in await self._factors.factors(visit.user)}
        return self._door.page(
            "approve.html",
            visit,
            approval=approval,
            shown=self._shown(approval),
            state=approval.state_at(self._door.clock.now()),
            can=bool(kinds.intersection(approval.factors)),
            said=told if said is None else _worded(said),
        )


def _worded(said: Said) -> str:
    if said.result == "wrong" and said.left:
        return f"That is not the code. {said.left} more {'try' if said.left == 1 else 'tries'}."
    return _SAID["locked" if said.result == "wrong" else said.result]
