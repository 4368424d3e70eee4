"""
An attacker who keeps everything: each message that passed, copies of files, and whatever private keys came its way.

`opened` tries every one of them in every role there is. It is one function for the story where nothing opens and for
those where it is handed one key too many, so that it cannot fail for want of trying.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import sqlite3
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealwire.protocol.handshake import KeyPair, Terms
from sealwire.protocol.message import Request, combine
from sealwire.protocol.signature import base, parse
from tests.stories.terminator import Passed

_TOKEN = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_LABELS = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac", b"commitment")
_OF_THE_KEY_HOME = (b"sealwire wrap", b"sealwire digest")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_25519 = 2**255 - 19
_PEM = b"-----BEGIN"
#: Where the curve's part begins in what is sealed under the hybrid kem.
_LATTICE_BYTES = 1088


class Hoard(NamedTuple):
    """What was kept: exchanges, databases, other files' bytes, private keys in PEM or as they are, pairs of kems."""

    exchanges: list[Passed]
    databases: tuple[Path, ...] = ()
    files: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()
    pairs: tuple[KeyPair, ...] = ()


class Sealed(NamedTuple):
    """Something that is encrypted: a sealed body or a blob of a database, with the words that may stand beside it."""

    iv: bytes
    ciphertext: bytes
    beside: tuple[bytes, ...]
    session: str = ""
    way: str = ""


class Handshake(NamedTuple):
    """One opening of a session, as it was seen."""

    session: str
    kem: str
    public_key: bytes
    sealed_key: bytes
    commitment: bytes
    context: bytes


class Session(NamedTuple):
    """A handshake with what followed it, and of that one message each way."""

    handshake: Handshake
    salt: bytes
    bodies: list[Sealed]
    one_each: list[Sealed]


class Seen(NamedTuple):
    """All that is to be opened or forged."""

    sessions: list[Session]
    bodies: list[Sealed]
    one_each: list[Sealed]
    blobs: list[Sealed]
    macs: list[tuple[bytes, bytes]]


def opened(hoard: Hoard) -> list[bytes]:
    """All plaintexts that come out, and for each message under a mac that could be forged, `forged` and its base."""
    bodies, handshakes = list(_bodies(hoard)), list(_handshakes(hoard))
    sessions = [_session(handshake, bodies) for handshake in handshakes]
    # A row that stands in a database and its backup is one row.
    seen = Seen(sessions, bodies, _one_each(bodies), list(dict.fromkeys(_blobs(hoard))), list(_macs(hoard)))
    secrets = _given(hoard)
    secrets |= {one for handshake in handshakes for one in _unsealed(handshake, secrets, hoard)}
    secrets |= set(_agreed(hoard, handshakes))
    secrets |= set(_fitting(_windows(hoard.files) - secrets, seen))
    found: list[bytes] = []
    tried: set[bytes] = set()
    # What comes out may be a key itself, as that of a session that lay wrapped in a file.
    while new := secrets - tried:
        out = [one for secret in new for one in _by(secret, seen)]
        tried, secrets, found = tried | new, {one for one in out if len(one) == 32}, found + out
    return found


def _session(handshake: Handshake, bodies: list[Sealed]) -> Session:
    own = [body for body in bodies if body.session == handshake.session]
    return Session(handshake, hashlib.sha256(handshake.context).digest(), own, _one_each(own))


def _one_each(bodies: list[Sealed]) -> list[Sealed]:
    """One body of each session and way."""
    return [next(group) for _, group in groupby(sorted(bodies, key=_whose), _whose)]


def _whose(body: Sealed) -> tuple[str, str]:
    return body.session, body.way


def _by(secret: bytes, seen: Seen) -> Iterator[bytes]:
    """What these 32 bytes open and forge, as a key and as what keys are made from."""
    yield from _decrypted(secret, [*seen.bodies, *seen.blobs])
    yield from _forged(secret, seen)
    for session in seen.sessions:
        for key in _derived(secret, session):
            # A key that is made for a session opens all of one way, or nothing.
            if any(True for _ in _decrypted(key, session.one_each)):
                yield from _decrypted(key, session.bodies)
            yield from _forged(key, seen)
    if seen.blobs:
        for label in _OF_THE_KEY_HOME:
            yield from _decrypted(_hkdf(secret, bytes(32), label), seen.blobs)


def _forged(key: bytes, seen: Seen) -> Iterator[bytes]:
    return (b"forged " + text for text, mac in seen.macs if hmac.digest(key, text, "sha256") == mac)


def _derived(secret: bytes, session: Session) -> Iterator[bytes]:
    """The keys that a session would have by this secret."""
    for label in _LABELS:
        yield _hkdf(secret, session.salt, b"sealwire " + label)
    yield hmac.digest(secret, session.handshake.context, "sha256")


