"""
Sealed bodies: a compact JWE of one fixed form, `dir` with `A256GCM` (RFC 7516, RFC 7518 sections 4.5 and 5.3;
docs/protocol.md, "Sealed bodies").

Owns: the form, and which failure is told apart from which: what can be read without a key is `envelope-malformed`, all
that comes after is `decrypt-failed`, the same answer by the same steps. Written by hand because it is on the hot path;
other JOSE libraries hold it to the standard in the tests.
Refuses to know: sessions, and whose key it is given.
"""

from __future__ import annotations

import functools
import json
import re
from binascii import a2b_base64, b2a_base64
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.errors import Refusal
from sealwire.protocol import strictjson

MEDIA_TYPE = b"application/jose"
IV_BYTES = 12
_TAG_BYTES = 16
_HEADER_BYTES = 1024
_MEMBERS = frozenset(("alg", "enc", "kid", "cty"))
# What plain base64 has in place of `-` and `_`, and its padding, are made into what no base64 has.
_URL_TO_PLAIN = bytes.maketrans(b"-_+/=", b"+/!!!")
_PLAIN_TO_URL = bytes.maketrans(b"+/", b"-_")


class Header(NamedTuple):
    """What a sealed body says of itself: its session, and the full media type of what is inside."""

    session: str
    content_type: str


class Envelope(NamedTuple):
    """A sealed body taken apart; nothing of it is opened. `aad` is the protected header as it was received."""

    header: Header
    aad: bytes
    encrypted_key: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes


class Headers:
    """
    What protected headers say, by their bytes, so that one seen before is not read again. At most 1,024 are kept, each
    after a body under it opened; none past the bound.
    """

    BOUND = 1024

    def __init__(self) -> None:
        self._known: dict[bytes, Header] = {}
        #: What is known of these bytes, or None.
        self.find = self._known.get

    def keep(self, envelope: Envelope) -> None:
        """Called once a body under this header was opened."""
        if len(self._known) >= self.BOUND:
            # Sessions end: what was kept for them is dropped all at once, and read again where it still matters.
            self._known.clear()
        self._known[envelope.aad] = envelope.header


def read(body: bytes, headers: Headers) -> Envelope:
    """
    The five parts of a compact serialisation (RFC 7516 section 7.1).

    Raises: envelope-malformed for another number of parts, base64url that is not canonical, a protected header that is
    not exactly `alg enc kid cty`.
    """
    aad, _, rest = body.partition(b".")
    parts = rest.translate(_URL_TO_PLAIN).split(b".", 4)
    if len(parts) != 4:
        raise _malformed("parts", "A sealed body has five parts.")
    encrypted_key, iv, ciphertext, tag = parts
    header = headers.find(aad) or _header(aad)
    return Envelope(header, aad, _decode(encrypted_key), _decode(iv), _decode(ciphertext), _decode(tag))


def open_sealed(envelope: Envelope, key: AESGCM) -> bytes:
    """
    The plaintext. Raises: decrypt-failed, whatever is wrong: an encrypted key where there can be none, IV, tag, the
    bytes themselves. Each goes through one decryption, so that none is faster than another.
    """
    fits = not envelope.encrypted_key and len(envelope.iv) == IV_BYTES and len(envelope.tag) == _TAG_BYTES
    iv = envelope.iv if len(envelope.iv) == IV_BYTES else bytes(IV_BYTES)
    tag = envelope.tag if len(envelope.tag) == _TAG_BYTES else bytes(_TAG_BYTES)
    try:
        plaintext = key.decrypt(iv, envelope.ciphertext + tag, envelope.aad)
    except InvalidTag:
        fits = False
    if not fits:
        raise Refusal("decrypt-failed", "decryption", failed="policy")
    return plaintext


def seal(key: AESGCM, protected: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """The compact serialisation of `plaintext` under a protected header from `protect`. An IV is used once a key."""
    sealed = key.encrypt(iv, plaintext, protected)
    parts = (b"", _unpadded(iv), _unpadded(sealed[:-_TAG_BYTES]), _unpadded(sealed[-_TAG_BYTES:]))
    return protected + b"." + b".".join(parts).translate(_PLAIN_TO_URL)


@functools.lru_cache(maxsize=1024)
def protect(session: str, content_type: str) -> bytes:
    """
    The encoded protected header of bodies of one media type in one session. Raises: envelope-malformed for a media type
    that is not 1 to 200 printable ASCII characters.
    """
    _judge_type(content_type)
    members = {"alg": "dir", "enc": "A256GCM", "kid": session, "cty": content_type}
    return _unpadded(json.dumps(members, separators=(",", ":")).encode("ascii")).translate(_PLAIN_TO_URL)


# What a field's value may hold (RFC 9110 section 5.5), without what is obsolete and without a tab.
_CONTENT_TYPE = re.compile(r"[ -~]{1,200}")


def _judge_type(content_type: str) -> None:
    if not _CONTENT_TYPE.fullmatch(content_type):
        raise _malformed("cty", "The media type is none that a header field could hold.")


def _header(encoded: bytes) -> Header:
    if len(encoded) > _HEADER_BYTES:
        raise _malformed("header", "The protected header is too long.")
    try:
        members = strictjson.read(_decode(encoded.translate(_URL_TO_PLAIN)))
    except strictjson.NotStrict:
        raise _malformed("header", "The protected header is not JSON with one reading.") from None
    if not isinstance(members, dict) or members.keys() != _MEMBERS:
        raise _malformed("header", "The protected header has the members alg, enc, kid and cty, and no other.")
    if members["alg"] != "dir" or members["enc"] != "A256GCM":
        raise _malformed("header", "alg is dir and enc is A256GCM.")
    session, content_type = members["kid"], members["cty"]
    if not isinstance(session, str) or not isinstance(content_type, str):
        raise _malformed("header", "kid and cty are strings.")
    # The app gets it as a field, and no parser of fields has looked at it.
    _judge_type(content_type)
    return Header(session, content_type)


def _decode(part: bytes) -> bytes:
    """
    Canonical base64url without padding (RFC 7515 section 2), translated by _URL_TO_PLAIN. Raises: envelope-malformed.
    """
    if not part:
        return b""
    padding = -len(part) % 4
    try:
        data = a2b_base64(part + b"=" * padding, strict_mode=True)
    except ValueError:
        raise _malformed("base64url", "A part is not base64url.") from None
    # Only the last characters can hold bits that no byte has.
    if padding and not part.endswith(_unpadded(data[-(len(data) % 3) :])):
        raise _malformed("base64url", "A part is not canonical base64url.")
    return data


def _unpadded(data: bytes) -> bytes:
    """Plain base64 without padding."""
    return b2a_base64(data, newline=False).rstrip(b"=")


def _malformed(cause: str, detail: str) -> Refusal:
    return Refusal("envelope-malformed", cause, detail, failed="policy")
