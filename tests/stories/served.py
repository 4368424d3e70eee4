"""A world behind our own runner, over real TLS on this machine: bytes go in as a peer would send them."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sealwire.call import Rule
from sealwire.demo.state import DemoState
from sealwire.fronts.server import server, tls_context
from tests.stories.world import Wire, World

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_START_SECONDS = 15
_CODE = re.compile(rb'"code": "([a-z-]+)"')


class Answer(NamedTuple):
    """The first final answer of a connection, and what came behind it."""

    status: int
    code: str
    head: bytes
    body: bytes
    rest: bytes

    @classmethod
    def of(cls, received: bytes) -> Answer:
        """Reads what a connection brought. No answer at all is status 0."""
        received = received.removeprefix(CONTINUE)
        if not received:
            return cls(0, "", b"", b"", b"")
        head, _, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        body = rest[: int(length[1])] if length else b""
        found = _CODE.search(body)
        return cls(int(head.split(b" ")[1]), found[1].decode() if found else "", head, body, rest[len(body) :])

    def said(self) -> str:
        """Status and slug, as the tables of docs/http.md write them; what the parser itself refuses is `bare`."""
        bare = "bare" if b"\r\ncontent-type: text/plain" in self.head else ""
        return f"{self.status} {self.code or bare}".strip()


class Served:
    """The world's guard and app on a port of this machine, and its peers."""

    def __init__(self, world: World, port: int, ca: Path) -> None:
        self.world = world
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca))

    def connect(self) -> ssl.SSLSocket:
        """A new TLS connection."""
        plain = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(plain, server_hostname="localhost")

    def say(self, sent: bytes) -> Answer:
        """What these bytes bring on a connection of their own."""
        with self.connect() as peer:
            peer.sendall(sent)
            return hear(peer)


def hear(peer: ssl.SSLSocket, *, to_the_end: bool = False) -> Answer:
    """The answer of a connection, read until it is whole, or to the end: until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while chunk := peer.recv(65536):
            received += chunk
            answer = Answer.of(received)
            if answer.status and not to_the_end and _is_whole(answer):
                return answer
    return Answer.of(received)


def _is_whole(answer: Answer) -> bool:
    length = re.search(rb"\r\ncontent-length: (\d+)", answer.head)
    return length is not None and len(answer.body) == int(length[1])


def raw(request: Wire, more: bytes = b"") -> bytes:
    """The request as bytes on the wire; `more` stands behind its fields."""
    lines = [request.method.encode() + b" " + request.target + b" HTTP/1.1"]
    lines += [name + b": " + value for name, value in request.headers]
    return b"\r\n".join(lines) + b"\r\n" + more + b"\r\n" + request.body


@contextlib.contextmanager
def served(folder: Path, rules: tuple[Rule, ...]) -> Iterator[Served]:
    """A world on our runner, from its first call to its last."""
    world = World(folder, rules)
    made = DemoState(folder / "tls-made", 0)
    made.make()
    context = tls_context(made.folder / "tls" / "cert.pem", made.folder / "tls" / "key.pem")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = server(world.app, host="127.0.0.1", port=0, context=context)
        thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listening])), daemon=True)
        thread.start()
        until = time.monotonic() + _START_SECONDS
        while not running.started:
            assert thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server did not start in time"
            time.sleep(0.01)
        world.entered.clear()  # the app was asked whether it has a lifespan
        try:
            yield Served(world, listening.getsockname()[1], made.ca)
        finally:
            running.should_exit = True
            thread.join(_START_SECONDS)
