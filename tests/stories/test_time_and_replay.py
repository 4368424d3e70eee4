"""When a message is valid, and that it is accepted once."""

import asyncio
import json
import re

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.call import Rule
from sealwire.protocol.ratelimit import parse_limit
from sealwire.protocol.signature import signer_of
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import START, Wire, World


@pytest.mark.parametrize(
    ("age", "accepted"), [(59, True), (60, False), (61, False), (-9, True), (-10, True), (-11, False)]
)
async def test_the_window(world: World, age: int, accepted: bool) -> None:
    """
    C1: created 59, 60, 61 s ago, and 9, 10, 11 s ahead.

    Stopped by: verify
    """
    request = Wire().sign(world.signer, created=int(START) - age, expires=int(START) - age + 200)
    if accepted:
        assert (await world.send(request)).status_code == 200
    else:
        problem = await refused(world, request, 401, "clock-skew")
        assert problem["clock"] == {"server_time": int(START), "skew_ms": -age * 1000, "window": 60}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"created=\d+;", b""),
        (rb"created=(\d+)", b"created=-1"),
        (rb"created=(\d+)", rb"created=\1.0"),
        (rb"created=(\d+)", rb'created="\1"'),
        (rb"expires=\d+;", b""),
        (rb"expires=\d+", b"expires=1"),
        (rb"expires=\d+", b"expires=9999999999999"),
        (rb";nonce=\"[^\"]+\"", b""),
        (rb";nonce=\"[^\"]+\"", b';nonce="short"'),
        (rb";keyid=\"[^\"]+\"", b""),
        (rb";tag=", b";x=1;tag="),
        (rb"created=\d+", b"created=?1"),
        (rb"expires=\d+", b"expires=%d" % (int(START) + 301)),
    ],
)
async def test_parameters_that_are_none(world: World, old: bytes, new: bytes) -> None:
    """
    C2: each parameter missing, of another type, out of range; one more.

    Stopped by: verify
    """
    request = Wire().sign(world.signer)
    changed = re.sub(old, new, request.header(b"signature-input"))
    await refused(world, request.change(b"signature-input", changed), 400, "signature-malformed")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_100_copies_at_once(world: World, method: str) -> None:
    """
    C4: the same bytes a hundred times at once.

    Stopped by: nonce
    """
    request = Wire(method, b"/v1/orders", BODY) if method == "POST" else Wire()
    request.sign(world.signer)
    replies = await asyncio.gather(*(world.send(request) for _ in range(100)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 99
    assert {json.loads(r.content)["code"] for r in replies if r.status_code == 401} == {"replay-detected"}
    assert len(world.entered) == 1


async def test_a_nonce_belongs_to_a_message(world: World) -> None:
    """
    C5, C26: the same nonce with another body, created or expires is a replay; of another key it is another nonce.

    Stopped by: nonce
    """
    nonce = "n" * 22
    assert (await world.send(Wire().sign(world.signer, nonce=nonce))).status_code == 200
    other = Wire("POST", b"/v1/orders", BODY).sign(world.signer, nonce=nonce)
    await refused(world, other, 401, "replay-detected")
    later = Wire().sign(world.signer, nonce=nonce, created=int(START) + 5)
    await refused(world, later, 401, "replay-detected")
    longer = Wire().sign(world.signer, nonce=nonce, expires=int(START) + 300)
    await refused(world, longer, 401, "replay-detected")
    world.clock.at = START + 40  # in another of the memory's own time slices
    moved = Wire().sign(world.signer, nonce=nonce, created=int(START) + 40)
    await refused(world, moved, 401, "replay-detected")
    other_key = signer_of(Ed25519PrivateKey.generate())
    world.add_key(other_key, "bob")
    assert (await world.send(Wire().sign(other_key, nonce=nonce, created=int(START) + 40))).status_code == 200


async def test_replayed_at_every_second(world: World) -> None:
    """
    C7, C14: a message from 10 s ahead, sent again at every second to the end, and with the clock set back.

    Stopped by: nonce
    """
    request = Wire().sign(world.signer, created=int(START) + 10)
    assert (await world.send(request)).status_code == 200
    for second in range(1, 100):
        world.clock.at = START + second
        entered = len(world.entered)
        assert (await world.send(request)).status_code == 401
        assert len(world.entered) == entered
    world.clock.at = START
    await refused(world, request, 401, "replay-detected")


async def test_a_fresh_date_on_an_old_signature(world: World) -> None:
    """
    C3: a captured call whose window is over, with a fresh Date, X-Date and X-Timestamp added, and nothing else changed.

    Stopped by: verify
    """
    request = Wire().sign(world.signer)
    world.clock.at = START + 60
    for name in (b"date", b"x-date", b"x-timestamp", b"x-amz-date"):
        request.headers.append((name, b"Mon, 21 Sep 2026 14:14:20 GMT"))
        request.headers.append((name, b"%d" % world.clock.at))
    await refused(world, request, 401, "clock-skew")


async def test_a_stranger_burns_no_nonce(world: World) -> None:
    """
    C12: a bad signature with the victim's keyid and nonce.

    Stopped by: verify
    """
    nonce = "v" * 22
    await refused(world, Wire().sign(world.signer, nonce=nonce, secret=lambda _: b"x" * 64), 401, "signature-mismatch")
    assert (await world.send(Wire().sign(world.signer, nonce=nonce))).status_code == 200


async def test_a_caller_without_a_clock(world: World) -> None:
    """
    C15, C19: an hour off, the server's nonce serves once, for its key only, for 60 s, and not after a restart.

    Stopped by: verify
    """
    wrong = int(START) - 3600
    reply = await world.send(Wire().sign(world.signer, created=wrong))
    offered = re.search(r'nonce="([^"]+)"', reply.headers["accept-signature"])
    assert reply.status_code == 401
    assert offered is not None
    thief = signer_of(Ed25519PrivateKey.generate())
    world.add_key(thief, "bob")
    await refused(world, Wire().sign(thief, created=wrong, nonce=offered[1]), 401, "clock-skew")
    kept, world.nonces.secret = world.nonces.secret, b"the nonce key of another start.."
    await refused(world, Wire().sign(world.signer, created=wrong, nonce=offered[1]), 401, "clock-skew")
    world.nonces.secret = kept
    again = Wire().sign(world.signer, created=wrong, nonce=offered[1])
    assert (await world.send(again)).status_code == 200
    await refused(world, again, 401, "replay-detected")
    world.clock.at = START + 60
    await refused(world, again, 401, "clock-skew")


async def test_after_a_restart(world: World) -> None:
    """
    C8: the memory of nonces begins after the message was made, so it may have been accepted before.

    Stopped by: verify
    """
    world.nonces.epoch = START - 50
    world.directory._keys[world.signer.keyid] = world.directory._keys[world.signer.keyid]._replace(enrolled_at=0)
    await refused(world, Wire().sign(world.signer, created=int(START) - 41), 401, "clock-skew")
    assert (await world.send(Wire().sign(world.signer, created=int(START) - 40))).status_code == 200


async def test_a_slow_body(world: World) -> None:
    """
    C21: the message ran out before its nonce was claimed: the claim judges time again, on the store's clock.

    Stopped by: nonce
    """
    request = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    claim = world.nonces.claim

    async def later(keyid: str, nonce: str, last_valid: float, remember_seconds: int) -> object:
        world.clock.at = last_valid + 10
        return await claim(keyid, nonce, last_valid, remember_seconds)

    world.nonces.claim = later  # type: ignore[method-assign,assignment]
    await refused(world, request, 401, "clock-skew")


async def test_more_live_nonces_than_a_key_may_hold(world: World) -> None:
    """
    C13: a key that holds as many unexpired nonces as it may is limited.

    Stopped by: nonce
    """
    world.nonces._live_nonces = 2
    for _ in range(2):
        assert (await world.send(Wire().sign(world.signer))).status_code == 200
    problem = await refused(world, Wire().sign(world.signer), 429, "rate-limited")
    assert problem["retryable"] is True


async def test_one_effect_for_one_idempotency_key(world: World) -> None:
    """
    C17: the same key with a new nonce gets the same answer; with another body it is refused; in progress it waits.

    Stopped by: idempotency
    """

    def request(body: bytes = BODY, key: bytes = b"k1") -> Wire:
        return Wire("POST", b"/v1/orders", body).change(b"idempotency-key", key).sign(world.signer)

    first, again = await world.send(request()), await world.send(request())
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.content == again.content
    assert len(world.entered) == 1
    await refused(world, request(b'{"amount": "9"}'), 422, "idempotency-conflict")
    await refused(world, request(key=b"k" * 256), 422, "request-invalid")
    for entry in world.ledger._idempotency:
        world.ledger._idempotency[entry] = world.ledger._idempotency[entry]._replace(wrapped=None)
    problem = await refused(world, request(), 409, "idempotency-in-progress")
    assert problem["outcome"] == "unknown"


async def test_anothers_idempotency_key(world: World) -> None:
    """
    C17: the same idempotency key of another client is another key; of another signing key of one's own it is the same.

    Stopped by: idempotency
    """
    second, stranger = (signer_of(Ed25519PrivateKey.generate()) for _ in range(2))
    world.add_key(second, "alice")
    world.add_key(stranger, "bob")
    for signer, effects in ((world.signer, 1), (second, 1), (stranger, 2), (world.signer, 2)):
        request = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k1").sign(signer)
        assert (await world.send(request)).status_code == 200
        assert len(world.entered) == effects


async def test_rules_that_demand_more(world: World, tmp_path: object) -> None:
    """
    L2, C19: a rule that demands an idempotency key, a server nonce, and limits by address and key.

    Stopped by: throttle
    """
    limits = tuple(parse_limit(text) for text in ("3/min per address", "2/min per key", "9/min per user"))
    rules = (
        Rule("/v1/once", frozenset(("POST",)), "signed", idempotency_required=True),
        Rule("/v1/fresh", frozenset(("GET",)), "signed", fresh=True),
        Rule("/v1/few", frozenset(("GET",)), "signed", limits=limits),
    )
    strict = World(tmp_path, rules)  # type: ignore[arg-type]
    await refused(strict, Wire("POST", b"/v1/once", b"{}").sign(strict.signer), 400, "idempotency-missing")
    await refused(strict, Wire("GET", b"/v1/fresh").sign(strict.signer), 401, "clock-skew")
    for _ in range(2):
        assert (await strict.send(Wire("GET", b"/v1/few").sign(strict.signer))).status_code == 200
    await refused(strict, Wire("GET", b"/v1/few").sign(strict.signer), 429, "rate-limited")
    await refused(strict, Wire("GET", b"/v1/few").sign(strict.signer), 429, "rate-limited")


async def test_every_401_about_a_signature_says_what_to_sign(world: World) -> None:
    """
    C15: what to cover is told with a digest that differs and with a replay too.

    Stopped by: verify
    """
    changed = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    changed.body = BODY.replace(b"1", b"9")
    again = Wire().sign(world.signer)
    await world.send(again)
    for request, code in ((changed, "digest-mismatch"), (again, "replay-detected"), (Wire(), "signature-missing")):
        reply = await world.send(request)
        assert json.loads(reply.content)["code"] == code
        assert '"@method"' in reply.headers["accept-signature"]
