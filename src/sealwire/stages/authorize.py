"""Authorize: the rule's scopes, and the addresses of the client and of its API key."""

from __future__ import annotations

import functools
import ipaddress

from sealwire.call import Allowed, Call, Caller
from sealwire.errors import Refusal

#: Lists of addresses that are held ready.
HELD_LISTS = 1024
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_ALLOWED = Allowed()


class Authorize:
    """Refuses: scope-insufficient (naming what is missing), address-not-allowed."""

    async def __call__(self, call: Call) -> Allowed:
        caller = call.get(Caller)
        missing = call.rule.scopes - caller.scopes
        if missing:
            detail = f"Missing: {', '.join(sorted(missing))}."
            raise Refusal("scope-insufficient", "missing", detail, failed=_failed(caller))
        for bounds in caller.bounds:
            if bounds.addresses and not within(call.address, bounds.addresses):
                raise Refusal("address-not-allowed", "client", failed=_failed(caller))
        return _ALLOWED


def within(address: str, networks: tuple[str, ...]) -> bool:
    """True if `address` lies in one of `networks` (CIDR); an address that cannot be read lies in none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in _read(networks))


@functools.lru_cache(maxsize=HELD_LISTS)
def _read(networks: tuple[str, ...]) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)


def _failed(caller: Caller) -> str:
    """The judgement of a signature that failed; an API key has none."""
    return "policy" if caller.assurance == "signature" else ""
