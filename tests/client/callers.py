"""One caller for each transport of the client: httpx2 and httpx, threads and tasks, all used alike, over the double."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any, NamedTuple

import httpx
import httpx2
import pytest

import sealwire.client
import sealwire.client.httpx
from sealwire.client import Credential
from sealwire.client.sealing import DEFAULT_KEMS
from sealwire.protocol import envelope
from tests.client.server_double import Clock, Server, Way


class Kind(NamedTuple):
    """A library, our module for it, and whether it is used with tasks."""

    library: ModuleType
    ours: ModuleType
    tasks: bool

    def __str__(self) -> str:
        return f"{self.library.__name__} {'tasks' if self.tasks else 'threads'}"


KINDS = tuple(
    Kind(library, ours, tasks)
    for library, ours in ((httpx2, sealwire.client), (httpx, sealwire.client.httpx))
    for tasks in (False, True)
)


def nothing(_: Any) -> None:
    """What is waited for by default."""


async def nothing_async(_: Any) -> None:
    """The same, for tasks."""


class Line:
    """A Way for either library. `wait` and `wait_async` are called before a request arrives."""

    def __init__(self, library: ModuleType, way: Way) -> None:
        self._library = library
        self._way = way
        #: What the library was told of each request, such as how long to wait.
        self.told: list[dict[str, Any]] = []
        self.wait: Callable[[Any], None] = nothing
        self.wait_async: Callable[[Any], Awaitable[None]] = nothing_async

    def handle_request(self, request: Any) -> Any:
        request.read()
        self.wait(request)
        return self._pass(request)

    async def handle_async_request(self, request: Any) -> Any:
        await request.aread()
        await self.wait_async(request)
        return self._pass(request)

    def close(self) -> None:
        self._way.close()

    async def aclose(self) -> None:
        await self._way.aclose()

    def _pass(self, request: Any) -> Any:
        self.told.append(dict(request.extensions))
        body, headers = httpx2.ByteStream(request.content), request.headers.raw
        passed = httpx2.Request(request.method, str(request.url), headers=headers, stream=body)
        try:
            reply = self._way.handle_request(passed)
        except httpx2.TransportError as lost:
            # Each library has its own class of the same name.
            raise getattr(self._library, type(lost).__name__)(str(lost)) from None
        assert isinstance(reply.stream, httpx2.SyncByteStream)
        stream = self._library.ByteStream(b"".join(reply.stream))
        return self._library.Response(reply.status_code, headers=reply.headers.raw, stream=stream)


EVERY_KIND = pytest.mark.parametrize("kind", KINDS, ids=str)


class Caller:
    """A client of one kind, enrolled at the double. Its calls return what the library returns, also those of tasks."""

    def __init__(
        self, kind: Kind, credential: Credential, server: Server, clock: Clock, kems: tuple[str, ...] = DEFAULT_KEMS
    ) -> None:
        self.kind = kind
        self.way = Way(server, with_rules=True)
        self.line = Line(kind.library, self.way)
        transport = kind.ours.AsyncTransport if kind.tasks else kind.ours.Transport
        self.transport = transport(credential, inner=self.line, clock=clock, kems=kems)
        client = kind.library.AsyncClient if kind.tasks else kind.library.Client
        self.http = client(transport=self.transport, base_url=server.origin, follow_redirects=True)
        self._runner = asyncio.Runner()

    def run(self, made: Any) -> Any:
        """What a call of the library gives in the end."""
        return self._runner.run(made) if self.kind.tasks else made

    def get(self, path: str) -> Any:
        return self.run(self.http.get(path))

    def post(self, path: str = "/v1/orders", content: Any = b"x", **more: Any) -> Any:
        return self.run(self.http.post(path, content=content, **more))

    def close(self) -> None:
        self.run(self.http.aclose() if self.kind.tasks else self.http.close())

    def end(self) -> None:
        """Closes what is left, also if a test failed."""
        self.close()
        self._runner.close()

    def pass_time(self, seconds: float) -> None:
        """At both ends."""
        for clock in (self.transport._clock, self.way.server.clock):
            assert isinstance(clock, Clock)
            clock.now += seconds

    def paths(self) -> list[str]:
        """Method and last part of the path of what was sent; a session is shown as `ses`."""
        shown = [f"{request.method} {request.url.path.rpartition('/')[2]}" for request in self.way.sent]
        return [text.partition("_")[0] for text in shown]

    def sent_to(self, path: str) -> list[httpx2.Request]:
        return [request for request in self.way.sent if request.url.path == path]


def sealed_under(requests: list[httpx2.Request]) -> list[str]:
    """
    The session of each sealed body, in order, after a look at all of them: no session's key meets an IV twice, but for
    the very same bytes sent again.
    """
    said: dict[tuple[str, bytes], bytes] = {}
    sessions = []
    for request in requests:
        if request.headers.get("content-type") == "application/jose":
            found = envelope.read(request.content, envelope.Headers())
            pair, sealed = (found.header.session, found.iv), found.ciphertext + found.tag
            assert said.setdefault(pair, sealed) == sealed, "a key and an IV are used twice"
            sessions.append(found.header.session)
    return sessions
