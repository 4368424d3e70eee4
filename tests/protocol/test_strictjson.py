"""JSON with one reading."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.strictjson import MAX_DEPTH, NotStrict, read


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":[1,-0,2.5,true,false,null,""]}', {"a": [1, 0, 2.5, True, False, None, ""]}),
        (b' \t\r\n"x" ', "x"),
        (b"9007199254740992", 2**53),
        (b"-9007199254740992", -(2**53)),
        (b'"\\u00fc\xc3\xbc"', "üü"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b"1e308", 1e308),
        (b'{"a":{"b":1},"b":1}', {"a": {"b": 1}, "b": 1}),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_values(body: bytes, value: object) -> None:
    """What has one reading is read."""
    assert read(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[1,]", b"{'a':1}", b"01", b"+1", b".5", b"1 2", b'{"a":1}x', b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b"NaN", b"Infinity", b"-Infinity", b"[NaN]",
        b"1e309", b"-1e400",
        b"9007199254740993", b"-9007199254740993", b"1" * 5000, b'"\\ud800"', b'"\\udc00\\ud800"', b'{"\\ud800":1}',
        b'"\xff"', b'"\xed\xa0\x80"', b'"\n"', b'"\x00"', b"// a\n1", b'"', b'"\\', b"\x00",
    ],
)  # fmt: skip
def test_what_parsers_differ_on(body: bytes) -> None:
    """Repeated members, numbers past their range, lone surrogates, marks and whatever is not JSON: refused."""
    with pytest.raises(NotStrict):
        read(body)


def test_the_message_repeats_nothing() -> None:
    """What is said of a body holds nothing of it."""
    with pytest.raises(NotStrict) as raised:
        read(b'{"secret-word": ')
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("body", [b"1 2", b'{"a":1}x', b"{}\x00", b"{", b"", b"\xff"])
def test_what_is_no_json_is_called_so(body: bytes) -> None:
    """Whatever stands behind the value, or is missing of it: one answer, since junk there is no second value."""
    with pytest.raises(NotStrict, match=r"\Anot JSON in UTF-8\Z"):
        read(body)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth(opening: bytes, closing: bytes) -> None:
    """64 levels are read, 65 are not; brackets side by side or in strings are no depth."""
    assert MAX_DEPTH == 64
    read(opening * 64 + b"1" + closing * 64)
    with pytest.raises(NotStrict, match="nested deeper than 64"):
        read(opening * 65 + b"1" + closing * 65)
    read(b"[" + b",".join([b"[]"] * 100) + b"]")
    read(b"[" * 63 + b"[],[]" + b"]" * 63)
    read(b'["' + b"[{" * 100 + b'\\"' + b"[" * 100 + b'"]')


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"[" * 65 + b'"' + b'\\"' * 100_000, b'{"a":' * 20_000, b'"' + b"[" * 99, b'"[\\' + b"[" * 99],
)
def test_bombs(body: bytes) -> None:
    """Deep nesting and quotes that nothing closes are refused by a count, before anything recurses over them."""
    with pytest.raises(NotStrict):
        read(body)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**53), 2**53),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=5),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner)
    ),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_round_trip(value: object, ascii_only: bool) -> None:
    """What is written as JSON reads as it was."""
    assert read(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
