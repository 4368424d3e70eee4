"""D11: the refused set: each call that is no honest one gets the same answer everywhere, and no app is entered."""

import json
import time
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.protocol.digest import content_digest
from sealwire.protocol.signature import signer_of
from tests.frameworks.conftest import Deploy
from tests.frameworks.deployment import BODY, PLACES, Deployment
from tests.stories.world import Wire

OTHER = BODY.replace(b"1", b"9")
FOUR = ["@method", "@authority", "@path", "@query"]


def with_body(request: Wire, body: bytes) -> Wire:
    """The request with another body of the same length."""
    request.body = body
    return request


def as_method(request: Wire, method: str) -> Wire:
    """The request under another method."""
    request.method = method
    return request


def at(request: Wire, old: bytes, new: bytes) -> Wire:
    """The signed request at another target."""
    assert old in request.target
    request.target = request.target.replace(old, new, 1)
    return request


def twice(request: Wire, name: bytes, value: bytes) -> Wire:
    """The request with one more field."""
    request.headers.append((name, value))
    return request


def now() -> int:
    """The host's clock."""
    return int(time.time())


Make = Callable[[Deployment], Wire]
REFUSED: dict[str, tuple[int, str, Make]] = {
    "unsigned": (401, "signature-missing", lambda d: d.wire("POST", "/v1/orders", BODY)),
    "a session token instead": (
        401, "signature-missing", lambda d: twice(d.wire(), b"authorization", b"Bearer stolen")
    ),
    "stripped": (401, "signature-missing", lambda d: d.order().without(b"signature").without(b"signature-input")),
    "a changed digit": (401, "digest-mismatch", lambda d: with_body(d.order(), OTHER)),
    "a changed digit and digest": (
        401, "signature-mismatch",
        lambda d: with_body(d.order(), OTHER).change(b"content-digest", content_digest(OTHER)),
    ),
    "a digest that is not covered": (
        401, "components-insufficient",
        lambda d: with_body(d.order(covered=[*FOUR, "content-type"]), OTHER)
        .change(b"content-digest", content_digest(OTHER)),
    ),
    "a wrong digest, covered": (
        401, "digest-mismatch",
        lambda d: d.wire("POST", "/v1/orders", BODY).change(b"content-digest", content_digest(OTHER))
        .sign(d.signer, now()),
    ),
    "a signature over nothing": (401, "components-insufficient", lambda d: d.signed(covered=[])),
    "late": (401, "clock-skew", lambda d: d.order(created=now() - 61, expires=now() + 60)),
    "early": (401, "clock-skew", lambda d: d.order(created=now() + 60)),
    "expired": (401, "clock-skew", lambda d: d.order(created=now() - 20, expires=now() - 1)),
    "another method": (401, "signature-mismatch", lambda d: as_method(d.signed("GET", "/v1/orders/7"), "DELETE")),
    "a method without a rule": (405, "method-not-allowed", lambda d: d.signed("PUT", "/v1/orders", BODY)),
    "HEAD, which no rule lists": (405, "method-not-allowed", lambda d: as_method(d.signed(), "HEAD")),
    "another host": (421, "authority-unknown", lambda d: d.order().change(b"host", b"backend:8000")),
    "a host in a userinfo": (421, "authority-unknown", lambda d: d.order().change(b"host", b"evil@api.example")),
    "no host": (421, "authority-unknown", lambda d: d.order().without(b"host")),
    "two hosts": (400, "header-malformed", lambda d: twice(d.order(), b"host", b"api.example")),
    "a key of nobody": (401, "key-unknown", lambda d: d.order(signer=signer_of(Ed25519PrivateKey.generate()))),
    "alice's key by name only": (401, "signature-mismatch", lambda d: d.order(signer=d.poor, keyid=d.signer.keyid)),
    "a client without the scope": (403, "scope-insufficient", lambda d: d.order(signer=d.poor)),
    "a query added": (401, "signature-mismatch", lambda d: at(d.order(), b"/v1/orders", b"/v1/orders?to=mallory")),
    "another path": (401, "signature-mismatch", lambda d: at(d.signed("DELETE", "/v1/orders/7"), b"/7", b"/8")),
    "another spelling": (401, "signature-mismatch", lambda d: at(d.order(), b"orders", b"%6frders")),
    "a captured trailing slash": (400, "target-not-canonical", lambda d: at(d.order(), b"orders", b"orders/")),
    "a signed trailing slash": (400, "target-not-canonical", lambda d: d.signed("POST", "/v1/orders/", BODY)),
    "a trailing slash on an open route": (400, "target-not-canonical", lambda d: d.wire("GET", "/v1/time/")),
    "two slashes": (400, "target-not-canonical", lambda d: d.signed("POST", "/v1//orders", BODY)),
    "capitals": (400, "target-not-canonical", lambda d: d.signed("POST", "/V1/Orders", BODY)),
    "a path parameter": (400, "target-not-canonical", lambda d: d.signed("POST", "/v1/orders;x=1", BODY)),
    "dot segments": (400, "target-not-canonical", lambda d: d.wire("GET", "/v1/time/../orders/7")),
    "encoded dot segments": (400, "target-not-canonical", lambda d: d.wire("GET", "/v1/time/%2e%2e/orders/7")),
    "an encoded slash": (400, "target-not-canonical", lambda d: d.signed("GET", "/v1/orders%2f7")),
    "a slash encoded twice": (400, "target-not-canonical", lambda d: d.signed("GET", "/v1/orders/%252f7")),
    "an encoded NUL": (400, "target-not-canonical", lambda d: d.signed("GET", "/v1/orders/%00")),
    "a fragment": (400, "target-not-canonical", lambda d: d.wire("GET", "/v1/time#x")),
    "an absolute form": (400, "target-not-canonical", lambda d: at(d.wire("GET", "/v1/time"), b"/",
                                                                   b"https://api.example/")),
    "no rule": (404, "not-found", lambda d: d.signed("GET", "/v2/orders")),
    "another media type": (
        415, "media-type", lambda d: d.order().change(b"content-type", b"application/x-www-form-urlencoded")
    ),
    "a compressed body": (415, "media-type", lambda d: twice(d.order(), b"content-encoding", b"gzip")),
    "too large": (413, "body-too-large", lambda d: d.order().change(b"content-length", b"1048577")),
    "two readings": (422, "request-invalid", lambda d: d.signed("POST", "/v1/orders", b'{"a":1,"a":2}')),
    "a credential added": (
        401, "components-insufficient", lambda d: twice(d.order(), b"authorization", b"Bearer stolen")
    ),
    "an idempotency key added": (
        401, "components-insufficient", lambda d: twice(d.order(), b"idempotency-key", b"k")
    ),
    "an unknown tag": (401, "signature-missing", lambda d: d.order(tag="another")),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_the_refused_set(deploy: Deploy, place: str) -> None:
    """Every one of the set: status and slug, the app not entered, its body never shown."""
    deployment: Deployment = await deploy(PLACES[place])
    answers = {}
    for name, (_, _, make) in REFUSED.items():
        reply = await deployment.send(make(deployment))
        assert reply.headers["content-type"] == "application/problem+json", name
        answers[name] = (reply.status_code, json.loads(reply.content)["code"])
    assert answers == {name: (status, slug) for name, (status, slug, _) in REFUSED.items()}
    assert deployment.probe.entered == []
    assert deployment.probe.received == []


@pytest.mark.parametrize("place", PLACES)
async def test_a_replay(deploy: Deploy, place: str) -> None:
    """C4: the same bytes again, of a safe and of an unsafe call: each is entered once."""
    deployment: Deployment = await deploy(PLACES[place])
    for request in (deployment.signed(), deployment.order()):
        assert (await deployment.send(request)).status_code == 200
        again = await deployment.send(request)
        assert (again.status_code, again.json()["code"]) == (401, "replay-detected")
    assert [scope["method"] for scope in deployment.probe.entered] == ["GET", "POST"]
