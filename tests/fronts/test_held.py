"""What a connection of our runner keeps of a peer that never comes to an end, and when it is given up."""

import asyncio
import socket
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from uvicorn.server import ServerState

from sealwire.fronts.asgi import TARGET_EXTENSION, App, Message, Receive, Scope, Send
from sealwire.fronts.connections import ConnectionLimits, Connections
from sealwire.fronts.server import ExactProtocol, configuration

#: Seven bytes on the wire, and 160 as a field in a list.
_FIELDS = b"".join(b"%02x:%02x\r\n" % (number % 256, number % 251) for number in range(35_000))
_KEPT_BYTES = 256 * 1024  # the interpreter itself keeps 2,000 tuples for later


class _Wire(asyncio.Transport):
    """The transport of a connection: what was written to it, and whether it was closed."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__({"socket": end, "peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 2)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        return

    resume_reading = pause_reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0


@pytest.fixture
def end() -> Iterator[socket.socket]:
    """A socket of which all that was written was read."""
    one, other = socket.socketpair()
    with one, other:
        yield one


async def answering(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answers once the body is whole."""
    message: Message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def comes(what: Callable[[], object]) -> bool:
    """Whether it comes to that."""
    async with asyncio.timeout(20):
        for _ in iter(lambda: bool(what()), True):
            await asyncio.sleep(0)
    return True


def connected(end: socket.socket, app: App = answering) -> tuple[ExactProtocol, _Wire]:
    """A connection that was just made."""
    config = configuration(app, host="192.0.2.2", port=2, context=None)
    config.load()
    table, wire = Connections(ConnectionLimits()), _Wire(end)
    seat = table.take("192.0.2.1", wire.abort)
    assert seat is not None
    table.secured(seat)
    protocol = ExactProtocol(config, ServerState(), {}, connections=table, seat=seat, socket=wire)
    protocol.connection_made(wire)
    return protocol, wire


async def test_trailers_are_not_kept(end: socket.socket) -> None:
    """They reach nothing, so they take nothing: not while they come, and not behind the call."""
    protocol, wire = connected(end)
    protocol.data_received(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    tracemalloc.start()
    try:
        protocol.data_received(_FIELDS)
        assert tracemalloc.get_traced_memory()[0] < _KEPT_BYTES
    finally:
        tracemalloc.stop()
    protocol.data_received(b"\r\n")
    assert await comes(lambda: wire.written.startswith(b"HTTP/1.1 200 "))
    protocol.connection_lost(None)


@pytest.mark.parametrize("more", [b"", b"\r\n"])
async def test_a_head_over_its_limit_in_one_read(end: socket.socket, more: bytes) -> None:
    """What of a head came with its first byte counts too: it is not kept until more comes, nor until the peer goes."""
    protocol, wire = connected(end)
    tracemalloc.start()
    try:
        protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n" + _FIELDS + more)
        assert tracemalloc.get_traced_memory()[0] < _KEPT_BYTES
    finally:
        tracemalloc.stop()
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert wire.is_closing()
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "before", [b"", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65_536]
)
async def test_a_head_within_its_limit_in_two_reads(end: socket.socket, before: bytes) -> None:
    """What came before it in the same read is not its own."""
    protocol, wire = connected(end)
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + _FIELDS[:21_000] + b"\r\n"
    protocol.data_received(before + head[:16_000])
    protocol.data_received(head[16_000:])
    assert await comes(lambda: wire.written.count(b"HTTP/1.1 200 ") == 1 + bool(before))
    assert not wire.is_closing()
    protocol.connection_lost(None)


async def test_a_call_behind_another_has_its_time(end: socket.socket) -> None:
    """How long a connection may be idle does not count while a call that came with the one before is at work."""
    go_on = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await go_on.wait()
        await answering(scope, receive, send)

    protocol, wire = connected(end, slow)
    protocol.timeout_keep_alive = 0.05  # type: ignore[assignment]  # seconds all the same
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await comes(lambda: wire.written.count(b"HTTP/1.1 200 ") == 1)
    long_after = asyncio.get_running_loop().time() + 0.2
    assert await comes(lambda: asyncio.get_running_loop().time() > long_after)
    assert not wire.is_closing()
    go_on.set()
    assert await comes(lambda: wire.written.count(b"HTTP/1.1 200 ") == 2)
    assert await comes(wire.is_closing)
    protocol.connection_lost(None)


_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "then"), [(b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), (b"", _POST + b"{}"), (_POST, b"{}")]
)
async def test_junk_that_comes_with_a_call(end: socket.socket, first: bytes, then: bytes) -> None:
    """D14: a body larger than declared. The call is not served, and hears that what it sent was no message."""
    served = []

    async def reads(scope: Scope, receive: Receive, send: Send) -> None:
        message = {} if scope["extensions"][TARGET_EXTENSION]["bodiless"] else await receive()
        served.append(message.get("type"))
        await answering(scope, receive, send)

    protocol, wire = connected(end, reads)
    protocol.data_received(first)
    await asyncio.sleep(0)
    protocol.data_received(then + b"}")
    assert await comes(lambda: served)
    assert served == ["http.disconnect"]
    assert wire.written.startswith(b"HTTP/1.1 400 ")
    assert wire.written.count(b"HTTP/1.1 ") == 1
    assert wire.is_closing()
    protocol.connection_lost(None)


async def test_junk_behind_a_call_is_no_answer_to_it(end: socket.socket) -> None:
    """The parser's own 400 would be taken for the reply of the call that is at work, which may have moved money."""
    go_on = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go_on.wait()
        await answering(scope, receive, send)

    protocol, wire = connected(end, slow)
    protocol.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for junk in (b"no request at all\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00" * 300_000):
        protocol.data_received(junk)
    assert (wire.written, wire.is_closing()) == (b"", False)
    go_on.set()
    assert await comes(wire.is_closing)
    assert wire.written.startswith(b"HTTP/1.1 200 ")
    assert wire.written.count(b"HTTP/1.1 ") == 1
    assert b"\r\nconnection: close\r\n" in wire.written
    protocol.connection_lost(None)
    another, fresh = connected(end)
    another.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert await comes(lambda: fresh.written.endswith(b"ok"))
    another.data_received(b"no request at all\r\n\r\n")
    assert fresh.written.count(b"HTTP/1.1 400 ") == 1
    another.connection_lost(None)
