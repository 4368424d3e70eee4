"""
Identifiers: a prefix and a time-ordered 128-bit value in Crockford base32, as in `req_01K0F3Q7Z6M8T2N4B5C6D7E8F9`.

Owns: the form. Refuses to know: the clock and the random generator; both come in as values.
"""

from __future__ import annotations

import functools

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_TIME_SHIFTS, _RANDOM_SHIFTS = range(40, -1, -10), range(70, -1, -10)
RANDOM_BYTES = 10


def identifier(prefix: str, milliseconds: int, random: bytes) -> str:
    """48 bits of Unix milliseconds, then 80 random bits: later identifiers sort later, and none can be guessed."""
    value = int.from_bytes(random, "big")
    return f"{prefix}_{_time(milliseconds)}{''.join([_PAIRS[value >> shift & 0x3FF] for shift in _RANDOM_SHIFTS])}"


@functools.lru_cache(maxsize=4)
def _time(milliseconds: int) -> str:
    return "".join([_PAIRS[(milliseconds & 0xFFFFFFFFFFFF) >> shift & 0x3FF] for shift in _TIME_SHIFTS])
