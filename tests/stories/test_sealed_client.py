"""The real client and the real guard, and whoever terminates TLS between them, who reads and changes what it can."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from sealwire.client import Credential, NotSignable, ReplyUnproven, Transport
from sealwire.client.errors import BY_SLUG
from sealwire.client.sealing import DEFAULT_KEMS
from tests.stories.sealing import SEALED_RULES
from tests.stories.test_enrolment import Bridge, enrolled
from tests.stories.world import ORIGIN, World

ORDER = b'{"amount": "0.01"}'


class Middleman(httpx2.BaseTransport):
    """Keeps all that passes, and may change it on its way there or back."""

    def __init__(self, world: World) -> None:
        self.bridge = Bridge(world)
        self.requests: list[httpx2.Request] = []
        self.replies: list[httpx2.Response] = []
        self.on_request: Callable[[httpx2.Request], httpx2.Request | httpx2.Response] = lambda request: request
        self.on_reply: Callable[[httpx2.Request, httpx2.Response], httpx2.Response] = lambda _, reply: reply

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        self.requests.append(request)
        passed = self.on_request(request)
        reply = passed if isinstance(passed, httpx2.Response) else self.bridge.handle_request(passed)
        self.replies.append(reply)
        return self.on_reply(request, reply)

    def paths(self) -> list[str]:
        """Method and last part of the path of what passed."""
        return [f"{request.method} {request.url.path.rpartition('/')[2]}" for request in self.requests]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, SEALED_RULES)


@pytest.fixture
def credential(world: World) -> Credential:
    return enrolled(world)


@pytest.fixture
def middle(world: World) -> Middleman:
    return Middleman(world)


def client(
    credential: Credential, middle: Middleman, world: World, kems: tuple[str, ...] = DEFAULT_KEMS
) -> httpx2.Client:
    transport = Transport(credential, inner=middle, clock=world.clock.now, kems=kems)
    return httpx2.Client(transport=transport, base_url=ORIGIN)


def order(http: httpx2.Client, path: str = "/v1/orders") -> httpx2.Response:
    return http.post(path, content=ORDER, headers={"content-type": "application/json"})


def test_the_client_seals_by_itself(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F6: honest calls: sealed where the rules say so and nowhere else, under one session, ended at the end; who sits in
    between sees no content.

    Stopped by: nothing
    """
    with client(credential, middle, world) as http:
        assert http.get("/v1/balances").json() == {"ok": True}
        for _ in range(2):
            reply = order(http)
            assert (reply.status_code, reply.json()) == (200, {"ok": True})
            assert reply.headers["content-type"] == "application/json"
        assert order(http, "/v1/quotes?page=1").json() == {"ok": True}
        assert http.get("/v1/orders").json() == {"ok": True}
        order(http, "/v1/notes")
    assert middle.paths() == [
        "GET rules",
        "GET balances",
        "POST sessions",
        "POST orders",
        "POST orders",
        "POST quotes",
        "GET orders",
        "POST notes",
        middle.paths()[-1],
    ]
    assert middle.paths()[-1].startswith("DELETE ses_")
    assert world.bodies == [b"", ORDER, ORDER, ORDER, b"", ORDER]
    passed = [request.content for request in middle.requests[3:7]] + [reply.content for reply in middle.replies[3:7]]
    assert not any(b'"' in content for content in passed)
    assert "ses_" in middle.requests[5].headers["signature-input"]
    assert "ses_" not in middle.requests[3].headers["signature-input"]


@pytest.mark.parametrize("slug", ["encryption-unexpected", "encryption-required", "session-unknown", "media-type"])
def test_no_refusal_makes_it_send_in_clear(world: World, credential: Credential, middle: Middleman, slug: str) -> None:
    """
    F23: an unsigned refusal that wants the call in clear, or under a weaker kem.

    Stopped by: client
    """
    document = {"code": slug, "status": 400, "kems": ["RSA-OAEP-256"], "detail": "send it in clear"}
    said = httpx2.Response(
        400, headers={"content-type": "application/problem+json"}, content=json.dumps(document).encode()
    )
    middle.on_request = lambda request: said if request.url.path == "/v1/orders" else request
    with client(credential, middle, world) as http, pytest.raises(BY_SLUG[slug]) as caught:
        order(http)
    assert caught.value.outcome == "unknown"
    assert not world.entered
    assert not any(b"amount" in request.content for request in middle.requests)


