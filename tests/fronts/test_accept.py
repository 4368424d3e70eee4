"""From accept to the end: a deadline for each step in which a peer lets us wait, and a table that is right about it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from sealwire.demo.state import DemoState
from sealwire.fronts.asgi import Receive, Scope, Send
from sealwire.fronts.connections import ConnectionLimits, Connections
from sealwire.fronts.server import server, tls_context

_GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"
_LARGE = bytes(8 * 2**20)
_SOON_SECONDS = 20


class Runs:
    """An app on our runner in this process, on a thread of its own, with its table and what the app saw."""

    def __init__(self, ca: Path, context: ssl.SSLContext | None, limits: ConnectionLimits | None) -> None:
        tables: list[Connections] = []
        self.scopes: list[Scope] = []
        self.go = threading.Event()
        self.server = server(self, host="127.0.0.1", port=0, context=context, limits=limits, watch=tables.append)
        self._ca, self._secure = ca, context is not None
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        assert eventually(lambda: self.server.started)
        (self.table,) = tables
        self.address = self.server.servers[0].sockets[0].getsockname()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`/large` sends more than any buffer holds, `/stream` without end, `/waits` until it is told to go on."""
        if scope["type"] == "lifespan":
            for step in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{step}.complete"})
            return
        self.scopes.append(scope)
        await receive()
        body = _LARGE if scope["path"] == "/large" else b"ok"
        if scope["path"] == "/waits":
            await asyncio.to_thread(self.go.wait, _SOON_SECONDS)
        streams = scope["path"] == "/stream"
        headers = [] if streams else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if streams:
            gone = asyncio.ensure_future(receive())
            while not gone.done():
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
                await asyncio.sleep(0)
            return
        await send({"type": "http.response.body", "body": body})

    def transport(self) -> asyncio.Transport:
        """The transport of the one connection there is."""
        (connection,) = self.server.server_state.connections
        return connection.transport

    def bare(self, receive: int = 0) -> socket.socket:
        """A TCP connection."""
        peer = socket.socket()
        if receive:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        peer.settimeout(_SOON_SECONDS)
        peer.connect(self.address)
        return peer

    def peer(self, receive: int = 0) -> socket.socket:
        """A connection that may call."""
        if not self._secure:
            return self.bare(receive)
        return ssl.create_default_context(cafile=str(self._ca)).wrap_socket(
            self.bare(receive), server_hostname="localhost"
        )


def eventually(what: Callable[[], object]) -> bool:
    """Whether it comes to that."""
    until = time.monotonic() + _SOON_SECONDS
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DemoState:
    """A certificate and its CA."""
    state = DemoState(tmp_path_factory.mktemp("made"), 0)
    state.make()
    return state


Run = Callable[..., contextlib.AbstractContextManager[Runs]]


@pytest.fixture(params=["TLS", "plain"])
def run(made: DemoState, request: pytest.FixtureRequest) -> Run:
    """Makes a server that runs, over TLS and in clear."""
    return running(made, secure=request.param == "TLS")


@pytest.fixture
def run_tls(made: DemoState) -> Run:
    """The same, over TLS."""
    return running(made, secure=True)


def running(made: DemoState, *, secure: bool) -> Run:
    """A server from its start to its end, which is not held up by anybody."""

    @contextlib.contextmanager
    def run(limits: ConnectionLimits | None = None) -> Iterator[Runs]:
        context = tls_context(made.folder / "tls" / "cert.pem", made.folder / "tls" / "key.pem") if secure else None
        runs = Runs(made.ca, context, limits)
        try:
            yield runs
        finally:
            runs.go.set()
            runs.server.should_exit = True
            runs.thread.join(_SOON_SECONDS)
        assert not runs.thread.is_alive()
        assert (runs.table.open, runs.server.server_state.connections) == (0, set())

    return run


def _past(until: float) -> bool:
    return time.monotonic() > until


def ended(peer: socket.socket) -> bool:
    """Whether the server ends the connection without a word."""
    try:
        return peer.recv(65536) == b""
    except (ConnectionError, ssl.SSLError):
        return True


