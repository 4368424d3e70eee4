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
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import httpx2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealwire.protocol.handshake import KeyPair, Terms
from sealwire.protocol.message import Request, combine
from sealwire.protocol.signature import base, parse
from tests.stories.world import Wire

_TOKEN = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_TO_URL = bytes.maketrans(b"+/", b"-_")
_LABELS = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac", b"commitment")
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Hoard(NamedTuple):
    """What was kept: both ends of each exchange, databases, other files' bytes, private keys in PEM or as they are."""

    exchanges: list[tuple[Wire, httpx2.Response]]
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


class Handshake(NamedTuple):
    """One opening of a session, as it was seen."""

    session: str
    kem: str
    sealed_key: bytes
    context: bytes


def opened(hoard: Hoard) -> list[bytes]:
    """All plaintexts that come out, and for each message under a mac that could be forged, `forged` and its base."""
    bodies, blobs, signed = list(_bodies(hoard)), list(_blobs(hoard)), list(_macs(hoard))
    handshakes = list(_handshakes(hoard))
    given = _given(hoard)
    secrets = given | {one for handshake in handshakes for one in _unsealed(handshake, given, hoard)}
    found: list[bytes] = []
    for secret in secrets:
        for key, locked in ((secret, [*bodies, *blobs]), *_derived(secret, handshakes, bodies, blobs)):
            found += _decrypted(key, locked)
            found += [b"forged " + text for text, mac in signed if hmac.digest(key, text, "sha256") == mac]
    # Of whole files each 32 bytes in a row, wherever they begin: as the secret and as the keys themselves.
    for window in _windows(hoard.files) - secrets:
        for key, locked in ((window, bodies[:2]), *_derived(window, handshakes[:1], bodies[:2], [])):
            found += _decrypted(key, locked)
    return found


def _windows(files: Iterable[bytes]) -> set[bytes]:
    windows = {file[at : at + 32] for file in files for at in range(len(file) - 31)}
    return {window for window in windows if window.count(0) < 8}


def _given(hoard: Hoard) -> set[bytes]:
    """Every 32 bytes that could be a secret: keys, tokens and what they decode to, digests of messages, columns."""
    texts = [part for wire, reply in hoard.exchanges for part in _parts(wire, reply)]
    raw = [*hoard.keys, *texts, *hoard.files, *_cells(hoard)]
    for pem in hoard.keys:
        raw += _inside(pem)
    for text in list(raw):
        for token in _TOKEN.findall(text):
            whole = token[: len(token) - (len(token) % 4 == 1)].translate(_TO_URL)
            raw += [token, urlsafe_b64decode(whole + b"=" * (-len(whole) % 4))]
    sizes = {one for text in raw for one in (text[:32], text[-32:], text[:-16][-32:], text[12:44]) if len(one) == 32}
    return sizes | {hashlib.sha256(text).digest() for text in raw}


def _parts(wire: Wire, reply: httpx2.Response) -> Iterator[bytes]:
    yield from (wire.target, wire.body, reply.content)
    yield from (value for _, value in wire.headers)
    yield from (value for _, value in reply.headers.raw)


def _inside(pem: bytes) -> list[bytes]:
    """The numbers within a private key, and of an Ed25519 one the X25519 key that it is sometimes turned into."""
    if not pem.startswith(b"-----BEGIN"):
        return [pem]
    key = load_pem_private_key(pem, None)
    if isinstance(key, Ed25519PrivateKey):
        seed = key.private_bytes_raw()
        return [seed, hashlib.sha512(seed).digest()[:32], hashlib.sha512(seed).digest()[32:]]
    if isinstance(key, EllipticCurvePrivateKey):
        return [key.private_numbers().private_value.to_bytes(32, "big")]
    if isinstance(key, RSAPrivateKey):
        numbers = key.private_numbers()
        return [value.to_bytes(512, "big") for value in (numbers.d, numbers.p, numbers.q)]
    return []


def _derived(
    secret: bytes, handshakes: Iterable[Handshake], bodies: list[Sealed], blobs: list[Sealed]
) -> Iterator[tuple[bytes, list[Sealed]]]:
    """The secret as HKDF input for each session, with what that may open, and for the labels of the key home."""
    for handshake in handshakes:
        own = [body for body in bodies if body.session == handshake.session]
        salt = hashlib.sha256(handshake.context).digest()
        for label in _LABELS:
            yield _hkdf(secret, salt, b"sealwire " + label), own
        yield hmac.digest(secret, handshake.context, "sha256"), own
    if blobs:
        for label in (b"sealwire wrap", b"sealwire digest"):
            yield _hkdf(secret, bytes(32), label), blobs


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
            loaded = (load_pem_private_key(key, None) for key in keys if key.startswith(b"-----BEGIN"))
            yield from (key for key in loaded if isinstance(key, RSAPrivateKey))
        case "P-256":
            numbers = (int.from_bytes(one, "big") for one in given)
            yield from (derive_private_key(one, SECP256R1()) for one in numbers if 0 < one < _P256_ORDER)
        case "X25519":
            yield from (X25519PrivateKey.from_private_bytes(one) for one in given)
        case _:
            for one in given:
                curve = X25519PrivateKey.from_private_bytes(one)
                yield MLKEM768X25519PrivateKey(MLKEM768PrivateKey.from_seed_bytes(one + one), curve)


def _handshakes(hoard: Hoard) -> Iterator[Handshake]:
    for wire, reply in hoard.exchanges:
        if reply.status_code != 201 or b"sealed_key" not in reply.content:
            continue
        answer, params = reply.json(), wire.header(b"signature-input").decode()
        keyid, nonce = (str(re.findall(rf';{name}="([^"]*)"', params)[0]) for name in ("keyid", "nonce"))
        digest = hashlib.sha256(wire.body).digest()
        session, ends, most = answer["session"], answer["expires_at"], answer["max_requests"]
        terms = Terms("api.example", keyid, answer["kem"], session, digest, nonce, ends, most)
        yield Handshake(session, answer["kem"], urlsafe_b64decode(answer["sealed_key"] + "=="), terms.context())


def _bodies(hoard: Hoard) -> Iterator[Sealed]:
    for wire, reply in hoard.exchanges:
        for body in (wire.body, reply.content):
            parts = body.split(b".")
            header = json.loads(urlsafe_b64decode(parts[0] + b"==")) if len(parts) == 5 else {}
            if header.get("enc") == "A256GCM":
                iv, ciphertext, tag = (urlsafe_b64decode(part + b"==") for part in parts[2:])
                yield Sealed(iv, ciphertext + tag, (parts[0],), header["kid"])


def _macs(hoard: Hoard) -> Iterator[tuple[bytes, bytes]]:
    """Base and signature of each call that was under a session's key."""
    for wire, _ in hoard.exchanges:
        headers = tuple(wire.headers)
        fields = combine(headers)
        if b'keyid="ses_' not in fields.get(b"signature-input", b""):
            continue
        (signed,) = parse(fields[b"signature-input"], fields[b"signature"])
        path, _, query = wire.target.partition(b"?")
        request = Request(wire.method, wire.target, "api.example", path, query, path.decode(), headers, fields)
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
                yield Sealed(cell[:12], cell[12:], (b"", *words))
