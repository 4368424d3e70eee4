"""Observe mode lets through and says who would be refused; replies are bound to their requests."""

from pathlib import Path

import pytest

from sealwire.call import Rule
from sealwire.errors import Fault
from sealwire.fronts.asgi import GuardedApp, Message, Receive, Scope, Send
from sealwire.protocol import signature
from sealwire.protocol.digest import content_digest
from sealwire.protocol.message import Request, Response, combine
from sealwire.protocol.ratelimit import parse_limit
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import Wire, World


async def test_observed_calls_go_through_without_a_caller(tmp_path: Path) -> None:
    """
    E0: an unsigned, a badly signed and an honest call under a rule that only observes; its limits hold all the same.

    Stopped by: throttle
    """
    limits = (parse_limit("3/min per address"),)
    world = World(tmp_path, (Rule("/**", frozenset(("GET", "POST")), "signed", observe=True, limits=limits),))
    unsigned = await world.send(Wire("POST", b"/v1/orders", BODY))
    assert unsigned.status_code == 200
    assert "signature" not in unsigned.headers
    bad = await world.send(Wire("POST", b"/v1/orders", BODY).sign(world.signer, secret=lambda _: b"x" * 64))
    honest = await world.send(Wire().sign(world.signer))
    assert (bad.status_code, honest.status_code) == (200, 200)
    assert "signature" in honest.headers
    assert [scope["sealwire"].caller is None for scope in world.entered] == [True, True, False]
    assert world.bodies == [BODY, BODY, b""]
    assert [d.outcome for d in world.ledger.decisions] == ["observed", "observed", "entered"]
    await refused(world, Wire().sign(world.signer), 429, "rate-limited")


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1] + b" ", b""])
async def test_an_observed_body_that_is_not_the_signed_one(tmp_path: Path, body: bytes) -> None:
    """
    E0: a body that was read and found to be another than the signed one reaches the app as it came, while observing.

    Stopped by: nothing
    """
    world = World(tmp_path, (Rule("/**", frozenset(("POST",)), "signed", observe=True),))
    request = Wire("POST", b"/v1/orders", BODY).sign(world.signer).change(b"content-length", b"%d" % len(body))
    request.body = body
    assert (await world.send(request)).status_code == 200
    assert world.bodies == [body]
    assert world.entered[0]["sealwire"].caller is None
    assert [d.code for d in world.ledger.decisions] == ["digest-mismatch/differs"]


async def test_a_reply_names_its_request(world: World) -> None:
    """
    H2, H3: status, content and the whole signed request stand under the reply's signature.

    Stopped by: sign
    """
    request = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    reply = await world.send(request)
    headers = tuple((name.lower(), value) for name, value in reply.headers.raw)
    fields = combine(headers)
    (signed,) = signature.parse(fields[b"signature-input"], fields[b"signature"])
    from_request = combine(tuple(request.headers))
    names = {component.identifier().decode() for component in signed.components}
    assert {'"@status"', '"content-digest"', '"content-type"', '"x-request-id"', '"cache-control"'} <= names
    assert {'"@method";req', '"@path";req', '"content-digest";req', '"signature";req;key="sig"'} <= names
    related = Request("POST", b"/v1/orders", "api.example", b"/v1/orders", b"", "/v1/orders", tuple(request.headers),
                      from_request)  # fmt: skip
    base = signature.base(signed.components, signed.covered, Response(200, headers, fields), related)
    signature.check(world.keyring.verifier, base, signed.signature)
    assert signed.params["tag"] == "sealwire-response"


async def test_a_refusal_after_proof_is_signed_and_recorded(world: World) -> None:
    """
    N5: who, what, when, why and under which policy stand in the ledger, also of a refusal.

    Stopped by: validate
    """
    reply = await world.send(Wire("POST", b"/v1/orders", b"[NaN]").sign(world.signer))
    assert reply.status_code == 422
    assert "signature" in reply.headers
    (decision,) = world.ledger.decisions
    assert (decision.outcome, decision.code, decision.client) == ("refused", "request-invalid/json", "cli_alice")
    assert (decision.key, decision.template, decision.policy) == (world.signer.keyid, "/v1/orders", "policy-1")


