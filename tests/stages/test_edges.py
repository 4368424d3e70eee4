"""The corners of the stages that no story passes through."""

from pathlib import Path
from typing import Any, cast

import pytest

from sealwire.call import Body, Call, FirstSeen, Proof, Rule
from sealwire.credentials import Credentials
from sealwire.errors import Fault, Refusal
from sealwire.protocol.message import Request
from sealwire.protocol.ratelimit import network
from sealwire.stages.authenticate import Authenticate
from sealwire.stages.authorize import within
from sealwire.stages.possess import Possess
from tests.stages.made import Stores
from tests.stories.test_coverage_and_binding import refused
from tests.stories.world import Wire, World


async def nothing() -> tuple[bytes, bool]:
    """A body that never comes."""
    raise AssertionError


def call(held: dict[type, Any]) -> Call:
    """A call with this evidence and no more."""
    request = Request("POST", b"/", "api.example", b"/", b"", "/", (), {})
    return Call(request, Rule("/", frozenset(("POST",)), "signed"), 0.0, "req_1", "192.0.2.1", nothing, held)


async def test_no_key_is_no_caller() -> None:
    """An invitation's proof names no key, and makes nobody a caller."""
    proof = Proof(cast(Any, None), None, 0.0, 20, "inv")
    stores = Stores()
    stage = Authenticate(stores.directory, Credentials(stores.apikeys, stores.keyring))
    with pytest.raises(Fault, match="internal/evidence"):
        await stage(call({Proof: proof, FirstSeen: FirstSeen()}))


async def test_an_offer_with_two_readings() -> None:
    """An enrolment whose JSON has a member twice is refused before any key is read."""
    with pytest.raises(Refusal, match="request-invalid/json"):
        await Possess()(call({Body: Body(b'{"key":1,"key":2}')}))


@pytest.mark.parametrize(
    ("address", "one"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:bbbb::9", "2001:db8:1:2::/64"),
        ("no:address", "no:address"),
    ],
)
def test_what_counts_as_one_address(address: str, one: str) -> None:
    """One IPv6 subscriber holds a /64, and is one address to the limiter."""
    assert network(address) == one


def test_an_address_that_is_none_is_within_nothing() -> None:
    """What cannot be read as an address is not allowed by any network."""
    assert not within("unix", ("0.0.0.0/0", "::/0"))
    assert within("2001:db8::1", ("192.0.2.0/24", "2001:db8::/32"))


async def test_open_bodies_have_a_type(tmp_path: Path) -> None:
    """On an open rule a body needs a type, and one that is not JSON is not read as JSON."""
    rule = Rule("/form", frozenset(("POST",)), "open", content_types=frozenset(("text/plain", "application/json")))
    world = World(tmp_path, (rule,))
    await refused(world, Wire("POST", b"/form", b"hello").without(b"content-type"), 415, "media-type")
    await refused(world, Wire("POST", b"/form", b"hello"), 422, "request-invalid")
    assert (
        await world.send(Wire("POST", b"/form", b"hello").change(b"content-type", b"text/plain"))
    ).status_code == 200


async def test_fingerprints_are_limited(world: World) -> None:
    """After 30 mismatches in a minute from one address, the lines are no longer told."""
    shown = []
    for _ in range(31):
        problem = await refused(world, Wire().sign(world.signer, secret=lambda _: b"x" * 64), 401, "signature-mismatch")
        shown.append("base_lines" in problem)
    assert shown == [True] * 30 + [False]
