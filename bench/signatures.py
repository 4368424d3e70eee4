"""What a signature costs: ours beside the bare algorithm and beside the library that others use."""

import datetime
import os
import secrets

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from bench.timing import Figures, interleaved
from sealwire.client.exchange import Call as ClientCall
from sealwire.client.signing import by_key, compose, nonce_of
from sealwire.protocol import profile
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.message import Request, read_head, read_target
from sealwire.protocol.signature import check, signer_of
from tests.stories.world import START, Wire


class Resolver(HTTPSignatureKeyResolver):
    """One key, for the peer."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = private.public_key()
        self._public = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def resolve_private_key(self, key_id: str) -> bytes:  # noqa: ARG002  # the peer's own form
        return self._private

    def resolve_public_key(self, key_id: str) -> bytes:  # noqa: ARG002  # the peer's own form
        return self._public


def signatures() -> Figures:
    """verify_over_floor, verify_vs_peer, sign_vs_peer."""
    private = Ed25519PrivateKey.generate()
    signer, public = signer_of(private), private.public_key()
    verifier, plans = verifier_of(public), profile.Plans()
    wire = Wire("POST", b"/v1/orders", b'{"amount": "0.01"}').sign(signer)

    def verify() -> None:
        headers, fields = read_head(wire.headers)
        target = read_target(wire.target)
        request = Request("POST", wire.target, "api.example", target.path, b"", target.decoded, headers, fields)
        claim = profile.claim(request, profile.TAG, plans)
        check(verifier, profile.build_base(claim, request), claim.signature)
        plans.keep(claim)

    headers, fields = read_head(wire.headers)
    request = Request("POST", wire.target, "api.example", wire.target, b"", "/v1/orders", headers, fields)
    claim = profile.claim(request, profile.TAG, plans)
    base = profile.build_base(claim, request)
    resolver = Resolver(private)
    covered = ("@method", "@authority", "@path", "@query", "content-type", "content-digest")

    def peer_sign() -> httpx2.Request:
        plain = {name.decode(): value.decode() for name, value in wire.headers if not name.startswith(b"signature")}
        made = httpx2.Request("POST", "https://api.example/v1/orders", headers=plain, content=wire.body)
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=resolver).sign(
            made,
            key_id="k",
            created=now,
            expires=now + datetime.timedelta(seconds=60),
            nonce=secrets.token_urlsafe(18),
            tag="sealwire",
            include_alg=False,
            covered_component_ids=covered,
            use_existing_digest=True,
            body=wire.body,
        )
        return made

    signed = peer_sign()

    def peer_verify() -> None:
        checking = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=resolver)
        checking.verify(signed, expect_tag="sealwire", require_components=covered, body=wire.body)

    call = ClientCall("POST", b"/v1/orders", ((b"content-type", b"application/json"),), wire.body)

    def sign() -> None:
        head = compose(call, "api.example", nonce_of(os.urandom(18)))
        by_key(signer).put_on(head, int(START), nonce_of(os.urandom(18)))

    return {
        "verify_over_floor": interleaved(verify, lambda: public.verify(claim.signature, base)),
        "verify_vs_peer": interleaved(verify, peer_verify),
        "sign_vs_peer": interleaved(sign, peer_sign),
    }
