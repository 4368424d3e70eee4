"""Signatures that are right under another algorithm, keys that are none, and names of keys that lead elsewhere."""

import asyncio
import functools
import hashlib
import hmac
import json
import logging
import re
from base64 import b64encode
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwire.client.credential import read_key
from sealwire.client.keypair import new_key
from sealwire.ports import Invitation
from sealwire.protocol.jwk import Signer, b64url, load_verifier
from sealwire.protocol.signature import signer_of
from sealwire.records import KeyRecord
from tests.stories.test_coverage_and_binding import refused
from tests.stories.test_enrolment import by_invitation, fresh, invited, offer
from tests.stories.world import START, Wire, World

KINDS = ("ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "ml-dsa-65")
Sign = Callable[[bytes], bytes]


def hmac_of(secret: bytes, base: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(secret, base, hashlib.sha256)


def forms(signer: Signer) -> list[bytes]:
    """Every form in which a public key is handed around."""
    verifier = load_verifier(signer.jwk)
    der = verifier.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = verifier.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    found = [der, b64encode(der), pem, pem.strip(), pem.replace(b"\n", b"\r\n"), signer.keyid.encode()]
    found += [json.dumps(signer.jwk, separators=(",", ":")).encode(), json.dumps(signer.jwk, sort_keys=True).encode()]
    found += [value.encode() for value in signer.jwk.values()]
    if signer.algorithm != "ml-dsa-65":
        found.append(verifier.key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    if signer.algorithm == "rsa-pss-sha512":
        found += [verifier.key.public_bytes(kind, PublicFormat.PKCS1) for kind in (Encoding.PEM, Encoding.DER)]
    if signer.algorithm.startswith("ecdsa"):
        points = (PublicFormat.UncompressedPoint, PublicFormat.CompressedPoint)
        found += [verifier.key.public_bytes(Encoding.X962, form) for form in points]
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_every_form_of_a_public_key_as_a_secret(world: World, kind: str) -> None:
    """
    B1: keys of each kind as PEM, DER, OpenSSH, JWK, points and PKCS#1, used as an HMAC secret, said and unsaid.

    Stopped by: verify
    """
    signer = read_key(new_key(kind))
    world.add_key(signer, "alice")
    assert (await world.send(Wire().sign(signer))).status_code == 200
    for secret in forms(signer):
        forged = functools.partial(hmac_of, secret)
        await refused(world, Wire().sign(signer, secret=forged), 401, "signature-mismatch")
        said = Wire().sign(signer, secret=forged, alg="hmac-sha256")
        await refused(world, said, 401, "algorithm-not-allowed")


async def test_a_public_key_as_an_invitations_secret(world: World) -> None:
    """
    B1: the server's and the client's public keys as the secret of an invitation or a rotation, and a key's name for it.

    Stopped by: permit
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    server = Signer("ed25519", world.keyring.verifier.keyid, world.keyring.verifier.jwk, new.sign)
    body: dict[str, object] = {"key": new.jwk, "name": "n", "client": "cli_alice", "by": world.signer.keyid}
    for secret in (*forms(server), *forms(world.signer), *forms(new)):
        for key in (secret, hashlib.sha256(secret).digest()):
            forged = functools.partial(hmac_of, key)
            await refused(world, offer(world, new, forged), 401, "signature-mismatch")
            rotation = offer(world, new, forged, world.signer.keyid, "sealwire", body=body)
            await refused(world, rotation, 401, "signature-mismatch")
    for known in (server, world.signer, new):
        forged = functools.partial(hmac_of, known.keyid.encode())
        await refused(world, offer(world, new, forged, known.keyid), 401, "invitation-invalid")


async def test_another_padding_than_the_keys(world: World) -> None:
    """
    B3: an RSA key enrolled for PSS with SHA-512, signing by PKCS#1 v1.5 and by PSS of other hashes and salts.

    Stopped by: verify
    """
    private = rsa.generate_private_key(65537, 3072)
    signer = signer_of(private)
    world.add_key(signer, "alice")
    assert (await world.send(Wire().sign(signer))).status_code == 200
    ways: list[Sign] = [
        lambda base: private.sign(base, padding.PKCS1v15(), SHA512()),
        lambda base: private.sign(base, padding.PKCS1v15(), SHA256()),
        lambda base: private.sign(base, padding.PSS(padding.MGF1(SHA256()), 32), SHA256()),
        lambda base: private.sign(base, padding.PSS(padding.MGF1(SHA384()), 64), SHA512()),
        lambda base: private.sign(base, padding.PSS(padding.MGF1(SHA512()), 0), SHA512()),
        lambda base: private.sign(base, padding.PSS(padding.MGF1(SHA512()), padding.PSS.MAX_LENGTH), SHA512()),
    ]
    for way in ways:
        await refused(world, Wire().sign(signer, secret=way), 401, "signature-mismatch")
    for said in ("rsa-v1_5-sha256", "rsa-v1_5-sha512", "rsa-pss-sha256", "RSA-PSS-SHA512"):
        await refused(world, Wire().sign(signer, secret=ways[0], alg=said), 401, "algorithm-not-allowed")


def looks_alike(keyid: str) -> list[str]:
    """Names that a careless eye or lookup takes for `keyid`."""
    return [
        keyid.swapcase(), keyid.lower(), keyid + "=", keyid + " ", " " + keyid, keyid[:-1], keyid + "A",
        keyid[:-1] + "%" + format(ord(keyid[-1]), "x"), "%" + keyid[1:], keyid[:20] + "%", "_" * 43, "*",
    ]  # fmt: skip


HOSTILE = ["../" * 12, "' OR '1'='1", '\\" OR 1=1 --', "k" * 10_000, "", "0", "null", "${jndi:ldap://x}", "{{7*7}}"]


async def test_names_that_are_no_keys(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """
    B8: a path, SQL, 10 kB, look-alikes of an active key: the answer of an unknown key, and nothing odd is looked up.

    Stopped by: verify
    """
    caplog.set_level(logging.DEBUG)
    asked, answers = [], []
    find = world.directory.key

    async def key(keyid: str) -> KeyRecord | None:
        asked.append(keyid)
        return await find(keyid)

    world.directory.key = key  # type: ignore[method-assign]
    for keyid in ("A" * 43, *HOSTILE, *looks_alike(world.signer.keyid)):
        # In a string of a structured field a quote and a backslash stand behind a backslash (RFC 9651 section 3.3.3).
        request = Wire().sign(world.signer, keyid=keyid or "\0empty")
        if not keyid:
            request.change(b"signature-input", request.header(b"signature-input").replace(b"\0empty", b""))
        problem = await refused(world, request, 401, "key-unknown")
        answers.append({name: value for name, value in problem.items() if name != "request_id"})
    assert all(answer == answers[0] for answer in answers)
    assert [keyid for keyid in asked if not re.fullmatch(r"[A-Za-z0-9_-]{43}", keyid)] == []
    assert [record for record in caplog.records if record.name.startswith("sealwire")] == []


@pytest.mark.parametrize(
    ("character", "code"),
    [("\0", "header-malformed"), ("\n", "header-malformed"), ("\x7f", "header-malformed"),
     ("\u0430", "signature-malformed"), ("\uff21", "signature-malformed"), ("\u200b", "signature-malformed"),
     ("\u202e", "signature-malformed")],
)  # fmt: skip
@pytest.mark.parametrize("inside", [True, False])
async def test_names_that_cannot_stand_in_a_field(world: World, character: str, code: str, *, inside: bool) -> None:
    """
    B8: NUL, a line's end, DEL, look-alikes of other scripts, invisible characters in the keyid or behind it.

    Stopped by: verify
    """
    keyid = world.signer.keyid
    bad = keyid[:5] + character + keyid[6:] if inside else keyid + character
    await refused(world, Wire().sign(world.signer, keyid=bad), 400, code)


async def test_a_dead_key_is_as_good_as_none(world: World) -> None:
    """
    B9: revoked, expired, past its overlap, never enrolled, of a client that is no more: one answer, head and body.

    Stopped by: verify
    """
    cases = [("revoked", None), ("retiring", START), ("active", START - 1), ("none", None), ("gone", None)]
    answers = []
    for state, expires_at in cases:
        signer = fresh()
        if state == "gone":
            world.add_key(signer, "gone")
            await world.directory.revoke_client("cli_gone")
        elif state != "none":
            world.add_key(signer, "bob", state, expires_at)
        for secret in (None, lambda _: b"x" * 64):
            reply = await world.send(Wire().sign(signer, secret=secret))
            assert reply.status_code == 401
            told = json.loads(reply.content)
            request_id = told.pop("request_id")
            fields = [(name, value) for name, value in reply.headers.multi_items() if value != request_id]
            answers.append((told, fields))
    assert answers[0][0]["code"] == "key-unknown"
    assert "base_lines" not in answers[0][0]
    assert all(answer == answers[0] for answer in answers)
    assert world.entered == []


async def test_a_dead_key_allows_no_other(world: World) -> None:
    """
    B9: a rotation by a key that is revoked, past its time or unknown: one answer, and no key is added.

    Stopped by: permit
    """
    answers = []
    for state, expires_at in (("revoked", None), ("retiring", START), ("none", None)):
        old, new = fresh(), fresh()
        if state != "none":
            world.add_key(old, "bob", state, expires_at)
        body: dict[str, object] = {"key": new.jwk, "name": "n", "client": "cli_bob", "by": old.keyid}
        problem = await refused(
            world, offer(world, new, old.sign, old.keyid, "sealwire", body=body), 401, "key-unknown"
        )
        answers.append({name: value for name, value in problem.items() if name != "request_id"})
        assert await world.directory.key(new.keyid) is None
    assert answers[0] == answers[1] == answers[2]


async def test_a_key_for_another_use(world: World) -> None:
    """
    B9: a key that says it is for encryption, offered for signing.

    Stopped by: possess
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    for use in ("enc", "", "SIG", "sig enc"):
        request = offer(world, new, by_invitation, body={"key": {**new.jwk, "use": use}, "name": "bob"})
        problem = await refused(world, request, 422, "request-invalid")
        assert problem["errors"][0]["pointer"] == "/key/use"  # type: ignore[index]
    assert await world.directory.key(new.keyid) is None


async def test_a_secret_that_is_empty(world: World) -> None:
    """
    B14: a name that stands for no secret, or by a fault in the store for an empty one: never checked against nothing.

    Stopped by: permit
    """
    new = fresh()
    guesses = [functools.partial(hmac_of, key) for key in (b"", hashlib.sha256(b"").digest(), bytes(32))]
    for guess in guesses:
        await refused(world, offer(world, new, guess, "nobody"), 401, "invitation-invalid")
    statuses = []
    for kept in (b"", world.keyring.wrap(b"", b"invitation none"), world.keyring.wrap(bytes(32), b"invitation other")):
        named = Invitation("none", "none", "", None, frozenset(), (), kept, START + 3600)
        world.directory._invitations["none"] = named
        for guess in guesses:
            reply = await world.send(offer(world, new, guess, "none"))
            statuses.append(reply.status_code)
    assert statuses == [503] * 3 + [500] * 3 + [503] * 3
    assert await world.directory.key(new.keyid) is None


def unlisted() -> list[tuple[dict[str, object], str]]:
    """Keys on curves that are not listed or that spell their curve out, with the member that is pointed at."""
    point = {"x": b64url(b"\1" * 32), "y": b64url(b"\2" * 32)}
    good = signer_of(ec.generate_private_key(ec.SECP256R1())).jwk
    keys: list[tuple[dict[str, object], str]] = [
        ({"kty": "EC", "crv": curve, **point}, "/key/crv")
        for curve in ("P-521", "secp256k1", "P-192", "P-224", "sect163k1", "sect571r1", "BP-256", "p-256", "P-256 ", "")
    ]
    explicit = {"p": "AQ", "a": "AQ", "b": "AQ", "g": "AQ", "n": "AQ", "h": "AQ"}
    keys += [({**good, name: value}, f"/key/{name}") for name, value in explicit.items()]
    keys += [({"kty": "EC", **explicit}, "/key/crv"), ({**good, "x": good["y"]}, "/key/x")]
    keys += [({"kty": "OKP", "crv": curve, "x": point["x"]}, "/key/crv") for curve in ("X25519", "Ed448", "ed25519")]
    return keys


async def test_a_curve_that_is_not_listed(world: World) -> None:
    """
    B14: curves beside the listed ones, parameters spelt out, a point off its curve, offered with a good invitation.

    Stopped by: possess
    """
    await asyncio.to_thread(invited, world)
    new = fresh()
    for key, pointer in unlisted():
        request = offer(world, new, by_invitation, body={"key": key, "name": "bob"})
        problem = await refused(world, request, 422, "request-invalid")
        assert problem["errors"][0]["pointer"] == pointer, key  # type: ignore[index]
    assert [record.client for record in await world.directory.keys()] == ["cli_alice"]
