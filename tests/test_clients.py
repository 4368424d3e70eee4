"""What may be asked of a program that calls, as it is typed, and what counts as giving it more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.admin import Admin
from sealwire.clients import Clients, Terms
from sealwire.demo.state import DemoState
from sealwire.protocol.ratelimit import Limit


@pytest.fixture
def clients(tmp_path: Path) -> Iterator[Clients]:
    """Those of the demo's policy."""
    state = DemoState(tmp_path, 8443)
    state.make()
    with Admin(state.config) as admin:
        yield admin._clients


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        (" 2001:DB8:0::/48 ", "2001:db8::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_networks(clients: Clients, typed: str, kept: str) -> None:
    """One address is a network too; an IPv4 one is kept as callers are known, however it was written."""
    assert clients.read_terms((), (typed,)).addresses == (kept,)


@pytest.mark.parametrize(
    ("scopes", "addresses", "limits", "said"),
    [
        (("raed",), (), (), 'no rule names the scope raed; did you mean "read"?'),
        (("zzz",), (), (), "no rule names the scope zzz; rules name read, trade, withdraw"),
        ((), ("192.0.2.7/8",), (), '"192.0.2.7/8" is an address within a network; did you mean "192.0.0.0/8"?'),
        ((), ("2001:db8::1%0 203.0.113.5",), (), "is no address and no network"),
        ((), ("example.com",), (), '"example.com" is no address and no network'),
        ((), (), ("60/min per key",), "'60/min per key' is not of the form N/period, as in 60/min"),
        ((), (), ("many",), "'many' is not of the form N/period, as in 60/min"),
        ((), (), ("60/min", "50/min"), "two limits count over the same time"),
        ((), tuple(f"192.0.2.{n}" for n in range(21)), (), "at most 20 addresses and 20 limits"),
    ],
)
def test_what_cannot_be(
    clients: Clients, scopes: tuple[str, ...], addresses: tuple[str, ...], limits: tuple[str, ...], said: str
) -> None:
    """One sentence, with the nearest right one where there is one."""
    with pytest.raises(ValueError) as why:  # noqa: PT011  # what it says is asked below
        clients.read_terms(scopes, addresses, limits)
    assert said in str(why.value)


BEFORE = Terms(frozenset(("read", "trade")), ("192.0.2.0/24", "2001:db8::/48"), (Limit(60, 60, "own"),))


@pytest.mark.parametrize(
    ("changed", "widens"),
    [
        (BEFORE, False),
        (BEFORE._replace(scopes=frozenset(("read",))), False),
        (BEFORE._replace(scopes=frozenset(("withdraw",))), True),
        (BEFORE._replace(addresses=("192.0.2.8/32",)), False),
        (BEFORE._replace(addresses=("192.0.2.0/25", "2001:db8:0:1::/64")), False),
        (BEFORE._replace(addresses=()), True),
        (BEFORE._replace(addresses=("192.0.2.0/23",)), True),
        (BEFORE._replace(addresses=("192.0.2.0/24", "198.51.100.1/32")), True),
        (BEFORE._replace(addresses=("2001:db9::/64",)), True),
        (BEFORE._replace(limits=(Limit(59, 60, "own"),)), False),
        (BEFORE._replace(limits=(Limit(60, 60, "own"), Limit(9, 3600, "own"))), False),
        (BEFORE._replace(limits=(Limit(61, 60, "own"),)), True),
        (BEFORE._replace(limits=(Limit(1, 3600, "own"),)), True),
        (BEFORE._replace(limits=()), True),
    ],
)
def test_what_gives_more(changed: Terms, widens: bool) -> None:
    """Whatever lets one call through that was refused before; another period may, since a burst is another one."""
    assert changed.widens(BEFORE) is widens


def test_anything_is_less_than_no_bound() -> None:
    """Who had no addresses and no limits is narrowed by any."""
    assert not BEFORE.widens(Terms(BEFORE.scopes))
