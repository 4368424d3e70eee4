"""The demo's exchange on our own runner, over real TLS: what a peer can send, and what comes of it."""

import json
import re
import socket
import ssl
from collections.abc import Iterator

import pytest

from sealwire.admin import Admin
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.demo.tour import Tour
from sealwire.fronts.cli.demo import free_port, operator_of, serving

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """The exchange, running."""
    state = DemoState(tmp_path_factory.mktemp("demo"), free_port())
    state.make()
    with serving(state):
        yield state


def connected(state: DemoState) -> ssl.SSLSocket:
    """A TLS connection that trusts the demo's CA."""
    context = ssl.create_default_context(cafile=str(state.ca))
    plain = socket.create_connection(("127.0.0.1", state.port), timeout=10)
    return context.wrap_socket(plain, server_hostname="localhost")


def said(state: DemoState, request: bytes) -> bytes:
    """All that comes back for these bytes until the server closes."""
    with connected(state) as peer:
        peer.sendall(request)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
    return answer


def head(state: DemoState, target: bytes = b"/v1/time", more: bytes = b"", method: bytes = b"GET") -> bytes:
    """A request head for this server, closing."""
    host = f"localhost:{state.port}".encode()
    return method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n" + more + b"\r\n"


def code(answer: bytes) -> tuple[int, str]:
    """Status and slug of an answer."""
    body = answer.partition(b"\r\n\r\n")[2]
    found = re.search(rb'"code": "([a-z-]+)"', body)
    return int(answer.split(b" ", 2)[1]), found[1].decode() if found else ""


def test_the_tour_holds(demo: DemoState) -> None:
    """Every step of the tour comes out as it must."""
    password = demo.add_user("alice")
    with Admin(demo.config) as admin:
        tour = Tour(demo.origin, demo.pages, demo.ca, "alice", password, operator_of(admin), demo.folder)
        steps = list(tour.play())
    assert [step.tried for step in steps if not step.held] == []
    assert len(steps) == 24


def test_tls_1_3_and_nothing_older(demo: DemoState) -> None:
    """A peer that offers at most TLS 1.2 gets no connection, and no ticket is handed out."""
    with connected(demo) as peer:
        assert peer.version() == "TLSv1.3"
    old = ssl.create_default_context(cafile=str(demo.ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")


def test_an_open_call(demo: DemoState) -> None:
    """An open route answers anyone, hardened."""
    answer = said(demo, head(demo))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"cache-control: no-store, no-transform" in answer
    assert b"x-content-type-options: nosniff" in answer
    assert b"\r\nserver:" not in answer.lower()


@pytest.mark.parametrize(
    ("target", "status", "slug"),
    [
        (b"/v1/../v1/time", 400, "target-not-canonical"),
        (b"/v1//time", 400, "target-not-canonical"),
        (b"/v1/%2e%2e/time", 400, "target-not-canonical"),
        (b"/v1/time#x", 400, "target-not-canonical"),
        (b"/v1/time/", 400, "target-not-canonical"),
        (b"/V1/time", 400, "target-not-canonical"),
        (b"/v1/time;x=1", 400, "target-not-canonical"),
        (b"https://localhost/v1/time", 400, "target-not-canonical"),
        (b"/v1/time?redirect_uri=https%3A%2F%2Fa%2Fb", 200, ""),
        (b"/v1/nothing", 404, "not-found"),
    ],
)
def test_targets_on_the_wire(demo: DemoState, target: bytes, status: int, slug: str) -> None:
    """A target with two readings is refused as it was received, though the parser would have dropped parts of it."""
    assert code(said(demo, head(demo, target))) == (status, slug)


def test_methods_and_hosts(demo: DemoState) -> None:
    """Unlisted methods, a rewritten Host, none, two."""
    assert code(said(demo, head(demo, method=b"DELETE"))) == (405, "method-not-allowed")
    host = f"localhost:{demo.port}".encode()
    assert code(said(demo, head(demo).replace(host, b"backend:8000"))) == (421, "authority-unknown")
    assert code(said(demo, b"GET /v1/time HTTP/1.0\r\n\r\n")) == (421, "authority-unknown")
    assert code(said(demo, head(demo, more=b"Host: " + host + b"\r\n"))) == (400, "header-malformed")


@pytest.mark.parametrize(
    "more",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"X-A: 1\r\n folded\r\n",
        b"X-A: \x00\r\n",
        b"Content-Length: +2\r\n",
    ],
)
def test_heads_with_two_readings(demo: DemoState, more: bytes) -> None:
    """Framing and fields that servers read differently are 400, by the parser or by the guard."""
    assert said(demo, head(demo, more=more)).startswith(b"HTTP/1.1 400 ")


def test_heads_without_an_end(demo: DemoState) -> None:
    """Many fields and one field that never ends are cut at their limit."""
    many = b"".join(b"X-%d: %s\r\n" % (i, b"v" * 100) for i in range(400))
    assert said(demo, head(demo, more=many)).startswith(b"HTTP/1.1 400 ")
    with connected(demo) as peer:
        peer.sendall(head(demo)[:-2] + b"X-Endless: ")
        received = b""
        try:
            for _ in range(64):
                peer.sendall(b"v" * 65536)
            received = peer.recv(65536)
        except OSError:
            received = received or b"HTTP/1.1 400 cut"
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("bound", "more"),
    [("_HEAD_SECONDS", None), ("_HEAD_SECONDS", b""), ("_BODY_SECONDS", b"Content-Length: 9\r\n\r\n{")],
)
def test_a_peer_that_does_not_go_on(
    demo: DemoState, monkeypatch: pytest.MonkeyPatch, bound: str, more: bytes | None
) -> None:
    """L5: a connection without a head, a head without an end, a body that does not come: the server ends each."""
    monkeypatch.setattr(f"sealwire.fronts.server.{bound}", 0.05)
    start = head(demo, b"/v1/login", b"Content-Type: application/json\r\n", b"POST")[:-2]
    try:
        answer = said(demo, b"" if more is None else start + more)
    except (ConnectionError, ssl.SSLError):
        answer = b""
    assert answer == b""


