"""
Who calls more than may be, or pours in what was never a call

The attacker has many addresses, makes up whatever a message can say, and finds the counters down.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.call import Rule
from sealwire.entry import Arrival, Entry, Room
from sealwire.errors import Fault
from sealwire.pipeline import Failures
from sealwire.protocol.message import Reply
from sealwire.protocol.ratelimit import Limit
from tests.stories.keyed import ORDERS, READ, TICKER, TRADE, KeyedWorld, bearing, beside
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.test_enrolment import fresh
from tests.stories.world import Wire

GET, POST = frozenset(("GET",)), frozenset(("POST",))
FEW = (Limit(5, 60, "address"),)
LIMITED_RULES = (
    Rule("/v1/time", GET, "open", limits=FEW),
    Rule("/v1/ticker", GET, "keyed", scopes=READ, limits=FEW),
    Rule("/v1/notes", POST, "keyed", max_body_bytes=100),
    Rule("/v1/orders", POST, "signed", scopes=TRADE, limits=FEW),
    Rule("/v1/free", GET, "signed"),
    Rule("/v1/each", GET, "keyed", limits=(Limit(2, 60, "user"),)),
    Rule("/v1/own", GET, "keyed", limits=(Limit(3, 60, "key"), Limit(50, 60, "address"))),
)
JUNK = b"sw_test_sk_" + b"A" * 49


@pytest.fixture
def world(tmp_path: Path) -> KeyedWorld:
    """A fresh deployment with small limits."""
    return KeyedWorld(tmp_path, LIMITED_RULES)


async def accepted(world: KeyedWorld, addresses: Iterator[str], request: Wire) -> int:
    """How many of one call from each of these addresses go through; every other one is a 429 that says when."""
    went = 0
    for world.address in addresses:
        reply = await world.send(request)
        went += reply.status_code == 200
        if reply.status_code != 200:
            assert (reply.status_code, reply.json()["code"]) == (429, "rate-limited")
            assert int(reply.headers["retry-after"]) <= 60
    return went


def addresses(network: str, step: int, count: int) -> Iterator[str]:
    """So many addresses, so far apart."""
    first = int(ipaddress.IPv6Address(network))
    return (str(ipaddress.IPv6Address(first + step * number)) for number in range(count))


async def test_a_key_from_a_thousand_addresses_of_one_subscriber(world: KeyedWorld) -> None:
    """
    L1: a good key from a thousand addresses of one IPv6 /64: they share a bucket, and the next 256 /64s what their /56
    has; others are others.

    Stopped by: throttle
    """
    written, _ = await world.make()
    call = bearing(written)
    assert await accepted(world, addresses("2001:db8:0:100::1", 0x1_0001, 1000), call) == 5
    assert await accepted(world, addresses("2001:db8:0:100::1", 1 << 64, 256), call) == 15
    assert await accepted(world, addresses("2001:db8:0:200::1", 1 << 64, 2), call) == 2
    assert await accepted(world, iter(["192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1"]), call) == 3


async def test_a_call_that_is_refused_waits_no_longer(world: KeyedWorld) -> None:
    """
    L2: whoever goes on calling while its limit is spent: no refused call lengthens the wait that the first was told,
    or spends anything of another limit.

    Stopped by: throttle
    """
    written, _ = await world.make()
    own = bearing(written, b"/v1/own")
    assert [(await world.send(own)).status_code for _ in range(3)] == [200] * 3
    first = await world.send(own)
    assert first.status_code == 429
    assert first.headers["ratelimit-policy"] == '"address-60";q=50;w=60, "key-60";q=3;w=60'
    for _ in range(200):
        again = await world.send(own)
        assert (again.status_code, again.headers["retry-after"]) == (429, first.headers["retry-after"])
    assert again.headers["ratelimit"] == first.headers["ratelimit"]
    world.clock.at += int(first.headers["retry-after"])
    assert (await world.send(own)).status_code == 200


async def test_names_that_nobody_proved(world: KeyedWorld) -> None:
    """
    L8: every field that a stranger can make up is varied, of keys, labels, tokens, methods of forwarding: all calls are
    counted under the address that they came from, and under nothing that they say.

    Stopped by: throttle
    """
    statuses = []
    for number in range(8):
        word = f"made-up-{number}"
        request = Wire("POST", ORDERS, BODY + b" " * number)
        for field in (b"x-forwarded-for", b"forwarded", b"x-real-ip", b"user-agent", b"x-api-key", b"cookie"):
            request.change(field, word.encode())
        request.change(b"authorization", b"Bearer " + word.encode())
        statuses.append((await world.send(request.sign(fresh(), label=f"l{number}"))).status_code)
        keyed = bearing(word, TICKER + b"?key=" + word.encode()).change(b"x-forwarded-for", b"192.0.2.%d" % number)
        statuses.append((await world.send(keyed)).status_code)
    assert statuses == [401] * 10 + [429] * 6
    by_what_was_sent = {name for name in world.buckets.names if name.startswith("failed slot ")}
    by_address = {"/v1/orders 192.0.2.1", "/v1/ticker 192.0.2.1", "failed 192.0.2.1"}
    assert world.buckets.names - by_what_was_sent == by_address


async def test_a_failed_try_stays_counted(tmp_path: Path) -> None:
    """
    L8: the ledger fails while a proven caller tries API keys that are none: each try counts all the same.

    Stopped by: throttle
    """
    world = KeyedWorld(tmp_path, LIMITED_RULES, failures=Failures(Limit(3, 60, "address"), Limit(9, 60, "key")))

    async def fails(*_: object) -> None:
        raise Fault("audit-unavailable", "write")

    world.ledger.record = fails  # type: ignore[method-assign,assignment]
    tried = Wire("GET", b"/v1/free").change(b"authorization", b"Bearer " + JUNK)
    answers = []
    for _ in range(5):
        request = Wire("GET", b"/v1/free").change(b"authorization", tried.header(b"authorization"))
        answers.append((await world.send(request.sign(world.signer))).status_code)
    assert answers == [401] * 3 + [429] * 2


@pytest.mark.parametrize("method", ["look", "charge"])
async def test_the_counters_are_down(world: KeyedWorld, method: str, caplog: pytest.LogCaptureFixture) -> None:
    """
    L4: the store of the buckets fails: a call with a limit is a 503, in the log and the metrics, and never let through
    uncounted; what has no limit goes on.

    Stopped by: throttle
    """
    written, _ = await world.make()
    world.buckets.failing = {method}
    limited = [bearing(written), Wire("POST", ORDERS, BODY).sign(world.signer)]
    limited += [Wire("GET", b"/v1/time")] if method == "charge" else []
    for number, request in enumerate(limited, 1):
        await refused(world, request, 503, "store-unavailable")
        told = world.told()
        assert (told["sealwire.code"], told["event.action"]) == ("store-unavailable/buckets", "failed")
        assert told["log.level"] == "warning"
        labels = {"decision": "failed", "reason": "store-unavailable", "route": told["url.template"]}
        assert world.registry.get_sample_value("sealwire_decisions_total", labels) == 1, number
    assert (await world.send(Wire("GET", b"/v1/free").sign(world.signer))).status_code == 200
    assert caplog.records == []


async def test_the_counters_of_failures_are_down(world: KeyedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    L4: only the count of failed credentials fails: the 401 stands, word for word, and the log says what was not
    counted.

    Stopped by: authenticate
    """
    ask = bearing(JUNK, b"/v1/notes")
    ask.method = "POST"
    before = await world.send(ask)
    assert before.status_code == 401
    world.buckets.failing = {"charge"}
    for request in (ask, Wire("GET", b"/v1/free").sign(fresh())):
        with caplog.at_level(logging.ERROR):
            reply = await world.send(request)
        assert (reply.status_code, reply.headers.get("retry-after")) == (401, None)
        own = reply.headers["x-request-id"]
        assert caplog.messages[-1] == f"the refusal of {own} could not be counted: store-unavailable/buckets"
    assert world.told()["sealwire.code"] == "key-unknown/unknown"


