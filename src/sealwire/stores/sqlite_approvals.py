"""
Approvals and factors in the durable SQLite file.

Keeps: who was asked, when, and what they said; the sentence and every secret wrapped, what a yes is bound to as keyed
digests. Approvals are forgotten after 90 days, tries after a day.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sealwire.call import Approval
from sealwire.ports import Clock, Decision
from sealwire.ports.people import (
    APPROVAL_TRIES,
    PENDING_OF_A_USER,
    USER_TRIES,
    USER_TRIES_SECONDS,
    Approved,
    Attempt,
    Factor,
    Move,
    too_many_questions,
)
from sealwire.stores.sqlite import INSERT_DECISION
from sealwire.stores.sqlite_file import SqliteFile

_FAULT = ("store-unavailable", "approvals")
_DAY = 24 * 3600
_KEPT_SECONDS = 90 * _DAY
_SWEEP = 100
_DIGEST_BYTES = 32
_APPROVAL = (
    "SELECT id, client, client_name, user, key, binding, shown, rule, factors, address, asked, expires, state, decided,"
    " how FROM approvals"
)
_FACTOR = "SELECT id, user, kind, name, secret, algorithm, digits, position, added, used FROM factors"


_OWN = (
    " WHERE client = ? AND frozen = 0 AND state <> 'revoked'"
    " AND EXISTS (SELECT 1 FROM clients WHERE id = client AND user = ?)"
)
_FREEZE_KEYS = "UPDATE keys SET frozen = 1, frozen_at = ?" + _OWN  # noqa: S608  # no value of anybody's
_FREEZE_APIKEYS = "UPDATE apikeys SET frozen = 1" + _OWN  # noqa: S608  # the same


class SqliteApprovals:
    """Approvals and Factors on a SqliteFile."""

    def __init__(self, file: SqliteFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def ask(self, approval: Approval) -> Approval:
        """As the port says."""
        fresh = approval
        values = (*fresh[:5], b"".join(fresh.binding), *fresh[6:8], " ".join(fresh.factors), *fresh[9:])

        def work(connection: sqlite3.Connection) -> Approval:
            _sweep(connection, fresh.asked_at)
            # All from one index, while everybody waits: the rows carry sentences, which may be long.
            open_ones = " FROM approvals WHERE user = ? AND expires > ? AND state IN ('pending', 'approved')"
            same = (fresh.user, fresh.asked_at, fresh.client, fresh.key, values[5])
            sql = f"SELECT id{open_ones} AND client = ? AND key = ? AND binding = ?"
            if found := connection.execute(sql, same).fetchone():
                return _approval(connection.execute(_APPROVAL + " WHERE id = ?", found).fetchone())
            sql = "SELECT count(*), min(expires) FROM approvals WHERE user = ? AND expires > ? AND state = 'pending'"
            waiting, first_end = connection.execute(sql, same[:2]).fetchone()
            if waiting >= PENDING_OF_A_USER:
                raise too_many_questions(first_end - fresh.asked_at)
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO approvals VALUES ({marks})", values)  # noqa: S608  # marks alone
            return fresh

        return await self._file.write(work, _FAULT)

    async def approval(self, approval_id: str) -> Approval | None:
        """As the port says."""
        rows = self._file.read(_APPROVAL + " WHERE id = ?", approval_id, fault=_FAULT)
        return _approval(rows[0]) if rows else None

    async def approvals(self, user: str | None = None, limit: int = 50) -> list[Approval]:
        """As the port says."""
        if user is None:
            rows = self._file.read(_APPROVAL + " ORDER BY asked DESC, id DESC LIMIT ?", limit, fault=_FAULT)
        else:
            sql = _APPROVAL + " WHERE user = ? ORDER BY asked DESC, id DESC LIMIT ?"
            rows = self._file.read(sql, user, limit, fault=_FAULT)
        return [_approval(row) for row in rows]

    async def attempt(self, user: str, approval_id: str, now: float) -> Attempt | None:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> Attempt | None:
            sql = "SELECT count(*) FROM tries WHERE user = ? AND at > ?"
            by_user = connection.execute(sql, (user, now - USER_TRIES_SECONDS)).fetchone()[0]
            sql = "SELECT count(*) FROM tries WHERE approval = ?"
            of_this = connection.execute(sql, (approval_id,)).fetchone()[0] if approval_id else 0
            if by_user >= USER_TRIES or of_this >= APPROVAL_TRIES:
                return None
            sql = "INSERT INTO tries (user, approval, at) VALUES (?, ?, ?) RETURNING number"
            number = connection.execute(sql, (user, approval_id, now)).fetchone()[0]
            return Attempt(number, APPROVAL_TRIES - of_this - 1, USER_TRIES - by_user - 1)

        return await self._file.write(work, _FAULT)

    async def approve(self, approval_id: str, move: Move, attempt: Attempt, decision: Decision) -> Approved:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> Approved:
            # Judged by this clock, under the write lock: what was read before may be late by now.
            now, user = self._clock.now(), decision.user
            row = connection.execute("SELECT until FROM cooling WHERE user = ?", (user,)).fetchone()
            if row is not None and now < row[0]:
                return "cooling"
            sql = "SELECT 1 FROM approvals WHERE id = ? AND user = ? AND state = 'pending' AND expires > ?"
            if connection.execute(sql, (approval_id, user, now)).fetchone() is None:
                return "late"
            if not _move(connection, move, user, now):
                return "raced"
            sql = "UPDATE approvals SET state = 'approved', decided = ?, how = ? WHERE id = ?"
            connection.execute(sql, (now, decision.code, approval_id))
            connection.execute("DELETE FROM tries WHERE number = ?", (attempt.number,))
            connection.execute(INSERT_DECISION, decision)
            return "approved"

        return await self._file.write(work, _FAULT)

    async def deny(self, approval_id: str, decision: Decision) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            now = self._clock.now()
            sql = (
                "UPDATE approvals SET state = 'denied', decided = ? WHERE id = ? AND state = 'pending' AND expires > ?"
            )
            denied = bool(connection.execute(sql, (now, approval_id, now)).rowcount)
            if denied:
                connection.execute(INSERT_DECISION, decision)
            return denied

        return await self._file.write(work, _FAULT)

    async def freeze(self, client: str, user: str, decision: Decision) -> int:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> int:
            now = self._clock.now()
            frozen = connection.execute(_FREEZE_KEYS, (now, client, user)).rowcount
            frozen += connection.execute(_FREEZE_APIKEYS, (client, user)).rowcount
            # One that would add a key to it would be the way around: it opens nothing any more.
            sql = "UPDATE invitations SET expires = 0 WHERE client = ? AND user = ? AND used_by = ''"
            connection.execute(sql, (client, user))
            sql = (
                "UPDATE approvals SET state = 'denied', decided = ? WHERE client = ? AND user = ?"
                " AND state IN ('pending', 'approved') AND expires > ?"
            )
            connection.execute(sql, (now, client, user, now))
            connection.execute(INSERT_DECISION, decision)
            return frozen

        return await self._file.write(work, _FAULT)

    async def thaw(self, client: str, decision: Decision) -> int:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> int:
            sql = "UPDATE keys SET frozen = 0 WHERE client = ? AND frozen = 1 AND state <> 'revoked'"
            thawed = connection.execute(sql, (client,)).rowcount
            sql = "UPDATE apikeys SET frozen = 0 WHERE client = ? AND frozen = 1 AND state <> 'revoked'"
            thawed += connection.execute(sql, (client,)).rowcount
            if thawed:
                connection.execute(INSERT_DECISION, decision)
            return thawed

        return await self._file.write(work, _FAULT)

    async def factors(self, user: str) -> list[Factor]:
        """As the port says."""
        return [Factor(*row) for row in self._file.read(_FACTOR + " WHERE user = ? ORDER BY added", user, fault=_FAULT)]

    async def add(self, factor: Factor, decision: Decision, cooling_until: float = 0, replaces: str = "") -> None:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM factors WHERE id = ? AND user = ?", (replaces, factor.user))
            connection.execute("INSERT INTO factors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", factor)
            _cool(connection, factor.user, cooling_until)
            connection.execute(INSERT_DECISION, decision)

        await self._file.write(work, _FAULT)

    async def remove(
        self, factor_id: str, user: str, decision: Decision, cooling_until: float = 0, if_last: float = 0
    ) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            gone = bool(connection.execute("DELETE FROM factors WHERE id = ? AND user = ?", (factor_id, user)).rowcount)
            if gone:
                left = connection.execute("SELECT 1 FROM factors WHERE user = ? LIMIT 1", (user,)).fetchone()
                _cool(connection, user, cooling_until if left else max(cooling_until, if_last))
                connection.execute(INSERT_DECISION, decision)
            return gone

        return await self._file.write(work, _FAULT)

    async def move(self, move: Move, user: str, attempt: Attempt, now: float) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            moved = _move(connection, move, user, now)
            if moved:
                connection.execute("DELETE FROM tries WHERE number = ?", (attempt.number,))
            return moved

        return await self._file.write(work, _FAULT)

    async def cool(self, user: str, until: float, decision: Decision) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute("SELECT until FROM cooling WHERE user = ?", (user,)).fetchone()
            if row is not None and decision.at < row[0]:
                return False
            _cool(connection, user, until)
            connection.execute(INSERT_DECISION, decision)
            return True

        return await self._file.write(work, _FAULT)

    async def cooling_until(self, user: str) -> float:
        """As the port says."""
        rows = self._file.read("SELECT until FROM cooling WHERE user = ?", user, fault=_FAULT)
        return rows[0][0] if rows else 0.0


def _move(connection: sqlite3.Connection, move: Move, user: str, now: float) -> bool:
    sql = "UPDATE factors SET position = ?, used = ? WHERE id = ? AND user = ? AND position = ?"
    return bool(connection.execute(sql, (move.after, now, move.factor, user, move.before)).rowcount)


def _cool(connection: sqlite3.Connection, user: str, until: float) -> None:
    if until:
        sql = "INSERT INTO cooling VALUES (?, ?) ON CONFLICT (user) DO UPDATE SET until = max(until, excluded.until)"
        connection.execute(sql, (user, until))


def _sweep(connection: sqlite3.Connection, now: float) -> None:
    """A bounded step: what is forgotten is so little by little."""
    for table, column, before in (("approvals", "asked", now - _KEPT_SECONDS), ("tries", "at", now - _DAY)):
        sql = f"DELETE FROM {table} WHERE {column} IN (SELECT {column} FROM {table} WHERE {column} < ? LIMIT ?)"  # noqa: S608  # ours
        connection.execute(sql, (before, _SWEEP))


def _approval(row: tuple[Any, ...]) -> Approval:
    *who, binding, shown, template, factors = row[:9]
    digests = tuple(binding[at : at + _DIGEST_BYTES] for at in range(0, len(binding), _DIGEST_BYTES))
    return Approval._make((*who, digests, shown, template, tuple(factors.split()), *row[9:]))
