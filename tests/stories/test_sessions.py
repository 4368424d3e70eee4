"""
A session belongs to one key, for a while, for so many messages, and nobody else moves any of that.

The attacker has captured its id, is another client, or sends again what it kept; or the session is simply over.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.ports import LATE_SECONDS
from sealwire.protocol.handshake import KeyPair, Keys
from sealwire.protocol.jwk import b64url
from sealwire.protocol.signature import signer_of
from sealwire.sessions import SessionTerms
from tests.stories.sealing import (
    SEALED_RULES,
    SESSIONS,
    Opened,
    SealedWorld,
    Stores,
    bare,
    by_mac,
    carrying,
    make_fast,
    open_session,
    proven,
    put_together,
    sealed,
    taken_apart,
    turned_away,
)
from tests.stories.world import START, Wire


@pytest.fixture(params=["memory", "sqlite"])
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SealedWorld]:
    """Its sessions carry three messages, in this process or in the file that workers share."""
    stores = Stores(make_fast(tmp_path) if request.param == "sqlite" else None)
    made = SealedWorld(tmp_path, SEALED_RULES, SessionTerms(900, 3), stores)
    yield made
    made.close()


async def test_the_last_message(world: SealedWorld) -> None:
    """
    F12: the last message that a session may carry is answered, the next one is not; one that fails to open counts too.

    Stopped by: unseal
    """
    session = await open_session(world)
    *parts, _ = taken_apart(sealed(session).body)
    bent = carrying(put_together([*parts, bytes(16)])).sign(world.signer)
    await turned_away(world, bent, 400, "decrypt-failed", session)
    assert (await world.send(bare(session.id).sign(world.signer))).status_code == 200
    assert (await world.send(by_mac(sealed(session, target=b"/v1/ticks"), session, int(START)))).status_code == 200
    await turned_away(world, sealed(session).sign(world.signer), 401, "session-expired")
    await turned_away(world, by_mac(bare(session.id, b"/v1/ticks"), session, int(START)), 401, "session-expired")


async def test_after_its_time(world: SealedWorld) -> None:
    """
    F12: a session at its last second, at its end, and long after.

    Stopped by: unseal
    """
    session = await open_session(world)
    for later, status, code in (
        (899, 200, ""),
        (900, 401, "session-expired"),
        (899 + LATE_SECONDS, 401, "session-expired"),
        (900 + LATE_SECONDS, 401, "session-unknown"),
    ):
        world.clock.at = START + later
        wire = sealed(session).sign(world.signer, int(world.clock.at))
        if status == 200:
            assert (await world.send(wire)).status_code == 200
        else:
            await turned_away(world, wire, status, code)


async def test_another_key_and_another_client(world: SealedWorld) -> None:
    """
    F12: a session used, and ended, by another key of the same client and by another client.

    Stopped by: unseal
    """
    session = await open_session(world)
    for name in ("alice", "bob"):
        other = signer_of(Ed25519PrivateKey.generate())
        world.add_key(other, name)
        await turned_away(world, sealed(session).sign(other), 401, "session-unknown")
        await turned_away(world, bare(session.id).sign(other), 401, "session-unknown")
        ending = Wire("DELETE", SESSIONS + b"/" + session.id.encode()).sign(other)
        await turned_away(world, ending, 401, "session-unknown")
        # Under the session's mac the key that opened it is the one that calls, whoever sends.
        theirs = await open_session(world, signer=other)
        crossed = by_mac(bare(session.id, b"/v1/ticks"), theirs, int(START))
        await turned_away(world, crossed, 400, "envelope-malformed")
    for _ in range(3):
        assert (await world.send(sealed(session).sign(world.signer))).status_code == 200


async def test_after_it_was_ended(world: SealedWorld) -> None:
    """
    F12: a session resumed after its client ended it, under the client's key and the session's own.

    Stopped by: unseal
    """
    session = await open_session(world)
    ended = Wire("DELETE", SESSIONS + b"/" + session.id.encode()).sign(world.signer)
    reply = await world.send(ended)
    assert (reply.status_code, reply.content) == (204, b"")
    proven(world, ended, reply)
    await turned_away(world, sealed(session).sign(world.signer), 401, "session-unknown")
    await turned_away(world, bare(session.id).sign(world.signer), 401, "session-unknown")
    await turned_away(world, by_mac(bare(session.id, b"/v1/ticks"), session, int(START)), 401, "key-unknown")
    again = Wire("DELETE", SESSIONS + b"/" + session.id.encode()).sign(world.signer)
    await turned_away(world, again, 401, "session-unknown")


async def test_after_its_key_was_revoked(world: SealedWorld) -> None:
    """
    F12: the signing key is revoked: its sessions are over at once, under their own mac too.

    Stopped by: verify
    """
    session = await open_session(world)
    assert (await world.send(by_mac(bare(session.id, b"/v1/ticks"), session, int(START)))).status_code == 200
    assert await world.people.revoke(world.signer.keyid)
    await turned_away(world, by_mac(bare(session.id, b"/v1/ticks"), session, int(START)), 401, "key-unknown")
    await turned_away(world, sealed(session).sign(world.signer), 401, "key-unknown")


async def test_after_a_restart(world: SealedWorld, tmp_path: Path) -> None:
    """
    F26: the server starts again: the session is unknown, as a key too, and a new one is opened at once.

    Stopped by: unseal
    """
    session = await open_session(world)
    again = SealedWorld(tmp_path)
    again.add_key(world.signer, "alice")
    again.signer = world.signer
    await turned_away(again, sealed(session).sign(again.signer), 401, "session-unknown")
    await turned_away(again, by_mac(bare(session.id, b"/v1/ticks"), session, int(START)), 401, "key-unknown")
    fresh = await open_session(again)
    assert (await again.send(sealed(fresh).sign(again.signer))).status_code == 200


async def test_a_mac_where_the_rule_wants_the_key(world: SealedWorld) -> None:
    """
    F12: a session's own key in place of the client's, on a sealed and a signed rule and on an endpoint, none of which
    allow it.

    Stopped by: verify
    """
    session = await open_session(world)
    end = Wire("DELETE", SESSIONS + b"/" + session.id.encode())
    for wire in (sealed(session), bare(session.id), Wire("GET", b"/v1/balances"), end):
        await turned_away(world, by_mac(wire, session, int(START)), 401, "algorithm-not-allowed")
    named = sealed(session, target=b"/v1/ticks").sign(world.signer, alg="hmac-sha256")
    await turned_away(world, named, 401, "algorithm-not-allowed")


async def test_two_sessions_in_one_call(world: SealedWorld) -> None:
    """
    F12: body, field and signature name two sessions of the same client, in each pairing; the field stands twice.

    Stopped by: unseal
    """
    one, other = await open_session(world), await open_session(world)
    field = (b"sealwire-session", other.id.encode())
    for wire in (
        sealed(one).change(*field).sign(world.signer),
        by_mac(sealed(one, target=b"/v1/ticks").change(*field), one, int(START)),
        by_mac(sealed(one, target=b"/v1/ticks"), other, int(START)),
        by_mac(bare(other.id, b"/v1/ticks"), one, int(START)),
    ):
        await turned_away(world, wire, 400, "envelope-malformed")
    twice = bare(one.id)
    twice.headers.append(field)
    await turned_away(world, twice.sign(world.signer), 400, "header-malformed")
    agreeing = sealed(one).change(b"sealwire-session", one.id.encode()).sign(world.signer)
    assert (await world.send(agreeing)).status_code == 200


async def test_a_field_that_nobody_signed(world: SealedWorld) -> None:
    """
    F3: the session's field put in, taken out or exchanged on the way.

    Stopped by: verify
    """
    session, other = await open_session(world), await open_session(world)
    added = sealed(session).sign(world.signer).change(b"sealwire-session", session.id.encode())
    await turned_away(world, added, 401, "components-insufficient")
    taken = bare(session.id).sign(world.signer).without(b"sealwire-session")
    await turned_away(world, taken, 401, "components-insufficient")
    exchanged = bare(session.id).sign(world.signer).change(b"sealwire-session", other.id.encode())
    await turned_away(world, exchanged, 401, "signature-mismatch")


async def test_messages_sent_again(world: SealedWorld) -> None:
    """
    C4: sealed calls sent again, under the client's key and under the session's own.

    Stopped by: nonce
    """
    session = await open_session(world)
    mac = by_mac(sealed(session, target=b"/v1/ticks"), session, int(START))
    for wire in (sealed(session).sign(world.signer), mac):
        assert (await world.send(wire)).status_code == 200
        for _ in range(3):
            await turned_away(world, wire, 401, "replay-detected")
    # What was turned away counted in no session: there is one message left.
    assert (await world.send(sealed(session).sign(world.signer))).status_code == 200


async def test_a_captured_id_in_junk(world: SealedWorld) -> None:
    """
    F25: a captured session named in a thousand calls that prove nothing: its count does not move.

    Stopped by: verify
    """
    session = await open_session(world)
    captured = sealed(session).sign(world.signer)
    assert (await world.send(captured)).status_code == 200
    bob = signer_of(Ed25519PrivateKey.generate())
    world.add_key(bob, "bob")

    def lied(wire: Wire) -> Wire:
        wire.body = wire.body[::-1]
        return wire

    junk: tuple[tuple[Callable[[Opened], Wire], str], ...] = (
        (sealed, "signature-missing"),
        (lambda s: bare(s.id).sign(world.signer, secret=lambda _: b"x" * 64), "signature-mismatch"),
        (lambda s: bare(s.id, b"/v1/ticks").sign(bob, keyid=s.id, secret=lambda _: b"x" * 32), "signature-mismatch"),
        (lambda s: sealed(s).sign(bob), "session-unknown"),
        (lambda s: bare(s.id).sign(bob), "session-unknown"),
        (lambda s: lied(sealed(s).sign(world.signer)), "digest-mismatch"),
        (lambda s: lied(by_mac(sealed(s, target=b"/v1/ticks"), s, int(START))), "digest-mismatch"),
        (lambda s: sealed(s).sign(world.signer, created=int(START) - 90), "clock-skew"),
        (lambda _: captured, "replay-detected"),
    )
    for _ in range(112):
        for make, code in junk:
            await turned_away(world, make(session), 401, code)
    for _ in range(2):
        assert (await world.send(sealed(session).sign(world.signer))).status_code == 200
    await turned_away(world, sealed(session).sign(world.signer), 401, "session-expired")


async def test_more_sessions_than_a_key_may_have(world: SealedWorld) -> None:
    """
    L5: a key opens sessions without end: its own oldest ends, another's stays.

    Stopped by: stores
    """
    bob = signer_of(Ed25519PrivateKey.generate())
    world.add_key(bob, "bob")
    others = await open_session(world, signer=bob)
    sessions = []
    for second in range(17):
        world.clock.at = START + second
        sessions.append(await open_session(world))
    now = int(world.clock.at)
    await turned_away(world, bare(sessions[0].id).sign(world.signer, now), 401, "session-unknown")
    assert (await world.send(bare(sessions[1].id).sign(world.signer, now))).status_code == 200
    assert (await world.send(bare(others.id).sign(bob, now))).status_code == 200


def test_a_session_says_nothing_of_itself() -> None:
    """
    P4: the reprs of a session's keys, of a client's pair and of what the store keeps.

    Stopped by: handshake
    """
    secret = hashlib.sha256(b"secret").digest()
    keys = Keys(secret, b"context")
    said = repr(keys) + repr(KeyPair("X25519")) + str(keys)
    for held in (secret, keys.c2s_mac, keys.s2c_mac):
        for form in (held.hex(), b64url(held), repr(held)[2:-1]):
            assert form not in said
