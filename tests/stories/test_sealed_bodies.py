"""
A sealed body on its way: bent, moved, relabelled, taken for one's own.

The attacker terminates TLS, and where a story says that a bent body was signed anew, it is a client that has gone bad:
the signature is then no help, and the envelope has to hold by itself.
"""

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.protocol import envelope
from sealwire.protocol.jwk import b64url
from sealwire.protocol.signature import signer_of
from tests.stories.sealing import (
    PLAINTEXT,
    Opened,
    SealedWorld,
    bare,
    by_mac,
    carrying,
    open_session,
    problem_of,
    put_together,
    sealed,
    taken_apart,
    turned_away,
)
from tests.stories.world import START, Wire

HEADER = {"alg": "dir", "enc": "A256GCM", "cty": "application/json"}


@pytest.fixture
def world(tmp_path: Path) -> SealedWorld:
    return SealedWorld(tmp_path)


def under(session: Opened, header: bytes, plaintext: bytes = PLAINTEXT) -> bytes:
    """A body truly sealed under any protected header: only a judgement of the header can stop it."""
    return envelope.seal(session.keys.c2s, b64url(header).encode(), os.urandom(12), plaintext)


async def test_every_byte_bent_in_turn(world: SealedWorld) -> None:
    """
    F1: each byte of a sealed body changed, by one bit and to another letter, under the old signature and signed anew.

    Stopped by: unseal
    """
    session = await open_session(world)
    whole = sealed(session).body
    answers = set()
    for at, old in enumerate(whole):
        for new in (old ^ 1, ord("A") if old != ord("A") else ord("B")):
            bent = whole[:at] + bytes((new,)) + whole[at + 1 :]
            kept = sealed(session).sign(world.signer)
            kept.body = kept.body[:at] + bytes((kept.body[at] ^ 1,)) + kept.body[at + 1 :]
            await turned_away(world, kept, 401, "digest-mismatch")
            reply = await world.send(carrying(bent).sign(world.signer))
            answers.add((reply.status_code, problem_of(reply, session)["code"]))
            assert b'"amount"' not in reply.content
    assert answers == {(400, "envelope-malformed"), (400, "decrypt-failed"), (401, "session-unknown")}
    assert world.entered == []


async def test_tags_and_ivs_of_other_lengths(world: SealedWorld) -> None:
    """
    F2: tags of 0, 4, 8, 12, 15 and 17 bytes, of zeros, missing; IVs that are not 12 bytes; an encrypted key.

    Stopped by: unseal
    """
    session = await open_session(world)
    header, key, iv, ciphertext, tag = taken_apart(sealed(session).body)
    bent = [[header, key, iv, ciphertext, (tag + b"\0")[:length]] for length in (0, 4, 8, 12, 15, 17)]
    bent += [[header, key, iv, ciphertext, bytes(16)], [header, b"k", iv, ciphertext, tag]]
    bent += [[header, key, other, ciphertext, tag] for other in (b"", iv[:11], iv + b"\0", iv + iv)]
    for length in (8, 16):
        # Made for this IV, so that nothing but its length is wrong.
        other = os.urandom(length)
        made = session.keys.c2s.encrypt(other, PLAINTEXT, b64url(header).encode())
        bent.append([header, key, other, made[:-16], made[-16:]])
    for parts in bent:
        await turned_away(world, carrying(put_together(parts)).sign(world.signer), 400, "decrypt-failed", session)
    missing = put_together((header, key, iv, ciphertext))
    await turned_away(world, carrying(missing).sign(world.signer), 400, "envelope-malformed")


@pytest.mark.parametrize("mac", [False, True])
async def test_a_signed_body_moved_to_another_request(world: SealedWorld, mac: bool) -> None:
    """
    F3: a sealed call's whole head and body under another method, path or query, by the client's key and the session's.

    Stopped by: verify
    """
    session = await open_session(world)
    for method, target in (("GET", b"/v1/ticks"), ("POST", b"/v1/quotes"), ("POST", b"/v1/ticks?page=2")):
        wire = sealed(session, target=b"/v1/ticks")
        wire = by_mac(wire, session, int(START)) if mac else wire.sign(world.signer)
        wire.method, wire.target = method, target
        await turned_away(world, wire, 401, "signature-mismatch")


