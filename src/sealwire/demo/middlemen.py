"""
Who stands between the tour's client and the exchange: a proxy that keeps what it sees, and one that changes the path.

Owns: what they see and change. Refuses to know: what the guard says to it.
"""

from __future__ import annotations

import ssl
import time
from typing import NamedTuple

import httpx2

_BY_THE_LIBRARY = frozenset((b"host", b"content-length"))


class Passed(NamedTuple):
    """One exchange as whoever terminates TLS sees it."""

    path: str
    fields: list[tuple[bytes, bytes]]
    request: bytes
    reply: bytes
    seconds: float

    def sealed(self) -> bool:
        """Both ways in JOSE's compact form."""
        return self.request.startswith(b"eyJ") and self.reply.startswith(b"eyJ")


class Recorder(httpx2.BaseTransport):
    """A proxy on the way that keeps all it sees, and changes a digit when it is told to."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._inner = httpx2.HTTPTransport(verify=context)
        self.passed: list[Passed] = []
        self.changing = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Passes the request on."""
        body = sent = request.read()
        if self.changing and body.startswith(b"eyJ"):
            sent = body[:-1] + (b"A" if body[-1:] != b"A" else b"B")
        fields = [(name, value) for name, value in request.headers.raw if name.lower() not in _BY_THE_LIBRARY]
        began = time.perf_counter()
        reply = self._inner.handle_request(
            httpx2.Request(request.method, request.url, headers=fields, content=sent, extensions=request.extensions)
        )
        content = reply.read()
        self.passed.append(Passed(request.url.path, fields, sent, content, time.perf_counter() - began))
        return httpx2.Response(reply.status_code, headers=reply.headers, stream=httpx2.ByteStream(content))

    def last(self, path: str) -> Passed:
        """What passed last on this path."""
        return next(passed for passed in reversed(self.passed) if passed.path == path)

    def close(self) -> None:
        """Closes what is behind."""
        self._inner.close()


class Stripper(httpx2.BaseTransport):
    """A proxy on the way that takes `/api` off the path."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._inner = httpx2.HTTPTransport(verify=context)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Passes the request on without its prefix."""
        stripped = request.url.copy_with(raw_path=request.url.raw_path.removeprefix(b"/api"))
        return self._inner.handle_request(
            httpx2.Request(
                request.method, stripped, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )

    def close(self) -> None:
        """Closes what is behind."""
        self._inner.close()
