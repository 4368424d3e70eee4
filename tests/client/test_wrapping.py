"""What goes into a sealed call, whatever shape its program gives it, and what comes out of its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from sealwire.client import ForeignOrigin, NotSignable, ReplyUnproven
from sealwire.protocol import envelope
from sealwire.protocol.handshake import Keys
from sealwire.protocol.message import Reply
from tests.client.callers import EVERY_KIND, Caller
from tests.client.sealing_double import JSON, SealingServer, seal
from tests.client.server_double import ORIGIN, Clock, rule

PARTS = (b"MAR", b"KER")


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


def once() -> Iterator[bytes]:
    yield from PARTS


async def once_async() -> AsyncIterator[bytes]:
    for part in PARTS:
        yield part


# --- the call --------------------------------------------------------------------------------------------------------


@EVERY_KIND
def test_a_one_shot_body(caller: Caller, server: SealingServer) -> None:
    """P1: read whole, sealed, and sent again under the next session if need be: never unsealed, never half."""
    caller.post()
    server.sessions.clear()
    body = once_async() if caller.kind.tasks else once()
    reply = caller.post(content=body, headers={"content-type": "text/plain"})
    assert (reply.status_code, server.inside[1:]) == (201, [b"MARKER"])
    for request in caller.sent_to("/v1/orders"):
        assert request.headers["content-type"] == "application/jose"
        assert request.headers["content-length"] == str(len(request.content))
        assert "transfer-encoding" not in request.headers
        assert b"MARKER" not in request.content


@EVERY_KIND
def test_multipart_and_forms(caller: Caller, server: SealingServer) -> None:
    """P1: sealed as they are, with their boundary inside and none of it outside."""
    for more in ({"files": {"a": b"MARKER"}}, {"data": {"b": "MARKER"}}):
        assert caller.run(caller.http.post("/v1/orders", **more)).status_code == 201
    inner = [envelope.read(r.content, envelope.Headers()).header.content_type for r in caller.sent_to("/v1/orders")]
    assert inner[0].startswith("multipart/form-data; boundary=")
    assert inner[1] == "application/x-www-form-urlencoded"
    assert all(b"MARKER" in inside for inside in server.inside)
    assert not any(b"MARKER" in bytes(str(request.headers), "utf-8") + request.content for request in caller.way.sent)


@EVERY_KIND
def test_nothing_is_compressed(caller: Caller, server: SealingServer) -> None:
    """P1, F15: whatever the library or its user would accept; and content that comes encoded is not sealed."""
    caller.post(headers={"accept-encoding": "gzip, br"})
    assert {request.headers["accept-encoding"] for request in caller.way.sent} == {"identity"}
    with pytest.raises(NotSignable, match="media-type"):
        caller.post(headers={"content-encoding": "gzip"})
    assert len(caller.sent_to("/v1/orders")) == 1


@EVERY_KIND
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
def test_a_call_without_content(caller: Caller, server: SealingServer, path: str) -> None:
    """It names its session, covered; its answer is sealed all the same."""
    assert caller.get(path).json() == {"client": "cli_ALICE", "number": 1}
    (request,) = caller.sent_to(path)
    assert request.headers["sealwire-session"] in server.sessions
    assert '"sealwire-session"' in request.headers["signature-input"]
    assert request.content == b""
    assert caller.run(caller.http.head(path)).status_code == 200


@EVERY_KIND
@pytest.mark.parametrize(
    ("path", "more", "why"),
    [
        ("/v1/orders?account=7", {}, "query parameter"),
        ("/v1/quotes?page=1&Page=2", {}, "query parameter"),
        ("/v1/quotes?page=1&p%61ge2=x", {}, "query parameter"),
        ("/v1/quotes?=x", {}, "query parameter"),
        ("/v1/orders", {"extensions": {"sealwire": {"stream": True}}}, "no stream"),
        ("/v1/orders", {"headers": {"content-type": "x" * 201}}, "Content-Type"),
        ("/v1/orders", {"headers": {"content-type": "text/plain\tx"}}, "Content-Type"),
    ],
)
def test_what_cannot_be_sealed(
    caller: Caller, server: SealingServer, path: str, more: dict[str, Any], why: str
) -> None:
    """P1, F6: a clear refusal, before so much as a session is opened."""
    with pytest.raises(NotSignable, match=why):
        caller.post(path, **more)
    assert caller.paths() == ["GET rules"]


def test_what_a_query_may_show(caller: Caller, server: SealingServer) -> None:
    """By the name that the app would read, however it is written."""
    for path in ("/v1/quotes?page=1", "/v1/quotes?p%61ge=2&page", "/v1/quotes?", "/v1/quotes?&"):
        assert caller.post(path).status_code == 201
    assert len(server.inside) == 4


# --- the answer ------------------------------------------------------------------------------------------------------


@EVERY_KIND
@pytest.mark.parametrize("status", [204, 201, 302, 404])
def test_an_empty_answer(caller: Caller, server: SealingServer, status: int) -> None:
    """There is nothing to seal; status and fields are proven as of any."""
    server.app = lambda request, body: Reply(status, ((b"etag", b'"7"'),), b"")
    server.on_answer = lambda keys, session, reply: reply
    reply = caller.post()
    assert (reply.status_code, reply.headers["etag"], reply.content) == (status, '"7"', b"")


@EVERY_KIND
def test_the_type_inside_is_the_answers(caller: Caller, server: SealingServer) -> None:
    """One Content-Type, the app's; no digest of what was sealed."""
    server.app = lambda request, body: Reply(200, ((b"content-type", b"text/csv; charset=utf-8"),), b"a,b")
    reply = caller.post()
    assert reply.headers.get_list("content-type") == ["text/csv; charset=utf-8"]
    assert (reply.text, "content-digest" in reply.headers) == ("a,b", False)


