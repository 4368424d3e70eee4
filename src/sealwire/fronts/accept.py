"""
A connection from accept on: it is counted at once, and handed to HTTP when its handshake is done.

Owns: TLS on the server's side, begun by the first byte: until then a connection costs a socket and a seat, where a TLS
object alone takes 40 KiB. Refuses to know: HTTP.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

import uvicorn
from uvicorn.server import ServerState

from sealwire.fronts.connections import Connections, Seat

# From accept to the end of the handshake.
_HANDSHAKE_SECONDS = 10


class MakeProtocol(Protocol):
    """Makes the HTTP protocol of a connection, as uvicorn calls it and with what it needs to tell the table."""

    def __call__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        connections: Connections,
        seat: Seat,
        socket: asyncio.Transport,
    ) -> asyncio.Protocol:
        """A protocol that was not connected yet; `socket` is the transport below TLS."""


class Accepted(asyncio.Protocol):
    """
    What uvicorn makes for each connection that is accepted, without TLS. A handshake that fails, or is not over in
    time, ends the connection without a word.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
        context: ssl.SSLContext | None,
        http: MakeProtocol,
    ) -> None:
        self._make = functools.partial(http, config, server_state, app_state, connections=connections)
        self._open = server_state.connections
        self._connections = connections
        self._context = context
        self._first = b""
        self._socket: asyncio.Transport | None = None
        self._seat: Seat | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer: it has a seat from now on, or is turned away."""
        socket = cast("asyncio.Transport", transport)
        peer = socket.get_extra_info("peername")
        address = str(peer[0]).removeprefix("::ffff:") if isinstance(peer, tuple) else ""
        self._seat = self._connections.take(address, socket.abort)
        if self._seat is None:
            socket.abort()
            return
        self._socket = socket
        if self._context is None:
            self._hand_over(socket)
            return
        self._open.add(self)  # type: ignore[arg-type]  # all that uvicorn asks of one is `shutdown`
        self._alarm = asyncio.get_running_loop().call_later(_HANDSHAKE_SECONDS, self._overdue)

    def data_received(self, data: bytes) -> None:
        """
        The first bytes: the handshake begins with them. What asyncio's own loop brings behind it, in the same turn, is
        kept for the protocol that takes over.
        """
        if self._socket is None or self._socket.is_closing():
            return
        self._first += data
        if self._handshake is not None:
            return
        self._socket.pause_reading()
        loop = asyncio.get_running_loop()
        self._handshake = loop.create_task(self._secure(self._socket))
        # start_tls connects its own protocol in the turn after the one in which it begins. Behind that, and before
        # anything is read again, these bytes are in their place.
        loop.call_soon(loop.call_soon, self._feed)

    def connection_lost(self, _exc: Exception | None) -> None:
        """The peer is gone before its handshake was over."""
        self._leave()

    def shutdown(self) -> None:
        """The server stops: nothing was begun here that could be ended well."""
        if self._socket is not None:
            self._socket.abort()

    async def _secure(self, socket: asyncio.Transport) -> None:
        assert self._context is not None  # noqa: S101  # told apart in connection_made
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                socket, self, self._context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
            )
        except OSError:  # ssl.SSLError is one, and so is every way for a peer to go
            secured = None
        # A transport that was cut in its handshake comes back as if nothing were wrong.
        if secured is None or secured.is_closing() or socket.is_closing():
            socket.abort()
            self._leave()
        else:
            self._hand_over(secured)

    def _feed(self) -> None:
        first, self._first = memoryview(self._first), b""
        if self._socket is None or self._socket.is_closing():
            return
        secure = cast("asyncio.BufferedProtocol", self._socket.get_protocol())
        while first:
            space: memoryview = cast("Callable[[int], memoryview]", secure.get_buffer)(len(first))
            fits = min(len(space), len(first))
            space[:fits] = first[:fits]
            secure.buffer_updated(fits)
            first = first[fits:]

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._stop_waiting()
        if self._seat is None or self._socket is None:
            return
        self._connections.secured(self._seat)
        protocol = self._make(seat=self._seat, socket=self._socket)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if self._first:
            protocol.data_received(self._first)

    def _overdue(self) -> None:
        self._connections.count("handshake")
        self.shutdown()

    def _leave(self) -> None:
        self._stop_waiting()
        if self._seat is not None:
            self._connections.leave(self._seat)

    def _stop_waiting(self) -> None:
        self._open.discard(self)
        if self._alarm is not None:
            self._alarm.cancel()
