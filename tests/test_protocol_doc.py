"""The examples of docs/protocol.md are recomputed: a stranger can check an implementation against them."""

import hashlib
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.client.exchange import Incoming
from sealwire.client.proving import Asked, prove
from sealwire.errors import TABLE
from sealwire.protocol import profile, strictjson
from sealwire.protocol.digest import content_digest
from sealwire.protocol.jwk import Signer, read_jwk, verifier_of
from sealwire.protocol.message import Headers, Request, read_authority, read_head, read_target
from sealwire.protocol.signature import sign_hmac, signer_of

PAGE = Path(__file__).parents[1].joinpath("docs/protocol.md").read_text("utf-8")
EXAMPLES: dict[str, str] = dict(re.findall(r"^```text ([a-z.]+)\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE))
RECEIVED_HEAD = re.compile(r"([A-Za-z-]+): (.*)")


def fields_of(head: list[str]) -> list[tuple[bytes, bytes]]:
    found = [RECEIVED_HEAD.fullmatch(line) for line in head]
    return [(line[1].encode(), line[2].encode()) for line in found if line]


def request_of(name: str) -> tuple[Request, bytes]:
    """The example's request as a server reads it, and its body."""
    head, _, body = EXAMPLES[name].partition("\n\n")
    first, *lines = head.split("\n")
    method, target, _ = first.split(" ")
    headers, fields = read_head(fields_of(lines))
    read = read_target(target.encode())
    authority = read_authority(fields[b"host"], frozenset(("api.example",)))
    assert int(fields[b"content-length"]) == len(body)
    assert fields[b"content-digest"] == content_digest(body.encode())
    path, query = read.path, read.query
    request = Request(method, target.encode(), authority, path, query, read.decoded, headers, fields)
    return request, body.encode()


def private_of(name: str) -> tuple[Ed25519PrivateKey, Signer]:
    """The example's key, whose thumbprint is the one that stands beside the seed."""
    found = re.fullmatch(r"seed ([0-9a-f]{64})\nkeyid (\S+)", EXAMPLES[name])
    assert found is not None
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(found[1]))
    signer = signer_of(private)
    assert signer.keyid == found[2]
    return private, signer


def signed_call() -> tuple[Request, profile.Claim]:
    request, _ = request_of("call.request")
    return request, profile.claim(request, profile.TAG, profile.Plans())


def test_the_signed_call() -> None:
    """The base is the one we build, the signature that of the seed, the digest that of the body."""
    private, signer = private_of("call.key")
    request, claim = signed_call()
    base = profile.build_base(claim, request).decode()
    assert base == EXAMPLES["call.base"]
    assert claim.keyid == signer.keyid
    assert claim.signature == private.sign(base.encode())


def test_the_two_signatures_of_an_enrolment() -> None:
    """Both bases are those we build; the new key made the one signature, the invitation's secret the other."""
    private, signer = private_of("enrolment.key")
    request, body = request_of("enrolment.request")
    offered = strictjson.read(body)
    assert isinstance(offered, dict)
    assert read_jwk(offered["key"]).keyid == signer.keyid

    possession = profile.claim(request, profile.TAG_POSSESSION, profile.Plans())
    base = profile.build_base(possession, request)
    assert base.decode() == EXAMPLES["enrolment.possession"]
    assert possession.keyid == signer.keyid
    assert possession.signature == private.sign(base)

    prefix, secret, pin = EXAMPLES["enrolment.invitation"].split(".")
    claim = profile.claim(request, profile.TAG_INVITATION, profile.Plans(), possession=possession.label)
    base = profile.build_base(claim, request)
    assert base.decode() == EXAMPLES["enrolment.authorising"]
    assert claim.keyid == prefix.partition("_inv_")[2]
    assert claim.signature == sign_hmac(hashlib.sha256(secret.encode()).digest(), base)
    assert (claim.created, claim.expires) == (possession.created, possession.expires)
    assert pin == private_of("reply.key")[1].keyid


def test_the_signed_reply() -> None:
    """Our client takes the reply as the answer to the signed call, and the server's seed made its signature."""
    private, signer = private_of("reply.key")
    head, _, body = EXAMPLES["reply.response"].partition("\n\n")
    first, *lines = head.split("\n")
    headers: Headers = tuple(fields_of(lines))
    request, claim = signed_call()
    verifier = verifier_of(private.public_key())
    reply = Incoming(int(first.split(" ")[1]), headers, body.encode())
    proven = prove(reply, Asked(request, (claim,)), lambda keyid, _: verifier if keyid == signer.keyid else None)
    assert proven.base.decode() == EXAMPLES["reply.base"]
    assert proven.signature == private.sign(proven.base)


def test_every_example_is_recomputed() -> None:
    """No example stands in the page that no test here looks at."""
    assert set(EXAMPLES) == {
        "call.key", "call.request", "call.base", "reply.key", "reply.response", "reply.base",
        "enrolment.key", "enrolment.invitation", "enrolment.request", "enrolment.possession", "enrolment.authorising",
    }  # fmt: skip
    assert PAGE.count("```") == 2 * len(EXAMPLES)


def test_the_sections_are_those_that_the_code_cites() -> None:
    """The docstrings name these sections."""
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == [
        "Transport", "The request target and the head", "The request signature", "The window", "Server nonces",
        "Enrolment, rotation, revocation", "Replies", "Discovery", "Saying no", "Idempotency",
    ]  # fmt: skip


def test_every_slug_stands_in_the_table() -> None:
    """The table of slugs is that of the code, with its statuses and what can be repeated."""
    listed = re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \| (yes)?", PAGE, re.MULTILINE)
    assert listed == [(slug, str(row.status), "yes" if row.retryable else "") for slug, row in TABLE.items()]