@pytest.mark.parametrize(
    "change",
    [
        lambda reply: reply._replace(headers=((b"content-type", b"application/jose; x=y"), *reply.headers[1:])),
        lambda reply: reply._replace(headers=((b"content-type", b"Application/JOSE"),)),
        lambda reply: reply._replace(headers=(JSON,)),
        lambda reply: reply._replace(headers=((b"content-type", b"application/problem+json"),), body=b'{"code": "x"}'),
        lambda reply: reply._replace(
            headers=((b"content-type", b"application/problem+json"),), body=b'{"code": "key-unknown"}', status=200
        ),
        lambda reply: reply._replace(body=b"a.b.c.d.e"),
        lambda reply: reply._replace(body=b"...."),
        lambda reply: reply._replace(body=reply.body + b"."),
        lambda reply: reply._replace(body=b" " + reply.body),
        lambda reply: reply._replace(body=reply.body + reply.body),
    ],
)
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
def test_an_answer_of_another_form(caller: Caller, server: SealingServer, path: str, change: Any) -> None:
    """F6, F13: though the server signed it: nothing of it is handed out."""
    server.on_answer = lambda keys, session, reply: change(seal(keys, session, reply))
    with pytest.raises(ReplyUnproven) as caught:
        caller.post(path)
    assert caught.value.outcome == "unknown"


def test_a_refusal_in_clear_by_the_sessions_key(caller: Caller, server: SealingServer) -> None:
    """F6: a server refuses in clear only before it knows the session, so by its own key."""
    problem = Reply(400, ((b"x-first", b"1"), (b"content-type", b"application/problem+json")), b'{"code": "not-found"}')
    server.on_answer = lambda keys, session, reply: problem
    with pytest.raises(ReplyUnproven, match="in clear"):
        caller.post("/v1/quotes")
    assert caller.post("/v1/orders").status_code == 400


@EVERY_KIND
def test_redirects_that_are_followed(caller: Caller, server: SealingServer) -> None:
    """P1: signed and sealed anew, by the rule of where it leads; to another origin not at all."""
    to = "/v1/quotes"
    server.app = lambda request, body: (
        Reply(200, (JSON,), b'"here"')
        if request.path == b"/v1/quotes"
        else Reply(307, ((b"location", to.encode()),), b"")
    )
    server.on_answer = lambda keys, session, reply: seal(keys, session, reply) if reply.body else reply
    assert caller.post(content=b"MARKER").json() == "here"
    assert server.inside == [b"MARKER", b"MARKER"]
    assert not any(b"MARKER" in request.content for request in caller.way.sent)
    before = len(caller.way.sent)
    to = "https://elsewhere.example/v1/quotes"
    with pytest.raises(ForeignOrigin):
        caller.post(content=b"MARKER")
    assert [str(request.url) for request in caller.way.sent[before:]] == [f"{ORIGIN}/v1/orders"]


def test_what_is_read_is_not_opened_with_the_other_key(caller: Caller, server: SealingServer) -> None:
    """F3: sealed with the key for requests, as only a reflection would be."""

    def other_direction(keys: Keys, session: str, reply: Reply) -> Reply:
        body = envelope.seal(keys.c2s, envelope.protect(session, "application/json"), bytes(12), reply.body)
        return Reply(201, ((b"content-type", envelope.MEDIA_TYPE),), body)

    server.on_answer = other_direction
    with pytest.raises(ReplyUnproven, match="does not open"):
        caller.post()


def test_a_route_in_clear_has_no_session(caller: Caller, server: SealingServer) -> None:
    """Nor is an answer opened that nobody sealed for it."""
    server.rules = [rule("/**", "signed")]
    body = b"e30...."
    server.app = lambda request, given: Reply(200, ((b"content-type", envelope.MEDIA_TYPE),), body)
    assert caller.get("/v1/balances").content == body
    assert server.opened == 0
