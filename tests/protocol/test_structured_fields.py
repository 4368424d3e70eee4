"""The suite of the HTTP working group for structured fields, read and written."""

import base64
from decimal import Decimal
from typing import Any

import pytest

from sealwire.protocol.fields import (
    Bare,
    Date,
    Display,
    FieldError,
    InnerList,
    Item,
    Member,
    Params,
    Token,
    parse_dictionary,
    parse_item,
    parse_list,
    serialize_dictionary,
    serialize_item,
    serialize_list,
)
from tests.protocol.vectors import FOLDER, left_out, load

FILES = sorted(path.relative_to(FOLDER).as_posix() for path in (FOLDER / "structured-field-tests").rglob("*.json"))
Parsed = Item | tuple[Member, ...] | dict[str, Member]


def bare(given: Any) -> Bare:
    """A bare value of the suite as ours."""
    if isinstance(given, dict):
        value = given["value"]
        match given["__type"]:
            case "token":
                return Token(value)
            case "date":
                return Date(value)
            case "displaystring":
                return Display(value)
        return base64.b32decode(value)
    assert isinstance(given, bool | int | Decimal | str)
    return given


def params(given: Any) -> Params:
    """Parameters of the suite as ours."""
    return {name: bare(value) for name, value in given}


def member(given: Any) -> Member:
    """An item or inner list of the suite as ours."""
    value, parameters = given
    if isinstance(value, list):
        return InnerList(tuple(Item(bare(item), params(theirs)) for item, theirs in value), params(parameters))
    return Item(bare(value), params(parameters))


def structure(case: dict[str, Any]) -> Parsed:
    """What the case expects, as our own value."""
    given = case["expected"]
    match case["header_type"]:
        case "dictionary":
            return {name: member(value) for name, value in given}
        case "list":
            return tuple(member(value) for value in given)
    item = member(given)
    assert isinstance(item, Item)
    return item


def parse(kind: str, raw: bytes) -> Parsed:
    """The field read by our functions."""
    match kind:
        case "dictionary":
            return parse_dictionary(raw)
        case "list":
            return parse_list(raw)
    return parse_item(raw)


def serialize(value: Parsed) -> bytes:
    """The value written by our functions."""
    if isinstance(value, dict):
        return serialize_dictionary(value)
    return serialize_item(value) if isinstance(value, Item) else serialize_list(value)


def exact(value: object) -> object:
    """The value with its types spelled out: a Token is equal to a string, and 1 to True."""
    if isinstance(value, dict):
        return [(key, exact(one)) for key, one in value.items()]
    if isinstance(value, tuple):
        return (type(value).__name__, *map(exact, value))
    return (type(value).__name__, value)


def run(case: dict[str, Any]) -> None:
    """One case: reading, and writing what was to be read."""
    if "raw" in case:
        raw = ", ".join(case["raw"]).encode()
        if case.get("must_fail"):
            with pytest.raises(FieldError):
                parse(case["header_type"], raw)
            return
        try:
            found = parse(case["header_type"], raw)
        except FieldError:
            assert case.get("can_fail"), case["name"]
            return
        assert exact(found) == exact(structure(case)), case["name"]
    if case.get("must_fail") or case.get("canonical") == []:  # an empty field is not sent at all
        with pytest.raises(FieldError):
            serialize(structure(case))
    else:
        assert serialize(structure(case)) == ", ".join(case.get("canonical", case.get("raw", []))).encode()


def test_every_case_is_run() -> None:
    """2,135 cases in 24 files; none is left out."""
    assert (len(FILES), sum(len(load(file)) for file in FILES)) == (24, 2135)
    assert [file for file in FILES if left_out(file)] == []


@pytest.mark.parametrize("file", FILES)
def test_structured_fields(file: str) -> None:
    """Every case of the file is read, refused and written as the suite says."""
    for case in load(file):
        run(case)
