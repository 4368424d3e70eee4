"""What this client signs is what its receiver reads: the claim that is written down beside the bytes is theirs."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sealwire.client.errors import NotSignable
from sealwire.client.exchange import Call
from sealwire.client.signing import Signatures, base_of, by_key, components, compose
from sealwire.protocol import profile
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.message import Request, read_head, read_target
from sealwire.protocol.signature import check, signer_of

PRIVATE = Ed25519PrivateKey.generate()
SIGNER, VERIFIER = signer_of(PRIVATE), verifier_of(PRIVATE.public_key())
NONCE = "n" * 32
EXTRA = sorted(profile.WHEN_PRESENT | {b"accept", b"x-custom", b"content-type", b"connection", b"content-encoding"})


def received(request: Request) -> Request:
    """The same request as a server reads it from the bytes of its head."""
    headers, fields = read_head([(name.title(), value) for name, value in request.headers])
    target = read_target(request.target)
    return Request(
        request.method, request.target, request.authority, target.path, target.query, target.decoded, headers, fields
    )


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.sampled_from([b"/", b"/v1/orders?b=2&a=%2F", b"/a%20b?"]),
    st.dictionaries(st.sampled_from(EXTRA), st.text("az09 ,;=\"'-", max_size=12).map(str.encode), max_size=5),
    st.binary(max_size=20),
    st.integers(0, 2**39),
)
def test_what_is_signed_is_what_is_read(
    method: str, target: bytes, headers: dict[bytes, bytes], body: bytes, created: int
) -> None:
    """Signed and verified under one claim, or NotSignable: also where a field forbids the signature."""
    try:
        signed = by_key(SIGNER).put_on(
            compose(Call(method, target, tuple(headers.items()), body), "api.example"), created, NONCE
        )
    except NotSignable:
        assert headers.keys() & {b"content-encoding", b"connection"}
        return
    there = received(signed.request)
    assert there.fields == signed.request.fields
    (written,) = signed.claims
    assert profile.claim(there, profile.TAG, profile.Plans()) == written
    assert profile.general(
        there.fields[b"signature-input"], there.fields[b"signature"], profile.TAG, there
    ) == written._replace(plan=written.plan)
    check(VERIFIER, base_of(signed), written.signature)
    check(VERIFIER, profile.build_base(written, there), written.signature)
    assert {component.name.encode() for component in components(signed.request)} == written.plan.names


@pytest.mark.parametrize(
    ("keyid", "created", "nonce"),
    [('a"b', 1, NONCE), ("a\\b", 1, NONCE), ("", 1, NONCE), ("a", -1, NONCE), ("a", 2**40, NONCE), ("a", 1, "short")],
)
def test_what_no_receiver_would_read_is_not_signed(keyid: str, created: int, nonce: str) -> None:
    """A key's identifier with a quote, a time out of range, a short nonce."""
    by = Signatures(keyid, SIGNER.sign)
    head = compose(Call("GET", b"/"), "api.example")
    with pytest.raises(NotSignable):
        by.put_on(head, created, nonce)
