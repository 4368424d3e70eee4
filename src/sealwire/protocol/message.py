"""
An HTTP message head as a frozen value, and the one reading of its target (RFC 9110, RFC 3986).

Owns: which heads are acceptable at all, what `@authority`, `@path` and `@query` are, and the decoded path that rules
match and the app sees. There is no second reading of a target anywhere else: two readings are the classic gateway
bypass.
Refuses to know: rules, keys, signatures, ASGI.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sealwire.errors import Refusal

Headers = tuple[tuple[bytes, bytes], ...]

#: Fields that may stand once only (docs/protocol.md, "The request target and the head").
ONCE = frozenset(
    b"host content-type content-length content-encoding transfer-encoding authorization dpop idempotency-key".split()
)
HEAD_BYTES = 32 * 1024
FIELD_BYTES = 12 * 1024
_LENGTH_DIGITS = 20
#: Targets without a query that are held ready, none of them longer than so many bytes.
HELD_TARGETS, HELD_TARGET_BYTES = 1024, 256

# RFC 9110 section 5.5: field-content is visible ASCII, obs-text, space and tab; anything else never reaches a check.
_IN_VALUES = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
_IN_NAMES = b"!#$%&'*+-.^`|~0123456789abcdefghijklmnopqrstuvwxyz"
# By these, what may not stand there becomes another byte, and what may stays the same.
_OF_VALUES = bytes(byte if byte in _IN_VALUES else byte ^ 0x80 for byte in range(256))
_OF_NAMES = bytes(byte if byte in _IN_NAMES else byte ^ 0x80 for byte in range(256))
# RFC 3986 section 3.3 and 3.4, as bytes that may stand in a target. `"<>^`{|}` are let through: they have one reading.
_BAD_TARGET = re.compile(rb"[\x00-\x20\x7f-\xff#\\]")
_QUERY = ord("?")
_CODED = ord("%")  # a byte is looked for in a tenth of the time that `b"%" in target` takes
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED = re.compile(rb"%(?:2[eEfF]|5[cC]|00)")
_ENCODED_NOT_SLASH = re.compile(rb"%(?:2[eE]|5[cC]|00)")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
# A segment of one or two dots, alone or before `;…`: some servers cut that off first and resolve the dots then.
_DOT_SEGMENT = re.compile(rb"/\.{1,2}(?=[/;]|\Z)")
# No honest path is percent-encoded over and over; without a bound, a long one would be read as often as it is long.
_DECODINGS = 8


class Target(NamedTuple):
    """
    A request target that has one reading. `path` and `query` are the bytes received; `decoded` is the path decoded
    once.
    """

    path: bytes
    query: bytes
    decoded: str
    slashes: bool  # the path holds %2f, which only a rule's slash_ok can allow

    def __repr__(self) -> str:
        return f"Target({len(self.path)} + {len(self.query)} bytes)"


@dataclass(slots=True, repr=False)
class Request:
    """
    The head of a request, which nobody changes. Field names are lower-case; `fields` holds every field's lines joined
    as RFC 9421 section 2.1 says; `path` includes a declared external prefix, as the caller signed it. `repr` shows
    nothing that was sent.
    """

    method: Final[str]
    target: Final[bytes]
    authority: Final[str]
    path: Final[bytes]
    query: Final[bytes]
    decoded: Final[str]
    headers: Final[Headers]
    fields: Final[dict[bytes, bytes]]
    scheme: Final[str] = "https"
    trailers: Final[Headers] = ()
    slashes: Final[bool] = False
    _components: dict[bytes, bytes] | None = field(default=None, init=False, compare=False)

    def has_content(self) -> bool:
        """True if a body is announced: Content-Length above 0, or Transfer-Encoding (RFC 9112 section 6.3)."""
        return self.fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.fields

    def components(self) -> dict[bytes, bytes]:
        """By name the values of all fields, and of the derived components that every signature of ours covers."""
        if self._components is None:
            self._components = {
                **self.fields,
                b"@method": self.method.encode("ascii"),
                b"@authority": self.authority.encode("ascii"),
                b"@path": self.path,
                b"@query": b"?" + self.query,
            }
        return self._components

    def __repr__(self) -> str:
        return f"Request({len(self.headers)} fields)"


class Response(NamedTuple):
    """The head of a response, for the signature base of a reply."""

    status: int
    headers: Headers
    fields: dict[bytes, bytes]
    trailers: Headers = ()


class Reply(NamedTuple):
    """What goes back: status, fields with lower-case names, the whole body. `repr` shows the status alone."""

    status: int
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


def combine(headers: Headers) -> dict[bytes, bytes]:
    """Each field's lines, stripped and joined with a comma and a space (RFC 9421 section 2.1)."""
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        value = value.strip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def read_head(received: list[tuple[bytes, bytes]]) -> tuple[Headers, dict[bytes, bytes]]:
    """
    The fields of a request, judged: names with `_` are dropped, since CGI-like servers merge them with the dashed form.

    Raises: header-malformed for a repeated field of ONCE or `Sealwire-*`, control bytes, an oversized head, or a
    Content-Length or Transfer-Encoding of another form than RFC 9112 section 6 allows here.
    """
    names, values = zip(*received, strict=True) if received else ((), ())
    all_names, all_values = b"".join(names), b"".join(values)
    size = len(all_names) + len(all_values) + 4 * len(received)
    if size > FIELD_BYTES and (size > HEAD_BYTES or any(len(n) + len(v) + 4 > FIELD_BYTES for n, v in received)):
        raise Refusal("header-malformed", "too-large", "The head is over 32 KiB, or one field over 12 KiB.")
    if _are_fields(all_names, all_values) and b"" not in names:
        headers: Headers = tuple(zip(names, map(bytes.strip, values), strict=True))
    else:
        kept = [(name.lower(), value.strip(b" \t")) for name, value in received if b"_" not in name]
        if not are_fields([name for name, _ in kept], [value for _, value in kept]):
            raise Refusal("header-malformed", "characters", "A field holds bytes that may not stand in a field.")
        headers = tuple(kept)
    fields = dict(headers)
    if len(fields) < len(headers):
        fields = combine(headers)
        _judge_repeated(headers)
    _judge_framing(fields)
    return headers, fields


