"""Who may bring a key, and what the real client and the real guard say to each other about it."""

import asyncio
import hashlib
import hmac
import json
import os
from base64 import b64encode
from collections.abc import Callable

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.client import Credential, InvitationInvalid, Transport, enroll, revoke, rotate
from sealwire.ports import Invitation
from sealwire.protocol.digest import content_digest
from sealwire.protocol.jwk import Signer, b64url
from sealwire.protocol.signature import signer_of
from tests.stories.test_coverage_and_binding import refused
from tests.stories.world import ORIGIN, START, Wire, World

KEYS = b"/.well-known/sealwire/keys"
SECRET = b64url(b"s" * 32)
HMAC_KEY = hashlib.sha256(SECRET.encode()).digest()


class Bridge(httpx2.BaseTransport):
    """The network between the real client and the world."""

    def __init__(self, world: World) -> None:
        self._world = world

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        wire = Wire(request.method, request.url.raw_path)
        wire.headers = [(name.lower(), value) for name, value in request.headers.raw]
        wire.body = request.read()
        return asyncio.run(self._world.send(wire))


def invited(world: World, name: str = "bob", hours: int = 24) -> str:
    """An invitation as the operator would print it."""
    wrapped = world.keyring.wrap(HMAC_KEY, f"invitation {name}".encode())
    invitation = Invitation(name, name, "", name, frozenset(("trade",)), (), wrapped, START + hours * 3600)
    asyncio.run(world.directory.add_invitation(invitation))
    return f"sw_test_inv_{name}.{SECRET}.{world.keyring.verifier.keyid}"


def enrolled(world: World, name: str = "bob") -> Credential:
    """A client that came in by invitation."""
    return enroll(ORIGIN, invited(world, name), name=name, inner=Bridge(world), clock=world.clock.now)


def offer(
    world: World,
    new: Signer,
    sign: Callable[[bytes], bytes],
    keyid: str = "bob",
    tag: str = "sealwire-invitation",
    *,
    body: dict[str, object] | None = None,
    possession: Callable[[bytes], bytes] | None = None,
    times: int = 0,
    bind: bool = True,
    alg: str = "",
    possession_alg: str = "",
    possession_keyid: str = "",
    created: int = int(START),
) -> Wire:
    """An enrolment signed by hand, every part of which can be another."""
    content = json.dumps({"key": new.jwk, "name": "bob"} if body is None else body).encode()
    request = Wire("POST", KEYS, content)
    request.sign(
        new,
        created + times,
        expires=created + 60 + times,
        tag="sealwire-possession",
        label="pos",
        secret=possession,
        alg=possession_alg,
        keyid=possession_keyid,
    )
    held, inner = request.header(b"signature"), request.header(b"signature-input")
    names = ["@method", "@authority", "@path", "@query", "content-type", "content-digest"]
    values = [b"POST", b"api.example", KEYS, b"?", b"application/json", content_digest(content)]
    lines = [b'"%s": %s' % (name.encode(), value) for name, value in zip(names, values, strict=True)]
    listed = " ".join(f'"{name}"' for name in names)
    if bind:
        listed += ' "signature";key="pos" "signature-input";key="pos"'
        lines.append(b'"signature";key="pos": ' + held.partition(b"=")[2])
        lines.append(b'"signature-input";key="pos": ' + inner.partition(b"=")[2])
    nonce = b64url(os.urandom(18))
    text = f'({listed});created={created};expires={created + 60};keyid="{keyid}";nonce="{nonce}"'
    text += (f';alg="{alg}"' if alg else "") + f';tag="{tag}"'
    lines.append(b'"@signature-params": ' + text.encode())
    request.headers.append((b"signature-input", f"sig={text}".encode()))
    request.headers.append((b"signature", b"sig=:" + b64encode(sign(b"\n".join(lines))) + b":"))
    return request


def by_invitation(base: bytes) -> bytes:
    """The invitation's own signature."""
    return hmac.digest(HMAC_KEY, base, hashlib.sha256)


def fresh() -> Signer:
    """A key of nobody yet."""
    return signer_of(Ed25519PrivateKey.generate())


