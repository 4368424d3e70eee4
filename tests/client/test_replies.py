"""The reply is changed, exchanged, kept back or replayed by whoever ends TLS: nothing of it is handed out."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from sealwire.client import ReplyUnproven
from sealwire.protocol.message import Reply
from tests.client.server_double import NOW, Clock, Server, Way, changed, new_signer

Change = Callable[[httpx2.Response], httpx2.Response]


def refused(http: httpx2.Client, way: Way, change: Change, method: str = "POST") -> ReplyUnproven:
    way.on_reply = change
    with pytest.raises(ReplyUnproven) as caught:
        http.request(method, "/v1/orders?a=1", content=b"{}" if method == "POST" else None)
    assert "cli_ALICE" not in str(caught.value)
    assert len(way.sent) == 1
    return caught.value


CHANGES: dict[str, Change] = {
    "H1 the signature removed": lambda r: changed(r, drop=("signature", "signature-input")),
    "H1 only Signature removed": lambda r: changed(r, drop=("signature",)),
    "H1 an empty signature": lambda r: changed(r, drop=("signature",), add=[("signature", "reply=::")]),
    "H1 garbage": lambda r: changed(r, drop=("signature",), add=[("signature", "reply=(")]),
    "H1 another tag": lambda r: changed(
        r,
        drop=("signature-input",),
        add=[("signature-input", r.headers["signature-input"].replace("sealwire-response", "sealwire"))],
    ),
    "H1 the signature twice": lambda r: changed(
        r,
        drop=("signature", "signature-input"),
        add=[
            (name, f"{r.headers[name]}, {r.headers[name].replace('reply=', 'two=', 1)}")
            for name in ("signature", "signature-input")
        ],
    ),
    "H2 the status": lambda r: changed(r, status=200),
    "H2 the body": lambda r: changed(r, body=r.read().replace(b"1", b"9")),
    "H2 the body taken away": lambda r: changed(r, body=b""),
    "H2 body and digest taken away": lambda r: changed(r, body=b"", drop=("content-digest",)),
    "H2 a digest of another algorithm": lambda r: changed(
        r, drop=("content-digest",), add=[("content-digest", "md5=:AAAA:")]
    ),
    "H2 the content type": lambda r: changed(r, drop=("content-type",), add=[("content-type", "text/html")]),
    "H7 Location added": lambda r: changed(r, add=[("location", "https://evil.example/")]),
    "H7 Link added": lambda r: changed(r, add=[("link", "<https://evil.example/>; rel=next")]),
    "H7 Retry-After added": lambda r: changed(r, add=[("retry-after", "1")]),
    "H7 RateLimit added": lambda r: changed(r, add=[("ratelimit", '"x";r=0')]),
    "H7 a field of one's own added": lambda r: changed(r, add=[("x-balance", "0")]),
    "H7 a second line of a covered field": lambda r: changed(r, add=[("cache-control", "public")]),
    "H7 a covered field taken away": lambda r: changed(r, drop=("cache-control",)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_reply_is_refused(http: httpx2.Client, way: Way, what: str) -> None:
    """H1, H2, H7: whatever is changed in a reply on the way, the client raises and shows nothing."""
    error = refused(http, way, CHANGES[what])
    assert error.outcome == "unknown"
    assert str(error.idempotency_key) in str(error)


def test_a_403_is_not_turned_into_a_200(http: httpx2.Client, way: Way, server: Server) -> None:
    """H2: nor the reverse."""
    server.app = lambda request, body: server.problem("scope-insufficient", "missing")
    refused(http, way, lambda r: changed(r, status=200))


def test_the_reply_to_another_request_is_refused(http: httpx2.Client, way: Way) -> None:
    """H1, H3: the reply to a former request, the same to the byte but for its nonce, is kept and played again."""
    kept: list[httpx2.Response] = []

    def keep(response: httpx2.Response) -> httpx2.Response:
        kept.append(changed(response))
        return response

    way.on_reply = keep
    http.get("/v1/orders?a=1")
    way.sent.clear()
    refused(http, way, lambda r: kept[0], "GET")


def test_the_reply_to_another_callers_request_is_refused(http: httpx2.Client, way: Way, server: Server) -> None:
    """H3, H8: the reply names the request it answers by its components and by its very signature."""
    other = new_signer()
    server.clients[other.keyid] = ("cli_BOB", server.clients[next(iter(server.clients))][1])
    captured: list[httpx2.Request] = []

    def swap(request: httpx2.Request) -> httpx2.Request:
        captured.append(request)
        return captured[0]

    way.on_request = swap
    http.get("/v1/a")
    way.sent.clear()
    server.nonces.clear()
    with pytest.raises(ReplyUnproven, match=r"does not hold|not covered"):
        http.get("/v1/b")


def test_a_reply_signed_by_someone_else_is_refused(http: httpx2.Client, server: Server, way: Way) -> None:
    """H1, G12: signed well, by a key that nobody vouches for; its key set is signed by that key too."""
    server.signer = new_signer()
    with pytest.raises(ReplyUnproven, match="not trusted"):
        http.get("/v1/balances")
    assert [request.url.path for request in way.sent] == ["/v1/balances", "/.well-known/sealwire/jwks.json"]


def test_another_algorithm_in_the_reply_is_refused(http: httpx2.Client, way: Way, server: Server) -> None:
    """H1: the key alone says its algorithm."""
    sign = server.sign

    def lie(reply: Reply, request: object, claims: object) -> Reply:
        signed = sign(reply, request, claims)  # type: ignore[arg-type]
        headers = tuple(
            (n, v.replace(b";tag=", b';alg="hmac-sha256";tag=') if n == b"signature-input" else v)
            for n, v in signed.headers
        )
        return signed._replace(headers=headers)

    server.sign = lie  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="alg"):
        http.get("/v1/balances")


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_reply_from_another_time_is_refused(http: httpx2.Client, server: Server, seconds: int) -> None:
    """H3: where the server took the client's time for right, its own cannot be far from it."""
    sign = server.sign

    def late(reply: Reply, request: object, claims: object) -> Reply:
        server.clock = Clock(NOW + seconds)
        return sign(reply, request, claims)  # type: ignore[arg-type]

    server.sign = late  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="another time"):
        http.get("/v1/balances")


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_reply_at_the_edge_of_its_time_is_taken(http: httpx2.Client, server: Server, seconds: int) -> None:
    sign = server.sign

    def late(reply: Reply, request: object, claims: object) -> Reply:
        server.clock = Clock(NOW + seconds)
        return sign(reply, request, claims)  # type: ignore[arg-type]

    server.sign = late  # type: ignore[method-assign]
    assert http.get("/v1/balances").status_code == 200


