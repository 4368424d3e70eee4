"""
One process of a deployment with critical rules, over the files that it shares with others; it does what it is told on
its standard input, a line each. With a `Death` it ends by SIGKILL at that point of the approved call.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.fronts.asgi import Receive, Scope, Send
from sealwire.ports import Recorded
from sealwire.protocol.signature import signer_of
from sealwire.stores import sqlite_file
from tests.stories.approving import ApprovingWorld, ask, asking
from tests.stories.sealing import Opened, Stores, make_fast, open_session, problem_of

ROOT = Path(__file__).resolve().parents[2]
#: Statements of the decision's transaction and of the end that is recorded, at which a process can die.
STATEMENTS = {
    "the approval is used": "UPDATE approvals SET state = 'used'",
    "the decision is written": "INSERT INTO decisions",
    "the commit": "COMMIT",
    "the end is recorded": "UPDATE idempotency SET reply",
}
EFFECTS = "effects.txt"


def die() -> None:
    """As a power cut does to a process."""
    os.kill(os.getpid(), signal.SIGKILL)


class ProcessWorld(ApprovingWorld):
    """Its app writes down each effect, on stable storage; it never looks whether it was done before."""

    def __init__(self, folder: Path, key: bytes, death: str = "") -> None:
        self._death, self._folder = death, folder
        super().__init__(folder, Stores(folder / "fast.db", folder / "durable.db"))
        self.signer = signer_of(Ed25519PrivateKey.from_private_bytes(key))
        self._record, self._finish = self.books.record, self.books.finish
        self.books.record = self.record  # type: ignore[method-assign,assignment]
        self.books.finish = self.finish  # type: ignore[method-assign]

    async def record(self, *given: Any) -> Recorded:
        """The ledger's."""
        if self._death == "before the decision" and given[3:] not in ((), ("",)):
            die()
        return await self._record(*given)

    async def finish(self, scope: str, key: bytes, wrapped: bytes) -> None:
        """The ledger's."""
        await self._finish(scope, key, wrapped)
        if self._death == "before the answer":
            die()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._death == "before the effect":
            die()
        with (self._folder / EFFECTS).open("a") as effects:
            effects.write(f"{scope['sealwire'].request_id}\n")
            effects.flush()
            os.fsync(effects.fileno())
        if self._death == "after the effect":
            die()
        await super()._app(scope, receive, send)


def effects_in(folder: Path) -> int:
    """How often the app did what it was asked."""
    path = folder / EFFECTS
    return len(path.read_text().splitlines()) if path.exists() else 0


def die_at(statement: str) -> None:
    """Has this process die when the approved call comes to this statement, which is then not run."""
    connect = sqlite_file.connect
    approved = False

    def traced(path: Path, busy_seconds: float) -> sqlite3.Connection:
        connection = connect(path, busy_seconds)

        def look(sql: str) -> None:
            nonlocal approved
            approved = approved or sql.startswith(STATEMENTS["the approval is used"])
            if approved and sql.startswith(statement):
                die()

        connection.set_trace_callback(look)
        return connection

    sqlite_file.connect = traced


async def serve(world: ProcessWorld) -> None:
    """Until there is nothing more to do."""
    session = await open_session(world)
    answer("ready")
    for line in sys.stdin:
        command, *given = json.loads(line)
        answer(await do(world, session, command, given))
    world.close()


def answer(what: object) -> None:
    """A line for whoever told it."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def do(world: ProcessWorld, session: Opened, command: str, given: list[Any]) -> object:
    """One command."""
    if command == "approve":
        return (await world.approve(given[0], given[1] or None)).result
    if command == "use at once":
        approval, keys = given
        wires = [asking(session, approval=approval, key=key).sign(world.signer) for key in keys]
        replies = await asyncio.gather(*(world.send(wire) for wire in wires))
        return [reply.status_code for reply in replies]
    reply = await ask(world, session, approval=given[0])
    content = {} if reply.status_code == 200 else problem_of(reply, session)
    return [reply.status_code, content]


class Running:
    """One such process, from outside."""

    def __init__(self, folder: Path, key: bytes, death: str = "", module: str = __name__) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(folder), key.hex(), death],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip

    def say(self, *command: object) -> None:
        """Tells it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """What came of it."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it ended: {self._process.wait(20)}"
        return json.loads(line)

    def do(self, *command: object) -> Any:
        """Both."""
        self.say(*command)
        return self.hear()

    def died(self) -> bool:
        """Whether it was killed, once it has ended."""
        return self._process.wait(20) == -signal.SIGKILL

    def end(self) -> None:
        """As an operator would."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@contextmanager
def processes(folder: Path, key: bytes, deaths: tuple[str, ...]) -> Iterator[list[Running]]:
    """So many processes on the files of one folder, each with its death."""
    running = [Running(folder, key, death) for death in deaths]
    try:
        for one in running:
            assert one.hear() == "ready"
        yield running
    finally:
        for one in running:
            one.end()


async def laid(folder: Path) -> bytes:
    """The files of a deployment with alice's client and phone; her client's key."""
    make_fast(folder)
    key = os.urandom(32)
    world = ProcessWorld(folder, key)
    await world.enrol(world.signer, "alice")
    await world.give_phone()
    world.close()
    return key


if __name__ == "__main__":
    _, _folder, _key, _death = sys.argv
    if _death in STATEMENTS:
        die_at(STATEMENTS[_death])
    asyncio.run(serve(ProcessWorld(Path(_folder), bytes.fromhex(_key), _death)))
