"""
The page of one user: what waits, what was approved, the factors that approve, the programs that call, and the
invitations of more.

Owns: that a factor comes and goes behind another one, and that its secret is shown once, as a picture made here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sealwire.call import Approval
from sealwire.pages.door import Door, address_of
from sealwire.pages.seen import Program
from sealwire.pages.visits import Visit
from sealwire.people import provisioning_uri
from sealwire.ports import Entropy, Invitation
from sealwire.ports.people import Approvals, Factor, Factors
from sealwire.presence import NewSeed, Presence, Said
from sealwire.protocol import otp
from sealwire.protocol.approval import Shown

_RECENT = 20


class Account:
    """Lists, adds and removes."""

    def __init__(
        self,
        door: Door,
        approvals: Approvals,
        factors: Factors,
        presence: Presence,
        shown: Callable[[Approval], Shown],
        entropy: Entropy,
        programs: Callable[[str], Awaitable[list[Program]]],
        invitations: Callable[[str], Awaitable[list[Invitation]]],
    ) -> None:
        self._door = door
        self._approvals = approvals
        self._factors = factors
        self._presence = presence
        self._shown = shown
        self._entropy = entropy
        self._programs = programs
        self._invitations = invitations

    async def show(self, request: Request) -> Response:
        """Everything of this user."""
        return await self._page(self._door.visit(request))

    async def show_new(self, request: Request) -> Response:
        """A fresh seed as a QR code, not kept until a code of it comes back."""
        visit = self._door.visit(request)
        visit.pending = NewSeed("totp", "", self._entropy(otp.SECRET_BYTES))
        return await self._new(visit, visit.pending)

    async def add(self, request: Request) -> Response:
        """Keeps the seed that a code has shown to be in the user's hands, behind another factor where there is one."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        pending, name = visit.pending, fields.get("name", "")
        if pending is None:
            return RedirectResponse("/factors/new", 303)
        visit.pending = None  # a form that was sent twice adds it once
        said = await self._keep(visit, pending._replace(name=name), fields, address_of(request))
        if said:
            visit.pending = pending
            return await self._new(visit, pending, said, name)
        return RedirectResponse("/", 303)

    async def remove(self, request: Request) -> Response:
        """Ends a factor, behind a code of any factor."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        held = {factor.id: factor for factor in await self._factors.factors(visit.user)}
        factor = held.get(request.path_params["factor"])
        if factor is None:
            return self._door.page("nothing.html", visit, 404)
        behind = await self._behind(visit, fields)
        if isinstance(behind, Said):
            return await self._page(visit, _worded(behind))
        reset = behind is not None and behind.kind == "recovery"
        await self._presence.remove(visit.user, factor, "user", address_of(request), reset=reset)
        return RedirectResponse("/", 303)

    async def recovery(self, request: Request) -> Response:
        """Fresh recovery codes, shown on this answer and never again."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        try:
            await self._presence.room_for(visit.user, "recovery", "Recovery codes")
        except ValueError as why:
            return await self._page(visit, f"{why}.".capitalize())
        behind = await self._behind(visit, fields)
        if behind is None or isinstance(behind, Said):
            return await self._page(visit, _worded(behind or Said("no-factor")))
        codes = await self._presence.add_recovery(
            visit.user, "user", address_of(request), reset=behind.kind == "recovery"
        )
        return self._door.page("recovery.html", visit, codes=codes)

    async def _keep(self, visit: Visit, fresh: NewSeed, fields: dict[str, str], address: str) -> str:
        """Adds it, or says why not; the code that allows it is used up last."""
        step = int(self._door.clock.now() // otp.STEP_SECONDS)
        # A phone's clock may be a little off, and a wrong code here harms nobody.
        found = otp.Seed(fresh.secret).find(fields.get("code", ""), step - 1, step + 1)
        if found is None:
            return "That is not the code that the new entry shows now."
        try:
            await self._presence.room_for(visit.user, fresh.kind, fresh.name)
            behind = await self._behind(visit, fields)
            if isinstance(behind, Said):
                return _worded(behind)
            reset = behind is not None and behind.kind == "recovery"
            await self._presence.add_seed(visit.user, fresh._replace(position=found), "user", address, reset=reset)
        except ValueError as why:
            return f"{why}.".capitalize()
        return ""

    async def _behind(self, visit: Visit, fields: dict[str, str]) -> Factor | Said | None:
        """The factor whose code came with the form; None where the user has none yet."""
        if not await self._factors.factors(visit.user):
            return None
        return await self._presence.show(visit.user, fields.get("behind", ""))

    async def _page(self, visit: Visit, said: str = "") -> Response:
        now = self._door.clock.now()
        told, visit.said = visit.said, ""
        every = await self._approvals.approvals(visit.user, _RECENT)
        return self._door.page(
            "account.html",
            visit,
            factors=await self._factors.factors(visit.user),
            cooling_until=await self._factors.cooling_until(visit.user),
            approvals=[(one, self._shown(one), one.state_at(now)) for one in every],
            programs=await self._programs(visit.user),
            invitations=await self._invitations(visit.user),
            said=said,
            told=told,
        )

    async def _new(self, visit: Visit, pending: NewSeed, said: str = "", called: str = "Phone") -> Response:
        secret = pending.base32()
        place = self._door.origin.partition("://")[2]
        uri = provisioning_uri(pending, visit.user, place)
        drawn = segno.make(uri, error="m").svg_inline(border=4, omitsize=True, title="QR code of the new entry")
        picture = Markup(drawn)  # noqa: S704  # of our own making
        return self._door.page(
            "new_factor.html",
            visit,
            picture=picture,
            secret=secret,
            called=called,
            has=bool(await self._factors.factors(visit.user)),
            said=said,
        )


def _worded(said: Said) -> str:
    match said.result:
        case "wrong" if said.left:
            return f"The code that allows this is wrong. {said.left} more {'try' if said.left == 1 else 'tries'}."
        case "no-factor":
            return "Add a factor first."
    return "Too many wrong codes. No more are taken for an hour."
