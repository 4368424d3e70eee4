"""Every example of RFC 9421: 20 signatures and 26 cases of component values."""

import base64
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sealwire.errors import Refusal
from sealwire.protocol import signature
from sealwire.protocol.fields import parse_dictionary, parse_inner_list, parse_item, serialize_dictionary
from sealwire.protocol.jwk import Verifier, read_jwk, verifier_of
from sealwire.protocol.message import Headers, Request, Response, combine, normal_authority, read_head
from tests.protocol.vectors import left_out, load

FILE = "rfc9421/rfc9421_examples.json"
EXAMPLES = load(FILE)
SIGNATURES = EXAMPLES["signature_cases"]
COMPONENTS = EXAMPLES["component_cases"]
KEYS = EXAMPLES["keys"]
#: The field that the RFC's examples say is a dictionary.
TYPES = {**signature.SF_TYPES, b"example-dict": "dictionary"}
PUBLIC = ("kty", "crv", "x", "y", "n", "e")


def named(case: dict[str, Any]) -> str:
    """The case's own name."""
    return str(case["id"])


def lines(message: dict[str, Any], member: str = "headers") -> Headers:
    """The header or trailer lines, a folded line unfolded as RFC 9421 section 2.1 says."""
    return tuple(
        (name.lower().encode(), b" ".join(part.strip() for part in value.encode().split(b"\r\n")))
        for name, value in message.get(member, [])
    )


def read(message: dict[str, Any], scheme: str = "https") -> Request | Response:
    """The example's message as our own value."""
    headers = lines(message)
    fields = combine(headers)
    trailers = lines(message, "trailers")
    if "status" in message:
        return Response(message["status"], headers, fields, trailers)
    target = message.get("request_target", "/").encode()
    path, _, query = target.partition(b"?")
    authority = normal_authority(fields.get(b"host", b"").decode())
    method = message.get("method", "GET")
    return Request(method, target, authority, path, query, "", headers, fields, scheme, trailers)


def request_of(case: dict[str, Any]) -> Request | None:
    """The request that a response answers, where the example has one."""
    related = read(case["related_request"]) if "related_request" in case else None
    assert not isinstance(related, Response)
    return related


def key(name: str) -> Verifier:
    """The example's public key; the RSA ones are too small to be enrolled and come in as key objects."""
    jwk = {member: value for member, value in KEYS[name]["jwk"].items() if member in PUBLIC}
    if jwk["kty"] != "RSA":
        return read_jwk(jwk)
    with pytest.raises(Refusal):
        read_jwk(jwk)
    return verifier_of(load_pem_public_key(KEYS[name]["public_pem"].encode()))


def verify_pkcs1(data: bytes, octets: bytes) -> None:
    """rsa-v1_5-sha256, which the project itself does not take."""
    public = load_pem_public_key(KEYS["test-key-rsa"]["public_pem"].encode())
    assert isinstance(public, RSAPublicKey)
    public.verify(octets, data, padding.PKCS1v15(), hashes.SHA256())


def check(case: dict[str, Any], data: bytes, octets: bytes) -> None:
    """Raises unless the example's signature holds."""
    if case["alg"] == "hmac-sha256":
        signature.check_hmac(base64.b64decode(KEYS[case["keyid"]]["secret_base64"]), data, octets)
    elif case["alg"] == "rsa-v1_5-sha256":
        verify_pkcs1(data, octets)
    else:
        verifier = key(case["keyid"])
        assert verifier.algorithm == case["alg"]
        signature.check(verifier, data, octets)


def test_every_case_is_run() -> None:
    """20 signatures, three of which must fail, and 26 cases of components; none is left out."""
    assert (len(SIGNATURES), sum(not case["valid"] for case in SIGNATURES)) == (20, 3)
    assert len(COMPONENTS) == 26
    assert left_out(FILE) == set()


@pytest.mark.parametrize("case", SIGNATURES, ids=named)
def test_signature(case: dict[str, Any]) -> None:
    """The base is the RFC's to the byte, and the signature holds exactly where the RFC says so."""
    message = read(case["message"], case["scheme"])
    fields = message.fields
    every = signature.parse(fields[b"signature-input"], fields[b"signature"])
    signed = next(found for found in every if found.label == case["label"])
    base = signature.base(signed.components, signed.covered, message, request_of(case))
    if case["signature_base"] is not None:
        assert base == case["signature_base"].encode()
    assert signature.params_text(signed.components, signed.params) == signed.covered
    if case["valid"]:
        check(case, base, signed.signature)
    else:
        with pytest.raises(Refusal, match="signature-mismatch/does-not-verify"):
            check(case, base, signed.signature)


@pytest.mark.parametrize("case", COMPONENTS, ids=named)
def test_component(case: dict[str, Any]) -> None:
    """Each component has the RFC's value."""
    message = read(case["message"], case["scheme"])
    for line in case["signature_base_lines"]:
        identifier = line[: line.index(": ")]
        item = parse_item(identifier.encode())
        assert isinstance(item.value, str)
        component = signature.Component(item.value, item.params)
        assert component.identifier() == identifier.encode()
        assert identifier + ": " + signature.value(component, message, sf_types=TYPES).decode() == line


def test_a_folded_line_never_gets_so_far() -> None:
    """What the RFC unfolds is refused by the head's own reading."""
    folded = next(case for case in COMPONENTS if case["id"] == "fields")["message"]["headers"]
    with pytest.raises(Refusal, match="header-malformed/characters"):
        read_head([(name.encode(), value.encode()) for name, value in folded])


def test_pkcs1_is_not_taken() -> None:
    """The signature that holds under PKCS#1 v1.5 does not hold under the same key here, and the key is refused."""
    case = next(case for case in SIGNATURES if case["alg"] == "rsa-v1_5-sha256")
    message = read(case["message"])
    every = signature.parse(message.fields[b"signature-input"], message.fields[b"signature"])
    signed = next(found for found in every if found.label == case["label"])
    base = signature.base(signed.components, signed.covered, message)
    verify_pkcs1(base, signed.signature)
    with pytest.raises(InvalidSignature):
        verify_pkcs1(base + b" ", signed.signature)
    with pytest.raises(Refusal, match="signature-mismatch"):
        signature.check(key("test-key-rsa"), base, signed.signature)


def test_the_examples_of_the_fields_themselves() -> None:
    """Signature parameters and Accept-Signature come out as they went in."""
    text = EXAMPLES["signature_params_example"]["value"].encode()
    inner = parse_inner_list(text)
    components = [signature.Component(str(item.value), item.params) for item in inner.items]
    assert signature.params_text(components, inner.params) == text
    asked = EXAMPLES["accept_signature_example"]["value"].removeprefix("Accept-Signature: ").encode()
    assert serialize_dictionary(parse_dictionary(asked)) == asked