async def test_nothing_is_entered_that_is_not_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    C10, N4: the ledger does not answer.

    Stopped by: guard
    """

    async def fails(*_: object) -> str:
        raise Fault("audit-unavailable", "write")

    monkeypatch.setattr(world.ledger, "record", fails)
    reply = await world.send(Wire("POST", b"/v1/orders", BODY).sign(world.signer))
    assert reply.status_code == 503
    assert reply.headers["retry-after"] == "2"
    assert world.entered == []


@pytest.mark.parametrize("taken", ["verify", "body", "nonce", "authenticate", "authorize", "validate", "idempotency"])
async def test_a_row_lost_from_the_page(world: World, taken: str) -> None:
    """
    B12: a stage deleted by mistake: the demand is written apart, so the app is not entered.

    Stopped by: guard
    """
    pipeline = world.guard._pipeline  # what a careless edit would do
    rows = tuple(row for row in pipeline.stages["signed"] if row[0] != taken)
    world.guard._pipeline = pipeline._replace(stages={**pipeline.stages, "signed": rows})
    reply = await world.send(Wire().sign(world.signer))
    assert reply.status_code == 500
    assert world.entered == []


async def test_an_app_that_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    I2: the app raises with the caller's content in the message; the caller sees none of it, nor does a repeat enter.

    Stopped by: guard
    """

    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("MARKER")

    monkeypatch.setattr(world.app, "_app", fails)
    request = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k").sign(world.signer)
    reply = await world.send(request)
    assert reply.status_code == 500
    assert "MARKER" not in reply.text
    again = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k").sign(world.signer)
    await refused(world, again, 409, "idempotency-in-progress")


