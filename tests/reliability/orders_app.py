"""
An app that keeps books of its own about who entered and what was done, in SQLite, on stable storage.

It is as careless as an app may be: it never looks whether an order was done before. It takes its time between noting
the entry, doing the order and answering, so that a kill finds calls at each of these points.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from zlib import crc32

DATABASE, LEDGER = "ORDERS_DATABASE", "ORDERS_LEDGER"
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS entries (request TEXT, principal TEXT, id TEXT, nonce TEXT, decided INTEGER);
CREATE TABLE IF NOT EXISTS effects (request TEXT, principal TEXT, id TEXT);
"""
_PAUSES_SECONDS = 0.2

Message = MutableMapping[str, Any]


class OrdersApp:
    """Takes `{"id": …}`; does it once for each call that reaches it, or `times`."""

    def __init__(self, database: Path, ledger: Path, times: int = 1) -> None:
        self._books = sqlite3.connect(database, timeout=10, isolation_level=None)
        self._books.executescript(_SCHEMA)
        self._ledger = sqlite3.connect(ledger, timeout=10, isolation_level=None)
        self._times = times
        self._hold = hold_file(database)

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """One order."""
        if scope["type"] != "http":
            return
        if scope["method"] == "POST":
            order = json.loads((await receive())["body"])["id"]
            nonce = dict(scope["headers"]).get(b"x-message", b"").decode()
            await self._do(scope["sealwire"].request_id, scope["sealwire"].caller.client, order, nonce)
            body = json.dumps({"done": order, "by": scope["sealwire"].request_id}).encode()
        else:
            body = json.dumps({"worker": os.getpid()}).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _do(self, request: str, principal: str, order: str, nonce: str) -> None:
        newest = "SELECT 1 FROM decisions WHERE request = ? ORDER BY seq DESC LIMIT 1"
        decided = self._ledger.execute(newest, (request,)).fetchone() is not None
        entry = (request, principal, order, nonce, decided)
        self._books.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", entry)
        pause = crc32(request.encode()) / 2**32 * _PAUSES_SECONDS
        await asyncio.sleep(pause)
        while self._hold.exists():  # noqa: ASYNC110  # another process is waited for
            await asyncio.sleep(0.01)
        for _ in range(self._times):
            self._books.execute("INSERT INTO effects VALUES (?, ?, ?)", (request, principal, order))
        await asyncio.sleep(_PAUSES_SECONDS - pause)


def hold_file(database: Path) -> Path:
    """As long as this file is there, calls that have entered stay where they are."""
    return database.with_suffix(".hold")


def made(times: int = 1) -> OrdersApp:
    """The app of this environment."""
    return OrdersApp(Path(os.environ[DATABASE]), Path(os.environ[LEDGER]), times)
