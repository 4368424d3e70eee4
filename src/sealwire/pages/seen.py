"""
A user's program as the pages tell of it: what it is, when it called last, what was refused and why, in words.

Owns: which words. Refuses to know: how anything is counted or kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from sealwire.errors import TABLE
from sealwire.ports.apikeys import USE_DAYS, Client, Use, last_uses
from sealwire.protocol.ratelimit import written
from sealwire.records import ApiKeyRecord, KeyRecord

_DAY = 86_400
_COUNTED = {
    "address": "Calls of one address",
    "site": "Calls of one network",
    "key": "Calls of one key",
    "client": "Calls of the program",
    "user": "Calls of all your programs",
    "rule": "Everybody's calls",
    "key-own": "The API key's own limit",
    "client-own": "The program's own limit",
}
_PERIODS = {"1": "a second", "60": "a minute", "3600": "an hour", "86400": "a day"}


class Told(NamedTuple):
    """One line: so many calls, and the last one's moment and address."""

    words: str
    calls: int
    at: float
    address: str


_NONE = Told("", 0, 0, "")


class Program(NamedTuple):
    """A client with all that it calls with, and how that was used, in the order of time."""

    client: Client
    keys: list[KeyRecord]
    apikeys: list[ApiKeyRecord]
    uses: list[Use]

    @property
    def kind(self) -> str:
        """How it proves who it is."""
        if not self.keys:
            return "API key"
        return "signs, with an API key" if self.apikeys else "signs"

    @property
    def frozen(self) -> bool:
        """Whether its user said that it was not them."""
        return "frozen" in self._states(0)

    def live(self, now: float) -> bool:
        """Whether it has anything left to call with."""
        return not self._states(now) <= {"revoked", "expired"}

    @property
    def last(self) -> Use | None:
        """Its last call that was let through."""
        return max(self.last_uses().values(), key=lambda use: use.at, default=None)

    def last_uses(self) -> dict[str, Use]:
        """By credential, the last call that it was good for."""
        return last_uses(self.uses)

    def limits(self) -> str:
        """Its own limits as they are typed, one a line."""
        return "\n".join(map(written, self.client.bounds.limits))

    def _states(self, now: float) -> set[str]:
        return {state(key, now) for key in self.keys} | {state(apikey, now) for apikey in self.apikeys}

    def refusals(self, now: float) -> list[Told]:
        """What was refused of late, by reason, the most frequent first."""
        return _summed(self.uses, now, lambda reason: TABLE[reason].title if reason in TABLE else "")

    def nearly(self, now: float) -> list[Told]:
        """The limits of which little was left of late."""
        return _summed(self.uses, now, _limit)


def state(one: KeyRecord | ApiKeyRecord, now: float) -> str:
    """The state of a key or an API key at a moment."""
    if isinstance(one, ApiKeyRecord):
        return one.state_at(now)
    over = one.expires_at is not None and now >= one.expires_at
    return "expired" if over and one.state in ("active", "retiring") else one.state


def _summed(uses: Iterable[Use], now: float, word: Callable[[str], str]) -> list[Told]:
    found: dict[str, Told] = {}
    for use in uses:
        if use.day <= now // _DAY - USE_DAYS or not (words := word(use.reason)):
            continue
        before = found.get(words, _NONE)
        found[words] = Told(words, before.calls + use.calls, use.at, use.address)
    return sorted(found.values(), key=lambda one: -one.calls)


def _limit(reason: str) -> str:
    """`near key-60 /v1/orders` in words; empty for another reason."""
    near, _, rest = reason.partition(" ")
    if near != "near":
        return ""
    name, _, template = rest.partition(" ")
    kind, _, period = name.rpartition("-")
    return f"{_COUNTED.get(kind, kind)}, {_PERIODS.get(period, f'in {period} s')}, on {template}"
