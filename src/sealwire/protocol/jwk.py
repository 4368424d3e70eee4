"""
Public keys as JWKs (RFC 7517, 7518, 8037; AKP for ML-DSA), their thumbprints (RFC 7638), and the algorithm each one
fixes.

Owns: which keys may be enrolled at all, and that a key's algorithm follows from the key and from nothing that a message
says.
Refuses to know: whose key it is, and where private keys live: a Signer only signs.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers

from sealwire.errors import Misuse, Refusal

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey | MLDSA65PublicKey
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey | MLDSA65PrivateKey
JWK = dict[str, str]

RSA_BITS = range(3072, 8193)
KEYID = re.compile(r"[A-Za-z0-9_-]{43}")

#: RFC 9421 algorithm -> the JOSE name of it that a key set shows (RFC 9864 for Ed25519).
JOSE_NAMES = {
    "ed25519": "Ed25519",
    "ecdsa-p256-sha256": "ES256",
    "ecdsa-p384-sha384": "ES384",
    "rsa-pss-sha512": "PS512",
    "ml-dsa-65": "ML-DSA-65",
}
# In the order of RFC 7638: sorted.
_REQUIRED = {
    "OKP": ("crv", "kty", "x"),
    "EC": ("crv", "kty", "x", "y"),
    "RSA": ("e", "kty", "n"),
    "AKP": ("alg", "kty", "pub"),
}
_OPTIONAL = frozenset(("use", "kid", "alg"))
_CURVES = {"P-256": (SECP256R1, 32), "P-384": (SECP384R1, 48)}

# The y coordinates of the points of Ed25519 whose order divides 8, and their non-canonical spellings, sign bit cleared:
# under such a key one signature fits every message (RFC 8032 section 8.4; the list is that of libsodium).
_LOW_ORDER = frozenset(
    bytes.fromhex(point)
    for point in (
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    )
)


_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


class Verifier(NamedTuple):
    """A public key, the one algorithm it is good for, and its RFC 7638 thumbprint."""

    algorithm: str
    keyid: str
    key: PublicKey
    jwk: JWK


class Signer(NamedTuple):
    """Signs with a private key that may live anywhere; `repr` shows its thumbprint and nothing of the key."""

    algorithm: str
    keyid: str
    jwk: JWK
    sign: Callable[[bytes], bytes]

    def __repr__(self) -> str:
        return f"Signer({self.algorithm}, {self.keyid})"


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64url(text: str) -> bytes:
    """Canonical base64url without padding, decoded. Raises: ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text) or len(text) % 4 == 1:
        raise ValueError("not base64url")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def thumbprint(jwk: JWK) -> str:
    """RFC 7638 section 3: base64url(SHA-256) over the required members, sorted, without white space."""
    required = {name: jwk[name] for name in _REQUIRED[jwk["kty"]]}
    return b64url(hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest())


def read_jwk(members: object, pointer: str = "/key") -> Verifier:
    """
    A key offered for enrolment, judged: its required members and `use`, `kid`, `alg`, nothing else, all fitting.

    Raises: request-invalid, pointing at the member, for a private or unknown member, an unlisted type or curve, a small
    or odd RSA key, a point of low order or off its curve, a `kid` that is not the thumbprint, an `alg` that does not
    fit.
    """
    if not isinstance(members, dict) or not all(isinstance(value, str) for value in members.values()):
        raise _unfit(pointer, "A JWK is an object of strings.")
    jwk: JWK = members
    required = _REQUIRED.get(jwk.get("kty", ""))
    if required is None:
        raise _unfit(f"{pointer}/kty", "The key type is one of OKP, EC, RSA, AKP.")
    for name in required:
        if name not in jwk:
            raise _unfit(f"{pointer}/{name}", "The member is missing.")
    for name in jwk:
        if name not in required and name not in _OPTIONAL:
            raise _unfit(f"{pointer}/{_shown(name)}", "The member does not belong in a public key that is enrolled.")
    verifier = verifier_of(_load(jwk, pointer))
    if jwk.get("use", "sig") != "sig":
        raise _unfit(f"{pointer}/use", "The key must be for signing.")
    if jwk.get("kid", verifier.keyid) != verifier.keyid:
        raise _unfit(f"{pointer}/kid", "The kid of a key is its RFC 7638 thumbprint.")
    wanted = JOSE_NAMES[verifier.algorithm]
    # RFC 8037's EdDSA is read as RFC 9864's Ed25519, which says the curve.
    if {"EdDSA": "Ed25519"}.get(jwk.get("alg", wanted), jwk.get("alg", wanted)) != wanted:
        raise _unfit(f"{pointer}/alg", f"The algorithm of this key is {wanted}.")
    return verifier


def verifier_of(key: object) -> Verifier:
    """
    The Verifier of a public key object; its algorithm follows from its type. Raises: Misuse for a type not listed.
    """
    algorithm, jwk = _describe(key)
    return Verifier(algorithm, thumbprint(jwk), key, jwk)  # type: ignore[arg-type]  # _describe lets only these through


