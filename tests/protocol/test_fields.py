"""Structured fields: what the suite of vectors does not hold."""

import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol.fields import (
    Date,
    Display,
    FieldError,
    InnerList,
    Item,
    Token,
    parse_dictionary,
    parse_inner_list,
    parse_item,
    parse_list,
    serialize_dictionary,
    serialize_inner_list,
    serialize_item,
    serialize_list,
    serialize_member,
    split_dictionary,
)
from tests.protocol.test_structured_fields import exact

# --- the split ---


@pytest.mark.parametrize(
    ("field", "members"),
    [
        (b"", []),
        (b"  ", []),
        (b"a=1", [("a", b"1")]),
        (b"a=1,b=2 ,\tc", [("a", b"1"), ("b", b"2"), ("c", b"")]),
        (b"a=1, a=2", [("a", b"1"), ("a", b"2")]),
        (b'a="x,\\",y", b=(1 2);p', [("a", b'"x,\\",y"'), ("b", b"(1 2);p")]),
        (b"a;x=1, *-_.9=?0", [("a", b";x=1"), ("*-_.9", b"?0")]),
        (b" \ta=:YQ==: \t", [("a", b":YQ==:")]),
        (b'a=("\\\\" "b")', [("a", b'("\\\\" "b")')]),
        (b'a=%"\\", b="\\""', [("a", b'%"\\"'), ("b", b'"\\""')]),
        (b'a=x%y, b=%"x,%22y"', [("a", b"x%y"), ("b", b'%"x,%22y"')]),
    ],
)
def test_split(field: bytes, members: list[tuple[str, bytes]]) -> None:
    """Each member comes as its key and the very bytes behind its =; a repeated key comes again."""
    assert split_dictionary(field) == members


@pytest.mark.parametrize(
    "field",
    [
        b",", b"a,", b"a, ", b"a,,b", b",a", b"A=1", b"1=1", b"=1", b"a b", b'a="', b'a="\\"', b'a="x, b',
        b"a=1 , , b=2",
        b'a=%"x', b'a=%"x\\", b"', b"a= 1", b"a=\t1", b"a=", b"a=, b", b'"a"=1', b"a:1", b'a="x" "', b"a\x00",
    ],
)  # fmt: skip
def test_split_refuses(field: bytes) -> None:
    """Members that cannot be told apart are refused: no key, nothing behind a comma, a string not closed."""
    with pytest.raises(FieldError):
        split_dictionary(field)


FIELD = st.lists(
    st.sampled_from(
        ["%", "a", "b", "*", "=", ",", ", ", ";", ";x", '"', '"x"', "\\", "(", ")", " ", "\t", "1", ":", ":YQ==:", "?1"]
    ),
    max_size=12,
).map(lambda parts: "".join(parts).encode())


@given(FIELD)
def test_split_agrees_with_the_grammar(field: bytes) -> None:
    """Where the grammar accepts a dictionary the split has its keys, and each member alone is read as in the whole."""
    try:
        members = parse_dictionary(field)
    except FieldError:
        return
    split = split_dictionary(field)
    assert {key for key, _ in split} == members.keys()
    for key, text in dict(split).items():
        alone = b"k" + (b"=" * (text[:1] not in (b";", b""))) + text
        assert exact(parse_dictionary(alone)["k"]) == exact(members[key])


# --- reading and writing ---


def test_last_of_a_repeated_key() -> None:
    """Of a repeated key the last value stands."""
    assert parse_dictionary(b"a=1, a=2") == {"a": Item(2, {})}


def test_inner_list_alone() -> None:
    """Exactly one inner list, nothing beside it."""
    assert parse_inner_list(b'("a";x "b");y=1') == InnerList((Item("a", {"x": True}), Item("b", {})), {"y": 1})
    for other in (b"", b"a", b"(), ()", b"() a", b"(", b"a, ()", b"(())"):
        with pytest.raises(FieldError):
            parse_inner_list(other)


@pytest.mark.parametrize("value", [1.5, None, ["a"], {"a": 1}])
def test_what_is_no_value(value: Any) -> None:
    """What is not a bare value cannot be written, or it is written as what it is: a float as a decimal."""
    if isinstance(value, float):
        assert serialize_item(Item(value, {})) == b"1.5"  # type: ignore[arg-type]
        return
    with pytest.raises(FieldError):
        serialize_item(Item(value, {}))


