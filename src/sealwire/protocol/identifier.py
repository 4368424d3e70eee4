"""
Identifiers: a prefix and a time-ordered 128-bit value in Crockford base32, as in `req_01K0F3Q7Z6M8T2N4B5C6D7E8F9`.

Owns: the form. Refuses to know: the clock and the random generator; both come in as values.
"""

from __future__ import annotations

import functools

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TIME_SHIFTS = range(45, -1, -5)
#: One byte for each of the characters, which has five bits.
RANDOM_BYTES = 16
_FIVE_BITS = _ALPHABET.encode("ascii") * 8


def identifier(prefix: str, milliseconds: int, random: bytes) -> str:
    """48 bits of Unix milliseconds, then 80 random bits: later identifiers sort later, and none can be guessed."""
    return f"{prefix}_{_time(milliseconds)}{random.translate(_FIVE_BITS).decode('ascii')}"


@functools.lru_cache(maxsize=4)
def _time(milliseconds: int) -> str:
    return "".join([_ALPHABET[(milliseconds & 0xFFFFFFFFFFFF) >> shift & 0x1F] for shift in _TIME_SHIFTS])
