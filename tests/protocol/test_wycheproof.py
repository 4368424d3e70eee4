"""Wycheproof: Ed25519, ECDSA P-256 and the signatures of JWS that our algorithms can make."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

from sealwire.errors import Refusal
from sealwire.protocol.jwk import Verifier, b64url, load_verifier, read_jwk, unb64url, verifier_of
from sealwire.protocol.signature import check, check_hmac
from tests.protocol.made import only
from tests.protocol.vectors import left_out, load

ED25519 = "wycheproof/ed25519_test.json"
ECDSA = "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json"
JWS = "wycheproof/json_web_signature_test.json"
JWS_GROUPS = load(JWS)["testGroups"]
#: Members of a JWK that are public and say what the key is; `kid` is not a thumbprint in these files.
PUBLIC = ("kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops")


def public(group: dict[str, Any]) -> dict[str, Any]:
    """The group's public key without its name."""
    return {name: value for name, value in group["public"].items() if name in PUBLIC}


def holds(verifier: Verifier | bytes, data: bytes, octets: bytes) -> bool:
    """True if the signature is accepted; a refusal must be the one for signatures."""
    try:
        if isinstance(verifier, bytes):
            check_hmac(verifier, data, octets)
        else:
            check(verifier, data, octets)
    except Refusal as refusal:
        only(refusal, "signature-mismatch")
        return False
    return True


def raw_key(given: dict[str, Any]) -> dict[str, str]:
    """A public key of the two raw files as a JWK."""
    if given["curve"] == "edwards25519":
        return {"kty": "OKP", "crv": "Ed25519", "x": b64url(bytes.fromhex(given["pk"]))}
    point = bytes.fromhex(given["uncompressed"])
    return {"kty": "EC", "crv": "P-256", "x": b64url(point[1:33]), "y": b64url(point[33:])}


@pytest.mark.parametrize(("file", "total"), [(ED25519, 151), (ECDSA, 262)])
def test_raw(file: str, total: int) -> None:
    """Every signature is accepted or refused as the file says, under the key read from its JWK; none is left out."""
    run = 0
    for group in load(file)["testGroups"]:
        members = raw_key(group["publicKey"])
        verifier = load_verifier(members)
        assert read_jwk(members) == verifier
        for test in group["tests"]:
            found = holds(verifier, bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"]))
            assert found == (test["result"] == "valid"), (test["tcId"], test["comment"])
            run += 1
    assert run == total == load(file)["numberOfTests"]
    assert left_out(file) == set()


def jws_holds(verifier: Verifier | bytes, jws: str) -> bool:
    """A compact JWS whose three parts are canonical base64url, its signature held against the key's own algorithm."""
    try:
        header, payload, octets = jws.split(".")
        unb64url(header), unb64url(payload)
        return holds(verifier, f"{header}.{payload}".encode("ascii"), unb64url(octets))
    except ValueError:
        return False


def key_of(group: dict[str, Any]) -> Verifier | bytes | None:
    """The group's key if its algorithm is one of ours; None if the strict loading refuses it, which is asserted."""
    if "public" not in group:
        assert group["private"]["alg"] == "HS256"
        return unb64url(group["private"]["k"])
    members = public(group)
    if members.get("alg") == "ES256":
        return read_jwk(members)
    with pytest.raises(Refusal, match="request-invalid"):
        read_jwk(members)
    if members.get("alg") != "PS512":
        return None
    # Too small to be enrolled, so it comes in as a key object: what is tested is the check of its signatures.
    n, e = (int.from_bytes(unb64url(members[name]), "big") for name in ("n", "e"))
    return verifier_of(RSAPublicNumbers(e, n).public_key())


def test_jws() -> None:
    """
    Every signature of our algorithms is accepted or refused as the file says; what is not run is listed as left out.

    A case of a refused key counts as run if the file, too, calls it invalid.
    """
    listed, run, unrun = left_out(JWS), 0, set()
    for group in JWS_GROUPS:
        key = key_of(group)
        for test in group["tests"]:
            number = str(test["tcId"])
            ours = key is not None or test["comment"].startswith("rejectWrong")
            if not ours or number in listed:
                unrun.add(number)
                continue
            found = key is not None and jws_holds(key, test["jws"])
            assert found == (test["result"] == "valid"), (number, test["comment"])
            run += 1
    assert unrun == listed
    assert run + len(listed) == load(JWS)["numberOfTests"] == 401


def test_jws_that_the_file_calls_valid_and_we_do_not() -> None:
    """Characters that base64url lacks are refused where the file would skip them."""
    (group,) = (group for group in JWS_GROUPS if group["comment"] == "base64")
    key = key_of(group)
    assert key is not None
    cases = {test["tcId"]: test["jws"] for test in group["tests"]}
    assert not jws_holds(key, cases[372])
    assert not jws_holds(key, cases[373])
    assert cases[367] == cases[370] == cases[357]
