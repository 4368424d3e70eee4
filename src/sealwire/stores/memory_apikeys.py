"""
API keys, what holds clients closer, and how credentials were used, in this process, for tests and trials.

Keeps: everything until the process ends.
"""

from __future__ import annotations

from sealwire.ports import Decision
from sealwire.ports.apikeys import USE_DAYS, Client, NewApiKey, Use
from sealwire.records import ApiKeyRecord, Bounds
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger


class MemoryApiKeys:
    """ApiKeys and Uses beside a directory, whose clients have them, and a ledger for their decisions."""

    def __init__(self, ledger: MemoryLedger, directory: MemoryDirectory) -> None:
        self._ledger = ledger
        self._directory = directory
        self._held = directory.apikeys
        directory.record = ledger.decisions.append
        self._own: dict[str, tuple[frozenset[str], Bounds]] = {}
        self._clients = directory.clients
        self._secrets: dict[bytes, tuple[str, float | None]] = {}
        self._uses: dict[tuple[str, str, str, int], Use] = {}

    async def apikey(self, digest: bytes) -> ApiKeyRecord | None:
        """As the port says."""
        found = self._secrets.get(digest)
        if found is None:
            return None
        held, until = self._held[found[0]], found[1]
        return held if until is None else held._replace(retires_at=until)

    async def apikeys(self, client: str | None = None) -> list[ApiKeyRecord]:
        """As the port says."""
        untils = {apikey: until for apikey, until in self._secrets.values() if until is not None}
        own = [one for one in self._held.values() if client is None or one.client == client]
        return [one._replace(retires_at=untils.get(one.id)) for one in own]

    async def clients(self, user: str | None = None) -> list[Client]:
        """As the port says."""
        every: dict[str, Client] = {}
        for key in await self._directory.keys():
            bounds = Bounds(key.client, key.addresses, key.limits)
            every.setdefault(key.client, Client(key.client_name, key.user, key.scopes, bounds, key.enrolled_at))
        every |= self._clients
        found = [client for client in every.values() if user is None or client.user == user]
        return sorted(found, key=lambda client: client.made_at)

    async def add_apikey(self, new: NewApiKey, client: Client | None, decision: Decision) -> bool:
        """As the port says."""
        states = [key.state for key in await self._directory.keys(new.client)]
        if "frozen" in (*states, *(one.state for one in self._held.values() if one.client == new.client)):
            return False
        if client is not None:
            self._clients[client.id] = client
        owner = next(one for one in await self.clients() if one.id == new.client)
        self._clients[owner.id] = owner
        self._held[new.bounds.owner] = ApiKeyRecord(
            new.bounds.owner, new.client, owner.name, new.name, owner.user, new.scopes, (), "active", new.made_at,
            new.expires_at,
        )  # fmt: skip
        self._own[new.bounds.owner] = (new.scopes, new.bounds)
        self._settle(new.bounds.owner)
        self._secrets[new.digest] = (new.bounds.owner, None)
        self._ledger.decisions.append(decision)
        return True

    async def rotate_apikey(
        self, apikey: str, digest: bytes, overlap_seconds: int, expires_at: float, decision: Decision
    ) -> bool:
        """As the port says."""
        held = self._held.get(apikey)
        if held is None or held.state_at(decision.at) != "active":
            return False
        for secret, (owner, until) in list(self._secrets.items()):
            if owner == apikey and until is not None:
                del self._secrets[secret]
            elif owner == apikey:
                self._secrets[secret] = (owner, min(decision.at + overlap_seconds, held.expires_at))
        self._secrets[digest] = (apikey, None)
        self._held[apikey] = held._replace(expires_at=expires_at)
        self._ledger.decisions.append(decision)
        return True

    async def revoke_apikey(self, apikey: str, decision: Decision) -> bool:
        """As the port says."""
        held = self._held.get(apikey)
        if held is not None:
            self._held[apikey] = held._replace(state="revoked")
            self._ledger.decisions.append(decision)
        return held is not None

    async def bind_apikey(self, scopes: frozenset[str], bounds: Bounds, decision: Decision) -> bool:
        """As the port says."""
        if bounds.owner not in self._held:
            return False
        self._own[bounds.owner] = (scopes, bounds)
        self._settle(bounds.owner)
        self._ledger.decisions.append(decision)
        return True

    async def bind_client(
        self, scopes: frozenset[str], bounds: Bounds, decision: Decision, before: Client | None = None
    ) -> bool:
        """As the port says."""
        client = next((one for one in await self.clients() if one.id == bounds.owner), None)
        if client is None or (before is not None and not client.holds_as(before)):
            return False
        self._clients[bounds.owner] = client._replace(scopes=scopes, bounds=bounds)
        self._directory.bind(bounds.owner, scopes, bounds)
        for apikey in [one.id for one in self._held.values() if one.client == bounds.owner]:
            self._settle(apikey)
        self._ledger.decisions.append(decision)
        return True

    async def add_uses(self, uses: tuple[Use, ...]) -> None:
        """As the port says."""
        for use in uses:
            name = (use.client, use.credential, use.reason, use.day)
            before = self._uses.get(name, use._replace(calls=0))
            last = max((use, before), key=lambda one: one.at)
            self._uses[name] = last._replace(calls=before.calls + use.calls)
        latest = max((use.day for use in uses), default=0)
        self._uses = {name: kept for name, kept in self._uses.items() if kept.day > latest - USE_DAYS}

    async def uses(self, client: str | None = None) -> list[Use]:
        """As the port says."""
        own = {one.id for one in self._held.values() if one.client == client}
        found = [use for use in self._uses.values() if client in (None, use.client) or use.credential in own]
        return sorted(found, key=lambda use: use.at)

    def _settle(self, apikey: str) -> None:
        """What an API key may do changes with it and with its client, so that a call only looks it up."""
        held, (scopes, bounds) = self._held[apikey], self._own[apikey]
        client = self._clients[held.client]
        kept = tuple(each for each in (bounds, client.bounds) if each.addresses or each.limits)
        self._held[apikey] = held._replace(scopes=scopes & client.scopes, bounds=kept)