@pytest.mark.parametrize(
    "value", [Date(10**18), Date(-(10**18)), 10**15, Decimal(10**12), "\n", "ü", Token(""), Token("a b")]
)
def test_values_that_cannot_be_written(value: Any) -> None:
    """A value out of its range or alphabet is refused, as an item and as a parameter."""
    with pytest.raises(FieldError):
        serialize_item(Item(value, {}))
    with pytest.raises(FieldError):
        serialize_item(Item(1, {"a": value}))


KEY = st.from_regex(r"[a-z*][a-z0-9_\-.*]{0,5}", fullmatch=True)
BARE = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1),
    st.decimals(-(10**11), 10**11, places=3),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8),
    st.from_regex(r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+\-.^_`|~]{0,5}", fullmatch=True).map(Token),
    st.binary(max_size=8),
    st.booleans(),
    st.integers(-62_135_596_800, 253_402_300_799).map(Date),
    st.text(st.characters(codec="utf-8"), max_size=6).map(Display),
)
PARAMS = st.dictionaries(KEY, BARE, max_size=3)
ITEM = st.builds(Item, BARE, PARAMS)
INNER = st.builds(InnerList, st.lists(ITEM, max_size=3).map(tuple), PARAMS)
MEMBER = st.one_of(ITEM, INNER)


@given(ITEM)
def test_item_round_trip(item: Item) -> None:
    """What is written reads as it was, with its types."""
    assert exact(parse_item(serialize_item(item))) == exact(item)
    assert serialize_member(item) == serialize_item(item)


@given(INNER)
def test_inner_list_round_trip(inner: InnerList) -> None:
    """What is written reads as it was, with its types."""
    assert exact(parse_inner_list(serialize_inner_list(inner))) == exact(inner)
    assert serialize_member(inner) == serialize_inner_list(inner)


@given(st.lists(MEMBER, min_size=1, max_size=4).map(tuple))
def test_list_round_trip(members: tuple[Item | InnerList, ...]) -> None:
    """What is written reads as it was, with its types."""
    assert exact(parse_list(serialize_list(members))) == exact(members)


@given(st.dictionaries(KEY, MEMBER, min_size=1, max_size=4))
def test_dictionary_round_trip(members: dict[str, Item | InnerList]) -> None:
    """What is written reads as it was, with its types and in its order; the split finds the same members."""
    written = serialize_dictionary(members)
    assert exact(parse_dictionary(written)) == exact(members)
    for (key, text), member in zip(split_dictionary(written), members.values(), strict=True):
        assert members[key] is member
        plain = isinstance(member, Item) and member.value is True
        assert text == serialize_member(member).removeprefix(b"?1" if plain else b"")


# --- bombs ---

BOMBS: dict[str, tuple[Callable[[bytes], object], Callable[[int], bytes]]] = {
    "members": (parse_dictionary, lambda n: b", ".join(b"a%d" % i for i in range(n // 8))),
    "members split": (split_dictionary, lambda n: b"a," * (n // 2) + b"a"),
    "commas": (split_dictionary, lambda n: b"a" + b" , " * (n // 3)),
    "parameters": (parse_item, lambda n: b"a" + b"".join(b";a%d" % i for i in range(n // 8))),
    "inner parameters": (parse_list, lambda n: b"(" + b"a;b;c " * (n // 6) + b")" + b";d" * (n // 8)),
    "open parentheses": (parse_list, lambda n: b"(" * n),
    "open quote": (split_dictionary, lambda n: b'a="' + b"x" * n),
    "open quote, escapes": (split_dictionary, lambda n: b'a="' + b'\\"' * (n // 2)),
    "quotes": (split_dictionary, lambda n: b"a=" + b'"a"' * (n // 3) + b'"'),
    "string": (parse_item, lambda n: b'"' + b"\\\\" * (n // 2)),
    "white space": (parse_dictionary, lambda n: b"a" + b" " * n + b"!"),
    "bytes": (parse_item, lambda n: b":" + b"A" * n),
    "display string": (parse_item, lambda n: b'%"' + b"%c3%bc" * (n // 6)),
}


def steps(read: Callable[[bytes], object], data: bytes) -> int:
    """How many calls, of Python and of what lies below it, one reading takes: no clock is asked."""
    count = 0

    def step(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(step)
    try:
        with suppress(FieldError):
            read(data)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_linear(bomb: str) -> None:
    """Eight times the bytes take no more than some eight times the steps: 64 times would be a square."""
    read, make = BOMBS[bomb]
    assert steps(read, make(80_000)) < 10 * steps(read, make(10_000)) + 100
