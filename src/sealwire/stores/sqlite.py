"""
The durable ledger in SQLite (WAL, `synchronous = FULL`): the one transaction that decides a call.

Keeps: decisions, counts of refusals before proof, nonces of unsafe methods and idempotency keys as digests, answers
wrapped by the key home. Nothing that a caller sent stands here in clear but the keyid.
"""

from __future__ import annotations

import hashlib
import sqlite3

from sealwire.ports import (
    IDEMPOTENCY_SECONDS,
    Clock,
    Decision,
    DurableNonce,
    IdempotencyClaim,
    IdempotencyEntry,
    Recorded,
)
from sealwire.protocol.window import SKEW_SECONDS
from sealwire.stores.sqlite_file import Insert, SqliteFile

_FAULT = ("audit-unavailable", "write")
_PURGE_EVERY_SECONDS = 1.0
_PURGE_ROWS = 2000


class SqliteLedger:
    """Ledger on a SqliteFile."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._purged_at = 0.0

    async def record(
        self,
        decision: Decision,
        nonce: DurableNonce | None = None,
        idempotency: IdempotencyClaim | None = None,
        approval: str = "",
    ) -> Recorded:
        """As the port says."""
        if nonce is None and idempotency is None and not approval:
            alone: Insert[Recorded] = Insert(INSERT_DECISION, decision, "recorded")
            return await self._file.write(alone, _FAULT)

        def work(connection: sqlite3.Connection) -> Recorded:
            now = self._clock.now()
            self._purge(connection, now)
            if nonce is not None and (lost := _claim_nonce(connection, nonce, now)):
                return lost
            if idempotency is not None and not _claim_idempotency(connection, idempotency, now):
                return "taken"
            if approval and not _use_approval(connection, approval, now):
                if idempotency is not None:
                    connection.execute(_RELEASE, (idempotency.scope, idempotency.key))
                return "unapproved"
            connection.execute(INSERT_DECISION, decision)
            return "recorded"

        return await self._file.write(work, _FAULT)

    async def recall(self, scope: str, key: bytes) -> IdempotencyEntry | None:
        """As the port says."""
        sql = "SELECT fingerprint, reply, at FROM idempotency WHERE scope = ? AND key = ?"
        rows = self._file.read(sql, scope, key, fault=_FAULT)
        if not rows or self._clock.now() >= rows[0][2] + IDEMPOTENCY_SECONDS:
            return None
        return IdempotencyEntry(*rows[0])

    async def finish(self, scope: str, key: bytes, wrapped: bytes) -> None:
        """As the port says."""
        sql = "UPDATE idempotency SET reply = ? WHERE scope = ? AND key = ? AND reply IS NULL"
        await self._file.write(lambda connection: connection.execute(sql, (wrapped, scope, key)).rowcount, _FAULT)

    async def release(self, scope: str, key: bytes) -> None:
        """As the port says."""
        await self._file.write(lambda connection: connection.execute(_RELEASE, (scope, key)).rowcount, _FAULT)

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        """As the port says."""
        sql = "INSERT INTO refusals (address, minute, slug, calls) VALUES (?, ?, ?, ?)"
        await self._file.write(lambda connection: connection.executemany(sql, rows).rowcount, _FAULT)

    def _purge(self, connection: sqlite3.Connection, now: float) -> None:
        """Takes out what has run out, so many rows at the most, so that no call pays for the history."""
        if abs(now - self._purged_at) < _PURGE_EVERY_SECONDS:
            return
        self._purged_at = now
        ended = (
            "DELETE FROM nonces WHERE digest IN (SELECT digest FROM nonces WHERE until < ? ORDER BY until LIMIT ?)"
            " RETURNING until"
        )
        if gone := connection.execute(ended, (now, _PURGE_ROWS)).fetchall():
            connection.execute("UPDATE forgotten SET until = max(until, ?)", max(gone))
        connection.execute(
            "DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at < ? LIMIT ?)",
            (now - IDEMPOTENCY_SECONDS, _PURGE_ROWS),
        )


_RELEASE = "DELETE FROM idempotency WHERE scope = ? AND key = ? AND reply IS NULL"
#: How a decision becomes a row.
INSERT_DECISION = (
    "INSERT INTO decisions (request, at, outcome, code, client, user, key, address, method, rule, policy)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _claim_nonce(connection: sqlite3.Connection, nonce: DurableNonce, now: float) -> Recorded | None:
    """Why the claim is lost, or None. Time is judged in here, under the write lock, on this machine's clock."""
    if now >= nonce.last_valid + SKEW_SECONDS:
        return "late"
    until = nonce.last_valid + nonce.remember_seconds
    # For a clock that was set back: what may have been forgotten is not asked for again.
    if until <= connection.execute("SELECT until FROM forgotten").fetchone()[0]:
        return "late"
    digest = hashlib.sha256(f"{nonce.keyid} {nonce.nonce}".encode()).digest()[:16]
    claimed = connection.execute("INSERT OR IGNORE INTO nonces (digest, until) VALUES (?, ?)", (digest, until))
    return None if claimed.rowcount else "seen"


def _claim_idempotency(connection: sqlite3.Connection, claim: IdempotencyClaim, now: float) -> bool:
    values = (claim.scope, claim.key, claim.fingerprint, now)
    connection.execute(
        "DELETE FROM idempotency WHERE scope = ? AND key = ? AND at <= ?", (*values[:2], now - IDEMPOTENCY_SECONDS)
    )
    sql = "INSERT OR IGNORE INTO idempotency (scope, key, fingerprint, at) VALUES (?, ?, ?, ?)"
    return bool(connection.execute(sql, values).rowcount)


def _use_approval(connection: sqlite3.Connection, approval: str, now: float) -> bool:
    """approved to used, with the decision it is used for; False if it is not there to be used."""
    sql = "UPDATE approvals SET state = 'used' WHERE id = ? AND state = 'approved' AND expires > ?"
    return bool(connection.execute(sql, (approval, now)).rowcount)
