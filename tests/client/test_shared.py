"""What a transport keeps between calls: one origin's, one process's, and given up when it is closed."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from sealwire.client import ForeignOrigin
from sealwire.client.origin import Origin
from tests.client.callers import EVERY_KIND, KINDS, Caller
from tests.client.conftest import enrolled
from tests.client.sealing_double import SESSIONS, SealingServer
from tests.client.server_double import Clock, changed, problem_response

BOUND_SECONDS = 30.0


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


# --- closing ---------------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_closing_ends_the_session(caller: Caller, server: SealingServer) -> None:
    """F12: at the server, with one request that is told to wait for a short time only; closed twice, it is one."""
    caller.post()
    caller.close()
    assert (server.sessions, caller.paths()[-1], caller.way.closed) == ({}, "DELETE ses", 1)
    assert caller.line.told[-1]["timeout"] == {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}
    caller.run(caller.transport.aclose() if caller.kind.tasks else caller.transport.close())
    assert caller.paths().count("DELETE ses") == 1


@EVERY_KIND
@pytest.mark.parametrize("path", ["", "/v1/balances"])
def test_closing_without_a_session(caller: Caller, server: SealingServer, path: str) -> None:
    """There is nothing to say."""
    if path:
        caller.get(path)
    before = len(caller.way.sent)
    caller.close()
    assert (len(caller.way.sent), caller.way.closed) == (before, 1)


@EVERY_KIND
@pytest.mark.parametrize(
    "answer",
    [
        "cut",
        "lost",
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("too long"),
        httpx2.RemoteProtocolError("no HTTP"),
        httpx2.Response(503),
        problem_response("clock-skew", 401, add=[("accept-signature", 'sig=();nonce="' + "A" * 22 + '"')]),
        problem_response("session-unknown", 401),
    ],
    ids=lambda answer: answer if isinstance(answer, str) else type(answer).__name__,
)
def test_closing_at_a_server_that_does_not_answer(caller: Caller, server: SealingServer, answer: Any) -> None:
    """One request, whatever becomes of it: no error, no repeat, and the connections are closed."""
    caller.post()
    before, caller.way.script = len(caller.way.sent), [answer]
    caller.close()
    assert [request.method for request in caller.way.sent[before:]] == ["DELETE"]
    assert (caller.way.closed, caller.way.script) == (1, [])


@EVERY_KIND
def test_closing_before_an_answer_without_end(
    caller: Caller, server: SealingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is more than so much of it read."""
    caller.post()
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 1999)
    caller.way.on_reply = lambda reply: changed(reply, status=200, body=b"x" * 2000)
    caller.close()
    assert (caller.paths()[-1], caller.way.closed) == ("DELETE ses", 1)


@EVERY_KIND
def test_closing_with_a_clock_that_cannot_be_signed_with(caller: Caller, server: SealingServer) -> None:
    caller.post()
    before = len(caller.way.sent)
    caller.transport._clock = lambda: -1.0
    caller.close()
    assert (len(caller.way.sent), caller.way.closed) == (before, 1)


def test_closing_does_not_wait_for_who_opens(caller: Caller, server: SealingServer) -> None:
    """P3: a thread that hangs in the handshake holds up nobody who would be gone."""
    caller.get("/v1/balances")
    hung, released = threading.Event(), threading.Event()

    def wait(request: Any) -> None:
        if request.url.path == SESSIONS:
            hung.set()
            assert released.wait(BOUND_SECONDS)

    caller.line.wait = wait
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(caller.http.post, "/v1/orders", content=b"slow")
        assert hung.wait(BOUND_SECONDS)
        caller.transport.close()
        assert (caller.way.closed, slow.done()) == (1, False)
        released.set()
        assert slow.result(BOUND_SECONDS).status_code == 201


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tasks], ids=str)
def test_closing_that_is_cancelled(caller: Caller, server: SealingServer) -> None:
    """The connections are closed all the same."""
    caller.post()

    async def scenario() -> None:
        asked = asyncio.Event()

        async def wait_async(request: Any) -> None:
            asked.set()
            await asyncio.Event().wait()

        caller.line.wait_async = wait_async
        closing = asyncio.create_task(caller.transport.aclose())
        await asyncio.wait_for(asked.wait(), BOUND_SECONDS)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    caller.run(scenario())
    assert caller.way.closed == 1


# --- one process each -----------------------------------------------------------------------------------------------


def test_threads_of_a_forked_process_share_its_own(caller: Caller, server: SealingServer) -> None:
    """P3, F21: the first calls of a child may come from many threads at once: what is the child's is made once."""
    ours, together = caller.transport._process, threading.Barrier(8, timeout=BOUND_SECONDS)
    caller.transport._process = ours._replace(pid=os.getpid() + 1)
    fresh = caller.transport._fresh

    def make(origin: Origin) -> Any:
        together.wait()
        return fresh(origin)

    caller.transport._fresh = make
    with ThreadPoolExecutor(8) as threads:
        theirs = list(threads.map(lambda _: caller.transport._here(), range(8)))
    assert len({id(one) for one in theirs}) == 1
    assert caller.transport._here() is theirs[0]
    assert theirs[0].sessions is not ours.sessions
    caller.transport._fresh = fresh


# --- one origin each -------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_two_origins(caller: Caller, server: SealingServer, clock: Clock) -> None:
    """P3: rules, session and clock of one are not the other's."""
    theirs = SealingServer(origin="https://b.example", clock=Clock(clock.now - 3600))
    other = Caller(caller.kind, enrolled(theirs), theirs, clock)
    try:
        assert other.post().extensions["sealwire"].sends == 1
        assert caller.post().extensions["sealwire"].sends == 1
        assert (caller.transport._process.origin.offset_seconds, server.opened, theirs.opened) == (0, 1, 1)
        assert other.transport._process.origin.offset_seconds <= -3599
        assert server.sessions.keys().isdisjoint(theirs.sessions)
        with pytest.raises(ForeignOrigin):
            caller.post("https://b.example/v1/orders")
        assert len(theirs.inside) == 1
    finally:
        other.end()
