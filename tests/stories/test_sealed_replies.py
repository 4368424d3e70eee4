"""
What comes back from a sealed call, and what the app gets to see of one.

The attacker reads all that goes over the wire, compares lengths, keeps a reply for later, or makes the guard say more
than it should.
"""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.middleware.gzip import GZipMiddleware

from sealwire.call import Call, Rule, Valid
from sealwire.errors import Fault, Refusal
from sealwire.fronts.asgi import GuardedApp
from sealwire.protocol import envelope
from sealwire.protocol.jwk import b64url
from sealwire.protocol.message import Reply
from sealwire.protocol.signature import signer_of
from sealwire.stores.memory import MemoryNonces
from tests.stories.sealing import (
    JSON_TYPE,
    PLAINTEXT,
    SEALED_RULES,
    SealedWorld,
    bare,
    by_mac,
    carrying,
    open_session,
    proven,
    put_together,
    sealed,
    taken_apart,
    turned_away,
)
from tests.stories.world import START, Wire


@pytest.fixture
def world(tmp_path: Path) -> SealedWorld:
    return SealedWorld(tmp_path)


async def test_a_reply_is_sealed_and_signed(world: SealedWorld) -> None:
    """
    H2: the reply's signature is over the sealed bytes and the request: by the server's key, or by the mac where the
    request was under one.

    Stopped by: sign
    """
    session = await open_session(world)
    for wire, key in (
        (sealed(session).sign(world.signer), None),
        (bare(session.id).sign(world.signer), None),
        (by_mac(sealed(session, target=b"/v1/ticks"), session, int(START)), session),
        (by_mac(bare(session.id, b"/v1/ticks"), session, int(START)), session),
    ):
        reply = await world.send(wire)
        assert session.read(reply) == (b'{"ok": true}', "application/json")
        assert b'"ok"' not in reply.content
        proven(world, wire, reply, key)
        other = bare(session.id).sign(world.signer)
        with pytest.raises(Refusal, match=r"signature-mismatch|components-insufficient"):
            proven(world, other, reply, key)


async def test_a_refusal_of_what_was_opened(world: SealedWorld) -> None:
    """
    I1: what is refused after it was opened is told to its caller alone: sealed, and signed as the call was.

    Stopped by: seal
    """
    session = await open_session(world)
    wire = sealed(session, b'{"a": 1, "a": 2}').sign(world.signer)
    problem = await turned_away(world, wire, 422, "request-invalid", session)
    assert "twice" in json.dumps(problem)
    proven(world, *world.seen[-1])
    under_mac = by_mac(sealed(session, b"{", target=b"/v1/ticks"), session, int(START))
    await turned_away(world, under_mac, 422, "request-invalid", session)
    proven(world, *world.seen[-1], session)
    assert all(b"request-invalid" not in reply.content for _, reply in world.seen)


async def test_a_sealed_401_names_no_error(world: SealedWorld) -> None:
    """
    I1: a 401 after opening: its WWW-Authenticate is in clear, so it has no error in it.

    Stopped by: guard
    """

    async def asks_for_more(_: Call) -> Valid:
        raise Refusal("key-unknown", "unknown", failed="policy")

    session = await open_session(world)
    page = dict(world.guard._pipeline.stages)
    page["sealed"] = tuple((name, asks_for_more if name == "validate" else one) for name, one in page["sealed"])
    world.guard._pipeline = world.guard._pipeline._replace(stages=page)
    await turned_away(world, sealed(session).sign(world.signer), 401, "key-unknown", session)
    wire, reply = world.seen[-1]
    proven(world, wire, reply)
    assert reply.headers["www-authenticate"] == 'Signature realm="https://api.example"'
    assert b"key-unknown" not in b"".join(name + value for name, value in reply.headers.raw)


async def test_refusals_around_the_session(world: SealedWorld) -> None:
    """
    I1: a scope is refused in clear, under the server's key; query and decryption as the session says, under the key
    that the call was signed with.

    Stopped by: sign
    """
    stranger = signer_of(Ed25519PrivateKey.generate())
    world.add_key(stranger, "stranger")
    record = world.directory._keys[stranger.keyid]
    world.directory._keys[stranger.keyid] = record._replace(scopes=frozenset())
    theirs, session = await open_session(world, signer=stranger), await open_session(world)
    await turned_away(world, sealed(theirs).sign(stranger), 403, "scope-insufficient")
    proven(world, *world.seen[-1])
    *parts, _ = taken_apart(session.seal(PLAINTEXT))
    bent = carrying(put_together([*parts, bytes(16)]), b"/v1/ticks")
    signed = sealed(session, target=b"/v1/orders?account=42").sign(world.signer)
    await turned_away(world, signed, 400, "query-in-clear", session)
    proven(world, *world.seen[-1])
    for target in (b"/v1/quotes?account=42&page=2", b"/v1/quotes?pag%65=2&%70in=1"):
        await turned_away(
            world, by_mac(sealed(session, target=target), session, int(START)), 400, "query-in-clear", session
        )
        proven(world, *world.seen[-1], session)
    await turned_away(world, by_mac(bent, session, int(START)), 400, "decrypt-failed", session)
    proven(world, *world.seen[-1], session)
    listed = by_mac(sealed(session, target=b"/v1/quotes?page=2&pag%65=3"), session, int(START))
    assert (await world.send(listed)).status_code == 200