def test_an_error_of_a_proxy_is_no_reply(http: httpx2.Client, way: Way) -> None:
    """H4: what is not signed is never plain success."""
    way.script = [httpx2.Response(200, json={"ok": True})]
    with pytest.raises(ReplyUnproven, match="no signature"):
        http.get("/v1/balances")


def test_a_reply_past_all_bounds_is_not_held(http: httpx2.Client, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 1000)
    way.on_reply = lambda r: changed(r, body=b"x" * 1001)
    with pytest.raises(ReplyUnproven, match="larger") as caught:
        http.post("/v1/orders", content=b"{}")
    # Whoever is on the way can do this: the caller must be able to ask again without doing it twice.
    assert caught.value.idempotency_key == way.sent[0].headers["idempotency-key"]
    assert caught.value.status == 201


def test_what_is_said_of_an_unproven_reply_cannot_control_a_terminal(http: httpx2.Client, way: Way) -> None:
    way.on_reply = lambda r: changed(r, add=[("x-" + "y" * 200, "\x1b[31m")])
    with pytest.raises(ReplyUnproven) as caught:
        http.get("/v1/balances")
    assert "\x1b" not in str(caught.value)


def test_a_body_without_digest_is_refused_though_signed(http: httpx2.Client, server: Server) -> None:
    """H2: a signature over everything but the body is a signature over nothing."""
    sign = server.sign

    def bare(reply: Reply, request: object, claims: object) -> Reply:
        return sign(reply._replace(body=b""), request, claims)._replace(body=b"hello")  # type: ignore[arg-type]

    server.sign = bare  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="no digest"):
        http.get("/v1/balances")
