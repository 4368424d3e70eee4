"""
Floods from one address, in a process of their own: `python flooding.py KIND PORT CA COUNT`.

Says `standing` once that many connections were opened, and goes on until its standard input ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable

_HOST = "127.0.0.1"
_AT_ONCE = 64
_HEAD = b"GET /v1/time HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
_BODY = (
    b"POST /v1/notes HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
)
_LARGE = b"GET /v1/large HTTP/1.1\r\nHost: localhost:%d\r\n\r\n"


class Flood:
    """One kind of flood. What it opened it keeps, until the server cuts it."""

    def __init__(self, port: int, ca: str) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=ca)
        self._kept: list[object] = []

    async def idle(self) -> None:
        """A TCP connection without a byte."""
        self._kept.append(await self._connected())

    async def half(self) -> None:
        """A handshake that stops in its first message."""
        peer = await self._connected()
        await asyncio.get_running_loop().sock_sendall(peer, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        self._kept.append(peer)

    async def heads(self) -> None:
        """A head, byte by byte."""
        await self._drips(_HEAD)

    async def bodies(self) -> None:
        """A body, byte by byte, on a route that is open to anyone."""
        await self._drips(_BODY % self._port)

    async def readers(self) -> None:
        """Calls whose replies are never read."""
        peer = await self._connected(4096)
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, sock=peer, ssl=self._context, server_hostname="localhost"
        )
        transport.pause_reading()
        transport.write(_LARGE % self._port * 8)
        self._kept.append(transport)

    async def churn(self) -> None:
        """A connection that goes again as soon as another one has come."""
        self._kept.append(await self._connected())
        if len(self._kept) > _AT_ONCE:
            for peer in self._kept:
                assert isinstance(peer, socket.socket)
                peer.close()
            self._kept.clear()

    async def _connected(self, receive: int = 0) -> socket.socket:
        peer = socket.socket()
        if receive:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        # No port is kept waiting behind it: a flood would leave too few to the tests that follow.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, (_HOST, self._port))
        return peer

    async def _drips(self, first: bytes) -> None:
        peer = await self._connected()
        _, writer = await asyncio.open_connection(sock=peer, ssl=self._context, server_hostname="localhost")
        writer.write(first)
        self._kept.append(asyncio.create_task(_drip(writer)))


async def _drip(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(1)


async def _open(one: Callable[[], Awaitable[None]], count: int) -> None:
    left = iter(range(count))

    async def some() -> None:
        for _ in left:
            # Cut in the midst of it, or not let in: that is what a flood gets.
            with contextlib.suppress(OSError, EOFError):
                await one()

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def main(kind: str, port: int, ca: str, count: int) -> None:
    """Floods."""
    flood = Flood(port, ca)
    one: Callable[[], Awaitable[None]] = getattr(flood, kind)
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    if kind == "churn":
        print("standing", flush=True)  # noqa: T201  # to whoever started it
        while not over.done():
            await _open(one, count)
    else:
        await _open(one, count)
        print("standing", flush=True)  # noqa: T201  # as above
        await over


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
