"""The guard's end: counts written and stores closed at the lifespan's end, whatever the app makes of its lifespan."""

import asyncio
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

import sealwire
from sealwire.demo.state import DemoState
from sealwire.fronts.asgi import App, Message, Receive, Scope, Send
from sealwire.fronts.cli.demo import free_port, serving
from sealwire.fronts.lifespan import pass_lifespan

UP, DOWN = "lifespan.startup", "lifespan.shutdown"


async def knows_none(scope: Scope, receive: Receive, send: Send) -> None:
    """As Django: no scope but HTTP."""
    raise ValueError("only http")


async def returns(scope: Scope, receive: Receive, send: Send) -> None:
    """As an app that looks at the scope's type and leaves."""


async def answers_http(scope: Scope, receive: Receive, send: Send) -> None:
    """As an app that never looks at the scope's type."""
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def fails_to_start(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails in its startup and says nothing."""
    await receive()
    raise ValueError("MARKER")


async def says_it_failed(scope: Scope, receive: Receive, send: Send) -> None:
    """As Starlette: says that it could not start, and raises."""
    await receive()
    await send({"type": f"{UP}.failed", "message": "no database"})
    raise ValueError("no database")


async def keeps_to_it(scope: Scope, receive: Receive, send: Send) -> None:
    """Does all of it."""
    assert (await receive())["type"] == UP
    await send({"type": f"{UP}.complete"})
    assert (await receive())["type"] == DOWN
    await send({"type": f"{DOWN}.complete"})


async def leaves_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Starts and is gone."""
    await receive()
    await send({"type": f"{UP}.complete"})


async def dies_early(scope: Scope, receive: Receive, send: Send) -> None:
    """Starts and fails."""
    await leaves_early(scope, receive, send)
    raise ValueError("MARKER")


async def fails_to_stop(scope: Scope, receive: Receive, send: Send) -> None:
    """Fails in its shutdown and says nothing."""
    await leaves_early(scope, receive, send)
    await receive()
    raise ValueError("MARKER")


async def live(app: App, close: Callable[[], Awaitable[None]], said: list[str]) -> None:
    """Takes `app` through a lifespan as a server does, which says what it has to say one after the other."""
    told = iter((UP, DOWN))

    async def receive() -> Message:
        return {"type": next(told)}

    async def send(message: Message) -> None:
        said.append(message["type"])

    await pass_lifespan(app, close, {"type": "lifespan"}, receive, send)


@pytest.mark.parametrize(
    ("app", "end", "warned"),
    [
        (knows_none, "complete", False),
        (returns, "complete", False),
        (answers_http, "complete", True),
        (fails_to_start, "complete", True),
        (keeps_to_it, "complete", False),
        (leaves_early, "complete", False),
        (dies_early, "complete", True),
        (fails_to_stop, "failed", True),
    ],
)
async def test_the_guard_is_closed_whatever_the_app_does(
    app: App, end: str, caplog: pytest.LogCaptureFixture, *, warned: bool
) -> None:
    """The server hears of a start, then the guard is closed, then the server hears of the end."""
    said: list[str] = []

    async def close() -> None:
        said.append("closed")

    await live(app, close, said)
    assert said == [f"{UP}.complete", "closed", f"{DOWN}.{end}"]
    assert ("the app failed in its lifespan: " in caplog.text) == warned
    assert "MARKER" not in caplog.text


async def test_an_app_that_cannot_start() -> None:
    """The guard is closed, and the server hears what the app said."""
    said: list[str] = []

    async def close() -> None:
        said.append("closed")

    with pytest.raises(ValueError, match="no database"):
        await live(says_it_failed, close, said)
    assert said == ["closed", f"{UP}.failed"]


def refusals(state: DemoState) -> int:
    """How many refusals before proof stand in the ledger."""
    connection = sqlite3.connect(state.folder / "sealwire.db")
    try:
        return int(connection.execute("SELECT coalesce(sum(calls), 0) FROM refusals").fetchone()[0])
    finally:
        connection.close()


def named(folder: Path) -> DemoState:
    """A deployment whose server judges targets by itself."""
    state = DemoState(folder, free_port())
    state.make()
    state.config.write_text('front_end = "nginx"\n' + state.config.read_text())
    return state


async def unsigned(app: App, state: DemoState) -> int:
    """What comes of an unsigned call."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=state.origin) as http:
        return (await http.get("/v1/balances")).status_code


async def test_counts_are_written_at_the_end(tmp_path: Path) -> None:
    """The minute has not turned: at shutdown they are written all the same; then nothing is served, nor begun again."""
    state = named(tmp_path)
    app = sealwire.Sealwire(returns, config=state.config)
    assert await unsigned(app, state) == 401
    assert refusals(state) == 0
    told, said = iter((UP, DOWN, UP)), []

    async def receive() -> Message:
        return {"type": next(told)}

    async def send(message: Message) -> None:
        said.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert refusals(state) == 1
    await app({"type": "lifespan"}, receive, send)
    assert said == [f"{UP}.complete", f"{DOWN}.complete", f"{UP}.failed"]
    assert [thread for thread in (app._guard._ledger._file._thread,) if thread.is_alive()] == []  # type: ignore[attr-defined]


@pytest.mark.xdist_group("server")
def test_our_runner_writes_counts_at_its_end(tmp_path: Path) -> None:
    """`sealwire serve`, stopped within the minute, loses no count."""
    state = DemoState(tmp_path, free_port())
    state.make()
    with serving(state), httpx2.Client(verify=ssl.create_default_context(cafile=str(state.ca))) as http:
        assert http.get(f"{state.origin}/v1/balances").status_code == 401
    assert refusals(state) == 1


SCRIPT = """
import asyncio, sys
from pathlib import Path
import sealwire
from sealwire.demo.state import DemoState
from tests.fronts.test_lifespan import returns, unsigned
state = DemoState(Path(sys.argv[1]), int(sys.argv[2]))
app = sealwire.Sealwire(returns, config=state.config)
assert asyncio.run(unsigned(app, state)) == 401
"""


async def test_without_any_lifespan_counts_are_written_when_the_process_ends(tmp_path: Path) -> None:
    """A guard mounted inside an app, or under a server that knows no lifespan, is closed by the interpreter's end."""
    state = named(tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(state.port)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert refusals(state) == 1
