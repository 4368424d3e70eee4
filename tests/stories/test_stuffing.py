"""
Who tries credentials: many from one place, one from many places

The attacker has lists of keys, secrets that ended, and names of keys whose owners it would like to see locked out.
"""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import httpx2
import pytest

from sealwire.call import Rule
from sealwire.pipeline import Failures
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import Limit
from tests.stories.keyed import BY_OPERATOR, ORDERS, READ, KeyedWorld, bearing
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.test_enrolment import fresh
from tests.stories.world import START, Wire

RULES = (
    Rule("/v1/ticker", frozenset(("GET",)), "keyed", scopes=READ),
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
    Rule("/v1/orders", frozenset(("POST",)), "signed"),
    Rule("/v1/quotes", frozenset(("POST",)), "sealed", session_mac=True),
)
TRIES = 10
FEW = Failures(Limit(TRIES, 60, "address"), Limit(TRIES, 60, "key"))
THEIRS, OTHERS = "198.51.100.66", "203.0.113.5"


@pytest.fixture
def world(tmp_path: Path) -> KeyedWorld:
    """A fresh deployment that takes ten failed tries a minute, from one address and of one key."""
    return KeyedWorld(tmp_path, RULES, failures=FEW)


def guess() -> Wire:
    """A key of the right form and checksum that nobody has."""
    return bearing(apikey.write("test", os.urandom(32)))


def forged(world: KeyedWorld) -> Wire:
    """A signature under the victim's key that is none."""
    return Wire("POST", ORDERS, BODY).sign(world.signer, secret=lambda _: b"x" * 64)


def limited(reply: httpx2.Response, policy: str) -> bool:
    """Whether an answer is the one 429, which says which limit, what remains and how long."""
    if reply.status_code != 429:
        assert (reply.status_code, "ratelimit" in reply.headers) == (401, False)
        return False
    assert reply.json()["code"] == "rate-limited"
    assert reply.headers["ratelimit-policy"] == policy
    name = policy.partition(";")[0]
    assert re.fullmatch(rf"{name};r=0;t=\d+", reply.headers["ratelimit"].split(", ")[0])
    assert 1 <= int(reply.headers["retry-after"]) <= 60
    return True


ADDRESS, KEY = f'"address-60";q={TRIES};w=60', f'"key-60";q={TRIES};w=60'


async def honest(world: KeyedWorld, written: str) -> list[int]:
    """What the victim's own calls are answered: with its API key, signed, and both."""
    calls = [bearing(written), Wire("POST", ORDERS, BODY).sign(world.signer, int(world.clock.at))]
    beside = Wire().change(b"authorization", b"Bearer " + written.encode()).sign(world.signer, int(world.clock.at))
    return [(await world.send(call)).status_code for call in (*calls, beside)]


