"""
What a limit counts, and whom a flood costs something

The attacker varies whatever they may write into a call, replays what they saw, and floods with what is refused; an
honest caller behind the same rules is to be served all the while.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from sealwire.call import Outcome, Rule
from sealwire.fronts.asgi import Message
from sealwire.observers.alarms import FailedTries
from sealwire.observers.metrics import Metrics
from sealwire.ports.apikeys import Use
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import parse_limit, parse_own
from tests.stories.limiting import call_from, carrying_key, deliver, give, told
from tests.stories.sealing import SealedWorld
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import START, Wire, World

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.9"
FORGED = b"x" * 64
GET, POST = frozenset(("GET",)), frozenset(("POST",))


def limited(folder: Path, *limits: str, profile: str = "signed", **more: Any) -> SealedWorld:
    """A world whose one rule has these limits, with alice's key."""
    parsed = tuple(parse_limit(limit) for limit in limits)
    rules = (
        Rule("/v1/orders/{id}", GET | POST, profile, limits=parsed, **more),
        Rule("/v1/other", GET, "signed"),
        Rule("/v1/ticker", GET, "keyed"),
    )
    return SealedWorld(folder, rules)


def order(world: World, target: bytes = b"/v1/orders/1", body: bytes = BODY, **given: Any) -> Wire:
    """A signed order."""
    given.setdefault("created", int(world.clock.now()))
    return Wire("POST", target, body).sign(world.signer, **given)


VARIED: dict[str, Callable[[World], Wire]] = {
    "another body": lambda world: order(world, body=b'{"another": 1}'),
    "another path under the rule": lambda world: order(world, b"/v1/orders/2"),
    "a path spelled otherwise": lambda world: order(world, b"/v1/orders/%C3%A9"),
    "a query": lambda world: order(world, b"/v1/orders/1?client=other"),
    "another label": lambda world: order(world, label="mine"),
    "another nonce": lambda world: order(world, nonce="N" * 40),
    "another field": lambda world: (
        Wire("POST", b"/v1/orders/1", BODY)
        .change(b"x-forwarded-for", b"203.0.113.77")
        .change(b"forwarded", b"for=203.0.113.77")
        .change(b"x-real-ip", b"203.0.113.77")
        .change(b"user-agent", b"other")
        .sign(world.signer)
    ),
    "another bearer": lambda world: (
        Wire("POST", b"/v1/orders/1", BODY).change(b"authorization", b"Bearer other").sign(world.signer)
    ),
    "the algorithm said": lambda world: order(world, alg="ed25519"),
    "another method": lambda world: Wire("GET", b"/v1/orders/1").sign(world.signer),
}


@pytest.mark.parametrize("kind", ["address", "key", "client", "user", "rule"])
async def test_the_same_bucket_whatever_is_said(tmp_path: Path, kind: str) -> None:
    """
    L8: body, path, query, label, nonce, fields and another's bearer are varied: each call counts where the first did.

    Stopped by: throttle
    """
    world = limited(tmp_path, f"{len(VARIED)}/min per {kind}")
    left = []
    for vary in VARIED.values():
        reply = await world.send(vary(world))
        assert reply.status_code == 200, reply.text
        left.append(told(reply)[f"{kind}-60"])
    assert left == list(reversed(range(len(VARIED))))
    await refused(world, order(world), 429, "rate-limited")


@pytest.mark.parametrize("keyid", ["", "x" * 43, "ses_" + "a" * 26, "inv_1"])
async def test_no_bucket_by_a_keyid_that_is_not_proven(tmp_path: Path, keyid: str) -> None:
    """
    L8: a flood of forged signatures, under the victim's keyid and under others, from elsewhere: nothing of hers is
    spent.

    Stopped by: refused
    """
    world = limited(tmp_path, "3/min per address", "2/min per key", "2/min per client", "2/min per user")
    for _ in range(20):
        reply = await call_from(world, ELSEWHERE, order(world, keyid=keyid, secret=lambda _: FORGED))
        assert reply.status_code in (400, 401, 429)
    reply = await call_from(world, HOME, order(world))
    assert reply.status_code == 200
    assert told(reply) == {"address-60": 2, "key-60": 1, "client-60": 1, "user-60": 1}


