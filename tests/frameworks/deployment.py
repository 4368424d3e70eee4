"""One deployment of the small app of a framework, somewhere around which other things may stand, and calls to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import httptools
import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

import sealwire
from sealwire.demo.state import DemoState
from sealwire.fronts.asgi import TARGET_EXTENSION, App, Message, Receive, Scope, Send
from sealwire.ports import Invitation
from sealwire.protocol.jwk import Signer, load_verifier
from sealwire.protocol.signature import signer_of
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile
from tests.frameworks import app_django, app_fastapi, app_starlette
from tests.stories.world import Wire

BODY = b'{"amount": "0.01"}'
MAKERS: dict[str, Callable[[], Any]] = {
    "fastapi": app_fastapi.make,
    "starlette": app_starlette.make,
    "django": app_django.make,
}
_HEAD = """\
environment = "development"
public_origins = ["https://api.example"]
keys = {signing = "file:keys/signing.pem", wrapping = "file:keys/wrapping.key"}
store = {durable = "sqlite:sealwire.db"}
tls = {certificate = "tls/cert.pem", key = "file:tls/key.pem"}
"""
_RULES = (
    ("/v1/time", '["GET"]', 'profile = "open"'),
    ("/v1/balances", '["GET"]', ""),
    ("/v1/orders", '["POST"]', 'scopes = ["trade"]'),
    ("/v1/orders/{id}", '["GET", "DELETE"]', ""),
    ("/v1/events", '["GET"]', "stream = true"),
    ("/v1/breaks", '["GET"]', "stream = true"),
    ("/v1/**", '["GET", "POST"]', ""),
)


class Place(NamedTuple):
    """Where the guarded app stands: what is around it, the path it is found under, and the server's root_path."""

    around: Callable[[App], App]
    prefix: str = ""
    root: str = ""


def _in_fastapi(app: App) -> App:
    outer = FastAPI(openapi_url=None)
    outer.mount("/api", app)
    return outer


PLACES = {
    "whole": Place(lambda app: app),
    "Starlette Mount": Place(lambda app: Starlette(routes=[Mount("/api", app=app)]), "/api"),
    "FastAPI mount": Place(_in_fastapi, "/api"),
    "Mount in a Mount": Place(
        lambda app: Starlette(routes=[Mount("/a", app=Starlette(routes=[Mount("/b", app=app)]))]), "/a/b"
    ),
    "root_path": Place(lambda app: app, root="/srv"),
    "Mount under root_path": Place(lambda app: Starlette(routes=[Mount("/api", app=app)]), "/api", "/srv"),
}


class Probe:
    """
    Stands between guard and app: what was entered, and what was received; with `asks_on` also what is received when the
    app is done and the client gone.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self.entered: list[Scope] = []
        self.received: list[Message] = []
        self.asks_on = False
        self.gone = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.entered.append(scope)

        async def noted() -> Message:
            message = await receive()
            self.received.append(message)
            return message

        await self._app(scope, noted, send)
        if self.asks_on:
            self.gone.set()
            await noted()


class Deployment:
    """A guarded app as it is served, and one enrolled client."""

    def __init__(self, folder: Path, framework: str, place: Place = PLACES["whole"], *, front_end: str = "") -> None:
        self.state = DemoState(folder, 8443)
        self.state.make()
        named = f'front_end = "{front_end}"\n' if front_end else ""
        rules = (
            f'[[rules]]\npath = "{place.prefix}{path}"\nmethods = {methods}\n{more}\n' for path, methods, more in _RULES
        )
        self.state.config.write_text(named + _HEAD + "".join(rules))
        self.place = place
        self.exact = not front_end
        self.probe = Probe(MAKERS[framework]())
        self.guarded = sealwire.Sealwire(self.probe, config=self.state.config)
        self.app = place.around(self.guarded)
        self.signer = signer_of(Ed25519PrivateKey.generate())
        self.poor = signer_of(Ed25519PrivateKey.generate())
        self.sent: list[Message] = []

    async def enrol(self) -> None:
        """Enrols the two keys without the ceremony: alice's, and one without a scope."""
        file = SqliteFile(self.state.folder / "sealwire.db")
        directory, now = SqliteDirectory(file), time.time()
        for name, signer, scopes in (("alice", self.signer, {"trade"}), ("bob", self.poor, set())):
            await directory.add_invitation(Invitation(name, name, "", name, frozenset(scopes), (), b"", now + 100))
            await directory.enrol(name, load_verifier(signer.jwk), f"cli_{name}", name, now)
        file.close()

    def wire(self, method: str = "GET", path: str = "/v1/balances", body: bytes = b"") -> Wire:
        """A request that nobody signed yet."""
        return Wire(method, (self.place.prefix + path).encode(), body)

    def signed(self, method: str = "GET", path: str = "/v1/balances", body: bytes = b"", **how: Any) -> Wire:
        """A request that alice signed now, or as said."""
        signer: Signer = how.pop("signer", self.signer)
        return self.wire(method, path, body).sign(signer, how.pop("created", int(time.time())), **how)

    def order(self, **how: Any) -> Wire:
        """An honest order, signed now, or as said."""
        return self.signed("POST", "/v1/orders", BODY, **how)

    async def messages(self, request: Wire, *, leaves: bool = False) -> list[Message]:
        """
        Delivers a request as a server does, and gives back every message that the server got, which `sent` holds too.
        The client `leaves` once its body is read, or when its reply is there.
        """
        parsed = httptools.parse_url(request.target)
        chunks = [request.body[:7], request.body[7:]]
        self.sent = []
        self.probe.gone = asyncio.Event()

        async def receive() -> Message:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            if not leaves:
                await self.probe.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        root = self.place.root
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "https",
            "method": request.method,
            "path": root + unquote_to_bytes(parsed.path).decode("utf-8", "replace"),
            "raw_path": root.encode() + parsed.path,
            "query_string": parsed.query or b"",
            "root_path": root,
            "headers": request.headers,
            "client": ("192.0.2.1", 4000),
            "server": ("127.0.0.1", 8443),
            "extensions": {TARGET_EXTENSION: {"target": request.target}} if self.exact else {},
        }
        await self.app(scope, receive, send)
        return self.sent

    async def send(self, request: Wire) -> httpx2.Response:
        """Delivers a request as a server does, and gives back what came out."""
        start, *bodies = await self.messages(request)
        assert [message["type"] for message in bodies] == ["http.response.body"] * len(bodies)
        assert not bodies[-1].get("more_body", False)
        content = b"".join(message.get("body", b"") for message in bodies)
        return httpx2.Response(start["status"], headers=start["headers"], content=content)
