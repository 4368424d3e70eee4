"""How a reply leaves our runner: its head with the first bytes of its body, and alone where none come at once."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import pytest
import uvicorn

from sealwire.fronts.asgi import Receive, Scope, Send
from sealwire.fronts.server import server

_GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
_LARGE = bytes(range(256)) * 4096


class _App:
    """Answers by path; `/stream` says nothing behind its head until `go` is set."""

    def __init__(self) -> None:
        self.go = Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        path = scope["path"]
        body = _LARGE if path == "/large" else path.encode()
        headers = [] if path == "/stream" else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if path == "/dies":
            raise RuntimeError("behind its head")
        if path == "/stream":
            await asyncio.to_thread(self.go.wait, 20)
        await send({"type": "http.response.body", "body": body})


class _Ready(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def running(app: _App) -> Iterator[socket.socket]:
    """A peer connected to our runner, plain HTTP."""
    runs = _Ready(server(app, host="127.0.0.1", port=0, context=None).config)
    thread = Thread(target=runs.run)
    thread.start()
    try:
        assert runs.ready.wait(20)
        with socket.create_connection(runs.servers[0].sockets[0].getsockname(), 20) as peer:
            yield peer
    finally:
        app.go.set()
        runs.should_exit = True
        thread.join(20)


def until(peer: socket.socket, ending: bytes) -> bytes:
    """What comes, up to an ending or the end."""
    received = b""
    while not received.endswith(ending) and (more := peer.recv(65536)):
        received += more
    return received


def test_a_head_leaves_though_no_body_comes() -> None:
    """A stream's head is there before its first event."""
    app = _App()
    with running(app) as peer:
        peer.sendall(_GET % b"stream")
        assert until(peer, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        app.go.set()
        assert until(peer, b"0\r\n\r\n") == b"7\r\n/stream\r\n0\r\n\r\n"


@pytest.mark.parametrize("path", [b"small", b"large"])
def test_head_and_body_are_whole_and_in_order(path: bytes) -> None:
    """Also of several requests in one write, and of HEAD, whose reply has a head alone."""
    with running(_App()) as peer:
        asked = _GET % path
        last = asked.replace(b"Host", b"Connection: close\r\nHost")
        peer.sendall(asked.replace(b"GET", b"HEAD") * 2 + asked + last)
        received = until(peer, b"never")
    body = _LARGE if path == b"large" else b"/small"
    parts = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    bodies = [part.partition(b"\r\n\r\n")[2] for part in parts]
    assert bodies == [b"", b"", body, body]


def test_a_head_without_its_body_is_told_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    """An app that dies behind its head: the peer gets the head, and then the end."""
    with running(_App()) as peer:
        peer.sendall(_GET % b"dies")
        received = until(peer, b"never")
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n")
    assert "behind its head" in str(caplog.records[-1].exc_info)


def test_the_body_is_asked_for_before_any_head() -> None:
    """100 Continue is no part of the reply: the head that follows is not taken for its body."""
    seen: list[Any] = []

    class Reads(_App):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                seen.append((await receive())["body"])
            await super().__call__(scope, receive, send)

    with running(Reads()) as peer:
        peer.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert until(peer, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"ab")
        assert until(peer, b"/x").endswith(b"\r\n\r\n/x")
    assert seen == [b"ab"]
