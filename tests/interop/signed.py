"""
Signed calls on http-message-signatures, as a stranger writes them: keys, requests, enrolment, replies judged.

Nothing of ours is imported here; a test says so.
"""

import base64
import datetime
import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

ENDPOINTS = "/.well-known/sealwire"
COVERED = ("@method", "@authority", "@path", "@query")
WITH_BODY = (*COVERED, "content-type", "content-digest")
BOUND = (*WITH_BODY, '"signature";key="pos"', '"signature-input";key="pos"')


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    """Its reverse."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Key:
    """An Ed25519 key of the foreign caller."""

    def __init__(self) -> None:
        self.private = Ed25519PrivateKey.generate()
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.private.public_key().public_bytes_raw())}
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        self.keyid = b64(hashlib.sha256(text.encode()).digest())

    def pem(self) -> bytes:
        """As the library wants it."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Resolver(HTTPSignatureKeyResolver):
    """Keys by id, for the library."""

    def __init__(self, private: Mapping[str, bytes], public: Mapping[str, bytes]) -> None:
        self._private, self._public = private, public

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._private[key_id]

    def resolve_public_key(self, key_id: str) -> bytes:
        return self._public[key_id]


class Invitation(NamedTuple):
    """The three parts of an invitation that matter to its holder."""

    name: str
    secret: str
    pin: str


def parts(invitation: str) -> Invitation:
    """What was printed, taken apart."""
    return Invitation(*invitation.partition("_inv_")[2].split("."))


def now() -> datetime.datetime:
    """A whole second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def fresh_nonce() -> str:
    """One that was never used."""
    return secrets.token_urlsafe(18)


def sign(
    request: httpx2.Request,
    keyid: str,
    secret: bytes,
    *,
    covered: tuple[str, ...],
    created: datetime.datetime,
    algorithm: Any = algorithms.ED25519,
    tag: str = "sealwire",
    label: str = "sig",
    nonce: str = "",
    more: bool = False,
) -> None:
    """One signature by the library."""
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Resolver({keyid: secret}, {}))
    signer.sign(
        request,
        key_id=keyid,
        created=created,
        expires=created + datetime.timedelta(seconds=60),
        nonce=nonce or fresh_nonce(),
        label=label,
        tag=tag,
        include_alg=False,
        covered_component_ids=covered,
        append_if_signature_exists=more,
        use_existing_digest="content-digest" in covered,
        body=request.content or None,
    )


def built(
    origin: str, method: str, path: str, content: bytes = b"", content_type: str = "application/json"
) -> httpx2.Request:
    """An unsigned request, with its digest where it has a body."""
    headers = {}
    if content:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {"content-type": content_type, "content-digest": f"sha-256=:{digest}:"}
    return httpx2.Request(method, origin + path, headers=headers, content=content)


def verified(
    reply: httpx2.Response,
    request: httpx2.Request,
    server: Mapping[str, bytes],
    algorithm: Any = algorithms.ED25519,
) -> set[str]:
    """The components of the reply's signature, once the library has verified it."""
    reply.request = request
    verifier = HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=Resolver({}, server))
    (result,) = verifier.verify(reply, expect_tag="sealwire-response", body=reply.content or None)
    return set(result.covered_components)


def server_key(http: httpx2.Client, origin: str, pin: str) -> dict[str, bytes]:
    """The pinned key of the server, by its thumbprint, as the library wants it."""
    keys = http.get(f"{origin}{ENDPOINTS}/jwks.json").json()["keys"]
    (jwk,) = [key for key in keys if key["kid"] == pin]
    public = Ed25519PublicKey.from_public_bytes(unb64(jwk["x"]))
    return {pin: public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)}


def enrolment(origin: str, key: Key, invitation: Invitation) -> httpx2.Request:
    """The request that brings a key in, under both of its signatures."""
    created, content = now(), json.dumps({"key": key.jwk, "name": "foreign"}).encode()
    request = built(origin, "POST", f"{ENDPOINTS}/keys", content)
    sign(request, key.keyid, key.pem(), covered=WITH_BODY, created=created, tag="sealwire-possession", label="pos")
    hmac_key = hashlib.sha256(invitation.secret.encode()).digest()
    sign(
        request,
        invitation.name,
        hmac_key,
        covered=BOUND,
        created=created,
        algorithm=algorithms.HMAC_SHA256,
        tag="sealwire-invitation",
        more=True,
    )
    return request
