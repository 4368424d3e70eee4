"""Many who call at once: one asks for the rules and one opens the session, and who hangs holds up nobody for ever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sealwire.client import ReplyUnproven, SealwireError
from sealwire.client.turns import Turns
from tests.client.callers import EVERY_KIND, KINDS, Caller, sealed_under
from tests.client.sealing_double import SESSIONS, SealingServer
from tests.client.server_double import RULES, Clock

MANY = 20
#: No test waits as long, unless something hangs.
BOUND_SECONDS = 30.0
THREADS = pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.tasks], ids=str)
TASKS = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.tasks], ids=str)


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now), most=1000)


class Queue(Turns):
    """Turns, and word of when `many` have asked for one."""

    def __init__(self, many: int, patience_seconds: float = BOUND_SECONDS) -> None:
        super().__init__(patience_seconds)
        self._many = many
        self._asked = 0
        self._lock = threading.Lock()
        self.all_there = threading.Event()
        self.all_tasks_there = asyncio.Event()

    def _count(self) -> None:
        with self._lock:
            self._asked += 1
            if self._asked == self._many:
                self.all_there.set()
                self.all_tasks_there.set()

    def take(self) -> bool:
        self._count()
        return super().take()

    async def take_async(self) -> bool:
        self._count()
        return await super().take_async()


def stand_in_line(caller: Caller, at: str, many: int, patience_seconds: float = BOUND_SECONDS) -> Queue:
    """Who asks at this path is answered once `many` have asked for a turn: all of them found that they need one."""
    queue = Queue(many, patience_seconds)
    caller.transport._process = caller.transport._process._replace(turns=queue)

    def wait(request: Any) -> None:
        if request.url.path == at:
            assert queue.all_there.wait(BOUND_SECONDS)

    async def wait_async(request: Any) -> None:
        if request.url.path == at:
            await asyncio.wait_for(queue.all_tasks_there.wait(), BOUND_SECONDS)

    caller.line.wait, caller.line.wait_async = wait, wait_async
    return queue


def at_once(caller: Caller, paths: list[str]) -> list[Any]:
    """What becomes of these calls, begun together: by threads, or by tasks of one loop."""
    if caller.kind.tasks:

        async def all_of_them() -> list[Any]:
            calls = (caller.http.post(path, content=b"x") for path in paths)
            return await asyncio.gather(*calls, return_exceptions=True)

        return list(caller.run(all_of_them()))

    def one(path: str) -> Any:
        try:
            return caller.http.post(path, content=b"x")
        except SealwireError as why:
            return why

    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(one, paths))


@EVERY_KIND
def test_one_session_for_all(caller: Caller, server: SealingServer) -> None:
    """P3, F11: all of them find none at the same time: one opens it, and no key meets an IV twice."""
    caller.get("/v1/balances")
    stand_in_line(caller, SESSIONS, MANY)
    replies = at_once(caller, ["/v1/orders", "/v1/quotes"] * (MANY // 2))
    assert {reply.status_code for reply in replies} == {201}
    assert (server.opened, len(server.effects)) == (1, MANY + 1)
    assert len(sealed_under(caller.way.sent)) == MANY
    assert len({request.headers["idempotency-key"] for request in caller.way.sent[3:]}) == MANY
    assert len(server.nonces) == MANY + 2


@EVERY_KIND
def test_one_question_for_the_rules(caller: Caller, server: SealingServer) -> None:
    """P3, F8: no storm."""
    stand_in_line(caller, RULES, MANY)
    replies = at_once(caller, ["/v1/notes"] * MANY)
    assert {reply.status_code for reply in replies} == {201}
    assert len(caller.sent_to(RULES)) == 1


@EVERY_KIND
def test_one_new_session_for_all(caller: Caller, server: SealingServer) -> None:
    """P3, F26: all of them hear that theirs is over, some after the new one is open: that one is kept."""
    caller.post()
    server.sessions.clear()
    replies = at_once(caller, ["/v1/orders"] * MANY)
    assert {reply.status_code for reply in replies} == {201}
    assert (server.opened, len(server.effects)) == (2, MANY + 1)
    assert len(set(sealed_under(caller.way.sent))) == 2


@EVERY_KIND
def test_the_count_is_shared(caller: Caller, server: SealingServer) -> None:
    """P3, F11: no session carries more than it may, whoever calls."""
    server.max_requests = 3
    caller.post()
    replies = at_once(caller, ["/v1/orders"] * MANY)
    assert {reply.extensions["sealwire"].sends for reply in replies} == {1}
    used = sealed_under(caller.way.sent)
    assert len(used) == MANY + 1
    assert max(used.count(session) for session in used) == 3
    assert server.opened == -(-(MANY + 1) // 3)


@EVERY_KIND
def test_an_opening_that_fails_ends_the_turn(caller: Caller, server: SealingServer) -> None:
    """P3: the next one tries for itself; nobody waits for who is gone."""
    caller.get("/v1/balances")
    failing = iter([True, True])
    server.on_open = lambda document: {} if next(failing, False) else document
    stand_in_line(caller, SESSIONS, 5)
    became = at_once(caller, ["/v1/orders"] * 5)
    failed = [one for one in became if isinstance(one, ReplyUnproven)]
    assert [one.outcome for one in failed] == ["not done", "not done"]
    assert [one.status_code for one in became if one not in failed] == [201, 201, 201]
    assert (server.opened, len(server.inside)) == (3, 3)


@THREADS
def test_a_thread_that_hangs(caller: Caller, server: SealingServer) -> None:
    """P3: past the patience another opens one of its own; the one that hung goes on when it can."""
    caller.get("/v1/balances")
    caller.transport._process = caller.transport._process._replace(turns=Turns(0))
    hung, released, first = threading.Event(), threading.Event(), threading.Lock()

    def wait(request: Any) -> None:
        if request.url.path == SESSIONS and first.acquire(blocking=False):
            hung.set()
            assert released.wait(BOUND_SECONDS)

    caller.line.wait = wait
    with ThreadPoolExecutor(1) as other:
        slow = other.submit(caller.http.post, "/v1/orders", content=b"slow")
        assert hung.wait(BOUND_SECONDS)
        assert caller.http.post("/v1/orders", content=b"quick").status_code == 201
        assert not slow.done()
        released.set()
        assert slow.result(BOUND_SECONDS).status_code == 201
    assert (server.opened, server.inside) == (2, [b"quick", b"slow"])


@TASKS
def test_a_task_that_hangs(caller: Caller, server: SealingServer) -> None:
    """The same for tasks."""
    caller.get("/v1/balances")
    caller.transport._process = caller.transport._process._replace(turns=Turns(0))

    async def scenario() -> None:
        hung, released = asyncio.Event(), asyncio.Event()

        async def wait_async(request: Any) -> None:
            if request.url.path == SESSIONS and not hung.is_set():
                hung.set()
                await released.wait()

        caller.line.wait_async = wait_async
        slow = asyncio.create_task(caller.http.post("/v1/orders", content=b"slow"))
        await asyncio.wait_for(hung.wait(), BOUND_SECONDS)
        quick = await asyncio.wait_for(caller.http.post("/v1/orders", content=b"quick"), BOUND_SECONDS)
        assert (quick.status_code, slow.done()) == (201, False)
        released.set()
        assert (await slow).status_code == 201

    caller.run(scenario())
    assert (server.opened, server.inside) == (2, [b"quick", b"slow"])


@TASKS
@pytest.mark.parametrize("which", ["the one that opens", "one that waits"])
def test_a_task_that_is_cancelled(caller: Caller, server: SealingServer, which: str) -> None:
    """P3: in the midst of its turn, or while it waits for one: the others have their session."""
    caller.get("/v1/balances")
    queue = Queue(3)
    caller.transport._process = caller.transport._process._replace(turns=queue)

    async def scenario() -> None:
        released = asyncio.Event()

        async def wait_async(request: Any) -> None:
            if request.url.path == SESSIONS:
                await released.wait()

        caller.line.wait_async = wait_async
        tasks = [asyncio.create_task(caller.http.post("/v1/orders", content=b"%d" % n)) for n in range(3)]
        await asyncio.wait_for(queue.all_tasks_there.wait(), BOUND_SECONDS)
        gone = tasks.pop(0 if which == "the one that opens" else 1)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        released.set()
        replies = await asyncio.wait_for(asyncio.gather(*tasks), BOUND_SECONDS)
        assert [reply.status_code for reply in replies] == [201, 201]

    caller.run(scenario())
    assert (server.opened, len(server.inside)) == (1, 2)
    assert not queue._tasks.locked()
