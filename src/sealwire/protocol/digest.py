"""
Content digests (RFC 9530): read the field, hash while the body is read, judge.

Owns: which digest algorithms count (sha-256 and sha-512, RFC 9530 section 5) and that every one present must match.
Refuses to know: where the body comes from, and whether the field was signed.
"""

from __future__ import annotations

import hashlib
import hmac
from binascii import a2b_base64, b2a_base64
from typing import Protocol

from sealwire.errors import Refusal
from sealwire.protocol.fields import FieldError, Item, parse_dictionary, serialize_item, split_dictionary


class Hash(Protocol):
    """What is used of a running hash."""

    def update(self, data: bytes, /) -> None:
        """Take in more of the body."""

    def digest(self) -> bytes:
        """The digest of all taken in so far."""


_ALGORITHMS = {"sha-256": (hashlib.sha256, 32), "sha-512": (hashlib.sha512, 64)}
# What ordinary senders write; anything else goes to the general parser, which alone can refuse.
_ORDINARY = b"sha-256=:"


class Expected:
    """The digests a body must have, and the hashes running over what has come of it so far."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: list[tuple[Hash, bytes]]) -> None:
        self._pairs = pairs

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes of the body."""
        for running, _ in self._pairs:
            running.update(chunk)

    def judge(self) -> None:
        """Raises: digest-mismatch unless every digest matches."""
        for running, wanted in self._pairs:
            if not hmac.compare_digest(running.digest(), wanted):
                raise Refusal("digest-mismatch", "differs", failed="digest")


def expect(field: bytes) -> Expected:
    """
    The digests of a Content-Digest field (RFC 9530 section 2). Unknown algorithms count for nothing.

    Raises: digest-mismatch if the field cannot be read, or names no algorithm that counts, or one of them twice.
    """
    if field.startswith(_ORDINARY) and len(field) == 54 and field.endswith(b":"):
        wanted = decode_base64(field[9:53])
        if wanted is not None:
            return Expected([(hashlib.sha256(), wanted)])
    try:
        members, received = parse_dictionary(field), split_dictionary(field)
    except FieldError:
        raise Refusal("digest-mismatch", "unreadable", failed="digest") from None
    pairs: list[tuple[Hash, bytes]] = []
    for name, text in received:
        if name in _ALGORITHMS:
            make, size = _ALGORITHMS[name]
            member = members.pop(name, None)  # the second time a name comes, it is gone
            if not isinstance(member, Item) or not isinstance(member.value, bytes) or len(member.value) != size:
                raise Refusal("digest-mismatch", "unreadable", failed="digest")
            if text.partition(b";")[0] != serialize_item(Item(member.value, {})):
                raise Refusal("digest-mismatch", "unreadable", failed="digest")
            pairs.append((make(), member.value))
    if not pairs:
        raise Refusal("digest-mismatch", "no-algorithm", failed="digest")
    return Expected(pairs)


def decode_base64(text: bytes) -> bytes | None:
    """Canonical padded base64 (RFC 4648 sections 3.5 and 4) decoded, or None: one value has one spelling."""
    try:
        value = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    return value if b2a_base64(value, newline=False) == text else None


def content_digest(body: bytes) -> bytes:
    """The Content-Digest field that we write: sha-256 alone (RFC 9530 section 2)."""
    return b"sha-256=:" + b2a_base64(hashlib.sha256(body).digest(), newline=False) + b":"
