"""
HTTP message signatures (RFC 9421): parse, base, check, sign. The engine, which builds any base from the bytes received.

Owns: every derived component and component parameter of the RFC, and the one place where an algorithm's code is chosen:
by the key, never by what a message says. What Sealwire accepts of all this is `protocol/profile.py` and
`stages/verify.py`.
Refuses to know: time, nonces, tags, whose key it is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealwire.errors import Misuse, Refusal
from sealwire.protocol.fields import (
    FieldError,
    InnerList,
    Item,
    Params,
    parse_dictionary,
    parse_inner_list,
    parse_item,
    parse_list,
    serialize_dictionary,
    serialize_item,
    serialize_list,
    serialize_member,
    split_dictionary,
)
from sealwire.protocol.jwk import RSA_BITS, Signer, Verifier, verifier_of
from sealwire.protocol.message import Request, Response

Message = Request | Response

# Fields whose type RFC 9651 serialisation (`sf`) needs to know; `key` implies a dictionary for any field.
SF_TYPES: Mapping[bytes, str] = {
    b"accept-signature": "dictionary",
    b"cache-control": "dictionary",
    b"content-digest": "dictionary",
    b"content-type": "item",
    b"priority": "dictionary",
    b"repr-digest": "dictionary",
    b"signature": "dictionary",
    b"signature-input": "dictionary",
}
_PSS_SALT = 64  # RFC 9421 section 3.3.1: the salt has the length of the hash, SHA-512
_HASHES = {256: hashes.SHA256(), 384: hashes.SHA384()}
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA512()), salt_length=_PSS_SALT)


class Component(NamedTuple):
    """A component identifier (RFC 9421 section 2): a field name or a derived name, with parameters."""

    name: str
    params: Params

    def identifier(self) -> bytes:
        """Its serialisation, as it stands in Signature-Input and at the head of its line."""
        return serialize_item(Item(self.name, self.params))


class Signed(NamedTuple):
    """One signature of a message: label, what it covers in order, parameters, the text behind `label=`, the bytes."""

    label: str
    components: tuple[Component, ...]
    params: Params
    covered: bytes
    signature: bytes


def parse(signature_input: bytes, signature: bytes) -> list[Signed]:
    """
    All signatures of a message, in the order of Signature-Input (RFC 9421 section 4). A repeated label appears again.

    Raises: FieldError if either field is no dictionary, a member of the wrong type, or the two have other labels.
    """
    inputs = split_dictionary(signature_input)
    values = split_dictionary(signature)
    if sorted(label for label, _ in inputs) != sorted(label for label, _ in values):
        raise FieldError("Signature and Signature-Input have other labels")
    octets = dict(values)
    return [_signed(label, covered, octets[label]) for label, covered in inputs]


def _signed(label: str, covered: bytes, value: bytes) -> Signed:
    inner = parse_inner_list(covered)
    octets = parse_item(value)
    if not isinstance(octets.value, bytes):
        raise FieldError("a signature is a byte sequence")
    components = []
    for item in inner.items:
        if type(item.value) is not str:
            raise FieldError("a component is a string")
        components.append(Component(item.value, item.params))
    return Signed(label, tuple(components), inner.params, covered, octets.value)


def canonical(signed: Signed, value: bytes) -> bool:
    """True if the member of Signature-Input and the `value` of Signature equal their own RFC 9651 serialisation."""
    inner = InnerList(tuple(Item(c.name, c.params) for c in signed.components), signed.params)
    return serialize_member(inner) == signed.covered and serialize_item(Item(signed.signature, {})) == value


def params_text(components: Sequence[Component], params: Params) -> bytes:
    """The text behind `label=` that a signer writes (RFC 9421 section 2.3)."""
    return serialize_member(InnerList(tuple(Item(c.name, c.params) for c in components), params))


def base(
    components: Sequence[Component],
    covered: bytes,
    message: Message,
    request: Request | None = None,
    sf_types: Mapping[bytes, str] = SF_TYPES,
) -> bytes:
    """
    The signature base (RFC 9421 section 2.5); `covered` is the received text behind `label=`, kept as it came.

    Raises: components-insufficient/field-absent for a component that the message lacks, signature-malformed for one
    that cannot be, stands twice, or would be more than one line.
    """
    lines = []
    seen: set[bytes] = set()
    for component in components:
        identifier = component.identifier()
        same = serialize_item(Item(component.name, dict(sorted(component.params.items()))))
        if same in seen:
            raise Refusal("signature-malformed", "component-twice", failed="parse")
        seen.add(same)
        line = identifier + b": " + value(component, message, request, sf_types)
        if b"\n" in line:
            raise _impossible()
        lines.append(line)
    lines.append(b'"@signature-params": ' + covered)
    return b"\n".join(lines)


def value(
    component: Component,
    message: Message,
    request: Request | None = None,
    sf_types: Mapping[bytes, str] = SF_TYPES,
) -> bytes:
    """
    The value of one component (RFC 9421 sections 2.1 and 2.2), of the related request where it says `req` (section
    2.4).

    Raises: components-insufficient if the message lacks it; signature-malformed for one that cannot be.
    """
    name, params = component
    if "req" in params:
        if params["req"] is not True or request is None or isinstance(message, Request):
            raise _impossible()
        message, params = request, {key: param for key, param in params.items() if key != "req"}
    if name.startswith("@"):
        return _derived(name, params, message)
    return _field(name.encode("ascii"), params, message, sf_types)


def _impossible() -> Refusal:
    return Refusal("signature-malformed", "component-unknown", failed="parse")


def _absent() -> Refusal:
    return Refusal("components-insufficient", "field-absent", failed="components")


def _derived(name: str, params: Params, message: Message) -> bytes:
    if isinstance(message, Response):
        if name != "@status" or params:
            raise _impossible()
        return str(message.status).encode("ascii")
    if name == "@query-param":
        return _query_param(params, message)
    derive = _DERIVED.get(name)
    if derive is None or params:
        raise _impossible()
    return derive(message)


_DERIVED: dict[str, Callable[[Request], bytes]] = {
    "@method": lambda request: request.method.encode("ascii"),
    "@authority": lambda request: request.authority.encode("ascii"),
    "@scheme": lambda request: request.scheme.encode("ascii"),
    "@request-target": lambda request: request.target,
    "@target-uri": lambda request: f"{request.scheme}://{request.authority}".encode("ascii") + request.target,
    "@path": lambda request: request.path,
    "@query": lambda request: b"?" + request.query,
}


def _query_param(params: Params, request: Request) -> bytes:
    """RFC 9421 section 2.2.8: decoded as a form, encoded again with %20 for a space; one that repeats has no value."""
    wanted = params.get("name")
    if set(params) != {"name"} or not isinstance(wanted, str):
        raise _impossible()
    found = []
    for pair in request.query.decode("latin-1").split("&"):
        name, _, content = pair.partition("=")
        if _form_encode(name) == wanted:
            found.append(_form_encode(content))
    if len(found) != 1:
        raise _absent()
    return found[0].encode("ascii")


def _form_encode(text: str) -> str:
    return quote(unquote_plus(text), safe="*").replace("~", "%7E")


def _field(name: bytes, params: Params, message: Message, sf_types: Mapping[bytes, str]) -> bytes:
    kinds = set(params)
    if kinds - {"sf", "key", "bs", "tr"} or ("bs" in kinds and kinds & {"sf", "key"}):
        raise _impossible()
    if type(params.get("key", "")) is not str or any(params[kind] is not True for kind in kinds - {"key"}):
        raise _impossible()
    headers = message.trailers if "tr" in kinds else message.headers
    lines = [content.strip(b" \t") for field, content in headers if field == name]
    if not lines:
        raise _absent()
    if "bs" in kinds:
        return serialize_list(tuple(Item(line, {}) for line in lines))
    combined = b", ".join(lines)
    try:
        if "key" in kinds:
            return serialize_member(parse_dictionary(combined)[str(params["key"])])
        if "sf" in kinds:
            return _strict(combined, sf_types.get(name, ""))
    except (FieldError, KeyError):
        raise _absent() from None
    return combined


def _strict(combined: bytes, kind: str) -> bytes:
    match kind:
        case "dictionary":
            return serialize_dictionary(parse_dictionary(combined))
        case "list":
            return serialize_list(parse_list(combined))
        case "item":
            return serialize_item(parse_item(combined))
    raise FieldError("a field of unknown type")


def check(verifier: Verifier, data: bytes, signature: bytes) -> None:
    """
    Verifies `signature` over the base `data` with the key's own algorithm (RFC 9421 section 3.3; ML-DSA: C2SP
    httpsig-pq).

    Raises: signature-mismatch.
    """
    try:
        _verify(verifier, data, signature)
    except InvalidSignature:
        raise Refusal("signature-mismatch", "does-not-verify", failed="signature") from None


def _verify(verifier: Verifier, data: bytes, signature: bytes) -> None:
    key = verifier.key
    if isinstance(key, EllipticCurvePublicKey):
        size = (key.key_size + 7) // 8
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, ECDSA(_HASHES[key.key_size]))
    elif isinstance(key, RSAPublicKey):
        key.verify(signature, data, _PSS, hashes.SHA512())
    else:
        key.verify(signature, data)


def check_hmac(secret: bytes, data: bytes, signature: bytes) -> None:
    """hmac-sha256 (RFC 9421 section 3.3.3), compared in constant time. Raises: signature-mismatch."""
    if not secret:
        raise Misuse("an empty HMAC key")
    judge_hmac(hmac.digest(secret, data, hashlib.sha256), signature)


def judge_hmac(mac: bytes, signature: bytes) -> None:
    """The signature is this MAC, compared in constant time. Raises: signature-mismatch."""
    if not hmac.compare_digest(mac, signature):
        raise Refusal("signature-mismatch", "does-not-verify", failed="signature")


def sign_hmac(secret: bytes, data: bytes) -> bytes:
    """hmac-sha256 (RFC 9421 section 3.3.3)."""
    return hmac.digest(secret, data, hashlib.sha256)


def _signing(private: object) -> Callable[[bytes], bytes]:
    """
    The signing function of a private key held in this process. ECDSA, PSS and ML-DSA draw their randomness in here.

    Raises: Misuse for a key type not listed.
    """
    match private:
        case Ed25519PrivateKey() | MLDSA65PrivateKey():
            return private.sign
        case EllipticCurvePrivateKey() if private.key_size in _HASHES:
            size, algorithm = (private.key_size + 7) // 8, ECDSA(_HASHES[private.key_size])

            def ecdsa(data: bytes) -> bytes:
                r, s = decode_dss_signature(private.sign(data, algorithm))
                return r.to_bytes(size, "big") + s.to_bytes(size, "big")

            return ecdsa
        case RSAPrivateKey():
            return lambda data: private.sign(data, _PSS, hashes.SHA512())
    raise Misuse("the key is none of Ed25519, EC P-256, EC P-384, RSA, ML-DSA-65")


def load_signer(pem: bytes) -> Signer:
    """A Signer from an unencrypted PKCS#8 PEM file. Raises: Misuse, which never repeats the file's content."""
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Misuse("the key file is not an unencrypted PKCS#8 private key in PEM form") from None
    return signer_of(private)


def signer_of(private: object) -> Signer:
    """
    The Signer of a private key object held in this process. Raises: Misuse for a type not listed, a small RSA key.
    """
    if isinstance(private, RSAPrivateKey) and private.key_size not in RSA_BITS:
        raise Misuse("an RSA key has 3072 to 8192 bits")
    sign = _signing(private)
    verifier = verifier_of(private.public_key())  # type: ignore[attr-defined]  # _signing lets only private keys through
    return Signer(verifier.algorithm, verifier.keyid, verifier.jwk, sign)
