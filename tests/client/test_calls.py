"""An ordinary call: what goes out, what comes back, and what is never sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from sealwire.client import AsyncTransport, Credential, ForeignOrigin, NotSignable, Receipt, ReplyUnproven, Transport
from sealwire.client.keypair import ALGORITHMS
from sealwire.protocol.jwk import load_verifier
from sealwire.protocol.message import Reply, Request
from sealwire.protocol.signature import check
from tests.client.conftest import enrolled
from tests.client.server_double import ORIGIN, Clock, Server, Way


def covered(request: httpx2.Request) -> set[str]:
    listed = request.headers["signature-input"].partition("(")[2].partition(")")[0]
    return {name.strip('"') for name in listed.split()}


def test_a_call_is_signed_and_its_reply_proven(http: httpx2.Client, way: Way) -> None:
    response = http.post("/v1/orders?a=1&b=%20", json={"pair": "BTC/EUR"})
    assert (response.status_code, response.json()) == (201, {"client": "cli_ALICE", "number": 1})
    always = {"@method", "@authority", "@path", "@query"}
    assert covered(way.sent[0]) == always | {"content-type", "content-digest", "idempotency-key"}
    assert way.sent[0].headers["accept-encoding"] == "identity"
    parameters = way.sent[0].headers["signature-input"].partition(")")[2]
    assert [p.partition("=")[0] for p in parameters.split(";")[1:]] == ["created", "expires", "keyid", "nonce", "tag"]


def test_a_read_carries_nothing_that_it_does_not_need(http: httpx2.Client, way: Way) -> None:
    assert http.get("/v1/balances").status_code == 200
    assert covered(way.sent[0]) == {"@method", "@authority", "@path", "@query"}
    assert "content-digest" not in way.sent[0].headers
    assert "idempotency-key" not in way.sent[0].headers


def test_credentials_and_approvals_are_covered_when_present(http: httpx2.Client, way: Way) -> None:
    fields = {"Authorization": "Bearer t", "DPoP": "p", "Idempotency-Key": "mine", "Sealwire-Approval": "apr_1"}
    http.post("/v1/orders", content=b"x", headers=fields)
    assert {"authorization", "dpop", "idempotency-key", "sealwire-approval"} < covered(way.sent[0])
    assert way.sent[0].headers["idempotency-key"] == "mine"
    assert way.sent[0].headers["content-type"] == "application/octet-stream"


def test_the_receipt_can_be_checked_by_a_third_party(http: httpx2.Client, server: Server) -> None:
    receipt = http.get("/v1/balances").extensions["sealwire"]
    assert isinstance(receipt, Receipt)
    assert (receipt.keyid, receipt.sends, receipt.outcome) == (server.signer.keyid, 1, "answered")
    check(load_verifier(server.signer.jwk), receipt.base, receipt.signature)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_understood(server: Server, way: Way, clock: Clock, algorithm: str) -> None:
    credential = enrolled(server, algorithm)
    with httpx2.Client(transport=Transport(credential, inner=way, clock=clock)) as client:
        assert client.post(f"{ORIGIN}/v1/orders", content=b"x").status_code == 201


async def test_tasks_have_the_same_transport(credential: Credential, way: Way, clock: Clock) -> None:
    async with httpx2.AsyncClient(transport=AsyncTransport(credential, inner=way, clock=clock)) as client:
        assert (await client.post(f"{ORIGIN}/v1/orders", json={})).status_code == 201
        with pytest.raises(ForeignOrigin):
            await client.get("https://elsewhere.example/")
    assert way.closed == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_goes_through(http: httpx2.Client, way: Way, method: str) -> None:
    assert http.request(method, "/v1/x").status_code == 200
    assert ("idempotency-key" in way.sent[0].headers) == (method in {"POST", "PUT", "PATCH", "DELETE"})
    assert way.sent[0].headers.get("content-length") == ("0" if method in {"POST", "PUT", "PATCH"} else None)


def test_a_one_shot_body_is_read_whole_and_signed(http: httpx2.Client, way: Way, server: Server) -> None:
    """P1: a body that can be read once only is never sent unsigned."""

    def once() -> Iterator[bytes]:
        yield b"first "
        yield b"second"

    assert http.post("/v1/orders", content=once()).status_code == 201
    assert server.effects == [b"first second"]
    assert "transfer-encoding" not in way.sent[0].headers
    assert way.sent[0].headers["content-length"] == "12"
    assert "content-digest" in covered(way.sent[0])


async def test_a_one_shot_body_of_a_task_is_read_whole(credential: Credential, way: Way, clock: Clock) -> None:
    """P1: the same for tasks, and on the repeat."""

    async def once() -> AsyncIterator[bytes]:
        yield b"whole"

    way.script = ["cut"]
    async with httpx2.AsyncClient(transport=AsyncTransport(credential, inner=way, clock=clock)) as client:
        assert (await client.post(f"{ORIGIN}/v1/orders", content=once())).status_code == 201
    assert way.server.effects == [b"whole"]


def test_multipart_and_forms_are_signed_as_sent(http: httpx2.Client, server: Server) -> None:
    """P1: what the library encodes is what is signed."""
    assert http.post("/v1/f", files={"a": b"content"}, data={"b": "c"}).status_code == 201
    assert http.post("/v1/f", data={"b": "c d"}).status_code == 201
    assert server.effects[1] == b"b=c+d"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/orders",
        "http://api.example.com/v1/orders",
        "https://api.example.com:8443/v1/orders",
        "https://api.example.com.evil.example/",
    ],
)
def test_another_origin_gets_nothing(http: httpx2.Client, way: Way, url: str) -> None:
    """A credential is for one origin; nothing is sent to another, and a body that can be read once is left unread."""
    body = iter([b"once"])
    with pytest.raises(ForeignOrigin, match="nothing was sent"):
        http.post(url, content=body)
    assert (way.sent, list(body)) == ([], [b"once"])


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/a//b", {}),
        ("/a%2e%2e/b", {}),
        ("/a%zz", {}),
        ("/a", {"X_Under": "1"}),
        ("/a", {"Content-Encoding": "gzip"}),
        ("/a", {"Connection": "idempotency-key", "Idempotency-Key": "k"}),
        ("/a", [("Authorization", "a"), ("Authorization", "b")]),
    ],
)
def test_what_has_no_single_reading_is_not_sent(
    http: httpx2.Client, way: Way, path: str, headers: dict[str, str] | list[tuple[str, str]]
) -> None:
    """Refused here with a reason, since the server's refusal would be unsigned and prove nothing."""
    with pytest.raises((NotSignable, httpx2.InvalidURL)):
        http.request("GET", httpx2.URL(ORIGIN).copy_with(raw_path=path.encode()), headers=headers)
    assert way.sent == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_returned_and_not_followed(http: httpx2.Client, way: Way, server: Server, status: int) -> None:
    """H5: a proven redirect is an answer like any other."""
    server.app = lambda request, body: Reply(status, ((b"location", b"/elsewhere"),), b"")
    response = http.post("/v1/orders", content=b"x")
    assert (response.status_code, response.headers["location"]) == (status, "/elsewhere")
    assert len(way.sent) == 1


