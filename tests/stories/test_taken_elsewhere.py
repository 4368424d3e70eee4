"""A message that is rightly signed, taken to another host or put together in another way."""

from pathlib import Path

import pytest

from sealwire.call import Rule
from sealwire.protocol.digest import content_digest
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import Wire, World

FORM = "application/x-www-form-urlencoded"


def hosts(world: World, *names: str) -> World:
    """The same deployment, answering for these hosts."""
    world.guard._deployment = world.guard._deployment._replace(authorities=frozenset(names))
    return world


async def test_another_host_of_the_same_deployment(world: World) -> None:
    """
    A4: signed for one host of ours, delivered to another that this guard answers for too.

    Stopped by: verify
    """
    hosts(world, "api.example", "wallet.example")
    taken = Wire("POST", b"/v1/orders", BODY).sign(world.signer).change(b"host", b"wallet.example")
    problem = await refused(world, taken, 401, "signature-mismatch")
    assert '"@authority"' in {line["component"] for line in problem["base_lines"]}  # type: ignore[attr-defined]
    assert (await world.send(taken.change(b"host", b"API.example:443"))).status_code == 200


@pytest.mark.parametrize(
    ("host", "status", "code"),
    [(b"api.example", 421, "authority-unknown"), (b"staging.example", 401, "signature-mismatch")],
)
async def test_staging_and_production(world: World, tmp_path: Path, host: bytes, status: int, code: str) -> None:
    """
    A4: a call to staging, played to production where the same key is enrolled, as it came and with production's Host.

    Stopped by: verify
    """
    (tmp_path / "other").mkdir()
    other = hosts(World(tmp_path / "other"), "staging.example")
    other.add_key(world.signer, "alice")
    taken = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    assert (await world.send(taken)).status_code == 200
    await refused(other, taken.change(b"host", host), status, code)


@pytest.mark.parametrize(
    ("target", "body"),
    [(b"/v1/form?a=1&b=2", b""), (b"/v1/form", b"a=1&b=2"), (b"/v1/form?a=1", b"&b=2"), (b"/v1/form?", b"a=1&b=2")],
)
async def test_a_parameter_moved_between_query_and_body(tmp_path: Path, target: bytes, body: bytes) -> None:
    """
    A6: a parameter moved from the query to the body and back; the two, written one after the other, stay the same.

    Stopped by: verify
    """
    world = World(tmp_path, (Rule("/v1/form", frozenset(("POST",)), "signed", content_types=frozenset((FORM,))),))
    request = Wire("POST", b"/v1/form?a=1&", b"b=2").change(b"content-type", FORM.encode()).sign(world.signer)
    request.target, request.body = target, body
    request.change(b"content-length", b"%d" % len(body))
    await refused(world, request, 401, "signature-mismatch")
    await refused(world, request.change(b"content-digest", content_digest(body)), 401, "signature-mismatch")


async def test_an_idempotency_key_for_a_call_put_together_otherwise(world: World) -> None:
    """
    A6: the same key, rightly signed, for a call whose method, path, query and body run together alike.

    Stopped by: idempotency
    """

    def call(target: bytes) -> Wire:
        return Wire("POST", target, b"{}").change(b"idempotency-key", b"k1").sign(world.signer)

    assert (await world.send(call(b"/v1/pay?to=1"))).status_code == 200
    for target in (b"/v1/pa?yto=1", b"/v1/payto=1", b"/v1/pay?to=1&", b"/v1/pay?to="):
        await refused(world, call(target), 422, "idempotency-conflict")
    assert (await world.send(call(b"/v1/pay?to=1"))).status_code == 200
    assert len(world.entered) == 1
