"""Public keys: which may be enrolled, their thumbprints, and the algorithm that each one fixes."""

import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Misuse, Refusal
from sealwire.protocol.jwk import (
    JOSE_NAMES,
    KEYID,
    RSA_BITS,
    Signer,
    b64url,
    load_verifier,
    read_jwk,
    thumbprint,
    unb64url,
    verifier_of,
)
from tests.protocol.made import ALGORITHMS, signer

P = 2**255 - 19
REQUIRED = {
    "OKP": {"crv", "kty", "x"},
    "EC": {"crv", "kty", "x", "y"},
    "RSA": {"e", "kty", "n"},
    "AKP": {"alg", "kty", "pub"},
}
#: RFC 7638 section 3.1
EXAMPLE = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


def refused_at(members: object, pointer: str = "/key") -> str:
    """Where the refusal points."""
    with pytest.raises(Refusal) as raised:
        read_jwk(members, pointer)
    refusal = raised.value
    assert (refusal.code, refusal.status) == ("request-invalid/enrolment", 422)
    errors = refusal.members["errors"]
    assert isinstance(errors, list)
    assert [set(error) for error in errors] == [{"pointer", "detail"}]
    return str(errors[0]["pointer"])


def made(algorithm: str, **members: str) -> dict[str, str]:
    """A good JWK with some members changed."""
    return signer(algorithm).jwk | members


# --- good keys ---


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_key_fixes_the_algorithm(algorithm: str) -> None:
    """Whatever else stands in the JWK, type and curve alone say the algorithm; the thumbprint is the key's name."""
    jwk = signer(algorithm).jwk
    plain = read_jwk(jwk)
    full = read_jwk({**jwk, "use": "sig", "kid": plain.keyid, "alg": JOSE_NAMES[algorithm]})
    for verifier in (plain, full, load_verifier(jwk), verifier_of(plain.key)):
        assert (verifier.algorithm, verifier.keyid, verifier.jwk) == (algorithm, thumbprint(jwk), jwk)
    assert KEYID.fullmatch(plain.keyid)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_thumbprint(algorithm: str) -> None:
    """SHA-256 over the required members alone, sorted, without white space (RFC 7638)."""
    jwk = signer(algorithm).jwk
    required = {name: jwk[name] for name in sorted(REQUIRED[jwk["kty"]])}
    written = json.dumps(required, separators=(",", ":")).encode()
    assert thumbprint({**jwk, "use": "sig"}) == b64url(hashlib.sha256(written).digest())


def test_thumbprint_of_the_rfc() -> None:
    """The example of RFC 7638 has the thumbprint printed there."""
    assert thumbprint(EXAMPLE) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_names_in_jose() -> None:
    """What a key set calls each algorithm."""
    assert dict(zip(ALGORITHMS, ("Ed25519", "ES256", "ES384", "PS512", "ML-DSA-65"), strict=True)) == JOSE_NAMES


def test_eddsa_is_read_as_ed25519() -> None:
    """RFC 8037's EdDSA is taken for an Ed25519 key, and for no other."""
    assert read_jwk(made("ed25519", alg="EdDSA")).algorithm == "ed25519"
    assert refused_at(made("ecdsa-p256-sha256", alg="EdDSA")) == "/key/alg"


def test_a_signer_shows_nothing() -> None:
    """The repr of a signer is its algorithm and thumbprint."""
    assert repr(Signer("ed25519", "K", {"d": "secret"}, bytes)) == "Signer(ed25519, K)"


# --- what is no key that may be enrolled ---


@pytest.mark.parametrize("members", [None, [], "x", 1, {"kty": 1}, {"kty": "OKP", "crv": "Ed25519", "x": None}])
def test_no_object_of_strings(members: object) -> None:
    """A JWK is an object of strings."""
    assert refused_at(members) == "/key"


@pytest.mark.parametrize("kty", ["", "oct", "okp", "DSA", "\ud800"])
def test_types(kty: str) -> None:
    """OKP, EC, RSA and AKP are the types; shared secrets are never enrolled."""
    assert refused_at({"kty": kty, "k": "AAAA"}) == "/key/kty"
    assert refused_at({}) == "/key/kty"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_missing_and_unknown_members(algorithm: str) -> None:
    """Every required member is needed, and nothing else may stand there, a private part least of all."""
    jwk = signer(algorithm).jwk
    for name in REQUIRED[jwk["kty"]] - {"kty"}:
        assert refused_at({key: value for key, value in jwk.items() if key != name}) == f"/key/{name}"
    for name in ("d", "p", "q", "dp", "k", "priv", "x5u", "x5c", "key_ops", "ext"):
        assert refused_at(made(algorithm, **{name: "AAAA"})) == f"/key/{name}"


