"""
All that is asked of the world, on one page. Each port is a contract: durability, order, concurrency, who retries,
what a failure means. Ports are named by our need, never by a database's verb; every adapter passes the same contract
suite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from sealwire.call import Outcome, Session
from sealwire.errors import Refusal
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.ratelimit import Limit, Spent
from sealwire.records import KeyRecord

#: How long the same enrolment or rotation, asked again, gets the same answer: a lost reply strands nobody.
REPEAT_SECONDS = 24 * 3600
#: How long an answer is kept under its idempotency key.
IDEMPOTENCY_SECONDS = 24 * 3600

#: `n` unpredictable bytes, never repeated across forks.
Entropy = Callable[[int], bytes]


class Clock(Protocol):
    """Two readings of time. Neither blocks nor fails."""

    def now(self) -> float:
        """Unix seconds; may step either way when the host's clock is set."""

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start."""


class Keyring(Protocol):
    """
    The server's own keys. Private parts never leave their home. Concurrent use is safe; nobody retries here.

    A failure is a Fault custody-unavailable: a reply that cannot be signed is not sent.
    """

    verifier: Verifier

    async def sign(self, base: bytes) -> bytes:
        """Signs a signature base with the current signing key."""

    def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """Encrypts for keeping; `context` is authenticated with it. Two wrappings of one plaintext differ."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The plaintext. Raises: Fault custody-unavailable if it was not wrapped here under this context."""

    def digest(self, data: bytes) -> bytes:
        """32 bytes of a keyed digest, for what must be found again and not be read."""


Claimed = Literal["first", "seen", "late", "full"]


class NonceStore(Protocol):
    """
    Remembers nonces until the last instant of their message plus a margin. A claim is one atomic step for all who
    share the store, judged on the store's own clock: past the message's last valid instant plus 10 s nothing is
    granted.

    Not durable: what was remembered ends with `epoch`, the Unix second it began, and `secret`, the nonce key, is
    random and lives exactly as long. Bounded per key. Nobody retries; a failure is a Fault store-unavailable and
    nothing is accepted.
    """

    epoch: float
    secret: bytes

    async def claim(self, keyid: str, nonce: str, last_valid: float, remember_seconds: int) -> Claimed:
        """
        `first` for exactly one of any number of claims of one nonce of one key; `full` past the key's live nonces.
        """


class Charge(NamedTuple):
    """One limit to be charged, and for whom."""

    limit: Limit
    bucket: str


