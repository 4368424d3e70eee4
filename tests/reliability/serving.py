"""A real `sealwire serve` in a process group of its own, which can be killed and started again on the same state."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2

from sealwire.admin import Admin
from sealwire.client import Credential, enroll
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port
from sealwire.keys.file import FileKeyring
from tests.reliability.history import Order
from tests.reliability.orders_app import DATABASE, LEDGER

Victim = Literal["group", "one worker", "all workers"]
ROOT = Path(__file__).resolve().parents[2]
#: Where orders go: signed and in clear; sealed and signed by the client's key; sealed and signed by the session's.
SIGNED, SEALED, BY_SESSION = "/v1/orders", "/v1/sealed", "/v1/by-session"
_ORDERS = """
[[rules]]
path = "{}"
methods = ["POST"]
profile = "{}"
headers = ["x-message"]
idempotency = "required"
"""
_RULES = (
    _ORDERS.format(SIGNED, "signed")
    + _ORDERS.format(SEALED, "sealed")
    + _ORDERS.format(BY_SESSION, "sealed")
    + """session_mac = true

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"
"""
)
_START_SECONDS = 30


class Served:
    """One deployment in `folder`: `app` behind its guard in `workers` processes."""

    def __init__(
        self, folder: Path, app: str = "tests.reliability.orders_app:made", workers: int = 1, ledger: Path | None = None
    ) -> None:
        self.state = DemoState(folder, free_port())
        self.state.make()
        policy = self.state.config.read_text().replace("sealwire.demo.exchange:app_from_environment", app)
        policy = policy.replace('fast = "memory:"', 'fast = "sqlite:"' if workers > 1 else 'fast = "memory:"')
        self.books, self.ledger = folder / "orders.db", ledger or folder / "sealwire.db"
        policy = policy.replace("sqlite:sealwire.db", f"sqlite:{self.ledger}")
        self.state.config.write_text(policy.partition("[[rules]]")[0] + _RULES)
        settings = load(self.state.config)
        self._keyring = FileKeyring(
            settings.resolve(settings.keys.signing), settings.resolve(settings.keys.wrapping), os.urandom
        )
        #: Where it listens, and the CA that its clients trust: its own, unless somebody stands before it.
        self.url, self.ca = self.state.origin, self.state.ca
        self.count = workers
        self._environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            DATABASE: str(self.books),
            LEDGER: str(self.ledger),
        }
        self.invitations: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._left: set[Path] = set()

    def start(self) -> None:
        """Starts it and waits until it answers. What a killed start left in memory is taken away by the next one."""
        command = [str(Path(sys.executable).parent / "sealwire"), "--config", str(self.state.config), "serve"]
        command += ["--workers", str(self.count)] if self.count > 1 else []
        with (self.state.folder / "stderr.txt").open("a") as err, (self.state.folder / "stdout.txt").open("a") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=err, start_new_session=True, env=self._environment
            )
        self.wait()
        until = time.monotonic() + _START_SECONDS
        while left := {folder for folder in self._left if folder.exists()}:
            # Another server that starts on this machine may be in the midst of it.
            assert time.monotonic() < until, f"{left} outlived the start that made it"
            time.sleep(0.02)
        self._left.clear()

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + _START_SECONDS
        with httpx2.Client(verify=self.trust()) as http:
            while True:
                try:
                    http.get(f"{self.url}/v1/time", timeout=5)
                except httpx2.TransportError:
                    if time.monotonic() > until:
                        raise AssertionError((self.state.folder / "stderr.txt").read_text()) from None
                    time.sleep(0.02)
                else:
                    return

    def kill(self, victim: Victim = "group") -> None:
        """SIGKILL, to every process that serves, to one worker, or to every worker but not their parent."""
        assert self._process is not None
        workers = self.workers()
        if victim == "group":
            self._left |= {fast.parent for worker in workers if (fast := _fast_store_of(worker))}
            # The parent first, or it would start a worker anew. Python's tracker of semaphores is left to clean up.
            for pid in (self._process.pid, *workers):
                os.kill(pid, signal.SIGKILL)
            self._process.wait(20)
        else:
            # One worker: the one with the most connections, since the kernel may have given all to one of them.
            workers.sort(key=lambda pid: len(list(Path(f"/proc/{pid}/fd").iterdir())))
            for worker in workers[-1:] if victim == "one worker" else workers:
                os.kill(worker, signal.SIGKILL)

    def stop(self) -> None:
        """Ends it as an operator would."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
        for folder in self._left:  # after a kill that no start followed
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Its first process: the parent, where there are workers."""
        assert self._process is not None
        return self._process.pid

    @property
    def fast(self) -> Path:
        """The fast store that its workers share."""
        (found,) = {_fast_store_of(worker) for worker in self.workers()}
        assert found is not None
        return found

    def enrolled(self, name: str, algorithm: str = "ed25519") -> Credential:
        """A new client."""
        path = self.state.folder / f"{name}.json"
        with Admin(self.state.config) as admin:
            invitation = admin.invite(name)
        enroll(self.state.origin, invitation, name=name, algorithm=algorithm, path=path, ca=self.ca)
        self.invitations.append(invitation)
        return Credential.load(path)

    def trust(self) -> ssl.SSLContext:
        """A TLS context that trusts it."""
        return ssl.create_default_context(cafile=str(self.state.ca))

    def rows(self, database: Path, sql: str) -> list[tuple[Any, ...]]:
        """What a file of it holds now."""
        with closing(sqlite3.connect(database, timeout=10)) as connection:
            return connection.execute(sql).fetchall()

    def decisions(self) -> dict[str, str]:
        """Every decision of the ledger on an order: request to outcome."""
        rows = self.rows(self.ledger, "SELECT request, rule, outcome FROM decisions")
        return {request: outcome for request, rule, outcome in rows if rule in (SIGNED, SEALED, BY_SESSION)}

    def claims(self, orders: Iterable[Order]) -> tuple[dict[Order, bool], int]:
        """Which of these orders' keys are claimed, and whether their end is recorded; how many keys are, in all."""
        kept = {
            (scope, key): ended
            for scope, key, ended in self.rows(self.ledger, "SELECT scope, key, reply IS NOT NULL FROM idempotency")
        }
        names = {order: self._name_of(order) for order in orders}
        return {order: bool(kept[name]) for order, name in names.items() if name in kept}, len(kept)

    def burnt(self, messages: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
        """Which of these messages, by key and nonce, the ledger remembers."""
        kept = {digest for (digest,) in self.rows(self.ledger, "SELECT digest FROM nonces")}
        return frozenset(m for m in messages if hashlib.sha256(" ".join(m).encode()).digest()[:16] in kept)

    def _name_of(self, order: Order) -> tuple[str, bytes]:
        scope = f"{order[0]} "
        return scope, self._keyring.digest(b"idempotency key\0" + scope.encode() + b"\0" + order[1].encode())

    def workers(self) -> list[int]:
        """The processes that its parent started and that are there now; none where it serves alone."""
        parent = self.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@contextmanager
def running(
    folder: Path, app: str = "tests.reliability.orders_app:made", workers: int = 1, ledger: Path | None = None
) -> Iterator[Served]:
    """A server from its first start to its end."""
    served = Served(folder, app, workers, ledger)
    try:
        served.start()
        yield served
    finally:
        served.stop()


def _fast_store_of(pid: int) -> Path | None:
    """The fast store that a worker was told of."""
    for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if line.startswith(b"SEALWIRE_WORKER_FAST="):
            return Path(os.fsdecode(line.partition(b"=")[2]))
    return None
