"""
How the two ends of a session come to share keys (RFC 9180, RFC 5869; docs/protocol.md, "The session").

Owns: the four kems, the context that binds a session to its request, and the key schedule. The server draws one secret
and seals it to a key that the client made for this session alone; all else follows from secret and context.
Refuses to know: who asks, where sessions are kept, how long they live.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sealwire.errors import Refusal
from sealwire.protocol.jwk import b64url, unb64url

#: Strongest first, which is also the order of preference.
KEMS = ("MLKEM768-X25519", "X25519", "P-256", "RSA-OAEP-256")
SECRET_BYTES = 32
RSA_BITS = range(3072, 8193)
_MLKEM_BYTES, _X25519_BYTES, _POINT_BYTES = 1184, 32, 65

_SUITES = {
    "MLKEM768-X25519": Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    "X25519": Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    "P-256": Suite(KEM.P256, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)

_PublicKey = MLKEM768X25519PublicKey | X25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
_PrivateKey = MLKEM768X25519PrivateKey | X25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


class Terms(NamedTuple):
    """What a session is bound to; both ends build the same bytes from it. Times are Unix seconds."""

    authority: str
    keyid: str
    kem: str
    session: str
    body_sha256: bytes
    nonce: str
    expires_at: int
    max_requests: int

    def context(self) -> bytes:
        """The lines of docs/protocol.md, "The session": HPKE's `info`, and what the salt of every key is made from."""
        lines = (
            "sealwire session 1",
            self.authority,
            self.keyid,
            self.kem,
            self.session,
            b64url(self.body_sha256),
            self.nonce,
            str(self.expires_at),
            str(self.max_requests),
        )
        return "\n".join(lines).encode("ascii")


class Keys:
    """
    The keys of one session, one for each direction and purpose: AES-256-GCM ones ready for use, and HMAC secrets.
    `repr` shows none of them, and they are not copied.
    """

    __slots__ = ("_ready", "c2s", "c2s_mac", "commitment", "s2c", "s2c_mac")

    def __init__(self, secret: bytes, context: bytes) -> None:
        salt = hashlib.sha256(context).digest()

        def key(label: bytes) -> bytes:
            return HKDF(hashes.SHA256(), 32, salt, b"sealwire " + label).derive(secret)

        self.c2s = AESGCM(key(b"c2s key"))
        self.s2c = AESGCM(key(b"s2c key"))
        self.c2s_mac = key(b"c2s mac")
        self.s2c_mac = key(b"s2c mac")
        self.commitment = key(b"commitment")
        self._ready: tuple[HMAC, HMAC] | None = None

    def mac_of_call(self, base: bytes) -> bytes:
        """hmac-sha256 (RFC 9421 section 3.3.3) under `c2s_mac`."""
        return self._mac(0, base)

    def mac_of_reply(self, base: bytes) -> bytes:
        """The same under `s2c_mac`."""
        return self._mac(1, base)

    def _mac(self, way: int, base: bytes) -> bytes:
        # Many sessions never use these, and they take a third as much as all other keys together.
        ready = self._ready or (HMAC(self.c2s_mac, hashes.SHA256()), HMAC(self.s2c_mac, hashes.SHA256()))
        self._ready = ready
        running = ready[way].copy()
        running.update(base)
        return running.finalize()

    def fits(self, commitment: bytes) -> bool:
        """Whether the other end has the same keys, compared in constant time."""
        return hmac.compare_digest(self.commitment, commitment)

    def __reduce__(self) -> NoReturn:
        raise TypeError("the keys of a session are not pickled or copied")


class Offer:
    """A client's fresh public key, judged. `kem` names how a secret is sealed to it."""

    __slots__ = ("_key", "kem")

    def __init__(self, kem: str, public_key: str) -> None:
        """
        Reads the two members of a session's request.

        Raises: request-invalid, pointing at `/kem` or `/public_key`, for an unknown kem, a key of another form, a point
        of low order or off its curve, an ML-KEM key out of range, an RSA key outside 3072 to 8192 bits or with an even
        or small exponent.
        """
        if kem not in KEMS:
            raise _unfit("/kem", f"The kem is one of {', '.join(KEMS)}.")
        self.kem = kem
        try:
            self._key = _read(kem, unb64url(public_key))
        except (ValueError, UnsupportedAlgorithm):
            raise _unfit("/public_key", f"Not a public key of {kem}.") from None

    def seal(self, secret: bytes, context: bytes) -> bytes:
        """`enc ‖ ct`: the secret, for the holder of the private key and this context only. Draws its own randomness."""
        if isinstance(self._key, RSAPublicKey):
            return self._key.encrypt(secret, _OAEP)
        return _SUITES[self.kem].encrypt(secret, self._key, context)


