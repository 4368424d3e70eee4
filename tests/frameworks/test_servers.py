"""Each framework's app behind its guard on real servers: our runner over TLS, and uvicorn as it comes."""

import contextlib
import json
import socket
import sqlite3
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
import uvicorn

from sealwire.config import load
from sealwire.fronts.asgi import App, Message, Receive, Scope, Send
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.serve import server_context
from sealwire.fronts.server import server
from tests.frameworks.conftest import Deploy
from tests.frameworks.deployment import BODY, PLACES, Deployment, Place
from tests.stories.world import Wire

pytestmark = pytest.mark.xdist_group("server")
Talk = Callable[[Wire], httpx2.Response]


@contextlib.contextmanager
def running(made: uvicorn.Server) -> Iterator[None]:
    """The server on a thread of its own, from its first call to the end of its lifespan."""
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 15
        while not made.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.01)
        yield
    finally:
        made.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@contextlib.contextmanager
def ours(deployment: Deployment) -> Iterator[Talk]:
    """On our own runner, over TLS."""
    port = free_port()
    context = server_context(load(deployment.state.config))
    trust = ssl.create_default_context(cafile=str(deployment.state.ca))
    made = server(deployment.app, host="127.0.0.1", port=port, context=context)
    with running(made), httpx2.Client(verify=trust, base_url=f"https://localhost:{port}") as http:
        yield lambda request: sent(http, request)


@contextlib.contextmanager
def stock(deployment: Deployment, **how: str) -> Iterator[Talk]:
    """On uvicorn as anyone starts it."""
    port = free_port()
    made = uvicorn.Server(uvicorn.Config(deployment.app, port=port, log_config=None, **how))  # type: ignore[arg-type]
    with running(made), httpx2.Client(base_url=f"http://127.0.0.1:{port}") as http:
        yield lambda request: sent(http, request)


def sent(http: httpx2.Client, request: Wire) -> httpx2.Response:
    """What comes back for the request, whose fields go out as they are."""
    return http.request(request.method, request.target.decode(), headers=request.headers, content=request.body or None)


def said(reply: httpx2.Response) -> tuple[int, str]:
    """Status and slug."""
    return reply.status_code, str(reply.json().get("code", ""))


def refusals(deployment: Deployment) -> dict[str, int]:
    """What was counted and written by now."""
    connection = sqlite3.connect(deployment.state.folder / "sealwire.db")
    try:
        return dict(connection.execute("SELECT slug, sum(calls) FROM refusals GROUP BY slug").fetchall())
    finally:
        connection.close()


@pytest.mark.parametrize("place", ["whole", "Starlette Mount"])
async def test_on_our_runner(deploy: Deploy, place: str) -> None:
    """D11: honest calls, a stream and refused calls over TLS; at the end the counts are written."""
    deployment: Deployment = await deploy(PLACES[place])
    with ours(deployment) as talk:
        order = deployment.order()
        assert talk(order).json() == {"client": "cli_alice", "body": BODY.decode()}
        assert talk(deployment.signed("GET", "/v1/events")).content == b"one two"
        assert talk(deployment.signed("GET", "/v1/teapot")).json() == {"error": "teapot"}
        entered = len(deployment.probe.entered)
        assert said(talk(order)) == (401, "replay-detected")
        assert said(talk(deployment.wire())) == (401, "signature-missing")
        assert said(talk(deployment.wire("GET", "/v1/time/"))) == (400, "target-not-canonical")
        assert len(deployment.probe.entered) == entered == 3
    if place == "Starlette Mount":
        assert refusals(deployment) == {}, "a mounted app hears of no lifespan"
        await deployment.guarded.close()
    assert refusals(deployment) == {"replay-detected": 1, "signature-missing": 1, "target-not-canonical": 1}


async def test_a_stream_that_breaks_is_cut(deploy: Deploy) -> None:
    """The client can tell that it has not got all of it."""
    deployment: Deployment = await deploy()
    with ours(deployment) as talk, pytest.raises(httpx2.RemoteProtocolError):
        talk(deployment.signed("GET", "/v1/breaks"))


def draining(app: App) -> App:
    """A middleware that reads the body and leaves the server's own `receive` to whoever is inside."""

    async def drained(scope: Scope, receive: Receive, send: Send) -> None:
        while scope["type"] == "http" and (await receive()).get("more_body", False):
            pass
        await app(scope, receive, send)

    return drained


def reading(app: App) -> App:
    """A middleware that reads the body and gives another one on."""

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        await receive()

        async def again() -> Message:
            return {"type": "http.request", "body": BODY, "more_body": False}

        return await app(scope, again, send)

    return read


@pytest.mark.parametrize("around", [draining, reading])
async def test_a_body_that_was_taken_before_us(deploy: Deploy, around: Callable[[App], App]) -> None:
    """D12: a real server would have us wait for the body until the client leaves; ours says that it is gone."""
    deployment: Deployment = await deploy(Place(around))
    with ours(deployment) as talk:
        for request in (deployment.order(), deployment.signed(), deployment.wire("GET", "/v1/time")):
            reply = talk(request)
            assert said(reply) == (500, "internal")
            assert reply.json()["detail"].startswith("A middleware before the guard read the body")
    assert deployment.probe.entered == []


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_under_uvicorn_as_it_comes(deploy: Deploy, http: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is served where no front end is named; with one, honest calls are and refused ones are not."""
    deployment: Deployment = await deploy(front_end="nginx")
    front_end, deployment.guarded._front_end = deployment.guarded._front_end, ""
    with stock(deployment, http=http) as talk:
        for request in (deployment.wire("GET", "/v1/time"), deployment.signed(), deployment.order()):
            assert said(talk(request)) == (500, "internal")
        assert "name the front end that judges it" in caplog.text
        assert deployment.probe.entered == []
        deployment.guarded._front_end = front_end
        order = deployment.order()
        assert talk(order).json() == {"client": "cli_alice", "body": BODY.decode()}
        assert said(talk(order)) == (401, "replay-detected")
        assert said(talk(deployment.wire("GET", "/v1/time/"))) == (400, "target-not-canonical")
        assert len(deployment.probe.entered) == 1
    assert refusals(deployment) == {"replay-detected": 1, "target-not-canonical": 1}


async def test_a_client_that_leaves_over_the_wire(deploy: Deploy, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that is gone before its body is whole: the app is not entered, and it is no failure of ours."""
    deployment: Deployment = await deploy(front_end="nginx")
    port = free_port()
    made = uvicorn.Server(uvicorn.Config(deployment.app, port=port, log_config=None))
    request = deployment.order()
    with running(made), socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        fields = b"".join(b"%s: %s\r\n" % field for field in request.headers)
        peer.sendall(b"POST %s HTTP/1.1\r\n%s\r\n" % (request.target, fields) + BODY[:3])
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["sealwire.code"] for line in lines] == ["client-gone"]
    assert deployment.probe.entered == []
