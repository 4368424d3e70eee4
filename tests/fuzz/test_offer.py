"""Reading what a client offers for a session: a key that a secret can be sealed to or a Refusal, nothing else."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol import strictjson
from sealwire.protocol.handshake import KEMS, KeyPair, Offer
from sealwire.protocol.jwk import b64url, unb64url
from sealwire.sessions import read_offer
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

PAIRS = {kem: KeyPair(kem) for kem in KEMS}
RAW = [unb64url(pair.public_key) for pair in PAIRS.values()]
#: DER of other kinds, with algorithms and curves that may come out unknown once damaged.
DER = [
    Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    bytes.fromhex("3019301306072a8648ce3d020106082a8648ce3d03010703020004"),
]
BODIES = [json.dumps({"kem": kem, "public_key": pair.public_key}).encode() for kem, pair in PAIRS.items()]


def pointed_at(refusal: Refusal) -> str:
    """Where the refusal points; it must be the one for what a client offers."""
    only(refusal, "request-invalid")
    errors: Any = refusal.members["errors"]
    return str(errors[0]["pointer"])


@given(st.sampled_from(KEMS), damaged(RAW + DER))
def test_offer(kem: str, raw: bytes) -> None:
    """To what is accepted a secret can be sealed; what is refused is pointed at."""
    pointer, sealed = "", b""
    try:
        sealed = Offer(kem, b64url(raw)).seal(bytes(32), b"context")
    except Refusal as refusal:
        pointer = pointed_at(refusal)
    assert pointer == "/public_key" or len(sealed) >= 32 + 16
    assert pointer == "/public_key" or len(raw) in {32, 65, 1216} or raw[0] == 0x30


@given(st.text(max_size=20), st.text(max_size=70))
def test_other_texts(kem: str, public_key: str) -> None:
    """Texts of any kind are refused or read, whatever characters they have."""
    pointer = ""
    try:
        Offer(kem, public_key)
    except Refusal as refusal:
        pointer = pointed_at(refusal)
    assert pointer in ({"/public_key", ""} if kem in KEMS else {"/kem"})


@given(damaged([*BODIES, b"{}", b"[]", b'{"kem":"X25519","public_key":[]}', b'{"kem":{},"public_key":"AA","more":1}']))
def test_request(body: bytes) -> None:
    """A body that has one reading is an offer or refused, with a pointer; the others never come so far."""
    try:
        strictjson.read(body)
    except strictjson.NotStrict:
        body = b""
    try:
        offer = read_offer(body)
    except Refusal as refusal:
        pointer = pointed_at(refusal)
    else:
        pointer = ""
        assert json.loads(body).keys() == {"kem", "public_key"}
        assert offer.kem in KEMS
    assert pointer in {"", "/kem", "/public_key"}