def answered(peer: socket.socket) -> bool:
    """Whether a whole reply comes."""
    received = b""
    while not received.endswith(b"ok") and (more := peer.recv(65536)):
        received += more
    return received.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"])
def test_a_handshake_that_does_not_go_on(run_tls: Run, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """L5: a connection without a byte, and one that stops in its handshake, count from the start and are ended."""
    with run_tls() as runs, runs.bare() as peer:
        assert eventually(lambda: runs.table.open == 1)
        monkeypatch.setattr("sealwire.fronts.accept._HANDSHAKE_SECONDS", 0.05)
        with runs.bare() as other:
            other.sendall(sent)
            assert ended(other)
        assert eventually(lambda: runs.table.open == 1)
        assert dict(runs.table.cut) == {"handshake": 1}
        peer.close()
        assert eventually(lambda: runs.table.open == 0)


def test_handshakes_that_fail_leave_nothing(
    run_tls: Run, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a seat nor a line: a call in clear, bytes that mean nothing, an old version, a peer that leaves."""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with run_tls() as runs:
        for sent in (_GET % b"x", bytes(300), b"\xff" * 70_000):
            with runs.bare() as peer, contextlib.suppress(ConnectionError):
                peer.sendall(sent)
                assert ended(peer)
        with runs.bare() as peer, pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(peer)
        for option in (struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)):
            with runs.bare() as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                peer.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert eventually(lambda: runs.table.open == 0 and not runs.server.server_state.connections)
        runs.peer().close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert "Traceback" not in capfd.readouterr().err


def test_a_hello_in_many_pieces(run_tls: Run) -> None:
    """Every byte of the handshake is in its place, however it was cut on its way."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with run_tls() as runs, runs.bare() as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tls = context.wrap_bio(incoming, outgoing)
        answer = b""
        while not answer:
            try:
                tls.do_handshake()
                tls.write(_GET % b"x")
                answer = tls.read(65536)
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    peer.sendall(bytes((byte,)))
                incoming.write(peer.recv(65536))
        assert answer.startswith(b"HTTP/1.1 200 ")


def test_the_app_sees_what_it_saw_before(run: Run) -> None:
    """Scheme and addresses are those of the connection, whoever did its TLS."""
    with run() as runs, runs.peer() as peer:
        peer.sendall(_GET % b"x")
        assert answered(peer)
        (scope,) = runs.scopes
        assert scope["scheme"] == ("https" if isinstance(peer, ssl.SSLSocket) else "http")
        assert scope["client"] == peer.getsockname()
        assert scope["server"] == peer.getpeername()
        assert runs.transport().get_write_buffer_limits()[1] == 65536
        assert runs.server.config.is_ssl == isinstance(peer, ssl.SSLSocket)


def test_whose_turn_it_is(run: Run) -> None:
    """A connection waits until its call is whole, is at work until its reply is, and waits again."""
    with run() as runs, runs.peer() as peer:
        assert eventually(lambda: (runs.table.open, runs.table.waiting()) == (1, 1))
        peer.sendall(b"POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{")
        assert eventually(lambda: runs.scopes)
        assert runs.table.waiting() == 1
        peer.sendall(b"}")
        assert eventually(lambda: runs.table.waiting() == 0)
        runs.go.set()
        assert answered(peer)
        assert eventually(lambda: runs.table.waiting() == 1)


def test_a_call_that_is_answered_is_not_cut(run: Run) -> None:
    """With all seats at work the next one is turned away; as soon as one waits, it goes for the next."""
    with run(ConnectionLimits(2)) as runs, runs.peer() as first, runs.peer() as second:
        first.sendall(_GET % b"waits")
        second.sendall(_GET % b"waits")
        assert eventually(lambda: runs.table.open == 2 and runs.table.waiting() == 0)
        with runs.bare() as third:
            assert ended(third)
        assert dict(runs.table.cut) == {"busy": 1}
        runs.go.set()
        for peer in (first, second):
            assert answered(peer)
        assert eventually(lambda: runs.table.waiting() == 2)
        with runs.peer() as third:
            third.sendall(_GET % b"x")
            assert answered(third)
        assert dict(runs.table.cut) == {"busy": 1, "address": 1}


def test_who_begins_a_call_has_not_waited_longest(run: Run) -> None:
    """An idle connection whose next call has a body is not cut in the midst of it for its idleness before."""
    with run(ConnectionLimits(2)) as runs, runs.peer() as first, runs.peer() as second:
        for peer in (first, second):
            peer.sendall(_GET % b"x")
            assert answered(peer)
        first.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{")
        assert eventually(lambda: len(runs.scopes) == 3)
        with runs.bare():
            assert ended(second)
            first.sendall(b"}")
            assert answered(first)


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
@pytest.mark.parametrize("path", [b"large", b"stream"])
def test_a_reply_that_is_not_read(run: Run, monkeypatch: pytest.MonkeyPatch, path: bytes, last: bytes) -> None:
    """L5: it is not kept for ever, whether its app is done or waits to go on, and whether another call may follow."""
    monkeypatch.setattr("sealwire.fronts.server._IDLE_SECONDS", 0.05)
    monkeypatch.setattr("sealwire.fronts.server._READ_SECONDS", 0.05)
    with run() as runs, runs.peer(4096) as peer:
        peer.sendall((_GET % path).replace(b"\r\n\r\n", b"\r\n" + last + b"\r\n"))
        assert eventually(lambda: runs.scopes and runs.table.open == 0)
        assert dict(runs.table.cut) == {"reading": 1}


def test_a_reply_that_is_read_slowly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads on gets all of it, however long that takes."""
    monkeypatch.setattr("sealwire.fronts.server._IDLE_SECONDS", 0.1)
    monkeypatch.setattr("sealwire.fronts.server._READ_SECONDS", 0.2)
    with run() as runs, runs.peer(65536) as peer:
        peer.sendall(_GET % b"large")
        received, begun = b"", time.monotonic()
        while len(received) < len(_LARGE):
            received += peer.recv(65536)
            until = begun + len(received) / len(_LARGE) * 1.5  # far behind any deadline, were there no progress
            assert eventually(functools.partial(_past, until))
            if len(received) < len(_LARGE) // 2:
                assert not runs.transport().is_closing()
        assert ended(peer)
        assert dict(runs.table.cut) == {}


def test_line_ends_behind_a_reply(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """L5: what the parser skips before a message does not keep a connection either."""
    monkeypatch.setattr("sealwire.fronts.server._IDLE_SECONDS", 0.2)
    monkeypatch.setattr("sealwire.fronts.server._READ_SECONDS", 0.2)
    with run() as runs, runs.peer() as peer:
        peer.sendall(_GET % b"x")
        assert answered(peer)
        peer.sendall(b"\r\n")
        assert eventually(lambda: runs.table.open == 0)


def test_calls_behind_a_call(run: Run) -> None:
    """A few wait for their turn; thousands in one write would each take memory, and end the connection."""
    with run() as runs, runs.peer() as peer, runs.peer() as flood:
        peer.sendall(_GET % b"x" * 60)
        received = b""
        while received.count(b"ok") < 60:
            received += peer.recv(65536)
        assert len(runs.scopes) == 60
        flood.sendall(_GET % b"waits" + _GET % b"x" * 5_000)
        assert ended(flood)
        runs.go.set()
        assert eventually(lambda: runs.table.open == 1)
        assert len(runs.scopes) == 61


def test_a_stop_does_not_wait_for_the_silent(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    """Half-open, in a handshake, idle: each is ended at once."""
    with run() as runs, runs.bare(), runs.bare() as half, runs.peer() as idle:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        idle.sendall(_GET % b"x")
        assert answered(idle)
        assert eventually(lambda: runs.table.open >= 2)
        runs.server.should_exit = True
        idle.close()
        runs.thread.join(_SOON_SECONDS)
    assert [r.getMessage() for r in caplog.records if "timeout graceful shutdown" in r.getMessage()] == []


def test_uvicorn_is_what_it_was_built_on() -> None:
    """What the runner overrides is still there to be overridden."""
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415  # named here alone

    for name in ("on_response_complete", "_start_asgi_task", "send_400_response"):
        assert hasattr(HttpToolsProtocol, name)
    assert hasattr(uvicorn.Config, "load")