def test_an_invitation_lets_one_key_in(world: World) -> None:
    """
    G4: enrolled, used, rotated, revoked by the real client; the spent invitation opens nothing for another key.

    Stopped by: permit
    """
    credential = enrolled(world)
    with httpx2.Client(transport=Transport(credential=credential, inner=Bridge(world), clock=world.clock.now)) as http:
        assert http.get(f"{ORIGIN}/v1/balances").json() == {"ok": True}
    newer = rotate(credential, inner=Bridge(world), clock=world.clock.now)
    assert newer.client == credential.client
    assert asyncio.run(world.directory.key(credential.signer.keyid)).state == "retiring"  # type: ignore[union-attr]
    revoke(newer, inner=Bridge(world), clock=world.clock.now)
    assert asyncio.run(world.directory.key(newer.signer.keyid)).state == "revoked"  # type: ignore[union-attr]
    spent = f"sw_test_inv_bob.{SECRET}.{world.keyring.verifier.keyid}"
    with pytest.raises(InvitationInvalid):
        enroll(ORIGIN, spent, name="mallory", inner=Bridge(world), clock=world.clock.now)


async def test_a_key_without_its_private_part(world: World) -> None:
    """
    G1, G11: possession signed by another key, taken from another time, under another keyid; no possession at all.

    Stopped by: possess
    """
    await asyncio.to_thread(invited, world)
    new, other = fresh(), fresh()
    await refused(world, offer(world, new, by_invitation, possession=other.sign), 401, "signature-mismatch")
    await refused(world, offer(world, new, by_invitation, possession_keyid=other.keyid), 401, "signature-mismatch")
    await refused(world, offer(world, new, by_invitation, times=1), 400, "signature-malformed")
    await refused(world, offer(world, new, by_invitation, bind=False), 401, "components-insufficient")
    await refused(world, offer(world, new, by_invitation, possession_alg="ml-dsa-65"), 401, "algorithm-not-allowed")
    alone = Wire("POST", KEYS, b"{}").sign(new, tag="sealwire-invitation")
    await refused(world, alone, 401, "signature-missing")


