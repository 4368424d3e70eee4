"""RFC 9421's engine beyond the RFC's own examples: what is refused, and what every algorithm must hold to."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Misuse, Refusal
from sealwire.protocol import signature
from sealwire.protocol.fields import FieldError, Params, Token, parse_inner_list
from sealwire.protocol.jwk import Verifier, verifier_of
from sealwire.protocol.message import Request, Response, combine
from sealwire.protocol.profile import build_base
from sealwire.protocol.signature import Component
from tests.protocol.made import ALGORITHMS, FOUR, code, read, request, signed_lines, signer, verifier, with_body

LINES = ((b"dict", b"a=1, b"), (b"one", b"x;  y"), (b"many", b"1,   2"), (b"text", b"no field ="), (b"cr", b"a\nb"))
MESSAGE = replace(request([*LINES[:4]]), headers=LINES, fields=combine(LINES), trailers=((b"late", b"1"),))
RESPONSE = Response(204, LINES, combine(LINES))
TYPES = {b"dict": "dictionary", b"one": "item", b"many": "list", b"text": "item"}


def value(name: str, params: Params, message: Request | Response = MESSAGE, related: Request | None = None) -> bytes:
    """The component's value, with the types of LINES known."""
    return signature.value(Component(name, params), message, related, TYPES)


# --- reading the two fields ---


def test_parse() -> None:
    """Every signature with its label, components, parameters, the text received, and its bytes."""
    one, two = signature.parse(b'b=("x";sf  "@path" );created=1, a=()', b"a=:YQ==:, b=:Yg==:;p")
    assert one == ("b", (("x", {"sf": True}), ("@path", {})), {"created": 1}, b'("x";sf  "@path" );created=1', b"b")
    assert two == ("a", (), {}, b"()", b"a")


@pytest.mark.parametrize(
    ("inputs", "octets"),
    [
        (b"a=()", b""),
        (b"a=()", b"b=:YQ==:"),
        (b"a=(), b=()", b"a=:YQ==:"),
        (b"a=()", b"a=:YQ==:, a=:YQ==:"),
        (b"a=1", b"a=:YQ==:"),
        (b"a", b"a=:YQ==:"),
        (b"a=(x)", b"a=:YQ==:"),
        (b"a=(1)", b"a=:YQ==:"),
        (b"a=(:YQ==:)", b"a=:YQ==:"),
        (b'a=(%"x")', b"a=:YQ==:"),
        (b"a=()", b'a="YQ=="'),
        (b"a=()", b"a=(:YQ==:)"),
        (b"a=()", b"a"),
        (b"a=()", b"a=YQ"),
        (b"a=", b"a=:YQ==:"),
        (b"a= ()", b"a=:YQ==:"),
        (b"a=(", b"a=:YQ==:"),
        (b'a=("x', b"a=:YQ==:"),
        (b"A=()", b"A=:YQ==:"),
        (b"a=() x", b"a=:YQ==:"),
        (b'a=("x\n")', b"a=:YQ==:"),
    ],
)
def test_parse_refuses(inputs: bytes, octets: bytes) -> None:
    """Other labels in the two fields, members of another type and whatever is no dictionary: refused."""
    with pytest.raises(FieldError):
        signature.parse(inputs, octets)


@pytest.mark.parametrize(
    ("covered", "octets", "expected"),
    [
        (b'("x" "y");created=1', b":YQ==:", True),
        (b'("x"  "y");created=1', b":YQ==:", False),
        (b'( "x");created=1', b":YQ==:", False),
        (b'("x"); created=1', b":YQ==:", False),
        (b'("x");created=01', b":YQ==:", False),
        (b'("x");created=-0', b":YQ==:", False),
        (b'("x");a=?1', b":YQ==:", False),
        (b'("x");a=1;a=1', b":YQ==:", False),
        (b'("x";a;a)', b":YQ==:", False),
        (b'("x");a=1.0', b":YQ==:", True),
        (b'("x");a=1.00', b":YQ==:", False),
        (b'("x")', b":YQ:", False),
        (b'("x")', b":YR==:", False),
        (b'("x")', b":YQ==:;p", False),
    ],
)
def test_canonical(covered: bytes, octets: bytes, expected: bool) -> None:
    """A member is canonical if it is what RFC 9651 would write for it."""
    (signed,) = signature.parse(b"a=" + covered, b"a=" + octets)
    assert signature.canonical(signed, octets) is expected


# --- component values ---


