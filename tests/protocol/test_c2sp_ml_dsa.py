"""ML-DSA as an algorithm of RFC 9421: the deterministic vectors of C2SP httpsig-pq."""

import hashlib
from base64 import b64decode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from sealwire.errors import Refusal
from sealwire.protocol import signature
from sealwire.protocol.jwk import b64url, read_jwk
from tests.protocol.vectors import left_out, load

FILE = "c2sp/c2sp_httpsig_pq.json"
VECTORS = {vector["algorithm"]: vector for vector in load(FILE)["vectors"]}


def jwk(vector: dict[str, Any]) -> dict[str, str]:
    """The vector's public key as a JWK."""
    public = b64url(b64decode(vector["public_key_base64"]))
    return {"kty": "AKP", "alg": vector["algorithm"].upper(), "pub": public}


def test_every_vector_is_run() -> None:
    """Three vectors; none is left out."""
    assert set(VECTORS) == {"ml-dsa-44", "ml-dsa-65", "ml-dsa-87"}
    assert left_out(FILE) == set()


def test_ml_dsa_65() -> None:
    """The signature holds over the base and over no other, and the base is the one the engine builds."""
    vector = VECTORS["ml-dsa-65"]
    verifier, base = read_jwk(jwk(vector)), b64decode(vector["signature_base_base64"])
    octets = b64decode(vector["deterministic_signature_base64"])
    assert verifier.algorithm == "ml-dsa-65"
    assert hashlib.sha256(base).hexdigest() == vector["signature_base_sha256"]
    signature.check(verifier, base, octets)
    for data, wrong in ((base + b" ", octets), (base, octets[:-1]), (base, octets[:-1] + bytes((octets[-1] ^ 1,)))):
        with pytest.raises(Refusal, match="signature-mismatch"):
            signature.check(verifier, data, wrong)
    covered = vector["serialized_signature_input"].removeprefix("Signature-Input: sig1=").encode()
    assert base.endswith(b'"@signature-params": ' + covered)


def test_ml_dsa_65_signer() -> None:
    """The vector's private key signs under the vector's public key."""
    vector = VECTORS["ml-dsa-65"]
    seed = bytes.fromhex(vector["private_key_seed_hex"])
    signer = signature.signer_of(MLDSA65PrivateKey.from_seed_bytes(seed))
    assert signer.jwk == jwk(vector)
    signature.check(read_jwk(signer.jwk), b"base", signer.sign(b"base"))


@pytest.mark.parametrize("algorithm", ["ml-dsa-44", "ml-dsa-87"])
def test_other_sizes(algorithm: str) -> None:
    """ML-DSA-44 and ML-DSA-87 are refused, under their own name and under that of ML-DSA-65."""
    for members in (jwk(VECTORS[algorithm]), jwk(VECTORS[algorithm]) | {"alg": "ML-DSA-65"}):
        with pytest.raises(Refusal, match="request-invalid"):
            read_jwk(members)
