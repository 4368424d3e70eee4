"""What a caller sends is nowhere but on the wire and in the app: not in logs, metrics, errors, reprs, databases."""

import asyncio
import json
import logging
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stories.deployed import Deployed
from tests.stories.markers import Marked, leaks, marker
from tests.stories.test_enrolment import fresh, offer
from tests.stories.world import Wire

#: Every field that the guard knows by name, the usual ones of clients and proxies, and one of nobody.
FIELDS = (
    b"host content-type content-length content-encoding transfer-encoding content-digest authorization dpop "
    b"idempotency-key sealwire-session sealwire-reply-key sealwire-approval sealwire-caller sealwire-stream signature "
    b"signature-input accept-signature connection accept accept-encoding accept-language user-agent traceparent "
    b"tracestate baggage cookie origin referer forwarded x-forwarded-for x-forwarded-host x-forwarded-proto "
    b"x-forwarded-uri x-real-ip x-original-url x-rewrite-url x-http-method-override client-cert client-cert-chain te "
    b"trailer expect upgrade via date range if-none-match x-request-id x-api-key x_custom x-custom"
).split()
INPUTS = (
    '({0})', '("@path");{0}=1', '("@path");created={0}', '("{0}");created=1', '("@path";{0})', "{0}", ":{0}:",
)  # fmt: skip
USUAL = ["@method", "@authority", "@path", "@query"]


@pytest.fixture
def deployed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Deployed:
    """A deployment, with every logger of the process at its most talkative."""
    caplog.set_level(logging.DEBUG)
    return Deployed(tmp_path)


def with_fields(deployed: Deployed, marked: Marked) -> Iterator[Wire]:
    """Each field with a marker: unsigned, signed and covered, before an app that observes, and with a body."""
    for name in FIELDS:
        for at, target in (("unsigned", b"/v1/orders/7"), ("open", b"/open/7"), ("observed", b"/seen/7")):
            yield Wire("GET", target).change(name, marked[f"{name!r} {at}"].encode())
        yield signed(deployed, Wire("GET", b"/v1/orders/7").change(name, marked[f"{name!r} covered"].encode()))
        bodied = Wire("POST", b"/v1/orders/7", b"{}").change(name, marked[f"{name!r} of a body"].encode())
        yield signed(deployed, bodied)
        enrolling = Wire("POST", b"/.well-known/sealwire/keys", b"{}")
        yield enrolling.change(name, marked[f"{name!r} at enrolment"].encode())


def signed(deployed: Deployed, request: Wire, **more: object) -> Wire:
    """Signed now, over all that is there."""
    covered = USUAL + [name.decode() for name, _ in request.headers if name not in (b"signature", b"signature-input")]
    return request.sign(deployed.signer, int(time.time()), **{"covered": covered, **more})  # type: ignore[arg-type]


def honest(deployed: Deployed, marked: Marked) -> Iterator[Wire]:
    """Calls that go through, once and again, with markers wherever an honest caller may put one."""
    target = f"/v1/orders/{marked['path']}?q={marked['query']}&{marked['query name']}".encode()
    body = json.dumps({marked["member"]: marked["body"]}).encode()
    for _ in range(2):
        request = Wire("POST", target, body).change(b"idempotency-key", marked["idempotency key"].encode())
        request.change(b"authorization", f"Bearer {marked['token']}".encode())
        request.change(b"cookie", marked["cookie"].encode())
        yield signed(deployed, request.change(b"x-custom", b64encode(marked["custom"].encode())))
    yield signed(deployed, Wire("GET", target), nonce=marked["nonce"])
    yield signed(deployed, Wire("DELETE", target), nonce=marked["durable nonce"], label=marked["label"])
    yield Wire("GET", b"/open/" + marked["open path"].encode())
    yield Wire("POST", b"/open/7", f'"{marked["open body"]}"'.encode())
    yield Wire("POST", b"/seen/" + marked["observed path"].encode(), f'"{marked["observed body"]}"'.encode())


