"""
What is asked of the world for API keys, for what holds a client closer, and for how credentials were used. Contracts as
in the rest of the ports.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from sealwire.ports import Decision
from sealwire.records import ApiKeyRecord, Bounds

#: What the id of an API key begins with.
APIKEY_PREFIX = "apk"
#: For how long counts of uses are kept, in days.
USE_DAYS = 30


class Client(NamedTuple):
    """A client as the store knows it; `bounds.owner` is its id."""

    name: str
    user: str | None
    scopes: frozenset[str]
    bounds: Bounds
    made_at: float

    @property
    def id(self) -> str:
        """Its id."""
        return self.bounds.owner

    def holds_as(self, other: Client) -> bool:
        """Whether it may do and is held as another one, in whatever order that is written."""
        mine, its = self.bounds, other.bounds
        return (self.scopes, {*mine.addresses}, {*mine.limits}) == (other.scopes, {*its.addresses}, {*its.limits})


class NewApiKey(NamedTuple):
    """An API key to be kept: `digest` is the keyed digest of its secret, `bounds.owner` its id."""

    client: str
    name: str
    scopes: frozenset[str]
    bounds: Bounds
    digest: bytes
    made_at: float
    expires_at: float

    def __repr__(self) -> str:
        return f"NewApiKey({self.bounds.owner})"


class ApiKeys(Protocol):
    """
    API keys and the bounds of clients, durable, beside the directory of the same store. Reads see every write that has
    returned, in every process of the store, so a revoked key is dead at the next call. Each write is one transaction
    with its decision. A freeze of a client freezes its API keys, and its end ends them. Nobody retries; a failure is a
    Fault store-unavailable.
    """

    async def apikey(self, digest: bytes) -> ApiKeyRecord | None:
        """The API key that has a secret of this digest, in whatever state, or None."""

    async def apikeys(self, client: str | None = None) -> list[ApiKeyRecord]:
        """All API keys, or one client's, oldest first. `retires_at` is when a secret ends that was replaced."""

    async def clients(self, user: str | None = None) -> list[Client]:
        """All clients, or a user's, oldest first."""

    async def add_apikey(self, new: NewApiKey, client: Client | None, decision: Decision) -> bool:
        """
        Keeps an API key, and its client first where that is new. False, and nothing is kept, where the client is
        frozen: that a freeze came first is judged in the same transaction.
        """

    async def rotate_apikey(
        self, apikey: str, digest: bytes, overlap_seconds: int, expires_at: float, decision: Decision
    ) -> bool:
        """
        Gives an active API key a new secret and a new end. The secret so far ends after the overlap, one that was
        replaced before ends now. False if there is no such key, or it is revoked, frozen or expired.
        """

    async def revoke_apikey(self, apikey: str, decision: Decision) -> bool:
        """Ends the API key for ever; False if there is none of this id."""

    async def bind_apikey(self, scopes: frozenset[str], bounds: Bounds, decision: Decision) -> bool:
        """Gives the API key of `bounds.owner` other scopes and bounds; False if there is none of this id."""

    async def bind_client(
        self, scopes: frozenset[str], bounds: Bounds, decision: Decision, before: Client | None = None
    ) -> bool:
        """
        Gives the client of `bounds.owner` other scopes and bounds; False if there is none of this id, or if its own are
        no longer those of `before`, which were judged.
        """


class Use(NamedTuple):
    """
    So many calls of one credential on one day with one end: `reason` is `ok`, the slug of a refusal, or `near …` for a
    limit of which little was left. `at` (Unix seconds) and `address` are the last one's.
    """

    client: str  # empty where the credential was not good any more
    credential: str
    reason: str
    day: int  # Unix days
    calls: int
    at: float
    address: str


def last_uses(uses: Iterable[Use]) -> dict[str, Use]:
    """By credential, the last call that it was good for; of uses in the order of `at`."""
    return {use.credential: use for use in uses if use.reason == "ok"}


class Uses(Protocol):
    """
    How credentials were used, durable, by day, for USE_DAYS. Nobody retries; a failure is a Fault store-unavailable.
    """

    async def add_uses(self, uses: tuple[Use, ...]) -> None:
        """Adds to the counts, and to each credential its last moment and address."""

    async def uses(self, client: str | None = None) -> list[Use]:
        """All that is kept, or one client's and of its API keys; in the order of `at`."""