class BucketStore(Protocol):
    """
    Counts calls against limits on a monotonic clock. All charges of one call are decided in one atomic step: either
    every bucket is charged or none. Not durable. Nobody retries; a failure is a Fault store-unavailable.

    Bounded, with what strangers can fill (addresses and their sites) apart from what callers fill. A limit of a
    client's or an API key's own that is changed finds spent what was spent (`ratelimit.OWN`); another limit of a rule
    has buckets of its own.
    """

    async def look(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """What `charge` would say, charging nothing."""

    async def charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """What each limit says, in order; if one does not fit, none was charged."""


Counted = Literal["counted", "spent"]


class SessionStore(Protocol):
    """
    Sessions of this start, in memory or in storage that no restart and no backup keeps; their secrets are never in the
    durable store. A count is one atomic step for all who share the store. Bounded: at most SESSIONS_OF_A_KEY for each
    signing key, past which its oldest ends, and a bound for all, past which no new one is kept. Nobody retries; a
    failure is a Fault store-unavailable.
    """

    async def keep(self, session: Session, secret: bytes, context: bytes) -> None:
        """Keeps a new session. Raises: Fault store-unavailable past the bound of all."""

    async def session(self, session_id: str) -> Session | None:
        """The session, also for LATE_SECONDS after it ran out; None if it is unknown, ended or long over."""

    async def count(self, session_id: str) -> Counted:
        """One more proven message: `counted`, or `spent` if it had its last one before."""

    async def end(self, session_id: str) -> None:
        """Ends it now."""


#: What the id of a session begins with; no thumbprint does.
SESSION_PREFIX = "ses_"
#: Live sessions of one signing key.
SESSIONS_OF_A_KEY = 16
#: How long the owner of a session that ran out still hears that it did.
LATE_SECONDS = 300


class Decision(NamedTuple):
    """
    One record of the ledger: who, what, when, where, why, under which policy. Never content, never a path's values.
    """

    request_id: str
    at: float
    outcome: str
    code: str
    client: str
    user: str
    key: str
    address: str
    method: str
    template: str
    policy: str


class DurableNonce(NamedTuple):
    """A nonce to be claimed in the decision's own transaction. Times are Unix seconds."""

    keyid: str
    nonce: str
    last_valid: float
    remember_seconds: int

    def __repr__(self) -> str:
        return f"DurableNonce({self.keyid})"


class IdempotencyClaim(NamedTuple):
    """An idempotency key to be claimed in the decision's own transaction."""

    scope: str
    key: bytes
    fingerprint: bytes


class IdempotencyEntry(NamedTuple):
    """What is known of an idempotency key: `wrapped` is the answer, None while there is no recorded end."""

    fingerprint: bytes
    wrapped: bytes | None
    at: float


Recorded = Literal["recorded", "seen", "late", "taken", "unapproved"]


class Ledger(Protocol):
    """
    The durable record of decisions, with the claims that must hold or fall with them: one transaction, on stable
    storage when `record` returns. Concurrent records are ordered by the store. Survives a crash at any instant, whole
    or not at all. Nobody retries; a failure or a wait past the bound is a Fault audit-unavailable, and the app is not
    entered.
    """

    async def record(
        self,
        decision: Decision,
        nonce: DurableNonce | None = None,
        idempotency: IdempotencyClaim | None = None,
        approval: str = "",
    ) -> Recorded:
        """
        `recorded`, or why a claim was lost: `seen` and `late` for the nonce, `taken` for the idempotency key,
        `unapproved` for the approval of this id, which is used from then on and was approved and within its time. A
        lost claim records no decision and claims nothing behind it; a message whose idempotency key was taken was seen
        all the same, so its nonce stays claimed.
        """

    async def recall(self, scope: str, key: bytes) -> IdempotencyEntry | None:
        """What is known of an idempotency key of the last 24 hours."""

    async def finish(self, scope: str, key: bytes, wrapped: bytes) -> None:
        """Records the app's answer under the key, durably, before the caller gets it."""

    async def release(self, scope: str, key: bytes) -> None:
        """Frees a key whose call was refused by us after all."""

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        """Appends counts of refusals before proof: address, Unix minute, slug, count."""


class Invitation(NamedTuple):
    """
    An invitation as the directory keeps it; `wrapped` is its HMAC key under the key home, `client` the client it adds
    a key to, or empty for a new one, `used_by` the key that spent it. Times are Unix seconds.
    """

    id: str
    name: str
    client: str
    user: str | None
    scopes: frozenset[str]
    addresses: tuple[str, ...]
    wrapped: bytes
    expires_at: float
    used_by: str = ""
    used_at: float = 0
    limits: tuple[Limit, ...] = ()

    def waits_at(self, now: float) -> bool:
        """Whether it can be spent: it was not, and is not over."""
        return not self.used_by and now < self.expires_at


class Enrolled(NamedTuple):
    """What enrolment or rotation answers; the same again for the same question."""

    client: str
    keyid: str
    state: str
    expires_at: float | None


class Directory(Protocol):
    """
    Clients and their keys, durable. Reads see every write that has returned, in every process of the store, so a
    revoked key is dead at the next call. Each write is one transaction. Nobody retries; a failure is a Fault
    store-unavailable.
    """

    async def key(self, keyid: str) -> KeyRecord | None:
        """The key of this thumbprint, in whatever state, or None."""

    async def invitation(self, invitation: str) -> Invitation | None:
        """The invitation of this id, spent or not, or None."""

    async def add_invitation(self, invitation: Invitation, decision: Decision | None = None) -> None:
        """Keeps a new invitation, and records the decision with it."""

    async def invitations(self, user: str | None = None) -> list[Invitation]:
        """All that are kept, or one user's, those that end first at the head."""

    async def end_invitation(self, invitation: str, decision: Decision) -> bool:
        """
        Ends an invitation that waits at the decision's moment, and records the decision with it: no key is enrolled
        with it from then on, by whatever clock. False if there is none of this id, or it is spent or late.
        """

    async def enrol(self, invitation: str, verifier: Verifier, client: str, name: str, now: float) -> Enrolled:
        """
        Spends the invitation on this key. The same key with the same invitation gets the same answer for 24 hours.

        Raises: Refusal invitation-invalid if it is spent on another key or late, request-invalid if the key is a
        client's.
        """

    async def rotate(self, old: str, verifier: Verifier, name: str, now: float, overlap_seconds: int) -> Enrolled:
        """
        Adds the key to the client of `old`, which retires after the overlap. The same again gets the same answer for
        24 h.

        Raises: Refusal approval-required if `old` is not active, request-invalid if the key is another client's.
        """

    async def revoke(self, keyid: str, decision: Decision | None = None) -> bool:
        """Ends the key for ever, and records the decision with it; False if there is none of this thumbprint."""

    async def revoke_client(self, client: str, decision: Decision | None = None) -> int:
        """
        Ends every key and API key of the client, and invitations that would add one, and records the decision if there
        were some; how many keys were not ended before.
        """

    async def keys(self, client: str | None = None) -> list[KeyRecord]:
        """All keys, or one client's, oldest first."""

    async def key_set_version(self, thumbprints: str, now: float) -> tuple[int, int]:
        """Version and issue time (Unix seconds) of the server's key set; another set gets the next version."""


class Observer(Protocol):
    """Hears of each outcome after it went out. Must not block; what it raises is counted and goes no further."""

    def heard(self, outcome: Outcome) -> None:
        """One call is over."""


def key_taken() -> Refusal:
    """What a Directory raises for a key that was enrolled before: a thumbprint belongs to one client, for ever."""
    errors = [{"pointer": "/key", "detail": "This key was enrolled before."}]
    return Refusal("request-invalid", "enrolment", failed="policy", members={"errors": errors})
