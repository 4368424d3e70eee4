"""A real `sealwire serve` on SQLite stores, two workers over one fast store in memory, and a terminator before it."""

from __future__ import annotations

import shutil
import sqlite3
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.client import Credential, Transport
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.server import tls_context
from tests.reliability.serving import Served
from tests.stories.markers import files
from tests.stories.terminator import Terminator

_RULES = """
[metrics]
port = {metrics}

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"

[[rules]]
path = "/v1/notes"
methods = ["POST"]

[[rules]]
path = "/v1/orders"
methods = ["POST"]
profile = "sealed"
idempotency = "required"

[[rules]]
path = "/v1/orders/{{id}}"
methods = ["GET"]
profile = "sealed"

[[rules]]
path = "/v1/quotes"
methods = ["POST"]
profile = "sealed"
session_mac = true
"""


class Passage(Served):
    """
    The terminator has the origin's port and a certificate of its own, which is all that the clients trust; the server
    listens behind it.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "state", "tests.stories.talkative:made", workers=2)
        listening, self._metrics = free_port(), free_port()
        policy = self.state.config.read_text().partition("[[rules]]")[0]
        policy = policy.replace(f"\nport = {self.state.port}\n", f"\nport = {listening}\n")
        self.state.config.write_text(policy + _RULES.format(metrics=self._metrics))
        self.url = f"https://localhost:{listening}"
        self.front = DemoState(folder / "terminator", self.state.port)
        self.front.make()
        self.ca = self.front.ca
        front = tls_context(self.front.folder / "tls" / "cert.pem", self.front.folder / "tls" / "key.pem")
        self.terminator = Terminator(self.state.port, front, listening, self.trust())
        # The loop of each worker tells more of itself, too.
        self._environment |= {"PYTHONASYNCIODEBUG": "1"}

    def client(self, credential: Credential, *kems: str) -> httpx2.Client:
        """The real client, over TLS to whoever has the origin's port."""
        transport = Transport(credential, kems=kems) if kems else Transport(credential)
        return httpx2.Client(transport=transport, base_url=self.state.origin)

    def secrets(self) -> dict[str, bytes]:
        """Of each session that lives now its secret, as the server unwraps it."""
        fast = self.fast.parent
        wrapping = AESGCM((fast / "fast.key").read_bytes())
        rows = self.rows(fast / "fast.db", "SELECT id, wrapped FROM sessions")
        return {name: wrapping.decrypt(wrapped[:12], wrapped[12:], name.encode()) for name, wrapped in rows}

    def places(self) -> dict[str, bytes]:
        """All that the server says and keeps: its streams and files, its fast store, its metrics."""
        scraped = httpx2.get(f"http://127.0.0.1:{self._metrics}/metrics").content
        return (
            files(self.state.folder)
            | {f"fast/{n}": held for n, held in files(self.fast.parent).items()}
            | {"metrics": scraped}
        )

    def copy(self, to: Path) -> None:
        """Copies of the durable store as whoever gets at the disk makes them: file, WAL, and a backup by SQLite."""
        to.mkdir()
        for name in ("sealwire.db", "sealwire.db-wal"):
            shutil.copy(self.state.folder / name, to / name)
        with closing(sqlite3.connect(self.ledger)) as live, closing(sqlite3.connect(to / "backup.db")) as copy:
            live.backup(copy)


@contextmanager
def passing(folder: Path) -> Iterator[Passage]:
    """Served and terminated, from its first start to its end."""
    passage = Passage(folder)
    with passage.terminator.running():
        try:
            passage.start()
            yield passage
        finally:
            passage.stop()


def trusts(credential: Credential) -> ssl.SSLContext:
    """What a client trusts at the other end of its connection."""
    return ssl.create_default_context(cafile=str(credential.ca))
