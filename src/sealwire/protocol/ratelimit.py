"""
Rate limits: how one is written, the arithmetic that decides (GCRA, ITU-T I.371 Annex A), the fields that tell of it
(draft-ietf-httpapi-ratelimit-headers-10).

Owns: `N/period per kind` and what it means: a burst of N, then one more each period ÷ N; what counts as one
address.
Refuses to know: where the state is kept and what time it is.
"""

from __future__ import annotations

import ipaddress
import math
import re
from typing import NamedTuple

_FORM = re.compile(r"([1-9][0-9]{0,8})/(s|second|min|minute|hour|day)(?: per (key|client|user|address))?")
_PERIODS = {"s": 1, "second": 1, "min": 60, "minute": 60, "hour": 3600, "day": 86400}
KINDS = ("address", "key", "client", "user")


class Limit(NamedTuple):
    """`quota` calls a `period_seconds`, for each value of `kind`."""

    quota: int
    period_seconds: int
    kind: str

    @property
    def name(self) -> str:
        """Its name in RateLimit-Policy."""
        return f"{self.kind}-{self.period_seconds}"


class Spent(NamedTuple):
    """What one charge left: the limit, whether it fitted, calls that remain, seconds until one fits again."""

    limit: Limit
    fits: bool
    remaining: int
    wait_seconds: float


def parse_limit(text: str) -> Limit:
    """`6000/min per key`. Raises: ValueError."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not of the form N/period per kind, as in 60/min per key")
    return Limit(int(found[1]), _PERIODS[found[2]], found[3] or "key")


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber holds."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address


def charge(limit: Limit, arrival: float, now: float) -> tuple[float, Spent]:
    """
    GCRA: `arrival` is the theoretical arrival time kept so far (0 for none), both on one monotonic clock in seconds.

    Answers the arrival time to keep, if all charges of the call fit, and what is left. A charge that does not fit keeps
    nothing: refused calls never lengthen the wait.
    """
    interval = limit.period_seconds / limit.quota
    after = max(arrival, now) + interval
    slack = limit.period_seconds - (after - now)
    # Floating point: a billionth of an interval decides nothing, and must not cost the last call of a burst.
    if slack < -1e-9 * interval:
        return arrival, Spent(limit, fits=False, remaining=0, wait_seconds=-slack)
    return after, Spent(limit, fits=True, remaining=max(0, math.floor(slack / interval + 1e-9)), wait_seconds=0.0)


def fields(spent: tuple[Spent, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """RateLimit and RateLimit-Policy of these charges, and Retry-After where one did not fit."""
    policy = ", ".join(f'"{s.limit.name}";q={s.limit.quota};w={s.limit.period_seconds}' for s in spent)
    state = ", ".join(f'"{s.limit.name}";r={s.remaining};t={math.ceil(s.wait_seconds)}' for s in spent)
    out = [(b"ratelimit-policy", policy.encode("ascii")), (b"ratelimit", state.encode("ascii"))]
    wait = max((s.wait_seconds for s in spent if not s.fits), default=0.0)
    if wait:
        out.append((b"retry-after", str(max(1, math.ceil(wait))).encode("ascii")))
    return tuple(out)
