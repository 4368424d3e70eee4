"""Identifiers."""

from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.identifier import RANDOM_BYTES, identifier

MOMENTS = st.integers(0, 2**48 - 1)
RANDOM = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


def test_form() -> None:
    """A prefix, then 26 characters of Crockford base32, time first."""
    assert identifier("req", 0, bytes(10)) == "req_" + "0" * 26
    assert identifier("req", 1, bytes(10)) == "req_" + "0" * 9 + "1" + "0" * 16
    assert RANDOM_BYTES == 10
    assert identifier("cli", 2**48 - 1, b"\xff" * 10) == "cli_7" + "Z" * 25


def test_moments_past_48_bits() -> None:
    """Later moments start again, and never grow the form."""
    assert identifier("a", 2**48, bytes(10)) == identifier("a", 0, bytes(10))


@given(MOMENTS, MOMENTS, RANDOM, RANDOM)
def test_order(one: int, other: int, a: bytes, b: bytes) -> None:
    """Identifiers sort as moment and random bits do, and only equal ones are equal."""
    assert (identifier("x", one, a) < identifier("x", other, b)) == ((one, a) < (other, b))
    assert (identifier("x", one, a) == identifier("x", other, b)) == ((one, a) == (other, b))
