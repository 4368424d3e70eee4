"""HKDF written out (RFC 5869), to hold ours against: the vectors hold this one, and this one the key schedule."""

import hashlib
import hmac


def hkdf_sha256(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Raises: ValueError past 255 blocks (section 2.3)."""
    if length > 255 * 32:
        raise ValueError("too long")
    extracted = hmac.digest(salt or bytes(32), ikm, hashlib.sha256)
    made, block, count = b"", b"", 0
    while len(made) < length:
        count += 1
        block = hmac.digest(extracted, block + info + bytes((count,)), hashlib.sha256)
        made += block
    return made[:length]
