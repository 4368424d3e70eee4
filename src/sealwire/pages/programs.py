"""
The pages of a user's own programs: invited, made, held closer, given more, rotated, ended.

Owns: that nobody sees or touches a program of somebody else, that a form makes one thing and its secret is shown on
that one answer, and that nothing is made or given more without a code. Refuses to know: what counts as more, how a code
is judged.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sealwire.clients import DEFAULT_DAYS, ENDED, MOST_DAYS, Clients, Terms, Who, judge_days, terms_of
from sealwire.pages.door import Door, address_of
from sealwire.pages.seen import Program, state
from sealwire.pages.visits import Visit
from sealwire.ports import Directory, Entropy
from sealwire.ports.apikeys import Client
from sealwire.ports.people import Factors
from sealwire.presence import Presence, Said
from sealwire.protocol.jwk import b64url
from sealwire.records import ApiKeyRecord

#: How long an invitation that a user made is good.
INVITED_HOURS = 24
_SCOPE = "scope:"
_TWICE = "That form was sent before: what it made is here, and its secret is not shown again."
_FROZEN = "this program is frozen, and only the operator can let it go on"


class Typed(NamedTuple):
    """A form that comes back: which, what is said of it, and what was typed. A code that was typed is never shown."""

    form: str = ""
    said: str = ""
    fields: Mapping[str, str] = MappingProxyType({})


_NOTHING = Typed()


class Programs:
    """Lists, makes, changes and ends."""

    def __init__(
        self,
        door: Door,
        clients: Clients,
        directory: Directory,
        factors: Factors,
        presence: Presence,
        entropy: Entropy,
        api: str,
    ) -> None:
        self._door = door
        self._clients = clients
        self._directory = directory
        self._factors = factors
        self._presence = presence
        self._entropy = entropy
        self._api = api
        # What a program may do is read, judged and written by one form at a time: one that takes something away must
        # not give back what another just took.
        self._binding = asyncio.Lock()

    async def listed(self, user: str) -> list[Program]:
        """The user's programs: those that can call first, the oldest of them first."""
        now = self._door.clock.now()
        every = [await self._whole(client) for client in await self._clients.clients(user)]
        return sorted(every, key=lambda one: not one.live(now))

    async def show_new(self, request: Request) -> Response:
        """The form of a new program."""
        return await self._new(self._door.visit(request), _NOTHING)

    async def make(self, request: Request) -> Response:
        """Makes an invitation or an API key, and shows it here and nowhere else."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        if not visit.take_form(fields.get("once", "")):
            return _back(visit, "/", _TWICE)
        name, address, signs = fields.get("name", ""), address_of(request), fields.get("kind") == "signs"
        try:
            if not signs and fields.get("kind") != "apikey":
                raise ValueError("say what it is: a program that signs, or one with an API key")
            terms, days = self._terms(fields, frozenset()), DEFAULT_DAYS if signs else _days(fields)
            await self._clients.room_for(name, visit.user, days)
            await self._allow(visit, fields, address)
            if signs:
                secret = await self._clients.invite(name, visit.user, terms, INVITED_HOURS, Who("user", address))
            else:
                secret = await self._clients.make_client(name, visit.user, terms, days, Who("user", address))
        except ValueError as why:
            return await self._new(visit, Typed("new", _sentence(why), fields))
        return self._shown(visit, "invitation" if signs else "apikey", secret, name, "/")

    async def show(self, request: Request) -> Response:
        """Everything about one program."""
        visit = self._door.visit(request)
        program = await self._program(request.path_params["client"], visit.user)
        return self._nothing(visit) if program is None else await self._page(visit, program)

    async def bind(self, request: Request) -> Response:
        """Other scopes, addresses and limits: less at once, more behind a code."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        async with self._binding:
            program = await self._program(request.path_params["client"], visit.user)
            if program is None:
                return self._nothing(visit)
            client, address = program.client, address_of(request)
            try:
                terms, before = self._terms(fields, client.scopes), terms_of(client.scopes, client.bounds)
                if terms.widens(before):
                    _judge_frozen(program)
                    await self._allow(visit, fields, address)
                elif not before.widens(terms):
                    # No record of it either: whoever sends this for ever fills no ledger.
                    return _back(visit, f"/programs/{client.id}", "Nothing was changed.")
                await self._clients.bind(client, terms, Who("user", address))
            except ValueError as why:
                return await self._page(visit, program, Typed("bind", _sentence(why), fields))
        return _back(visit, f"/programs/{client.id}", "Changed. It holds from the next call on.")

    async def make_apikey(self, request: Request) -> Response:
        """One more API key of a program, shown here and nowhere else."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        program = await self._program(request.path_params["client"], visit.user)
        if program is None:
            return self._nothing(visit)
        client, name, address = program.client, fields.get("name", ""), address_of(request)
        here = f"/programs/{client.id}"
        if not visit.take_form(fields.get("once", "")):
            return _back(visit, here, _TWICE)
        try:
            scopes, days = _scopes(fields), _days(fields)
            if beyond := scopes - client.scopes:
                raise ValueError(f"the program itself has no scope {min(beyond)[:60]}")
            _judge_frozen(program)
            await self._clients.room_for(name, visit.user, days, client)
            await self._allow(visit, fields, address)
            secret = await self._clients.make_apikey(client, name, Terms(scopes), days, Who("user", address))
        except ValueError as why:
            return await self._page(visit, program, Typed("new", _sentence(why), fields))
        return self._shown(visit, "apikey", secret, name, here)

    async def rotate(self, request: Request) -> Response:
        """A fresh secret for an API key, shown here and nowhere else."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        program, found = await self._apikey(request, visit)
        if program is None or found is None:
            return self._nothing(visit)
        here, address = f"/programs/{program.client.id}", address_of(request)
        if not visit.take_form(fields.get("once", "")):
            return _back(visit, here, _TWICE)
        try:
            days = _days(fields)
            if found.state_at(self._door.clock.now()) != "active":
                raise ValueError(ENDED)
            await self._allow(visit, fields, address)
            secret = await self._clients.rotate(found, days, Who("user", address))
        except ValueError as why:
            return await self._page(visit, program, Typed(f"rotate-{found.id}", _sentence(why), fields))
        return self._shown(visit, "rotated", secret, found.name, here)

    async def end_apikey(self, request: Request) -> Response:
        """Ends an API key."""
        visit = self._door.visit(request)
        await self._door.form(request, visit)
        program, found = await self._apikey(request, visit)
        if program is None or found is None:
            return self._nothing(visit)
        if found.state != "revoked":
            await self._clients.revoke(found, Who("user", address_of(request)))
        return _back(visit, f"/programs/{program.client.id}", f"The API key {found.name} has ended.")

    async def end_key(self, request: Request) -> Response:
        """Ends a key that signs."""
        visit = self._door.visit(request)
        await self._door.form(request, visit)
        program = await self._program(request.path_params["client"], visit.user)
        keys = {} if program is None else {key.keyid: key for key in program.keys}
        found = keys.get(request.path_params["key"])
        if program is None or found is None:
            return self._nothing(visit)
        if found.state != "revoked":
            await self._clients.end_key(found.keyid, program.client, Who("user", address_of(request)))
        return _back(visit, f"/programs/{program.client.id}", f"The key {found.name} has ended.")

    async def end(self, request: Request) -> Response:
        """Ends everything that a program calls with, once its name was typed."""
        visit = self._door.visit(request)
        fields = await self._door.form(request, visit)
        program = await self._program(request.path_params["client"], visit.user)
        if program is None:
            return self._nothing(visit)
        if fields.get("name", "").strip() != program.client.name:
            return await self._page(visit, program, Typed("end", "That is not its name. Nothing was ended.", fields))
        await self._clients.end(program.client, Who("user", address_of(request)))
        return _back(visit, "/", f"{program.client.name} has ended: nothing of it calls any more.")

    async def end_invitation(self, request: Request) -> Response:
        """Ends an invitation that waits. Of one that was used, even just now, it is never said that it ended."""
        visit = self._door.visit(request)
        await self._door.form(request, visit)
        invitation = request.path_params["invitation"]
        await self._clients.end_invitation(invitation, visit.user, Who("user", address_of(request)))
        found = await self._directory.invitation(invitation)  # as it is after that
        if found is None or found.user != visit.user:
            return self._nothing(visit)
        told = "was used before: end the key that came of it" if found.used_by else "has ended"
        return _back(visit, "/", f"The invitation of {found.name} {told}.")

    async def _program(self, client_id: str, user: str) -> Program | None:
        """The program of this id, if it is this user's."""
        client = next((one for one in await self._clients.clients(user) if one.id == client_id), None)
        return None if client is None else await self._whole(client)

    async def _whole(self, client: Client) -> Program:
        keys, apikeys = await self._directory.keys(client.id), await self._clients.apikeys(client.id)
        return Program(client, keys, apikeys, await self._clients.uses(client.id))

    async def _apikey(self, request: Request, visit: Visit) -> tuple[Program | None, ApiKeyRecord | None]:
        program = await self._program(request.path_params["client"], visit.user)
        found = {} if program is None else {one.id: one for one in program.apikeys}
        return program, found.get(request.path_params["apikey"])

    def _terms(self, fields: Mapping[str, str], has: frozenset[str]) -> Terms:
        """What was asked for, within what users may give and what is there. Raises: ValueError."""
        wanted = _scopes(fields)
        if beyond := wanted - has - self._clients.offered:
            raise ValueError(f"the scope {min(beyond)[:60]} is not yours to give")
        # What it has can stay, though no rule names it any more.
        new = self._clients.read_terms(wanted - has, _lines(fields, "addresses"), _lines(fields, "limits"))
        return new._replace(scopes=wanted)

    async def _allow(self, visit: Visit, fields: Mapping[str, str], address: str) -> None:
        """Behind a code of the user's own. Raises: ValueError, saying why not."""
        code = fields.get("behind", "")
        if not code.strip() and await self._factors.factors(visit.user):
            raise ValueError("this lets more through than before: a code of yours is needed")
        said = await self._presence.allow(visit.user, code, address)
        if said.result != "right":
            raise ValueError(_worded(said))

    async def _page(self, visit: Visit, program: Program, typed: Typed = _NOTHING) -> Response:
        told, visit.said = visit.said, ""
        offered = sorted(self._clients.offered | program.client.scopes)
        return await self._form(
            "program.html", visit, typed, program=program, offered=offered, told_now=told, state=state
        )

    async def _new(self, visit: Visit, typed: Typed) -> Response:
        return await self._form("new_program.html", visit, typed, offered=sorted(self._clients.offered))

    async def _form(self, template: str, visit: Visit, typed: Typed, **context: object) -> Response:
        return self._door.page(
            template,
            visit,
            typed=typed,
            once=visit.offer_form(b64url(self._entropy(16))),
            has=bool(await self._factors.factors(visit.user)),
            cooling_until=await self._factors.cooling_until(visit.user),
            default_days=DEFAULT_DAYS,
            most_days=MOST_DAYS,
            **context,
        )

    def _shown(self, visit: Visit, what: str, secret: str, name: str, back: str) -> Response:
        return self._door.page(
            "shown_once.html", visit, what=what, secret=secret, name=name, back=back, api=self._api, hours=INVITED_HOURS
        )

    def _nothing(self, visit: Visit) -> Response:
        return self._door.page("nothing.html", visit, 404)