async def test_a_thousand_addresses_of_one_subscriber(tmp_path: Path) -> None:
    """
    L1: a thousand addresses of one /64 are one caller; the next 256 /64s of its /56 may together four times as much.

    Stopped by: throttle
    """
    world = limited(tmp_path, "10/min per address", profile="open", content_types=frozenset(("application/json",)))
    near = [
        (await call_from(world, f"2001:db8:0:4200::{i:x}", Wire("GET", b"/v1/orders/1"))).status_code
        for i in range(1000)
    ]
    assert near.count(200) == 10
    around = [
        (await call_from(world, f"2001:db8:0:42{i:02x}::1", Wire("GET", b"/v1/orders/1"))).status_code
        for i in range(256)
    ]
    assert around.count(200) == 4 * 10 - 10
    beyond = await call_from(world, "2001:db8:0:4300::1", Wire("GET", b"/v1/orders/1"))
    assert (beyond.status_code, told(beyond)) == (200, {"address-60": 9, "site-60": 39})


async def test_an_ipv4_address_has_one_name(tmp_path: Path) -> None:
    """
    L1: an IPv4 address that is written as IPv6, mapped or translated, is the address it is.

    Stopped by: throttle
    """
    world = limited(tmp_path, "3/min per address", profile="open")
    spellings = ("203.0.113.9", "::ffff:203.0.113.9", "64:ff9b::203.0.113.9")
    left = [told(await call_from(world, one, Wire("GET", b"/v1/orders/1")))["address-60"] for one in spellings]
    assert left == [2, 1, 0]


async def test_what_one_limit_refuses_costs_nothing_of_the_others(tmp_path: Path) -> None:
    """
    L8: the key's limit is spent, and a flood goes on with it from one address: address, client and user lose nothing.

    Stopped by: throttle
    """
    world = limited(tmp_path, "20/min per address", "2/min per key", "30/min per client", "40/min per user")
    for _ in range(2):
        assert (await world.send(order(world))).status_code == 200
    for _ in range(50):
        assert (await world.send(order(world))).status_code == 429
    world.clock.at += 30
    reply = await world.send(order(world))
    # All but the key's have been refilled, since the refused ones took nothing.
    assert told(reply) == {"address-60": 19, "key-60": 0, "client-60": 29, "user-60": 39}


async def test_a_spent_address_costs_nothing_of_the_key(tmp_path: Path) -> None:
    """
    L8: an address beyond its limit is refused before its key is looked at, and the key loses nothing to it.

    Stopped by: throttle
    """
    world = limited(tmp_path, "2/min per address", "9/min per key")
    for _ in range(12):
        await world.send(order(world))
    reply = await call_from(world, ELSEWHERE, order(world))
    assert told(reply) == {"address-60": 1, "key-60": 6}


@pytest.mark.parametrize(
    "call",
    [
        lambda _: Wire("GET", b"/v1/orders/1"),
        lambda world: order(world, secret=lambda _: FORGED),
        lambda world: order(world, created=int(START) - 900),
        lambda world: order(world).change(b"content-digest", b"sha-256=:AAAA:"),
        lambda world: order(world, b"/v1/orders/1", b"x" * 2000),
    ],
    ids=["unsigned", "forged", "late", "digest", "too large"],
)
async def test_a_failed_call_costs_its_address(tmp_path: Path, call: Any) -> None:
    """
    L8: whatever a call fails at before its caller is known, its address pays for it as for one that goes through.

    Stopped by: refused
    """
    world = limited(tmp_path, "3/min per address", max_body_bytes=1000)
    for _ in range(3):
        assert (await world.send(call(world))).status_code in (401, 413)
    await refused(world, call(world), 429, "rate-limited")
    await refused(world, order(world), 429, "rate-limited")
    assert (await call_from(world, ELSEWHERE, order(world))).status_code == 200


