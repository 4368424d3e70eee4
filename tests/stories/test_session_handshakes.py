"""
How a session comes to be, with somebody in the middle who would like another key, another kem or other terms.

The middleman reads, drops and changes every byte of the handshake, and is a client with a key of its own.
"""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sealwire.errors import Refusal
from sealwire.protocol.digest import content_digest
from sealwire.protocol.handshake import KeyPair, Keys
from sealwire.protocol.jwk import b64url, unb64url
from sealwire.protocol.signature import signer_of
from tests.stories.sealing import (
    SESSIONS,
    SealedWorld,
    bare,
    open_session,
    proven,
    turned_away,
)
from tests.stories.world import Wire

P25519 = 2**255 - 19
LOW_ORDER = (
    0,
    1,
    P25519 - 1,
    P25519,
    P25519 + 1,
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)


@pytest.fixture
def world(tmp_path: Path) -> SealedWorld:
    return SealedWorld(tmp_path)


def handshake(kem: str, public_key: object, **more: object) -> Wire:
    """A request for a session, not signed yet."""
    return Wire("POST", SESSIONS, json.dumps({"kem": kem, "public_key": public_key, **more}).encode())


async def unfit(world: SealedWorld, wire: Wire, pointer: str) -> None:
    """The request is refused at this pointer, and no secret was drawn."""
    drawn = [len(one) for one in world.drawn].count(32)
    problem = await turned_away(world, wire.sign(world.signer), 422, "request-invalid")
    errors = problem["errors"]
    assert isinstance(errors, list)
    assert [error["pointer"] for error in errors] == [pointer]
    assert [len(one) for one in world.drawn].count(32) == drawn


@pytest.mark.parametrize("point", LOW_ORDER)
@pytest.mark.parametrize("top", [0, 1])
async def test_points_of_low_order(world: SealedWorld, point: int, top: int) -> None:
    """
    F10: X25519 points that make every shared secret zero, in each spelling, alone and in the hybrid.

    Stopped by: handshake
    """
    raw = (point | top << 255).to_bytes(32, "little")
    await unfit(world, handshake("X25519", b64url(raw)), "/public_key")
    lattice = unb64url(KeyPair("MLKEM768-X25519").public_key)[:1184]
    await unfit(world, handshake("MLKEM768-X25519", b64url(lattice + raw)), "/public_key")


async def test_points_off_the_curve_and_other_forms(world: SealedWorld) -> None:
    """
    F10: a P-256 point off the curve, compressed, hybrid, at infinity; ML-KEM coefficients out of range; other lengths.

    Stopped by: handshake
    """
    public = generate_ec_key(SECP256R1()).public_key()
    whole = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    short = public.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    hybrid = bytes((6 + (whole[-1] & 1),)) + whole[1:]
    off = whole[:-1] + bytes((whole[-1] ^ 1,))
    for point in (off, short, hybrid, b"\0", b"\4" + bytes(64), b"\4" + b"\xff" * 64, short + bytes(32), b""):
        await unfit(world, handshake("P-256", b64url(point)), "/public_key")
    pair = unb64url(KeyPair("MLKEM768-X25519").public_key)
    for key in (b"\xff" * 3 + pair[3:], pair[:-1], pair + b"\0", pair[:1184], pair[1184:]):
        await unfit(world, handshake("MLKEM768-X25519", b64url(key)), "/public_key")
    await unfit(world, handshake("X25519", b64url(pair[1184:]) + "="), "/public_key")


@pytest.mark.parametrize("kem", ["RSA1_5", "RSA-OAEP", "x25519", "MLKEM512-X25519", "none", ""])
async def test_a_kem_that_is_not_offered(world: SealedWorld, kem: str) -> None:
    """
    F7, G7: a weaker or unknown way to seal the secret.

    Stopped by: handshake
    """
    await unfit(world, handshake(kem, KeyPair("X25519").public_key), "/kem")


async def test_rsa_keys_that_are_too_weak(world: SealedWorld) -> None:
    """
    F18: RSA of 2048 bits, with exponent 3 or an even one; a curve's point, or other bytes, called RSA.

    Stopped by: handshake
    """

    def der(numbers: rsa.RSAPublicNumbers) -> bytes:
        return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    small = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    good = unb64url(KeyPair("RSA-OAEP-256").public_key)
    loaded = load_der_public_key(good)
    assert isinstance(loaded, rsa.RSAPublicKey)
    cube = der(rsa.RSAPublicNumbers(3, loaded.public_numbers().n))
    even = good[:-3] + b"\1\0\0"
    curve = generate_ec_key(SECP256R1()).public_key()
    point = curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    bare = loaded.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    for key in (der(small), cube, even, bare, point, good + b"\0", good[:-1], b""):
        await unfit(world, handshake("RSA-OAEP-256", b64url(key)), "/public_key")


