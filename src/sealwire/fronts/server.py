"""
Our runner: uvicorn with TLS 1.3 only, the exact request target, dropped trailers, a limited head, and a seat for each
connection, which goes to whoever does not keep us waiting.

Owns: what the HTTP parser lets through to the guard, and how long each part of a call may take to come or to be read.
The parser's own refusals are a bare 400. Refuses to know: what is behind the app it runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import ssl
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from sealwire.fronts.accept import Accepted
from sealwire.fronts.asgi import TARGET_EXTENSION
from sealwire.fronts.connections import ConnectionLimits, Connections, Seat, raise_descriptors, within_descriptors
from sealwire.fronts.reply_out import write_whole
from sealwire.protocol.message import HEAD_BYTES
from sealwire.protocol.profile import MAX_LIFETIME_SECONDS
from sealwire.protocol.window import SKEW_SECONDS

# One read of the transport may bring a whole body and the start of the next head, hence more than HEAD_BYTES.
_HELD_BYTES = HEAD_BYTES + 256 * 1024
# A chunk of one byte takes six on the wire; past this an honest sender does not go.
_PER_BODY_BYTE = 16
_LINE = len(b"METHOD  HTTP/1.1\r\n")
# From the connection (its handshake is over), or the first byte of a further message, to the end of its head.
_HEAD_SECONDS = 10
# A connection is kept that long between two calls.
_IDLE_SECONDS = 30
# How often it is looked whether a reply is being read on, and what of it must have gone in a second.
_READ_SECONDS, _READ_RATE = 15, 1024
# A reply of which more than this waits in the process pauses its app.
_UNSENT_BYTES = 64 * 1024
# Requests behind the one in process; honest clients send none, and each takes two KiB.
_PIPELINED = 64
#: How long calls that are on their way may take to end once a stop is asked for.
_STOP_SECONDS = 10
# From the head to the end of the body: no signature is valid for longer.
_BODY_SECONDS = MAX_LIFETIME_SECONDS + SKEW_SECONDS


class _Dropped(list[tuple[bytes, bytes]]):
    """Where fields go that are nobody's: a field of seven bytes would take 160."""

    def append(self, _field: tuple[bytes, bytes]) -> None:
        """Nothing of it is kept."""


_TRAILERS = _Dropped()


