"""
What an operator should look at now: many keys tried from one place, one key tried from many.

Keeps: whom it spoke of in the last minute, at most 1,000, so that a flood of tries is no flood of alarms.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from sealwire.call import Outcome
from sealwire.protocol.ratelimit import network

_AGAIN_SECONDS = 60
_MOST = 1000
_LOG = logging.getLogger("sealwire.alarms")


class FailedTries:
    """
    Observer that warns once a minute of each address, and of each key, that is past its limit of failed credentials.
    `count` hears of every such call: `address` or `key`.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._told: dict[str, float] = {}

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        if outcome.code == "rate-limited/failures-address":
            self._count("address")
            self._warn(network(outcome.address), outcome.at, "more failed tries than may be from %s: keys are guessed")
        elif outcome.code == "rate-limited/failures-key":
            self._count("key")
            said = "more failed tries than may be with %s, from many places: its owner's own calls go on"
            self._warn(f"key {outcome.claimed}" if outcome.claimed else "an API key of nobody's", outcome.at, said)

    def _warn(self, who: str, at: float, said: str) -> None:
        if abs(at - self._told.get(who, 0)) < _AGAIN_SECONDS:
            return
        self._told.pop(who, None)
        self._told[who] = at
        if len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
        _LOG.warning(said, who)
