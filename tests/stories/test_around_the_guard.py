"""
What stands around the guard cannot change what it judged.

Middlewares, mounts and servers outside of the guard see each call first; the app must get the call that was judged.

Stopped by: guard
"""

from typing import Any

import pytest

from sealwire.fronts.asgi import TARGET_EXTENSION, App, GuardedApp, Message, Receive, Scope, Send
from tests.stories.test_coverage_and_binding import BODY, order, refused
from tests.stories.world import Wire, World


def around(world: World, **parts: Any) -> None:
    """Puts a middleware outside of the guard that writes these parts into every scope."""
    inner: App = world.app

    async def changed(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, **parts}, receive, send)

    world.app = changed  # type: ignore[assignment]


async def test_a_query_changed_before_the_guard(world: World) -> None:
    """D11: the query that was signed is judged, and the app would read another one."""
    around(world, query_string=b"account=mallory")
    await refused(world, Wire("GET", b"/v1/balances?account=alice").sign(world.signer), 500, "internal")


@pytest.mark.parametrize("parts", [{"path": "/v1/time"}, {"path": "/V1/balances"}, {"raw_path": b"/v1/time"}])
async def test_a_path_changed_under_a_named_front_end(world: World, parts: dict[str, Any]) -> None:
    """D11: no exact target is there to compare with; path and raw path disagree all the same."""
    world.app = GuardedApp(world._app, world.guard, front_end="nginx")
    around(world, **parts, extensions={})
    await refused(world, Wire().sign(world.signer), 500, "internal")


async def test_a_mount_below_the_servers_root_path(world: World) -> None:
    """D11: a server's root path and a mount below it change nothing; a root path that swallows the target does."""
    guarded = world.app
    around(world, path="/srv/v1/balances", raw_path=b"/srv/v1/balances", root_path="/srv/v1")
    assert (await world.send(Wire().sign(world.signer))).status_code == 200
    for path, root in (("/srv/v1/balances", "/srv2/v1"), ("/v1/time", "/v1/time")):
        world.app = guarded
        around(world, path=path, raw_path=path.encode(), root_path=root)
        await refused(world, Wire().sign(world.signer), 500, "internal")


async def test_a_body_that_the_server_gave_away(world: World) -> None:
    """D12: whoever stands before the guard took the body, and may give any other one on: nothing of it is read."""
    around(world, extensions={TARGET_EXTENSION: {"target": b"/v1/orders", "taken": lambda: True}})
    problem = await refused(world, order(world), 500, "internal")
    assert problem["detail"] == "A middleware before the guard read the body; the guard must be outermost."
    assert world.reads == 0


async def test_a_body_where_none_was_sent(world: World) -> None:
    """D12: the server has seen that no body comes, and what a middleware gives as one reaches neither guard nor app."""
    around(world, extensions={TARGET_EXTENSION: {"target": b"/v1/balances", "bodiless": True}})
    invented = Wire().sign(world.signer)
    invented.body = b"a body of the middleware"
    assert (await world.send(invented)).status_code == 200
    assert (world.reads, world.bodies) == (0, [b""])


async def test_the_body_once_and_then_a_disconnect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """D11: the app asks for more than the body that was judged."""
    received: list[Message] = []

    async def asks_on(scope: Scope, receive: Receive, send: Send) -> None:
        received.extend([await receive(), await receive(), await receive()])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(world.app, "_app", asks_on)
    assert (await world.send(order(world))).status_code == 204
    gone = {"type": "http.disconnect"}
    assert received == [{"type": "http.request", "body": BODY, "more_body": False}, gone, gone]
