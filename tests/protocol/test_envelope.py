"""Sealed bodies: one form and no other, and one answer to everything that does not open."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.errors import Refusal
from sealwire.protocol.envelope import MEDIA_TYPE, Header, Headers, open_sealed, protect, read, seal

KEY = AESGCM(b"k" * 32)
IV = b"i" * 12
TEXT = b'{"amount":"1"}'
GOOD = {"alg": "dir", "enc": "A256GCM", "kid": "ses_1", "cty": "application/json"}


class Counting:
    """A key that notes what it was asked to decrypt: the lengths of IV, ciphertext with tag, and header."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, int]] = []

    def decrypt(self, nonce: Any, data: Any, associated_data: Any) -> bytes:
        """As the real one, which does it."""
        self.asked.append((len(nonce), len(data), len(associated_data)))
        return KEY.decrypt(nonce, data, associated_data)


def b64(data: bytes) -> bytes:
    """base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=")


def header(members: Any) -> bytes:
    """A protected header of these members, or of this text."""
    return b64(members if isinstance(members, bytes) else json.dumps(members).encode())


def sealed(protected: bytes = header(GOOD), text: bytes = TEXT) -> bytes:
    """An honest body under a protected header."""
    return seal(KEY, protected, IV, text)


def malformed(body: bytes, cause: str) -> None:
    """The body is refused as one that nobody can read, key or no key."""
    with pytest.raises(Refusal) as raised:
        read(body, Headers())
    found = raised.value
    assert (found.code, found.failed, found.status) == (f"envelope-malformed/{cause}", "policy", 400)
    assert found.members == {}


def undecryptable(body: bytes) -> tuple[int, int, int]:
    """The body is refused as one that did not open, after one decryption: what that one was given."""
    counting: Any = Counting()
    with pytest.raises(Refusal) as raised:
        open_sealed(read(body, Headers()), counting)
    found = raised.value
    assert (found.code, found.failed, found.status) == ("decrypt-failed/decryption", "policy", 400)
    assert (found.members, found.fields, found.__suppress_context__ or found.__context__ is None) == ({}, (), True)
    asked: list[tuple[int, int, int]] = counting.asked
    assert len(asked) == 1
    return asked[0]


def parts(body: bytes = b"", **changed: bytes) -> bytes:
    """The five parts with some of them replaced by these bytes, encoded."""
    found = dict(zip(("header", "key", "iv", "text", "tag"), (body or sealed()).split(b"."), strict=True))
    return b".".join((found | {name: b64(value) for name, value in changed.items()}).values())


@pytest.mark.parametrize("text", [b"", b"x", TEXT, bytes(1000)])
@pytest.mark.parametrize("kind", ["application/json", "text/plain; charset=utf-8", "a/b"])
def test_sealed_and_opened(text: bytes, kind: str) -> None:
    """What was sealed is read back, with its session and its media type."""
    body = seal(KEY, protect("ses_1", kind), IV, text)
    found = read(body, Headers())
    assert found.header == Header("ses_1", kind)
    assert (found.encrypted_key, found.iv, len(found.tag)) == (b"", IV, 16)
    assert open_sealed(found, KEY) == text
    assert text not in body or len(text) < 2
    assert MEDIA_TYPE == b"application/jose"


def test_the_same_again_looks_otherwise() -> None:
    """One plaintext sealed under two IVs shares no part but the header and the empty key."""
    first, second = (seal(KEY, header(GOOD), iv, TEXT).split(b".") for iv in (IV, b"j" * 12))
    assert first[:2] == second[:2]
    assert all(one != other for one, other in zip(first[2:], second[2:], strict=True))


def test_the_header_s_members_in_any_order() -> None:
    """Order and white space of the header are the sender's; what is sealed is the header as it was received."""
    for text in (json.dumps(dict(reversed(GOOD.items()))), json.dumps(GOOD, indent=2)):
        found = read(sealed(header(text.encode())), Headers())
        assert found.header == Header("ses_1", "application/json")
        assert open_sealed(found, KEY) == TEXT


