"""D11, D12: what stands outside of the guard cannot change a call without being noticed, under every framework."""

import json
from collections.abc import Callable

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from sealwire.fronts.asgi import App, Message, Receive, Scope, Send
from tests.frameworks.conftest import Deploy
from tests.frameworks.deployment import BODY, Deployment, Place
from tests.stories.world import Wire

ORDER = "/v1/orders"


def changing(**parts: object) -> Callable[[App], App]:
    """A middleware that writes these parts into every scope."""

    def around(app: App) -> App:
        async def changed(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, **parts}, receive, send)

        return changed

    return around


def draining(app: App) -> App:
    """A middleware that reads the body and hands on what is left of it: nothing."""

    async def drained(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass

        async def empty() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        await app(scope, empty, send)

    return drained


def streaming(app: App) -> App:
    """A Starlette middleware that consumes the body as a stream."""

    async def consume(request: Request, call_next: RequestResponseEndpoint) -> Response:
        async for _ in request.stream():
            pass
        return await call_next(request)

    return BaseHTTPMiddleware(app, consume)


def reading(app: App) -> App:
    """A Starlette middleware that reads the body, which Starlette then gives again to whoever is inside."""

    async def read(request: Request, call_next: RequestResponseEndpoint) -> Response:
        assert await request.body() == BODY
        return await call_next(request)

    return BaseHTTPMiddleware(app, read)


async def misused(deployment: Deployment, request: Wire) -> dict[str, object]:
    """Sends: 500, which says nothing of the caller, and the app not entered."""
    reply = await deployment.send(request)
    problem: dict[str, object] = json.loads(reply.content)
    assert (reply.status_code, problem["code"]) == (500, "internal"), problem
    assert deployment.probe.entered == []
    return problem


@pytest.mark.parametrize("front_end", ["", "nginx"])
@pytest.mark.parametrize(
    "parts",
    [
        {"path": "/v1/time"},
        {"raw_path": b"/v1/time"},
        {"path": "/v1/orders/7"},
        {"path": "/api/v1/orders", "root_path": "/api"},
        {"path": "/V1/orders"},
        {"raw_path": None},
    ],
)
async def test_a_middleware_that_changes_the_path(deploy: Deploy, front_end: str, parts: dict[str, object]) -> None:
    """The path that the app would be routed by is not the one that is judged."""
    deployment = await deploy(Place(changing(**parts)), front_end=front_end)
    await misused(deployment, deployment.order())


@pytest.mark.parametrize(
    "parts",
    [
        {"path": "/v1/time", "raw_path": b"/v1/time"},
        {"query_string": b"account=7"},
        {"path": "/srv/v1/orders", "raw_path": b"/srv/v1/orders"},
        {"path": "/srv/v1/orders", "raw_path": b"/srv/v1/orders", "root_path": "/srv2"},
        {"path": "/v1/orders/", "raw_path": b"/v1/orders/"},
        {"path": "v1/orders", "raw_path": b"v1/orders", "root_path": "/"},
    ],
)
async def test_a_middleware_that_changes_the_whole_target(deploy: Deploy, parts: dict[str, object]) -> None:
    """Path and raw path, or the query, are no longer what the server received."""
    deployment = await deploy(Place(changing(**parts)))
    await misused(deployment, deployment.order())


async def test_a_server_that_hands_on_no_exact_target(deploy: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    """No front end is named that judges what the parser cut: nothing is served, and the log says what to do."""
    deployment = await deploy(front_end="nginx")
    assert (await deployment.send(deployment.order())).status_code == 200
    deployment.guarded._front_end = ""
    assert (await deployment.send(deployment.order())).json()["code"] == "internal"
    assert len(deployment.probe.entered) == 1
    assert "the server does not hand on the exact target; name the front end that judges it" in caplog.text


@pytest.mark.parametrize("around", [draining, streaming])
async def test_a_middleware_that_takes_the_body(deploy: Deploy, around: Callable[[App], App]) -> None:
    """D12: the body is gone before the guard reads it: an error that says so, and never a verified empty body."""
    deployment = await deploy(Place(around))
    problem = await misused(deployment, deployment.order())
    assert problem["detail"] == "A middleware before the guard read the body; the guard must be outermost."


@pytest.mark.parametrize("around", [draining, streaming])
async def test_a_body_without_a_length_that_is_taken(deploy: Deploy, around: Callable[[App], App]) -> None:
    """D12: no length tells that a chunked body is gone; its digest does."""
    deployment = await deploy(Place(around))
    request = deployment.order().without(b"content-length").change(b"transfer-encoding", b"chunked")
    reply = await deployment.send(request)
    assert (reply.status_code, reply.json()["code"]) == (401, "digest-mismatch")
    assert deployment.probe.entered == []


async def test_a_body_that_is_given_again_is_judged(deploy: Deploy) -> None:
    """A middleware that reads the body and gives it on as it was changes nothing; its digest says so."""
    deployment = await deploy(Place(reading))
    assert (await deployment.send(deployment.order())).json() == {"client": "cli_alice", "body": BODY.decode()}


@pytest.mark.parametrize("around", [streaming, reading], ids=["streaming", "reading"])
async def test_a_middleware_inside_is_the_apps_own_business(deploy: Deploy, around: Callable[[App], App]) -> None:
    """Inside of the guard a middleware reads what was judged, and nothing else."""
    deployment = await deploy()
    inner, received = deployment.probe._app, []

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    deployment.probe._app = around(inner if around is reading else noting)
    reply = await deployment.send(deployment.order())
    assert reply.status_code == (200 if around is reading else 204)
    assert deployment.probe.received[0]["body"] == BODY
