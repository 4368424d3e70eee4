"""
State in this process: for one worker, for tests, and the fast store of a single-worker deployment.

Keeps: nonces and buckets (bounded), and for tests a ledger and a directory that end with the process.
"""

from __future__ import annotations

import hashlib
from collections import deque

from sealwire.call import KeyRecord
from sealwire.errors import Refusal
from sealwire.ports import (
    IDEMPOTENCY_SECONDS,
    REPEAT_SECONDS,
    Charge,
    Claimed,
    Clock,
    Decision,
    DurableNonce,
    Enrolled,
    Entropy,
    IdempotencyClaim,
    IdempotencyEntry,
    Invitation,
    Recorded,
)
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.ratelimit import Spent, charge
from sealwire.protocol.window import SKEW_SECONDS

LIVE_NONCES = 100_000
MAX_BUCKETS = 100_000
_SHARDS = 256
_SLICE_SECONDS = 16
_SWEEP = 4


class MemoryNonces:
    """
    NonceStore in sets of 10-byte keyed digests, in 256 shards so that no claim ever waits for a large table to grow.

    A digest is looked up over its whole life, whatever window the message claims: the same nonce signed again with another
    `created` is a replay. Two nonces that share a digest cost one false refusal in about 2^80 pairs, never an acceptance.
    Expired ones leave a few at a time with each claim, so cost does not depend on history.
    """

    def __init__(self, clock: Clock, entropy: Entropy, live_nonces: int = LIVE_NONCES) -> None:
        self.epoch = clock.now()
        self.secret = entropy(32)
        self._clock = clock
        self._salt = entropy(32)
        self._live_nonces = live_nonces
        self._seen: tuple[set[bytes], ...] = tuple(set() for _ in range(_SHARDS))
        self._live: dict[str, int] = {}
        # By time slice and key, the digests that leave the memory when the slice is over.
        self._slices: dict[int, dict[str, list[bytes]]] = {}
        self._leaving: deque[tuple[str, list[bytes]]] = deque()

    async def claim(self, keyid: str, nonce: str, last_valid: float, remember_seconds: int) -> Claimed:
        """As the port says; atomic because nothing here waits."""
        now = self._clock.now()
        self._sweep(now)
        if now >= last_valid + SKEW_SECONDS:
            return "late"
        digest = hashlib.blake2b(f"{keyid} {nonce}".encode(), digest_size=10, key=self._salt).digest()
        shard = self._seen[digest[0]]
        if digest in shard:
            return "seen"
        live = self._live.get(keyid, 0)
        if live >= self._live_nonces:
            return "full"
        shard.add(digest)
        self._live[keyid] = live + 1
        until = int((last_valid + remember_seconds) // _SLICE_SECONDS) + 1
        self._slices.setdefault(until, {}).setdefault(keyid, []).append(digest)
        return "first"

    def _sweep(self, now: float) -> None:
        over = int(now // _SLICE_SECONDS)
        for until in [until for until in self._slices if until <= over]:
            self._leaving.extend(self._slices.pop(until).items())
        for _ in range(_SWEEP):
            if not self._leaving:
                return
            keyid, digests = self._leaving[0]
            digest = digests.pop()
            self._seen[digest[0]].discard(digest)
            self._live[keyid] -= 1
            if not digests:
                self._leaving.popleft()
            if not self._live[keyid]:
                del self._live[keyid]


class MemoryBuckets:
    """BucketStore in a dict from bucket to its theoretical arrival time; past MAX_BUCKETS the longest unused one goes."""

    def __init__(self, clock: Clock, max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._arrivals: dict[tuple[str, int, int], float] = {}
        self._max_buckets = max_buckets

    async def charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says; atomic because nothing here waits."""
        now = self._clock.monotonic()
        arrivals = self._arrivals
        kept, spent = [], []
        for limit, bucket in charges:
            name = (bucket, limit.quota, limit.period_seconds)
            arrival, one = charge(limit, arrivals.get(name, 0.0), now)
            kept.append((name, arrival))
            spent.append(one)
        if all(one.fits for one in spent):
            for name, arrival in kept:
                arrivals.pop(name, None)
                arrivals[name] = arrival
            while len(arrivals) > self._max_buckets:
                del arrivals[next(iter(arrivals))]
        return tuple(spent)


class MemoryLedger:
    """Ledger for tests: everything ends with the process. `decisions` and `tallies` can be looked at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nonces: dict[tuple[str, str], float] = {}
        self._idempotency: dict[tuple[str, bytes], IdempotencyEntry] = {}
        self.decisions: list[Decision] = []
        self.tallies: list[tuple[str, int, str, int]] = []

    async def record(
        self, decision: Decision, nonce: DurableNonce | None = None, idempotency: IdempotencyClaim | None = None
    ) -> Recorded:
        """As the port says, but for durability."""
        now = self._clock.now()
        if nonce is not None:
            if now >= nonce.last_valid + SKEW_SECONDS:
                return "late"
            if self._nonces.get((nonce.keyid, nonce.nonce), 0) > now:
                return "seen"
            self._nonces[nonce.keyid, nonce.nonce] = nonce.last_valid + nonce.remember_seconds
        if idempotency is not None:
            if await self.recall(idempotency.scope, idempotency.key) is not None:
                return "taken"
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
        entry = self._idempotency[scope, key]
        self._idempotency[scope, key] = entry._replace(wrapped=wrapped)

    async def release(self, scope: str, key: bytes) -> None:
        """As the port says."""
        self._idempotency.pop((scope, key), None)

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        """As the port says."""
        self.tallies.extend(rows)


class MemoryDirectory:
    """Directory for tests: everything ends with the process."""

    def __init__(self) -> None:
        self._keys: dict[str, KeyRecord] = {}
        self._invitations: dict[str, Invitation] = {}
        self._key_sets: list[tuple[str, int]] = []

    async def key(self, keyid: str) -> KeyRecord | None:
        """As the port says."""
        return self._keys.get(keyid)

    async def invitation(self, invitation: str) -> Invitation | None:
        """As the port says."""
        return self._invitations.get(invitation)

    async def add_invitation(self, invitation: Invitation) -> None:
        """As the port says."""
        self._invitations[invitation.id] = invitation

    async def invitations(self) -> list[Invitation]:
        """As the port says."""
        return list(self._invitations.values())

    async def enrol(self, invitation: str, verifier: Verifier, client: str, name: str, now: float) -> Enrolled:
        """As the port says."""
        found = self._invitations.get(invitation)
        known = self._keys.get(verifier.keyid)
        if found is None:
            raise Refusal("invitation-invalid", "unknown")
        if found.used_by:
            if found.used_by != verifier.keyid or known is None or now >= found.used_at + REPEAT_SECONDS:
                raise Refusal("invitation-invalid", "spent")
            return _enrolled(known)
        if now >= found.expires_at:
            raise Refusal("invitation-invalid", "expired")
        if known is not None:
            raise key_taken()
        record = KeyRecord(
            verifier.keyid, found.client or client, found.name, name, found.user, found.scopes, found.addresses,
            verifier, "active", now, None,
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

    async def revoke(self, keyid: str, now: float) -> bool:
        """As the port says."""
        record = self._keys.get(keyid)
        if record is not None:
            self._keys[keyid] = record._replace(state="revoked")
        return record is not None

    async def revoke_client(self, client: str, now: float) -> int:
        """As the port says."""
        ending = [key for key in self._keys.values() if key.client == client and key.state != "revoked"]
        for key in ending:
            await self.revoke(key.keyid, now)
        return len(ending)

    async def keys(self, client: str | None = None) -> list[KeyRecord]:
        """As the port says."""
        return [key for key in self._keys.values() if client is None or key.client == client]

    async def key_set_version(self, thumbprints: str, now: float) -> tuple[int, int]:
        """As the port says."""
        if not self._key_sets or self._key_sets[-1][0] != thumbprints:
            self._key_sets.append((thumbprints, int(now)))
        return len(self._key_sets), self._key_sets[-1][1]


def _enrolled(record: KeyRecord) -> Enrolled:
    return Enrolled(record.client, record.keyid, record.state, record.expires_at)


def key_taken() -> Refusal:
    """A thumbprint belongs to one client, for ever."""
    errors = [{"pointer": "/key", "detail": "This key was enrolled before."}]
    return Refusal("request-invalid", "enrolment", failed="policy", members={"errors": errors})
