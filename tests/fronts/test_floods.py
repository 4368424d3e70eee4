"""
L5: floods of connections from the honest caller's own address, against a real `sealwire serve` over TLS.

What a connection costs the process, measured with 2,000 of each: 1.2 KiB without a byte, 57 KiB in a handshake, 35 KiB
in a head or body, and beside that what of a reply was not read. An address has 512 of them: under 30 MiB, and replies.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from sealwire.client import Credential
from sealwire.client.explain import signed_headers
from tests.fronts import flooding
from tests.reliability.serving import Served

pytestmark = pytest.mark.xdist_group("server")
_APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b'"' + b"x" * 100_000 + b'"' if scope["path"] == "/v1/large" else b'{"time": 0}'
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

def made():
    return app
"""
_RULES = """
[[rules]]
path = "/v1/balances"
methods = ["GET"]
profile = "signed"

[[rules]]
path = "/v1/notes"
methods = ["POST"]
profile = "open"

[[rules]]
path = "/v1/large"
methods = ["GET"]
profile = "open"
"""
_SOON_SECONDS = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A small app behind its guard, in a process of its own."""
    made = Served(tmp_path_factory.mktemp("flooded"), "flooded:made")
    (made.state.folder / "flooded.py").write_text(_APP)
    made.state.config.write_text(made.state.config.read_text() + _RULES)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextmanager
def flooded(served: Served, kind: str, count: int) -> Iterator[None]:
    """While `count` connections of this kind have come, from this very address."""
    command = [sys.executable, flooding.__file__, kind, str(served.state.port), str(served.ca), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"standing\n"
            yield
            assert process.poll() is None, "the flood ended by itself"
        finally:
            process.kill()


class Honest:
    """A caller with four connections that are kept, and new ones now and then; without a credential a stranger."""

    def __init__(self, served: Served, credential: Credential | None = None) -> None:
        self._credential = credential
        self._port, self._trust = served.state.port, served.trust()
        self._kept: list[http.client.HTTPSConnection] = []

    def __enter__(self) -> Self:
        self._kept += [self._connection() for _ in range(4)]
        assert [self._call(connection) for connection in self._kept] == [200] * 4
        return self

    def __exit__(self, *raised: object) -> None:
        for connection in self._kept:
            connection.close()

    def call(self, count: int) -> list[int]:
        """The statuses of that many calls, one in five over a connection of its own. None is tried twice."""
        statuses = []
        for number in range(count):
            if number % 5:
                statuses.append(self._call(self._kept[number % 4]))
            else:
                with contextlib.closing(self._connection()) as fresh:
                    statuses.append(self._call(fresh))
        return statuses

    def _connection(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("localhost", self._port, timeout=10, context=self._trust)
        connection.connect()
        connection.auto_open = 0
        return connection

    def _call(self, connection: http.client.HTTPSConnection) -> int:
        if self._credential is not None:
            url = f"https://localhost:{self._port}/v1/balances"
            connection.request("GET", "/v1/balances", headers=dict(signed_headers(self._credential, "GET", url)))
        else:
            connection.request("GET", "/v1/time")
        reply = connection.getresponse()
        reply.read()
        return reply.status


def resident(pid: int) -> int:
    """MiB that the process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


def sockets(pid: int) -> int:
    """How many sockets it has open."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            links.append(str(entry.readlink()))
    return sum(link.startswith("socket:") for link in links)


def eventually(what: Callable[[], bool]) -> bool:
    """Whether it comes to that."""
    until = time.monotonic() + _SOON_SECONDS
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("kind", "count", "grows", "signed"),
    [
        ("idle", 2_000, 16, False),
        ("half", 2_000, 48, False),
        ("heads", 2_000, 48, False),
        ("bodies", 2_000, 64, False),
        ("readers", 700, 256, True),
    ],
)
def test_an_honest_caller_from_the_same_address(
    served: Served, kind: str, count: int, grows: int, signed: bool
) -> None:
    """L5: 2,000 connections without a byte, a handshake, a head; bodies and readers that take for ever."""
    bare, before = sockets(served.pid), resident(served.pid)
    known = served.enrolled(kind) if signed else None
    with Honest(served, known) as honest, flooded(served, kind, count):
        assert honest.call(200) == [200] * 200
        assert sockets(served.pid) - bare <= 512
        assert resident(served.pid) - before <= grows
    assert eventually(lambda: sockets(served.pid) <= bare), "something of the flood is still there"


def test_connections_that_come_and_go(served: Served) -> None:
    """L5: as many new connections as one process can make."""
    bare, before = sockets(served.pid), resident(served.pid)
    with Honest(served) as honest, flooded(served, "churn", 1_000):
        assert honest.call(200) == [200] * 200
        assert resident(served.pid) - before <= 16
    assert eventually(lambda: sockets(served.pid) <= bare)
