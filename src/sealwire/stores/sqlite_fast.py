"""
The fast store of several workers on one machine: an SQLite file on tmpfs, `synchronous = OFF`, made afresh at each
start.

Keeps: nonces as 16-byte digests and buckets, until they run out; the nonce key of this start. Nothing here outlives the
start, and nothing of an earlier one is read: the parent makes the file, its workers open it.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

from sealwire.errors import Fault, Misuse
from sealwire.ports import Charge, Claimed, Clock, Entropy
from sealwire.protocol.ratelimit import OF_STRANGERS, OWN, Limit, Spent, charge
from sealwire.protocol.window import SKEW_SECONDS

LIVE_NONCES = 100_000
MAX_BUCKETS = 100_000
_BUSY_SECONDS = 1.0
_SWEEP = 8
_SCHEMA = (
    "CREATE TABLE start (epoch REAL NOT NULL, secret BLOB NOT NULL, forgotten REAL NOT NULL)",
    "CREATE TABLE nonces (digest BLOB PRIMARY KEY, until REAL NOT NULL, keyid TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX nonces_until ON nonces (until)",
    "CREATE TABLE live (keyid TEXT PRIMARY KEY, nonces INTEGER NOT NULL) WITHOUT ROWID",
    # Addresses and their sites are bounded apart: anybody can come from many, and would push out the
    # limits of proven callers.
    """
    CREATE TABLE buckets (
      used INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, arrival REAL NOT NULL
    )
    """,
    "CREATE INDEX buckets_used ON buckets (kind, used)",
    "CREATE INDEX buckets_arrival ON buckets (kind, arrival)",
    "CREATE TABLE held (kind TEXT PRIMARY KEY, buckets INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO held VALUES ('address', 0), ('site', 0), ('caller', 0)",
)


def make(path: Path, clock: Clock, entropy: Entropy) -> None:
    """Makes the file of a new start. Raises: Misuse if one is there or it cannot be made."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as why:
        raise Misuse(f'store.fast: "{path}" cannot be made: {why.strerror}') from None
    connection = connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("INSERT INTO start VALUES (?, ?, 0)", (clock.now(), entropy(32)))
    connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection to the fast store of a start, durable for nobody."""
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    return connection


class SqliteFast:
    """NonceStore and BucketStore for all workers of one start; each operation is one immediate transaction."""

    def __init__(
        self, path: Path, clock: Clock, live_nonces: int = LIVE_NONCES, max_buckets: int = MAX_BUCKETS
    ) -> None:
        try:
            self._connection = connect(path)
            self.epoch, self.secret = self._connection.execute("SELECT epoch, secret FROM start").fetchone()
        except (sqlite3.Error, TypeError):
            raise Misuse(f'store.fast: "{path}" is not the fast store of this start') from None
        self._clock = clock
        self._live_nonces = live_nonces
        self._max_buckets = max_buckets

    async def claim(self, keyid: str, nonce: str, last_valid: float, remember_seconds: int) -> Claimed:
        """As the port says."""
        digest = hashlib.sha256(f"{keyid} {nonce}".encode()).digest()[:16]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back what did not come to its end
                outcome = self._claim(digest, keyid, last_valid, last_valid + remember_seconds)
        except sqlite3.Error:
            raise Fault("store-unavailable", "nonces") from None
        return outcome

    def _claim(self, digest: bytes, keyid: str, last_valid: float, until: float) -> Claimed:
        now = self._clock.now()
        if now >= last_valid + SKEW_SECONDS:
            return "late"
        run = self._connection.execute
        if run("SELECT 1 FROM nonces WHERE digest = ?", (digest,)).fetchone():
            return "seen"
        # For a clock that was set back: what may have been forgotten is not asked for again.
        if until <= run("SELECT forgotten FROM start").fetchone()[0]:
            return "late"
        sql = "SELECT digest, keyid, until FROM nonces WHERE until < ? LIMIT ?"
        for old, owner, ended in run(sql, (now, _SWEEP)).fetchall():
            run("UPDATE start SET forgotten = max(forgotten, ?)", (ended,))
            run("DELETE FROM nonces WHERE digest = ?", (old,))
            run("UPDATE live SET nonces = nonces - 1 WHERE keyid = ?", (owner,))
            run("DELETE FROM live WHERE keyid = ? AND nonces <= 0", (owner,))
        live = run("SELECT nonces FROM live WHERE keyid = ?", (keyid,)).fetchone()
        if live is not None and live[0] >= self._live_nonces:
            return "full"
        run("INSERT INTO nonces VALUES (?, ?, ?)", (digest, until, keyid))
        run("INSERT INTO live VALUES (?, 1) ON CONFLICT (keyid) DO UPDATE SET nonces = nonces + 1", (keyid,))
        return "first"

    async def look(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says; a reader waits for no writer."""
        try:
            return self._decide(charges)[1]
        except sqlite3.Error:
            raise Fault("store-unavailable", "buckets") from None

    async def charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back what did not come to its end
                spent = self._charge(charges)
        except sqlite3.Error:
            raise Fault("store-unavailable", "buckets") from None
        return spent

    def _charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        kept, spent, fresh, now = self._decide(charges)
        if all(one.fits for one in spent):
            # Replaced and not updated: `used` then grows with each charge, in the order of use.
            sql = "REPLACE INTO buckets (name, kind, arrival) VALUES (?, ?, ?)"
            self._connection.executemany(sql, kept.values())
            for kind in {kind for _, kind, _ in kept.values()}:
                self._bound(kind, fresh.count(kind), now)
        return spent

    def _decide(
        self, charges: tuple[Charge, ...]
    ) -> tuple[dict[str, tuple[str, str, float]], tuple[Spent, ...], list[str], float]:
        now = self._clock.monotonic()
        select, spent = "SELECT arrival FROM buckets WHERE name = ?", []
        kept: dict[str, tuple[str, str, float]] = {}
        fresh = []
        for limit, bucket in charges:
            quota = 0 if limit.kind in OWN else limit.quota
            name, kind = f"{bucket} {quota}/{limit.period_seconds}", _kind(limit)
            row = self._connection.execute(select, (name,)).fetchone()
            if row is None and name not in kept:
                fresh.append(kind)
            arrival, one = charge(limit, row[0] if row else 0.0, now)
            kept[name] = (name, kind, arrival)
            spent.append(one)
        return kept, tuple(spent), fresh, now

    def _bound(self, kind: str, fresh: int, now: float) -> None:
        """Keeps the count of buckets; past the bound the longest unused ones go."""
        run = self._connection.execute
        # A bucket whose arrival time is past holds nothing: without it the next call finds the same burst.
        sql = "DELETE FROM buckets WHERE used IN (SELECT used FROM buckets WHERE kind = ? AND arrival < ? LIMIT ?)"
        more = fresh - run(sql, (kind, now, _SWEEP)).rowcount
        over = run("SELECT buckets FROM held WHERE kind = ?", (kind,)).fetchone()[0] + more - self._max_buckets
        if over > 0:
            sql = "DELETE FROM buckets WHERE used IN (SELECT used FROM buckets WHERE kind = ? ORDER BY used LIMIT ?)"
            run(sql, (kind, over))
        if more:
            run("UPDATE held SET buckets = ? WHERE kind = ?", (self._max_buckets + min(over, 0), kind))

    def close(self) -> None:
        """Closes the connection; the file goes with the parent."""
        self._connection.close()


def _kind(limit: Limit) -> str:
    return limit.kind if limit.kind in OF_STRANGERS else "caller"
