"""
Ledger and directory in this process, for tests and trials: the durable ports without durability.

Keeps: everything until the process ends.
"""

from __future__ import annotations

from collections.abc import Callable

from sealwire.errors import Refusal
from sealwire.ports import (
    IDEMPOTENCY_SECONDS,
    REPEAT_SECONDS,
    Clock,
    Decision,
    DurableNonce,
    Enrolled,
    IdempotencyClaim,
    IdempotencyEntry,
    Invitation,
    Recorded,
    key_taken,
)
from sealwire.ports.apikeys import Client
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.window import SKEW_SECONDS
from sealwire.records import ApiKeyRecord, Bounds, KeyRecord


class MemoryLedger:
    """Ledger for tests: everything ends with the process. `decisions` and `tallies` can be looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nonces: dict[tuple[str, str], float] = {}
        self._idempotency: dict[tuple[str, bytes], IdempotencyEntry] = {}
        self.decisions: list[Decision] = []
        self.tallies: list[tuple[str, int, str, int]] = []
        #: Uses an approval up, if it can be at this Unix second; set by the approvals that are kept beside it.
        self.use_approval: Callable[[str, float], bool] = lambda _approval, _now: False

    async def record(
        self,
        decision: Decision,
        nonce: DurableNonce | None = None,
        idempotency: IdempotencyClaim | None = None,
        approval: str = "",
    ) -> Recorded:
        """As the port says, but for durability."""
        now = self._clock.now()
        if nonce is not None:
            if now >= nonce.last_valid + SKEW_SECONDS:
                return "late"
            if self._nonces.get((nonce.keyid, nonce.nonce), 0) > now:
                return "seen"
            self._nonces[nonce.keyid, nonce.nonce] = nonce.last_valid + nonce.remember_seconds
        if idempotency is not None and await self.recall(idempotency.scope, idempotency.key) is not None:
            return "taken"
        if approval and not self.use_approval(approval, now):
            return "unapproved"
        if idempotency is not None:
            entry = IdempotencyEntry(idempotency.fingerprint, None, now)
            self._idempotency[idempotency.scope, idempotency.key] = entry
        self.decisions.append(decision)
        return "recorded"

    async def recall(self, scope: str, key: bytes) -> IdempotencyEntry | None:
        """As the port says."""
        entry = self._idempotency.get((scope, key))
        return None if entry is None or self._clock.now() >= entry.at + IDEMPOTENCY_SECONDS else entry

    async def finish(self, scope: str, key: bytes, wrapped: bytes) -> None:
        """As the port says, but for durability."""
        entry = self._idempotency.get((scope, key))
        if entry is not None and entry.wrapped is None:
            self._idempotency[scope, key] = entry._replace(wrapped=wrapped)

    async def release(self, scope: str, key: bytes) -> None:
        """As the port says."""
        entry = self._idempotency.get((scope, key))
        if entry is not None and entry.wrapped is None:
            del self._idempotency[scope, key]

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        """As the port says."""
        self.tallies.extend(rows)


class MemoryDirectory:
    """Directory for tests: everything ends with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyRecord] = {}
        self._invitations: dict[str, Invitation] = {}
        self._key_sets: list[tuple[str, int]] = []
        #: Shared with the API keys of the same store, which end and freeze with their clients.
        self.clients: dict[str, Client] = {}
        self.apikeys: dict[str, ApiKeyRecord] = {}
        #: Where decisions go, where there is a ledger beside it.
        self.record: Callable[[Decision], None] = lambda _decision: None

    async def key(self, keyid: str) -> KeyRecord | None:
        """As the port says."""
        return self._keys.get(keyid)

    async def invitation(self, invitation: str) -> Invitation | None:
        """As the port says."""
        return self._invitations.get(invitation)

    async def add_invitation(self, invitation: Invitation, decision: Decision | None = None) -> None:
        """As the port says."""
        self._invitations[invitation.id] = invitation
        if decision is not None:
            self.record(decision)

    async def invitations(self, user: str | None = None) -> list[Invitation]:
        """As the port says."""
        found = [one for one in self._invitations.values() if user is None or one.user == user]
        return sorted(found, key=lambda one: one.expires_at)

    async def end_invitation(self, invitation: str, decision: Decision) -> bool:
        """As the port says."""
        found = self._invitations.get(invitation)
        if found is None or not found.waits_at(decision.at):
            return False
        self._invitations[invitation] = found._replace(expires_at=0)
        self.record(decision)
        return True

    async def enrol(self, invitation: str, verifier: Verifier, client: str, name: str, now: float) -> Enrolled:
        """As the port says."""
        found = self._invitations.get(invitation)
        known = self._keys.get(verifier.keyid)
        if found is None:
            raise Refusal("invitation-invalid", "unknown", failed="key")
        if found.used_by:
            if found.used_by != verifier.keyid or known is None or now >= found.used_at + REPEAT_SECONDS:
                raise Refusal("invitation-invalid", "spent", failed="key")
            return _enrolled(known)
        if now >= found.expires_at:
            raise Refusal("invitation-invalid", "expired", failed="key")
        if known is not None:
            raise key_taken()
        owner = found.client or client
        bounds = Bounds(owner, found.addresses, found.limits)
        # An invitation that adds a key gives it what its client may now, not what that was when it was written.
        held = self.clients.setdefault(owner, Client(found.name, found.user, found.scopes, bounds, now))
        record = KeyRecord(
            verifier.keyid, owner, held.name, name, held.user, held.scopes, held.bounds.addresses, verifier, "active",
            now, None, limits=held.bounds.limits,
        )  # fmt: skip
        self._keys[verifier.keyid] = record
        self._invitations[invitation] = found._replace(used_by=verifier.keyid, used_at=now)
        return _enrolled(record)

    async def rotate(self, old: str, verifier: Verifier, name: str, now: float, overlap_seconds: int) -> Enrolled:
        """As the port says."""
        known, before = self._keys.get(verifier.keyid), self._keys.get(old)
        if known is not None:
            if known.follows != old or now >= known.enrolled_at + REPEAT_SECONDS:
                raise key_taken()
            return _enrolled(known)
        if before is None or before.state != "active":
            raise Refusal("approval-required", "more-keys", failed="policy")
        record = before._replace(
            keyid=verifier.keyid, name=name, verifier=verifier, enrolled_at=now, expires_at=None, follows=old
        )
        self._keys[old] = before._replace(state="retiring", expires_at=now + overlap_seconds)
        self._keys[verifier.keyid] = record
        return _enrolled(record)

    async def revoke(self, keyid: str, decision: Decision | None = None) -> bool:
        """As the port says."""
        record = self._keys.get(keyid)
        if record is not None:
            self._keys[keyid] = record._replace(state="revoked")
            if decision is not None:
                self.record(decision)
        return record is not None

    async def revoke_client(self, client: str, decision: Decision | None = None) -> int:
        """As the port says."""
        ending = [key for key in self._keys.values() if key.client == client and key.state != "revoked"]
        for key in ending:
            await self.revoke(key.keyid)
        held = [one for one in self.apikeys.values() if one.client == client and one.state != "revoked"]
        self.apikeys |= {one.id: one._replace(state="revoked") for one in held}
        voided = self._void_invitations(client)
        if decision is not None and len(ending) + len(held) + voided:
            self.record(decision)
        return len(ending) + len(held)

    async def keys(self, client: str | None = None) -> list[KeyRecord]:
        """As the port says."""
        return [key for key in self._keys.values() if client is None or key.client == client]

    def thaw(self, client: str) -> int:
        """The keys of a client sign again; for the approvals of the same store."""
        frozen = [key for key in self._keys.values() if key.client == client and key.state == "frozen"]
        for key in frozen:
            self._keys[key.keyid] = key._replace(state="active" if key.expires_at is None else "retiring")
        held = [one for one in self.apikeys.values() if one.client == client and one.state == "frozen"]
        self.apikeys |= {one.id: one._replace(state="active") for one in held}
        return len(frozen) + len(held)

    def freeze(self, client: str, user: str, now: float) -> int:
        """The keys of a user's client stop; for the approvals of the same store."""
        own = [key for key in self._keys.values() if (key.client, key.user) == (client, user)]
        held = [key for key in own if key.state in ("active", "retiring")]
        for key in held:
            self._keys[key.keyid] = key._replace(state="frozen", frozen_at=now)
        bearers = [
            one for one in self.apikeys.values() if (one.client, one.user, one.state) == (client, user, "active")
        ]
        self.apikeys |= {one.id: one._replace(state="frozen") for one in bearers}
        self._void_invitations(client)
        return len(held) + len(bearers)

    def _void_invitations(self, client: str) -> int:
        """One that would add a key to it opens nothing any more; how many there were."""
        open_ones = [one for one in self._invitations.values() if one.client == client and not one.used_by]
        ending = [one for one in open_ones if one.expires_at]
        self._invitations |= {one.id: one._replace(expires_at=0) for one in ending}
        return len(ending)

    def bind(self, client: str, scopes: frozenset[str], bounds: Bounds) -> None:
        """Other scopes and bounds for the keys of a client; for the API keys of the same store."""
        for key in [key for key in self._keys.values() if key.client == client]:
            self._keys[key.keyid] = key._replace(scopes=scopes, addresses=bounds.addresses, limits=bounds.limits)

    async def key_set_version(self, thumbprints: str, now: float) -> tuple[int, int]:
        """As the port says."""
        if not self._key_sets or self._key_sets[-1][0] != thumbprints:
            self._key_sets.append((thumbprints, int(now)))
        return len(self._key_sets), self._key_sets[-1][1]


def _enrolled(record: KeyRecord) -> Enrolled:
    return Enrolled(record.client, record.keyid, record.state, record.expires_at)