async def test_a_body_moved_to_another_session_client_or_direction(world: SealedWorld) -> None:
    """
    F3: a sealed body renamed to another session of the same client, sent by another client, or sent back as a call.

    Stopped by: unseal
    """
    session, other = await open_session(world), await open_session(world)
    moved = sealed(session).body
    _, *rest = moved.split(b".")
    renamed = b".".join((envelope.protect(other.id, "application/json"), *rest))
    await turned_away(world, carrying(renamed).sign(world.signer), 400, "decrypt-failed", other)
    bob = signer_of(Ed25519PrivateKey.generate())
    world.add_key(bob, "bob")
    await turned_away(world, carrying(moved).sign(bob), 401, "session-unknown")
    reply = await world.send(sealed(session).sign(world.signer))
    assert session.read(reply) == (b'{"ok": true}', "application/json")
    await turned_away(world, carrying(reply.content).sign(world.signer), 400, "decrypt-failed", session)


async def test_a_stripped_signature(world: SealedWorld) -> None:
    """
    F4: Mallory takes Alice's signature off and signs the ciphertext as hers, also renamed to her session.

    Stopped by: unseal
    """
    session = await open_session(world)
    mallory = signer_of(Ed25519PrivateKey.generate())
    world.add_key(mallory, "mallory")
    hers = await open_session(world, signer=mallory)
    body = sealed(session).sign(world.signer).body
    await turned_away(world, carrying(body).sign(mallory), 401, "session-unknown")
    _, *rest = body.split(b".")
    renamed = b".".join((envelope.protect(hers.id, "application/json"), *rest))
    await turned_away(world, carrying(renamed).sign(mallory), 400, "decrypt-failed", hers)
    await turned_away(world, by_mac(carrying(body, b"/v1/ticks"), hers, int(START)), 400, "envelope-malformed")


async def test_a_plaintext_where_sealed_is_demanded(world: SealedWorld) -> None:
    """
    F6: a body in clear, one that only calls itself sealed, and media types that are nearly the one.

    Stopped by: unseal
    """
    session = await open_session(world)
    plain = Wire("POST", b"/v1/orders", PLAINTEXT)
    await turned_away(world, plain.sign(world.signer), 400, "encryption-required")
    named = Wire("POST", b"/v1/orders", PLAINTEXT).change(b"sealwire-session", session.id.encode())
    await turned_away(world, named.sign(world.signer), 400, "encryption-required", session)
    await turned_away(world, Wire("GET", b"/v1/orders").sign(world.signer), 400, "encryption-required")
    await turned_away(world, carrying(PLAINTEXT).sign(world.signer), 400, "envelope-malformed")
    body = sealed(session).body
    as_json = carrying(body, content_type=b"application/json")
    await turned_away(world, as_json.sign(world.signer), 400, "encryption-required")
    for tricked in (b"application/jose; charset=utf-8", b"Application/JOSE", b"application/jose+json", b"text/jose"):
        await turned_away(world, carrying(body, content_type=tricked).sign(world.signer), 415, "media-type")


