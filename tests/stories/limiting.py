"""
A deployment with one rule for each kind of limit, and callers who come to each from wherever it counts as one.

The same in this process and, over files, in several (`limit_process.py`).
"""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.call import Rule
from sealwire.credentials import digest_of
from sealwire.fronts.asgi import TARGET_EXTENSION, Message, Receive, Scope
from sealwire.ports import Decision, Invitation
from sealwire.ports.apikeys import Client, NewApiKey
from sealwire.protocol import apikey
from sealwire.protocol.jwk import Signer, load_verifier
from sealwire.protocol.ratelimit import Limit, parse_limit, parse_own
from sealwire.protocol.signature import signer_of
from sealwire.records import Bounds
from tests.stories.sealing import SealedWorld
from tests.stories.world import START, Wire

PERIOD = 60
DAY = 86_400


class Counted(NamedTuple):
    """How many calls of a kind fit in a burst, and who makes them."""

    quota: int
    signers: tuple[int, ...] = ()  # none: an API key alone
    addresses: str = "203.0.113.{0}"
    limits: tuple[str, ...] = ()

    @property
    def parsed(self) -> tuple[Limit, ...]:
        """The limits of its rule."""
        return tuple(parse_limit(limit) for limit in self.limits)


def _of_key(seed: int) -> Signer:
    return signer_of(Ed25519PrivateKey.from_private_bytes(bytes((seed,)) * 32))


#: Keys 1 and 2 are one client's, key 3 is another client's of the same user, key 4 is somebody else's.
SIGNERS = {seed: _of_key(seed) for seed in range(1, 6)}
OF = {1: ("cli_a", "alice"), 2: ("cli_a", "alice"), 3: ("cli_b", "alice"), 4: ("cli_c", "carol"), 5: ("cli_d", "dave")}
#: One API key, the same everywhere.
BEARER = apikey.write("test", b"b" * apikey.SECRET_BYTES)
OWN_OF_CLIENT, OWN_OF_KEY = parse_own("23/min", "client-own"), parse_own("24/min", "key-own")

KINDS: dict[str, Counted] = {
    # Whoever signs, one address; written as its proxies like to.
    "address": Counted(17, (1, 2, 3, 4), "203.0.113.1", ("17/min per address",)),
    # Each call from a /64 of its own, all in one /56: four times as much.
    "site": Counted(4 * 9, (1, 4), "2001:db8:0:11{0:02x}::{1:x}", ("9/min per address",)),
    "key": Counted(18, (1,), limits=("18/min per key",)),
    "client": Counted(19, (1, 2), limits=("19/min per client",)),
    "user": Counted(20, (1, 2, 3), limits=("20/min per user",)),
    "rule": Counted(21, (1, 2, 3, 4), limits=("21/min per rule",)),
    "own of client": Counted(OWN_OF_CLIENT.quota, (5,)),
    "own of API key": Counted(OWN_OF_KEY.quota),
    # Every kind at once: the one that is the least decides, and nothing more is taken of the others.
    "all": Counted(
        16,
        (1,),
        "2001:db8:0:ff00::{1:x}",
        ("30/min per address", "29/min per key", "28/min per client", "27/min per user", "16/min per rule"),
    ),
}


def path(kind: str) -> str:
    """Where the rule of a kind is."""
    return f"/v1/{kind.replace(' ', '-').lower()}"


RULES = tuple(
    Rule(path(kind), frozenset(("GET",)), "signed" if one.signers else "keyed", limits=one.parsed)
    for kind, one in KINDS.items()
)


async def lay(world: SealedWorld) -> None:
    """The clients, their keys, and what holds some of them closer."""
    for seed, (client, user) in OF.items():
        known = client if seed == 2 else ""
        invitation = Invitation(f"inv_{seed}", client, known, user, frozenset(), (), b"", START + 60)
        await world.people.add_invitation(invitation)
        await world.people.enrol(invitation.id, load_verifier(SIGNERS[seed].jwk), client, f"key {seed}", START)
    bounds = Bounds("cli_d", (), (OWN_OF_CLIENT,))
    assert await world.bearers.bind_client(frozenset(), bounds, decided())
    await give(world, BEARER, limits=(OWN_OF_KEY,), client="cli_e", new=True)


def decided() -> Decision:
    """The decision of an administrative act."""
    return Decision("req_admin", START, "entered", "admin", "", "", "", "", "", "", "")


async def give(
    world: SealedWorld,
    credential: str,
    *,
    apikey_id: str = "apk_1",
    client: str = "cli_alice",
    scopes: frozenset[str] = frozenset(),
    addresses: tuple[str, ...] = (),
    limits: tuple[Limit, ...] = (),
    expires_at: float = START + 90 * DAY,
    new: bool = False,
) -> None:
    """An API key, with its client where that is new."""
    owner = Client(client, "erin", scopes, Bounds(client, (), ()), START) if new else None
    digest = digest_of(world.keyring, credential.encode())
    bounds = Bounds(apikey_id, addresses, limits)
    made = NewApiKey(client, "screen", scopes, bounds, digest, START, expires_at)
    await world.bearers.add_apikey(made, owner, decided())


def carrying_key(target: bytes, credential: str) -> Wire:
    """A GET with an API key, unsigned."""
    return Wire("GET", target).change(b"authorization", b"Bearer " + credential.encode())


async def call_from(world: SealedWorld, address: str, wire: Wire) -> httpx2.Response:
    """Sends a call from an address; whoever else is on the way comes from theirs."""
    world.address = address
    return await world.send(wire)


async def deliver(world: SealedWorld, wire: Wire, receive: Receive) -> list[Message]:
    """Sends a call whose body comes as `receive` says, and gives back what went out."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": wire.method,
        "path": wire.target.decode(),
        "raw_path": wire.target,
        "query_string": b"",
        "headers": wire.headers,
        "client": (world.address, 4000),
        "root_path": "",
        "extensions": {TARGET_EXTENSION: {"target": wire.target}},
    }
    await world.app(scope, receive, send)
    return sent


async def burst(world: SealedWorld, kind: str, first: int, count: int) -> list[httpx2.Response]:
    """So many callers of a kind at once, numbered from `first`: each signs, or brings the API key, anew."""
    counted = KINDS[kind]
    wires = []
    for number in range(first, first + count):
        address = counted.addresses.format(number % 250, number)
        if counted.signers:
            seed = counted.signers[number % len(counted.signers)]
            wire = Wire("GET", path(kind).encode()).sign(
                SIGNERS[seed], int(world.clock.now()), nonce=f"{number:06}{os.urandom(12).hex()}"
            )
        else:
            wire = carrying_key(path(kind).encode(), BEARER)
        wires.append((address, wire))
    return await asyncio.gather(*(call_from(world, address, wire) for address, wire in wires))


def told(reply: httpx2.Response) -> dict[str, int]:
    """What RateLimit says is left, by the name of the policy."""
    policies = {}
    for member in reply.headers["ratelimit"].split(", "):
        name, remaining, _ = member.split(";")
        policies[name.strip('"')] = int(remaining.removeprefix("r="))
    return policies
