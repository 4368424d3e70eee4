"""Clients that keep the very bytes of what they send, and an attacker who has them too."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from dataclasses import dataclass, field
from typing import Self

import httpx2

from sealwire.client import AsyncTransport, Credential, OutcomeUnknown, Refused, ReplyUnproven
from tests.reliability.history import Answer, Order

_NONCE = re.compile(rb'^signature-input: .*;keyid="([^"]+)";nonce="([^"]+)"', re.MULTILINE)
_PATIENCE_SECONDS = 20


@dataclass
class Taped:
    """One message on the wire: its bytes, and the status that came back, 0 for none, with its Retry-After."""

    order: Order
    raw: bytes
    key: str
    nonce: str
    status: int = 0
    retry_after: str = ""


@dataclass
class Tape:
    """Every message of a round, as someone on the way would have it."""

    messages: list[Taped] = field(default_factory=list)
    #: Set once so many were answered.
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0

    def heard(self, message: Taped, status: int) -> None:
        """A message has its answer."""
        message.status = status
        if sum(one.status == 200 for one in self.messages) >= self.wanted:
            self.answered.set()


class Peer:
    """One connection to the server, opened when it is needed."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self._port = port
        self._tls = tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def open(self) -> None:
        """Raises: OSError."""
        if self._streams is None:
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
    """Carries the SDK's requests over one Peer and keeps each. The app is told the nonce in a field of its own."""

    def __init__(self, peer: Peer, tape: Tape) -> None:
        self._peer = peer
        self._tape = tape
        self.order: Order = ("", "")

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """As httpx2 says."""
        try:
            await self._peer.open()
        except (OSError, TimeoutError) as why:
            raise httpx2.ConnectError(str(why)) from None
        head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        found = _NONCE.search(head)
        taped = None
        if found:
            head += b"x-message: " + found[2] + b"\r\n"
        raw = b"%s %s HTTP/1.1\r\n%s\r\n" % (request.method.encode(), request.url.raw_path, head)
        raw += await request.aread()
        if found:
            taped = Taped(self.order, raw, found[1].decode(), found[2].decode())
            self._tape.messages.append(taped)
        try:
            status, fields, body = await self._peer.exchange(raw)
        except (OSError, EOFError, TimeoutError) as why:
            raise httpx2.ReadError(str(why)) from None
        if taped is not None:
            taped.retry_after = dict(fields).get("retry-after", "")
            self._tape.heard(taped, status)
        return httpx2.Response(status, headers=fields, content=body)


class Caller:
    """One client on one connection, through the SDK."""

    def __init__(self, credential: Credential, port: int, tls: ssl.SSLContext, tape: Tape) -> None:
        self._peer = Peer(port, tls)
        self._wire = Taping(self._peer, tape)
        self._http = httpx2.AsyncClient(transport=AsyncTransport(credential, inner=self._wire))
        self._url = f"{credential.origin}/v1/orders"
        self.principal = credential.client

    async def __aenter__(self) -> Self:
        """With its connection open. Raises: OSError."""
        await self._peer.open()
        return self

    async def __aexit__(self, *_failure: object) -> None:
        await self._peer.close()

    async def ask(self, name: str) -> Answer:
        """Places the order of this name under the idempotency key of that name."""
        self._wire.order = (self.principal, name)
        headers = {"idempotency-key": name}
        try:
            reply = await self._http.post(self._url, json={"id": name}, headers=headers, timeout=_PATIENCE_SECONDS)
        except (OutcomeUnknown, ReplyUnproven, Refused, httpx2.TransportError):
            return Answer("none")
        request = reply.headers.get("x-request-id", "")
        if reply.status_code == 200:
            return Answer("done", request, reply.content)
        if reply.status_code >= 500:
            return Answer("none", request)
        return Answer("unknown" if reply.json().get("outcome") == "unknown" else "refused", request)


async def send_again(messages: list[Taped], port: int, tls: ssl.SSLContext, at_once: int = 8) -> list[tuple[int, str]]:
    """The same bytes again, each once: status and slug of each answer, 0 for none."""
    waiting = list(enumerate(messages))
    answers: list[tuple[int, str]] = [(0, "")] * len(messages)

    async def work() -> None:
        peer = Peer(port, tls)
        while waiting:
            place, message = waiting.pop()
            try:
                status, _, body = await peer.exchange(message.raw)
            except (OSError, EOFError, TimeoutError):
                continue
            answers[place] = (status, str(json.loads(body).get("code", "")))
        await peer.close()

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answers
