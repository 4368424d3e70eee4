"""What a signature must cover, and that a signed message cannot be bent into another one."""

import json

import pytest

from sealwire.protocol.digest import content_digest
from tests.stories.world import Wire, World

BODY = b'{"amount": "0.01"}'


async def refused(world: World, request: Wire, status: int, code: str) -> dict[str, object]:
    """Sends, and holds the answer against what it must be: this status, this slug, and the app not entered."""
    entered = len(world.entered)
    reply = await world.send(request)
    problem: dict[str, object] = json.loads(reply.content)
    assert (reply.status_code, problem["code"]) == (status, code), problem
    assert len(world.entered) == entered
    return problem


def order(world: World) -> Wire:
    """An honest signed order."""
    return Wire("POST", b"/v1/orders", BODY).sign(world.signer)


async def test_honest_calls_go_through(world: World) -> None:
    """
    A0: honest calls, so that no story below is refused for another reason.

    Stopped by: nothing
    """
    assert (await world.send(order(world))).status_code == 200
    assert (await world.send(Wire().sign(world.signer))).status_code == 200
    assert world.bodies == [BODY, b""]
    assert world.entered[0]["sealwire"].caller.client == "cli_alice"


async def test_a_signature_over_nothing(world: World) -> None:
    """
    A1: a signature over `()`, cryptographically valid.

    Stopped by: verify
    """
    await refused(world, Wire().sign(world.signer, covered=[]), 401, "components-insufficient")


@pytest.mark.parametrize(
    "missing", ["@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key"]
)
async def test_each_required_component_left_out(world: World, missing: str) -> None:
    """
    A2, A12: each required component left out in turn.

    Stopped by: verify
    """
    request = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k1")
    every = ["@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key"]
    problem = await refused(
        world,
        request.sign(world.signer, covered=[name for name in every if name != missing]),
        401,
        "components-insufficient",
    )
    assert f'"{missing}"' in str(problem["detail"])


@pytest.mark.parametrize("field", [b"authorization", b"dpop", b"sealwire-approval"])
async def test_a_credential_added_uncovered(world: World, field: bytes) -> None:
    """
    A12: a credential added to a signed message.

    Stopped by: verify
    """
    await refused(world, Wire().sign(world.signer).change(field, b"stolen"), 401, "components-insufficient")


async def test_another_method(world: World) -> None:
    """
    A3: a captured GET sent as DELETE.

    Stopped by: verify
    """
    request = Wire("GET", b"/v1/orders/7").sign(world.signer)
    request.method = "DELETE"
    problem = await refused(world, request, 401, "signature-mismatch")
    lines = {str(line["component"]) for line in problem["base_lines"]}  # type: ignore[attr-defined]
    assert {'"@method"', '"@authority"', '"@path"', '"@query"', '"@signature-params"'} == lines


@pytest.mark.parametrize("target", [b"/v1/balances?x=1", b"/v1/other", b"/v1/balances?b=2&a=1", b"/v1/balances?a=1+2"])
async def test_another_target(world: World, target: bytes) -> None:
    """
    A5: a query added, reordered, spelt another way; another path.

    Stopped by: verify
    """
    signed = {b"/v1/balances?b=2&a=1": b"/v1/balances?a=1&b=2", b"/v1/balances?a=1+2": b"/v1/balances?a=1%202"}
    request = Wire("GET", signed.get(target, b"/v1/balances")).sign(world.signer)
    request.target = target
    await refused(world, request, 401, "signature-mismatch")


async def test_a_digest_that_is_not_covered(world: World) -> None:
    """
    A7: the digest is right and not covered, so the body could be swapped with it.

    Stopped by: verify
    """
    request = Wire("POST", b"/v1/orders", BODY)
    request.sign(world.signer, covered=["@method", "@authority", "@path", "@query", "content-type"])
    await refused(world, request, 401, "components-insufficient")


async def test_another_body(world: World) -> None:
    """
    A8: one digit of the body changed, the digest kept, then the digest changed too.

    Stopped by: body
    """
    request = order(world)
    request.body = BODY.replace(b"1", b"9")
    await refused(world, request, 401, "digest-mismatch")
    await refused(world, request.change(b"content-digest", content_digest(request.body)), 401, "signature-mismatch")


