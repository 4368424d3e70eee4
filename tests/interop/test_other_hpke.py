"""The handshake against other implementations of RFC 9180: pyhpke, and @hpke in Node, which has the hybrid kem too."""

import os

import pytest
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, OpenError

from sealwire.protocol.handshake import KeyPair, Offer
from sealwire.protocol.jwk import b64url, unb64url
from tests.interop.oracle import opinions

KEMS = {"X25519": KEMId.DHKEM_X25519_HKDF_SHA256, "P-256": KEMId.DHKEM_P256_HKDF_SHA256}
ENC_BYTES = {"X25519": 32, "P-256": 65}
IN_NODE = ("MLKEM768-X25519", "X25519", "P-256")
CONTEXT = b"sealwire session 1\nlocalhost:8443\n" + b"\n".join((b"A" * 43, b"kem", b"ses_01", b"B" * 43))
OTHER = CONTEXT + b" "
SECRET = bytes(range(32))
TAG_BYTES = 16


def suite(kem: str) -> CipherSuite:
    """The suite of one kem, at pyhpke."""
    return CipherSuite.new(KEMS[kem], KDFId.HKDF_SHA256, AEADId.AES256_GCM)


def sealed_by_pyhpke(kem: str, public_key: str, secret: bytes, context: bytes = CONTEXT) -> bytes:
    """`enc ‖ ct`."""
    theirs = suite(kem)
    enc, sender = theirs.create_sender_context(theirs.kem.deserialize_public_key(unb64url(public_key)), context)
    return enc + sender.seal(secret)


@pytest.mark.parametrize("kem", KEMS)
def test_pyhpke_opens_what_we_seal(kem: str) -> None:
    """The server's half, by a client on pyhpke; under another context it opens nothing."""
    theirs = suite(kem)
    keys = theirs.kem.derive_key_pair(os.urandom(32))
    sealed = Offer(kem, b64url(keys.public_key.to_public_bytes())).seal(SECRET, CONTEXT)
    enc, ct = sealed[: ENC_BYTES[kem]], sealed[ENC_BYTES[kem] :]
    assert len(ct) == len(SECRET) + TAG_BYTES
    assert theirs.create_recipient_context(enc, keys.private_key, CONTEXT).open(ct) == SECRET
    with pytest.raises(OpenError):
        theirs.create_recipient_context(enc, keys.private_key, OTHER).open(ct)


@pytest.mark.parametrize("kem", KEMS)
def test_we_open_what_pyhpke_seals(kem: str) -> None:
    """The client's half, from a server on pyhpke."""
    pair = KeyPair(kem)
    sealed = sealed_by_pyhpke(kem, pair.public_key, SECRET)
    assert pair.open(sealed, CONTEXT) == SECRET
    with pytest.raises(ValueError, match="not sealed to this key pair"):
        pair.open(sealed, OTHER)
    with pytest.raises(ValueError, match="not sealed to this key pair"):
        KeyPair(kem).open(sealed, CONTEXT)


@pytest.mark.parametrize("kem", KEMS)
def test_a_secret_of_another_length(kem: str) -> None:
    """What opens but is no secret of ours is refused."""
    pair = KeyPair(kem)
    with pytest.raises(ValueError, match="another length"):
        pair.open(sealed_by_pyhpke(kem, pair.public_key, SECRET[:-1]), CONTEXT)


def test_node_opens_what_we_seal() -> None:
    """The two kems of RFC 9180 and the hybrid one, whose public key in Node is ML-KEM's before X25519's as here."""
    seeds = {kem: b64url(os.urandom(32)) for kem in IN_NODE}
    publics = opinions(*(("publicKey", kem, seed) for kem, seed in seeds.items()))
    sealed = [Offer(kem, public).seal(SECRET, CONTEXT) for kem, public in zip(IN_NODE, publics, strict=True)]
    asked = [("open", kem, seeds[kem], b64url(CONTEXT), b64url(one)) for kem, one in zip(IN_NODE, sealed, strict=True)]
    assert opinions(*asked) == [b64url(SECRET)] * len(IN_NODE)
    elsewhere = [(*one[:3], b64url(OTHER), one[4]) for one in asked]
    assert opinions(*elsewhere) == [{"refused": "OpenError"}] * len(IN_NODE)


def test_we_open_what_node_seals() -> None:
    """All four kems, RSA-OAEP by Node's own crypto."""
    pairs = [KeyPair(kem) for kem in (*IN_NODE, "RSA-OAEP-256")]
    asked = [("seal", pair.kem, pair.public_key, b64url(CONTEXT), b64url(SECRET)) for pair in pairs]
    sealed = [unb64url(one) for one in opinions(*asked)]
    assert [pair.open(one, CONTEXT) for pair, one in zip(pairs, sealed, strict=True)] == [SECRET] * len(pairs)
    for pair, one in zip(pairs, sealed, strict=True):
        with pytest.raises(ValueError, match="not sealed to this key pair"):
            pair.open(one[:-1] + bytes((one[-1] ^ 1,)), CONTEXT)