async def test_a_call_whose_client_leaves_costs_its_address(tmp_path: Path) -> None:
    """
    L5, L8: one captured head is sent again and again, each time without its body: no nonce is claimed, and yet it
    counts.

    Stopped by: guard
    """
    world = limited(tmp_path, "3/min per address")
    head = order(world)
    heard = [await without_body(world, head) for _ in range(5)]
    assert heard == [0, 0, 0, 429, 429], "there is nobody to answer, until the head alone is too much"
    assert (await call_from(world, ELSEWHERE, head)).status_code == 200, "the head was honest, and its nonce was free"


async def without_body(world: SealedWorld, wire: Wire) -> int:
    """Sends a head whose body never comes; 0 where nothing was answered."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    sent = await deliver(world, wire, receive)
    status: int = sent[0]["status"] if sent else 0
    return status


async def test_strangers_spend_no_limit_of_the_whole_rule(tmp_path: Path) -> None:
    """
    L8: calls that prove nothing, from ten addresses, far more than the rule takes in all: its callers are served.

    Stopped by: refused
    """
    world = limited(tmp_path, "5/min per rule", "100/min per address")
    for i in range(50):
        wire = order(world, secret=lambda _: FORGED) if i % 2 else Wire("GET", b"/v1/orders/1")
        assert (await call_from(world, f"198.51.100.{i % 10}", wire)).status_code == 401
    heard = [(await call_from(world, HOME, order(world))).status_code for _ in range(6)]
    assert heard == [200] * 5 + [429]


async def test_a_replay_spends_nothing_of_the_victims(tmp_path: Path) -> None:
    """
    L8, C4: a captured call is sent again and again, from elsewhere: it costs the address it comes from, and no other.

    Stopped by: nonce
    """
    world = limited(tmp_path, "9/min per address", "5/min per key", "5/min per client", "5/min per user")
    captured = order(world)
    assert told(await world.send(captured))["key-60"] == 4
    heard = [(await call_from(world, ELSEWHERE, captured)).status_code for _ in range(20)]
    assert heard == [401] * 9 + [429] * 11
    reply = await call_from(world, HOME, order(world))
    assert told(reply) == {"address-60": 7, "key-60": 3, "client-60": 3, "user-60": 3}


async def test_a_call_that_is_refused_after_proof_is_charged(tmp_path: Path) -> None:
    """
    L8: who is proven and may not, pays all the same; and is told what is left.

    Stopped by: throttle
    """
    world = limited(tmp_path, "9/min per address", "2/min per key", scopes=frozenset(("withdraw",)))
    for left in (1, 0):
        reply = await world.send(order(world))
        assert (reply.status_code, told(reply)["key-60"]) == (403, left)
    await refused(world, order(world), 429, "rate-limited")


async def test_an_address_that_nobody_says(tmp_path: Path) -> None:
    """
    E4, L8: where no proxy says who calls there is no bucket for all of them: it is our fault, and an alarm, and rules
    without such a limit go on.

    Stopped by: throttle
    """
    world = limited(tmp_path, "1/min per address", "9/min per rule")
    for _ in range(3):
        reply = await call_from(world, "", order(world))
        assert (reply.status_code, reply.json()["code"]) == (500, "internal")
    assert (await call_from(world, "", Wire("GET", b"/v1/other").sign(world.signer))).status_code == 200
    assert (await call_from(world, HOME, order(world))).status_code == 200


# --- failed credentials -----------------------------------------------------------------------------------------------


class Heard(list[Outcome]):
    """An observer that keeps all it heard."""

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        self.append(outcome)


def watched(world: SealedWorld) -> tuple[Heard, CollectorRegistry]:
    """What is observed in a world from now on."""
    registry = CollectorRegistry()
    metrics, kept = Metrics(registry), Heard()
    more = (metrics, FailedTries(metrics.tries_limited), kept)
    world.observers._observers = (*world.observers._observers, *more)
    return kept, registry


def tries(registry: CollectorRegistry, by: str) -> float:
    """How many were past the limit."""
    return registry.get_sample_value("sealwire_failed_tries_limited_total", {"by": by}) or 0


async def test_many_keys_tried_from_one_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    L7: API keys are guessed from one /64, each a new one: past the limit every guess hears the same, a line in the log
    says where from, and an honest caller of the very place is served.

    Stopped by: refused
    """
    world = limited(tmp_path)
    kept, registry = watched(world)
    await give(world, good := apikey.write("live", b"g" * 32))
    heard = []
    for i in range(310):
        guess = apikey.write("live", i.to_bytes(32, "big"))
        reply = await call_from(world, f"2001:db8::{i:x}", carrying_key(b"/v1/ticker", guess))
        heard.append((reply.status_code, reply.json()["code"]))
    assert heard == [(401, "token-invalid")] * 300 + [(429, "rate-limited")] * 10
    assert int(reply.headers["retry-after"]) == 1
    assert (await call_from(world, "2001:db8::1", carrying_key(b"/v1/ticker", good))).status_code == 200
    assert (await call_from(world, "2001:db8::1", Wire("GET", b"/v1/other").sign(world.signer))).status_code == 200
    assert tries(registry, "address") == 10
    lines = [record.getMessage() for record in caplog.records if record.name == "sealwire.alarms"]
    assert lines == ["more failed tries than may be from 2001:db8::/64: keys are guessed"]
    assert not any(guess in record.getMessage() for record in caplog.records)
    assert {one.client for one in kept[:310]} == {""}