def are_fields(names: Collection[bytes], values: Collection[bytes]) -> bool:
    """True for lower-case field names, and values of one line each, without controls (RFC 9110 section 5)."""
    # All together, since that is two looks, not two for each.
    return _are_fields(b"".join(names), b"".join(values)) and b"" not in names


def _are_fields(names: bytes, values: bytes) -> bool:
    return names.translate(_OF_NAMES) == names and values.translate(_OF_VALUES) == values


def _judge_repeated(headers: Headers) -> None:
    """Raises: header-malformed for a field that may stand once and stands twice."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and (name in ONCE or name.startswith(b"sealwire-")):
            raise Refusal("header-malformed", "repeated", f"{name.decode('ascii')} may stand once only.")
        seen.add(name)


def _judge_framing(fields: dict[bytes, bytes]) -> None:
    """Raises: header-malformed unless the body's length has one reading (RFC 9112 section 6)."""
    length = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    if length is None and coding is None:
        return
    if coding is not None and (coding.lower() != b"chunked" or length is not None):
        raise Refusal("header-malformed", "transfer-encoding", "Transfer-Encoding is chunked alone, without a length.")
    if length is None:
        return
    leading_zero = length.startswith(b"0") and length != b"0"
    if leading_zero or not length.isdigit() or len(length) > _LENGTH_DIGITS:
        raise Refusal("header-malformed", "content-length", "Content-Length is one plain decimal number.")


