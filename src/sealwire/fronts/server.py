"""
Our runner: uvicorn with TLS 1.3 only, the exact request target, dropped trailers and a limited head.

Owns: what the HTTP parser lets through to the guard. The parser's own refusals are a bare 400.
Refuses to know: what is behind the app it runs.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from sealwire.fronts.asgi import TARGET_EXTENSION
from sealwire.protocol.message import HEAD_BYTES
from sealwire.protocol.profile import MAX_LIFETIME_SECONDS
from sealwire.protocol.window import SKEW_SECONDS

# One read of the transport may bring a whole body and the start of the next head, hence more than HEAD_BYTES.
_HELD_BYTES = HEAD_BYTES + 256 * 1024
# A chunk of one byte takes six on the wire; past this an honest sender does not go.
_PER_BODY_BYTE = 16
_LINE = len(b"METHOD  HTTP/1.1\r\n")
# From the connection, or the first byte of a further message, to the end of its head.
_HEAD_SECONDS = 30
#: How long calls that are on their way may take to end once a stop is asked for.
_STOP_SECONDS = 10
# From the head to the end of the body: no signature is valid for longer.
_BODY_SECONDS = MAX_LIFETIME_SECONDS + SKEW_SECONDS


class ExactProtocol(HttpToolsProtocol):
    """
    uvicorn's protocol, stricter: the target is handed on as received, fields behind the head (trailers) reach
    nothing, a head over 32 KiB ends the connection before it is kept, and so does a head or a body that does not come.
    """

    _head_bytes = 0
    _held_bytes = 0
    _in_head = True
    _due: float | None = None  # when what is expected must have come, by the loop's clock
    _alarm: asyncio.TimerHandle | None = None
    _rings = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A peer: it must come with a head."""
        super().connection_made(transport)
        self._expect_within(_HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone, and so is what was expected of it."""
        self._due = None
        if self._alarm is not None:
            self._alarm.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A new message: nothing of its head has come yet."""
        super().on_message_begin()
        self._held_bytes = 0
        self._head_bytes = _LINE
        self._in_head = True
        self._expect_within(_HEAD_SECONDS)

    def on_url(self, url: bytes) -> None:
        """More of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field of the head; a trailer, which comes when the head is over, is dropped."""
        if self._in_head:
            self._count(len(name) + len(value) + 4)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the target goes into the scope as it came, and how to see that the body was taken."""
        self._in_head = False
        self._held_bytes = 0
        self._judge_framing()
        extensions: dict[str, Any] = self.scope.setdefault("extensions", {})
        exact = extensions[TARGET_EXTENSION] = {"target": self.url}
        self._expect_within(_BODY_SECONDS)
        super().on_headers_complete()
        self.cycle.transport = _Joined(self.transport, self.cycle, self.loop)  # type: ignore[assignment]  # what it uses
        exact["taken"] = functools.partial(_taken, self.cycle)

    def on_message_complete(self) -> None:
        """The message is whole."""
        self._expect_within(None)
        super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """Part of the body, which pays for what its chunks were framed with."""
        self._held_bytes = max(0, self._held_bytes - _PER_BODY_BYTE * len(body))
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """
        Bytes from the peer. A field, a trailer or a chunk extension that never ends is not reported by the parser, so
        what came since it last reported anything is counted here.
        """
        self._held_bytes += len(data)
        super().data_received(data)
        if self._held_bytes > _HELD_BYTES and not self.transport.is_closing():
            self.send_400_response("Invalid HTTP request received.")

    def _expect_within(self, seconds: float | None) -> None:
        """The connection ends if what is expected next does not come in time; None: nothing is."""
        self._due = None if seconds is None else self.loop.time() + seconds
        # A timer that rings too early looks again: one made and cancelled for each message costs more than it.
        if self._due is not None and (self._alarm is None or self._due < self._rings):
            self._set_alarm(self._due)

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm, self._rings = self.loop.call_at(at, self._ring), at

    def _ring(self) -> None:
        self._alarm = None
        if self._due is None:
            return
        if self._due <= self.loop.time():
            self.transport.abort()
        else:
            self._set_alarm(self._due)

    def _judge_framing(self) -> None:
        """What the parser reads on with, and a body would be lost or found by it (RFC 9112 sections 2.3 and 6.1)."""
        version = self.parser.get_http_version()
        names = {name for name, value in self.headers if name != b"content-length" or value != b"0"}
        content = b"transfer-encoding" in names or b"content-length" in names
        if version not in ("1.0", "1.1") or (version == "1.0" and b"transfer-encoding" in names):
            raise ValueError("not a version of HTTP/1, or one without chunks")
        if content and self.parser.should_upgrade():
            # The parser stops here, and would take the body for the next request.
            raise ValueError("a body behind a request to leave HTTP/1.1")

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES + _LINE:
            raise ValueError("the head is over its limit")


class _Joined:
    """
    The transport as one call sees it: the head of its reply waits for the first bytes of its body, within one turn of
    the loop, so that both leave together. Two writes would wake the peer twice.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._cycle = cycle
        self._loop = loop
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        """Part of the reply, or of what comes before it (100 Continue)."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif self._begun or not self._cycle.response_started:
            self._transport.write(data)
        else:
            self._begun = True
            self._head = data
            self._loop.call_soon(self._flush)

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def close(self) -> None:
        """The connection ends behind what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


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


def configuration(
    app: Any,
    *,
    host: str,
    port: int,
    context: Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext] | None,
    workers: int = 1,
) -> uvicorn.Config:
    """
    uvicorn told to be strict. `app` is an app, or the name of a factory where there are several workers; `context`
    makes the TLS context of a process. Plain HTTP without one; the settings have allowed that or not.
    """
    return uvicorn.Config(
        app,
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
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_STOP_SECONDS,
        workers=workers,
        factory=isinstance(app, str),
    )


def server(app: Any, *, host: str, port: int, context: ssl.SSLContext | None) -> uvicorn.Server:
    """A server for `app` in this process, not started."""
    made = None if context is None else (lambda _config, _default: context)
    return uvicorn.Server(configuration(app, host=host, port=port, context=made))