async def test_an_invitation_that_is_none(world: World) -> None:
    """
    G10, G12: a guessed secret, an unknown and a late invitation, one that says another algorithm.

    Stopped by: permit
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    await refused(world, offer(world, new, lambda _: b"x" * 32), 401, "signature-mismatch")
    await refused(world, offer(world, new, by_invitation, keyid="nobody"), 401, "invitation-invalid")
    await refused(world, offer(world, new, by_invitation, alg="ed25519"), 401, "algorithm-not-allowed")
    await refused(world, offer(world, new, by_invitation, created=int(START) - 900), 401, "clock-skew")
    world.clock.at = START + 24 * 3600
    await refused(world, offer(world, new, by_invitation, created=int(world.clock.at)), 401, "invitation-invalid")


async def test_the_same_enrolment_again(world: World) -> None:
    """
    G4: the same key with the same invitation gets the same answer for 24 hours, and then none.

    Stopped by: permit
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    first = await world.send(offer(world, new, by_invitation))
    again = await world.send(offer(world, new, by_invitation))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    await refused(world, offer(world, fresh(), by_invitation), 401, "invitation-invalid")
    world.clock.at = START + 24 * 3600
    await refused(world, offer(world, new, by_invitation, created=int(world.clock.at)), 401, "invitation-invalid")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"more": 1}, ""),
        ({"client": "cli_other"}, "/client"),
        ({"key": {"kty": "oct", "k": "AAAA"}}, "/key/kty"),
    ],
)
async def test_a_body_that_does_not_fit(world: World, change: dict[str, object], pointer: str) -> None:
    """
    G3: an unfit name, a member too many, a key of the wrong kind: each pointed at.

    Stopped by: possess
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    body: dict[str, object] = {"key": new.jwk, "name": "bob", **change}
    problem = await refused(world, offer(world, new, by_invitation, body=body), 422, "request-invalid")
    assert problem["errors"][0]["pointer"] == pointer  # type: ignore[index]


async def test_a_body_that_is_not_json(world: World) -> None:
    """
    D13: an enrolment whose body has two readings, or is a list.

    Stopped by: possess
    """
    await asyncio.to_thread(invited, world)
    request = offer(world, fresh(), by_invitation, body={})
    await refused(world, request, 422, "request-invalid")
    twice = Wire("POST", KEYS, b'{"a":1,"a":2}').sign(fresh(), tag="sealwire-possession", label="pos")
    held, inner = twice.header(b"signature"), twice.header(b"signature-input")
    assert held.startswith(b"pos=")
    assert inner.startswith(b"pos=")
    await refused(world, twice, 401, "signature-missing")


async def test_rotation_by_somebody_else(world: World) -> None:
    """
    G11, G13: Mallory's signature for Alice's rotation, unfit `client` and `by`, a key that is no longer active.

    Stopped by: permit
    """
    mallory, new = fresh(), fresh()
    world.add_key(mallory, "mallory")
    body: dict[str, object] = {"key": new.jwk, "name": "n", "client": "cli_alice", "by": world.signer.keyid}

    def rotation(signer: Signer, **more: object) -> Wire:
        return offer(world, new, signer.sign, signer.keyid, "sealwire", body={**body, **more})

    await refused(world, offer(world, new, mallory.sign, world.signer.keyid, "sealwire", body=body), 401,
                  "signature-mismatch")  # fmt: skip
    await refused(world, rotation(mallory), 422, "request-invalid")
    await refused(world, rotation(mallory, client="cli_mallory"), 422, "request-invalid")
    wrong = offer(world, new, world.signer.sign, world.signer.keyid, "sealwire", body=body, alg="ml-dsa-65")
    await refused(world, wrong, 401, "algorithm-not-allowed")
    await refused(world, offer(world, new, new.sign, "A" * 43, "sealwire", body=body), 401, "key-unknown")
    await refused(world, offer(world, new, new.sign, "short", "sealwire", body=body), 401, "key-unknown")
    assert (await world.send(rotation(world.signer))).status_code == 201
    another = fresh()
    again = {**body, "key": another.jwk}
    await refused(world, offer(world, another, world.signer.sign, world.signer.keyid, "sealwire", body=again), 403,
                  "approval-required")  # fmt: skip


async def test_an_enrolment_sent_twice(world: World) -> None:
    """
    C4: the bytes of an enrolment again.

    Stopped by: nonce
    """
    await asyncio.to_thread(invited, world)
    request = offer(world, fresh(), by_invitation)
    assert (await world.send(request)).status_code == 201
    await refused(world, request, 401, "replay-detected")


async def test_revoking_what_is_not_mine(world: World) -> None:
    """
    G13: another client's key is not there; another of one's own needs the operator.

    Stopped by: authorize
    """
    other, second = fresh(), fresh()
    world.add_key(other, "mallory")
    world.add_key(second, "alice")
    for target, status, code in (
        (other.keyid, 404, "not-found"),
        ("nonsense", 404, "not-found"),
        (second.keyid, 403, "approval-required"),
    ):
        request = Wire("DELETE", KEYS + b"/" + target.encode()).sign(world.signer)
        await refused(world, request, status, code)


def test_what_is_published(world: World) -> None:
    """
    H3: discovery, key set and rules are signed for whoever asks, with their nonce; a problem has a page.

    Stopped by: nothing
    """
    nonce = "q" * 22
    for path in (b"", b"/jwks.json", b"/rules"):
        request = Wire("GET", b"/.well-known/sealwire" + path)
        request.headers.append((b"accept-signature", f'sig=();nonce="{nonce}";tag="sealwire-response"'.encode()))
        reply = asyncio.run(world.send(request))
        assert reply.status_code == 200
        assert f'nonce="{nonce}"' in reply.headers["signature-input"]
    page = asyncio.run(world.send(Wire("GET", b"/.well-known/sealwire/problems/clock-skew")))
    assert "outside its time window" in page.text
    assert asyncio.run(world.send(Wire("GET", b"/.well-known/sealwire/problems/x"))).status_code == 404