def read_authority(host: bytes | None, authorities: frozenset[str]) -> str:
    """
    `@authority` (RFC 9421 section 2.2.3): Host lower-cased, `:443` dropped, and one of `authorities`.

    Raises: authority-unknown for a Host that is absent or outside the list.
    """
    if host is None:
        raise Refusal("authority-unknown", "absent", f"Host is absent; public_origins lists {_listed(authorities)}.")
    authority = normal_authority(host.decode("latin-1"))
    if authority not in authorities:
        shown = authority if re.fullmatch(r"[A-Za-z0-9.:\[\]_-]{1,120}", authority) else "something else"
        raise Refusal("authority-unknown", "outside", f"got {shown}; public_origins lists {_listed(authorities)}")
    return authority


def _listed(authorities: frozenset[str]) -> str:
    return ", ".join(sorted(authorities))


def normal_authority(host: str) -> str:
    """Host lower-cased and `:443` dropped, nothing else."""
    return host.lower().removesuffix(":443")


def read_target(target: bytes) -> Target:
    """
    The one reading of a request target in origin form.

    Raises: target-not-canonical for another form (absolute, authority, asterisk), a fragment, controls, space, raw
    non-ASCII, `\\`, a bad percent code; and in the path dot segments, empty segments, an encoded dot, backslash or NUL
    at any depth of repeated decoding, an encoded slash below the first depth, and codes that are not UTF-8. What an
    encoded slash shows at the first depth is held to the same: it makes no dot segment and no empty one.
    """
    # No query is held: it may say secrets.
    if len(target) > HELD_TARGET_BYTES or _QUERY in target:
        return _judge_target(target)
    return _held_target(target)


def _judge_target(target: bytes) -> Target:
    if not target.startswith(b"/"):
        raise Refusal("target-not-canonical", "form", "The request target must be in origin form: a path from /.")
    if _BAD_TARGET.search(target):
        cause = "fragment" if b"#" in target else "characters"
        raise Refusal("target-not-canonical", cause, "The target holds a byte that may not stand in one.")
    path, _, query = target.partition(b"?")
    if _CODED in target and _BAD_PERCENT.search(target):
        raise Refusal("target-not-canonical", "percent-code", "A % in the target is not followed by two hex digits.")
    _judge_segments(path)
    if _CODED not in path:
        return Target(path, query, path.decode("ascii"), slashes=False)
    return Target(path, query, _decode_path(path), slashes=b"%2f" in path.lower())


_held_target = functools.lru_cache(maxsize=HELD_TARGETS)(_judge_target)


def _judge_segments(path: bytes) -> None:
    if path.find(b"//") >= 0:
        raise Refusal("target-not-canonical", "empty-segment", "The path has an empty segment (//).")
    if path.find(b"/.") >= 0 and _DOT_SEGMENT.search(path):
        raise Refusal("target-not-canonical", "dot-segment", "The path has a dot segment.")


def _decode_path(path: bytes) -> str:
    if _ENCODED_NOT_SLASH.search(path):
        raise Refusal("target-not-canonical", "encoded", "The path holds an encoded dot, backslash or NUL.")
    once = deeper = percent_decode(path)
    # A lax upstream may decode again and again: each depth is looked at.
    for _ in range(_DECODINGS):
        _judge_segments(deeper)
        try:
            deeper.decode("utf-8")
        except UnicodeDecodeError:
            raise Refusal("target-not-canonical", "utf-8", "The path's percent codes are not UTF-8.") from None
        if _ENCODED.search(deeper):
            raise Refusal("target-not-canonical", "encoded", "The path, decoded again, holds an encoded dot or slash.")
        again = percent_decode(deeper)
        if again == deeper:
            return once.decode("utf-8")
        deeper = again
    raise Refusal("target-not-canonical", "encoded", f"The path is percent-encoded more than {_DECODINGS} times over.")


def percent_decode(data: bytes) -> bytes:
    """Every well-formed percent code decoded once (RFC 3986 section 2.1); anything else stays as it is."""
    return _PERCENT.sub(lambda code: bytes((int(code[1], 16),)), data)
