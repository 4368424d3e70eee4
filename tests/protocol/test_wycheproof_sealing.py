"""Wycheproof and the JOSE cookbook: what sealed bodies and sessions are made of."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.errors import Refusal
from sealwire.protocol.envelope import Envelope, Header, Headers, open_sealed, read, seal
from sealwire.protocol.handshake import KeyPair, Offer
from sealwire.protocol.jwk import b64url, unb64url
from tests.protocol.hkdf import hkdf_sha256
from tests.protocol.made import only
from tests.protocol.vectors import left_out, load

GCM = "wycheproof/aes_gcm_test.json"
HKDF = "wycheproof/hkdf_sha256_test.json"
X25519 = "wycheproof/x25519_test.json"
JWE = "wycheproof/json_web_encryption_test.json"
COOKBOOK = "jose-cookbook/jwe/5_6.direct_encryption_using_aes-gcm.json"


def opened(key: bytes, envelope: Envelope) -> bytes | None:
    """The plaintext; None if it is refused, which is always the same refusal."""
    try:
        return open_sealed(envelope, AESGCM(key))
    except Refusal as refusal:
        only(refusal, "decrypt-failed")
        return None


def test_aes_gcm() -> None:
    """Every case is opened or refused as the file says; IVs of other lengths, valid elsewhere, are refused."""
    listed, run, unrun = left_out(GCM), 0, set()
    for group in load(GCM)["testGroups"]:
        for test in group["tests"]:
            key, iv, aad, text, ciphertext, tag = (
                bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
            )
            found = opened(key, Envelope(Header("", ""), aad, b"", iv, ciphertext, tag))
            if test["result"] == "valid" and len(iv) != 12:
                assert found is None, test["tcId"]
                unrun.add(str(test["tcId"]))
                continue
            assert found == (text if test["result"] == "valid" else None), test["tcId"]
            run += 1
    assert unrun == listed
    assert run + len(listed) == load(GCM)["numberOfTests"] == 316


def test_hkdf() -> None:
    """The HKDF that the key schedule is held against says what the file says; none is left out."""
    run = 0
    for group in load(HKDF)["testGroups"]:
        for test in group["tests"]:
            ikm, salt, info = (bytes.fromhex(test[name]) for name in ("ikm", "salt", "info"))
            if test["result"] == "valid":
                assert hkdf_sha256(ikm, salt, info, test["size"]).hex() == test["okm"], test["tcId"]
            else:
                with pytest.raises(ValueError, match="too long"):
                    hkdf_sha256(ikm, salt, info, test["size"])
            run += 1
    assert run == load(HKDF)["numberOfTests"] == 86
    assert left_out(HKDF) == set()


def taken(kem: str, raw: bytes) -> bool:
    """True if the key is taken, and a secret can be sealed to it; a refusal must be the one for keys."""
    try:
        offer = Offer(kem, b64url(raw))
    except Refusal as refusal:
        only(refusal, "request-invalid")
        return False
    return len(offer.seal(bytes(32), b"context")) > len(raw) - 1184


def test_x25519() -> None:
    """
    A point is refused exactly where the file's shared secret is zero, alone and in the hybrid key; twist points and
    other writings of a point are taken. None is left out.
    """
    lattice = unb64url(KeyPair("MLKEM768-X25519").public_key)[:1184]
    run = 0
    for group in load(X25519)["testGroups"]:
        for test in group["tests"]:
            point, zero = bytes.fromhex(test["public"]), not any(bytes.fromhex(test["shared"]))
            assert zero == ("ZeroSharedSecret" in test["flags"])
            assert taken("X25519", point) is not zero, test["tcId"]
            assert taken("MLKEM768-X25519", lattice + point) is not zero, test["tcId"]
            run += 1
    assert run == load(X25519)["numberOfTests"] == 518
    assert left_out(X25519) == set()


def test_jwe() -> None:
    """Not one of them is of our form: all are refused as malformed; those that the file calls valid are left out."""
    listed, run, unrun = left_out(JWE), 0, set()
    for group in load(JWE)["testGroups"]:
        for test in group["tests"]:
            with pytest.raises(Refusal) as raised:
                read(test["jwe"].encode(), Headers())
            only(raised.value, "envelope-malformed")
            if test["result"] == "valid":
                unrun.add(str(test["tcId"]))
            else:
                run += 1
    assert unrun == listed
    assert run + len(listed) == load(JWE)["numberOfTests"] == 139


def test_the_cookbook_s_direct_encryption() -> None:
    """RFC 7520 section 5.6 is sealed to the very bytes, and opens; its header, of another `enc`, is none of ours."""
    example = load(COOKBOOK)
    key = unb64url(example["input"]["key"]["k"])
    compact, text = example["output"]["compact"].encode(), example["input"]["plaintext"].encode()
    protected, _, iv, ciphertext, tag = compact.split(b".")
    raw = [unb64url(part.decode()) for part in (iv, ciphertext, tag)]
    assert seal(AESGCM(key), protected, raw[0], text) == compact
    assert opened(key, Envelope(Header("", ""), protected, b"", *raw)) == text
    with pytest.raises(Refusal, match="envelope-malformed/header"):
        read(compact, Headers())