@pytest.mark.parametrize("what", ["API keys", "keyids", "both"])
async def test_many_keys_from_one_prefix(world: KeyedWorld, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    L7: lists of API keys and keyids from one address: after ten in a minute each further one is a 429, one line of the
    log warns, and the metric counts. The victim's own calls go on, from there and from elsewhere.

    Stopped by: authenticate
    """
    written, _ = await world.make()
    world.address = THEIRS
    ways = {"API keys": [guess], "keyids": [lambda: Wire().sign(fresh())]}
    tries = ways.get(what) or [way for both in ways.values() for way in both]
    with caplog.at_level(logging.WARNING, "sealwire.alarms"):
        answers = [limited(await world.send(tries[n % len(tries)]()), ADDRESS) for n in range(25)]
    assert answers == [False] * TRIES + [True] * 15
    assert world.told()["sealwire.code"] == "rate-limited/failures-address"
    assert caplog.messages == [f"more failed tries than may be from {THEIRS}: keys are guessed"]
    assert (world.counted("address"), world.counted("key")) == (15, 0)
    assert await honest(world, written) == [200] * 3
    world.address = OTHERS
    assert await honest(world, written) == [200] * 3
    assert (await world.send(guess())).status_code == 401


async def test_many_keys_from_one_subscriber(world: KeyedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    L1, L7: the same from all addresses of an IPv6 /64, and from each /64 of a /56: they share what one may, and four
    times that.

    Stopped by: authenticate
    """
    refused = []
    for number in range(200):
        world.address = f"2001:db8::{number:x}:1"
        refused.append((await world.send(guess())).status_code)
    assert refused == [401] * TRIES + [429] * (200 - TRIES)
    assert caplog.messages == ["more failed tries than may be from 2001:db8::/64: keys are guessed"]
    for number in range(1, 256):
        world.address = f"2001:db8:0:{number:x}::1"
        refused.append((await world.send(guess())).status_code)
    assert refused.count(401) == 4 * TRIES


async def test_one_key_from_many_prefixes(world: KeyedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    L7, C12: bad signatures under the victim's keyid from two thousand addresses: limited, warned of and counted under
    the key's name, while every call of the victim's own is served.

    Stopped by: verify
    """
    written, _ = await world.make()
    answers = []
    with caplog.at_level(logging.WARNING, "sealwire.alarms"):
        for number in range(2_000):
            world.address = f"10.1.{number // 250}.{number % 250}"
            answers.append(limited(await world.send(forged(world)), KEY))
            if number % 200 == 0:
                assert await honest(world, written) == [200] * 3
    assert answers == [False] * TRIES + [True] * (2_000 - TRIES)
    told = world.told()
    assert told["sealwire.code"] == "rate-limited/failures-key"
    assert (told["sealwire.claimed"], told["sealwire.key"], told["sealwire.client"]) == (world.signer.keyid, "", "")
    said = f"more failed tries than may be with key {world.signer.keyid}, from many places: its owner's own calls go on"
    assert caplog.messages == [said]
    assert (world.counted("key"), world.counted("address")) == (2_000 - TRIES, 0)
    for address in (world.address, "192.0.2.200"):
        world.address = address
        assert await honest(world, written) == [200] * 3


async def test_a_fleet_whose_sessions_ended(world: KeyedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    C12: the server started anew, and all bots of one address still sign by their sessions: each hears that its own is
    gone, so that it opens another; that is no guess at a key, and is not counted as one.

    Stopped by: nothing
    """
    world.address = THEIRS
    for number in range(5 * TRIES):
        gone = Wire("POST", b"/v1/quotes", BODY).sign(world.signer, keyid=f"ses_{number:026}")
        reply = await world.send(gone)
        assert (reply.status_code, reply.json()["code"]) == (401, "key-unknown")
    assert caplog.messages == []
    assert (await world.send(guess())).status_code == 401


@pytest.mark.parametrize("how", ["retired", "revoked"])
async def test_a_leaked_secret_from_many_prefixes(
    world: KeyedWorld, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    L7, C12: an old secret that leaked, tried from everywhere: it is limited and warned of under the API key's id, and
    the secret that took its place is good all the while; so are the client's other keys where it was revoked.

    Stopped by: authenticate
    """
    leaked, which = await world.make()
    good, _ = await world.make()
    if how == "retired":
        good = await world.rotate(which, 0)
    else:
        await world.apikeys.revoke_apikey(which, BY_OPERATOR)
    answers = []
    for number in range(100):
        world.address = f"10.1.0.{number}"
        answers.append(limited(await world.send(bearing(leaked)), KEY))
        assert await honest(world, good) == [200] * 3
    assert answers == [False] * TRIES + [True] * (100 - TRIES)
    assert [message for message in caplog.messages if f"with key {which}," in message] == caplog.messages
    assert (len(caplog.messages), world.counted("key")) == (1, 100 - TRIES)


async def test_alarms_again_after_a_minute(world: KeyedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    L7: tries that go on for minutes, from two addresses: one warning a minute and address, and not one a try.

    Stopped by: authenticate
    """
    for second in range(180):
        world.clock.at = START + second
        for world.address in (THEIRS, OTHERS):
            await world.send(guess())
            await world.send(guess())
    said = [f"more failed tries than may be from {one}: keys are guessed" for one in (THEIRS, OTHERS)]
    assert {message: caplog.messages.count(message) for message in said} == dict.fromkeys(said, 3)
    assert len(caplog.messages) == 6


async def test_a_stranger_burns_nothing_of_an_api_keys_owner(world: KeyedWorld) -> None:
    """
    C12: bad signatures with the victim's keyid, nonce and API key beside them, and that key under another client's
    signature: the victim's own call is accepted, with that very nonce.

    Stopped by: verify
    """
    written, _ = await world.make()
    credential = b"Bearer " + written.encode()
    honest_call = Wire().change(b"authorization", credential).sign(world.signer, nonce="v" * 22)
    mallory = fresh()
    world.add_key(mallory, "mallory")
    for number in range(30):
        world.address = f"10.1.0.{number}"
        bad = Wire().change(b"authorization", credential)
        bad.sign(world.signer, nonce="v" * 22, secret=lambda _: b"x" * 64)
        assert (await world.send(bad)).status_code in (401, 429)
        assert (await world.send(Wire().change(b"authorization", credential).sign(mallory))).status_code in (401, 429)
    world.address = "192.0.2.1"
    assert (await world.send(honest_call)).status_code == 200
    assert await honest(world, written) == [200] * 3


async def test_whoever_mistypes_beside_a_flood(world: KeyedWorld) -> None:
    """
    C12: the victim shares its address with the attacker and mistypes its key: it hears 429 as the attacker does, its
    good key works at once, and nothing is left of it after Retry-After.

    Stopped by: authenticate
    """
    written, _ = await world.make()
    for _ in range(30):
        await world.send(guess())
    typo = await world.send(bearing(written[:-1]))
    assert limited(typo, ADDRESS)
    assert await honest(world, written) == [200] * 3
    world.clock.at += int(typo.headers["retry-after"])
    assert (await world.send(bearing(written[:-1]))).status_code == 401