def test_odd_names_are_not_repeated() -> None:
    """The name of an unknown member is shown only where it is short and plain."""
    for name in ("<script>", "a" * 21, "", "a/b", "a~b"):
        assert refused_at(made("ed25519", **{name: "x"})) == "/key/?"
    assert refused_at(made("ed25519", **{"a" * 20: "x"})) == f"/key/{'a' * 20}"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_members_that_do_not_fit(algorithm: str) -> None:
    """`use` is sig, `kid` is the thumbprint, `alg` is the key's own; the pointer starts where the caller says."""
    assert refused_at(made(algorithm, use="enc"), "") == "/use"
    assert refused_at(made(algorithm, kid="A" * 43), "/keys/0") == "/keys/0/kid"
    for alg in {"HS256", "none", "RS256", "PS256", "ES512", algorithm, *JOSE_NAMES.values()} - {JOSE_NAMES[algorithm]}:
        assert refused_at(made(algorithm, alg=alg)) == "/key/alg"


# --- Ed25519 ---


@pytest.mark.parametrize("crv", ["X25519", "Ed448", "ed25519", "P-256", ""])
def test_curves_of_okp(crv: str) -> None:
    """The curve of an OKP key is Ed25519."""
    assert refused_at(made("ed25519", crv=crv)) == "/key/crv"


ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
LOW_ORDER = [0, 1, P - 1, P, P + 1, ORDER_8, P - ORDER_8]


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", LOW_ORDER)
def test_points_of_low_order(y: int, sign: int) -> None:
    """Under a point of low order one signature fits every message: it is refused, in every spelling."""
    assert refused_at(made("ed25519", x=b64url((y | sign).to_bytes(32, "little")))) == "/key/x"


def test_the_list_of_low_order_is_whole() -> None:
    """Eight points have an order that divides 8: eight times each listed one is the neutral one."""
    d = -121665 * pow(121666, -1, P) % P

    def doubled(x: int, y: int) -> tuple[int, int]:
        product = d * x * x * y * y % P
        return 2 * x * y * pow(1 + product, -1, P) % P, (y * y + x * x) * pow(1 - product, -1, P) % P

    points = 0
    for y in {y for y in LOW_ORDER if y < P}:
        square = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        if x * x % P != square:
            x = x * pow(2, (P - 1) // 4, P) % P
        assert x * x % P == square
        assert doubled(*doubled(*doubled(x, y))) == (0, 1)
        points += 1 if x == 0 else 2
    assert points == 8


@pytest.mark.parametrize("y", [2, 7, P + 2, P + 18, 2**255 - 1])
def test_no_point_of_the_curve(y: int) -> None:
    """A y that no point has, and one that is not reduced, are refused though the library would load them."""
    raw = y.to_bytes(32, "little")
    ed25519.Ed25519PublicKey.from_public_bytes(raw)
    assert refused_at(made("ed25519", x=b64url(raw))) == "/key/x"


@given(st.binary(min_size=32, max_size=32))
def test_every_key_of_the_library_is_on_the_curve(seed: bytes) -> None:
    """No honest key is refused."""
    public = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert read_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64url(public.public_bytes_raw())}).algorithm == "ed25519"


@pytest.mark.parametrize(
    "x", ["", "AAAA", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "=", "A" * 42 + "+", "A" * 42 + "\n"]
)
def test_x_of_another_length_or_spelling(x: str) -> None:
    """32 bytes in canonical base64url."""
    assert refused_at(made("ed25519", x=x)) == "/key/x"


# --- EC ---


@pytest.mark.parametrize("crv", ["P-521", "secp256k1", "P-224", "p-256", "Ed25519", ""])
def test_curves_of_ec(crv: str) -> None:
    """The curves are P-256 and P-384."""
    assert refused_at(made("ecdsa-p256-sha256", crv=crv)) == "/key/crv"


def test_points_off_the_curve() -> None:
    """A point off its curve, of another curve, the point at infinity and a compressed one are refused."""
    jwk = made("ecdsa-p256-sha256")
    other = signer("ecdsa-p384-sha384").jwk
    x = unb64url(jwk["x"])
    off = b64url(x[:-1] + bytes((x[-1] ^ 1,)))
    zero = b64url(bytes(32))
    for members in (
        jwk | {"x": off},
        jwk | {"x": zero, "y": zero},
        jwk | {"x": other["x"], "y": other["y"]},
        jwk | {"crv": "P-384"},
        jwk | {"y": ""},
        jwk | {"x": b64url(b"\2" + x), "y": ""},
        jwk | {"x": b64url(b"\0" + x)},
        jwk | {"x": b64url(x[1:])},
        jwk | {"y": b64url((2**256 - 1).to_bytes(32, "big"))},
    ):
        assert refused_at(members) == "/key/x"