def load_verifier(jwk: JWK) -> Verifier:
    """A key that was enrolled before, from its stored JWK. Raises: request-invalid if it is no key at all."""
    return verifier_of(_load(jwk, ""))


def _unfit(pointer: str, detail: str) -> Refusal:
    return Refusal("request-invalid", "enrolment", members={"errors": [{"pointer": pointer, "detail": detail}]})


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_]{1,20}", name) else "?"


def _load(jwk: JWK, pointer: str) -> PublicKey:
    kind = jwk["kty"]
    load = {"OKP": _load_okp, "EC": _load_ec, "RSA": _load_rsa, "AKP": _load_akp}[kind]
    try:
        return load(jwk, pointer)
    except (ValueError, UnsupportedAlgorithm):
        raise _unfit(f"{pointer}/{'n' if kind == 'RSA' else 'pub' if kind == 'AKP' else 'x'}", "Not a key.") from None


def _load_okp(jwk: JWK, pointer: str) -> PublicKey:
    if jwk["crv"] != "Ed25519":
        raise _unfit(f"{pointer}/crv", "The curve of an OKP key is Ed25519.")
    raw = unb64url(jwk["x"])
    if len(raw) == 32 and raw[:31] + bytes((raw[31] & 0x7F,)) in _LOW_ORDER:
        raise _unfit(f"{pointer}/x", "A point of low order.")
    if not _on_edwards_curve(raw):
        raise ValueError("no point of the curve, or not its one spelling")
    return Ed25519PublicKey.from_public_bytes(raw)


def _on_edwards_curve(raw: bytes) -> bool:
    """
    RFC 8032 section 5.1.3: y is below p, and (y² - 1) / (dy² + 1) is a square. The library looks only when it verifies.
    """
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    return y < _P and pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) == 1


def _load_ec(jwk: JWK, pointer: str) -> PublicKey:
    if jwk["crv"] not in _CURVES:
        raise _unfit(f"{pointer}/crv", "The curve of an EC key is P-256 or P-384.")
    curve, size = _CURVES[jwk["crv"]]
    x, y = unb64url(jwk["x"]), unb64url(jwk["y"])
    if len(x) != size or len(y) != size:
        raise ValueError("a coordinate has the size of its field (RFC 7518 section 6.2.1)")
    return EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve()).public_key()


def _load_rsa(jwk: JWK, pointer: str) -> PublicKey:
    n, e = unb64url(jwk["n"]), unb64url(jwk["e"])
    modulus, exponent = int.from_bytes(n, "big"), int.from_bytes(e, "big")
    if n[:1] in (b"", b"\0") or e[:1] in (b"", b"\0"):
        raise ValueError("an integer has no leading zeros (RFC 7518 section 2)")
    if modulus.bit_length() not in RSA_BITS or modulus % 2 == 0:
        raise _unfit(f"{pointer}/n", "An RSA key has 3072 to 8192 bits.")
    if exponent < 65537 or exponent % 2 == 0 or exponent.bit_length() > 64:
        raise _unfit(f"{pointer}/e", "The exponent of an RSA key is odd, at least 65537.")
    return RSAPublicNumbers(exponent, modulus).public_key()


def _load_akp(jwk: JWK, pointer: str) -> PublicKey:
    if jwk["alg"] != "ML-DSA-65":
        raise _unfit(f"{pointer}/alg", "The algorithm of an AKP key is ML-DSA-65.")
    return MLDSA65PublicKey.from_public_bytes(unb64url(jwk["pub"]))


def _describe(key: object) -> tuple[str, JWK]:
    match key:
        case Ed25519PublicKey():
            return "ed25519", {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw())}
        case EllipticCurvePublicKey() if key.curve.name in ("secp256r1", "secp384r1"):
            small = key.curve.name == "secp256r1"
            size, numbers = (32 if small else 48), key.public_numbers()
            point = {"x": b64url(numbers.x.to_bytes(size, "big")), "y": b64url(numbers.y.to_bytes(size, "big"))}
            name = "ecdsa-p256-sha256" if small else "ecdsa-p384-sha384"
            return name, {"kty": "EC", "crv": "P-256" if small else "P-384"} | point
        case RSAPublicKey():
            modulus = key.public_numbers()
            n = modulus.n.to_bytes((modulus.n.bit_length() + 7) // 8, "big")
            e = modulus.e.to_bytes((modulus.e.bit_length() + 7) // 8, "big")
            return "rsa-pss-sha512", {"kty": "RSA", "n": b64url(n), "e": b64url(e)}
        case MLDSA65PublicKey():
            return "ml-dsa-65", {"kty": "AKP", "alg": "ML-DSA-65", "pub": b64url(key.public_bytes_raw())}
    raise Misuse("the key is none of Ed25519, EC P-256, EC P-384, RSA, ML-DSA-65")
