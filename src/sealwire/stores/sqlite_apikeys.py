"""
API keys, what holds clients closer, and how credentials were used, in the durable SQLite file.

Keeps: of each secret a keyed digest; counts of uses for 30 days. A read sees every write that has returned, in every
process, so a revoked key is dead at the next call.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sealwire.ports import Decision
from sealwire.ports.apikeys import USE_DAYS, Client, NewApiKey, Use
from sealwire.protocol.ratelimit import written
from sealwire.records import ApiKeyRecord, Bounds
from sealwire.stores.sqlite import INSERT_DECISION
from sealwire.stores.sqlite_directory import limits_of, listed
from sealwire.stores.sqlite_file import SqliteFile

_FAULT = ("store-unavailable", "directory")
_APIKEY = (
    "SELECT a.id, a.client, c.name, a.name, c.user, a.scopes, c.scopes, a.addresses, a.limits, c.addresses, c.limits,"
    " iif(a.frozen AND a.state <> 'revoked', 'frozen', a.state), a.made, a.expires, {until}"
    " FROM {secrets}apikeys a{on} JOIN clients c ON c.id = a.client"
)
_BY_SECRET = _APIKEY.format(until="s.until", secrets="apikey_secrets s JOIN ", on=" ON a.id = s.apikey")
_EVERY = _APIKEY.format(until="(SELECT min(until) FROM apikey_secrets WHERE apikey = a.id)", secrets="", on="")
_CLIENT = "SELECT id, name, user, scopes, addresses, limits, created FROM clients"
_ADD_CLIENT = "INSERT INTO clients (id, name, user, scopes, addresses, limits, created) VALUES (?, ?, ?, ?, ?, ?, ?)"


_FROZEN = (
    "SELECT 1 FROM keys WHERE client = ?1 AND frozen = 1 AND state <> 'revoked'"
    " UNION ALL SELECT 1 FROM apikeys WHERE client = ?1 AND frozen = 1 AND state <> 'revoked'"
)


class SqliteApiKeys:
    """ApiKeys and Uses on a SqliteFile."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    async def apikey(self, digest: bytes) -> ApiKeyRecord | None:
        """As the port says."""
        rows = self._file.read(_BY_SECRET + " WHERE s.digest = ?", digest)
        return _record(rows[0]) if rows else None

    async def apikeys(self, client: str | None = None) -> list[ApiKeyRecord]:
        """As the port says."""
        if client is None:
            return [_record(row) for row in self._file.read(_EVERY + " ORDER BY a.made")]
        return [_record(row) for row in self._file.read(_EVERY + " WHERE a.client = ? ORDER BY a.made", client)]

    async def clients(self, user: str | None = None) -> list[Client]:
        """As the port says."""
        if user is None:
            rows = self._file.read(_CLIENT + " ORDER BY created")
        else:
            rows = self._file.read(_CLIENT + " WHERE user = ? ORDER BY created", user)
        return [_client(row) for row in rows]

    async def add_apikey(self, new: NewApiKey, client: Client | None, decision: Decision) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            if connection.execute(_FROZEN, (new.client,)).fetchone():
                return False
            if client is not None:
                bound = (client.id, client.name, client.user, listed(client.scopes), *_kept(client.bounds))
                connection.execute(_ADD_CLIENT, (*bound, client.made_at))
            sql = (
                "INSERT INTO apikeys (id, client, name, scopes, addresses, limits, state, made, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, 'active', ?, ?)"
            )
            values = (new.bounds.owner, new.client, new.name, listed(new.scopes), *_kept(new.bounds))
            connection.execute(sql, (*values, new.made_at, new.expires_at))
            connection.execute("INSERT INTO apikey_secrets VALUES (?, ?, NULL)", (new.digest, new.bounds.owner))
            connection.execute(INSERT_DECISION, decision)
            return True

        return await self._file.write(work, _FAULT)

    async def rotate_apikey(
        self, apikey: str, digest: bytes, overlap_seconds: int, expires_at: float, decision: Decision
    ) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            sql = "SELECT expires FROM apikeys WHERE id = ? AND state = 'active' AND frozen = 0 AND expires > ?"
            before = connection.execute(sql, (apikey, decision.at)).fetchone()
            if before is None:
                return False
            connection.execute("UPDATE apikeys SET expires = ? WHERE id = ?", (expires_at, apikey))
            connection.execute("DELETE FROM apikey_secrets WHERE apikey = ? AND until IS NOT NULL", (apikey,))
            until = min(decision.at + overlap_seconds, before[0])
            connection.execute("UPDATE apikey_secrets SET until = ? WHERE apikey = ?", (until, apikey))
            connection.execute("INSERT INTO apikey_secrets VALUES (?, ?, NULL)", (digest, apikey))
            connection.execute(INSERT_DECISION, decision)
            return True

        return await self._file.write(work, _FAULT)

    async def revoke_apikey(self, apikey: str, decision: Decision) -> bool:
        """As the port says."""
        return await self._change("UPDATE apikeys SET state = 'revoked' WHERE id = ?", (apikey,), decision)

    async def bind_apikey(self, scopes: frozenset[str], bounds: Bounds, decision: Decision) -> bool:
        """As the port says."""
        sql = "UPDATE apikeys SET scopes = ?, addresses = ?, limits = ? WHERE id = ?"
        return await self._change(sql, (listed(scopes), *_kept(bounds), bounds.owner), decision)

    async def bind_client(
        self, scopes: frozenset[str], bounds: Bounds, decision: Decision, before: Client | None = None
    ) -> bool:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(_CLIENT + " WHERE id = ?", (bounds.owner,)).fetchone()
            if row is None or (before is not None and not _client(row).holds_as(before)):
                return False
            sql = "UPDATE clients SET scopes = ?, addresses = ?, limits = ? WHERE id = ?"
            connection.execute(sql, (listed(scopes), *_kept(bounds), bounds.owner))
            connection.execute(INSERT_DECISION, decision)
            return True

        return await self._file.write(work, _FAULT)

    async def add_uses(self, uses: tuple[Use, ...]) -> None:
        """As the port says."""

        def work(connection: sqlite3.Connection) -> None:
            sql = (
                "INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET calls = calls + excluded.calls,"
                " at = max(at, excluded.at), address = iif(excluded.at >= at, excluded.address, address)"
            )
            connection.executemany(sql, uses)
            latest = max(use.day for use in uses)
            connection.execute("DELETE FROM uses WHERE day <= ?", (latest - USE_DAYS,))

        if uses:
            await self._file.write(work, _FAULT)

    async def uses(self, client: str | None = None) -> list[Use]:
        """As the port says."""
        if client is None:
            return [Use(*row) for row in self._file.read("SELECT * FROM uses ORDER BY at")]
        sql = (
            "SELECT * FROM uses WHERE client = ?1"
            " OR client = '' AND credential IN (SELECT id FROM apikeys WHERE client = ?1) ORDER BY at"
        )
        return [Use(*row) for row in self._file.read(sql, client)]

    async def _change(self, sql: str, values: tuple[object, ...], decision: Decision) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            changed = bool(connection.execute(sql, values).rowcount)
            if changed:
                connection.execute(INSERT_DECISION, decision)
            return changed

        return await self._file.write(work, _FAULT)


def _kept(bounds: Bounds) -> tuple[str, str]:
    return listed(bounds.addresses), " ".join(written(limit) for limit in bounds.limits)


def _bounds(owner: str, addresses: str, limits: str, kind: str) -> Bounds:
    return Bounds(owner, tuple(addresses.split()), limits_of(limits, kind))


def _client(row: tuple[Any, ...]) -> Client:
    client, name, user, scopes, addresses, limits, made = row
    return Client(name, user, frozenset(scopes.split()), _bounds(client, addresses, limits, "client-own"), made)


def _record(row: tuple[Any, ...]) -> ApiKeyRecord:
    apikey, client, client_name, name, user, own, of_client, addresses, limits, around, all_limits, *rest = row
    bounds = (_bounds(apikey, addresses, limits, "key-own"), _bounds(client, around, all_limits, "client-own"))
    scopes = frozenset(own.split()) & frozenset(of_client.split())
    kept = tuple(each for each in bounds if each.addresses or each.limits)
    return ApiKeyRecord(apikey, client, client_name, name, user, scopes, kept, *rest)
