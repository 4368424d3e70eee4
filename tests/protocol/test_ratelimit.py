"""Rate limits: their form, their arithmetic, their fields."""

import math
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.fields import Item, parse_list
from sealwire.protocol.ratelimit import (
    KINDS,
    OF_STRANGERS,
    OWN,
    PERIODS,
    SITE_SHARE,
    Limit,
    Spent,
    charge,
    fields,
    network,
    parse_limit,
    parse_own,
    tiers,
    written,
)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("60/min per key", (60, 60, "key")),
        ("1/s per address", (1, 1, "address")),
        (" 5/second per client ", (5, 1, "client")),
        ("10/minute per user", (10, 60, "user")),
        ("999999999/hour", (999_999_999, 3600, "key")),
        ("3/day", (3, 86400, "key")),
    ],
)
def test_form(text: str, limit: tuple[int, int, str]) -> None:
    """N/period per kind; a key, where no kind is said."""
    assert parse_limit(text) == limit
    assert limit[2] in KINDS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0/min",
        "-1/min",
        "1/week",
        "1 / min",
        "1/min per",
        "1/min per planet",
        "1.5/min",
        "9999999999/s",
        "1/min x",
        "٣/s",
    ],
)
def test_other_forms(text: str) -> None:
    """Anything else is refused, and the message shows the form."""
    with pytest.raises(ValueError, match="60/min per key"):
        parse_limit(text)


@given(st.integers(1, 10**6), st.floats(0, 10**8), st.floats(0, 10**4))
def test_a_limit_that_is_whole_says_so(quota: int, now: float, idle: float) -> None:
    """However long a caller was away, the first call leaves all but itself, and is there again an interval later."""
    limit = Limit(quota, 60, "key")
    kept, spent = charge(limit, max(now - idle, 0.0), now)
    assert (kept, spent) == (now + 60 / quota, Spent(limit, True, quota - 1, 0.0, 60 / quota))


def test_a_burst_and_then_one_by_one() -> None:
    """A burst of N fits, the next waits a period ÷ N, and a refused call costs nothing."""
    limit, arrival = Limit(3, 60, "key"), 0.0
    for remaining in (2, 1, 0):
        arrival, spent = charge(limit, arrival, 1000.0)
        assert spent == Spent(
            limit, fits=True, remaining=remaining, wait_seconds=0.0, reset_seconds=60.0 - 20 * remaining
        )
    for now, wait in ((1000.0, 20.0), (1010.0, 10.0), (1019.0, 1.0)):
        kept, spent = charge(limit, arrival, now)
        assert kept == arrival
        assert (spent.fits, spent.remaining) == (False, 0)
        assert math.isclose(spent.wait_seconds, wait)
    arrival, spent = charge(limit, arrival, 1020.0)
    assert (spent.fits, spent.remaining) == (True, 0)
    _, spent = charge(limit, arrival, 5000.0)
    assert (spent.fits, spent.remaining) == (True, 2)


@given(st.integers(1, 50), st.sampled_from([1, 60, 3600]), st.lists(st.floats(0, 100), max_size=60))
def test_never_more_than_the_limit(quota: int, period: int, gaps: list[float]) -> None:
    """In no stretch of time do more calls fit than a burst and what has trickled in since."""
    limit, arrival, now = Limit(quota, period, "key"), 0.0, 1e6
    fitted: list[float] = []
    for gap in gaps:
        now += gap * period / 100
        arrival, spent = charge(limit, arrival, now)
        if spent.fits:
            fitted.append(now)
        else:
            assert spent.wait_seconds > 0
            assert charge(limit, arrival, now + spent.wait_seconds + 1e-6)[1].fits
    for i, start in enumerate(fitted):
        for j in range(i, len(fitted)):
            assert j - i + 1 <= quota + (fitted[j] - start) * quota / period + 1e-6


@pytest.mark.parametrize("quota", [1, 3, 7, 60, 6000])
def test_the_whole_burst_fits(quota: int) -> None:
    """Floating point costs no call of a burst, and gives none away."""
    limit, arrival = Limit(quota, 60, "key"), 0.0
    for remaining in range(quota - 1, -1, -1):
        arrival, spent = charge(limit, arrival, 1_790_000_000.123)
        assert (spent.fits, spent.remaining) == (True, remaining)
    assert not charge(limit, arrival, 1_790_000_000.123)[1].fits


@given(st.integers(1, 3000), st.sampled_from(sorted(set(PERIODS.values()))), st.floats(0, 2e9))
def test_exactly_the_burst_at_any_reading(quota: int, period: int, now: float) -> None:
    """However long the host is up: a burst is N calls, what remains is counted down, one more fits a turn later."""
    quota = min(quota, int(math.sqrt(period * 1000)))  # more than that a clock of so many digits cannot tell apart
    limit, arrival = Limit(quota, period, "key"), 0.0
    told = []
    for _ in range(quota):
        arrival, spent = charge(limit, arrival, now)
        told.append((spent.fits, spent.remaining))
    assert told == [(True, left) for left in reversed(range(quota))]
    kept, spent = charge(limit, arrival, now)
    assert (kept, spent.fits) == (arrival, False)
    assert math.isclose(spent.wait_seconds, period / quota, rel_tol=1e-2)
    arrival, spent = charge(limit, arrival, now + spent.wait_seconds)
    assert (spent.fits, spent.remaining) == (True, 0)
    assert not charge(limit, arrival, now + period / quota)[1].fits


