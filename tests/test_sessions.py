"""The endpoints that open and end sessions."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.call import Rule
from sealwire.ports import SESSIONS_OF_A_KEY
from sealwire.protocol.handshake import KEMS, KeyPair, Keys, Terms
from sealwire.protocol.jwk import b64url, unb64url
from sealwire.protocol.signature import signer_of
from sealwire.sessions import DEFAULT_TERMS, SessionTerms, session_rules
from tests.stories.sealing import SEALED_RULES, SESSIONS, open_session, sealed
from tests.stories.world import START, Wire, World

X25519 = KeyPair("X25519")
GOOD = {"kem": "X25519", "public_key": X25519.public_key}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh deployment with sealed rules."""
    return World(tmp_path, SEALED_RULES)


async def ask(world: World, members: Any) -> httpx2.Response:
    """Asks for a session with these members, or this very body."""
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return await world.send(Wire("POST", SESSIONS, body).sign(world.signer, int(world.clock.at)))


async def end(world: World, name: str) -> httpx2.Response:
    """Asks for a session's end."""
    target = SESSIONS + b"/" + name.encode()
    return await world.send(Wire("DELETE", target).sign(world.signer, int(world.clock.at)))


def said(reply: httpx2.Response) -> tuple[int, str]:
    """Status and code of a refusal."""
    return reply.status_code, reply.json()["code"]


@pytest.mark.parametrize("kem", KEMS)
async def test_opened(world: World, kem: str) -> None:
    """The answer has these members, says how long and how much, is signed by the server, and shows no key."""
    pair, nonce = KeyPair(kem), "n" * 22
    body = json.dumps({"kem": kem, "public_key": pair.public_key}).encode()
    reply = await world.send(Wire("POST", SESSIONS, body).sign(world.signer, nonce=nonce))
    answer = reply.json()
    assert reply.status_code == 201
    assert list(answer) == ["session", "kem", "sealed_key", "commitment", "expires_at", "max_requests"]
    assert (answer["kem"], answer["expires_at"], answer["max_requests"]) == (kem, START + 900, 65_536)
    assert f'keyid="{world.keyring.verifier.keyid}"' in reply.headers["signature-input"]
    terms = Terms(
        "api.example", world.signer.keyid, kem, answer["session"], hashlib.sha256(body).digest(), nonce,
        answer["expires_at"], answer["max_requests"],
    )  # fmt: skip
    secret = pair.open(unb64url(answer["sealed_key"]), terms.context())
    keys = Keys(secret, terms.context())
    assert b64url(keys.commitment) == answer["commitment"]
    kept = await world.sessions.session(answer["session"])
    assert kept is not None
    assert kept[:4] == (answer["session"], world.signer.keyid, START + 900, 65_536)
    assert kept.keys.c2s_mac == keys.c2s_mac
    assert all(b64url(key) not in reply.text for key in (secret, keys.c2s_mac, keys.s2c_mac))


async def test_opened_when_the_call_came(world: World) -> None:
    """
    A session is as old as the call that opened it: its key was good then, and if it is frozen before the answer is
    made, the session ends with it.
    """

    def later() -> None:
        world.clock.at += 5

    world.while_reading = later
    answer = (await ask(world, GOOD)).json()
    kept = await world.sessions.session(answer["session"])
    assert kept is not None
    assert (kept.opened_at, kept.expires_at) == (START, START + 5 + 900)


async def test_every_session_is_another(world: World) -> None:
    """The same offer twice is two sessions with two secrets."""
    first, second = (await ask(world, GOOD)).json(), (await ask(world, GOOD)).json()
    assert all(first[name] != second[name] for name in ("session", "sealed_key", "commitment"))
    assert first["session"].startswith("ses_")
    assert len(first["session"]) == 30


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({}, "/kem"),
        ({"kem": "X25519"}, "/public_key"),
        ({"public_key": X25519.public_key}, "/kem"),
        (GOOD | {"lifetime": 3600}, ""),
        (GOOD | {"": ""}, ""),
        (GOOD | {"kem": "X448"}, "/kem"),
        (GOOD | {"kem": "P-256"}, "/public_key"),
        (GOOD | {"public_key": ""}, "/public_key"),
        (GOOD | {"public_key": b64url(bytes(32))}, "/public_key"),
        (GOOD | {"public_key": X25519.public_key + "="}, "/public_key"),
        (GOOD | {"kem": None}, "/kem"),
        (GOOD | {"kem": ["X25519"]}, "/kem"),
        (GOOD | {"public_key": 1}, "/public_key"),
        (GOOD | {"public_key": {"kty": "OKP"}}, "/public_key"),
        ([], ""),
        ("X25519", ""),
        (None, ""),
        (b'{"kem":"X25519","kem":"P-256","public_key":""}', ""),
        (b"{", ""),
    ],
)
async def test_requests_of_another_form(world: World, members: Any, pointer: str) -> None:
    """422 with a pointer to the member; what was sent is not repeated, and no session is kept."""
    reply = await ask(world, members)
    assert said(reply) == (422, "request-invalid")
    (error,) = reply.json()["errors"]
    assert error["pointer"] == pointer
    assert "lifetime" not in reply.text
    assert "X448" not in reply.text
    assert (world.sessions._sessions, world.entered) == ({}, [])


