"""
Sessions of several workers on one machine, in the fast store's file on memory-backed storage.

Keeps: sessions with their secrets wrapped, until they run out; beside the file the wrapping key of this start. Nothing
here outlives the start: the parent makes both files and takes both away, a worker that starts again reads them.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.call import Session
from sealwire.errors import Fault, Misuse
from sealwire.ports import LATE_SECONDS, SESSIONS_OF_A_KEY, Clock, Counted, Entropy
from sealwire.protocol.handshake import Keys
from sealwire.stores.sqlite_fast import connect

MAX_SESSIONS = 100_000
_HELD_KEYS = 10_000
_SWEEP = 8
_IV_BYTES = 12
_SCHEMA = (
    """
    CREATE TABLE sessions (
      id TEXT PRIMARY KEY, keyid TEXT NOT NULL, expires INTEGER NOT NULL, max INTEGER NOT NULL, used INTEGER NOT NULL,
      opened REAL NOT NULL, wrapped BLOB NOT NULL, context BLOB NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX sessions_keyid ON sessions (keyid, expires)",
    "CREATE INDEX sessions_expires ON sessions (expires)",
)


def make(path: Path, entropy: Entropy) -> None:
    """Makes room for sessions in the fast store of a new start. Raises: Misuse if there is some, or none can be."""
    try:
        file = os.open(_wrapping(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as why:
        raise Misuse(f'store.fast: "{_wrapping(path)}" cannot be made: {why.strerror}') from None
    with os.fdopen(file, "wb") as wrapping:
        wrapping.write(entropy(32))
    connection = connect(path)
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.close()


def _wrapping(path: Path) -> Path:
    return path.with_suffix(".key")


class SqliteSessions:
    """SessionStore for all workers of one start. Keys that were unwrapped are held, at most 10,000."""

    def __init__(self, path: Path, clock: Clock, entropy: Entropy, max_sessions: int = MAX_SESSIONS) -> None:
        try:
            self._connection = connect(path)
            self._wrapping = AESGCM(_wrapping(path).read_bytes())
        except (sqlite3.Error, ValueError, OSError):
            raise Misuse(f'store.fast: "{path}" is not the fast store of this start') from None
        self._clock = clock
        self._entropy = entropy
        self._max_sessions = max_sessions
        self._keys: dict[str, Keys] = {}

    async def keep(self, session: Session, secret: bytes, context: bytes) -> None:
        """As the port says."""
        iv = self._entropy(_IV_BYTES)
        wrapped = iv + self._wrapping.encrypt(iv, secret, session.id.encode("ascii"))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                kept = self._keep(session, wrapped, context)
        except sqlite3.Error:
            raise Fault("store-unavailable", "sessions") from None
        if not kept:
            raise Fault("store-unavailable", "sessions")

    def _keep(self, session: Session, wrapped: bytes, context: bytes) -> bool:
        run = self._connection.execute
        over = "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires < ? LIMIT ?)"
        run(over, (self._clock.now() - LATE_SECONDS, _SWEEP))
        oldest = "SELECT id FROM sessions WHERE keyid = ? ORDER BY expires DESC LIMIT -1 OFFSET ?"
        run(f"DELETE FROM sessions WHERE id IN ({oldest})", (session.keyid, SESSIONS_OF_A_KEY - 1))  # noqa: S608  # ours
        if run("SELECT count(*) FROM sessions").fetchone()[0] >= self._max_sessions:
            return False
        values = (
            session.id,
            session.keyid,
            session.expires_at,
            session.max_requests,
            session.opened_at,
            wrapped,
            context,
        )
        run("INSERT INTO sessions VALUES (?, ?, ?, ?, 0, ?, ?, ?)", values)
        return True

    async def session(self, session_id: str) -> Session | None:
        """As the port says."""
        sql = "SELECT keyid, expires, max, opened, wrapped, context FROM sessions WHERE id = ? AND expires > ?"
        try:
            row = self._connection.execute(sql, (session_id, self._clock.now() - LATE_SECONDS)).fetchone()
        except sqlite3.Error:
            raise Fault("store-unavailable", "sessions") from None
        if row is None:
            self._keys.pop(session_id, None)
            return None
        keyid, expires_at, max_requests, opened_at, wrapped, context = row
        keys = self._keys.get(session_id)
        if keys is None:
            keys = self._unwrap(session_id, wrapped, context)
        return Session(session_id, keyid, expires_at, max_requests, keys, opened_at)

    def _unwrap(self, session_id: str, wrapped: bytes, context: bytes) -> Keys:
        try:
            secret = self._wrapping.decrypt(wrapped[:_IV_BYTES], wrapped[_IV_BYTES:], session_id.encode("ascii"))
        except InvalidTag:
            raise Fault("store-unavailable", "sessions") from None
        if len(self._keys) >= _HELD_KEYS:
            self._keys.clear()
        return self._keys.setdefault(session_id, Keys(secret, context))

    async def count(self, session_id: str) -> Counted:
        """As the port says; one statement, so one step for all workers."""
        try:
            sql = "UPDATE sessions SET used = used + 1 WHERE id = ? AND used < max"
            return "counted" if self._connection.execute(sql, (session_id,)).rowcount else "spent"
        except sqlite3.Error:
            raise Fault("store-unavailable", "sessions") from None

    async def end(self, session_id: str) -> None:
        """As the port says."""
        try:
            self._connection.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        except sqlite3.Error:
            raise Fault("store-unavailable", "sessions") from None

    def close(self) -> None:
        """Closes the connection; the files go with the parent."""
        self._connection.close()