def test_a_second_head_that_does_not_end(demo: DemoState, monkeypatch: pytest.MonkeyPatch) -> None:
    """L5: nor is a connection kept for ever by the start of its next message."""
    with connected(demo) as peer:
        peer.sendall(head(demo).replace(b"Connection: close\r\n", b""))
        answer = b""
        while b'{"time":' not in answer:
            answer += peer.recv(65536)
        monkeypatch.setattr("sealwire.fronts.server._HEAD_SECONDS", 0.05)
        peer.sendall(b"GET /v1/ti")
        try:
            more = peer.recv(65536)
        except (ConnectionError, ssl.SSLError):
            more = b""
    assert more == b""


def test_trailers_reach_nothing(demo: DemoState) -> None:
    """A field moved into a trailer is not there."""
    body = b'{"user": "alice", "password": "x"}'
    chunked = head(demo, b"/v1/login", b"Transfer-Encoding: chunked\r\n", b"POST")
    trailer = b"%x\r\n%s\r\n0\r\nContent-Type: application/json\r\n\r\n" % (len(body), body)
    assert code(said(demo, chunked + trailer)) == (415, "media-type")


def test_a_refusal_before_the_body_closes(demo: DemoState) -> None:
    """Nobody pours into a call that is over."""
    start = head(demo, b"/v1/orders", b"Content-Type: application/json\r\nContent-Length: 100000\r\n", b"POST")
    answer = said(demo, start.replace(b"Connection: close\r\n", b""))
    assert code(answer) == (401, "signature-missing")
    assert b"connection: close" in answer


def test_the_log_tells_no_content(demo: DemoState) -> None:
    """A marker in path, query, fields and body stands in no file of the guard."""
    marker = b"MARKER"
    more = b"X-A: MARKER\r\nUser-Agent: MARKER\r\nContent-Type: application/json\r\nContent-Length: 17\r\n"
    said(demo, head(demo, b"/v1/orders/MARKER?MARKER=1", more, b"DELETE") + b'{"a": "MARKER"}  ')
    said(demo, head(demo, b"/v1/login", more, b"POST") + b'{"user":"MARKER"}')
    kept = [path for path in demo.folder.rglob("*") if path.is_file() and not path.name.startswith("exchange.db")]
    assert [path.name for path in kept if marker in path.read_bytes()] == []
    lines = [json.loads(line) for line in (demo.folder / "calls.jsonl").read_text().splitlines()]
    assert {"/v1/orders/{id}", "/v1/login"} <= {line["url.template"] for line in lines}
    assert load(demo.config).environment == "development"