class ExactProtocol(HttpToolsProtocol):
    """
    uvicorn's protocol, stricter: the target is handed on as received, fields behind the head (trailers) reach
    nothing, a head over 32 KiB ends the connection before it is kept, and so does a head or a body that does not come,
    or a reply that is not read. It tells the table of connections whose turn it is.
    """

    _held_bytes = 0
    _in_head = True
    _begun = False  # a message, in this read
    _whole: RequestResponseCycle | None = None  # with this read
    _over = False  # what came was no message, and nothing behind it is read
    _in_process: RequestResponseCycle | None = None
    _awaited: Literal["head", "body", "reading"] = "head"
    _due: float | None = None  # when what is awaited must have come, by the loop's clock
    _alarm: asyncio.TimerHandle | None = None
    _rings = 0.0
    _unread = -1  # what was left of the reply at the last look; -1: nobody looked yet

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        connections: Connections,
        seat: Seat,
        socket: asyncio.Transport,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._table = connections
        self._seat = seat
        self._socket = socket  # the transport below TLS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A peer: it must come with a head."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_UNSENT_BYTES)  # TLS would let 512 KiB wait
        self._expect("head", _HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone, and so is what was expected of it."""
        self._due = None
        if self._alarm is not None:
            self._alarm.cancel()
        self._table.leave(self._seat)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A new message: nothing of its head has come yet."""
        super().on_message_begin()
        self._held_bytes = 0
        self._in_head = self._begun = True
        if self._in_process is not None:  # the first one is due since the connection was made
            self._expect("head", _HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """
        The head is whole: the target goes into the scope as it came, how to see that the body was taken, and how a
        reply may leave. What comes as fields from here on are trailers, and nobody's.
        """
        self._in_head = False
        self._held_bytes = 0
        content = self._has_body()
        if content:
            self._table.body_begins(self._seat)
            self._expect("body", _BODY_SECONDS)
        if len(self.pipeline) >= _PIPELINED:
            raise ValueError("too many requests behind one that is in process")
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        exact = extensions[TARGET_EXTENSION] = {"target": self.url, "bodiless": not content, "known": self._known}
        super().on_headers_complete()
        exact["taken"] = functools.partial(_taken, self.cycle)
        exact["reply"] = functools.partial(write_whole, self.cycle)
        self.headers = _TRAILERS

    def on_message_complete(self) -> None:
        """The message is whole."""
        self._due, self._whole = None, self.cycle
        super().on_message_complete()
        self._whose_turn()

    def on_response_complete(self) -> None:
        """A reply was written: it is to be read, and then there may be another call."""
        self._table.answered(self._seat)
        # As uvicorn has it, but for its timer: a peer that sends no further call is looked for here.
        self.server_state.total_requests += 1
        self._unread = -1
        self._expect("reading", self.timeout_keep_alive)
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                cycle, app = self.pipeline.pop()
                self._start_asgi_task(cycle, app)
                self._due = None  # the next call is here, and takes what time it takes
                if cycle.more_body:
                    self._expect("body", _BODY_SECONDS)
        self._whose_turn()

    def pause_writing(self) -> None:
        """The peer does not read as fast as the app writes."""
        super().pause_writing()
        self._whose_turn()

    def resume_writing(self) -> None:
        """It has read on."""
        super().resume_writing()
        cycle = self._in_process
        if self._awaited == "reading" and cycle is not None and not cycle.response_complete:
            self._due = None
            if cycle.more_body:
                self._expect("body", _BODY_SECONDS)
        self._whose_turn()

    def send_400_response(self, msg: str) -> None:
        """
        The parser's refusal. A call that came with the very bytes that are refused hears this, and is not entered. One
        that came before would take it for its own answer: it gets that, and the connection ends with it.
        """
        if self.headers:  # of a head that nobody was called with: over TLS the connection outlives its close
            self.headers.clear()
        cycle = self._in_process
        if self.pipeline:
            self.transport.abort()
        elif cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            super().send_400_response(msg)
        elif cycle is self._whole and not cycle.response_started:
            cycle.disconnected = True
            cycle.scope["extensions"][TARGET_EXTENSION]["bodiless"] = False  # whoever reads its body hears of that
            super().send_400_response(msg)
        else:
            cycle.keep_alive = False
            self._over = True

    def on_body(self, body: bytes) -> None:
        """Part of the body, which pays for what its chunks were framed with."""
        self._held_bytes = max(0, self._held_bytes - _PER_BODY_BYTE * len(body))
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """
        Bytes from the peer. A field, a trailer or a chunk extension that never ends is not reported by the parser, so
        what came since a message or its body began, or went on, is counted here.
        """
        if self._over:
            return
        self._held_bytes += len(data)
        self._begun, self._whole = False, None
        super().data_received(data)
        if self._begun and self._in_head:  # which bytes of this read were its own, the parser does not say
            self._held_bytes = sum([len(name) + len(value) + 4 for name, value in self.headers], len(self.url))
        most = HEAD_BYTES + _LINE if self._in_head else _HELD_BYTES
        if self._held_bytes > most and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def _known(self) -> None:
        self._table.known(self._seat)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._in_process = cycle
        super()._start_asgi_task(cycle, app)

    def _whose_turn(self) -> None:
        """Tells the table whether it is ours. A peer that has to read on gets its time for that."""
        cycle = self._in_process
        if self.flow.write_paused:
            self._table.waits(self._seat)
            if self._due is None or self._awaited != "reading":
                self._unread = self._unsent()
                self._expect("reading", _READ_SECONDS)
        elif cycle is None or cycle.response_complete or cycle.more_body:
            self._table.waits(self._seat)
        else:
            self._table.works(self._seat)

    def _expect(self, what: Literal["head", "body", "reading"], seconds: float) -> None:
        """The connection ends if what is expected next does not come in time."""
        self._awaited = what
        self._due = due = self.loop.time() + seconds
        # A timer that rings too early looks again: one made and cancelled for each message costs more than it.
        if self._alarm is None or due < self._rings:
            self._set_alarm(due)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._rings = self.loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        self._alarm = None
        if self._due is None:
            return
        if self._due > self.loop.time():
            self._set_alarm(self._due)
        elif self._awaited != "reading":
            self._end()
        else:
            self._look()

    def _look(self) -> None:
        """A reply is being read, or it was, and no call came behind it."""
        before, self._unread = self._unread, self._unsent()
        if 0 <= before < self._unread + _READ_SECONDS * _READ_RATE:
            self._end()
            return
        if not self._unread:
            self.transport.close()  # over TLS the peer has to answer that
        self._expect("reading", _READ_SECONDS)

    def _end(self) -> None:
        self._table.count(self._awaited)
        self.transport.abort()

    def _unsent(self) -> int:
        """What was written and has not reached the peer: in the process, and (Linux) in the kernel."""
        left = self._socket.get_write_buffer_size()
        try:
            descriptor = self._socket.get_extra_info("socket").fileno()
            queued: int = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        except OSError:
            return left
        return left + queued

    def _has_body(self) -> bool:
        """
        Whether a body follows. Refused is a head over its limit, and what the parser reads on with so that a body would
        be lost or found by it (RFC 9112 sections 2.3 and 6.1).
        """
        size, content, coded = len(self.url), False, False
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"transfer-encoding":
                content = coded = True
            elif name == b"content-length" and value != b"0":
                content = True
        if size > HEAD_BYTES:
            raise ValueError("the head is over its limit")
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1") or (version == "1.0" and coded):
            raise ValueError("not a version of HTTP/1, or one without chunks")
        if content and self.parser.should_upgrade():
            # The parser stops here, and would take the body for the next request.
            raise ValueError("a body behind a request to leave HTTP/1.1")
        return content


def _taken(cycle: RequestResponseCycle) -> bool:
    """Whether the whole body was handed out, so that who asks for it now would wait until the client leaves."""
    return not (cycle.more_body or cycle.body or cycle.message_event.is_set())


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 and nothing older (RFC 8446); no tickets, since a resumed session would outlive a change of trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.load_cert_chain(certificate, key)
    return context


class Configuration(uvicorn.Config):
    """
    uvicorn's settings, loaded once in each process that serves. There uvicorn opens bare sockets, and what it makes for
    each connection counts it, does the TLS and makes its HTTP protocol.
    """

    def __init__(
        self, app: Any, *, limits: ConnectionLimits, watch: Callable[[Connections], object] | None, **rest: Any
    ) -> None:
        super().__init__(app, **rest)
        self._limits = limits
        self._watch = watch

    def load(self) -> None:
        """As uvicorn has it; then the table is made, no larger than the process may have sockets."""
        super().load()
        raise_descriptors()
        connections = Connections(within_descriptors(self._limits))
        if self._watch is not None:
            self._watch(connections)
        context, self.ssl = self.ssl, None
        self.http_protocol_class = functools.partial(  # type: ignore[assignment]  # it is only ever called
            Accepted, connections=connections, context=context, http=ExactProtocol
        )


def configuration(
    app: Any,
    *,
    host: str,
    port: int,
    context: Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None,
    workers: int = 1,
    limits: ConnectionLimits | None = None,
    watch: Callable[[Connections], object] | None = None,
) -> uvicorn.Config:
    """
    uvicorn told to be strict. `app` is an app, or the name of a factory where there are several workers; `context`
    makes the TLS context of a process, `watch` is shown its table of connections. Plain HTTP without a context; the
    settings have allowed that or not.
    """
    return Configuration(
        app,
        limits=limits or ConnectionLimits(),
        watch=watch,
        host=host,
        port=port,
        http=ExactProtocol,
        ws="none",
        lifespan="auto",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        ssl_context_factory=context,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        workers=workers,
        factory=isinstance(app, str),
    )


def server(
    app: Any,
    *,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    limits: ConnectionLimits | None = None,
    watch: Callable[[Connections], object] | None = None,
) -> uvicorn.Server:
    """A server for `app` in this process, not started."""
    made = None if context is None else (lambda _config, _default: context)
    return uvicorn.Server(configuration(app, host=host, port=port, context=made, limits=limits, watch=watch))