def test_a_coordinate_with_leading_zeros() -> None:
    """A coordinate has the size of its field, its leading zeros included."""
    key = ec.derive_private_key(0xB9, ec.SECP256R1()).public_key()
    for secret in range(2, 2000):
        key = ec.derive_private_key(secret, ec.SECP256R1()).public_key()
        if key.public_numbers().x >> 248 == 0:
            break
    verifier = verifier_of(key)
    assert len(unb64url(verifier.jwk["x"])) == 32
    assert read_jwk(verifier.jwk) == verifier
    assert refused_at(verifier.jwk | {"x": b64url(unb64url(verifier.jwk["x"])[1:])}) == "/key/x"


# --- RSA ---


def modulus(bits: int) -> int:
    """An odd number of this many bits, which is all that loading can tell of a modulus."""
    return (1 << bits - 1) + 0x10001


def rsa_jwk(n: int, e: int = 65537) -> dict[str, str]:
    """A JWK of these two numbers."""
    n_bytes, e_bytes = (number.to_bytes((number.bit_length() + 7) // 8, "big") for number in (n, e))
    return {"kty": "RSA", "n": b64url(n_bytes), "e": b64url(e_bytes)}


@pytest.mark.parametrize("bits", [3072, 3073, 4096, 8192])
def test_rsa_of_fitting_size(bits: int) -> None:
    """3072 to 8192 bits."""
    assert (RSA_BITS[0], RSA_BITS[-1]) == (3072, 8192)
    assert read_jwk(rsa_jwk(modulus(bits))).algorithm == "rsa-pss-sha512"


@pytest.mark.parametrize("n", [1, modulus(512), modulus(2048), modulus(3071), modulus(8193), modulus(3072) + 1])
def test_rsa_of_other_size(n: int) -> None:
    """Smaller, larger and even moduli are refused."""
    assert refused_at(rsa_jwk(n)) == "/key/n"


@pytest.mark.parametrize("e", [1, 2, 3, 17, 257, 65535, 65536, 65538, 2**64 + 13])
def test_rsa_exponents(e: int) -> None:
    """The exponent is odd, at least 65537, and of at most 64 bits."""
    assert refused_at(rsa_jwk(modulus(3072), e)) == "/key/e"


def test_rsa_exponent_bounds() -> None:
    """65537 and the largest of 64 bits are taken, if the library takes them."""
    for e in (65537, 65541, 2**33 - 9):
        assert read_jwk(rsa_jwk(modulus(3072), e)).algorithm == "rsa-pss-sha512"


@pytest.mark.parametrize("member", ["n", "e"])
def test_rsa_integers_have_one_spelling(member: str) -> None:
    """No leading zeros, and not empty: else one key would have two thumbprints."""
    jwk = rsa_jwk(modulus(3072))
    for raw in (b"", b"\0", b"\0" + unb64url(jwk[member])):
        assert refused_at(jwk | {member: b64url(raw)}) == "/key/n"


# --- AKP ---


@pytest.mark.parametrize("alg", ["ML-DSA-44", "ML-DSA-87", "ml-dsa-65", ""])
def test_sizes_of_ml_dsa(alg: str) -> None:
    """The algorithm of an AKP key is ML-DSA-65."""
    assert refused_at(made("ml-dsa-65", alg=alg)) == "/key/alg"


def test_length_of_ml_dsa() -> None:
    """A public key of another length is refused."""
    pub = unb64url(signer("ml-dsa-65").jwk["pub"])
    for raw in (b"", pub[:-1], pub + b"\0"):
        assert refused_at(made("ml-dsa-65", pub=b64url(raw))) == "/key/pub"


# --- key objects, base64url ---


def test_objects_of_other_types() -> None:
    """A key object of a type not listed is the developer's mistake."""
    for key in (
        None,
        object(),
        x25519.X25519PrivateKey.generate().public_key(),
        ed448.Ed448PrivateKey.generate().public_key(),
        ec.generate_private_key(ec.SECP521R1()).public_key(),
        ec.generate_private_key(ec.SECP256K1()).public_key(),
        rsa.generate_private_key(65537, 2048),
    ):
        with pytest.raises(Misuse):
            verifier_of(key)


@given(st.binary(max_size=80))
def test_base64url(data: bytes) -> None:
    """What is written reads as it was, without padding."""
    assert unb64url(b64url(data)) == data
    assert "=" not in b64url(data)


@pytest.mark.parametrize("text", ["A", "AA==", "AB", "AAB", "A A", "AA\n", "+/", "AAAAA", "ÄA", "AA="])
def test_base64url_has_one_spelling(text: str) -> None:
    """Padding, other alphabets, bits left over and impossible lengths are refused."""
    with pytest.raises(ValueError, match="base64url"):
        unb64url(text)


def test_json_of_a_jwk_is_all_strings() -> None:
    """The JWK that is kept is what was offered, and can be written again."""
    members: dict[str, Any] = json.loads(json.dumps(signer("ed25519").jwk))
    assert read_jwk(members).jwk == members
