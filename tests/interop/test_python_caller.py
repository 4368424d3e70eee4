"""A caller on other libraries, with no line of ours in it, over real TLS: enrols, signs, orders, rotates, verifies."""

import base64
import datetime
import hashlib
import json
import secrets
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving

pytestmark = pytest.mark.xdist_group("server")
COVERED = ("@method", "@authority", "@path", "@query")
WITH_BODY = (*COVERED, "content-type", "content-digest")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """The exchange, running; this and the invitation are all that is ours."""
    state = DemoState(tmp_path_factory.mktemp("foreign"), free_port())
    state.make()
    with serving(state):
        yield state


def b64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


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
    more: bool = False,
) -> None:
    """One signature by the library."""
    signer = HTTPMessageSigner(signature_algorithm=algorithm, key_resolver=Resolver({keyid: secret}, {}))
    signer.sign(
        request,
        key_id=keyid,
        created=created,
        expires=created + datetime.timedelta(seconds=60),
        nonce=secrets.token_urlsafe(18),
        label=label,
        tag=tag,
        include_alg=False,
        covered_component_ids=covered,
        append_if_signature_exists=more,
        use_existing_digest="content-digest" in covered,
        body=request.content or None,
    )


def built(state: DemoState, method: str, path: str, body: object = None) -> httpx2.Request:
    """An unsigned request, with its digest where it has a body."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = {}
    if content:
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = {"content-type": "application/json", "content-digest": f"sha-256=:{digest}:"}
    return httpx2.Request(method, state.origin + path, headers=headers, content=content)


def now() -> datetime.datetime:
    """A whole second."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def verified(reply: httpx2.Response, request: httpx2.Request, server: Mapping[str, bytes]) -> set[str]:
    """The components of the reply's signature, once the library has verified it."""
    reply.request = request
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=Resolver({}, server))
    (result,) = verifier.verify(reply, expect_tag="sealwire-response", body=reply.content or None)
    return set(result.covered_components)


def test_the_whole_life_of_a_key(demo: DemoState) -> None:
    """By invitation in, a signed GET, a signed order, a rotation; each reply verified under the pinned key."""
    demo.add_user("bob")
    with Admin(demo.config) as admin:
        invitation = admin.invite("bob-bot", user="bob")
    name, secret, pin = invitation.partition("_inv_")[2].split(".")
    tls = ssl.create_default_context(cafile=str(demo.ca))
    with httpx2.Client(verify=tls) as http:
        keys = http.get(f"{demo.origin}/.well-known/sealwire/jwks.json").json()["keys"]
        (jwk,) = [key for key in keys if key["kid"] == pin]
        raw = base64.urlsafe_b64decode(jwk["x"] + "=")
        pem = Ed25519PublicKey.from_public_bytes(raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        server = {pin: pem}

        key, created = Key(), now()
        request = built(demo, "POST", "/.well-known/sealwire/keys", {"key": key.jwk, "name": "foreign"})
        sign(request, key.keyid, key.pem(), covered=WITH_BODY, created=created, tag="sealwire-possession", label="pos")
        bound = (*WITH_BODY, '"signature";key="pos"', '"signature-input";key="pos"')
        hmac_key = hashlib.sha256(secret.encode()).digest()
        sign(
            request,
            name,
            hmac_key,
            covered=bound,
            created=created,
            algorithm=algorithms.HMAC_SHA256,
            tag="sealwire-invitation",
            more=True,
        )
        reply = http.send(request)
        assert reply.status_code == 201, reply.text
        client = reply.json()["client"]
        assert reply.json()["key"]["kid"] == key.keyid

        request = built(demo, "GET", "/v1/balances")
        sign(request, key.keyid, key.pem(), covered=COVERED, created=now())
        reply = http.send(request)
        assert reply.json() == {"BTC": "10", "EUR": "100000"}
        assert verified(reply, request, server)

        order = {"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}
        request = built(demo, "POST", "/v1/orders", order)
        sign(request, key.keyid, key.pem(), covered=WITH_BODY, created=now())
        reply = http.send(request)
        assert reply.status_code == 201
        assert verified(reply, request, server)
        assert http.send(request).json()["code"] == "replay-detected"

        newer, created = Key(), now()
        body = {"key": newer.jwk, "name": "foreign", "client": client, "by": key.keyid}
        request = built(demo, "POST", "/.well-known/sealwire/keys", body)
        sign(
            request,
            newer.keyid,
            newer.pem(),
            covered=WITH_BODY,
            created=created,
            tag="sealwire-possession",
            label="pos",
        )
        sign(request, key.keyid, key.pem(), covered=bound, created=created, more=True)
        reply = http.send(request)
        assert reply.status_code == 201, reply.text
        request = built(demo, "GET", "/v1/balances")
        sign(request, newer.keyid, newer.pem(), covered=COVERED, created=now())
        assert http.send(request).status_code == 200