@pytest.mark.parametrize(
    ("name", "params", "expected"),
    [
        ("dict", {"key": "a"}, b"1"),
        ("dict", {"key": "b"}, b"?1"),
        ("dict", {"sf": True}, b"a=1, b"),
        ("dict", {"sf": True, "key": "a"}, b"1"),
        ("one", {"sf": True}, b"x;y"),
        ("many", {"sf": True}, b"1, 2"),
        ("many", {}, b"1,   2"),
        ("many", {"bs": True}, b":MSwgICAy:"),
        ("late", {"tr": True}, b"1"),
        ("late", {"tr": True, "bs": True}, b":MQ==:"),
        ("@query-param", {"name": "b"}, b"1"),
    ],
)
def test_values(name: str, params: Params, expected: bytes) -> None:
    """Fields and derived components with their parameters."""
    assert value(name, params) == expected


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("absent", {}),
        ("Dict", {}),
        ("late", {}),
        ("dict", {"tr": True}),
        ("dict", {"key": "c"}),
        ("text", {"key": "a"}),
        ("text", {"sf": True}),
        ("cr", {"sf": True}),
        ("@query-param", {"name": "c"}),
    ],
)
def test_what_the_message_lacks(name: str, params: Params) -> None:
    """A component that is not there, or not readable as what it must be, is refused as absent."""
    with pytest.raises(Refusal) as raised:
        value(name, params)
    assert (code(raised), raised.value.failed) == ("components-insufficient/field-absent", "components")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("@status", {}),
        ("@unknown", {}),
        ("@METHOD", {}),
        ("@signature-params", {}),
        ("@method", {"sf": True}),
        ("@query-param", {}),
        ("@query-param", {"name": 1}),
        ("@query-param", {"name": "b", "sf": True}),
        ("dict", {"other": True}),
        ("dict", {"bs": True, "sf": True}),
        ("dict", {"bs": True, "key": "a"}),
        ("dict", {"key": 1}),
        ("dict", {"key": Token("a")}),
        ("dict", {"key": True}),
        ("dict", {"sf": False}),
        ("dict", {"sf": 1}),
        ("dict", {"bs": "x"}),
        ("late", {"tr": False}),
        ("dict", {"req": True}),
    ],
)
def test_components_that_cannot_be(name: str, params: Params) -> None:
    """Unknown derived components, unknown, ill-typed or clashing parameters, and `req` in a request: refused."""
    with pytest.raises(Refusal) as raised:
        value(name, params)
    assert (code(raised), raised.value.failed) == ("signature-malformed/component-unknown", "parse")


def test_of_the_related_request() -> None:
    """`req` takes the value from the request that a response answers, and from nothing else."""
    assert value("@status", {}, RESPONSE) == b"204"
    assert value("@method", {"req": True}, RESPONSE, MESSAGE) == b"GET"
    assert value("dict", {"key": "a", "req": True}, RESPONSE, MESSAGE) == b"1"
    bad: list[tuple[str, Params, Request | None]] = [
        ("@method", {}, MESSAGE),
        ("@status", {"x": True}, MESSAGE),
        ("@status", {"req": True}, MESSAGE),
        ("@method", {"req": True}, None),
        ("@method", {"req": False}, MESSAGE),
        ("@method", {"req": 1}, MESSAGE),
    ]
    for name, params, related in bad:
        with pytest.raises(Refusal, match="signature-malformed/component-unknown"):
            value(name, params, RESPONSE, related)


def test_query_parameters() -> None:
    """A parameter is named as the form encodes it; one that stands twice has no value."""
    made = request(target=b"/?a=1&a=2&b=x+y%7e*-._&c&=d&e%20f=%C3%BC")
    assert value("@query-param", {"name": "b"}, made) == b"x%20y%7E*-._"
    assert value("@query-param", {"name": "c"}, made) == b""
    assert value("@query-param", {"name": ""}, made) == b"d"
    assert value("@query-param", {"name": "e%20f"}, made) == b"%C3%BC"
    for absent in ("a", "e f", "e+f"):
        with pytest.raises(Refusal, match="field-absent"):
            value("@query-param", {"name": absent}, made)


DICTIONARIES = (
    b"accept-signature", b"cache-control", b"content-digest", b"priority", b"repr-digest", b"signature",
    b"signature-input",
)  # fmt: skip


@pytest.mark.parametrize("name", [*DICTIONARIES, b"content-type"])
def test_known_structured_fields(name: bytes) -> None:
    """These fields can be covered with `sf`."""
    given, written = (b"a=1,  b", b"a=1, b") if name in DICTIONARIES else (b"a/b; c=d", b"a/b;c=d")
    assert signature.value(Component(name.decode(), {"sf": True}), request([(name, given)])) == written


def test_other_fields_are_not_known() -> None:
    """A field whose type is not known cannot be covered with `sf`."""
    assert set(signature.SF_TYPES) == {*DICTIONARIES, b"content-type"}
    with pytest.raises(Refusal, match="field-absent"):
        signature.value(Component("accept", {"sf": True}), request([(b"accept", b"a/b")]))


