"""
Structured fields (RFC 9651): the grammar is a library's, the strictness is ours.

Owns: the values a field can hold, the reading and writing of them, and the split of a dictionary into members as they
were received, which is what tells a repeated key from a single one and a canonical spelling from another.
Refuses to know: what any field means. http-sf is imported here and nowhere else, and its types stay here.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import http_sf


class Token(str):
    """A Token (RFC 9651 section 3.3.4)."""

    __slots__ = ()


class Display(str):
    """A Display String (RFC 9651 section 3.3.8)."""

    __slots__ = ()


class Date(int):
    """A Date, in Unix seconds (RFC 9651 section 3.3.7)."""

    __slots__ = ()


Bare = int | Decimal | str | bytes | bool
Params = dict[str, Bare]


class Item(NamedTuple):
    """An Item: a bare value with parameters."""

    value: Bare
    params: Params


class InnerList(NamedTuple):
    """An Inner List: items with parameters, and parameters of its own."""

    items: tuple[Item, ...]
    params: Params


Member = Item | InnerList


class FieldError(ValueError):
    """The bytes are not a structured field of the wanted kind, or a value cannot be written as one."""


# RFC 9651 section 3.1.2 and 3.2: key = ( lcalpha / "*" ) *( lcalpha / DIGIT / "_" / "-" / "." / "*" )
_KEY = re.compile(rb"[a-z*][a-z0-9_\-.*]*")
# One member up to its comma: strings hide commas, and so do Display Strings, where a backslash escapes nothing; inside
# an inner list only they can, so parentheses need no depth.
_MEMBER = re.compile(rb'(?:[^"%,]|%"[^"]*"|%(?!")|"(?:[^"\\]|\\.)*")*', re.DOTALL)
_OWS = b" \t"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_item(data: bytes) -> Item:
    """An Item (RFC 9651 section 4.2.3). Raises: FieldError."""
    return _item(_parse(data, "item"))


def parse_list(data: bytes) -> tuple[Member, ...]:
    """A List (RFC 9651 section 4.2.1). Raises: FieldError."""
    return tuple(_member(member) for member in _parse(data, "list"))


def parse_dictionary(data: bytes) -> dict[str, Member]:
    """A Dictionary (RFC 9651 section 4.2.2); of a repeated key the last value stands. Raises: FieldError."""
    return {key: _member(member) for key, member in _parse(data, "dictionary").items()}


def split_dictionary(data: bytes) -> list[tuple[str, bytes]]:
    """
    A dictionary's members in order, each as its key and the very bytes after its `=`. A repeated key appears again.

    Linear in the length of `data`. Raises: FieldError where the members cannot be told apart.
    """
    data = data.strip(_OWS)
    members: list[tuple[str, bytes]] = []
    position = 0
    while position < len(data):
        end = _match(_MEMBER, data, position)
        member = data[position:end].strip(_OWS)
        key_end = _match(_KEY, member, 0)
        rest = member[key_end:]
        if not key_end or (rest and rest[:1] not in b"=;"):
            raise FieldError("a member has no key")
        if rest[:1] == b"=" and rest[1:2] in _OWS:
            raise FieldError("a member has nothing right behind its =")
        members.append((member[:key_end].decode("ascii"), rest[1:] if rest[:1] == b"=" else rest))
        if end < len(data) and data[end] != 0x2C:
            raise FieldError("a string is not closed")
        position = end + 1
        if position == len(data):
            raise FieldError("a comma has nothing behind it")
    return members


def _match(pattern: re.Pattern[bytes], data: bytes, position: int) -> int:
    found = pattern.match(data, position)
    return found.end() if found else position


def parse_inner_list(data: bytes) -> InnerList:
    """An Inner List alone, as it stands behind a member's `=`. Raises: FieldError."""
    members = parse_list(data)
    if len(members) != 1 or not isinstance(members[0], InnerList):
        raise FieldError("not an inner list")
    return members[0]


def serialize_item(item: Item) -> bytes:
    """RFC 9651 section 4.1.3. Raises: FieldError."""
    return _serialize((_bare_out(item.value), _params_out(item.params)))


def serialize_inner_list(inner: InnerList) -> bytes:
    """RFC 9651 section 4.1.1.1. Raises: FieldError."""
    return _serialize([_member_out(inner)])


def serialize_list(members: tuple[Member, ...]) -> bytes:
    """RFC 9651 section 4.1.1. Raises: FieldError."""
    return _serialize([_member_out(member) for member in members])


def serialize_dictionary(members: dict[str, Member]) -> bytes:
    """RFC 9651 section 4.1.2. Raises: FieldError."""
    return _serialize({key: _member_out(member) for key, member in members.items()})


def serialize_member(member: Member) -> bytes:
    """One member's value, as it stands behind `=` in a dictionary. Raises: FieldError."""
    return serialize_item(member) if isinstance(member, Item) else serialize_inner_list(member)


# --- the library's own shapes, in and out; nothing below this line is known elsewhere ---


def _parse(data: bytes, kind: str):  # type: ignore[no-untyped-def]  # the library's union is untied by the callers
    try:
        return http_sf.parse(data, tltype=kind)
    except (http_sf.StructuredFieldError, ValueError, OverflowError) as why:
        raise FieldError(str(why)) from None


def _serialize(structure: object) -> bytes:
    try:
        return http_sf.ser(structure).encode("ascii")  # type: ignore[arg-type]
    except (http_sf.StructuredFieldError, ValueError, TypeError, AttributeError, OverflowError) as why:
        raise FieldError(str(why)) from None


def _member(found: tuple[object, dict[str, object]]) -> Member:
    value, params = found
    if isinstance(value, list):
        return InnerList(tuple(_item(item) for item in value), _params(params))
    return _item(found)


def _item(found: tuple[object, dict[str, object]]) -> Item:
    return Item(_bare(found[0]), _params(found[1]))


def _params(found: dict[str, object]) -> Params:
    return {name: _bare(value) for name, value in found.items()}


def _bare(value: object) -> Bare:
    if isinstance(value, http_sf.Token):
        return Token(str(value))
    if isinstance(value, http_sf.DisplayString):
        return Display(str(value))
    if isinstance(value, datetime):
        return Date(int(value.timestamp()))
    return value  # type: ignore[return-value]  # what is left is bool, int, Decimal, str or bytes


def _member_out(member: Member) -> object:
    if isinstance(member, InnerList):
        return ([_item_out(item) for item in member.items], _params_out(member.params))
    return _item_out(member)


def _item_out(item: Item) -> tuple[object, dict[str, object]]:
    return (_bare_out(item.value), _params_out(item.params))


def _params_out(params: Params) -> dict[str, object]:
    return {name: _bare_out(value) for name, value in params.items()}


def _bare_out(value: Bare) -> object:
    if isinstance(value, Token):
        return http_sf.Token(str(value))
    if isinstance(value, Display):
        return http_sf.DisplayString(str(value))
    if isinstance(value, Date):
        try:
            return _EPOCH + timedelta(seconds=int(value))
        except OverflowError:
            raise FieldError("a Date past the year 9999") from None
    return value
