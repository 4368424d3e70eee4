"""
The pages as an ASGI app: its routes, what stands before them, and what a visitor sees when something is wrong.

Owns: that the pages answer at their own origin alone, and that a store which does not answer approves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sealwire.build import Ports
from sealwire.clients import Clients
from sealwire.desk import Desk
from sealwire.errors import Fault
from sealwire.pages.account import Account
from sealwire.pages.approving import Approving
from sealwire.pages.door import HEADERS, HSTS, Door, NotOurForm, SignIn, Stranger
from sealwire.pages.programs import Programs
from sealwire.pages.visits import Visits
from sealwire.presence import Presence, Terms
from sealwire.protocol.forwarded import Proxies, client_address
from sealwire.protocol.message import normal_authority
from sealwire.trace import place

_LOG = logging.getLogger("sealwire.pages")
_Message = MutableMapping[str, Any]


def build_pages(
    origin: str,
    ports: Ports,
    terms: Terms,
    sign_in: SignIn,
    clients: Clients,
    *,
    api: str,
    development: bool,
    proxies: Proxies | None = None,
) -> Guarded:
    """
    The pages over these ports, for the users that `sign_in` knows, who come through the `proxies`. Their programs call
    `api`.
    """
    door = Door(origin, Visits(ports.entropy), sign_in, ports.buckets, ports.clock, development=development)
    presence = Presence(ports.approvals, ports.factors, ports.keyring, ports.clock, ports.entropy, ports.notices, terms)
    desk = Desk(ports.approvals, ports.keyring, ports.entropy, ports.notices, origin)
    approving = Approving(door, ports.approvals, ports.factors, presence, desk.shown)
    programs = Programs(door, clients, ports.directory, ports.factors, presence, ports.entropy, api)
    account = Account(
        door, ports.approvals, ports.factors, presence, desk.shown, ports.entropy, programs.listed, clients.invitations
    )

    async def stranger(request: Request, _: Exception) -> Response:
        # A form that came too late leads to the page it was on, where that has an address.
        there = request.method in ("GET", "HEAD") or "approval" in request.path_params
        return RedirectResponse(f"/sign-in?back={quote(request.url.path) if there else '/'}", 303)

    async def not_ours(_: Request, __: Exception) -> Response:
        return door.page("not_ours.html", None, 403)

    async def nothing(_: Request, __: Exception) -> Response:
        return door.page("nothing.html", None, 404)

    async def fault(_: Request, why: Exception) -> Response:
        if isinstance(why, Fault):
            _LOG.error("a page could not be made: %s", why.code)
        return door.page("fault.html", None, 503)

    app = Starlette(
        routes=[
            Route("/", account.show),
            Route("/style.css", door.style),
            Route("/icon.svg", door.icon),
            Route("/sign-in", door.show_sign_in),
            Route("/sign-in", door.take_sign_in, methods=["POST"]),
            Route("/sign-out", door.sign_out, methods=["POST"]),
            Route("/approve/{approval}", approving.show),
            Route("/approve/{approval}", approving.answer, methods=["POST"]),
            Route("/factors/new", account.show_new),
            Route("/factors/new", account.add, methods=["POST"]),
            Route("/factors/{factor}/remove", account.remove, methods=["POST"]),
            Route("/recovery", account.recovery, methods=["POST"]),
            Route("/invitations/{invitation}/end", programs.end_invitation, methods=["POST"]),
            Route("/programs/new", programs.show_new),
            Route("/programs/new", programs.make, methods=["POST"]),
            Route("/programs/{client}", programs.show),
            Route("/programs/{client}", programs.bind, methods=["POST"]),
            Route("/programs/{client}/end", programs.end, methods=["POST"]),
            Route("/programs/{client}/keys/{key}/end", programs.end_key, methods=["POST"]),
            Route("/programs/{client}/apikeys", programs.make_apikey, methods=["POST"]),
            Route("/programs/{client}/apikeys/{apikey}/rotate", programs.rotate, methods=["POST"]),
            Route("/programs/{client}/apikeys/{apikey}/end", programs.end_apikey, methods=["POST"]),
        ],
        exception_handlers={Stranger: stranger, NotOurForm: not_ours, Fault: fault, Exception: fault, 404: nothing},
    )
    return Guarded(app, origin, proxies)


class Guarded:
    """
    The pages behind what holds for every answer: the one authority, the fields that keep a browser honest, and whose
    address a visitor comes from.
    """

    def __init__(self, app: Starlette, origin: str, proxies: Proxies | None = None) -> None:
        scheme, _, host = origin.partition("://")
        self._app = app
        self._proxies = proxies
        self._authority = normal_authority(host)
        fields = HEADERS | HSTS if scheme == "https" else HEADERS
        self._fields = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        async def sending(message: _Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._fields]
            await send(message)

        hosts = [value for name, value in scope.get("headers", ()) if name == b"host"]
        named = [normal_authority(host.decode("latin-1")) for host in hosts]
        if scope["type"] == "http" and named != [self._authority]:
            await Response("This is another host's page.\n", 421, media_type="text/plain")(scope, receive, sending)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                await self._app(self._seen(scope), receive, sending)
            except Exception as failure:  # noqa: BLE001  # its page went out; its message may hold what somebody typed
                _LOG.error("a page could not be made: %s", place(failure))

    def _seen(self, scope: _Message) -> _Message:
        """The scope with the visitor in the peer's place, who need not be the peer."""
        client = scope.get("client")
        if scope["type"] != "http" or client is None:
            return scope
        return {**scope, "client": (client_address(self._proxies, client[0], scope["headers"]), client[1])}
