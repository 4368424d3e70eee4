"""
Who comes with an API key that is not theirs, is none any more, or is not enough

The attacker has keys of its own, keys that ended, keys of others, and signatures to put them beside.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sealwire.protocol import apikey
from sealwire.records import Bounds
from tests.stories.keyed import (
    BY_OPERATOR,
    DAY,
    KEYED_RULES,
    ORDERS,
    READ,
    TICKER,
    TRADE,
    KeyedWorld,
    bearing,
    beside,
    outward,
)
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.test_enrolment import fresh
from tests.stories.world import START, Wire

Dead = Callable[[KeyedWorld], Awaitable[bytes]]


@pytest.fixture
def world(tmp_path: Path) -> KeyedWorld:
    """A fresh deployment with keyed rules."""
    return KeyedWorld(tmp_path)


def order() -> Wire:
    """An order, not signed yet."""
    return Wire("POST", ORDERS, BODY)


async def test_an_honest_key(world: KeyedWorld) -> None:
    """
    A0: an honest call with an API key, so that no story below is refused for another reason.

    Stopped by: nothing
    """
    written, which = await world.make()
    for scheme in (b"Bearer ", b"bearer ", b"BEARER  "):
        assert (await world.send(bearing(written, scheme=scheme))).status_code == 200
    caller = world.entered[0]["sealwire"].caller
    assert (caller.client, caller.key, caller.apikey, caller.assurance) == ("cli_alice", which, which, "api-key")
    both = beside(world, written, order())
    assert (await world.send(both)).status_code == 200
    caller = world.entered[-1]["sealwire"].caller
    assert (caller.key, caller.apikey, caller.assurance) == (world.signer.keyid, which, "signature")


async def unknown(_: KeyedWorld) -> bytes:
    """Whoever guesses can compute the checksum."""
    return apikey.write("test", b"\x01" * 32).encode()


async def revoked(world: KeyedWorld) -> bytes:
    written, which = await world.make()
    await world.apikeys.revoke_apikey(which, BY_OPERATOR)
    return written.encode()


async def expired(world: KeyedWorld) -> bytes:
    written, _ = await world.make(days=1)
    world.clock.at += DAY
    return written.encode()


async def frozen(world: KeyedWorld) -> bytes:
    written, _ = await world.make()
    world.directory.freeze("cli_alice", "alice", world.clock.at)
    return written.encode()


async def retired(world: KeyedWorld) -> bytes:
    written, which = await world.make()
    await world.rotate(which, 10)
    world.clock.at += 10
    return written.encode()


async def replaced_twice(world: KeyedWorld) -> bytes:
    written, which = await world.make()
    for _ in range(2):
        await world.rotate(which, 1000)
    return written.encode()


async def of_an_ended_client(world: KeyedWorld) -> bytes:
    written, _ = await world.make()
    await world.directory.revoke_client("cli_alice")
    return written.encode()


async def wrong_checksum(world: KeyedWorld) -> bytes:
    written, _ = await world.make()
    return written[:-1].encode() + (b"0" if written[-1] != "0" else b"1")


async def other_mode(world: KeyedWorld) -> bytes:
    """The secret of a test key as a live one: with its checksum mended, too."""
    written, _ = await world.make()
    plain = "sw_live_sk_" + written.removeprefix("sw_test_sk_")[:-6]
    return (plain + apikey._base62(zlib.crc32(plain.encode()), 6)).encode()


async def cut(world: KeyedWorld) -> bytes:
    return (await world.make())[0][:-1].encode()


async def other_case(world: KeyedWorld) -> bytes:
    return (await world.make())[0].swapcase().encode()


DEAD = (
    unknown, revoked, expired, frozen, retired, replaced_twice, of_an_ended_client, wrong_checksum, other_mode, cut,
    other_case,
)  # fmt: skip


@pytest.mark.parametrize("dead", DEAD)
async def test_a_key_that_opens_nothing(world: KeyedWorld, dead: Dead) -> None:
    """
    B9: API keys that are revoked, expired, frozen, retired, never made, misspelt, of the other mode: the same answer,
    in the same bytes but for the id, after the same steps as a guess.

    Stopped by: authenticate
    """
    guess, steps = await world.steps(bearing(await unknown(world)))
    assert steps == ["keyring.digest", "apikeys.apikey", *["buckets.charge"] * 2]
    reply, taken = await world.steps(bearing(await dead(world)))
    assert outward(reply) == outward(guess)
    assert taken == steps
    assert (reply.status_code, reply.json()["code"], world.entered) == (401, "token-invalid", [])
    assert reply.headers["www-authenticate"] == 'Bearer realm="https://api.example", error="invalid_token"'


@pytest.mark.parametrize("dead", DEAD)
async def test_a_key_that_opens_nothing_beside_a_signature(world: KeyedWorld, dead: Dead) -> None:
    """
    B9: the same keys, covered, beside a signature that is good: the call does not go on by the signature alone.

    Stopped by: authenticate
    """
    presented = (await dead(world)).decode()
    world.signer = fresh()
    world.add_key(world.signer, "alice")
    request = order().change(b"authorization", b"Bearer " + presented.encode()).sign(world.signer, int(world.clock.at))
    if dead is other_case:
        # This is no key of ours, so it is the app's own business.
        assert (await world.send(request)).status_code == 200
    else:
        await refused(world, request, 401, "token-invalid")


@pytest.mark.parametrize("scheme", [b"", b"Basic ", b"Token ", b"ApiKey ", b"Bearer\t", b"Bearer", b"Signature "])
async def test_a_good_key_under_another_scheme(world: KeyedWorld, scheme: bytes) -> None:
    """
    B9: a key that is good, without `Bearer` or under another scheme: the answer and the steps of a guess, and a
    signature does not go on beside it.

    Stopped by: authenticate
    """
    written, _ = await world.make()
    guess, steps = await world.steps(bearing(await unknown(world)))
    reply, taken = await world.steps(bearing(written, scheme=scheme))
    assert (outward(reply), taken) == (outward(guess), steps)
    signed = order().change(b"authorization", scheme + written.encode()).sign(world.signer)
    await refused(world, signed, 401, "token-invalid")


@pytest.mark.parametrize("field", [b"x-api-key", b"api-key", b"proxy-authorization", b"cookie"])
async def test_a_good_key_elsewhere(world: KeyedWorld, field: bytes) -> None:
    """
    B9: a key that is good, in another field or in the query: nothing is looked up, and none was sent.

    Stopped by: authenticate
    """
    written, _ = await world.make()
    for request in (
        Wire("GET", TICKER).change(field, b"Bearer " + written.encode()),
        Wire("GET", TICKER + b"?access_token=" + written.encode() + b"&api_key=" + written.encode()),
    ):
        reply, steps = await world.steps(request)
        assert (reply.status_code, reply.json()["detail"], steps) == (401, "No API key was sent.", [])


ODD = (
    b"../../etc/passwd", b"sw_test_sk_../../../../etc/passwd", b"sw_test_sk_' OR 1=1 --", b"' UNION SELECT 1 --",
    b"sw_test_sk_" + b"A" * 10_000, b"A" * 10_000, b"sw_test_sk_", b"sw_test_sk_" + b"%00" * 16 + b"A",
    b"sw_test_sk_" + "А".encode() * 24 + b"A", b"sw_test_sk_" + b"\xff" * 49, b"{}", b'"', b"\\", b"apk_1",
    b"sw_test_sk_apk_1", b"sw_test_inv_1.2.3", b"*", b",", b"=",
)  # fmt: skip


@pytest.mark.parametrize("name", ODD)
async def test_names_that_are_no_api_keys(world: KeyedWorld, name: bytes) -> None:
    """
    B8: as an API key a path, SQL, 10 kB, percent codes, look-alikes, an invitation, an id: the answer and the steps of
    a guess, on keyed rules and beside a signature; only a digest is ever looked for.

    Stopped by: authenticate
    """
    await world.make()
    guess, steps = await world.steps(bearing(await unknown(world)))
    reply, taken = await world.steps(bearing(name))
    assert (outward(reply), taken) == (outward(guess), steps)
    signed = Wire().change(b"authorization", b"Bearer " + name).sign(world.signer)
    if apikey.is_ours(name):
        await refused(world, signed, 401, "token-invalid")
    else:
        assert (await world.send(signed)).status_code == 200


@pytest.mark.parametrize("end", [b"\0", b"\n", b"\r", b"\x7f", b"\x1b"])
async def test_names_that_cannot_stand_in_an_api_key(world: KeyedWorld, end: bytes) -> None:
    """
    B8: a NUL, a line's end or another control byte behind or before a key that is good: no head is read that far.

    Stopped by: fronts
    """
    written, _ = await world.make()
    for odd in (written.encode() + end, end + written.encode(), written.encode() + end + b"x"):
        reply, steps = await world.steps(bearing(odd))
        assert (reply.status_code, reply.json()["code"], steps) == (400, "header-malformed", [])


async def test_another_clients_key_beside_a_signature(world: KeyedWorld) -> None:
    """
    A12: mallory signs with a key of its own and covers alice's API key, and the other way round: neither client's
    calls are made, and the log says whose API key it was.

    Stopped by: authenticate
    """
    alice, which = await world.make()
    mallory = fresh()
    world.add_key(mallory, "mallory")
    for request in (Wire(), order()):
        signed = request.change(b"authorization", b"Bearer " + alice.encode()).sign(mallory)
        await refused(world, signed, 401, "token-invalid")
        told = world.told()
        assert (told["sealwire.code"], told["sealwire.key"]) == ("token-invalid/other-client", mallory.keyid)
        assert told["sealwire.claimed"] == which
    theirs, _ = await world.make("mallory")
    await refused(world, beside(world, theirs, order()), 401, "token-invalid")


async def test_a_key_beside_a_signature_that_does_not_cover_it(world: KeyedWorld) -> None:
    """
    A12: an API key added to a signed call, exchanged in one, and taken out of one.

    Stopped by: verify
    """
    written, _ = await world.make()
    other, _ = await world.make(scopes=READ)
    added = order().sign(world.signer).change(b"authorization", b"Bearer " + written.encode())
    problem = await refused(world, added, 401, "components-insufficient")
    assert "authorization" in str(problem["detail"])
    exchanged = beside(world, other, order()).change(b"authorization", b"Bearer " + written.encode())
    await refused(world, exchanged, 401, "signature-mismatch")
    await refused(world, beside(world, other, order()).without(b"authorization"), 401, "components-insufficient")


async def test_a_narrow_key_narrows_a_signature(world: KeyedWorld) -> None:
    """
    A12: an API key of fewer scopes, another network or a spent limit, beside a signature of a key that may more.

    Stopped by: authorize
    """
    narrow, _ = await world.make(scopes=READ)
    problem = await refused(world, beside(world, narrow, order()), 403, "scope-insufficient")
    assert problem["detail"] == "Missing: trade."
    elsewhere, _ = await world.make(addresses=("198.51.100.0/24",))
    await refused(world, beside(world, elsewhere, order()), 403, "address-not-allowed")
    seldom, _ = await world.make(limits=("1/min",))
    assert (await world.send(beside(world, seldom, order()))).status_code == 200
    await refused(world, beside(world, seldom, order()), 429, "rate-limited")
    assert (await world.send(order().sign(world.signer))).status_code == 200


async def test_a_key_where_none_is_asked_for(world: KeyedWorld) -> None:
    """
    A12: an API key alone on an open rule is looked at by nobody, and on a signed rule it signs nothing.

    Stopped by: verify
    """
    written, _ = await world.make()
    reply, steps = await world.steps(bearing(written, b"/v1/time"))
    assert (reply.status_code, steps) == (200, ["ledger.record"])
    assert world.entered.pop()["sealwire"].caller is None
    await refused(world, bearing(written, b"/v1/balances"), 401, "signature-missing")
    assert "apikeys.apikey" not in world.asked
    posted = order().change(b"authorization", b"Bearer " + written.encode())
    await refused(world, posted, 401, "signature-missing")


async def test_a_signature_where_a_key_is_asked_for(world: KeyedWorld) -> None:
    """
    A12: a good signature without an API key on a keyed rule: nobody is taken for its client.

    Stopped by: authenticate
    """
    await refused(world, Wire("GET", TICKER).sign(world.signer), 401, "token-invalid")
    app_own = Wire("GET", TICKER).change(b"authorization", b"Bearer eyJhbGciOiJub25lIn0.e30.")
    await refused(world, app_own.sign(world.signer), 401, "token-invalid")


async def test_a_key_whose_client_was_narrowed(world: KeyedWorld) -> None:
    """
    B9: an API key that was made when its client could more: what the client may now is all that it may, at its next
    call, and so is where from.

    Stopped by: authorize
    """
    written, _ = await world.make()
    assert (await world.send(bearing(written))).status_code == 200
    await world.apikeys.bind_client(TRADE, Bounds("cli_alice", (), ()), BY_OPERATOR)
    await refused(world, bearing(written), 403, "scope-insufficient")
    await world.apikeys.bind_client(READ, Bounds("cli_alice", ("198.51.100.0/24",), ()), BY_OPERATOR)
    await refused(world, bearing(written), 403, "address-not-allowed")
    await refused(world, beside(world, written), 403, "address-not-allowed")
    world.address = "198.51.100.9"
    assert (await world.send(bearing(written))).status_code == 200


@pytest.mark.parametrize(
    "scheme", [b"Bearer ", b"bearer   ", b"Token ", b"", b"Bearer\t", b"Key key=", b"Bearer Bearer "]
)
async def test_the_app_never_has_a_key(world: KeyedWorld, scheme: bytes) -> None:
    """
    N2: rules that list `authorization` for an app that logs it: no key of ours is handed on, under any scheme, good or
    not, from open, keyed and signed calls; other tokens are.

    Stopped by: fronts
    """
    written, which = await world.make()
    await world.send(bearing(written, scheme=scheme))
    await world.send(bearing(written, b"/v1/time", scheme))
    await world.send(Wire().change(b"authorization", scheme + written.encode()).sign(world.signer))
    await world.apikeys.revoke_apikey(which, BY_OPERATOR)
    await world.send(bearing(written, b"/v1/time", scheme))
    own = b"Bearer of.the.app"
    assert (await world.send(Wire().change(b"authorization", own).sign(world.signer))).status_code == 200
    assert len(world.entered) >= 3
    seen = [dict(scope["headers"]).get(b"authorization") for scope in world.entered]
    assert seen == [None] * (len(seen) - 1) + [own]


async def test_a_body_that_comes_with_a_key_that_is_none(world: KeyedWorld) -> None:
    """
    L6: a body behind an API key that opens nothing is not read, and the connection is closed.

    Stopped by: authenticate
    """
    posted = Wire("POST", b"/v1/notes", BODY).change(b"authorization", b"Bearer " + await unknown(world))
    assert (await world.send(posted)).headers["connection"] == "close"
    assert world.reads == 0


async def test_a_key_that_ends_while_its_call_comes_in(world: KeyedWorld) -> None:
    """
    B9, G8: a call with a stolen key was under way, its body held back, when the key was revoked, or its client frozen.

    Stopped by: still
    """

    def call(written: str) -> Wire:
        return Wire("POST", b"/v1/notes", BODY).change(b"authorization", b"Bearer " + written.encode())

    written, which = await world.make()
    assert (await world.send(call(written))).status_code == 200
    held = world.directory.apikeys
    for state in ("revoked", "frozen"):
        held[which] = held[which]._replace(state="active")

        def ends(state: str = state) -> None:
            held[which] = held[which]._replace(state=state)

        world.while_reading = ends
        await refused(world, call(written), 401, "token-invalid")
        assert world.told()["sealwire.code"] == f"token-invalid/{state}"


@pytest.mark.parametrize("observe", [False, True])
async def test_who_what_when_where_why(tmp_path: Path, observe: bool) -> None:
    """
    N5: an accept and each refusal with an API key: the log has who, what, when, where and why; the ledger has the same
    of what was proven, with the policy, and counts the rest by address and minute.

    Stopped by: trace
    """
    world = KeyedWorld(tmp_path, tuple(rule._replace(observe=observe) for rule in KEYED_RULES))
    good, which = await world.make()
    poor, poor_one = await world.make(scopes=TRADE)
    dead, dead_one = await world.make(days=0)
    bound, bound_one = await world.make(addresses=("198.51.100.0/24",))
    world.ledger.decisions.clear()
    cases = [
        (good, "ok", which, which, ""),
        (poor, "scope-insufficient/missing", poor_one, poor_one, ""),
        (bound, "address-not-allowed/client", bound_one, bound_one, ""),
        (dead, "token-invalid/expired", "", "", dead_one),
        ((await unknown(world)).decode(), "token-invalid/unknown", "", "", ""),
        ("sw_test_sk_", "token-invalid/form", "", "", ""),
    ]
    for written, code, key, own, claimed in cases:
        reply = await world.send(bearing(written))
        told = world.told()
        entered = "entered" if code == "ok" else "observed" if observe else "refused"
        assert {name.partition(".")[2] or name: told[name] for name in told if name.startswith("sealwire.")} == {
            "client": "cli_alice" if key else "", "key": key, "apikey": own, "claimed": "" if observe else claimed,
            "code": code,
        }  # fmt: skip
        assert (told["event.action"], told["url.template"], told["http.request.method"]) == (
            entered, "/v1/ticker", "GET",
        )  # fmt: skip
        assert (told["client.ip"], told["user.id"]) == ("192.0.2.1", "alice" if key else "")
        assert told["@timestamp"].startswith("2026-09-21T14:13:20")
        assert told["http.request.id"] == reply.headers["x-request-id"]
        if key or observe:
            row = world.ledger.decisions[-1]
            assert (row.request_id, row.at, row.policy) == (told["http.request.id"], START, "policy-1")
            assert (row.outcome, row.code, row.key) == (entered, code, key)
            assert (row.client, row.user) == (("cli_alice", "alice") if key else ("", ""))
            assert (row.address, row.method, row.template) == ("192.0.2.1", "GET", "/v1/ticker")
    assert len(world.ledger.decisions) == (6 if observe else 3)
    await world.tally.flush()
    refusals = [] if observe else [("192.0.2.1", int(START // 60), "token-invalid", 3)]
    assert world.ledger.tallies == refusals


async def test_no_key_in_a_repr(world: KeyedWorld) -> None:
    """
    N2: whatever shows a call, a record or a port as text: no key, and nothing that it could be found by.

    Stopped by: trace
    """
    written, _ = await world.make()
    record = await world.record(written)
    world.while_reading = lambda: None
    await world.send(bearing(written))
    shown = repr((record, world.entered, world.apikeys, world.guard, world.directory, world.keyring, world.lines))
    assert json.dumps(written[11:54]) not in shown
    assert written[11:54] not in shown
    assert repr(world.digest(written)) not in shown
