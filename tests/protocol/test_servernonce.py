"""Nonces that the server hands to callers without a clock."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.jwk import b64url, unb64url
from sealwire.protocol.profile import NONCE
from sealwire.protocol.servernonce import LENGTH, RANDOM_BYTES, VALID_SECONDS, issue, issued_at, reads_as_one

SECRET = b"s" * 32
MOMENT = 1_790_000_000_123
MADE = issue(SECRET, MOMENT, b"r" * 8, "key")


def test_form() -> None:
    """base64url of eight bytes of milliseconds, eight random ones, and half of an HMAC over both and the keyid."""
    body = MOMENT.to_bytes(8, "big") + b"r" * 8
    tag = hmac.digest(SECRET, b"sealwire nonce 1" + body + b"key", hashlib.sha256)[:16]
    assert b64url(body + tag) == MADE
    assert (len(MADE), LENGTH, RANDOM_BYTES, VALID_SECONDS) == (43, 43, 8, 60)
    assert NONCE.fullmatch(MADE)


def test_issue_time() -> None:
    """A nonce of ours says when it was issued."""
    assert issued_at(SECRET, MADE, "key") == MOMENT / 1000


@pytest.mark.parametrize(
    ("secret", "nonce", "keyid"),
    [
        (b"t" * 32, MADE, "key"),
        (SECRET, MADE, "other"),
        (SECRET, MADE, ""),
        (SECRET, MADE[:-1], "key"),
        (SECRET, MADE + "A", "key"),
        (SECRET, "", "key"),
        (SECRET, "*" * 43, "key"),
        (SECRET, "A" * 42 + "B", "key"),
        (SECRET, b64url(bytes(32)), "key"),
    ],
)
def test_not_ours(secret: bytes, nonce: str, keyid: str) -> None:
    """Of another start, for another key, or of another form."""
    assert issued_at(secret, nonce, keyid) is None


@pytest.mark.parametrize(
    ("nonce", "reads"),
    [
        (MADE, True),
        (issue(b"t" * 32, 1 << 40, b"r" * 8, "other"), True),
        (issue(SECRET, (1 << 43) - 1, b"r" * 8, "key"), True),
        (issue(SECRET, (1 << 40) - 1, b"r" * 8, "key"), False),
        (issue(SECRET, 1 << 43, b"r" * 8, "key"), False),
        (b64url(b"r" * 32), False),
        (MADE[:-1], False),
        ("*" * 43, False),
    ],
)
def test_what_reads_as_one(nonce: str, reads: bool) -> None:
    """One of any start and for any key is told by its time, which random bytes do not begin with."""
    assert reads_as_one(nonce) is reads


@given(st.integers(0, 31), st.integers(1, 255))
def test_one_changed_byte(position: int, step: int) -> None:
    """With any byte changed it is no longer ours."""
    raw = bytearray(unb64url(MADE))
    raw[position] ^= step
    assert issued_at(SECRET, b64url(bytes(raw)), "key") is None


def test_two_in_one_millisecond() -> None:
    """Two asked for at once differ by their random bytes."""
    assert issue(SECRET, MOMENT, b"q" * 8, "key") != MADE
