"""Threads, tasks and forked processes over real sockets: none gets into another's way."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TypeVar

import httpx2
import pytest

from sealwire.client import AsyncTransport, Credential, Transport, enroll
from tests.client.callers import EVERY_KIND, Kind, sealed_under
from tests.client.conftest import enrolled
from tests.client.sealing_double import SealingServer
from tests.client.server_double import Server

CALLS = 20
Double = TypeVar("Double", bound=Server)

FORK = """
import json, os, sys
import httpx2
from sealwire.client import Transport

transport = Transport(sys.argv[1])
http = httpx2.Client(transport=transport, base_url=sys.argv[2])
http.get("/before")                      # the parent has an open connection
reading, writing = os.pipe()
child = os.fork()
bodies = [http.post("/v1/orders", content=b"x").status_code for _ in range(10)]
if child == 0:
    os.write(writing, json.dumps(bodies).encode())
    os._exit(0)
os.waitpid(child, 0)
again = http.get("/after").status_code   # the parent's connection still works
print(json.dumps([bodies, json.loads(os.read(reading, 1000)), again]))
"""


SEALED_FORK = """
import asyncio, importlib, json, os, sys

credential, origin, library, ours, tasks = sys.argv[1:]
library, ours = importlib.import_module(library), importlib.import_module(ours)
runner = asyncio.Runner()
if tasks:
    transport = ours.AsyncTransport(credential)
    http = library.AsyncClient(transport=transport, base_url=origin)
else:
    transport = ours.Transport(credential)
    http = library.Client(transport=transport, base_url=origin)

def run(made):
    return runner.run(made) if tasks else made

def order(who, number):
    path = ("/v1/orders", "/v1/quotes")[number % 2]
    return run(http.post(path, content=b"x", headers={"x-who": who})).status_code

before = [order("parent", number) for number in range(2)]
here = transport._process
# As if threads that the child does not have were in the midst of something.
held = [here.sessions._lock, here.origin._lock, here.turns._threads]
for lock in held:
    lock.acquire()
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    runner = asyncio.Runner()
    done = [order("child", number) for number in range(10)]
    run(http.aclose() if tasks else http.close())
    os.write(writing, json.dumps(done).encode())
    os._exit(0)
for lock in held:
    lock.release()
meanwhile = [order("parent", number) for number in range(10)]
os.waitpid(child, 0)
after = [order("parent", number) for number in range(2)]   # the child has ended its session, and not this one
run(http.aclose() if tasks else http.close())
runner.close()
print(json.dumps([before + meanwhile + after, json.loads(os.read(reading, 1000))]))
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: Server

    def handle_any(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = httpx2.ByteStream(self.rfile.read(length))
        url = self.double.origin + self.path
        response = self.double.handle(httpx2.Request(self.command, url, headers=self.headers.items(), stream=body))
        content = response.read()
        self.send_response_only(response.status_code)
        for name, value in response.headers.multi_items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815 - the names that http.server asks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@contextmanager
def listening(double: type[Double]) -> Iterator[Double]:
    """The double behind a real socket of this machine."""

    class Here(Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as listener:
        listener.daemon_threads = True
        Here.double = made = double(origin=f"http://127.0.0.1:{listener.server_address[1]}", clock=time.time)
        thread = Thread(target=listener.serve_forever, daemon=True)
        thread.start()
        yield made
        listener.shutdown()
        thread.join()


@pytest.fixture
def real() -> Iterator[Server]:
    with listening(Server) as server:
        yield server


@pytest.fixture
def sealing() -> Iterator[SealingServer]:
    with listening(SealingServer) as server:
        yield server


@pytest.fixture
def caller(real: Server) -> Credential:
    return enrolled(real)


def test_threads_share_one_transport(real: Server, caller: Credential) -> None:
    """P3: every call gets its own answer and its own nonce."""
    with httpx2.Client(transport=Transport(caller), base_url=caller.origin) as http:

        def call(number: int) -> int:
            return http.post("/v1/orders", content=b"%d" % number).status_code

        with ThreadPoolExecutor(8) as threads:
            assert list(threads.map(call, range(CALLS))) == [201] * CALLS
    assert sorted(real.effects) == sorted(b"%d" % number for number in range(CALLS))


def test_threads_learn_the_clock_together(real: Server, caller: Credential) -> None:
    """P3, C15: an hour off, from many threads at once; nobody loops, and all are right afterwards."""
    transport = Transport(caller, clock=lambda: time.time() - 3600)
    with httpx2.Client(transport=transport, base_url=caller.origin) as http, ThreadPoolExecutor(8) as threads:
        sends = list(threads.map(lambda _: http.get("/v1/x").extensions["sealwire"].sends, range(CALLS)))
        assert set(sends) <= {1, 2}
        assert http.get("/v1/x").extensions["sealwire"].sends == 1


async def test_tasks_share_one_transport(real: Server, caller: Credential) -> None:
    """P3."""
    async with httpx2.AsyncClient(transport=AsyncTransport(caller), base_url=caller.origin) as http:
        responses = await asyncio.gather(*(http.post("/v1/orders", content=b"%d" % n) for n in range(CALLS)))
    assert {response.status_code for response in responses} == {201}
    assert len(real.effects) == CALLS


def run(script: str, *arguments: str) -> object:
    """What a program of its own prints."""
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@FORKS
def test_a_forked_process_has_connections_of_its_own(real: Server, caller: Credential, tmp_path: Path) -> None:
    """P3, F21: parent and child call at once, over different connections and with different nonces."""
    caller.save(tmp_path / "c.json")
    assert run(FORK, str(tmp_path / "c.json"), caller.origin) == [[201] * 10, [201] * 10, 200]
    assert real.effects.count(b"x") == 20
    assert len(real.nonces) == 22


@FORKS
@EVERY_KIND
def test_a_forked_process_has_a_session_of_its_own(sealing: SealingServer, tmp_path: Path, kind: Kind) -> None:
    """
    P3, F11, F21: opened by itself, whatever the parent was in the midst of, and ended by itself; the parent's goes on.
    No key meets an IV twice.
    """
    credential = enrolled(sealing)
    credential.save(tmp_path / "c.json")
    names = (kind.library.__name__, kind.ours.__name__, "tasks" if kind.tasks else "")
    assert run(SEALED_FORK, str(tmp_path / "c.json"), credential.origin, *names) == [[201] * 14, [201] * 10]
    used = {who: [r for r in sealing.seen if r.headers.get("x-who") == who] for who in ("parent", "child")}
    sessions = {who: set(sealed_under(requests)) for who, requests in used.items()}
    assert [len(of_one) for of_one in sessions.values()] == [1, 1]
    assert sessions["parent"].isdisjoint(sessions["child"])
    assert len(sealed_under(sealing.seen)) == 24
    assert (sealing.opened, sealing.sessions) == (2, {})


def test_enrolment_over_a_socket(real: Server, tmp_path: Path) -> None:
    credential = enroll(real.origin, real.invite(), name="alice", path=tmp_path / "c.json")
    with httpx2.Client(transport=Transport(tmp_path / "c.json"), base_url=credential.origin) as http:
        assert http.get("/v1/x").status_code == 200