async def test_an_app_that_writes_a_callers_words_into_a_field(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    D4: the app puts a line break of the caller's into a field of its reply: no second field comes of it.

    Stopped by: harden
    """

    async def splits(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 302, "headers": [(b"location", b"/\r\nset-cookie: a=b")]})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(world.app, "_app", splits)
    reply = await world.send(Wire().sign(world.signer))
    assert (reply.status_code, "location" in reply.headers, "set-cookie" in reply.headers) == (500, False, False)
    assert "signature" in reply.headers


async def test_what_the_app_sees(world: World) -> None:
    """
    D17, D18, E4: fields that speak for a proxy or for us, rightly signed, never reach the app.

    Stopped by: guard
    """
    request = Wire()
    for name in (b"x-forwarded-user", b"x-http-method-override", b"x-real-ip", b"client-cert", b"x-original-url"):
        request.headers.append((name, b"/v1/time"))
    request.headers.append((b"user-agent", b"bot"))
    covered = ["@method", "@authority", "@path", "@query", "x-forwarded-user", "client-cert"]
    assert (await world.send(request.sign(world.signer, covered=covered))).status_code == 200
    assert world.entered[0]["headers"] == [(b"host", b"api.example"), (b"user-agent", b"bot")]


async def test_a_stream_behind_a_signed_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    H1: a streamed reply has a signed head that says so, and no digest.

    Stopped by: sign
    """
    world = World(tmp_path, (Rule("/events", frozenset(("GET",)), "signed", stream=True),))

    async def events(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"one ", b"two"):
            message: Message = {"type": "http.response.body", "body": part, "more_body": part == b"one "}
            await send(message)

    monkeypatch.setattr(world.app, "_app", events)
    reply = await world.send(Wire("GET", b"/events").sign(world.signer))
    assert reply.content == b"one two"
    assert reply.headers["sealwire-stream"] == "?1"
    assert '"sealwire-stream"' in reply.headers["signature-input"]
    assert "content-digest" not in reply.headers


async def test_a_refusal_of_a_stream(tmp_path: Path) -> None:
    """
    H2: a refusal on a route that streams is no stream: its content stands under its signature.

    Stopped by: sign
    """
    world = World(tmp_path, (Rule("/events", frozenset(("GET",)), "signed", stream=True, scopes=frozenset(("no",))),))
    reply = await world.send(Wire("GET", b"/events").sign(world.signer))
    assert reply.status_code == 403
    assert "sealwire-stream" not in reply.headers
    assert reply.headers["content-digest"].encode() == content_digest(reply.content)
    assert '"content-digest"' in reply.headers["signature-input"].partition(";req")[0]


async def test_a_middleware_that_changes_the_path(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    D11: a middleware before the guard changed the path; a server that hands on no exact target.

    Stopped by: guard
    """
    request = Wire().sign(world.signer)
    monkeypatch.setattr("tests.stories.world.unquote_to_bytes", lambda _: b"/v1/time")
    await refused(world, request, 500, "internal")
    monkeypatch.setattr("tests.stories.world.TARGET_EXTENSION", "another")
    await refused(world, request, 500, "internal")


@pytest.mark.parametrize("front_end", ["", "nginx"])
@pytest.mark.parametrize("changed", [{"path": "/v1/time"}, {"query_string": b"account=2"}])
async def test_an_app_reads_the_target_that_was_signed(
    world: World, monkeypatch: pytest.MonkeyPatch, front_end: str, changed: dict[str, object]
) -> None:
    """
    D11: path or query changed in the scope before the guard, under our runner and under another server.

    Stopped by: guard
    """
    guarded = GuardedApp(world._app, world.guard, front_end=front_end)

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        await guarded({**scope, **changed, **({"extensions": {}} if front_end else {})}, receive, send)

    monkeypatch.setattr(world, "app", middleware)
    reply = await world.send(Wire("GET", b"/v1/balances?account=1").sign(world.signer))
    # A server that hands on no exact target has one query only: what was signed is held against that.
    assert reply.status_code == (401 if front_end and "query_string" in changed else 500)
    assert world.entered == []


@pytest.mark.parametrize("lost", ["seen", "late"])
async def test_a_claim_lost_in_the_ledger_is_counted(world: World, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    """
    C24, N5: the fast store forgot the nonce; the decision's own claim is lost, and the refusal is counted.

    Stopped by: guard
    """

    async def loses(*_: object) -> str:
        return lost

    monkeypatch.setattr(world.ledger, "record", loses)
    code = {"seen": "replay-detected", "late": "clock-skew"}[lost]
    await refused(world, Wire("POST", b"/v1/orders", BODY).sign(world.signer), 401, code)
    await world.tally.flush()
    assert [(row[2], row[3]) for row in world.ledger.tallies] == [(code, 1)]


async def test_a_recorded_refusal_is_not_counted_twice(world: World) -> None:
    """
    N5: a refusal that has a row of its own in the ledger is no count beside it.

    Stopped by: validate
    """
    await refused(world, Wire("POST", b"/v1/orders", b"[NaN]").sign(world.signer), 422, "request-invalid")
    await world.tally.flush()
    assert len(world.ledger.decisions) == 1
    assert world.ledger.tallies == []


async def test_ipv4_callers_of_a_dual_stack_socket_are_many(tmp_path: Path) -> None:
    """
    L1: an IPv4 address that a dual-stack socket shows as IPv6 is that IPv4 address, to limits and to address lists.

    Stopped by: throttle
    """
    world = World(
        tmp_path, (Rule("/v1/time", frozenset(("GET",)), "open", limits=(parse_limit("1/min per address"),)),)
    )
    answers = []
    for address in ("::ffff:192.0.2.1", "::ffff:192.0.2.2", "192.0.2.1"):
        world.address = address
        answers.append((await world.send(Wire("GET", b"/v1/time"))).status_code)
    assert answers == [200, 200, 429]