async def test_one_key_tried_from_many_places(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    L7: one key's signature is forged from hundreds of places: past its limit each hears rate-limited, the log names the
    key, and its owner's calls go on, from anywhere.

    Stopped by: refused
    """
    world = limited(tmp_path)
    kept, registry = watched(world)
    heard = []
    for i in range(310):
        wire = Wire("GET", b"/v1/other").sign(world.signer, secret=lambda _: FORGED)
        heard.append((await call_from(world, f"198.51.{i // 200}.{i % 200}", wire)).status_code)
    assert heard == [401] * 300 + [429] * 10
    for address in (HOME, "198.51.0.1"):
        honest = Wire("GET", b"/v1/other").sign(world.signer)
        assert (await call_from(world, address, honest)).status_code == 200
    assert tries(registry, "key") == 10
    assert {one.claimed for one in kept[:310]} == {world.signer.keyid}
    lines = [record.getMessage() for record in caplog.records if record.name == "sealwire.alarms"]
    assert len(lines) == 1
    assert f"key {world.signer.keyid}, from many places" in lines[0]


async def test_every_key_that_opens_nothing_is_refused_alike(tmp_path: Path) -> None:
    """
    B8, B9: unknown, revoked, expired, retired, frozen, malformed and oversized API keys: the same reply, byte for byte
    but for its id, and the same steps in the store.

    Stopped by: authenticate
    """
    world = limited(tmp_path)
    keys = {name: apikey.write("live", name.encode().ljust(32)) for name in ("revoked", "expired", "retired", "frozen")}
    for name, key in keys.items():
        owner = f"cli_{name}"
        end = START if name == "expired" else START + 900
        await give(world, key, apikey_id=f"apk_{name}", client=owner, expires_at=end, new=True)
    decision = world.ledger.decisions[-1]
    await world.apikeys.revoke_apikey("apk_revoked", decision)
    await world.apikeys.rotate_apikey("apk_retired", b"n" * 32, 0, START + 900, decision)
    await world.approvals.freeze("cli_frozen", "erin", decision)
    asked = []
    find = world.apikeys.apikey

    async def counted(digest: bytes) -> Any:
        asked.append(digest)
        return await find(digest)

    world.apikeys.apikey = counted  # type: ignore[method-assign]
    presented = [
        *keys.values(),
        apikey.write("live", b"?" * 32),
        apikey.write("live", b"?" * 32)[:-1] + "_",
        "sw_live_sk_",
        "sw_live_sk_' OR 1=1 --",
        "sw_live_sk_" + "../" * 20,
        "sw_live_sk_" + "9" * 6000,
        "x",
        "ghp_other",
    ]
    replies = []
    for credential in presented:
        reply = await world.send(carrying_key(b"/v1/ticker", credential))
        said = reply.json()
        assert (reply.status_code, said["code"]) == (401, "token-invalid")
        request_id = said.pop("request_id")
        names = sorted((name, value) for name, value in reply.headers.items() if value != request_id)
        replies.append((said, names, len(reply.content)))
    assert all(one == replies[0] for one in replies)
    assert len(asked) == len(presented), "each is looked for, whatever it looks like"


async def test_uses_are_not_for_strangers_to_fill(tmp_path: Path) -> None:
    """
    L8: forged calls under a key's name leave nothing in what its owner reads about it; her own refusals do, by reason.

    Stopped by: nothing
    """
    world = limited(tmp_path, "2/min per key")
    for _ in range(5):
        await call_from(world, ELSEWHERE, Wire("GET", b"/v1/other").sign(world.signer, secret=lambda _: FORGED))
    for _ in range(4):
        await call_from(world, HOME, order(world))
    await world.guard.close()
    day = int(START // 86_400)
    uses = await world.apikeys.uses()
    assert {(use.credential, use.reason): use.calls for use in uses} == {
        (world.signer.keyid, "ok"): 2,
        (world.signer.keyid, "near key-60 /v1/orders/{id}"): 1,
        (world.signer.keyid, "rate-limited"): 2,
    }
    assert uses[-1]._replace(reason="ok", calls=1) == Use("cli_alice", world.signer.keyid, "ok", day, 1, START, HOME)


async def test_another_clients_api_key_beside_a_signature(tmp_path: Path) -> None:
    """
    B8, J7: bob's API key, which mallory has read somewhere, beside her own signature: it lends her nothing.

    Stopped by: authenticate
    """
    world = limited(tmp_path, scopes=frozenset(("trade",)))
    mine, bobs = (apikey.write("live", fill * 32) for fill in (b"m", b"b"))
    trade = frozenset(("trade",))
    await give(world, mine, apikey_id="apk_m", scopes=trade, limits=(parse_own("2/min", "key-own"),))
    await give(world, bobs, apikey_id="apk_b", client="cli_bob", scopes=trade, new=True)

    def beside(credential: str) -> Wire:
        wire = Wire("POST", b"/v1/orders/1", BODY).change(b"authorization", b"Bearer " + credential.encode())
        return wire.sign(world.signer, int(world.clock.now()))

    problem = await refused(world, beside(bobs), 401, "token-invalid")
    assert problem["detail"] == (await refused(world, beside(bobs[:-1] + "_"), 401, "token-invalid"))["detail"]
    assert world.entered == []
    reply = await world.send(beside(mine))
    assert (reply.status_code, told(reply)) == (200, {"key-own-60": 1})
    caller = world.entered[0]["sealwire"].caller
    assert (caller.client, caller.key, caller.apikey) == ("cli_alice", world.signer.keyid, "apk_m")
    uncovered = Wire("POST", b"/v1/orders/1", BODY).sign(world.signer)
    uncovered.change(b"authorization", b"Bearer " + mine.encode())
    await refused(world, uncovered, 401, "components-insufficient")
