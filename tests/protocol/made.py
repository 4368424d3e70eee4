"""Requests, signature fields and keys made for the tests."""

from collections.abc import Mapping, Sequence
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from sealwire.errors import Problem
from sealwire.protocol.digest import content_digest
from sealwire.protocol.jwk import Signer, Verifier, load_verifier
from sealwire.protocol.message import Request, read_head, read_target
from sealwire.protocol.profile import Claim, Plans, claim
from sealwire.protocol.signature import signer_of

AUTHORITY = "api.example.com"
KEYID = "A" * 43
NONCE = "abcdefghijklmnopqrstuv"
CREATED = 1_790_000_000
FOUR = ("@method", "@authority", "@path", "@query")
BODY = b'{"amount":"1"}'

#: The parameters of an ordinary signature, as they are written.
PARAMS: Mapping[str, str] = {
    "created": str(CREATED),
    "expires": str(CREATED + 60),
    "keyid": f'"{KEYID}"',
    "nonce": f'"{NONCE}"',
    "tag": '"sealwire"',
}
ALGORITHMS = ("ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "ml-dsa-65")

Lines = Sequence[tuple[bytes, bytes]]


def request(lines: Lines = (), *, method: str = "GET", target: bytes = b"/v1/orders?b=1") -> Request:
    """A request as the guard reads it."""
    headers, fields = read_head([(b"host", AUTHORITY.encode()), *lines])
    path, query, decoded, slashes = read_target(target)
    return Request(method, target, AUTHORITY, path, query, decoded, headers, fields, slashes=slashes)


def with_body(lines: Lines = (), *, method: str = "POST") -> Request:
    """A request that announces BODY, with its type and digest."""
    content = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(BODY)),
        (b"content-digest", content_digest(BODY)),
    ]
    return request([*content, *lines], method=method)


def member(names: Sequence[str] = FOUR, params: Mapping[str, str | None] | None = None) -> str:
    """The text behind `label=` in Signature-Input; a parameter given as None is left out."""
    merged = {**PARAMS, **(params or {})}
    written = "".join(f";{name}={text}" for name, text in merged.items() if text is not None)
    return "(" + " ".join(f'"{name}"' for name in names) + ")" + written


def signed_lines(
    names: Sequence[str] = FOUR, params: Mapping[str, str | None] | None = None, label: str = "sig1"
) -> list[tuple[bytes, bytes]]:
    """Signature-Input and Signature, of which the latter verifies under no key."""
    return fields_of({label: member(names, params)})


def fields_of(members: Mapping[str, str], values: Mapping[str, str] | None = None) -> list[tuple[bytes, bytes]]:
    """Signature-Input with these members, and Signature with the same labels unless others are given."""
    values = values if values is not None else dict.fromkeys(members, ":c2lnbmF0dXJl:")
    inputs = ", ".join(f"{label}={text}" for label, text in members.items())
    octets = ", ".join(f"{label}={text}" for label, text in values.items())
    return [(b"signature-input", inputs.encode()), (b"signature", octets.encode())]


def read(made: Request, tag: str = "sealwire", *, possession: str = "") -> Claim:
    """The claim of a request, read with nothing remembered."""
    return claim(made, tag, Plans(), possession=possession)


def code(raised: "pytest.ExceptionInfo[Problem]") -> str:
    """Slug and cause of what was raised."""
    return raised.value.code


def only(refusal: Problem, *slugs: str) -> None:
    """Fails unless the refusal is one of these."""
    assert refusal.slug in slugs, refusal.code


@cache
def signer(algorithm: str) -> Signer:
    """A throw-away key for the algorithm, one for the whole run."""
    match algorithm:
        case "ed25519":
            return signer_of(ed25519.Ed25519PrivateKey.generate())
        case "ecdsa-p256-sha256":
            return signer_of(ec.generate_private_key(ec.SECP256R1()))
        case "ecdsa-p384-sha384":
            return signer_of(ec.generate_private_key(ec.SECP384R1()))
        case "rsa-pss-sha512":
            return signer_of(rsa.generate_private_key(65537, 3072))
    return signer_of(mldsa.MLDSA65PrivateKey.generate())


def verifier(algorithm: str) -> Verifier:
    """The public half of `signer`, loaded from its JWK."""
    return load_verifier(signer(algorithm).jwk)