# --- the base ---


def test_base() -> None:
    """A line for each component in its order, then the parameters as they were received."""
    components = [Component("@path", {}), Component("dict", {"key": "a"}), Component("@scheme", {})]
    base = signature.base(components, b"as it came", MESSAGE, sf_types=TYPES)
    assert base == b'"@path": /v1/orders\n"dict";key="a": 1\n"@scheme": https\n"@signature-params": as it came'


def test_base_of_nothing() -> None:
    """A signature may cover nothing; whether that is enough is not the engine's to say."""
    assert signature.base([], b"()", MESSAGE) == b'"@signature-params": ()'


@pytest.mark.parametrize(
    "components",
    [
        [Component("a", {}), Component("a", {})],
        [Component("dict", {"sf": True, "key": "a"}), Component("dict", {"key": "a", "sf": True})],
    ],
)
def test_component_twice(components: list[Component]) -> None:
    """A component stands once, whatever the order of its parameters."""
    with pytest.raises(Refusal, match=r"signature-malformed/component-twice|field-absent"):
        signature.base(components, b"()", request([(b"a", b"1"), (b"dict", b"a=1")]))


def test_one_line_a_component() -> None:
    """A value with a newline never makes two lines."""
    with pytest.raises(Refusal, match="signature-malformed/component-unknown"):
        signature.base([Component("cr", {})], b"()", MESSAGE)


# --- the algorithms ---

BASE = read(with_body(signed_lines((*FOUR, "content-type", "content-digest"))))
SIGNED = build_base(BASE, with_body())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(data=st.data())
def test_one_changed_byte(algorithm: str, data: st.DataObject) -> None:
    """A signature holds over its base, and over none with one byte changed; nor does a changed signature hold."""
    key = signer(algorithm)
    octets = key.sign(SIGNED)
    signature.check(verifier(algorithm), SIGNED, octets)
    for changed, which in ((SIGNED, "base"), (octets, "signature")):
        position = data.draw(st.integers(0, len(changed) - 1))
        other = changed[position] ^ data.draw(st.integers(1, 255))
        wrong = changed[:position] + bytes((other,)) + changed[position + 1 :]
        with pytest.raises(Refusal) as raised:
            signature.check(verifier(algorithm), *((wrong, octets) if which == "base" else (SIGNED, wrong)))
        assert (code(raised), raised.value.failed) == ("signature-mismatch/does-not-verify", "signature")


COVERED = ("@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key", "x-extra")
LINES_OF = [(b"idempotency-key", b"key-1"), (b"x-extra", b"a, b")]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@given(name=st.sampled_from(COVERED), position=st.integers(0, 1000), step=st.integers(1, 255))
def test_one_changed_byte_of_the_message(algorithm: str, name: str, position: int, step: int) -> None:
    """Whichever covered part of the message is changed by a byte, the signature over the message no longer holds."""
    made = with_body([*signed_lines(COVERED), *LINES_OF])
    claim = read(made)
    octets = signer(algorithm).sign(build_base(claim, made))
    signature.check(verifier(algorithm), build_base(claim, made), octets)

    def changed(part: bytes) -> bytes:
        at = position % len(part)
        return part[:at] + bytes(((part[at] + step) % 256,)) + part[at + 1 :]

    match name:
        case "@method":
            other = replace(made, method="PUT" if step % 2 else "POST ")
        case "@authority":
            other = replace(made, authority=made.authority[1:] if step % 2 else made.authority + ".")
        case "@path":
            other = replace(made, path=changed(made.path))
        case "@query":
            other = replace(made, query=changed(made.query))
        case _:
            field = name.encode()
            other = replace(made, fields=made.fields | {field: changed(made.fields[field])})
    with pytest.raises(Refusal, match="signature-mismatch"):
        signature.check(verifier(algorithm), build_base(claim, other), octets)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_under_another_key(algorithm: str) -> None:
    """A signature holds under no key of another algorithm, nor in another length."""
    octets = signer(algorithm).sign(SIGNED)
    for other in set(ALGORITHMS) - {algorithm}:
        with pytest.raises(Refusal, match="signature-mismatch"):
            signature.check(verifier(other), SIGNED, octets)
    for wrong in (b"", octets[:-1], octets + b"\0", b"\0" + octets, bytes(len(octets)), b"\xff" * len(octets)):
        with pytest.raises(Refusal, match="signature-mismatch"):
            signature.check(verifier(algorithm), SIGNED, wrong)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256-sha256", "ecdsa-p384-sha384"])