async def test_sealed_where_clear_is_expected(world: SealedWorld) -> None:
    """
    F6: the session's field, and a sealed body, on a rule that is not sealed.

    Stopped by: admit
    """
    session = await open_session(world)
    named = bare(session.id, b"/v1/balances").sign(world.signer)
    await turned_away(world, named, 400, "encryption-unexpected")
    await turned_away(world, sealed(session, target=b"/v1/notes").sign(world.signer), 400, "encryption-unexpected")


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "A256KW"},
        {"alg": "A256GCMKW"},
        {"alg": "RSA1_5"},
        {"alg": "RSA-OAEP-256"},
        {"alg": "ECDH-ES"},
        {"alg": "PBES2-HS512+A256KW", "p2c": 10**9},
        {"alg": "DIR"},
        {"enc": "A128GCM"},
        {"enc": "A128CBC-HS256"},
        {"enc": "A256CBC-HS512"},
        {"enc": None},
        {"zip": "DEF"},
        {"crit": ["exp"]},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": "AA"}},
        {"skid": "someone"},
        {"typ": "JOSE"},
        {"p2c": 10**9},
        {"kid": ["ses_1"]},
        {"cty": None},
    ],
)
async def test_another_algorithm_or_member(world: SealedWorld, change: dict[str, object]) -> None:
    """
    F7, F16: a weaker or unknown algorithm, `zip`, `p2c` of 10^9, a key of the sender's: sealed truly under each.

    Stopped by: unseal
    """
    session = await open_session(world)
    members = {**HEADER, "kid": session.id, **change}
    body = under(session, json.dumps({name: value for name, value in members.items() if value is not None}).encode())
    await turned_away(world, carrying(body).sign(world.signer), 400, "envelope-malformed")


async def test_headers_with_two_readings(world: SealedWorld) -> None:
    """
    F7: a protected header with a member twice, another case, padding, a byte order mark, or no object at all.

    Stopped by: unseal
    """
    session = await open_session(world)
    good = json.dumps({**HEADER, "kid": session.id}).encode()
    forms = (good[:-1] + b', "enc": "A256GCM"}', good.replace(b'"alg"', b'"Alg"'), b"\xef\xbb\xbf" + good, b"[]", b"")
    for header in (*forms, good + b" " * 1024, good + b"x"):
        await turned_away(world, carrying(under(session, header)).sign(world.signer), 400, "envelope-malformed")
    first, rest = sealed(session).body.split(b".", 1)
    await turned_away(world, carrying(first + b"=." + rest).sign(world.signer), 400, "envelope-malformed")


async def test_the_kid_of_another_kind_of_key(world: SealedWorld) -> None:
    """
    F7: the key's thumbprint, the server's, or a name made up, where the session belongs.

    Stopped by: unseal
    """
    session = await open_session(world)
    for kid in (world.signer.keyid, world.keyring.verifier.keyid, "ses_", "../ses", ""):
        body = under(session, json.dumps({**HEADER, "kid": kid}).encode())
        await turned_away(world, carrying(body).sign(world.signer), 401, "session-unknown")


async def test_bodies_cut_repeated_and_appended(world: SealedWorld) -> None:
    """
    F13: a sealed body cut at each byte, sent twice in one, with more behind it: nothing of it is delivered.

    Stopped by: unseal
    """
    session = await open_session(world)
    whole = sealed(session).body
    bent = [whole[:length] for length in range(1, len(whole))]
    bent += [whole + whole, whole + b"." + whole, whole + b".", whole + b"AA", whole + b"\n", b" " + whole]
    answers = set()
    for body in bent:
        reply = await world.send(carrying(body).sign(world.signer))
        answers.add((reply.status_code, problem_of(reply, session)["code"]))
    assert answers == {(400, "envelope-malformed"), (400, "decrypt-failed")}
    assert world.entered == []


async def test_the_same_words_twice(world: SealedWorld) -> None:
    """
    F14: the same answer sealed twice has other bytes from the IV on.

    Stopped by: seal
    """
    session = await open_session(world)
    replies = [await world.send(sealed(session).sign(world.signer)) for _ in range(2)]
    assert session.read(replies[0]) == session.read(replies[1])
    first, second = (taken_apart(reply.content) for reply in replies)
    assert first[0] == second[0]
    assert all(one != other for one, other in zip(first[2:], second[2:], strict=True))