def junk() -> list[tuple[str, Wire, int, list[str]]]:
    """What costs nothing to send, what it is answered, and all that is asked of the ports for it."""
    large = Wire("POST", b"/v1/notes", b"x" * 101).change(b"authorization", b"Bearer " + JUNK)
    typed = Wire("POST", b"/v1/notes", BODY).change(b"content-type", b"text/plain")
    free = b"/v1/free"
    return [
        ("no rule", bearing(JUNK, b"/v2/none"), 404, []),
        ("another method", Wire("DELETE", TICKER), 405, []),
        ("another host", bearing(JUNK).change(b"host", b"evil.example"), 421, []),
        ("two readings", bearing(JUNK, b"/v1/../v1/ticker"), 400, []),
        ("too large", large, 413, []),
        ("of another type", typed.change(b"authorization", b"Bearer " + JUNK), 415, []),
        ("no key", Wire("POST", b"/v1/notes", BODY), 401, []),
        ("no signature", Wire("GET", free), 401, []),
        ("unreadable", Wire("GET", free).change(b"signature-input", b"((").change(b"signature", b"(("), 400, []),
        ("another tag", Wire("GET", free).sign(fresh(), tag="other"), 401, []),
        ("nothing covered", Wire("GET", free).sign(fresh(), covered=[]), 401, []),
        ("no keyid of ours", Wire("GET", free).sign(fresh(), keyid="k" * 44), 401, ["buckets.charge"]),
        ("unknown keyid", Wire("GET", free).sign(fresh()), 401, ["directory.key", "buckets.charge"]),
    ]