def test_a_followed_redirect_is_signed_anew(http: httpx2.Client, way: Way, server: Server) -> None:
    """H5: within the origin the library may follow: every hop has its own signature and nonce."""

    def app(request: Request, body: bytes) -> Reply:
        if request.path == b"/old":
            return Reply(307, ((b"location", b"/new"),), b"")
        return Reply(200, ((b"content-type", b"text/plain"),), request.path)

    server.app = app
    response = http.post("/old", content=b"x", follow_redirects=True)
    assert response.text == "/new"
    first, second = (request.headers["signature"] for request in way.sent)
    assert first != second


def test_a_redirect_to_another_origin_is_not_followed(http: httpx2.Client, way: Way, server: Server) -> None:
    """H5: the old signature never goes elsewhere."""
    server.app = lambda request, body: Reply(307, ((b"location", b"https://evil.example/x"),), b"")
    with pytest.raises(ForeignOrigin):
        http.post("/old", content=b"x", follow_redirects=True)
    assert len(way.sent) == 1


def test_an_unsigned_redirect_is_nothing(http: httpx2.Client, way: Way) -> None:
    """H5: whoever sits on the way cannot send the client elsewhere."""
    way.script = [httpx2.Response(302, headers={"location": f"{ORIGIN}/v1/withdrawals"})]
    with pytest.raises(ReplyUnproven):
        http.get("/v1/balances", follow_redirects=True)
    assert len(way.sent) == 1


