"""D11: what goes through the guard, the same under every framework and wherever the guarded app stands."""

import asyncio
import json

import pytest

from sealwire.errors import Fault
from tests.frameworks.conftest import Deploy
from tests.frameworks.deployment import BODY, PLACES, Deployment


@pytest.mark.parametrize("place", PLACES)
async def test_views_see_the_caller_and_the_body(deploy: Deploy, place: str) -> None:
    """A sync and an async view, an open call and signed ones: the caller, and the very bytes of the body."""
    deployment: Deployment = await deploy(PLACES[place])
    assert (await deployment.send(deployment.wire("GET", "/v1/time"))).json() == {"caller": False}
    balances = await deployment.send(deployment.signed())
    assert balances.json() == {"client": "cli_alice", "user": "alice"}
    made = await deployment.send(deployment.order())
    assert made.json() == {"client": "cli_alice", "body": BODY.decode()}
    ended = await deployment.send(deployment.signed("DELETE", "/v1/orders/7"))
    assert ended.json() == {"id": "7", "method": "DELETE"}
    assert [reply.status_code for reply in (balances, made, ended)] == [200, 200, 200]
    assert "signature" in made.headers
    root = deployment.place.root + deployment.place.prefix
    assert {scope["root_path"] for scope in deployment.probe.entered} == {root}


@pytest.mark.parametrize("place", PLACES)
async def test_the_exact_body_once_and_then_a_disconnect(deploy: Deploy, place: str) -> None:
    """D11: what the app's raw `receive` yields: the body in one message, and nothing more until the client is gone."""
    deployment: Deployment = await deploy(PLACES[place])
    deployment.probe.asks_on = True
    assert (await deployment.send(deployment.order())).status_code == 200
    body = {"type": "http.request", "body": BODY, "more_body": False}
    received = deployment.probe.received
    assert [message for message in received if message["type"] != "http.disconnect"] == [body]
    assert received[0] == body
    assert received[-1] == {"type": "http.disconnect"}


async def test_a_stream_goes_out_as_it_comes(deployment: Deployment) -> None:
    """Under a streaming rule the parts follow a signed head; under another the reply is gathered and signed whole."""
    streamed = await deployment.messages(deployment.signed("GET", "/v1/events"))
    parts = [message.get("body", b"") for message in streamed[1:]]
    assert [part for part in parts if part] == [b"one ", b"two"]
    assert (b"sealwire-stream", b"?1") in streamed[0]["headers"]
    gathered = await deployment.send(deployment.signed("GET", "/v1/report"))
    assert gathered.content == b"one two"
    assert '"content-digest"' in gathered.headers["signature-input"]


async def test_a_stream_that_breaks_is_no_whole_answer(deployment: Deployment) -> None:
    """The head is out, so no second one follows and no end: the server hears of a failure and cuts the connection."""
    with pytest.raises(Fault, match=r"^internal/app$"):
        await deployment.messages(deployment.signed("GET", "/v1/breaks"))
    assert [message["type"] for message in deployment.sent] == ["http.response.start", "http.response.body"]
    assert deployment.sent[1]["more_body"]


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [("/v1/teapot", 418, "teapot"), ("/v1/fails", 500, "failed"), ("/v1/elsewhere", 404, "nothing")],
)
async def test_the_apps_own_errors_are_its_answers(deployment: Deployment, path: str, status: int, error: str) -> None:
    """What the app's error handlers say goes out as they said it, signed; also where the framework raises after it."""
    reply = await deployment.send(deployment.signed("GET", path))
    assert (reply.status_code, json.loads(reply.content)) == (status, {"error": error})
    assert "signature" in reply.headers


async def test_a_client_that_leaves_is_no_failure_of_the_app(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    """An app that gives up when it hears of the disconnect has not failed: the log says that the client was gone."""
    await deployment.messages(deployment.signed(), leaves=True)
    await asyncio.sleep(0)  # observers hear of it once the turn of the loop is over
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    heard = {"type": "http.disconnect"} in deployment.probe.received
    assert line["sealwire.code"] == ("client-gone" if heard else "ok")
    assert [message["status"] for message in deployment.sent[:1]] == ([] if heard else [200])


@pytest.mark.parametrize("framework", ["django"], indirect=True)
async def test_djangos_own_refusal_is_an_answer_of_the_app(deployment: Deployment) -> None:
    """A view that is not exempt from Django's CSRF check: its 403 is the app's, signed, and no refusal of ours."""
    reply = await deployment.send(deployment.signed("POST", "/v1/form", BODY))
    assert reply.status_code == 403
    assert "signature" in reply.headers
    assert reply.headers["content-type"].startswith("text/html")
    assert len(deployment.probe.entered) == 1
