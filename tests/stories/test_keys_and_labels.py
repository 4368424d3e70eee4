"""Whose key signed, with what, under which label."""

import functools
import hashlib
import hmac
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwire.call import Rule
from sealwire.fronts.asgi import Message, Receive, Scope, Send
from sealwire.protocol.signature import signer_of
from tests.stories.test_coverage_and_binding import refused
from tests.stories.world import START, Wire, World


def hmac_of(secret: bytes, base: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(secret, base, hashlib.sha256)


async def test_a_public_key_as_a_secret(world: World) -> None:
    """
    B1: the public key, raw and as a JWK, PEM and DER, used as an HMAC secret.

    Stopped by: verify
    """
    key = world.directory._keys[world.signer.keyid].verifier.key
    forms = [
        world.signer.jwk["x"].encode(),
        json.dumps(world.signer.jwk).encode(),
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    ]
    for secret in forms:
        request = Wire().sign(world.signer, secret=functools.partial(hmac_of, secret))
        await refused(world, request, 401, "signature-mismatch")


async def test_another_algorithm_than_the_keys(world: World) -> None:
    """
    B2: `alg` names another algorithm than the key's; naming the key's own is accepted.

    Stopped by: verify
    """
    await refused(world, Wire().sign(world.signer, alg="hmac-sha256"), 401, "algorithm-not-allowed")
    assert (await world.send(Wire().sign(world.signer, alg="ed25519"))).status_code == 200


async def test_anothers_key_under_my_name(world: World) -> None:
    """
    B4: Alice's keyid with Mallory's signature; and a second signature with our tag beside Alice's.

    Stopped by: verify
    """
    mallory = signer_of(Ed25519PrivateKey.generate())
    world.add_key(mallory, "mallory")
    await refused(world, Wire().sign(mallory, keyid=world.signer.keyid), 401, "signature-mismatch")
    both = Wire().sign(world.signer).sign(mallory, label="other")
    await refused(world, both, 400, "signature-malformed")


async def test_a_label_means_nothing(world: World) -> None:
    """
    B7: another label is accepted all the same; another signature's tag does not count as ours.

    Stopped by: nothing
    """
    assert (await world.send(Wire().sign(world.signer, label="x"))).status_code == 200
    await refused(world, Wire().sign(world.signer, tag="another"), 401, "signature-missing")


@pytest.mark.parametrize("keyid", ["../../etc/passwd", "' OR 1=1 --", "k" * 9000, "A" * 43])
async def test_a_keyid_that_is_none(world: World, keyid: str) -> None:
    """
    B8: a keyid with a path, SQL, 9 kB, and one that is merely unknown: one answer.

    Stopped by: verify
    """
    await refused(world, Wire().sign(world.signer, keyid=keyid), 401, "key-unknown")


async def test_a_key_that_may_not_sign(world: World) -> None:
    """
    B9: revoked, expired and unknown keys get the same answer, but for the request's id.

    Stopped by: verify
    """
    answers = []
    for state, expires_at in (("revoked", None), ("retiring", START), ("unknown", None)):
        signer = signer_of(Ed25519PrivateKey.generate())
        if state != "unknown":
            world.add_key(signer, "bob", state, expires_at)
        problem = await refused(world, Wire().sign(signer), 401, "key-unknown")
        answers.append({key: value for key, value in problem.items() if key != "request_id"})
    assert answers[0] == answers[1] == answers[2]


async def test_a_key_revoked_while_its_call_comes_in(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    G8: a call of a stolen key was under way, its body held back, when the key was revoked.

    Stopped by: authenticate
    """
    guarded = world.app

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        async def held_back() -> Message:
            await world.directory.revoke(world.signer.keyid)
            return await receive()

        await guarded(scope, held_back, send)

    monkeypatch.setattr(world, "app", slow)
    await refused(world, Wire("POST", b"/v1/orders", b"{}").sign(world.signer), 401, "key-unknown")


@pytest.mark.parametrize("gone", [(b"signature",), (b"signature-input",), (b"signature", b"signature-input")])
async def test_a_signature_taken_away(world: World, gone: tuple[bytes, ...]) -> None:
    """
    B11: the signature stripped, one field of it stripped, both emptied, and a session token instead.

    Stopped by: verify
    """
    request = Wire().sign(world.signer)
    for name in gone:
        request.without(name)
    await refused(world, request.change(b"authorization", b"Bearer session"), 401, "signature-missing")
    emptied = Wire().sign(world.signer).change(b"signature", b"").change(b"signature-input", b"")
    await refused(world, emptied, 401, "signature-missing")


async def test_a_client_without_the_scope(world: World) -> None:
    """
    B12: a key without the scope that a rule demands, an address that is not the client's.

    Stopped by: authorize
    """
    poor = signer_of(ec.generate_private_key(ec.SECP256R1()))
    world.add_key(poor, "poor")
    record = world.directory._keys[poor.keyid]  # the story's own directory
    world.directory._keys[poor.keyid] = record._replace(scopes=frozenset())
    await refused(world, Wire("POST", b"/v1/orders", b"{}").sign(poor), 403, "scope-insufficient")
    for networks, ok in (("198.51.100.0/24", False), ("192.0.2.0/24", True)):
        world.directory._keys[poor.keyid] = record._replace(addresses=(networks,))
        if ok:
            assert (await world.send(Wire("POST", b"/v1/orders", b"{}").sign(poor))).status_code == 200
        else:
            await refused(world, Wire("POST", b"/v1/orders", b"{}").sign(poor), 403, "address-not-allowed")


async def test_an_open_route_needs_no_signature(world: World) -> None:
    """
    B12: what is open by rule is open, and its body is judged all the same.

    Stopped by: validate
    """
    assert (await world.send(Wire("GET", b"/v1/time"))).status_code == 200
    assert world.entered[0]["sealwire"].caller is None
    assert Rule("/x", frozenset(("GET",)), "signed").fast_replay is False
