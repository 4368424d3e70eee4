"""The four transports, of httpx2 and of httpx, for threads and for tasks, called in one way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import httpx2

from sealwire.client import ApprovalRequired, Credential
from tests.client.callers import Kind
from tests.client.server_double import ORIGIN


class Inner:
    """An inner transport of one library over a way that speaks httpx2; it is made one by `inner_of`."""

    kind: Kind
    way: Any

    def handle_request(self, request: Any) -> Any:
        with _Translated(self.kind):
            return self._back(self.way.handle_request(self._there(request, request.read())))

    async def handle_async_request(self, request: Any) -> Any:
        body = await request.aread()
        with _Translated(self.kind):
            return self._back(await self.way.handle_async_request(self._there(request, body)))

    def _there(self, request: Any, body: bytes) -> httpx2.Request:
        stream, url = httpx2.ByteStream(body), httpx2.URL(str(request.url))
        return httpx2.Request(request.method, url, headers=request.headers.raw, stream=stream)

    def _back(self, response: httpx2.Response) -> Any:
        stream = self.kind.library.ByteStream(response.read())
        return self.kind.library.Response(response.status_code, headers=response.headers.raw, stream=stream)


def inner_of(kind: Kind, way: Any) -> Any:
    """The way as the library's own kind of transport."""
    base = kind.library.AsyncBaseTransport if kind.tasks else kind.library.BaseTransport
    made = type("Inner", (Inner, base), {})()
    made.kind, made.way = kind, way
    return made


class _Translated:
    """The errors of httpx2 as those of the same name of another library."""

    def __init__(self, kind: Kind) -> None:
        self._library = kind.library

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx2.TransportError):
            raise getattr(self._library, type(error).__name__)(str(error))


class Caller:
    """A program with one of the four transports. `slept` holds its pauses; `meanwhile` happens in each of them."""

    def __init__(self, kind: Kind, credential: Credential, way: Any, clock: Callable[[], float], **more: Any) -> None:
        self.kind = kind
        self.slept: list[float] = []
        self.meanwhile: Callable[[float], Coroutine[Any, Any, None]] = _nothing
        self._runner = asyncio.Runner()
        made = kind.ours.AsyncTransport if kind.tasks else kind.ours.Transport
        sleep = self._sleep_async if kind.tasks else self._sleep
        self.transport = made(credential, inner=inner_of(kind, way), clock=clock, sleep=sleep, **more)
        client = kind.library.AsyncClient if kind.tasks else kind.library.Client
        self.http = client(transport=self.transport, base_url=credential.origin or ORIGIN)

    def request(self, method: str, path: str, **given: Any) -> Any:
        """One call, to its response."""
        return self._result(self.http.request(method, path, **given))

    def wait(self, asked: ApprovalRequired, timeout_seconds: float | None = None) -> Any:
        """Waits as the transport's kind does."""
        if self.kind.tasks:
            return self._runner.run(asked.wait_for_approval_async(timeout_seconds))
        return asked.wait_for_approval(timeout_seconds)

    def _result(self, made: Any) -> Any:
        return self._runner.run(made) if self.kind.tasks else made

    def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        asyncio.run(self.meanwhile(seconds))

    async def _sleep_async(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.meanwhile(seconds)

    def close(self) -> None:
        """Ends the client, its session too, and its loop."""
        self._result(self.http.aclose() if self.kind.tasks else self.http.close())
        self._runner.close()


async def _nothing(_: float) -> None:
    return None