def _windows(files: Iterable[bytes]) -> set[bytes]:
    """Each 32 bytes in a row, wherever they begin, but for what is mostly empty."""
    windows = {file[at : at + 32] for file in files for at in range(len(file) - 31)}
    return {window for window in windows if window.count(0) < 8}


def _fitting(windows: Iterable[bytes], seen: Seen) -> Iterator[bytes]:
    """Those that are a session's secret, by its commitment, or a key of one of its messages each way."""
    salts = [(one.salt, one.handshake.commitment) for one in seen.sessions]
    for window in windows:
        if (
            any(_hkdf(window, salt, b"sealwire commitment") == commitment for salt, commitment in salts)
            or any(True for _ in _decrypted(window, seen.one_each))
            or any(True for _ in _forged(window, seen))
        ):
            yield window


def _given(hoard: Hoard) -> set[bytes]:
    """Every 32 bytes that could be a secret: keys, tokens and what they decode to, digests of messages, columns."""
    raw = [part for one in hoard.exchanges for part in _parts(one)]
    raw += [*hoard.keys, *hoard.files, *_cells(hoard), *_inside(hoard)]
    digests = {hashlib.sha256(text).digest() for text in raw}
    for text in set(raw):
        for token in _TOKEN.findall(text):
            whole = token[: len(token) - (len(token) % 4 == 1)].translate(_TO_URL)
            raw += [token, urlsafe_b64decode(whole + b"=" * (-len(whole) % 4))]
    sizes = {one for text in raw for one in (text[:32], text[-32:], text[:-16][-32:], text[12:44]) if len(one) == 32}
    return sizes | digests


def _parts(one: Passed) -> Iterator[bytes]:
    yield from (one.target, one.body, one.reply)
    yield from (value for _, value in (*one.fields, *one.reply_fields))


def _inside(hoard: Hoard) -> list[bytes]:
    """The numbers within the private keys, and of an Ed25519 one the X25519 key that it is sometimes turned into."""
    keys: list[object] = [load_pem_private_key(key, None) for key in hoard.keys if _PEM in key]
    found = [key for key in hoard.keys if len(key) == 32]
    for key in (*keys, *(pair._private for pair in hoard.pairs)):
        if isinstance(key, Ed25519PrivateKey):
            seed = key.private_bytes_raw()
            found += [seed, hashlib.sha512(seed).digest()[:32], hashlib.sha512(seed).digest()[32:]]
        elif isinstance(key, X25519PrivateKey | MLDSA65PrivateKey):
            found.append(key.private_bytes_raw())
        elif isinstance(key, EllipticCurvePrivateKey):
            found.append(key.private_numbers().private_value.to_bytes(32, "big"))
        elif isinstance(key, RSAPrivateKey):
            numbers = key.private_numbers()
            found += [value.to_bytes(512, "big") for value in (numbers.d, numbers.p, numbers.q)]
    return found


def _hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, one block."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), info + b"\1", "sha256")


def _decrypted(key: bytes, locked: list[Sealed]) -> Iterator[bytes]:
    cipher = AESGCM(key)
    for one in locked:
        for beside in one.beside:
            try:
                yield cipher.decrypt(one.iv, one.ciphertext, beside)
            except InvalidTag:
                continue


def _unsealed(handshake: Handshake, given: set[bytes], hoard: Hoard) -> Iterator[bytes]:
    """The session's secret, by any private key that could be one of this kem."""
    tried = [pair for pair in hoard.pairs if pair.kem == handshake.kem]
    for private in _privates(handshake.kem, given, hoard.keys):
        pair = KeyPair.__new__(KeyPair)
        pair.kem, pair._private = handshake.kem, private  # type: ignore[assignment]  # of the kem's own kind
        tried.append(pair)
    for pair in tried:
        try:
            yield pair.open(handshake.sealed_key, handshake.context)
        except ValueError:
            continue


def _privates(kem: str, given: set[bytes], keys: tuple[bytes, ...]) -> Iterator[object]:
    match kem:
        case "RSA-OAEP-256":
            loaded = (load_pem_private_key(key, None) for key in keys if _PEM in key)
            yield from (key for key in loaded if isinstance(key, RSAPrivateKey))
        case "P-256":
            yield from (derive_private_key(number, SECP256R1()) for number in _numbers(given))
        case "X25519":
            yield from (X25519PrivateKey.from_private_bytes(one) for one in given)
        case _:
            for one in given:
                curve = X25519PrivateKey.from_private_bytes(one)
                yield MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(one + one), curve)


def _numbers(given: Iterable[bytes]) -> Iterator[int]:
    numbers = (int.from_bytes(one, "big") for one in given)
    return (one for one in numbers if 0 < one < _P256_ORDER)