def refused_ones(deployed: Deployed, marked: Marked) -> Iterator[Wire]:
    """Calls that are turned away at each step, for the very value that is the marker."""
    yield Wire(marked["method"].upper(), b"/v1/orders/7")
    for template in ("/nowhere/{}", "/v1/{}/../x", "/v1/orders/{}%2f", "//{}", "{}", "https://{}/", "/v1/orders/{}%zz"):
        yield Wire("GET", template.format(marked[f"target {template}"]).encode())
    for template in ("problems/{}", "keys/{}", "{}"):
        target = f"/.well-known/sealwire/{template.format(marked[f'our own {template}'])}".encode()
        yield Wire("GET", target)
        yield signed(deployed, Wire("DELETE", target))
    yield Wire("GET", b"/v1/orders/7").change(marked["name of a field"].encode(), b"x")
    for member in INPUTS:
        given = member.format(marked[f"input {member}"])
        yield Wire().change(b"signature-input", f"sig={given}".encode()).change(b"signature", b"sig=:AAAA:")
    unlike = Wire().change(b"signature-input", b"sig=()")
    yield unlike.change(b"signature", f"{marked['another label']}=:AAAA:".encode())
    for name in ("keyid", "nonce", "tag", "alg"):
        # A nonce in which a dot stands is none.
        given = marked[f"parameter {name}"] + ("." if name == "nonce" else "")
        yield signed(deployed, Wire("GET", b"/v1/orders/7"), **{name: given})
    yield signed(deployed, Wire("GET", b"/v1/orders/7"), covered=[*USUAL, marked["component"]])
    junk = b64encode((marked["signature"].encode() * 3)[:64])
    yield signed(deployed, Wire("GET", b"/v1/orders/7")).change(b"signature", b"sig=:" + junk + b":")
    for body in ('{{"{0}":1,"{0}":2}}', '"{0}', '[NaN,"{0}"]', "{0}"):
        yield signed(deployed, Wire("POST", b"/v1/orders/7", body.format(marked[f"body {body}"]).encode()))
    changed = signed(deployed, Wire("POST", b"/v1/orders/7", b"{}"))
    changed.body = b"[]"
    yield changed.change(b"x-unsigned", marked["beside another body"].encode())
    new = fresh()
    bad = ({"kty": marked["kty"]}, {**new.jwk, "x": marked["x"]}, {**new.jwk, marked["jwk member"]: "1"})
    for key in (*bad, new.jwk):
        yield offer(deployed, new, new.sign, marked["invitation"], body={"key": key}, created=int(time.time()))
        rotation: dict[str, object] = {
            "key": key,
            "name": marked["name"],
            "client": marked["client"],
            "by": marked["by"],
        }
        yield offer(deployed, new, deployed.signer.sign, deployed.signer.keyid, "sealwire", body=rotation,
                    created=int(time.time()))  # fmt: skip


def played(deployed: Deployed, calls: Iterator[Wire]) -> list[int]:
    """The status of each call."""
    return [asyncio.run(deployed.send(call)).status_code for call in calls]


def test_markers_are_nowhere(deployed: Deployed, caplog: pytest.LogCaptureFixture) -> None:
    """
    N2: body, path, query, method, every field and every parameter carry markers, in calls that go through, are refused,
    and fail in the app, in a stage and in an observer: none is in logs, metrics, errors, reprs or the databases.

    Stopped by: trace
    """
    marked, again = Marked(), Marked()
    assert set(played(deployed, honest(deployed, marked))) == {200}
    assert 200 not in played(deployed, refused_ones(deployed, marked))
    assert set(played(deployed, with_fields(deployed, marked))) >= {200, 400, 401, 415, 421}
    deployed.failing = marked["error of the app"]
    assert set(played(deployed, honest(deployed, again))) == {409, 500}
    deployed.failing, deployed.stage_failing = "", marked["error of a stage"]
    assert set(played(deployed, honest(deployed, marked))) >= {500}
    places = deployed.places(caplog.records)
    assert {"sealwire.db", "sealwire.db-wal while open", "fast.db", "fast.db-wal while open"} <= set(places)
    assert leaks({"the key's name": deployed.signer.keyid}, places) != []
    assert len(marked) > 300
    assert leaks({**marked, **{f"{name} again": word for name, word in again.items()}}, places) == []


@pytest.mark.parametrize("form", ["clear", "base64", "hex", "percent", "repr"])
@pytest.mark.parametrize("place", ["log", "observer", "file"])
def test_a_planted_leak_is_found(deployed: Deployed, caplog: pytest.LogCaptureFixture, form: str, place: str) -> None:
    """
    N2: a log line, an observer and a file that keep a path: the same search finds each, however it is written.

    Stopped by: nothing
    """
    path = f"/v1/orders/{marker()}"
    word = path.rpartition("/")[2]
    asyncio.run(deployed.send(Wire("GET", path.encode())))
    written = {
        "clear": path,
        "base64": b64encode(path.encode()).decode(),
        "hex": path.encode().hex().upper(),
        "percent": "".join(f"%{byte:02X}" for byte in path.encode()),
        "repr": repr({"path": path.encode()}),
    }[form]
    match place:
        case "log":
            logging.getLogger("sealwire.guard").debug("turned away: %s", written)
        case "observer":
            deployed.said.append(written)
        case "file":
            (deployed.folder / "state" / "trail.log").write_text(written, encoding="ascii")
    assert leaks({"path": word}, deployed.places(caplog.records)) != []