def test_what_we_write() -> None:
    """A header of ours has the four members, compact, and nothing needs another escape than JSON's own."""
    assert protect("ses_1", "a/b") == b64(b'{"alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"}')
    for kind in ('text/plain; charset="utf-8"', 'a/b; c="\\""', "a/" + "b" * 198):
        assert read(sealed(protect("ses_1", kind)), Headers()).header.content_type == kind


@pytest.mark.parametrize("kind", ["", "a/b\n", "a/\u00e9", "a/" + "b" * 199, "a/b\0"])
def test_types_that_cannot_stand_in_a_header(kind: str) -> None:
    """A type that is no printable ASCII, or too long, is not sealed under."""
    with pytest.raises(Refusal) as raised:
        protect("ses_1", kind)
    assert raised.value.code == "envelope-malformed/cty"


@pytest.mark.parametrize("member", sorted(GOOD))
def test_a_member_missing(member: str) -> None:
    """Each of the four is needed."""
    malformed(sealed(header({name: value for name, value in GOOD.items() if name != member})), "header")


@pytest.mark.parametrize(
    "more",
    [
        {"zip": "DEF"},
        {"crit": ["exp"]},
        {"crit": []},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/keys"},
        {"x5c": []},
        {"jwk": {"kty": "oct"}},
        {"epk": {"kty": "OKP", "crv": "X25519", "x": ""}},
        {"skid": "a"},
        {"typ": "JWE"},
        {"p2c": 1},
        {"iv": ""},
        {"": ""},
    ],
)
def test_a_member_too_many(more: dict[str, Any]) -> None:
    """No fifth member, whatever it is good for elsewhere; nothing is fetched, nothing is inflated."""
    malformed(sealed(header(GOOD | more)), "header")


@pytest.mark.parametrize(
    "other",
    [
        *({"alg": alg} for alg in ("DIR", "none", "", "ECDH-ES", "RSA-OAEP-256", "RSA1_5", "A256KW", "A256GCMKW")),
        *({"alg": alg} for alg in ("PBES2-HS256+A128KW", None, ["dir"])),
        *({"enc": enc} for enc in ("A128GCM", "A192GCM", "A256CBC-HS512", "A128CBC-HS256", "a256gcm", "", None, 1)),
        *({name: value} for name in ("kid", "cty") for value in (None, 1, ["ses_1"], True)),
    ],
)
def test_other_values(other: dict[str, Any]) -> None:
    """`dir` with `A256GCM`, and two texts; nothing else."""
    malformed(sealed(header(GOOD | other)), "header")


@pytest.mark.parametrize(
    "text",
    [
        b'{"alg":"dir","alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"}',
        b'{"alg":"dir","enc":"A256GCM","kid":"ses_1","kid":"ses_2","cty":"a/b"}',
        b'{"alg":"dir","\\u0061lg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"}',
        b'{"alg":"dir","enc":"A256GCM","kid":"\\ud800","cty":"a/b"}',
        b'{"alg":"dir","enc":"A256GCM","kid":"\xff","cty":"a/b"}',
        b'\xef\xbb\xbf{"alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"}',
        b'{"alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"} x',
        b'{"alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b",}',
        b"",
        b"null",
        b"[]",
        b'["alg","enc","kid","cty"]',
        b'"alg enc kid cty"',
        b"{}",
        b"[" * 700,
    ],
)
def test_headers_with_no_one_reading(text: bytes) -> None:
    """Members that stand twice, other text, other values: no header."""
    malformed(sealed(header(text)), "header")


def test_a_long_header() -> None:
    """1,024 characters are read, one more is not, and not decoded either."""
    kid = "k" * (768 - len(json.dumps(GOOD | {"kid": ""})))
    assert len(header(GOOD | {"kid": kid})) == 1024
    assert read(sealed(header(GOOD | {"kid": kid})), Headers()).header.session == kid
    malformed(sealed(header(GOOD | {"kid": kid + "k"})), "header")
    malformed(b"*" * 1025 + b"....", "header")


def test_another_number_of_parts() -> None:
    """Five parts, no more and no fewer."""
    body = sealed()
    for wrong in (b"", b".", b"x", b".".join(body.split(b".")[:4]), body + b".", body + b".AAAA", b"." * 10):
        malformed(wrong, "parts")
    malformed(json.dumps({"protected": "", "ciphertext": ""}).encode(), "parts")


