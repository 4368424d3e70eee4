"""
Nonces, buckets and sessions in this process: the fast store of a single-worker deployment, and of tests.

Keeps: all bounded, until they run out or the process ends.
"""

from __future__ import annotations

import hashlib
from collections import deque

from sealwire.call import Session
from sealwire.errors import Fault
from sealwire.ports import LATE_SECONDS, SESSIONS_OF_A_KEY, Charge, Claimed, Clock, Counted, Entropy
from sealwire.protocol.ratelimit import OF_STRANGERS, OWN, Spent, charge
from sealwire.protocol.window import SKEW_SECONDS

LIVE_NONCES = 100_000
MAX_BUCKETS = 100_000
MAX_SESSIONS = 100_000
_SHARDS = 256
_SLICE_SECONDS = 16
_SWEEP = 4
#: What a bucket is called, and its theoretical arrival time.
_Name = tuple[str, int, int]
_Arrivals = dict[_Name, float]


class MemoryNonces:
    """
    NonceStore in sets of 10-byte keyed digests, in 256 shards so that no claim ever waits for a large table to grow.

    A digest is looked up over its whole life, whatever window the message claims: the same nonce signed again with
    another `created` is a replay. Two nonces that share a digest cost one false refusal in about 2^80 pairs, never an
    acceptance. Expired ones leave a few at a time with each claim, so cost does not depend on history.
    """

    def __init__(self, clock: Clock, entropy: Entropy, live_nonces: int = LIVE_NONCES) -> None:
        self.epoch = clock.now()
        self.secret = entropy(32)
        self._clock = clock
        self._salted = hashlib.blake2b(digest_size=10, key=entropy(32))
        self._live_nonces = live_nonces
        self._seen: tuple[set[bytes], ...] = tuple(set() for _ in range(_SHARDS))
        self._live: dict[str, int] = {}
        # By time slice and key, the digests that leave the memory when the slice is over.
        self._slices: dict[int, dict[str, list[bytes]]] = {}
        self._forgotten = self._swept = 0
        self._leaving: deque[tuple[str, list[bytes]]] = deque()

    async def claim(self, keyid: str, nonce: str, last_valid: float, remember_seconds: int) -> Claimed:
        """As the port says; atomic because nothing here waits."""
        now = self._clock.now()
        self._sweep(int(now // _SLICE_SECONDS))
        until = int((last_valid + remember_seconds) // _SLICE_SECONDS) + 1
        # The second is for a clock that was set back: what may have been forgotten is not asked for again.
        if now >= last_valid + SKEW_SECONDS or until <= self._forgotten:
            return "late"
        salted = self._salted.copy()
        salted.update(f"{keyid} {nonce}".encode())
        digest = salted.digest()
        shard = self._seen[digest[0]]
        if digest in shard:
            return "seen"
        live = self._live.get(keyid, 0)
        if live >= self._live_nonces:
            return "full"
        shard.add(digest)
        self._live[keyid] = live + 1
        self._slices.setdefault(until, {}).setdefault(keyid, []).append(digest)
        return "first"

    def _sweep(self, over: int) -> None:
        # Another slice than at the last look, which is an earlier one where the clock was set back.
        if over != self._swept:
            self._swept = over
            for until in [until for until in self._slices if until <= over]:
                self._leaving.extend(self._slices.pop(until).items())
                self._forgotten = max(self._forgotten, until)
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
    """
    BucketStore in a dict from bucket to its theoretical arrival time; past MAX_BUCKETS the longest unused one goes.

    Addresses have a dict of their own, and so have their sites: anybody can come from many, and would push out the
    limits of proven callers.
    """

    def __init__(self, clock: Clock, max_buckets: int = MAX_BUCKETS) -> None:
        self._clock = clock
        self._arrivals: dict[str, _Arrivals] = {kind: {} for kind in ("caller", *OF_STRANGERS)}
        self._max_buckets = max_buckets

    async def look(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says."""
        return self._decide(charges)[1]

    async def charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says; atomic because nothing here waits."""
        kept, spent, fits = self._decide(charges)
        if fits:
            most = self._max_buckets
            for arrivals, name, arrival in kept:
                arrivals.pop(name, None)
                arrivals[name] = arrival
                if len(arrivals) > most:
                    del arrivals[next(iter(arrivals))]
        return spent

    def _decide(
        self, charges: tuple[Charge, ...]
    ) -> tuple[list[tuple[_Arrivals, _Name, float]], tuple[Spent, ...], bool]:
        now, fits = self._clock.monotonic(), True
        every, callers = self._arrivals, self._arrivals["caller"]
        kept, spent = [], []
        for limit, bucket in charges:
            quota, period, kind = limit
            arrivals, name = every.get(kind, callers), (bucket, 0 if kind in OWN else quota, period)
            arrival, one = charge(limit, arrivals.get(name, 0.0), now)
            if not one.fits:
                fits = False
            kept.append((arrivals, name, arrival))
            spent.append(one)
        return kept, tuple(spent), fits


class MemorySessions:
    """SessionStore in a dict, those that end first at its head."""

    def __init__(self, clock: Clock, max_sessions: int = MAX_SESSIONS) -> None:
        self._clock = clock
        self._max_sessions = max_sessions
        self._sessions: dict[str, tuple[Session, list[int]]] = {}
        self._of_key: dict[str, list[str]] = {}

    async def keep(self, session: Session, secret: bytes, context: bytes) -> None:  # noqa: ARG002  # keys are enough here
        """As the port says; atomic because nothing here waits."""
        self._sweep()
        own = self._of_key.get(session.keyid, [])
        if len(own) == SESSIONS_OF_A_KEY:
            self._drop(own[0])
        if len(self._sessions) >= self._max_sessions:
            raise Fault("store-unavailable", "sessions")
        self._sessions[session.id] = (session, [0])
        self._of_key.setdefault(session.keyid, []).append(session.id)

    async def session(self, session_id: str) -> Session | None:
        """As the port says."""
        held = self._sessions.get(session_id)
        return held[0] if held is not None and self._clock.now() < held[0].expires_at + LATE_SECONDS else None

    async def count(self, session_id: str) -> Counted:
        """As the port says; atomic because nothing here waits."""
        held = self._sessions.get(session_id)
        if held is None or held[1][0] >= held[0].max_requests:
            return "spent"
        held[1][0] += 1
        return "counted"

    async def end(self, session_id: str) -> None:
        """As the port says."""
        if session_id in self._sessions:
            self._drop(session_id)

    def _sweep(self) -> None:
        now = self._clock.now()
        for _ in range(_SWEEP):
            first = next(iter(self._sessions.values()), None)
            if first is None or now < first[0].expires_at + LATE_SECONDS:
                return
            self._drop(first[0].id)

    def _drop(self, session_id: str) -> None:
        session, _ = self._sessions.pop(session_id)
        own = self._of_key[session.keyid]
        own.remove(session_id)
        if not own:
            del self._of_key[session.keyid]
