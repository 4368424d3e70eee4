"""API keys as they are written: the form, its checksum, and how one is told from other bearers."""

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.apikey import PATTERN, SECRET_BYTES, is_ours, is_whole, presented, write

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
MODES = st.sampled_from(("test", "live"))
KEY = write("live", bytes(range(SECRET_BYTES)))


def number(digits: str) -> int:
    """What base62 digits say, the highest first."""
    value = 0
    for digit in digits:
        value = value * 62 + DIGITS.index(digit)
    return value


@given(MODES, SECRETS)
def test_what_is_in_a_key(mode: str, secret: bytes) -> None:
    """Prefix and mode, the secret in 43 digits, and the CRC-32 of all before it in six: nothing is lost."""
    key = write(mode, secret)
    assert key.startswith(f"sw_{mode}_sk_")
    digits = key[len("sw_live_sk_") :]
    assert (len(digits), number(digits[:43])) == (49, int.from_bytes(secret, "big"))
    assert number(digits[43:]) == zlib.crc32(key[:-6].encode())
    assert re.fullmatch(PATTERN, key)
    assert is_ours(key.encode())
    assert is_whole(key.encode())


@given(MODES, SECRETS, MODES, SECRETS)
def test_no_two_secrets_have_one_key(mode: str, one: bytes, other_mode: str, other: bytes) -> None:
    """Another secret, or another mode, is another key."""
    assert (write(mode, one) == write(other_mode, other)) is ((mode, one) == (other_mode, other))


@pytest.mark.parametrize(
    ("secret", "digits"), [(0, "0" * 43), (61, "0" * 42 + "z"), (62, "0" * 41 + "10"), (2**256 - 1, "")]
)
def test_the_ends_of_the_range(secret: int, digits: str) -> None:
    """Zeros in front are written, and the largest secret fits."""
    key = write("test", secret.to_bytes(SECRET_BYTES, "big"))
    assert key[11:-6] == digits or (number(key[11:-6]), digits) == (secret, "")


@given(SECRETS, st.integers(0, len(KEY) - 1), st.sampled_from(DIGITS + "_-. "))
def test_a_typing_mistake_is_seen(secret: bytes, at: int, digit: str) -> None:
    """One character that is another makes a key that is not whole."""
    key = write("live", secret)
    typed = key[:at] + digit + key[at + 1 :]
    assert is_whole(typed.encode()) is (typed == key)


@given(SECRETS, st.integers(0, len(KEY) - 2))
def test_two_swapped_are_seen(secret: bytes, at: int) -> None:
    """Two neighbours that changed places are seen too."""
    key = write("live", secret)
    typed = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert is_whole(typed.encode()) is (typed == key)


@pytest.mark.parametrize(
    "credential",
    [
        b"",
        b"sw_live_sk_",
        KEY[:-1].encode(),
        KEY.encode() + b"0",
        b" " + KEY.encode(),
        KEY.encode() + b" ",
        KEY.encode() + b"\n",
        KEY.encode() + b", " + KEY.encode(),
        KEY.replace("live", "prod").encode(),
        KEY.upper().encode(),
        "sw_live_sk_\u0663".encode(),
    ],
)
def test_what_is_no_whole_key(credential: bytes) -> None:
    """Cut, doubled, padded, of another mode, in capitals."""
    assert not is_whole(credential)


@pytest.mark.parametrize(
    ("credential", "ours"),
    [
        (b"sw_live_sk_", True),
        (b"sw_prod_sk_x", True),
        (b"sw_sk_x", True),
        (b"x" + KEY.encode(), True),
        (b"SW_LIVE_SK_x", False),
        (b"sw_live_pk_x", False),
        (b"eyJhbGciOiJFUzI1NiJ9.e30.c2ln", False),
        (b"ghp_0123", False),
        (b"", False),
    ],
)
def test_told_by_its_prefix(credential: bytes, ours: bool) -> None:
    """What begins as ours, or has one of ours in it, is ours to judge, however wrong the rest; no other bearer is."""
    assert is_ours(credential) is ours


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER ", b"bEaReR    "])
def test_the_scheme_in_any_case(scheme: bytes) -> None:
    """A scheme's case says nothing (RFC 9110 section 11.1), and spaces may be more than one."""
    assert presented(scheme + KEY.encode()) == KEY.encode()


@pytest.mark.parametrize("field", [b"Basic YTpi", b"Bearer", b"", b"Bearer\tx", b"xBearer y", b"DPoP x"])
def test_another_scheme(field: bytes) -> None:
    """What is no bearer is presented whole, as no key could be written."""
    assert presented(field) == b" " + field
    assert not is_ours(presented(field))


@given(SECRETS, st.text(alphabet=" \t\n\"'=:,;<>()", min_size=1, max_size=5))
def test_a_scanner_finds_it(secret: bytes, around: str) -> None:
    """In the middle of any file the pattern finds the key, whole."""
    key = write("live", secret)
    assert re.findall(PATTERN, f"API_KEY{around}{key}{around}# {around}sw_live_sk_short") == [key]