def test_rsa_ciphertexts_of_other_kinds_are_one_failure() -> None:
    """
    F18: PKCS#1 v1.5, OAEP with SHA-1, with a label, of another length, for another key: one failure in the same words.

    Stopped by: handshake
    """
    pair = KeyPair("RSA-OAEP-256")
    loaded = load_der_public_key(unb64url(pair.public_key))
    assert isinstance(loaded, rsa.RSAPublicKey)
    sha1, sha256 = hashes.SHA1(), hashes.SHA256()  # noqa: S303  # what an attacker would like
    kinds = [
        loaded.encrypt(b"s" * 32, padding.PKCS1v15()),
        loaded.encrypt(b"s" * 32, padding.OAEP(padding.MGF1(sha1), sha1, None)),
        loaded.encrypt(b"s" * 32, padding.OAEP(padding.MGF1(sha1), sha256, None)),
        loaded.encrypt(b"s" * 32, padding.OAEP(padding.MGF1(sha256), sha256, b"label")),
        bytes(384),
        b"\xff" * 384,
        b"",
    ]
    said = set()
    for ciphertext in kinds:
        with pytest.raises(ValueError, match="not sealed to this key pair") as why:
            pair.open(ciphertext, b"context")
        said.add((type(why.value), str(why.value), why.value.__suppress_context__))
    assert len(said) == 1
    with pytest.raises(ValueError, match="another length"):
        pair.open(loaded.encrypt(b"short", padding.OAEP(padding.MGF1(sha256), sha256, None)), b"context")


async def test_a_middleman_replaces_the_clients_key(world: SealedWorld) -> None:
    """
    G5: the fresh key in the request replaced, with the old digest, with a new one, and signed anew by the middleman.

    Stopped by: verify
    """
    pair = KeyPair("X25519")
    hers = handshake("X25519", pair.public_key).sign(world.signer)
    his = handshake("X25519", KeyPair("X25519").public_key)
    kept = handshake("X25519", pair.public_key).sign(world.signer)
    kept.body = his.body
    await turned_away(world, kept, 401, "digest-mismatch")
    changed = (
        handshake("X25519", pair.public_key).sign(world.signer).change(b"content-digest", content_digest(his.body))
    )
    changed.body = his.body
    await turned_away(world, changed, 401, "signature-mismatch")
    mallory = signer_of(Ed25519PrivateKey.generate())
    world.add_key(mallory, "mallory")
    reply = await world.send(his.sign(mallory))
    assert reply.status_code == 201
    proven(world, his, reply)
    with pytest.raises(Refusal):
        proven(world, hers, reply)
    await turned_away(world, bare(reply.json()["session"]).sign(world.signer), 401, "session-unknown")


@pytest.mark.parametrize("kem", ["X25519", "RSA-OAEP-256"])
async def test_what_a_session_is_bound_to(world: SealedWorld, kem: str) -> None:
    """
    G5, G7: each line of the terms changed on the way: the secret does not open, or the commitment does not fit.

    Stopped by: handshake
    """
    session = await open_session(world, kem)
    _, reply = world.seen[-1]
    sealed_key, commitment = (unb64url(reply.json()[name]) for name in ("sealed_key", "commitment"))
    lines = session.terms.context().split(b"\n")
    assert len(lines) == 9
    for at, line in enumerate(lines):
        bent = b"\n".join([*lines[:at], line + b"0", *lines[at + 1 :]])
        if kem == "RSA-OAEP-256":
            keys = Keys(session.pair.open(sealed_key, bent), bent)
            assert not keys.fits(commitment)
        else:
            with pytest.raises(ValueError, match="not sealed to this key pair"):
                session.pair.open(sealed_key, bent)
            assert not Keys(session.secret, bent).fits(commitment)
    assert Keys(session.secret, session.terms.context()).fits(commitment)


async def test_the_answer_replaced(world: SealedWorld) -> None:
    """
    G5: the server's answer with a secret of the middleman's, with a later end or more messages, or under its own mac.

    Stopped by: sign
    """
    session = await open_session(world)
    wire, reply = world.seen[-1]
    proven(world, wire, reply)
    for name, value in (
        ("sealed_key", "AAAA"),
        ("expires_at", 2_000_000_000),
        ("max_requests", 10**6),
        ("kem", "P-256"),
    ):
        content = json.dumps({**reply.json(), name: value}).encode()
        bent = type(reply)(reply.status_code, headers=reply.headers, content=content)
        bent.headers["content-digest"] = content_digest(content).decode()
        with pytest.raises(Refusal, match="signature-mismatch"):
            proven(world, wire, bent)
    with pytest.raises(AssertionError):
        proven(world, wire, reply, session)


async def test_the_handshake_sent_back(world: SealedWorld) -> None:
    """
    G6: the client's own message again, to the server, and as an answer to another request: no second session.

    Stopped by: nonce
    """
    await open_session(world)
    wire, reply = world.seen[-1]
    again = await world.send(wire)
    assert (again.status_code, again.json()["code"]) == (401, "replay-detected")
    assert "signature" not in again.headers
    other = handshake("X25519", KeyPair("X25519").public_key).sign(world.signer)
    with pytest.raises(Refusal, match="signature-mismatch"):
        proven(world, other, reply)
    assert [len(one) for one in world.drawn].count(32) == 1


async def test_members_left_out_and_added(world: SealedWorld) -> None:
    """
    G7: a request without its kem or key, with another version or a list of kems, or of another shape.

    Stopped by: handshake
    """
    key = KeyPair("X25519").public_key
    await unfit(world, handshake("X25519", key, version="0"), "")
    await unfit(world, handshake("X25519", key, kems=["none"]), "")
    await unfit(world, handshake("X25519", [key]), "/public_key")
    await unfit(world, Wire("POST", SESSIONS, json.dumps({"public_key": key}).encode()), "/kem")
    await unfit(world, Wire("POST", SESSIONS, b'{"kem": "X25519"}'), "/public_key")
    await unfit(world, Wire("POST", SESSIONS, b"[]"), "")
    await unfit(world, Wire("POST", SESSIONS), "")
