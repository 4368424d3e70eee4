"""How a whole reply leaves our runner: in one write, and to the byte as the server would have written its messages."""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest
import uvicorn

from sealwire.fronts.asgi import TARGET_EXTENSION, Message, Receive, Scope, Send
from sealwire.fronts.server import server
from sealwire.protocol.message import Reply

_LARGE = bytes(range(256)) * 4096
_GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class _App:
    """Answers every call with `reply`: whole, or by its two messages where that is not taken."""

    def __init__(self, reply: Reply, *, whole: bool = True, watched: bool = False) -> None:
        self.reply = reply
        self.whole = whole
        self.watched = watched
        self.taken: list[bool] = []
        self.seen: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return

        async def watching(message: Message) -> None:
            self.seen.append(message)
            await send(message)

        sending = watching if self.watched else send
        self.taken.append(self.whole and scope["extensions"][TARGET_EXTENSION]["reply"](sending, self.reply))
        if self.taken[-1]:
            return
        headers = list(self.reply.headers)
        if self.reply.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(self.reply.body)))
        await sending({"type": "http.response.start", "status": self.reply.status, "headers": headers})
        await sending({"type": "http.response.body", "body": self.reply.body})


class _Ready(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def running(app: _App) -> Iterator[tuple[str, int]]:
    """Where our runner listens, plain HTTP."""
    runs = _Ready(server(app, host="127.0.0.1", port=0, context=None).config)
    thread = Thread(target=runs.run)
    thread.start()
    try:
        assert runs.ready.wait(20)
        yield runs.servers[0].sockets[0].getsockname()
    finally:
        runs.should_exit = True
        thread.join(20)


def all_of(address: tuple[str, int], sent: bytes, size: int = 65536) -> bytes:
    """What comes for these bytes until the connection ends, without the date."""
    with socket.create_connection(address, 20) as peer:
        peer.sendall(sent)
        received = b""
        while more := peer.recv(size):
            received += more
    return re.sub(rb"\r\ndate: [^\r]*", b"", received)


_JSON = ((b"content-type", b"application/json"), (b"x-two", b"a"), (b"x-two", b"b"))
_CLOSES = (b"connection", b"close")


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    ("method", "reply"),
    [
        *itertools.product((b"GET", b"HEAD"), (Reply(200, _JSON, b'{"a": 1}'), Reply(404, (), b""))),
        (b"GET", Reply(204, _JSON, b"")),
        (b"GET", Reply(304, _JSON, b"")),
        (b"GET", Reply(503, (*_JSON, _CLOSES), b"later")),
        (b"HEAD", Reply(503, (*_JSON, _CLOSES), b"later")),
        (b"GET", Reply(200, _JSON, _LARGE)),
    ],
)
def test_the_same_bytes(method: bytes, reply: Reply, version: bytes) -> None:
    """Whole, and by its messages, over connections that go on and over such that end."""
    app = _App(reply)
    once = b"%b /x HTTP/%b\r\nHost: a\r\n\r\n" % (method, version)
    last = b"%b /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % method
    sent = once + last if version == b"1.1" and _CLOSES not in reply.headers else once
    with running(app) as address:
        whole = all_of(address, sent)
        app.whole = False
        by_messages = all_of(address, sent)
    calls = len(app.taken) // 2
    assert app.taken == [True] * calls + [False] * calls
    assert whole == by_messages
    assert whole.count(b"HTTP/1.1 %d " % reply.status) == calls


def test_the_next_calls_are_answered() -> None:
    """Sixty in one write, to a peer that reads slowly: each reply is whole, and in its place."""
    app = _App(Reply(200, _JSON, _LARGE))
    with running(app) as address:
        last = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        received = all_of(address, _GET % b"x" * 20 + last, 4096)
    parts = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [part.partition(b"\r\n\r\n")[2] for part in parts] == [_LARGE] * 21
    assert len(app.taken) == 21


def test_what_stands_before_the_guard_sees_the_messages() -> None:
    """A middleware that watches or changes what is sent gets it, and nothing goes past it."""
    app = _App(Reply(200, _JSON, b"ok"), watched=True)
    with running(app) as address:
        received = all_of(address, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert app.taken == [False]
    assert [message["type"] for message in app.seen] == ["http.response.start", "http.response.body"]
    assert received.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("status", [204, 304])
def test_a_body_that_may_not_be(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Where a status has no body the server says so in its own words: nothing is dropped without a trace."""
    app = _App(Reply(status, _JSON, b"a body"))
    with running(app) as address:
        all_of(address, b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert app.taken == [False]
    assert "longer than Content-Length" in str(caplog.records[-1].exc_info)
