"""
What the stores know of a client's keys and API keys, and of what holds the client closer than the rules do.

Owns: when one is good. Refuses to know: who presents it.
"""

from __future__ import annotations

from typing import NamedTuple

from sealwire.errors import Refusal
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.ratelimit import Limit


class KeyRecord(NamedTuple):
    """A client's key as the directory knows it, with what the client may do. Times are Unix seconds."""

    keyid: str
    client: str
    client_name: str
    name: str
    user: str | None
    scopes: frozenset[str]
    addresses: tuple[str, ...]
    verifier: Verifier
    state: str  # active, retiring, revoked, frozen
    enrolled_at: float
    expires_at: float | None
    follows: str = ""  # the key that this one was rotated from
    frozen_at: float = -1  # when it was frozen last, thawed or not: sessions opened until then are over
    limits: tuple[Limit, ...] = ()  # the client's own


def usable(key: KeyRecord | None, now: float) -> KeyRecord:
    """The key, if it may sign now. Raises: key-unknown, in the same words whatever the cause."""
    if key is None:
        raise Refusal("key-unknown", "unknown", failed="key")
    if key.state in ("revoked", "frozen"):
        raise Refusal("key-unknown", key.state, failed="key")
    if key.expires_at is not None and now >= key.expires_at:
        raise Refusal("key-unknown", "expired", failed="key")
    return key


class Bounds(NamedTuple):
    """
    What holds a client, or one of its API keys, closer than the rules do: the networks it calls from, and limits of its
    own. `owner` is its id, under which its calls are counted.
    """

    owner: str
    addresses: tuple[str, ...]
    limits: tuple[Limit, ...]


class ApiKeyRecord(NamedTuple):
    """
    An API key as its store knows it, found by one of its secrets, with what its client may do. `scopes` are those that
    its client has too. Times are Unix seconds; `retires_at` is when the secret ends that was asked for, where another
    has taken its place.
    """

    id: str
    client: str
    client_name: str
    name: str
    user: str | None
    scopes: frozenset[str]
    bounds: tuple[Bounds, ...]
    state: str  # active, revoked, frozen
    made_at: float
    expires_at: float
    retires_at: float | None = None

    def state_at(self, now: float) -> str:
        """Its state, `expired` where its time is over."""
        return "expired" if self.state == "active" and now >= self.expires_at else self.state

    def why_not(self, now: float) -> str:
        """Why the secret that was asked for opens nothing now, as the ledger says it; empty where it does."""
        if (state := self.state_at(now)) != "active":
            return state
        return "retired" if self.retires_at is not None and now >= self.retires_at else ""
