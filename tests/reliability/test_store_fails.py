"""
The durable store of a real server fails under it: another process holds its lock, its disk is full.

Fail closed: 503 with Retry-After, nobody reaches the app, nothing acknowledged is lost, and service resumes by itself
when the store does.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, AsyncExitStack, closing, contextmanager
from pathlib import Path

import pytest

from sealwire.client import Credential
from tests.reliability.calling import Caller
from tests.reliability.history import Answer, Order, judge
from tests.reliability.orders_app import hold_file
from tests.reliability.rounds import seen
from tests.reliability.serving import Served, running
from tests.reliability.tape import Tape

pytestmark = pytest.mark.xdist_group("store-fails")
CALLS = 6
Failing = Callable[[Served], AbstractContextManager[None]]


@contextmanager
def locked(served: Served) -> Iterator[None]:
    """This process is in the middle of a write to the ledger's file, for as long as it likes."""
    with closing(sqlite3.connect(served.ledger, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def limited(served: Served) -> Iterator[None]:
    """No file of the server's may grow past the size that its ledger's log has by now."""
    before = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)
    log = served.ledger.with_name(served.ledger.name + "-wal")
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.prlimit(served.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def filled(served: Served) -> Iterator[None]:
    """Something else has taken what was left of the disk."""
    filler = served.ledger.with_name("filler")
    with filler.open("wb", buffering=0) as file:
        size = 65536
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 2
    yield
    filler.unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[Failing]:
    """`folder` on a disk of its own of 16 MiB and how to fill it; where this user may not mount, the limit instead."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield filled if mounted else limited
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def fail_and_resume(served: Served, credentials: list[Credential], failing: Failing) -> None:
    """Orders before, while and after the store fails, and after a kill; all of it judged."""
    tape, tls = Tape(), served.trust()
    answers: dict[Order, list[Answer]] = defaultdict(list)

    async def ask(when: str) -> list[str]:
        told = await asyncio.gather(*(caller.ask(f"s-{when}-{i}") for i, caller in enumerate(callers)))
        for i, (caller, answer) in enumerate(zip(callers, told, strict=True)):
            answers[caller.principal, f"s-{when}-{i}"].append(answer)
        return [answer.kind for answer in told]

    async with AsyncExitStack() as stack:
        made = (Caller(credentials[i % 2], served.state.port, tls, tape) for i in range(CALLS))
        callers = [await stack.enter_async_context(caller) for caller in made]
        assert await ask("before") == ["done"] * CALLS
        with failing(served):
            assert await ask("during") == ["none"] * CALLS
            turned_away = [(m.status, m.retry_after) for m in tape.messages if m.order[1].startswith("s-during")]
            assert set(turned_away) == {(503, "2")}
            assert served.rows(served.books, "SELECT * FROM entries WHERE id LIKE 's-during-%'") == []
        assert await ask("during") == ["done"] * CALLS
        assert await ask("before") == ["done"] * CALLS
        served.kill()
        await asyncio.to_thread(served.start)
        for when in ("before", "during"):
            assert await ask(when) == ["done"] * CALLS
    assert judge(seen(served, "s", answers, tape.messages)) == []


@pytest.mark.parametrize("failing", [locked, limited])
def test_the_ledger_cannot_be_written(tmp_path: Path, failing: Failing) -> None:
    """Locked by another process; unable to grow."""
    with running(tmp_path) as served:
        asyncio.run(fail_and_resume(served, [served.enrolled("one"), served.enrolled("two")], failing))


def test_the_disk_is_full(tmp_path: Path) -> None:
    """The ledger lies on a disk on which no byte is left."""
    disk = tmp_path / "disk"
    with small_disk(disk) as failing, running(tmp_path, ledger=disk / "sealwire.db") as served:
        asyncio.run(fail_and_resume(served, [served.enrolled("one"), served.enrolled("two")], failing))


def test_an_answer_that_cannot_be_kept(tmp_path: Path) -> None:
    """The store fails while the app works: the answer is true and goes out, the key says "unknown" from then on."""
    with running(tmp_path) as served:
        asyncio.run(_answer_without_an_end(served, served.enrolled("one")))


async def _answer_without_an_end(served: Served, credential: Credential) -> None:
    hold = hold_file(served.books)
    async with Caller(credential, served.state.port, served.trust(), Tape()) as caller:
        hold.touch()
        asked = asyncio.create_task(caller.ask("s-1"))
        await asyncio.to_thread(_until_entered, served)
        with locked(served):
            hold.unlink()
            assert (await asked).kind == "done"
        assert [(await caller.ask("s-1")).kind for _ in range(2)] == ["unknown"] * 2
    order = (credential.client, "s-1")
    assert served.claims([order])[0] == {order: False}
    assert len(served.rows(served.books, "SELECT 1 FROM effects WHERE id = 's-1'")) == 1


def _until_entered(served: Served) -> None:
    until = time.monotonic() + 20
    while not served.rows(served.books, "SELECT 1 FROM entries WHERE id = 's-1'"):
        assert time.monotonic() < until, "the call did not reach the app"
        time.sleep(0.01)