async def test_a_body_that_nobody_signed(world: World) -> None:
    """
    A9: a body without a digest, and a body added to a request that was signed without one.

    Stopped by: verify
    """
    await refused(world, Wire("POST", b"/v1/orders", BODY).without(b"content-digest").sign(world.signer), 401,
                  "components-insufficient")  # fmt: skip
    added = Wire("POST", b"/v1/orders").sign(world.signer).change(b"content-length", b"%d" % len(BODY))
    added.body = BODY
    await refused(world, added, 401, "components-insufficient")
    for method in (b"GET", b"DELETE"):
        bodied = Wire(method.decode(), b"/v1/orders/7", BODY).without(b"content-digest").sign(world.signer)
        await refused(world, bodied, 401, "components-insufficient")
    unannounced = Wire("POST", b"/v1/orders").sign(world.signer)
    unannounced.body = BODY
    await refused(world, unannounced, 401, "components-insufficient")


@pytest.mark.parametrize(
    "digest",
    [
        b"md5=:Sd/dVLAcvNLSq16eXua5uQ==:",
        b"nonsense",
        b"sha-256=:AAAA:",
        content_digest(BODY) + b", sha-512=:" + b"A" * 86 + b"==:",
    ],
)
async def test_a_digest_that_counts_for_nothing(world: World, digest: bytes) -> None:
    """
    A10: a digest of an unknown algorithm only, one that cannot be read, a right one beside a wrong one.

    Stopped by: body
    """
    request = Wire("POST", b"/v1/orders", BODY).change(b"content-digest", digest).sign(world.signer)
    await refused(world, request, 401, "digest-mismatch")


async def test_a_covered_field_that_is_not_there(world: World) -> None:
    """
    A11: a covered field taken out of the message.

    Stopped by: verify
    """
    await refused(world, order(world).without(b"content-type"), 401, "components-insufficient")


async def test_another_content_type(world: World) -> None:
    """
    A13: the same bytes as another media type.

    Stopped by: admit
    """
    request = order(world).change(b"content-type", b"application/x-www-form-urlencoded")
    await refused(world, request, 415, "media-type")
    await refused(world, order(world).change(b"content-type", b"application/json; charset=utf-16"), 415, "media-type")
    same = order(world).change(b"content-type", b'application/json; charset="utf-8"')
    await refused(world, same, 401, "signature-mismatch")


async def test_a_component_in_another_case(world: World) -> None:
    """
    A15: `"@METHOD"` instead of `"@method"`.

    Stopped by: verify
    """
    covered = ["@METHOD", "@authority", "@path", "@query"]
    await refused(world, Wire().sign(world.signer, covered=covered), 400, "signature-malformed")


async def test_too_much_body(world: World) -> None:
    """
    L5: a body over the cap, declared and not declared.

    Stopped by: admit
    """
    request = order(world).change(b"content-length", b"1048577")
    await refused(world, request, 413, "body-too-large")
    big = Wire("POST", b"/v1/orders", b"[" + b"1," * 600_000 + b"1]").without(b"content-length")
    big.change(b"transfer-encoding", b"chunked").sign(world.signer)
    await refused(world, big, 413, "body-too-large")


async def test_a_body_of_another_length(world: World) -> None:
    """
    D12, D14: a body that a middleware read before us, and one longer than declared.

    Stopped by: body
    """
    request = order(world)
    request.body = b""
    await refused(world, request, 500, "internal")
    request = order(world)
    request.body = BODY + b" "
    await refused(world, request, 400, "header-malformed")


async def test_the_body_is_not_read_before_the_signature_held(world: World) -> None:
    """
    L6: a flood of bad signatures with bodies.

    Stopped by: verify
    """
    request = order(world).change(b"content-type", b"application/json; charset=utf-8")
    await refused(world, request, 401, "signature-mismatch")
    assert world.reads == 0


@pytest.mark.parametrize("body", [b'{"a":1,"a":2}', b"[NaN]", b"\xef\xbb\xbf{}", b"{} x", b"[9007199254740993]"])
async def test_content_with_two_readings(world: World, body: bytes) -> None:
    """
    D13: JSON that two parsers read differently, rightly signed.

    Stopped by: validate
    """
    await refused(world, Wire("POST", b"/v1/orders", body).sign(world.signer), 422, "request-invalid")


async def test_a_body_taken_away(world: World) -> None:
    """
    A8: body and Content-Length taken out of a signed message on the way; its covered digest is that of the body.

    Stopped by: body
    """
    request = order(world).without(b"content-length")
    request.body = b""
    await refused(world, request, 401, "digest-mismatch")
    assert world.bodies == []
