"""
Nonces that the server hands to callers without a clock (docs/protocol.md, "Server nonces").

Owns: their form, base64url(8 bytes of milliseconds, 8 random, 16 of HMAC-SHA-256), and who may use one: the key it was
made for, under the nonce key of one start. Refuses to know: whether one was used; that is the nonce store's.
"""

from __future__ import annotations

import hashlib
import hmac

from sealwire.protocol.jwk import b64url, unb64url

LENGTH = 43
RANDOM_BYTES = 8
VALID_SECONDS = 60
_PREFIX = b"sealwire nonce 1"
# The years 2004 to 2248, in milliseconds: 32 random bytes begin like this once in two million times.
_PLAUSIBLE = range(1 << 40, 1 << 43)


def issue(secret: bytes, milliseconds: int, random: bytes, keyid: str) -> str:
    """A nonce for `keyid`, good for VALID_SECONDS from `milliseconds`, once."""
    body = milliseconds.to_bytes(8, "big") + random
    return b64url(body + _tag(secret, body, keyid))


def issued_at(secret: bytes, nonce: str, keyid: str) -> float | None:
    """
    When a nonce of ours was issued for `keyid`, in Unix seconds; None if it is not one of this start for this key.
    """
    raw = _read(nonce)
    if raw is None or not hmac.compare_digest(_tag(secret, raw[:16], keyid), raw[16:]):
        return None
    return int.from_bytes(raw[:8], "big") / 1000


def reads_as_one(nonce: str) -> bool:
    """
    True for what has the form of a server nonce, whoever issued it, when, and for whom.

    One of an earlier start may have been accepted with any `created`, so where it is not ours it is nobody's.
    """
    raw = _read(nonce)
    return raw is not None and int.from_bytes(raw[:8], "big") in _PLAUSIBLE


def _read(nonce: str) -> bytes | None:
    if len(nonce) != LENGTH:
        return None
    try:
        return unb64url(nonce)
    except ValueError:
        return None


def _tag(secret: bytes, body: bytes, keyid: str) -> bytes:
    return hmac.digest(secret, _PREFIX + body + keyid.encode("utf-8"), hashlib.sha256)[:16]
