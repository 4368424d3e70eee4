"""
JSON with one reading (RFC 8259, narrowed as RFC 7493 I-JSON does): the gate before any app sees a body.

Owns: what is refused though common parsers take it: members that stand twice, NaN and Infinity, numbers past what a
double holds, integers past 2^53, lone surrogates, a byte order mark, deep nesting. The app receives the very bytes that
were judged.
Refuses to know: schemas.
"""

from __future__ import annotations

import json
import math
import re

MAX_DEPTH = 64
_MAX_INTEGER = 1 << 53
_SPACE = " \t\n\r"
_NO_JSON = "not JSON in UTF-8"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# A string, or what stands behind a quote that none closes: each quote is then looked at once, however many there are.
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)


class NotStrict(ValueError):
    """The body is not JSON with one reading; the message says why and repeats nothing of it."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrict("a member stands twice in one object")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 17 or not -_MAX_INTEGER <= (number := int(digits)) <= _MAX_INTEGER:
        raise NotStrict("an integer is past 2^53")
    return number


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotStrict("a number is past what a double holds")
    return number


def _constant(name: str) -> object:
    raise NotStrict(f"{name} is no JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant, strict=True
)


def read(body: bytes) -> object:
    """The one value of `body`. Raises: NotStrict."""
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _judge_depth(body)
    try:
        text = body.decode("utf-8")
        value: object
        value, end = _DECODER.raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
        if text[end:].strip(_SPACE):
            raise NotStrict(_NO_JSON)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except NotStrict:
        raise
    except (ValueError, RecursionError):
        raise NotStrict(_NO_JSON) from None
    return value


def _judge_depth(body: bytes) -> None:
    depth = 0
    for byte in _STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrict(f"nested deeper than {MAX_DEPTH}")
        elif byte in b"]}":
            depth -= 1
