"""
Who terminates TLS between a real client and a real server, with a certificate that the client trusts.

Each byte of both directions is kept as it was between the two connections. `on_reply` may change what the client is to
hear, or, with None, cut both connections instead; `on_ask` may change what the server is to hear from a peer, and keeps
nothing of what it adds.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

_CHUNK = 65536
_START_SECONDS = 20

Fields = tuple[tuple[bytes, bytes], ...]


class Passed(NamedTuple):
    """One exchange. Names of fields are in lower case."""

    method: str
    target: bytes
    fields: Fields
    body: bytes
    status: int
    reply_fields: Fields
    reply: bytes

    def field(self, name: bytes) -> bytes:
        """The value of a request's field, empty for none."""
        return dict(self.fields).get(name, b"")

    def path(self) -> str:
        """The target without its query."""
        return self.target.partition(b"?")[0].decode()


class Connection(NamedTuple):
    """All that was said over one connection, and the TLS versions before and behind the terminator."""

    asked: bytearray
    answered: bytearray
    versions: list[str]


class Terminator:
    """Listens on `port` of this machine; what comes goes on to `behind`, and the other way round."""

    def __init__(self, port: int, front: ssl.SSLContext, behind: int, trust: ssl.SSLContext) -> None:
        self._port = port
        self._front = front
        self._behind = behind
        self._trust = trust
        self.connections: list[Connection] = []
        self.on_reply: Callable[[bytes], bytes | None] = lambda chunk: chunk
        self.on_ask: Callable[[bytes, str], bytes] = lambda chunk, peer: chunk

    def captured(self) -> bytes:
        """Each byte that passed, both ways."""
        return b"\n".join(bytes(one.asked) + b"\n" + bytes(one.answered) for one in self.connections)

    def passed(self) -> list[Passed]:
        """The exchanges that came to their end, connection by connection."""
        found = []
        for connection in self.connections:
            replies = _messages(bytes(connection.answered))
            # A reply may be missing where a connection was cut.
            for asked, answered in zip(_messages(bytes(connection.asked)), replies, strict=False):
                method, target, _ = asked[0].split(b" ")
                found.append(
                    Passed(method.decode(), target, *asked[1:], int(answered[0].split(b" ")[1]), *answered[1:])
                )
        return found

    @contextlib.contextmanager
    def running(self) -> Iterator[Terminator]:
        """Listening, in a thread of its own."""
        loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(self._serve(ready, over)), daemon=True)
        thread.start()
        try:
            assert ready.wait(_START_SECONDS), "the terminator does not listen"
            yield self
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join(_START_SECONDS)
            loop.close()

    def _heard(self, chunk: bytes) -> bytes | None:
        return self.on_reply(chunk)  # as it is by then, not as it was when the connection began

    async def _serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        meetings: set[asyncio.Task[None]] = set()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            meetings.add(task)
            task.add_done_callback(meetings.discard)
            await self._meet(reader, writer)

        server = await asyncio.start_server(meet, "127.0.0.1", self._port, ssl=self._front)
        ready.set()
        await over.wait()
        server.close()
        for task in list(meetings):
            task.cancel()
        await asyncio.gather(*meetings, return_exceptions=True)

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, onward = await asyncio.open_connection(
                "127.0.0.1", self._behind, ssl=self._trust, server_hostname="localhost"
            )
        except OSError:
            await _end(writer)
            return
        versions = [str(end.get_extra_info("ssl_object").version()) for end in (writer, onward)]
        connection = Connection(bytearray(), bytearray(), versions)
        self.connections.append(connection)
        peer = str(writer.get_extra_info("peername")[0])
        ways = [
            asyncio.create_task(_pump(reader, onward, connection.asked, lambda chunk: self.on_ask(chunk, peer))),
            asyncio.create_task(_pump(behind, writer, connection.answered, self._heard)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await _end(onward)
            await _end(writer)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    kept: bytearray,
    change: Callable[[bytes], bytes | None],
) -> None:
    """Until one end is gone, or is to be cut off."""
    while chunk := await reader.read(_CHUNK):
        kept += chunk  # before it goes on: who has the reply finds the exchange here
        passed = change(chunk)
        if passed is None:
            return
        writer.write(passed)
        await writer.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):  # what it was lost by before
        await writer.wait_closed()


def _messages(said: bytes) -> Iterator[tuple[bytes, Fields, bytes]]:
    """First line, fields and body of each whole message. None of ours is chunked."""
    while said:
        head, end, rest = said.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        read = tuple((name.lower(), value.strip()) for name, _, value in (field.partition(b":") for field in fields))
        size = int(dict(read).get(b"content-length", b"0"))
        assert b"transfer-encoding" not in dict(read)
        if not end or len(rest) < size:
            return
        yield line, read, rest[:size]
        said = rest[size:]