def test_ecdsa_is_r_and_s(algorithm: str) -> None:
    """An ECDSA signature is r and s side by side; the DER form is refused."""
    curve, hashed, size = (
        (ec.SECP256R1(), hashes.SHA256(), 64) if "256" in algorithm else (ec.SECP384R1(), hashes.SHA384(), 96)
    )
    private = ec.generate_private_key(curve)
    made = signature.signer_of(private)
    assert len(made.sign(b"x")) == size
    with pytest.raises(Refusal, match="signature-mismatch"):
        signature.check(loaded(private), b"x", private.sign(b"x", ec.ECDSA(hashed)))


def loaded(private: RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Verifier:
    """The verifier of a private key object."""
    return verifier_of(private.public_key())


def test_rsa_is_pss_with_its_own_salt() -> None:
    """PKCS#1 v1.5, another hash and another length of salt are refused under the same key."""
    private = rsa.generate_private_key(65537, 3072)
    check = loaded(private)
    sha512, sha256 = hashes.SHA512(), hashes.SHA256()
    good = padding.PSS(padding.MGF1(sha512), 64)
    signature.check(check, b"x", private.sign(b"x", good, sha512))
    for pad, hashed in (
        (padding.PKCS1v15(), sha512),
        (padding.PKCS1v15(), sha256),
        (padding.PSS(padding.MGF1(sha512), 32), sha512),
        (padding.PSS(padding.MGF1(sha512), 0), sha512),
        (padding.PSS(padding.MGF1(sha256), 64), sha512),
        (padding.PSS(padding.MGF1(sha512), 64), sha256),
    ):
        with pytest.raises(Refusal, match="signature-mismatch"):
            signature.check(check, b"x", private.sign(b"x", pad, hashed))


# --- HMAC ---


def test_hmac() -> None:
    """hmac-sha256, and nothing shorter or longer."""
    octets = signature.sign_hmac(b"secret", b"base")
    assert octets == hmac.digest(b"secret", b"base", hashlib.sha256)
    signature.check_hmac(b"secret", b"base", octets)
    for secret, data, wrong in (
        (b"secret", b"base", octets[:-1]),
        (b"secret", b"base", octets + b"\0"),
        (b"secret", b"base", b""),
        (b"secret", b"base.", octets),
        (b"Secret", b"base", octets),
    ):
        with pytest.raises(Refusal) as raised:
            signature.check_hmac(secret, data, wrong)
        assert (code(raised), raised.value.failed) == ("signature-mismatch/does-not-verify", "signature")


def test_an_empty_secret() -> None:
    """A secret that was looked up is never empty: that is our own mistake, not a verdict."""
    with pytest.raises(Misuse):
        signature.check_hmac(b"", b"base", signature.sign_hmac(b"", b"base"))


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "ml-dsa-65"])
def test_a_public_key_is_no_secret(algorithm: str) -> None:
    """A MAC keyed with a public key, in any form of it, is no signature of that key."""
    check = verifier(algorithm)
    public = check.key
    forms = [(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    secrets = [public.public_bytes(encoding, form) for encoding, form in forms]
    secrets += [
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        repr(check.jwk).encode(),
        check.keyid.encode(),
    ]
    for secret in secrets:
        with pytest.raises(Refusal, match="signature-mismatch"):
            signature.check(check, SIGNED, signature.sign_hmac(secret, SIGNED))


# --- private keys ---


def pem(private: RSAPrivateKey | ec.EllipticCurvePrivateKey | x25519.X25519PrivateKey, secret: bytes = b"") -> bytes:
    """A PKCS#8 file."""
    lock = BestAvailableEncryption(secret) if secret else NoEncryption()
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


def test_load_signer() -> None:
    """An unencrypted PKCS#8 file gives a signer of its key."""
    private = ec.generate_private_key(ec.SECP384R1())
    made = signature.load_signer(pem(private))
    signature.check(loaded(private), b"x", made.sign(b"x"))
    assert made.algorithm == "ecdsa-p384-sha384"


def test_files_that_are_no_key() -> None:
    """Locked files, public keys and anything else: the message says what is wanted and repeats nothing."""
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for file in (b"", b"secret words", pem(private, b"word"), public, pem(private)[:-60]):
        with pytest.raises(Misuse, match="not an unencrypted PKCS#8 private key") as raised:
            signature.load_signer(file)
        assert "secret words" not in str(raised.value)


def test_private_keys_of_other_types() -> None:
    """Other types, other curves and small RSA keys sign nothing here."""
    for private in (
        x25519.X25519PrivateKey.generate(),
        ed448.Ed448PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
        None,
        b"bytes",
    ):
        with pytest.raises(Misuse):
            signature.signer_of(private)


def test_what_a_signer_writes() -> None:
    """The text behind the label is what was given, in its order."""
    text = b'("@path" "x";key="a");created=1;tag="t"'
    inner = parse_inner_list(text)
    components = [Component(str(item.value), item.params) for item in inner.items]
    assert signature.params_text(components, inner.params) == text