def test_cookies_are_not_handed_out(http: httpx2.Client, way: Way) -> None:
    """H7: what may stand uncovered is not shown."""
    way.on_reply = lambda r: httpx2.Response(
        r.status_code,
        headers=[*r.headers.raw, (b"set-cookie", b"a=b"), (b"vary", b"x")],
        stream=httpx2.ByteStream(r.read()),
    )
    response = http.get("/v1/balances")
    assert set(response.headers) == {"content-type", "cache-control", "content-digest"}
    assert dict(http.cookies) == {}


def test_a_proven_refusal_is_a_response(http: httpx2.Client, server: Server) -> None:
    server.app = lambda request, body: server.problem("scope-insufficient", "missing")
    response = http.get("/v1/balances")
    assert (response.status_code, response.json()["code"]) == (403, "scope-insufficient")
    assert response.extensions["sealwire"].outcome == "not done"


def test_a_proven_failure_leaves_the_outcome_open(http: httpx2.Client, server: Server) -> None:
    server.app = lambda request, body: server.problem("internal", "app")
    assert http.post("/v1/orders", content=b"x").extensions["sealwire"].outcome == "unknown"


def test_a_stream_is_handed_out_to_who_asks_for_it(http: httpx2.Client, server: Server) -> None:
    server.stream = True
    with http.stream("GET", "/v1/events", extensions={"sealwire": {"stream": True}}) as response:
        assert response.headers["sealwire-stream"] == "?1"
        assert json.loads(b"".join(response.iter_raw()))["number"] == 1
    with pytest.raises(ReplyUnproven, match="stream"):
        http.get("/v1/events")


class Pouring(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body without an end, and how often it was let go."""

    let_go = 0

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"data: x\n\n"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.let_go += 1

    async def aclose(self) -> None:
        self.let_go += 1


def poured(way: Way, server: Server) -> Pouring:
    server.stream, body = True, Pouring()
    way.on_reply = lambda r: httpx2.Response(r.status_code, headers=r.headers.raw, stream=body)
    return body


async def test_an_endless_stream_is_handed_out_as_it_comes(
    credential: Credential, way: Way, server: Server, clock: Clock
) -> None:
    body = poured(way, server)
    async with httpx2.AsyncClient(transport=AsyncTransport(credential, inner=way, clock=clock)) as http:
        asked = {"sealwire": {"stream": True}}
        async with http.stream("GET", f"{ORIGIN}/v1/events", extensions=asked) as response:
            async for chunk in response.aiter_raw():
                assert chunk == b"data: x\n\n"
                break
            assert body.let_go == 0
        assert body.let_go == 1
        with pytest.raises(ReplyUnproven, match="stream"):
            await http.get(f"{ORIGIN}/v1/events")
        assert body.let_go == 2


def test_a_stream_that_is_refused_is_let_go(http: httpx2.Client, way: Way, server: Server) -> None:
    body = poured(way, server)
    with pytest.raises(ReplyUnproven, match="stream"):
        http.get("/v1/events")
    assert body.let_go == 1


def test_a_reply_does_not_become_a_stream_on_the_way(http: httpx2.Client, way: Way) -> None:
    way.on_reply = lambda r: httpx2.Response(
        r.status_code, headers=[*r.headers.raw, (b"sealwire-stream", b"?1")], stream=httpx2.ByteStream(b"other")
    )
    with pytest.raises(ReplyUnproven, match="sealwire-stream"):
        http.get("/v1/balances", extensions={"sealwire": {"stream": True}})