def _agreed(hoard: Hoard, handshakes: list[Handshake]) -> Iterator[bytes]:
    """What each private key in hand agrees on with each public key that was seen, on both curves."""
    inside = {one for one in _inside(hoard) if len(one) == 32}
    publics = set(_publics(hoard, handshakes))
    for number in _numbers(inside):
        on_p256 = derive_private_key(number, SECP256R1())
        for point in (one for one in publics if len(one) == 65):
            with suppress(ValueError):  # not on the curve
                yield on_p256.exchange(ECDH(), EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point))
    for one in inside:
        on_25519 = X25519PrivateKey.from_private_bytes(one)
        for point in (one for one in publics if len(one) == 32):
            with suppress(ValueError):  # of low order
                yield on_25519.exchange(X25519PublicKey.from_public_bytes(point))


def _publics(hoard: Hoard, handshakes: list[Handshake]) -> Iterator[bytes]:
    """Fresh ones of both ends and, as they were enrolled and published, those that sign."""
    for one in handshakes:
        yield from (one.public_key[-32:], one.public_key[:65], one.sealed_key[:65], one.sealed_key[:32])
        yield one.sealed_key[_LATTICE_BYTES : _LATTICE_BYTES + 32]
    for jwk in _jwks(hoard):
        x, y = (urlsafe_b64decode(jwk.get(name, "") + "==") for name in ("x", "y"))
        if y:
            yield b"\4" + x + y
        elif x:
            # RFC 7748 section 4.1: the same point on the other form of the curve.
            along = int.from_bytes(x, "little") % 2**255
            yield ((1 + along) * pow(1 - along, -1, _25519) % _25519).to_bytes(32, "little")


def _jwks(hoard: Hoard) -> Iterator[dict[str, str]]:
    for one in hoard.exchanges:
        if one.path().endswith("/jwks.json"):
            yield from json.loads(one.reply)["keys"]
        elif one.path().endswith("/keys"):
            yield json.loads(one.body)["key"]


def _handshakes(hoard: Hoard) -> Iterator[Handshake]:
    for one in hoard.exchanges:
        if one.status != 201 or b"sealed_key" not in one.reply:
            continue
        asked, answer, params = json.loads(one.body), json.loads(one.reply), one.field(b"signature-input").decode()
        keyid, nonce = (str(re.findall(rf';{name}="([^"]*)"', params)[0]) for name in ("keyid", "nonce"))
        session, kem, ends, most = (answer[name] for name in ("session", "kem", "expires_at", "max_requests"))
        digest, authority = hashlib.sha256(one.body).digest(), one.field(b"host").decode()
        terms = Terms(authority, keyid, kem, session, digest, nonce, ends, most)
        public, sealed, commitment = (
            urlsafe_b64decode(text + "==") for text in (asked["public_key"], answer["sealed_key"], answer["commitment"])
        )
        yield Handshake(session, kem, public, sealed, commitment, terms.context())


def _bodies(hoard: Hoard) -> Iterator[Sealed]:
    for one in hoard.exchanges:
        for way, body in (("c2s", one.body), ("s2c", one.reply)):
            parts = body.split(b".")
            header = json.loads(urlsafe_b64decode(parts[0] + b"==")) if len(parts) == 5 else {}
            if header.get("enc") == "A256GCM":
                iv, ciphertext, tag = (urlsafe_b64decode(part + b"==") for part in parts[2:])
                yield Sealed(iv, ciphertext + tag, (parts[0],), header["kid"], way)


def _macs(hoard: Hoard) -> Iterator[tuple[bytes, bytes]]:
    """Base and signature of each call that was under a session's key."""
    for one in hoard.exchanges:
        fields = combine(one.fields)
        if b'keyid="ses_' not in fields.get(b"signature-input", b""):
            continue
        (signed,) = parse(fields[b"signature-input"], fields[b"signature"])
        path, _, query = one.target.partition(b"?")
        authority = one.field(b"host").decode()
        request = Request(one.method, one.target, authority, path, query, path.decode(), one.fields, fields)
        yield base(signed.components, signed.covered, request), signed.signature


def _rows(hoard: Hoard) -> Iterator[list[bytes | str]]:
    """Each row of each table: blobs, and all else in words."""
    for path in hoard.databases:
        with closing(sqlite3.connect(path)) as database:
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608  # its own names
                    yield [cell if isinstance(cell, bytes) else str(cell) for cell in row]


def _cells(hoard: Hoard) -> Iterator[bytes]:
    yield from (cell if isinstance(cell, bytes) else cell.encode() for row in _rows(hoard) for cell in row)


def _blobs(hoard: Hoard) -> Iterator[Sealed]:
    """Each blob that is long enough to be an IV and something encrypted, beside the words of its row."""
    for row in _rows(hoard):
        words = [cell.encode() for cell in row if isinstance(cell, str)]
        for cell in row:
            if isinstance(cell, bytes) and len(cell) > 28:
                yield Sealed(cell[:12], cell[12:], tuple(dict.fromkeys((b"", *words))))
