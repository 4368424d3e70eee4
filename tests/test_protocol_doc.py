"""The examples of docs/protocol.md are recomputed: a stranger can check an implementation against them."""

import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.errors import TABLE
from sealwire.protocol import profile
from sealwire.protocol.digest import expect
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.message import Request, combine
from sealwire.protocol.signature import check, signer_of

PAGE = Path(__file__).parents[1].joinpath("docs/protocol.md").read_text("utf-8")


def test_the_signed_call() -> None:
    """The example's base is the one we build, its signature that of the seed, its digest that of the body."""
    message, base, fields = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)[:3]
    head, body = message.split("\n\n")
    method, target, _ = head.split("\n")[0].split(" ")
    lines = [line.split(": ", 1) for line in (*head.split("\n")[1:], *fields.split("\n"))]
    headers = tuple((name.lower().encode(), value.encode()) for name, value in lines)
    path = target.encode()
    request = Request(method, path, "api.example", path, b"", target, headers, combine(headers))
    claim = profile.claim(request, profile.TAG, profile.Plans())
    private = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    assert claim.keyid == signer_of(private).keyid
    assert profile.build_base(claim, request).decode() == base
    assert private.sign(base.encode()) == claim.signature
    check(verifier_of(private.public_key()), base.encode(), claim.signature)
    expected = expect(request.fields[b"content-digest"])
    expected.update(body.encode())
    expected.judge()


def test_every_slug_stands_in_the_table() -> None:
    """The table of slugs is that of the code."""
    listed = dict(re.findall(r"`([a-z-]+)` \| (\d{3})", PAGE))
    assert listed == {slug: str(row.status) for slug, row in TABLE.items()}
