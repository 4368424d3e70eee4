"""
API keys as they are written: prefix, mode, 43 base62 digits of 32 random bytes, checksum (docs/protocol.md, "API
keys").

Owns: the form, which a secret scanner can look for, and how one is told from other bearers (RFC 6750 section 2.1): by
its prefix, never by trial. Refuses to know: which keys there are.
"""

from __future__ import annotations

import re
import zlib

#: What secret scanners look for; a match whose checksum fits is one of ours.
PATTERN = r"sw_(?:test|live)_sk_[0-9A-Za-z]{49}"
#: Random bytes in a key.
SECRET_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS.encode("ascii"))}
_FORM = re.compile(PATTERN.encode("ascii"))
# A key of ours at the front, however misspelt, or well begun behind whatever another scheme puts before it.
_OURS = re.compile(rb"\Asw_[a-z]*_?sk_|sw_(?:test|live)_sk_")
_BEARER = re.compile(rb"bearer +", re.IGNORECASE)
_BODY, _CHECK = 43, 6


def write(mode: str, secret: bytes) -> str:
    """The key of 32 secret bytes; `mode` is `test` or `live`. Different bytes give different keys."""
    plain = f"sw_{mode}_sk_{_base62(int.from_bytes(secret, 'big'), _BODY)}"
    return plain + _base62(zlib.crc32(plain.encode("ascii")), _CHECK)


def presented(authorization: bytes) -> bytes:
    """What an Authorization field presents: the bearer, or the field, as no key, where it is of another scheme."""
    found = _BEARER.match(authorization)
    return authorization[found.end() :] if found else b" " + authorization


def is_ours(credential: bytes) -> bool:
    """Whether this is meant to be one of our keys, good or not."""
    return _OURS.search(credential) is not None


def is_whole(credential: bytes) -> bool:
    """Whether form and checksum are those of a key. For typing mistakes alone: whoever guesses can compute one."""
    return _FORM.fullmatch(credential) is not None and _number(credential[-_CHECK:]) == zlib.crc32(credential[:-_CHECK])


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits = _DIGITS[digit] + digits
    return digits


def _number(digits: bytes) -> int:
    number = 0
    for digit in digits:
        number = number * 62 + _VALUES[digit]
    return number