def test_fields() -> None:
    """RateLimit-Policy and RateLimit, and Retry-After in whole seconds only where a charge did not fit."""
    key, address = Limit(60, 60, "key"), Limit(5, 1, "address")
    good = Spent(key, fits=True, remaining=7, wait_seconds=0.0, reset_seconds=52.1)
    bad = Spent(address, fits=False, remaining=0, wait_seconds=0.2, reset_seconds=0.9)
    assert dict(fields((good,))) == {b"ratelimit-policy": b'"key-60";q=60;w=60', b"ratelimit": b'"key-60";r=7;t=53'}
    made = dict(fields((good, bad, bad._replace(wait_seconds=2.1))))
    assert made[b"retry-after"] == b"3"
    assert dict(fields((good, bad)))[b"retry-after"] == b"1"
    members = parse_list(made[b"ratelimit-policy"])
    assert members[:2] == (Item("key-60", {"q": 60, "w": 60}), Item("address-1", {"q": 5, "w": 1}))
    assert parse_list(made[b"ratelimit"])[1] == Item("address-1", {"r": 0, "t": 1})


@pytest.mark.parametrize(
    ("address", "one"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("no:address", "no:address"),
        ("", ""),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%eth1", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("64:ff9b::c000:207", "192.0.2.7"),
        ("64:ff9b:1::c000:207", "64:ff9b:1::/64"),
        ("64:ff9b::1:c000:207", "64:ff9b::/64"),
    ],
)
def test_one_address(address: str, one: str) -> None:
    """
    An IPv4 address counts alone, however it is written inside an IPv6 one; an IPv6 address with its /64, and anything
    else as it is written.
    """
    assert network(address) == one


def test_another_prefix() -> None:
    """The /56 around an IPv6 address; of IPv4 there is but the address."""
    assert network("2001:db8:1:2ff::1", 56) == "2001:db8:1:200::/56"
    assert network("192.0.2.7", 56) == network("::ffff:192.0.2.7", 56) == "192.0.2.7"


LIMIT = Limit(10, 60, "address")


def test_tiers() -> None:
    """An IPv6 address counts with its /64, and with the /56 around it, which may four times as much."""
    site = Limit(10 * SITE_SHARE, 60, "site")
    assert SITE_SHARE == 4
    assert tiers(LIMIT, "2001:db8:1:2ab::1") == ((LIMIT, "2001:db8:1:2ab::/64"), (site, "2001:db8:1:200::/56"))
    assert site.name == "site-60"


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "64:ff9b::192.0.2.7"])
def test_no_site_of_ipv4(address: str) -> None:
    """An IPv4 address is one tier alone, also where it stands in an IPv6 one."""
    assert tiers(LIMIT, address) == ((LIMIT, "192.0.2.7"),)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255), st.integers(0, 255))
def test_subscribers_and_sites(one: int, other: int, near: int, far: int) -> None:
    """All addresses of one /64 are one; all /64s of one /56 are one site, and of two are two."""
    site = 0x20010DB8_00010000 + (near & 0xFF)
    beyond = 0x20010DB8_00020000 + (far & 0xFF)
    first, second = (str(IPv6Address(site << 64 | host)) for host in (one, other))
    neighbour = str(IPv6Address((0x20010DB8_00010000 + far) << 64 | one))
    outside = str(IPv6Address(beyond << 64 | one))
    assert tiers(LIMIT, first) == tiers(LIMIT, second)
    assert tiers(LIMIT, first)[1] == tiers(LIMIT, neighbour)[1]
    assert (tiers(LIMIT, first)[0] == tiers(LIMIT, neighbour)[0]) is (near == far)
    assert not set(tiers(LIMIT, first)) & set(tiers(LIMIT, outside))


@given(st.integers(1, 999_999_999), st.sampled_from(sorted(PERIODS)), st.sampled_from(("client-own", "key-own")))
def test_own_limits(quota: int, period: str, kind: str) -> None:
    """A limit of one's own is read, written and read again as the same, whatever its period is called."""
    limit = parse_own(f"{quota}/{period}", kind)
    assert limit == Limit(quota, PERIODS[period], kind)
    assert parse_own(written(limit), kind) == limit


@pytest.mark.parametrize(
    ("limit", "text"),
    [("5/second", "5/s"), ("5/s", "5/s"), ("5/minute", "5/min"), ("5/hour", "5/hour"), ("5/day", "5/day")],
)
def test_own_as_written(limit: str, text: str) -> None:
    """Each period has one short name."""
    assert written(parse_own(limit, "client-own")) == text


@pytest.mark.parametrize(
    "text", ["60/min per key", "60/min per client", "0/min", "x", "", "60", "60/week", "60/min per"]
)
def test_no_limit_of_ones_own(text: str) -> None:
    """A kind is not said, since it counts its own calls; the message shows the form."""
    with pytest.raises(ValueError, match="60/min") as caught:
        parse_own(text, "client-own")
    assert "N/period" in str(caught.value)
    assert ("its own calls" in str(caught.value)) is (" per " in text)


def test_limits_of_ones_own() -> None:
    """Both kinds that a store reads with a client's or an API key's own limits keep what was spent when they change."""
    kinds = {parse_own("60/min", kind).kind for kind in ("client-own", "key-own")}
    assert kinds == OWN
    assert not OWN & {*KINDS, *OF_STRANGERS}
