"""Identifiers."""

from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.identifier import RANDOM_BYTES, identifier

MOMENTS = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_form() -> None:
    """A prefix, then 26 characters of Crockford base32, time first."""
    assert identifier("req", 0, bytes(16)) == "req_" + "0" * 26
    assert identifier("req", 1, bytes(16)) == "req_" + "0" * 9 + "1" + "0" * 16
    assert RANDOM_BYTES == 16
    assert identifier("cli", 2**48 - 1, b"\xff" * 16) == "cli_7" + "Z" * 25


def test_random_bits() -> None:
    """Five bits of each random byte stand in it, and each of the 32 characters as often as any other."""
    made = "".join(identifier("", 0, bytes(range(first, first + 16)))[11:] for first in range(0, 256, 16))
    assert made == "0123456789ABCDEFGHJKMNPQRSTVWXYZ" * 8


def test_moments_past_48_bits() -> None:
    """Later moments start again, and never grow the form."""
    assert identifier("a", 2**48, bytes(16)) == identifier("a", 0, bytes(16))


@given(MOMENTS, MOMENTS, RANDOM, RANDOM)
def test_order(one: int, other: int, a: bytes, b: bytes) -> None:
    """Identifiers sort as moment and random bits do, and only equal ones are equal."""
    first, second = ((one, [byte % 32 for byte in a]), (other, [byte % 32 for byte in b]))
    assert (identifier("x", one, a) < identifier("x", other, b)) == (first < second)
    assert (identifier("x", one, a) == identifier("x", other, b)) == (first == second)