async def test_a_replay_that_only_the_ledger_remembers(world: SealedWorld) -> None:
    """
    C24: the fast store forgot a sealed call: the ledger has it, and says so in clear and unsigned, since nothing is
    proven.

    Stopped by: guard
    """
    session = await open_session(world)
    wire = sealed(session).sign(world.signer)
    assert (await world.send(wire)).status_code == 200
    empty = MemoryNonces(world.clock, world.draw)
    world.nonces._seen, world.nonces._slices, world.nonces._live = empty._seen, empty._slices, empty._live
    await turned_away(world, wire, 401, "replay-detected")
    _, reply = world.seen[-1]
    assert "signature" not in reply.headers
    assert reply.headers["www-authenticate"].endswith('error="replay-detected"')


async def test_a_refusal_that_cannot_be_recorded(world: SealedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    N4: the ledger fails while a sealed call is refused: what it said stays unsaid, not sent in clear instead.

    Stopped by: guard
    """
    session = await open_session(world)

    async def fails(*_: object) -> str:
        raise Fault("audit-unavailable", "write")

    monkeypatch.setattr(world.ledger, "record", fails)
    await turned_away(world, sealed(session, b'{"a": 1, "a": 2}').sign(world.signer), 503, "audit-unavailable")
    assert b"twice" not in world.seen[-1][1].content


async def test_a_repeat_is_sealed_anew(world: SealedWorld) -> None:
    """
    C17: the same idempotency key again, in the same session and in another: one effect, the same words, other bytes.

    Stopped by: idempotency
    """
    session = await open_session(world)
    later = await open_session(world)
    world.answer = Reply(201, (JSON_TYPE,), b'{"id": 1}')
    replies = []
    for opened in (session, session, later):
        wire = sealed(opened).change(b"idempotency-key", b"k1").sign(world.signer)
        replies.append(await world.send(wire))
        proven(world, wire, replies[-1])
        assert (replies[-1].status_code, opened.read(replies[-1])) == (201, (b'{"id": 1}', "application/json"))
        world.answer = Reply(201, (JSON_TYPE,), b'{"id": 2}')
    assert len(world.entered) == 1
    assert len({reply.content for reply in replies}) == 3
    assert len({taken_apart(reply.content)[2] for reply in replies}) == 3
    other = sealed(session, b'{"amount": "9"}').change(b"idempotency-key", b"k1").sign(world.signer)
    await turned_away(world, other, 422, "idempotency-conflict", session)


@pytest.mark.parametrize("session_only", [False, True])
async def test_what_the_app_sees(world: SealedWorld, session_only: bool) -> None:
    """
    D18: the app sees the plaintext as if it had come in clear: its type, its length, no digest and no session.

    Stopped by: fronts
    """
    session = await open_session(world)
    wire = bare(session.id) if session_only else sealed(session).change(b"sealwire-session", session.id.encode())
    wire = wire.change(b"accept-encoding", b"gzip").change(b"sealwire-reply-key", b"x")
    assert (await world.send(wire.sign(world.signer))).status_code == 401  # the reply key is to be covered
    assert (await world.send(wire.without(b"sealwire-reply-key").without(b"signature").without(b"signature-input")
                             .sign(world.signer))).status_code == 200  # fmt: skip
    (scope,) = world.entered
    seen = dict(scope["headers"])
    about_the_body = {b"content-type": b"application/json", b"content-length": b"%d" % len(PLAINTEXT)}
    assert seen == {b"host": b"api.example"} | ({} if session_only else about_the_body)
    assert len(scope["headers"]) == len(seen)
    assert world.bodies == [b"" if session_only else PLAINTEXT]
    assert scope["sealwire"].caller.client == "cli_alice"


@pytest.mark.parametrize("cty", ["application/json;\r\ncharset=utf-8", "\napplication/json", "application/json\x1f"])
async def test_a_sealed_type_that_is_no_field_value(world: SealedWorld, cty: str) -> None:
    """
    D4: a media type with a line break, sealed out of sight of whatever judges fields: it reaches no app as one.

    Stopped by: unseal
    """
    session = await open_session(world)
    header = json.dumps({"alg": "dir", "enc": "A256GCM", "kid": session.id, "cty": cty}).encode()
    body = envelope.seal(session.keys.c2s, b64url(header).encode(), world.draw(12), PLAINTEXT)
    await turned_away(world, carrying(body).sign(world.signer), 400, "envelope-malformed")


@pytest.mark.parametrize("kind", ['text/plain; charset="utf-8"', "text/plain;charset=utf-8", 'a/b; c="\\\\"', ""])
async def test_the_apps_own_media_type(world: SealedWorld, kind: str) -> None:
    """
    F0: whatever media type the app answers with is sealed with its words.

    Stopped by: nothing
    """
    session = await open_session(world)
    world.answer = Reply(200, ((b"content-type", kind.encode()),) if kind else (), b"words")
    reply = await world.send(sealed(session).sign(world.signer))
    assert reply.status_code == 200
    assert session.read(reply) == (b"words", kind or "application/octet-stream")


async def test_an_answer_that_cannot_be_sealed(world: SealedWorld) -> None:
    """
    H4: the app answers with a media type that no header can hold: a 500 without its words, and nothing in clear.

    Stopped by: seal
    """
    session = await open_session(world)
    world.answer = Reply(200, ((b"content-type", b"text/\xff"),), b"words")
    reply = await world.send(sealed(session).sign(world.signer))
    content, _ = session.read(reply)
    assert (reply.status_code, json.loads(content)["code"]) == (500, "internal")
    assert b"words" not in content + reply.content


async def test_guesses_are_not_told_by_length(world: SealedWorld) -> None:
    """
    F15: a secret beside the attacker's words, `Accept-Encoding` asking for gzip and br: the right guess is as long as
    any other.

    Stopped by: fronts
    """
    session = await open_session(world)
    world.app = GuardedApp(GZipMiddleware(world._app, minimum_size=1), world.guard)
    sizes = set()
    for guess in (b"balance=1042", b"balance=7391", b"qwertyuiopas"):
        world.answer = Reply(200, (JSON_TYPE,), b'{"secret": "balance=1042", "echo": "' + guess * 40 + b'"}')
        wire = sealed(session).change(b"accept-encoding", b"gzip, br, deflate").sign(world.signer)
        reply = await world.send(wire)
        assert "content-encoding" not in reply.headers
        assert session.read(reply)[0] == world.answer.body
        sizes.add(len(reply.content))
    assert len(sizes) == 1


async def test_an_app_that_compresses_all_the_same(tmp_path: Path) -> None:
    """
    F15: the rule lets the app see Accept-Encoding, and it compresses: nothing of that is sealed, whatever its length.

    Stopped by: seal
    """
    orders = SEALED_RULES[2]._replace(headers=frozenset((b"accept-encoding",)))
    world = SealedWorld(tmp_path, (orders,))
    session = await open_session(world)
    world.app = GuardedApp(GZipMiddleware(world._app, minimum_size=1), world.guard)
    sizes = set()
    for guess in (b"balance=1042", b"qwertyuiopas"):
        world.answer = Reply(200, (JSON_TYPE,), b'{"secret": "balance=1042", "echo": "' + guess * 40 + b'"}')
        reply = await world.send(sealed(session).change(b"accept-encoding", b"gzip").sign(world.signer))
        assert reply.status_code == 500
        assert "content-encoding" not in reply.headers
        assert json.loads(session.read(reply)[0])["code"] == "internal"
        sizes.add(len(reply.content))
    assert len(sizes) == 1


async def test_observing_a_sealed_rule(tmp_path: Path) -> None:
    """
    E0: observe mode on a sealed rule: who is not sealed yet goes through as nobody, and who is is answered sealed.

    Stopped by: seal
    """
    watched = Rule("/v1/orders", frozenset(("GET", "POST")), "sealed", observe=True)
    world = SealedWorld(tmp_path, (watched,))
    session = await open_session(world)
    unsigned = await world.send(Wire("POST", b"/v1/orders", PLAINTEXT))
    assert (unsigned.status_code, unsigned.content) == (200, b'{"ok": true}')
    assert "signature" not in unsigned.headers
    plain = Wire("POST", b"/v1/orders", PLAINTEXT).sign(world.signer)
    reply = await world.send(plain)
    assert reply.content == b'{"ok": true}'
    proven(world, plain, reply)
    *parts, _ = taken_apart(session.seal(PLAINTEXT))
    bent = put_together([*parts, bytes(16)])
    assert (await world.send(carrying(bent).sign(world.signer))).status_code == 200
    for plaintext in (b"{", PLAINTEXT):
        reply = await world.send(sealed(session, plaintext).sign(world.signer))
        assert session.read(reply) == (b'{"ok": true}', "application/json")
    assert world.bodies == [PLAINTEXT, PLAINTEXT, bent, b"{", PLAINTEXT]
    assert [scope["sealwire"].caller is None for scope in world.entered] == [True, True, True, True, False]
    codes = [decision.code for decision in world.ledger.decisions if decision.template == "/v1/orders"]
    assert [code.partition("/")[0] for code in codes] == [
        "signature-missing", "encryption-required", "decrypt-failed", "request-invalid", "ok",
    ]  # fmt: skip


async def test_an_app_that_fails(world: SealedWorld) -> None:
    """
    I2: the app fails with the caller's words in its exception: a 500 that is sealed, signed, and has none of them.

    Stopped by: guard
    """
    session = await open_session(world)
    world.failure = RuntimeError("cannot book 0.01")
    wire = sealed(session).sign(world.signer)
    reply = await world.send(wire)
    content, _ = session.read(reply)
    assert (reply.status_code, json.loads(content)["code"]) == (500, "internal")
    assert b"0.01" not in content
    proven(world, wire, reply)
