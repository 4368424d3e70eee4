"""
Clients, keys and invitations in the durable SQLite file.

Keeps: public keys, names, scopes, and the HMAC keys of invitations wrapped by the key home. A call sees every write
that had returned when it was sent, in every process, so a revoked key is dead at the next call.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import Any

from sealwire.errors import Refusal
from sealwire.ports import REPEAT_SECONDS, Decision, Enrolled, Invitation, key_taken
from sealwire.protocol.jwk import Verifier, load_verifier
from sealwire.protocol.ratelimit import Limit, parse_own, written
from sealwire.records import KeyRecord
from sealwire.stores.sqlite import INSERT_DECISION
from sealwire.stores.sqlite_file import SqliteFile

_FAULT = ("store-unavailable", "directory")
_MAX_LOADED = 10_000
_KEY = (
    "SELECT k.keyid, k.client, c.name, k.name, c.user, c.scopes, c.addresses, k.jwk,"
    " iif(k.frozen AND k.state <> 'revoked', 'frozen', k.state), k.enrolled, k.expires, k.follows, k.frozen_at,"
    " c.limits"
    " FROM keys k JOIN clients c ON c.id = k.client"
)
_INVITATION = (
    "SELECT id, name, client, user, scopes, addresses, wrapped, expires, used_by, used_at, limits FROM invitations"
)


class SqliteDirectory:
    """
    Directory on a SqliteFile. Records of keys are held until any key or client changes, loaded key objects by
    thumbprint, which never changes meaning; at most 10,000 of each.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._loaded: dict[str, Verifier] = {}
        #: What was read since the version was this one: a new dict for each, so that nothing that another thread read
        #: before a change is ever put beside what was read behind it.
        self._held: tuple[int, dict[str, KeyRecord]] = (-1, {})
        self._looked: asyncio.AbstractEventLoop | None = None

    async def key(self, keyid: str) -> KeyRecord | None:
        """As the port says."""
        records = self._fresh()
        record = records.get(keyid)
        if record is not None:
            return record
        rows = self._file.read(_KEY + " WHERE k.keyid = ?", keyid)
        if not rows:
            return None
        record = self._record(rows[0])
        if len(records) < _MAX_LOADED:
            records[keyid] = record
        return record

    async def keys(self, client: str | None = None) -> list[KeyRecord]:
        """As the port says."""
        if client is None:
            rows = self._file.read(_KEY + " ORDER BY k.enrolled")
        else:
            rows = self._file.read(_KEY + " WHERE k.client = ? ORDER BY k.enrolled", client)
        return [self._record(row) for row in rows]

    async def invitation(self, invitation: str) -> Invitation | None:
        """As the port says."""
        rows = self._file.read(_INVITATION + " WHERE id = ?", invitation)
        return _invitation(rows[0]) if rows else None

    async def invitations(self, user: str | None = None) -> list[Invitation]:
        """As the port says."""
        if user is None:
            rows = self._file.read(_INVITATION + " ORDER BY expires")
        else:
            rows = self._file.read(_INVITATION + " WHERE user = ? ORDER BY expires", user)
        return [_invitation(row) for row in rows]

    async def end_invitation(self, invitation: str, decision: Decision) -> bool:
        """As the port says."""
        # Not the moment itself: a call that began before it may be enrolling now.
        sql = "UPDATE invitations SET expires = 0 WHERE id = ? AND used_by = '' AND expires > ?"
        values = (invitation, decision.at)
        return bool(await self._file.write(lambda connection: _changed(connection, sql, values, decision), _FAULT))

    async def add_invitation(self, invitation: Invitation, decision: Decision | None = None) -> None:
        """As the port says."""
        i = invitation
        bound = (listed(i.scopes), listed(i.addresses), _kept(i.limits))
        values = (i.id, i.name, i.client, i.user, *bound, i.wrapped, i.expires_at)
        sql = (
            "INSERT INTO invitations (id, name, client, user, scopes, addresses, limits, wrapped, expires)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        await self._file.write(lambda connection: _changed(connection, sql, values, decision), _FAULT)

    async def enrol(self, invitation: str, verifier: Verifier, client: str, name: str, now: float) -> Enrolled:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> Enrolled:
            row = connection.execute(_INVITATION + " WHERE id = ?", (invitation,)).fetchone()
            if row is None:
                raise Refusal("invitation-invalid", "unknown", failed="key")
            found = _invitation(row)
            known = _enrolled(connection, verifier.keyid)
            if found.used_by:
                if found.used_by != verifier.keyid or known is None or now >= found.used_at + REPEAT_SECONDS:
                    raise Refusal("invitation-invalid", "spent", failed="key")
                return known
            if now >= found.expires_at:
                raise Refusal("invitation-invalid", "expired", failed="key")
            if known is not None:
                raise key_taken()
            owner = found.client or client
            bound = (listed(found.scopes), listed(found.addresses), _kept(found.limits))
            sql = (
                "INSERT OR IGNORE INTO clients (id, name, user, scopes, addresses, limits, created)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
            )
            connection.execute(sql, (owner, found.name, found.user, *bound, now))
            _add_key(connection, verifier, owner, name, now, "")
            connection.execute(
                "UPDATE invitations SET used_by = ?, used_at = ? WHERE id = ?", (verifier.keyid, now, invitation)
            )
            return Enrolled(owner, verifier.keyid, "active", None)

        return await self._file.write(work, _FAULT)

    async def rotate(self, old: str, verifier: Verifier, name: str, now: float, overlap_seconds: int) -> Enrolled:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> Enrolled:
            sql = "SELECT follows, enrolled FROM keys WHERE keyid = ?"
            again = connection.execute(sql, (verifier.keyid,)).fetchone()
            known = _enrolled(connection, verifier.keyid)
            if again is not None and known is not None:
                if again[0] != old or now >= again[1] + REPEAT_SECONDS:
                    raise key_taken()
                return known
            sql = "SELECT client, state FROM keys WHERE keyid = ? AND frozen = 0"
            before = connection.execute(sql, (old,)).fetchone()
            if before is None or before[1] != "active":
                raise Refusal("approval-required", "more-keys", failed="policy")
            _add_key(connection, verifier, before[0], name, now, old)
            connection.execute(
                "UPDATE keys SET state = 'retiring', expires = ? WHERE keyid = ?", (now + overlap_seconds, old)
            )
            return Enrolled(before[0], verifier.keyid, "active", None)

        return await self._file.write(work, _FAULT)

    async def revoke(self, keyid: str, decision: Decision | None = None) -> bool:
        """As the port says."""
        sql = "UPDATE keys SET state = 'revoked' WHERE keyid = ?"
        return bool(await self._file.write(lambda connection: _changed(connection, sql, (keyid,), decision), _FAULT))

    async def revoke_client(self, client: str, decision: Decision | None = None) -> int:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> int:
            ended = 0
            for table in ("keys", "apikeys"):
                # no value of anybody's: one of the two names above
                sql = f"UPDATE {table} SET state = 'revoked' WHERE client = ? AND state <> 'revoked'"  # noqa: S608
                ended += connection.execute(sql, (client,)).rowcount
            # An invitation that would add a key to it opens nothing any more.
            sql = "UPDATE invitations SET expires = 0 WHERE client = ? AND used_by = '' AND expires > 0"
            voided = connection.execute(sql, (client,)).rowcount
            if decision is not None and ended + voided:
                connection.execute(INSERT_DECISION, decision)
            return ended

        return await self._file.write(work, _FAULT)

    async def key_set_version(self, thumbprints: str, now: float) -> tuple[int, int]:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            sql = "SELECT version, thumbprints, issued FROM key_sets ORDER BY version DESC LIMIT 1"
            last = connection.execute(sql).fetchone()
            if last is not None and last[1] == thumbprints:
                return int(last[0]), int(last[2])
            version = 1 if last is None else int(last[0]) + 1
            connection.execute("INSERT INTO key_sets VALUES (?, ?, ?)", (version, thumbprints, int(now)))
            return version, int(now)

        return await self._file.write(work, _FAULT)

    def _fresh(self) -> dict[str, KeyRecord]:
        """
        The records that are held, none if anything changed since they were read. One look serves all calls of one turn
        of the event loop: each of them was sent, and had arrived, before the turn began.
        """
        loop = asyncio.get_running_loop()
        if self._looked is loop:
            return self._held[1]
        ((version,),) = self._file.read("SELECT version FROM directory_version")
        held = self._held
        if version != held[0]:
            held = self._held = (version, {})
        loop.call_soon(self._turn_over)
        self._looked = loop
        return held[1]

    def _turn_over(self) -> None:
        self._looked = None

    def _record(self, row: tuple[Any, ...]) -> KeyRecord:
        keyid, client, client_name, name, user, scopes, addresses, jwk, state, enrolled, expires, *rest = row
        follows, frozen_at, limits = rest
        verifier = self._loaded.get(keyid)
        if verifier is None:
            verifier = load_verifier(json.loads(jwk))
            if len(self._loaded) < _MAX_LOADED:
                self._loaded[keyid] = verifier
        return KeyRecord(
            keyid,
            client,
            client_name,
            name,
            user,
            frozenset(scopes.split()),
            tuple(addresses.split()),
            verifier,
            state,
            enrolled,
            expires,
            follows,
            frozen_at,
            limits_of(limits, "client-own"),
        )


def listed(words: frozenset[str] | tuple[str, ...]) -> str:
    """Words as a column has them."""
    return " ".join(sorted(words))


def limits_of(column: str, kind: str) -> tuple[Limit, ...]:
    """Limits of a client's or an API key's own, as a column has them."""
    return tuple(parse_own(each, kind) for each in column.split())


def _changed(connection: sqlite3.Connection, sql: str, values: tuple[object, ...], decision: Decision | None) -> int:
    """How many rows were changed; if there were any, the decision is recorded with them."""
    changed = connection.execute(sql, values).rowcount
    if changed and decision is not None:
        connection.execute(INSERT_DECISION, decision)
    return changed


def _kept(limits: tuple[Limit, ...]) -> str:
    return " ".join(written(limit) for limit in limits)


def _invitation(row: tuple[Any, ...]) -> Invitation:
    key, name, client, user, scopes, addresses, *rest = row[:-1]
    found = Invitation(key, name, client, user, frozenset(scopes.split()), tuple(addresses.split()), *rest)
    return found._replace(limits=limits_of(row[-1], "client-own"))


def _enrolled(connection: sqlite3.Connection, keyid: str) -> Enrolled | None:
    row = connection.execute("SELECT client, keyid, state, expires FROM keys WHERE keyid = ?", (keyid,)).fetchone()
    return Enrolled(*row) if row else None


def _add_key(
    connection: sqlite3.Connection, verifier: Verifier, client: str, name: str, now: float, follows: str
) -> None:
    connection.execute(
        "INSERT INTO keys (keyid, client, name, jwk, state, enrolled, follows) VALUES (?, ?, ?, ?, 'active', ?, ?)",
        (verifier.keyid, client, name, json.dumps(verifier.jwk), now, follows),
    )