async def test_bodies_that_are_bombs(world: SealedWorld) -> None:
    """
    F16: a gigabyte declared, a header of a megabyte, a thousand parts, nesting inside: bounded memory, and no reading.

    Stopped by: admit
    """
    session = await open_session(world)
    reads = world.reads
    huge = carrying(b"x").change(b"content-length", b"1000000000")
    await turned_away(world, huge.sign(world.signer), 413, "body-too-large")
    assert world.reads == reads
    deep = b'{"a":' * 50_000
    late = json.dumps(HEADER).encode()[:-1] + b', "kid": ' + deep
    bombs = [
        (carrying(b64url(deep).encode() + b"...."), 400, "envelope-malformed", None),
        (carrying(b"." * 1_000_000), 400, "envelope-malformed", None),
        (carrying(b"A" * 1_000_000), 400, "envelope-malformed", None),
        (carrying(under(session, late)), 400, "envelope-malformed", None),
        (sealed(session, b"[" * 700_000), 422, "request-invalid", session),
        (sealed(session, b"[" * 65 + b"]" * 65), 422, "request-invalid", session),
        (sealed(session, sealed(session, sealed(session).body).body), 422, "request-invalid", session),
    ]  # fmt: skip
    wires = [(wire.sign(world.signer), *expected) for wire, *expected in bombs]
    tracemalloc.start()
    try:
        for wire, status, code, opened in wires:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            await turned_away(world, wire, status, code, opened)  # type: ignore[arg-type]
            assert tracemalloc.get_traced_memory()[1] - before < 10 * 1_048_576
    finally:
        tracemalloc.stop()


async def test_a_sealed_body_within_a_sealed_body(world: SealedWorld) -> None:
    """
    F16: an envelope in an envelope that says so: no rule takes it, and it is opened once only.

    Stopped by: unseal
    """
    session = await open_session(world)
    nested = carrying(session.seal(sealed(session).body, "application/jose"))
    await turned_away(world, nested.sign(world.signer), 415, "media-type", session)


class Noted:
    """A session's own key, that notes what is asked of it."""

    def __init__(self, key: AESGCM, notes: list[tuple[int, int]]) -> None:
        self._key = key
        self._notes = notes

    def decrypt(self, iv: bytes, data: bytes, aad: bytes) -> bytes:
        """As the key does."""
        self._notes.append((len(iv), len(aad)))
        return self._key.decrypt(iv, data, aad)


async def test_failures_to_decrypt_are_alike(world: SealedWorld) -> None:
    """
    F17: tag, IV, ciphertext, encrypted key, header or key wrong: the same status, bytes and calls of the cipher.

    Stopped by: unseal
    """
    session = await open_session(world)
    header, key, iv, ciphertext, tag = taken_apart(sealed(session).body)
    respelt = header.replace(b'"alg":"dir",', b"")[:-1] + b',"alg":"dir"}'
    kinds = [
        (header, key, iv, ciphertext, bytes(16)),
        (header, key, iv, ciphertext, tag[:4]),
        (header, key, iv, ciphertext, b""),
        (header, key, iv[:8], ciphertext, tag),
        (header, key, b"", ciphertext, tag),
        (header, b"encrypted key", iv, ciphertext, tag),
        (header, b"encrypted key", iv, ciphertext, bytes(16)),
        (header, key, iv, ciphertext[:-1] + bytes((ciphertext[-1] ^ 1,)), tag),
        (header, key, iv, b"", tag),
        (respelt, key, iv, ciphertext, tag),
    ]
    notes: list[tuple[int, int]] = []
    kept = await world.session_store.session(session.id)
    assert kept is not None
    kept.keys.c2s = Noted(kept.keys.c2s, notes)  # type: ignore[assignment]
    answers = set()
    for parts in kinds:
        reply = await world.send(carrying(put_together(parts)).sign(world.signer))
        problem = problem_of(reply, session)
        del problem["request_id"]
        said = {name for name, _ in reply.headers.multi_items()}
        answers.add((reply.status_code, json.dumps(problem), frozenset(said), reply.headers["content-length"]))
    assert len(answers) == 1
    assert notes == [(12, len(b64url(header)))] * len(kinds)
    assert answers.pop()[0] == 400
