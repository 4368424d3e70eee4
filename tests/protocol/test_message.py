"""The head of a message, and the one reading of its target."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.message import (
    FIELD_BYTES,
    HEAD_BYTES,
    Request,
    combine,
    normal_authority,
    percent_decode,
    read_authority,
    read_head,
    read_target,
)
from tests.protocol.made import AUTHORITY, only, request, with_body

OURS = frozenset((AUTHORITY, "localhost:8080", "[::1]:8080"))


def field(name: bytes, size: int) -> tuple[bytes, bytes]:
    """A field that counts as `size` bytes: name, colon, space, value, line end."""
    return name, b"v" * (size - len(name) - 4)


# --- the head ---


def test_a_request_says_what_it_was_told() -> None:
    """Unless it is said otherwise, a request came over https, without trailers and encoded slashes."""
    made = Request("GET", b"/", AUTHORITY, b"/", b"", "/", (), {})
    assert (made.scheme, made.trailers, made.slashes) == ("https", (), False)


def test_the_components_of_a_request() -> None:
    """The values of all fields and the four that are always covered, made once; they are no part of what it equals."""
    made = request([(b"x-a", b"1")], target=b"/a?b=c")
    values = made.components()
    assert values == {
        **made.fields, b"@method": b"GET", b"@authority": AUTHORITY.encode(), b"@path": b"/a", b"@query": b"?b=c"
    }  # fmt: skip
    assert made.components() is values
    assert made == request([(b"x-a", b"1")], target=b"/a?b=c")


def test_names_are_lowered_and_values_stripped() -> None:
    """A field is found under its lower-case name, without the space around its value."""
    headers, fields = read_head([(b"Accept", b" \ta/b\t "), (b"X-A", b"1"), (b"x-a", b"2")])
    assert headers == ((b"accept", b"a/b"), (b"x-a", b"1"), (b"x-a", b"2"))
    assert fields == {b"accept": b"a/b", b"x-a": b"1, 2"}


def test_combine() -> None:
    """Lines of one field are stripped and joined with a comma and a space, in their order."""
    assert combine(((b"a", b" 1 "), (b"b", b""), (b"a", b"\t2"))) == {b"a": b"1, 2", b"b": b""}


@pytest.mark.parametrize(
    "name",
    [
        b"Host", b"Content-Type", b"Content-Length", b"Content-Encoding", b"Transfer-Encoding", b"Authorization",
        b"DPoP", b"Idempotency-Key", b"Sealwire-Session", b"Sealwire-Approval", b"Sealwire-Anything",
    ],
)  # fmt: skip
def test_a_field_that_may_stand_once(name: bytes) -> None:
    """Twice is refused, also with the same value and in another case."""
    with pytest.raises(Refusal, match="header-malformed/repeated"):
        read_head([(name, b"1"), (name.lower(), b"1")])


def test_signature_fields_may_stand_twice() -> None:
    """Two signatures may stand in two field lines."""
    lines = [(b"signature", b"a=:YQ==:"), (b"signature", b"b=:YQ==:")]
    assert read_head(lines)[1] == {b"signature": b"a=:YQ==:, b=:YQ==:"}


@pytest.mark.parametrize("name", [b"content_digest", b"X_Forwarded_For", b"_", b"sealwire_session"])
def test_underscores_are_dropped(name: bytes) -> None:
    """A name with _ reaches nothing, however often it stands and whatever it holds."""
    assert read_head([(name, b"\x00"), (name, b"1"), (b"a", b"1")]) == (((b"a", b"1"),), {b"a": b"1"})


@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\x08", b"\n", b"\x0b", b"\r", b"\x1f", b"\x7f", b"\r\n "])
def test_controls_in_values(byte: bytes) -> None:
    """Control bytes, bare CR and LF and folded lines never get in."""
    with pytest.raises(Refusal, match="header-malformed/characters"):
        read_head([(b"a", b"1" + byte + b"2")])


def test_what_may_stand_in_a_value() -> None:
    """A tab inside, visible characters and bytes above 0x7f are values."""
    value = b"a\tb" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"."
    assert read_head([(b"a", value)])[1] == {b"a": value}


@pytest.mark.parametrize(
    "name", [b"", b"a b", b"a:", b"@path", b'a"', b"a\n", b"a\x00", b"\xe4", b"a\t", b"a/b", b"(a"]
)
def test_names(name: bytes) -> None:
    """A field name is a token."""
    with pytest.raises(Refusal, match="header-malformed/characters"):
        read_head([(name, b"1")])


def test_one_field_up_to_12_kib() -> None:
    """12 KiB is the longest field, its white space counted."""
    assert FIELD_BYTES == 12 * 1024
    read_head([field(b"a", 12 * 1024)])
    for name, value in (field(b"a", 12 * 1024 + 1), (b"a", b" " * 12 * 1024), (b"a_b", b"v" * 12 * 1024)):
        with pytest.raises(Refusal, match="header-malformed/too-large"):
            read_head([(name, value)])


def test_a_head_up_to_32_kib() -> None:
    """32 KiB is the longest head; dropped fields count too."""
    assert HEAD_BYTES == 32 * 1024
    lines = [field(b"a", 12 * 1024), field(b"b_b", 12 * 1024), field(b"c", 8 * 1024)]
    read_head(lines)
    with pytest.raises(Refusal, match="header-malformed/too-large"):
        read_head([*lines[:2], field(b"c", 8 * 1024 + 1)])


@pytest.mark.parametrize(
    "length", [b"", b"1 2", b"+1", b"-1", b"01", b"00", b"1,1", b"0x1", b"1.0", b"\xb2", b"9" * 21, b"9" * 30]
)
def test_content_length(length: bytes) -> None:
    """Content-Length is one plain decimal number."""
    with pytest.raises(Refusal, match="header-malformed/content-length"):
        read_head([(b"content-length", length)])


@pytest.mark.parametrize("length", [b"0", b"1", b" 12 ", b"9" * 20])
def test_content_length_plain(length: bytes) -> None:
    """A plain number is kept as it came."""
    assert read_head([(b"content-length", length)])[1][b"content-length"] == length.strip()


def test_transfer_encoding() -> None:
    """Transfer-Encoding is chunked alone, in any case, and never beside Content-Length."""
    assert read_head([(b"transfer-encoding", b"Chunked")])[1] == {b"transfer-encoding": b"Chunked"}
    for coding in (b"gzip, chunked", b"chunked, chunked", b"identity", b"", b"xchunked"):
        with pytest.raises(Refusal, match="header-malformed/transfer-encoding"):
            read_head([(b"transfer-encoding", coding)])
    with pytest.raises(Refusal, match="header-malformed/transfer-encoding"):
        read_head([(b"transfer-encoding", b"chunked"), (b"content-length", b"1")])


def test_has_content() -> None:
    """A body is announced by Content-Length above 0 or by Transfer-Encoding."""
    assert with_body().has_content()
    assert request([(b"transfer-encoding", b"chunked")]).has_content()
    assert not request().has_content()
    assert not request([(b"content-length", b"0")]).has_content()


# --- the authority ---


@pytest.mark.parametrize(
    ("host", "authority"),
    [
        (b"api.example.com", "api.example.com"),
        (b"API.Example.COM", "api.example.com"),
        (b"api.example.com:443", "api.example.com"),
        (b"localhost:8080", "localhost:8080"),
        (b"[::1]:8080", "[::1]:8080"),
    ],
)
def test_authority(host: bytes, authority: str) -> None:
    """Host lower-cased, and :443 dropped."""
    assert read_authority(host, OURS) == authority
    assert normal_authority(host.decode()) == authority


@pytest.mark.parametrize(
    "host",
    [
        b"", b"example.com", b"api.example.com.", b"api.example.com:80", b"api.example.com:443:443",
        b"api.example.com:0443", b"user@api.example.com", b"api.example.com/", b"api.example.com?", b"api.example.com#",
        b"api.example.com,b", b"api.example.com\xe9", b"api.example.com api.example.com", b"xapi.example.com",
        b"api.example.com.evil.example", b"localhost",
    ],
)  # fmt: skip
def test_other_authorities(host: bytes) -> None:
    """Nothing else is dropped, cut or mended: whatever is not listed is another host."""
    with pytest.raises(Refusal, match="authority-unknown/outside") as raised:
        read_authority(host, OURS)
    assert raised.value.status == 421


def test_the_detail_of_another_authority() -> None:
    """It says what came and what is listed, and repeats no odd characters."""
    with pytest.raises(Refusal) as raised:
        read_authority(b"Evil.example", OURS)
    assert "got evil.example;" in raised.value.detail
    assert AUTHORITY in raised.value.detail
    for odd in (b"<script>", b"a" * 121):
        with pytest.raises(Refusal) as raised:
            read_authority(odd, OURS)
        assert "got something else;" in raised.value.detail


def test_no_host() -> None:
    """An absent Host is refused: HTTP/1.0 too has to say whom it means."""
    with pytest.raises(Refusal, match="authority-unknown/absent"):
        read_authority(None, OURS)


# --- the target ---


@pytest.mark.parametrize(
    ("target", "path", "query", "decoded"),
    [
        (b"/", b"/", b"", "/"),
        (b"/a", b"/a", b"", "/a"),
        (b"/a/", b"/a/", b"", "/a/"),
        (b"/a?", b"/a", b"", "/a"),
        (b"/a?b?c", b"/a", b"b?c", "/a"),
        (b"/A;x=1", b"/A;x=1", b"", "/A;x=1"),
        (b"/%61%C3%BC%20", b"/%61%C3%BC%20", b"", "/aü "),
        (b"/a%2561", b"/a%2561", b"", "/a%61"),
        (b"/100%25", b"/100%25", b"", "/100%"),
        (b"/.well-known/...", b"/.well-known/...", b"", "/.well-known/..."),
        (b"/a.b/.c/..d", b"/a.b/.c/..d", b"", "/a.b/.c/..d"),
        (b"/~a!$&'()*+,=:@", b"/~a!$&'()*+,=:@", b"", "/~a!$&'()*+,=:@"),
        (b"/a?redirect_uri=https%3A%2F%2Fa%2Fb", b"/a", b"redirect_uri=https%3A%2F%2Fa%2Fb", "/a"),
        (b"/a?pair=BTC%2FEUR&x=../..//%2e%00%5c", b"/a", b"pair=BTC%2FEUR&x=../..//%2e%00%5c", "/a"),
    ],
)
def test_target(target: bytes, path: bytes, query: bytes, decoded: str) -> None:
    """Path and query are the bytes received, and the path is decoded once."""
    assert read_target(target) == (path, query, decoded, False)


@pytest.mark.parametrize(
    "target", [b"", b"*", b"a", b"https://api.example.com/a", b"api.example.com:443", b"?a", b"\\a"]
)
def test_other_forms(target: bytes) -> None:
    """Absolute, authority and asterisk form are refused, and so is whatever starts with no slash."""
    with pytest.raises(Refusal, match="target-not-canonical/form"):
        read_target(target)


@pytest.mark.parametrize("byte", [*range(0x21), 0x5C, *range(0x7F, 0x100)])
def test_bytes_that_may_not_stand(byte: int) -> None:
    """Controls, space, backslash and raw non-ASCII are refused, in the path and in the query."""
    for target in (b"/a%cb" % byte, b"/a?a%cb" % byte):
        with pytest.raises(Refusal, match="target-not-canonical/characters"):
            read_target(target)


@pytest.mark.parametrize("target", [b"/a#b", b"/a?b#c", b"/a#"])
def test_fragment(target: bytes) -> None:
    """A fragment is refused: servers drop it, and signers may not have."""
    with pytest.raises(Refusal, match="target-not-canonical/fragment"):
        read_target(target)


@pytest.mark.parametrize("target", [b"/%", b"/%2", b"/%zz", b"/%2g", b"/a?%", b"/a?%2", b"/a?b=%%32e", b"/%u002e"])
def test_bad_percent_codes(target: bytes) -> None:
    """A % has two hex digits behind it, in the path and in the query."""
    with pytest.raises(Refusal, match="target-not-canonical/percent-code"):
        read_target(target)


@pytest.mark.parametrize("target", [b"//", b"//a", b"/a//b", b"/a//", b"/a///b?c"])
def test_empty_segments(target: bytes) -> None:
    """An empty segment is refused; a trailing slash is none."""
    with pytest.raises(Refusal, match="target-not-canonical/empty-segment"):
        read_target(target)


@pytest.mark.parametrize(
    "target",
    [b"/.", b"/..", b"/./", b"/../", b"/a/../b", b"/a/./b", b"/a/..", b"/a/.?b", b"/a/..;x=1/b", b"/a/.;", b"/..;"],
)
def test_dot_segments(target: bytes) -> None:
    """A segment of one or two dots is refused, also where a lax server would first cut `;…` off."""
    with pytest.raises(Refusal, match="target-not-canonical/dot-segment"):
        read_target(target)


@pytest.mark.parametrize("code", ["%2e", "%2E", "%5c", "%5C", "%00"])
@pytest.mark.parametrize("depth", range(7))
def test_encoded_at_any_depth(code: str, depth: int) -> None:
    """An encoded dot, backslash or NUL is refused in any case and at any depth of repeated decoding."""
    target = f"/a{code.replace('%', '%' + '25' * depth)}b".encode()
    with pytest.raises(Refusal, match="target-not-canonical/encoded"):
        read_target(target)


@pytest.mark.parametrize(
    "target", [b"/%25%32%65", b"/%2525%2532e", b"/a%252fb", b"/a%25252Fb", b"/%25%35c", b"/%25%30%30"]
)
def test_codes_made_of_codes(target: bytes) -> None:
    """A code that only appears when the path is decoded again is found as well, an encoded slash included."""
    with pytest.raises(Refusal, match="target-not-canonical/encoded"):
        read_target(target)


@pytest.mark.parametrize("target", [b"/a%2fb", b"/a%2Fb/c", b"/%2fa"[:1] + b"x%2f"])
def test_encoded_slash(target: bytes) -> None:
    """An encoded slash at the first depth is left to the rule, and told to it."""
    assert read_target(target).slashes


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        (b"/a%2f..%2fb", "dot-segment"),
        (b"/..%2fb", "dot-segment"),
        (b"/a%2f.", "dot-segment"),
        (b"/a/..%3bx/b", "dot-segment"),
        (b"/a/..%253bx/b", "dot-segment"),
        (b"/%2fa", "empty-segment"),
        (b"/a%2f%2fb", "empty-segment"),
        (b"/a%2f/b", "empty-segment"),
    ],
)
def test_what_decoding_shows(target: bytes, cause: str) -> None:
    """Whatever a rule allows, decoding the path makes no dot segment and no empty one."""
    with pytest.raises(Refusal, match=f"target-not-canonical/{cause}"):
        read_target(target)


@pytest.mark.parametrize(
    "target", [b"/%ff", b"/%c0%ae", b"/%c0%af", b"/%e0%80%ae", b"/%ed%a0%80", b"/%c3", b"/%25c0%25ae"]
)
def test_not_utf_8(target: bytes) -> None:
    """Codes that are not UTF-8 are refused, overlong forms among them, at any depth; a query may hold them."""
    with pytest.raises(Refusal, match="target-not-canonical/utf-8"):
        read_target(target)
    assert read_target(b"/a?" + target[1:]).query == target[1:]


def test_encoded_over_and_over() -> None:
    """Eight layers of encoding are looked through; more are refused, so that a long path costs no more."""
    assert read_target(b"/%" + b"25" * 7 + b"61").decoded == "/%" + "25" * 6 + "61"
    for layers in (8, 100, 6000):
        with pytest.raises(Refusal, match="target-not-canonical/encoded"):
            read_target(b"/%" + b"25" * layers + b"61")


def test_percent_decode() -> None:
    """Well-formed codes are decoded once; anything else stays."""
    assert percent_decode(b"%61%2561%zz%") == b"a%61%zz%"


PIECES = st.sampled_from(
    [*rb"/ // . .. % 25 2e 2F %2f %2e %25 %5c %00 %3b \ ; a A %61 %C3%BC %c0 %ae ? # ~".split(b" "), b" ", b"\xc3"]
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_an_accepted_target_has_one_reading(rest: bytes) -> None:
    """However often the path is decoded again, its segments stay; an encoded slash is announced."""
    try:
        target = read_target(b"/" + rest)
    except Refusal as refusal:
        only(refusal, "target-not-canonical")
        return
    assert (b"/" + rest).partition(b"?")[::2] == (target.path, target.query)
    assert target.slashes == bool(re.search(rb"%2f", target.path, re.IGNORECASE))
    assert target.decoded.encode() == percent_decode(target.path)
    layers = [target.path, percent_decode(target.path)]
    while layers[-1] != layers[-2]:
        layers.append(percent_decode(layers[-1]))
    slashes = {layer.count(b"/") for layer in layers[target.slashes :]}
    assert len(slashes) == 1
    for layer in layers:
        segments = [segment.partition(b";")[0] for segment in layer.split(b"/")[1:]]
        assert not {b".", b".."} & set(segments)
        assert b"//" not in layer
        assert not {b"\\"[0], 0} & set(layer)