def _back(visit: Visit, path: str, said: str) -> Response:
    visit.said = said
    return RedirectResponse(path, 303)


def _scopes(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name.removeprefix(_SCOPE) for name in fields if name.startswith(_SCOPE))


def _lines(fields: Mapping[str, str], name: str) -> list[str]:
    """One a line, or between commas."""
    return [line.strip() for line in re.split(r"[\r\n,]", fields.get(name, "")) if line.strip()]


def _days(fields: Mapping[str, str]) -> int:
    """Raises: ValueError, before a code is used up for it."""
    found = re.fullmatch(r"\s*([0-9]{1,4})\s*", fields.get("days", ""))
    days = 0 if found is None else int(found[1])
    judge_days(days)
    return days


def _judge_frozen(program: Program) -> None:
    if program.frozen:
        raise ValueError(_FROZEN)


def _sentence(why: ValueError) -> str:
    text = str(why)
    return text[:1].upper() + text[1:] + ("" if text.endswith(("?", ".")) else ".")


def _worded(said: Said) -> str:
    match said.result:
        case "wrong" if said.left:
            return f"The code that allows this is wrong. {said.left} more {'try' if said.left == 1 else 'tries'}"
        case "no-factor":
            return "add a phone first: this needs a code of yours"
        case "cooling":
            return "your factors were reset a short while ago; until that time is over, nothing is made or given more"
    return "too many wrong codes; no more are taken for an hour"
