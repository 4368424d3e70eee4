"""
Rate limits: how one is written, the arithmetic that decides (GCRA, ITU-T I.371 Annex A), the fields that tell of it
(draft-ietf-httpapi-ratelimit-headers-10).

Owns: `N/period per kind` and what it means: a burst of N, then one more each period ÷ N; what counts as one address,
and as one site.
Refuses to know: where the state is kept and what time it is.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import re
from typing import NamedTuple

#: What the limit of a rule may count: calls of one address, key, client or user, or all calls under the rule.
KINDS = ("address", "key", "client", "user", "rule")
_FORM = re.compile(rf"([1-9][0-9]{{0,8}})/(s|second|min|minute|hour|day)(?: per ({'|'.join(KINDS)}))?")
PERIODS = {"s": 1, "second": 1, "min": 60, "minute": 60, "hour": 3600, "day": 86400}
#: Kinds whose buckets anybody can make up, by coming from many addresses.
OF_STRANGERS = frozenset(("address", "site"))
#: Kinds of limits that a client or an API key has of its own. What was spent of one stays spent when it is changed.
OWN = frozenset(("client-own", "key-own"))
#: One IPv6 subscriber holds a /64, and often a whole /56 (RFC 6177): all of that may as much as so many of its parts.
SITE_SHARE = 4
#: Networks of addresses, and limits, that are held ready.
HELD_NETWORKS = 4096
HELD_LIMITS = 1024
_ulp = math.ulp
#: Makes a Spent of its fields in a third less time; every call of a burst makes some.
_new = tuple.__new__
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: each is one IPv4 address


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
    """
    What one charge left: the limit, whether it fitted, calls that remain, seconds until one fits again, and until all
    of them do.
    """

    limit: Limit
    fits: bool
    remaining: int
    wait_seconds: float
    reset_seconds: float = 0.0


def parse_limit(text: str) -> Limit:
    """`6000/min per key`. Raises: ValueError."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not of the form N/period per kind, as in 60/min per key")
    return Limit(int(found[1]), PERIODS[found[2]], found[3] or "key")


def parse_own(text: str, kind: str) -> Limit:
    """`60/min`, as a client or an API key has limits of its own: no kind is said. Raises: ValueError."""
    if " per " in text:
        raise ValueError(f"{text!r} is not of the form N/period, as in 60/min: it counts its own calls")
    try:
        return parse_limit(text)._replace(kind=kind)
    except ValueError:
        raise ValueError(f"{text!r} is not of the form N/period, as in 60/min") from None


def written(limit: Limit) -> str:
    """A limit of one's own as it is written: `60/min`."""
    name = next(name for name, seconds in reversed(PERIODS.items()) if seconds == limit.period_seconds)
    return f"{limit.quota}/{'min' if name == 'minute' else 's' if name == 'second' else name}"


@functools.lru_cache(maxsize=HELD_NETWORKS)
def network(address: str, prefix: int = 64) -> str:
    """
    What counts as one address: an IPv4 address, or the /64 that one IPv6 subscriber holds (or another prefix). What is
    no address stands for itself.
    """
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    inside = found.ipv4_mapped
    if found in _NAT64:
        inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return str(ipaddress.IPv6Network((found, prefix), strict=False)) if inside is None else str(inside)


def tiers(limit: Limit, address: str) -> tuple[tuple[Limit, str], ...]:
    """The limit of an address and what it counts: an IPv4 address, or an IPv6 /64 and with it the /56 around it."""
    near = network(address)
    if "/" not in near:
        return ((limit, near),)
    return ((limit, near), (Limit(limit.quota * SITE_SHARE, limit.period_seconds, "site"), network(address, 56)))


@functools.lru_cache(maxsize=HELD_LIMITS)
def _held(limit: Limit) -> tuple[int, int, float, Spent]:
    """Quota, period, the interval between two calls, and what the first call leaves of a limit that was whole."""
    quota, period, _ = limit
    interval = period / quota
    return quota, period, interval, Spent(limit, True, quota - 1, 0.0, interval)


def charge(limit: Limit, arrival: float, now: float) -> tuple[float, Spent]:
    """
    GCRA: `arrival` is the theoretical arrival time kept so far (0 for none), both on one monotonic clock in seconds.

    Answers the arrival time to keep, if all charges of the call fit, and what is left. A charge that does not fit keeps
    nothing: refused calls never lengthen the wait.
    """
    quota, period, interval, whole = _held(limit)
    if arrival <= now:
        return now + interval, whole
    after = arrival + interval
    reset = after - now
    slack = period - reset
    # Floating point: each sum of a burst is rounded, the more coarsely the longer the host is up, and that must not
    # cost its last call. It is never more than a hundredth of a call, which decides nothing.
    rounded = quota * _ulp(after)
    if rounded > interval * 0.01:
        rounded = interval * 0.01
    if slack < -rounded:
        return arrival, Spent(limit, False, 0, -slack, arrival - now)
    return after, _new(Spent, (limit, True, int((slack + rounded) / interval), 0.0, reset))


def fields(spent: tuple[Spent, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """
    RateLimit and RateLimit-Policy of these charges, and Retry-After where one did not fit. `t` is when all of a quota
    is there again.
    """
    policy = ", ".join(f'"{s.limit.name}";q={s.limit.quota};w={s.limit.period_seconds}' for s in spent)
    state = ", ".join(f'"{s.limit.name}";r={s.remaining};t={math.ceil(s.reset_seconds)}' for s in spent)
    out = [(b"ratelimit-policy", policy.encode("ascii")), (b"ratelimit", state.encode("ascii"))]
    wait = max((s.wait_seconds for s in spent if not s.fits), default=0.0)
    if wait:
        out.append((b"retry-after", str(max(1, math.ceil(wait))).encode("ascii")))
    return tuple(out)
