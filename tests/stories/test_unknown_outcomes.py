"""What the real client does when the guard's answer is lost or is no proof: one repeat, one effect"""

import httpx2
import pytest

from sealwire.client import OutcomeUnknown, ReplyUnproven, Transport
from tests.stories.test_enrolment import Bridge, enrolled
from tests.stories.world import ORIGIN, World

BODY = {"amount": "0.01"}


class Lossy(httpx2.BaseTransport):
    """The way to the real guard. What happens to each send in turn stands in `script`; then nothing does."""

    def __init__(self, world: World, script: list[str]) -> None:
        self._bridge = Bridge(world)
        self.script = script
        self.sent: list[httpx2.Request] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/rules"):
            return self._bridge.handle_request(request)  # asked for once, before the first call
        self.sent.append(request)
        event = self.script.pop(0) if self.script else ""
        if event == "request lost":
            raise httpx2.ReadError("cut")
        if event == "502":
            return httpx2.Response(502, stream=httpx2.ByteStream(b"Bad Gateway"))
        reply = self._bridge.handle_request(request)
        if event == "answer lost":
            raise httpx2.ReadError("cut")
        if event == "502 for the answer":
            return httpx2.Response(502, stream=httpx2.ByteStream(b"Bad Gateway"))
        return httpx2.Response(reply.status_code, headers=reply.headers, stream=httpx2.ByteStream(reply.content))


def client(world: World, way: Lossy) -> httpx2.Client:
    """The real client of an enrolled key, on this way."""
    return httpx2.Client(transport=Transport(enrolled(world), inner=way, clock=world.clock.now), base_url=ORIGIN)


@pytest.mark.parametrize("event", ["request lost", "answer lost", "502", "502 for the answer"])
def test_one_repeat_and_one_effect(world: World, event: str) -> None:
    """
    C17, C25: the connection is cut, or a proxy refuses, before the server acted or after it: the client repeats with
    the same idempotency key and another nonce, and there is one effect.

    Stopped by: idempotency
    """
    way = Lossy(world, [event])
    with client(world, way) as http:
        assert http.post("/v1/orders", json=BODY).json() == {"ok": True}
    assert len(world.entered) == 1
    first, second = way.sent
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["signature-input"] != second.headers["signature-input"]


@pytest.mark.parametrize(
    ("event", "error"), [("answer lost", OutcomeUnknown), ("502 for the answer", ReplyUnproven)]
)  # fmt: skip
def test_twice_and_no_more(world: World, event: str, error: type[OutcomeUnknown | ReplyUnproven]) -> None:
    """
    C25: the repeat's answer is lost too: the outcome is unknown, and asking again under the same key shows it.

    Stopped by: idempotency
    """
    way = Lossy(world, [event, event])
    with client(world, way) as http:
        with pytest.raises(error) as caught:
            http.post("/v1/orders", json=BODY)
        assert (len(way.sent), len(world.entered)) == (2, 1)
        assert caught.value.outcome == "unknown"
        key = way.sent[0].headers["idempotency-key"]
        assert http.post("/v1/orders", json=BODY, headers={"idempotency-key": key}).json() == {"ok": True}
    assert len(world.entered) == 1


def test_a_refusal_of_ours_uses_up_no_key(world: World) -> None:
    """
    C25: a call is refused with 403 for its scope; once that is granted the same call under the same key goes through,
    and then it is answered from what was kept.

    Stopped by: idempotency
    """
    way = Lossy(world, [])
    with client(world, way) as http:
        (keyid,) = (kid for kid, record in world.directory._keys.items() if record.client != "cli_alice")
        granted = world.directory._keys[keyid]
        world.directory._keys[keyid] = granted._replace(scopes=frozenset())
        key = {"idempotency-key": "order-7"}
        assert http.post("/v1/orders", json=BODY, headers=key).status_code == 403
        world.directory._keys[keyid] = granted
        for _ in range(2):
            assert http.post("/v1/orders", json=BODY, headers=key).status_code == 200
            assert len(world.entered) == 1