class KeyPair:
    """A client's key pair for one session, in memory only and gone once the answer is opened; `repr` shows nothing."""

    __slots__ = ("_private", "kem", "public_key")

    def __init__(self, kem: str) -> None:
        """A fresh pair, from the randomness of the library. Raises: KeyError for an unknown kem."""
        self.kem = kem
        self._private, public = _GENERATE[kem]()
        self.public_key = b64url(public)

    def open(self, sealed_key: bytes, context: bytes) -> bytes:
        """The secret. Raises: ValueError if it was not sealed to this key and context, whatever else is wrong."""
        try:
            if isinstance(self._private, RSAPrivateKey):
                secret = self._private.decrypt(sealed_key, _OAEP)
            else:
                secret = _SUITES[self.kem].decrypt(sealed_key, self._private, context)
        except (ValueError, InvalidTag):
            raise ValueError("the session's key was not sealed to this key pair and request") from None
        if len(secret) != SECRET_BYTES:
            raise ValueError("the session's secret has another length")
        return secret

    def __reduce__(self) -> NoReturn:
        # The library's private keys do copy themselves: it would outlive the one that is dropped.
        raise TypeError("a session's key pair is not pickled or copied")


def _unfit(pointer: str, detail: str) -> Refusal:
    errors = [{"pointer": pointer, "detail": detail}]
    return Refusal("request-invalid", "session", failed="policy", members={"errors": errors})


def _read(kem: str, raw: bytes) -> _PublicKey:
    """Raises: ValueError."""
    match kem:
        case "MLKEM768-X25519" if len(raw) == _MLKEM_BYTES + _X25519_BYTES:
            lattice = MLKEM768PublicKey.from_public_bytes(raw[:_MLKEM_BYTES])
            return MLKEM768X25519PublicKey(lattice, _x25519(raw[_MLKEM_BYTES:]))
        case "X25519" if len(raw) == _X25519_BYTES:
            return _x25519(raw)
        case "P-256" if len(raw) == _POINT_BYTES and raw[0] == 4:
            return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
        case "RSA-OAEP-256":
            return _rsa(raw)
    raise ValueError("another length or form")


def _x25519(raw: bytes) -> X25519PublicKey:
    """A point that contributes: the library refuses the all-zero secret that one of low order gives (RFC 7748)."""
    key = X25519PublicKey.from_public_bytes(raw)
    _PROBE.exchange(key)
    return key


# Its secret is used for nothing; clamping makes any private key give zero for a point of low order.
_PROBE = X25519PrivateKey.generate()


def _rsa(der: bytes) -> RSAPublicKey:
    key = load_der_public_key(der)
    if not isinstance(key, RSAPublicKey) or key.key_size not in RSA_BITS:
        raise ValueError("not RSA of 3072 to 8192 bits")
    exponent = key.public_numbers().e
    if exponent < 65537 or exponent % 2 == 0 or exponent.bit_length() > 64:
        raise ValueError("the exponent is even, small or huge")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise ValueError("not the one DER form")
    return key


def _generate_hybrid() -> tuple[_PrivateKey, bytes]:
    lattice, curve = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return MLKEM768X25519PrivateKey(lattice, curve), public


def _generate_x25519() -> tuple[_PrivateKey, bytes]:
    private = X25519PrivateKey.generate()
    return private, private.public_key().public_bytes_raw()


def _generate_p256() -> tuple[_PrivateKey, bytes]:
    private = generate_ec_key(SECP256R1())
    return private, private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _generate_rsa() -> tuple[_PrivateKey, bytes]:
    private = generate_rsa_key(65537, RSA_BITS.start)
    return private, private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


_GENERATE = {
    "MLKEM768-X25519": _generate_hybrid,
    "X25519": _generate_x25519,
    "P-256": _generate_p256,
    "RSA-OAEP-256": _generate_rsa,
}