@pytest.mark.parametrize("at", range(5))
def test_other_base64url(at: int) -> None:
    """Padding, other alphabets, white space, lengths that no bytes have, bits that no byte has: in no part."""
    found = sealed(text=b"four").split(b".")
    base = found[at] or b"AAAA"
    assert len(b64(b"x")) == 2
    for wrong in (
        *(base + more for more in (b"=", b"==", b"\n", b" ", b"+", b"/", b"\0", b"\xc3\xa9")),
        b" " + base,
        base[: len(base) // 4 * 4] + b"A",
        base[: len(base) // 4 * 4] + b"AB",
        base[: len(base) // 4 * 4] + b"AAB",
    ):
        malformed(b".".join([*found[:at], wrong, *found[at + 1 :]]), "base64url")


def test_one_answer_to_all_that_does_not_open() -> None:
    """
    An encrypted key, IVs of 11 and 13 bytes, tags of 0 to 17: one answer, and the same one decryption as for a body
    that was changed.
    """
    tag = read(sealed(), Headers()).tag
    honest = undecryptable(parts(tag=bytes((tag[0] ^ 1,)) + tag[1:]))
    assert honest == (12, len(TEXT) + 16, len(header(GOOD)))
    for wrong in (
        {"key": b"k"},
        {"key": bytes(32)},
        *({"iv": IV[:size] + bytes(max(0, size - 12))} for size in (0, 1, 8, 11, 13, 16, 24)),
        *({"tag": tag[:size]} for size in (0, 4, 8, 12, 13, 14, 15)),
        {"tag": tag + b"\0"},
        {"tag": bytes(16)},
        {"key": b"k", "iv": b"", "tag": b""},
    ):
        assert undecryptable(parts(**wrong)) == honest


def test_an_encrypted_key_is_refused_though_all_else_fits() -> None:
    """The body itself would open: it is refused after it did."""
    undecryptable(parts(key=b"k"))
    assert open_sealed(read(parts(), Headers()), KEY) == TEXT


def test_an_iv_or_tag_of_zeros_stands_for_none() -> None:
    """What is decrypted in place of a wrong IV or tag is thrown away, though it may be what the sender sealed."""
    body = seal(KEY, header(GOOD), bytes(12), TEXT)
    assert open_sealed(read(body, Headers()), KEY) == TEXT
    for iv in (b"", bytes(11), bytes(13)):
        undecryptable(parts(body, iv=iv))


def test_every_byte_counts() -> None:
    """A change of any byte of header, IV, ciphertext or tag is refused, and never read as something else."""
    body = sealed()
    for at in range(len(body)):
        for flip in (1, 2, 16, 128):
            changed = body[:at] + bytes((body[at] ^ flip,)) + body[at + 1 :]
            with pytest.raises(Refusal) as raised:
                open_sealed(read(changed, Headers()), KEY)
            assert raised.value.slug in {"envelope-malformed", "decrypt-failed"}


def test_another_key_or_header() -> None:
    """Another session's key opens nothing, nor the same body under a header written otherwise."""
    with pytest.raises(Refusal, match="decrypt-failed"):
        open_sealed(read(sealed(), Headers()), AESGCM(b"o" * 32))
    other = header(json.dumps(GOOD, separators=(",", ":")).encode())
    undecryptable(b".".join((other, *sealed().split(b".")[1:])))


def test_headers_are_kept_after_a_body_opened() -> None:
    """A header that was kept is not read again, by its very bytes; past the bound all are dropped."""
    headers = Headers()
    found = read(sealed(), headers)
    assert Headers.BOUND == 1024
    assert headers.find(found.aad) is None
    headers.keep(found)
    assert headers.find(found.aad) is found.header
    assert read(sealed(), headers).header is found.header
    assert headers.find(found.aad + b"A") is None
    for number in range(Headers.BOUND - 1):
        headers.keep(found._replace(aad=b"%d" % number))
    assert headers.find(found.aad) is found.header
    headers.keep(found._replace(aad=b"one more"))
    assert headers.find(found.aad) is None
    assert headers.find(b"one more") is found.header
