"""Content-Digest: read, hashed while the body comes, judged."""

from base64 import b64encode
from hashlib import sha256, sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.digest import content_digest, decode_base64, expect
from tests.protocol.made import code

BODY = b'{"hello": "world"}'
GOOD_256 = b"sha-256=:" + b64encode(sha256(BODY).digest()) + b":"
GOOD_512 = b"sha-512=:" + b64encode(sha512(BODY).digest()) + b":"
BAD_256 = b"sha-256=:" + b64encode(bytes(32)) + b":"
BAD_512 = b"sha-512=:" + b64encode(bytes(64)) + b":"
MD5 = b"md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"


def judge(field: bytes, body: bytes = BODY) -> None:
    """Raises unless the body has the digests."""
    expected = expect(field)
    expected.update(body)
    expected.judge()


@pytest.mark.parametrize(
    "field",
    [
        GOOD_256,
        GOOD_512,
        GOOD_256 + b", " + GOOD_512,
        GOOD_512 + b"," + GOOD_256,
        MD5 + b", " + GOOD_256,
        MD5 + b", " + MD5 + b", unknown, other=(1 2), " + GOOD_512,
        GOOD_256 + b";p=1",
        b" " + GOOD_256,
    ],
)
def test_good(field: bytes) -> None:
    """Every digest that counts matches; what does not count is passed over."""
    judge(field)


def test_the_ordinary_form_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ordinary senders write needs no general parser."""
    monkeypatch.setattr("sealwire.protocol.digest.parse_dictionary", None)
    judge(GOOD_256)
    with pytest.raises(Refusal, match="digest-mismatch/differs"):
        judge(BAD_256)


@pytest.mark.parametrize(
    "field",
    [
        BAD_256,
        BAD_512,
        GOOD_256 + b", " + BAD_512,
        BAD_256 + b", " + GOOD_512,
        BAD_512 + b", " + GOOD_256,
        MD5 + b", " + BAD_256,
    ],
)
def test_one_that_differs(field: bytes) -> None:
    """One digest that does not match is enough, whatever the others say."""
    with pytest.raises(Refusal) as raised:
        judge(field)
    assert (code(raised), raised.value.failed, raised.value.status) == ("digest-mismatch/differs", "digest", 401)


@pytest.mark.parametrize("field", [b"", MD5, b"sha-1=:YQ==:", b"sha=:07CavjDP4u3/TungoUHJO/Wzr4c=:", b"sha-257=:YQ==:"])
def test_none_that_counts(field: bytes) -> None:
    """Digests of unknown algorithms only are no digest."""
    with pytest.raises(Refusal, match="digest-mismatch/no-algorithm"):
        expect(field)


@pytest.mark.parametrize(
    "field",
    [
        GOOD_256[:-1],
        GOOD_256.replace(b"=:", b"= :", 1),
        GOOD_256[:-2] + b":",
        GOOD_256[:-2] + b"==:",
        GOOD_256[:51] + b"F=:",
        GOOD_256[:30] + b"-" + GOOD_256[31:],
        GOOD_256[:20] + b" " + GOOD_256[20:],
        GOOD_256 + b", " + GOOD_256,
        BAD_256 + b", " + GOOD_256,
        GOOD_256 + b",",
        GOOD_256 + b", Sha-512=1",
        b"sha-256=:YQ==:",
        b"sha-256=" + GOOD_512[8:],
        b"sha-512=" + GOOD_256[8:],
        b"sha-256",
        b"sha-256=(:YQ==:)",
        b'sha-256="' + b"A" * 44 + b'"',
        b"sha-256=" + b"A" * 44,
        b"sha-256=::",
        b"\xff",
    ],
)
def test_unreadable(field: bytes) -> None:
    """Wrong lengths, other types, a second spelling of the same bytes, an algorithm that stands twice: refused."""
    with pytest.raises(Refusal, match="digest-mismatch/unreadable") as raised:
        judge(field)
    assert raised.value.failed == "digest"


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_what_we_write_is_what_we_take(chunks: list[bytes]) -> None:
    """A body has the digest written for it, in whatever pieces it comes, and no other body has."""
    body = b"".join(chunks)
    expected = expect(content_digest(body))
    for chunk in chunks:
        expected.update(chunk)
    expected.judge()
    expected.update(b"\0")
    with pytest.raises(Refusal, match="digest-mismatch/differs"):
        expected.judge()


@pytest.mark.parametrize(
    "text", [b"YQ", b"YQ=", b"YR==", b"YQ==\n", b" YQ==", b"YQ===", b"Y-==", b"=", b"Y", b"YQ==YQ=="]
)
def test_base64_has_one_spelling(text: bytes) -> None:
    """Missing or extra padding, bits left over and other alphabets are not read."""
    assert decode_base64(text) is None


@given(st.binary(max_size=70))
def test_base64(data: bytes) -> None:
    """Canonical base64 is read as what it spells."""
    assert decode_base64(b64encode(data)) == data
