"""Clients that keep the very bytes of what they send, and an attacker who has them too."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Sequence
from typing import Self
from zlib import crc32

import httpx2

from sealwire.client import AsyncTransport, Credential, OutcomeUnknown, Refused, ReplyUnproven
from sealwire.endpoints import SESSIONS
from sealwire.protocol import envelope
from tests.reliability.history import Answer
from tests.reliability.tape import Tape, Taped

_KEYED = re.compile(rb'^signature-input: .*;keyid="([^"]+)";nonce="([^"]+)"', re.MULTILINE)
_PATIENCE_SECONDS = 20


class Peer:
    """One connection to the server, opened when it is needed."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self._port = port
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is there, and the other end has not closed it while nobody waited for anything."""
        return self._streams is not None and not self._streams[0].at_eof() and self._streams[0].exception() is None

    async def open(self) -> None:
        """Raises: OSError."""
        if not self.is_open:
            await self.close()
            opening = asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, server_hostname="localhost")
            self._streams = await asyncio.wait_for(opening, _PATIENCE_SECONDS)

    async def exchange(self, raw: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """These bytes and what is answered to them. Raises: OSError, EOFError."""
        await self.open()
        assert self._streams is not None
        reader, writer = self._streams
        try:
            writer.write(raw)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = [(name, value) for name, _, value in (line.partition(": ") for line in head[1:] if line)]
                found = dict(fields)
                body = await reader.readexactly(int(found.get("content-length", "0")))
        except BaseException:
            await self.close()
            raise
        if found.get("connection") == "close":
            await self.close()
        return int(head[0].split()[1]), fields, body

    async def close(self) -> None:
        """Drops the connection."""
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.transport.abort()
            with contextlib.suppress(OSError):  # what it was lost by before
                await writer.wait_closed()


class Taping(httpx2.AsyncBaseTransport):
    """
    Carries the requests of one SDK client over its own connections and keeps each. The app is told the nonce in a field
    of its own.
    """

    def __init__(self, principal: str, port: int, tls: ssl.SSLContext, tape: Tape) -> None:
        self._principal = principal
        self._port = port
        self._tls = tls
        self._tape = tape
        self._idle: list[Peer] = []
        self._number = tape.clients
        tape.clients += 1

    async def connect(self, connections: int) -> None:
        """So many connections from now on, new ones. Raises: OSError."""
        await self.aclose()
        self._idle = [Peer(self._port, self._tls) for _ in range(connections)]
        await asyncio.gather(*(peer.open() for peer in self._idle))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As httpx2 says."""
        peer = self._idle.pop(0) if self._idle else Peer(self._port, self._tls)
        try:
            return await self._over(peer, request)
        finally:
            self._idle.append(peer)

    async def _over(self, peer: Peer, request: httpx2.Request) -> httpx2.Response:
        if not peer.is_open:
            await self._tape.way_is_open.wait()
        try:
            await peer.open()
        except (OSError, TimeoutError) as why:
            raise httpx2.ConnectError(str(why)) from None
        head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        found, body = _KEYED.search(head), await request.aread()
        if found:
            head += b"x-message: " + found[2] + b"\r\n"
        raw = b"%s %s HTTP/1.1\r\n%s\r\n%s" % (request.method.encode(), request.url.raw_path, head, body)
        taped = self._tape_of(request, body, raw, found) if found else None
        try:
            status, fields, body = await peer.exchange(raw)
        except (OSError, EOFError, TimeoutError) as why:
            raise httpx2.ReadError(str(why)) from None
        if taped is not None:
            taped.answered(status, dict(fields), body)
            self._tape.heard(taped)
        return httpx2.Response(status, headers=fields, content=body)

    def _tape_of(self, request: httpx2.Request, body: bytes, raw: bytes, found: re.Match[bytes]) -> Taped:
        # What the SDK asks for by itself carries no key, and is for no order.
        order = (self._principal, request.headers.get("idempotency-key", ""))
        sealed = request.headers.get("content-type") == envelope.MEDIA_TYPE.decode()
        taped = Taped(
            order,
            raw,
            key=found[1].decode(),
            nonce=found[2].decode(),
            ask=self._tape.asked[order],
            start=self._tape.start,
            client=self._number,
            session=envelope.read(body, envelope.Headers()).header.session if sealed else "",
            opens=request.url.path == SESSIONS,
        )
        self._tape.sends(taped)
        return taped

    async def aclose(self) -> None:
        """Drops its connections."""
        while self._idle:
            await self._idle.pop().close()


class Caller:
    """
    One client through the SDK, as a process of its own would be: its calls share a session and `connections`. The same
    name always goes to the same one of `paths`.
    """

    def __init__(
        self,
        credential: Credential,
        port: int,
        tls: ssl.SSLContext,
        tape: Tape,
        *,
        paths: Sequence[str] = ("/v1/orders",),
        connections: int = 1,
    ) -> None:
        self._tape = tape
        self._wire = Taping(credential.client, port, tls, tape)
        self._http = httpx2.AsyncClient(
            transport=AsyncTransport(credential, inner=self._wire), base_url=credential.origin
        )
        self._paths = paths
        self._connections = connections
        self.principal = credential.client

    async def __aenter__(self) -> Self:
        """With its connections open. Raises: OSError."""
        await self.reconnect()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self._http.aclose()

    async def reconnect(self) -> None:
        """New connections in place of those it has, while no call of it is out. Raises: OSError."""
        await self._wire.connect(self._connections)

    async def ask(self, name: str) -> Answer:
        """Places the order of this name under the idempotency key of that name."""
        self._tape.asked[self.principal, name] += 1
        path, headers = self._paths[crc32(name.encode()) % len(self._paths)], {"idempotency-key": name}
        try:
            reply = await self._http.post(path, json={"id": name}, headers=headers, timeout=_PATIENCE_SECONDS)
        except (OutcomeUnknown, ReplyUnproven, Refused) as why:
            return Answer("not done" if why.outcome == "not done" else "none")
        except httpx2.TransportError:
            return Answer("not done")  # no byte of it left
        request = reply.headers.get("x-request-id", "")
        if reply.status_code == 200:
            return Answer("done", request, reply.content)
        if reply.extensions["sealwire"].outcome == "not done":
            return Answer("not done", request)
        if reply.status_code >= 500:
            return Answer("none", request)
        return Answer("unknown" if reply.json().get("outcome") == "unknown" else "refused", request)


async def send_again(messages: list[Taped], port: int, tls: ssl.SSLContext, at_once: int = 8) -> list[int]:
    """The same bytes again, each once: the status of each answer, 0 for none."""
    waiting = list(enumerate(messages))
    answers = [0] * len(messages)

    async def work() -> None:
        peer = Peer(port, tls)
        while waiting:
            place, message = waiting.pop()
            try:
                answers[place], _, _ = await peer.exchange(message.raw)
            except (OSError, EOFError, TimeoutError):
                continue
        await peer.close()

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answers
