"""Authorize: the rule's scopes and the client's addresses."""

from __future__ import annotations

import ipaddress

from sealwire.call import Allowed, Call, Caller, Proof
from sealwire.errors import Refusal


class Authorize:
    """Refuses: scope-insufficient (naming what is missing), address-not-allowed."""

    async def __call__(self, call: Call) -> Allowed:
        missing = call.rule.scopes - call.get(Caller).scopes
        if missing:
            detail = f"Missing: {', '.join(sorted(missing))}."
            raise Refusal("scope-insufficient", "missing", detail, failed="policy")
        key = call.get(Proof).key
        if key is not None and key.addresses and not within(call.address, key.addresses):
            raise Refusal("address-not-allowed", "client", failed="policy")
        return Allowed()


def within(address: str, networks: tuple[str, ...]) -> bool:
    """True if `address` lies in one of `networks` (CIDR); an address that cannot be read lies in none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network) for network in networks)