@pytest.mark.parametrize("which", range(len(junk())))
async def test_a_flood_of_junk(world: KeyedWorld, which: int) -> None:
    """
    L6: whatever the head alone gives away is refused before any store, key or signature is asked for; of the rest no
    more than one key is looked for.

    Stopped by: admit
    """
    says, request, status, asked = junk()[which]
    reply, steps = await world.steps(request)
    assert (says, reply.status_code, steps, world.reads) == (says, status, asked, 0)


@pytest.mark.parametrize("profile", ["keyed", "signed"])
async def test_what_a_spent_limit_costs(world: KeyedWorld, profile: str) -> None:
    """
    L6: a flood from an address whose limit is spent, good keys and signatures among it: one look at the counters for
    each, no key read, nothing verified, no body taken; another address is served.

    Stopped by: throttle
    """
    written, _ = await world.make()

    def request() -> Wire:
        return bearing(written) if profile == "keyed" else Wire("POST", ORDERS, BODY).sign(world.signer)

    assert [(await world.send(request())).status_code for _ in range(5)] == [200] * 5
    world.reads = 0
    for _ in range(50):
        reply, steps = await world.steps(request())
        assert (reply.status_code, steps, world.reads) == (429, ["buckets.look"], 0)
    world.address = "192.0.2.9"
    assert (await world.send(request())).status_code == 200


async def test_a_user_who_is_called_like_a_client(world: KeyedWorld) -> None:
    """
    L8: somebody signs up under the id of another's client that acts for no user: the limit for each user is spent of
    their own alone.

    Stopped by: throttle
    """
    service, _ = await world.make("service", user="")
    named, _ = await world.make("mallory", user="cli_service")
    answers = [(await world.send(bearing(named, b"/v1/each"))).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    assert (await world.send(bearing(service, b"/v1/each"))).status_code == 200


async def test_a_limit_is_one_with_a_key_beside_a_signature(world: KeyedWorld) -> None:
    """
    L2: calls with and without an API key beside the signature, and with several: the limits of the signing key's
    client are one.

    Stopped by: throttle
    """
    keys = [(await world.make(limits=("100/min",)))[0] for _ in range(3)]
    ways = [lambda: Wire("POST", ORDERS, BODY).sign(world.signer)]
    ways += [lambda one=one: beside(world, one, Wire("POST", ORDERS, BODY)) for one in keys]  # type: ignore[misc]
    answers = [(await world.send(ways[number % 4]())).status_code for number in range(12)]
    assert answers == [200] * 5 + [429] * 7


async def test_bodies_that_do_not_come(world: KeyedWorld) -> None:
    """
    L5: a hundred proven callers announce a body and send none, where four calls may be at work: they hold no room that
    an honest call needs; four calls in the app do, and the fifth is asked to wait.

    Stopped by: guard
    """
    world.guard._room = Room(4)
    written, _ = await world.make()
    sends, leave, full = asyncio.Event(), asyncio.Event(), asyncio.Event()
    inside: list[str] = []

    async def slowly() -> tuple[bytes, bool]:
        await sends.wait()
        return BODY, False

    async def at_once() -> tuple[bytes, bool]:
        return BODY, False

    async def enter(entry: Entry, _: object) -> Reply:
        inside.append(entry.request_id)
        if len(inside) == 4:
            full.set()
        await leave.wait()
        return Reply(200, (), b"")

    fields = Wire("POST", b"/v1/notes", BODY).change(b"authorization", b"Bearer " + written.encode()).headers
    slow = Arrival("POST", b"/v1/notes", fields, "192.0.2.7", slowly)
    waiting = [asyncio.create_task(world.guard.handle(slow, enter)) for _ in range(100)]
    await asyncio.sleep(0)
    assert (await world.send(bearing(written, b"/v1/own"))).status_code == 200
    come = [slow._replace(receive=at_once, address=f"192.0.2.{number}") for number in range(10, 14)]
    working = [asyncio.create_task(world.guard.handle(each, enter)) for each in come]
    async with asyncio.timeout(20):  # one that found no room would never make it full
        await full.wait()
    reply = await world.send(bearing(written, b"/v1/own"))
    assert (reply.status_code, json.loads(reply.content)["code"], reply.headers["retry-after"]) == (
        429, "rate-limited", "1",
    )  # fmt: skip
    assert world.told()["sealwire.code"] == "rate-limited/busy"
    leave.set()
    assert {answer.status for answer in await asyncio.gather(*working) if answer} == {200}
    sends.set()
    assert {answer.status for answer in await asyncio.gather(*waiting) if answer} == {200}