async def test_without_a_body(world: World) -> None:
    """An empty request is told what a body would have."""
    reply = await world.send(Wire("POST", SESSIONS).sign(world.signer))
    assert said(reply) == (422, "request-invalid")
    assert reply.json()["errors"] == [{"pointer": "", "detail": "The body is an object with kem and public_key."}]


async def test_only_for_the_key_that_signed(world: World) -> None:
    """Unsigned, by an unknown key, too large, of another type: refused before anything is drawn or sealed."""
    body = json.dumps(GOOD).encode()
    assert said(await world.send(Wire("POST", SESSIONS, body))) == (401, "signature-missing")
    stranger = signer_of(Ed25519PrivateKey.generate())
    assert said(await world.send(Wire("POST", SESSIONS, body).sign(stranger))) == (401, "key-unknown")
    assert said(await ask(world, body + b" " * 8192)) == (413, "body-too-large")
    other = Wire("POST", SESSIONS, body).change(b"content-type", b"text/plain").sign(world.signer)
    assert said(await world.send(other)) == (415, "media-type")
    assert world.sessions._sessions == {}


async def test_never_under_a_session_s_key(world: World) -> None:
    """A session opens and ends no session: the rules of both endpoints are for the client's own key."""
    for rule in session_rules():
        assert (rule.profile, rule.session_mac) == ("signed", False)
    assert [(rule.template, set(rule.methods)) for rule in session_rules()] == [
        (SESSIONS.decode(), {"POST"}),
        (SESSIONS.decode() + "/{session}", {"DELETE"}),
    ]


async def test_ended(world: World) -> None:
    """204 with nothing in it, and the session is unknown from there on, to its owner too; again it is unknown."""
    session, other = await open_session(world), await open_session(world)
    reply = await end(world, session.id)
    assert (reply.status_code, reply.content) == (204, b"")
    assert "signature" in reply.headers
    assert said(await world.send(sealed(session).sign(world.signer))) == (401, "session-unknown")
    assert said(await end(world, session.id)) == (401, "session-unknown")
    assert (await world.send(sealed(other).sign(world.signer))).status_code == 200


async def test_nobody_ends_another_s(world: World) -> None:
    """Another client's, another key's of the same client, and one that never was: one answer, and it goes on."""
    session = await open_session(world)
    own, foreign = (signer_of(Ed25519PrivateKey.generate()) for _ in range(2))
    world.add_key(own, "alice")
    world.add_key(foreign, "mallory")
    bodies = set()
    for signer, name in ((own, session.id), (foreign, session.id), (foreign, "ses_" + "0" * 26), (foreign, "x")):
        reply = await world.send(Wire("DELETE", SESSIONS + b"/" + name.encode()).sign(signer))
        assert said(reply) == (401, "session-unknown")
        bodies.add(json.dumps({k: v for k, v in reply.json().items() if k != "request_id"}))
    assert len(bodies) == 1
    assert (await world.send(sealed(session).sign(world.signer))).status_code == 200


async def test_the_oldest_gives_way(world: World) -> None:
    """Past the bound of a key its oldest session ends; those of other keys stay."""
    other = signer_of(Ed25519PrivateKey.generate())
    world.add_key(other, "bob")
    theirs = await open_session(world, signer=other)
    own = [await open_session(world) for _ in range(SESSIONS_OF_A_KEY + 1)]
    assert said(await world.send(sealed(own[0]).sign(world.signer))) == (401, "session-unknown")
    assert (await world.send(sealed(own[1]).sign(world.signer))).status_code == 200
    assert (await world.send(sealed(theirs).sign(other))).status_code == 200


async def test_only_where_some_rule_is_sealed(tmp_path: Path) -> None:
    """A deployment without a sealed rule has no such endpoint."""
    world = World(tmp_path, (Rule("/v1/balances", frozenset(("GET",)), "signed"),))
    assert said(await ask(world, GOOD)) == (404, "not-found")
    assert said(await end(world, "ses_1")) == (404, "not-found")


async def test_a_session_id_is_no_path(world: World) -> None:
    """Deeper paths and other methods are not taken for a session."""
    assert said(await end(world, "ses_1/x")) == (404, "not-found")
    assert said(await world.send(Wire("GET", SESSIONS + b"/ses_1").sign(world.signer))) == (405, "method-not-allowed")


def test_the_defaults() -> None:
    """A quarter of an hour, 65,536 messages."""
    assert SessionTerms(900, 65_536) == DEFAULT_TERMS