def test_rules_that_nobody_signed(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F23: the rules rewritten on the way, so that nothing would be sealed; or not answered at all.

    Stopped by: client
    """

    def rewritten(request: httpx2.Request, reply: httpx2.Response) -> httpx2.Response:
        if request.url.path.endswith("/rules"):
            content = reply.content.replace(b'"sealed"', b'"signed"')
            return httpx2.Response(reply.status_code, headers=reply.headers, content=content)
        return reply

    middle.on_reply = rewritten
    with client(credential, middle, world) as http:
        with pytest.raises(ReplyUnproven, match="its body was changed"):
            order(http)
        middle.on_request = lambda _: httpx2.Response(404)
        with pytest.raises(ReplyUnproven, match="were not answered"):
            order(http)
    assert middle.paths() == ["GET rules", "GET rules"]


def test_the_answer_of_a_session_is_anothers(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F24, G5, G7: a middleman answers with a session of his own, swaps members of the server's answer, or gives the
    answer to another request.

    Stopped by: client
    """
    kept: list[httpx2.Response] = []

    def change(name: str, value: object) -> Callable[[httpx2.Request, httpx2.Response], httpx2.Response]:
        def changed(request: httpx2.Request, reply: httpx2.Response) -> httpx2.Response:
            if not request.url.path.endswith("/sessions"):
                return reply
            kept.append(reply)
            content = json.dumps({**json.loads(reply.content), name: value}).encode()
            return httpx2.Response(201, headers=reply.headers, content=content)

        return changed

    for name, value in (("commitment", "A" * 43), ("max_requests", 1 << 20), ("kem", "X25519"), ("sealed_key", "AA")):
        middle.on_reply = change(name, value)
        with client(credential, middle, world) as http, pytest.raises(ReplyUnproven, match="its body was changed"):
            order(http)
    middle.on_reply = lambda request, reply: kept[0] if request.url.path.endswith("/sessions") else reply
    with client(credential, middle, world) as http, pytest.raises(ReplyUnproven):
        order(http)
    assert not world.entered
    assert not any(request.url.path == "/v1/orders" for request in middle.requests)


def test_a_weaker_kem_than_its_own_list(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F23: the client names its kems, best first, and takes none beside them.

    Stopped by: client
    """
    with client(credential, middle, world, kems=("none",)) as http, pytest.raises(NotSignable, match="this client has"):
        order(http)
    assert middle.paths() == ["GET rules"]
    for kem in ("X25519", "P-256", "RSA-OAEP-256"):
        with client(credential, middle, world, kems=(kem,)) as http:
            assert order(http).status_code == 200
    asked = [json.loads(r.content)["kem"] for r in middle.requests if r.url.path.endswith("/sessions")]
    assert asked == ["X25519", "P-256", "RSA-OAEP-256"]


def test_a_query_that_would_be_seen(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F6: a parameter that the rule does not list is not sent on a sealed route.

    Stopped by: client
    """
    with client(credential, middle, world) as http, pytest.raises(NotSignable, match="query parameter"):
        order(http, "/v1/orders?account=alice")
    assert middle.paths() == ["GET rules"]


@pytest.mark.parametrize("path", ["/v1/Orders", "/v1/orders/", "/v1/orders;x", "/v1/ordres", "/v1/notes?x=1/../orders"])
def test_a_path_that_no_rule_decides(world: World, credential: Credential, middle: Middleman, path: str) -> None:
    """
    F23: a misspelt path of a sealed route: the content is not shown to whoever terminates TLS, though the server would
    only have refused it.

    Stopped by: client
    """
    with client(credential, middle, world) as http:
        if "?" in path:
            assert order(http, path).status_code == 200
        else:
            with pytest.raises(NotSignable, match="no rule of the server decides this call"):
                order(http, path)
            with pytest.raises(BY_SLUG["not-found" if "ordres" in path else "target-not-canonical"]):
                http.get(path)
            assert not any(b"amount" in request.content for request in middle.requests)


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
def test_a_server_that_lost_its_sessions(world: World, credential: Credential, middle: Middleman, path: str) -> None:
    """
    F26: after a restart the client opens a new session by itself; the call is carried out once.

    Stopped by: nothing
    """
    with client(credential, middle, world) as http:
        assert order(http, path).status_code == 200
        world.sessions._sessions.clear()
        world.sessions._of_key.clear()
        assert order(http, path).status_code == 200
    assert len(world.bodies) == 2
    sent = [request.headers["idempotency-key"] for request in middle.requests if request.url.path == path]
    assert len(sent) == 3
    assert sent[1] == sent[2] != sent[0]


def test_sessions_are_renewed(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F12: near its end, and at its count, a session is left for a new one.

    Stopped by: nothing
    """
    with client(credential, middle, world) as http:
        order(http)
        world.clock.at += 895
        assert order(http).status_code == 200
        held = http._transport._process.sessions._held  # type: ignore[attr-defined]
        held._used = held.max_requests
        assert order(http).status_code == 200
    assert middle.paths().count("POST sessions") == 3


def test_an_answer_in_clear(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F6: an answer in clear to a sealed call, from the server itself.

    Stopped by: client
    """
    with client(credential, middle, world) as http:
        order(http)
        pipeline = world.guard._pipeline
        harden, _, sign = pipeline.replies["sealed"]
        world.guard._pipeline = pipeline._replace(replies={**pipeline.replies, "sealed": (harden, sign)})
        with pytest.raises(ReplyUnproven, match="its answer is in clear"):
            order(http)


async def test_a_forked_process_opens_its_own(world: World, credential: Credential, middle: Middleman) -> None:
    """
    F21: a process that was forked has no session of its parent's.

    Stopped by: client
    """
    transport = Transport(credential, inner=middle, clock=world.clock.now)
    ours = transport._here()
    transport._process = ours._replace(pid=os.getpid() + 1)
    theirs = transport._here()
    assert theirs.sessions is not ours.sessions
    assert theirs.rules is not ours.rules


def test_a_refusal_after_opening(world: World, credential: Credential, middle: Middleman) -> None:
    """
    I1: what is refused after it was opened is refused sealed; the caller sees it as any other refusal.

    Stopped by: validate
    """
    with client(credential, middle, world) as http:
        reply = http.post("/v1/orders", content=b'{"a": 1, "a": 2}', headers={"content-type": "application/json"})
    assert (reply.status_code, reply.json()["code"]) == (422, "request-invalid")
    assert middle.replies[-2].headers["content-type"] == "application/jose"
    assert b"request-invalid" not in middle.replies[-2].content
