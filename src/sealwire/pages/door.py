"""
What every page has in common: who is signed in, that a form was sent from our own page, and how a page goes out.

Owns: the cookie, CSRF (a token of the visit, and where the browser says the form came from), sign-in with its limits,
and the fields of every answer: no script, no frame, nothing kept by a cache, no address told to others.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import unicodedata
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from sealwire.errors import Fault
from sealwire.pages.text import groups, pieces
from sealwire.pages.visits import WHOLE_SECONDS, Places, Visit, Visits, same
from sealwire.ports import BucketStore, Charge, Clock
from sealwire.protocol.ratelimit import Limit, network

#: `(name, password)` to the user's id, or None; it may be `async`.
SignIn = Callable[[str, str], str | Awaitable[str | None] | None]

_FORM_BYTES = 8 * 1024
_FORM_FIELDS = 100  # a box for each scope
_CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
#: Where there is TLS (RFC 6797): a year, and for this host alone.
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
# From one network, and at one name from there.
_FROM_HERE = (Limit(20, 60, "address"), Limit(5, 60, "address"))
# At one name from all networks from which it never got in: whoever spends this keeps its owner out of new places only.
_FROM_ANYWHERE = Limit(100, 3600, "user")
_SIGNING_IN_AT_ONCE = 8


class Stranger(Exception):
    """Nobody is signed in; they are sent to sign in first."""


class NotOurForm(Exception):
    """The form was not sent from a page of ours, or is none."""


class Door:
    """The way in and out of every page."""

    def __init__(
        self, origin: str, visits: Visits, sign_in: SignIn, buckets: BucketStore, clock: Clock, *, development: bool
    ) -> None:
        self.origin = origin
        self.clock = clock
        self._visits = visits
        self._places = Places()
        self._sign_in = sign_in
        self._buckets = buckets
        self._secure = origin.startswith("https:")
        self._cookie = "__Host-sealwire" if self._secure else "sealwire"
        self._signing_in = asyncio.Semaphore(_SIGNING_IN_AT_ONCE)
        # Threads of their own: strangers could hold all those that recovery codes are judged on.
        self._signers = ThreadPoolExecutor(_SIGNING_IN_AT_ONCE, "sealwire-sign-in")
        loader = jinja2.PackageLoader("sealwire.pages")
        self._templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
        self._templates.globals.update(pieces=pieces, groups=groups, development=development)
        self._templates.filters.update(iso=_iso, hour=_hour, day=_day)
        static = files("sealwire.pages").joinpath("static")
        self._style, self._icon = static.joinpath("style.css").read_bytes(), static.joinpath("icon.svg").read_bytes()

    def visit(self, request: Request) -> Visit:
        """Who is signed in. Raises: Stranger."""
        visit = self._visits.find(request.cookies.get(self._cookie, ""), self.clock.now())
        if visit is None:
            raise Stranger
        return visit

    async def form(self, request: Request, visit: Visit | None) -> dict[str, str]:
        """The fields of a form of ours, each once. Raises: NotOurForm."""
        came_from, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if came_from != self.origin or site not in (None, "same-origin"):
            raise NotOurForm
        if request.headers.get("content-type") != "application/x-www-form-urlencoded":
            raise NotOurForm
        try:
            sent = (await _read(request)).decode("ascii")
            pairs = parse_qsl(sent, keep_blank_values=True, strict_parsing=bool(sent), max_num_fields=_FORM_FIELDS)
        except (ValueError, ClientDisconnect):
            raise NotOurForm from None
        fields = dict(pairs)
        if len(fields) != len(pairs) or (visit is not None and not same(fields.get("csrf", ""), visit.csrf)):
            raise NotOurForm
        return fields

    def page(self, template: str, visit: Visit | None = None, status: int = 200, /, **context: Any) -> Response:
        """A page from its template."""
        text = self._templates.get_template(template).render(visit=visit, now=self.clock.now(), **context)
        return Response(text, status, media_type="text/html")

    async def style(self, _: Request) -> Response:
        """The one stylesheet."""
        return Response(self._style, media_type="text/css")

    async def icon(self, _: Request) -> Response:
        """The picture of the browser's tab."""
        return Response(self._icon, media_type="image/svg+xml")

    async def show_sign_in(self, request: Request) -> Response:
        """The form to sign in with."""
        return self.page("sign_in.html", back=_inside(request.query_params.get("back", "/")), said="", called="")

    async def take_sign_in(self, request: Request) -> Response:
        """Signs in; the browser gets a token of its own, whatever it had before."""
        fields = await self.form(request, None)
        name, password, back = fields.get("name", ""), fields.get("password", ""), _inside(fields.get("back", "/"))
        address = address_of(request)
        if not address:
            # Uncounted, anybody could try for ever; counted as one, all would keep each other out.
            raise Fault("internal", "address")
        away = network(address)
        counted = _counted(name)
        place = f"{away} {counted}"
        charges = list(map(Charge, _FROM_HERE, (f"sign-in {away}", f"sign-in {place}")))
        if not self._places.knows(place):
            charges.append(Charge(_FROM_ANYWHERE, f"sign-in {counted}"))
        if not all(one.fits for one in await self._buckets.charge(tuple(charges))):
            said = "Too many tries. Wait a little, and try again."
            return self.page("sign_in.html", None, 429, back=back, said=said, called=name)
        user = await self._ask(name, password)
        if user is None:
            said = "Name and password do not fit together."
            return self.page("sign_in.html", None, 200, back=back, said=said, called=name)
        self._places.remember(place)
        self._visits.end(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse(back, 303)
        token = self._visits.begin(user, self.clock.now())
        answer.set_cookie(
            self._cookie, token, max_age=WHOLE_SECONDS, path="/", secure=self._secure, httponly=True, samesite="lax"
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Ends the visit."""
        await self.form(request, self.visit(request))
        self._visits.end(request.cookies.get(self._cookie, ""))
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="lax")
        return answer

    async def _ask(self, name: str, password: str) -> str | None:
        async with self._signing_in:
            # An app hashes the password, which takes its time, and on this loop everybody would wait for it.
            loop = asyncio.get_running_loop()
            found = await loop.run_in_executor(self._signers, self._sign_in, name, password)
            user = await found if inspect.isawaitable(found) else found
        return user or None


def address_of(request: Request) -> str:
    """Where a visitor comes from; empty where that is not known."""
    return request.client.host if request.client else ""


async def _read(request: Request) -> bytes:
    """Raises: NotOurForm past the bound, before it is read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise NotOurForm
    return body


def _counted(name: str) -> str:
    """A name as its tries are counted: in one spelling, since the app may take several for one, and of one length."""
    spelled = unicodedata.normalize("NFKC", name).casefold().strip()
    return hashlib.sha256(spelled.encode("utf-8")).hexdigest()


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _hour(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b, %H:%M:%S UTC")


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %Y")


def _inside(path: str) -> str:
    """A path on this origin and nowhere else."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isascii() and path.isprintable()
    return path if inside and len(path) < 200 else "/"
