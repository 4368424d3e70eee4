"""
New private keys, by the RFC 9421 name of their algorithm.

Owns: the one place where private keys are made. Refuses to know: where they are kept and what they sign.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealwire.client.errors import CredentialError
from sealwire.client.secretfile import Secret
from sealwire.protocol.jwk import PrivateKey

_MAKE: dict[str, Callable[[], PrivateKey]] = {
    "ed25519": Ed25519PrivateKey.generate,
    "ecdsa-p256-sha256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-p384-sha384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa-pss-sha512": lambda: rsa.generate_private_key(public_exponent=65537, key_size=3072),
    "ml-dsa-65": MLDSA65PrivateKey.generate,
}
ALGORITHMS = tuple(_MAKE)


def new_key(algorithm: str) -> Secret:
    """
    A fresh private key as unencrypted PKCS#8 in PEM form (RFC 5958, RFC 7468).

    Raises: CredentialError for an algorithm not in ALGORITHMS.
    """
    if algorithm not in _MAKE:
        raise CredentialError(f"no keys of {algorithm} are made here; one of {', '.join(ALGORITHMS)}")
    private = _MAKE[algorithm]()
    return Secret(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
