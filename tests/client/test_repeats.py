"""When a call is sent again, how often, and what never changes in it."""

from __future__ import annotations

import json
from typing import TypeVar

import httpx2
import pytest

from sealwire.client import (
    ClockSkew,
    Credential,
    OutcomeUnknown,
    RateLimited,
    Refused,
    ReplayDetected,
    ReplyUnproven,
    Transport,
)
from sealwire.client.errors import BY_SLUG
from tests.client.server_double import Clock, Server, Way, changed, problem_response

Passing = TypeVar("Passing")


def nonces(way: Way) -> list[str]:
    return [request.headers["signature-input"].partition('nonce="')[2].partition('"')[0] for request in way.sent]


def keys(way: Way) -> set[str]:
    return {request.headers["idempotency-key"] for request in way.sent}


@pytest.mark.parametrize("off", [-3600, 3600, 86400])
def test_a_wrong_clock_is_learnt_from_the_verified_reply(http: httpx2.Client, way: Way, clock: Clock, off: int) -> None:
    """C15: one repeat with the server's nonce, and from then on the clock is right."""
    clock.now += off
    response = http.post("/v1/orders", content=b"x")
    assert (response.status_code, response.extensions["sealwire"].sends) == (201, 2)
    assert len(keys(way)) == 1
    assert http.post("/v1/orders", content=b"x").extensions["sealwire"].sends == 1


def test_the_clock_is_not_moved_by_an_unsigned_word(http: httpx2.Client, way: Way) -> None:
    """C15: a stranger's clock-skew makes one repeat with their nonce; the next call is dated as before."""
    offer = 'sig=("@method");created;expires;keyid;nonce="AAAAAAAAAAAAAAAAAAAAAA";tag="sealwire"'
    lie = problem_response("clock-skew", 401, add=[("accept-signature", offer)], clock={"server_time": 1})
    way.script = [lie, "cut"]
    with pytest.raises(OutcomeUnknown):
        http.get("/v1/balances")
    assert http.get("/v1/balances").extensions["sealwire"].sends == 1
    created = {request.headers["signature-input"].partition("created=")[2][:10] for request in way.sent}
    assert created == {"1790000000"}
    assert nonces(way)[1] == "AAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize("held", ["request", "reply"])
def test_the_clock_is_not_moved_by_holding_back(
    http: httpx2.Client, way: Way, clock: Clock, server: Server, held: str
) -> None:
    """C15: a stranger makes one repeat and holds it, or its proven reply: a clock that was right stays right."""
    offer = 'sig=("@method");created;expires;keyid;nonce="AAAAAAAAAAAAAAAAAAAAAA";tag="sealwire"'
    way.script = [problem_response("clock-skew", 401, add=[("accept-signature", offer)])]

    def hold(passing: Passing) -> Passing:
        if len(way.sent) == 2:
            clock.now += 50
            server.clock.now += 50  # type: ignore[attr-defined]  # the double's own clock
        return passing

    setattr(way, f"on_{held}", hold)
    assert http.get("/v1/balances").extensions["sealwire"].sends == 2
    assert http.get("/v1/balances").status_code == 200
    assert f"created={int(clock.now)};" in way.sent[2].headers["signature-input"]


def test_a_second_clock_skew_is_told_and_not_followed(http: httpx2.Client, way: Way, clock: Clock) -> None:
    """C15: no loop."""
    clock.now -= 3600

    def restart(request: httpx2.Request) -> httpx2.Request:
        way.server.secret = b"start %d" % len(way.sent)
        return request

    way.on_request = restart
    with pytest.raises(ClockSkew) as caught:
        http.get("/v1/balances")
    assert len(way.sent) == 2
    assert caught.value.skew_ms == -3_600_000
    assert (caught.value.proven, caught.value.outcome) == (False, "unknown")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: changed(r, drop=("accept-signature",)),
        lambda r: changed(r, drop=("accept-signature",), add=[("accept-signature", "sig=(")]),
        lambda r: changed(r, drop=("accept-signature",), add=[("accept-signature", 'sig=();nonce;tag="sealwire"')]),
        lambda r: changed(r, drop=("accept-signature",), add=[("accept-signature", 'sig=();nonce="x";tag="sealwire"')]),
        lambda r: changed(r, drop=("accept-signature",), add=[("accept-signature", 'sig;nonce="' + "A" * 22 + '"')]),
    ],
)
def test_a_server_nonce_that_was_stripped_is_not_made_up_for(
    http: httpx2.Client, way: Way, clock: Clock, change: object
) -> None:
    """C19: the client does not go on without one, with another, or with less."""
    clock.now -= 3600
    way.on_reply = change  # type: ignore[assignment]
    with pytest.raises(ClockSkew):
        http.get("/v1/balances")
    assert len(way.sent) == 1


def test_nothing_in_accept_signature_makes_it_cover_less(http: httpx2.Client, way: Way, clock: Clock) -> None:
    """C19: of Accept-Signature the nonce is taken and nothing else."""
    clock.now -= 3600

    def less(response: httpx2.Response) -> httpx2.Response:
        if "accept-signature" not in response.headers:
            return response
        offer = "sig=()" + response.headers["accept-signature"].partition(")")[2]
        return changed(response, drop=("accept-signature",), add=[("accept-signature", offer)])

    way.on_reply = less
    assert http.post("/v1/orders", content=b"x").status_code == 201
    first, second = (request.headers["signature-input"].partition(")")[0] for request in way.sent)
    assert first == second


def test_a_route_that_wants_a_fresh_nonce_gets_one(http: httpx2.Client, way: Way, server: Server) -> None:
    server.fresh = True
    assert http.post("/v1/orders", content=b"x").extensions["sealwire"].sends == 2


def test_a_cut_connection_is_tried_once_more_with_one_effect(http: httpx2.Client, way: Way, server: Server) -> None:
    """C17, C25: the answer was lost after the server had acted: the same answer, one effect, a new nonce."""
    way.script = ["cut"]
    response = http.post("/v1/orders", content=b"x")
    assert response.json() == {"client": "cli_ALICE", "number": 1}
    assert len(server.effects) == 1
    assert len(set(nonces(way))) == 2
    assert len(keys(way)) == 1


def test_a_lost_request_is_tried_once_more(http: httpx2.Client, way: Way, server: Server) -> None:
    """C25: nothing arrived the first time."""
    way.script = ["lost"]
    assert http.get("/v1/balances").status_code == 200
    assert len(server.seen) == 1


@pytest.mark.parametrize("what", ["cut", "lost"])
def test_after_the_second_cut_the_outcome_is_unknown(http: httpx2.Client, way: Way, server: Server, what: str) -> None:
    """C25: twice and no more, and the words say what to do."""
    way.script = [what, what, what]
    with pytest.raises(OutcomeUnknown) as caught:
        http.post("/v1/orders", content=b"x")
    assert len(way.sent) == 2
    assert caught.value.outcome == "unknown"
    assert str(caught.value.idempotency_key) in str(caught.value)
    assert isinstance(caught.value.__cause__, httpx2.TransportError)
    way.script = []
    again = http.post("/v1/orders", content=b"x", headers={"Idempotency-Key": caught.value.idempotency_key or ""})
    assert again.json()["number"] == len(server.effects) == 1


def test_no_connection_is_the_librarys_own_error(http: httpx2.Client, way: Way) -> None:
    """Nothing left, so nothing is unknown, and it is not for the client to try again."""
    way.script = [httpx2.ConnectError("refused")]
    with pytest.raises(httpx2.ConnectError):
        http.post("/v1/orders", content=b"x")
    assert len(way.sent) == 1
    way.script = ["cut", httpx2.ConnectError("refused")]
    with pytest.raises(OutcomeUnknown):
        http.post("/v1/orders", content=b"x")


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_unsigned_503_is_tried_once_more(http: httpx2.Client, way: Way, status: int) -> None:
    """C25: a proxy's word that there is no server proves nothing."""
    way.script = [httpx2.Response(status, text="Bad Gateway")]
    assert http.post("/v1/orders", content=b"x").status_code == 201
    assert len(keys(way)) == 1
    way.script = [httpx2.Response(status, text="Bad Gateway")] * 2
    with pytest.raises(ReplyUnproven):
        http.post("/v1/orders", content=b"x")
    assert len(way.sent) == 4


def test_a_message_that_was_sent_before_is_signed_anew(http: httpx2.Client, way: Way, server: Server) -> None:
    """C17: a proxy delivered it twice and kept the first answer: the repeat gets it, with one effect."""

    def twice(request: httpx2.Request) -> httpx2.Request:
        if len(way.sent) == 1:
            server.handle(request)
        return request

    way.on_request = twice
    assert http.post("/v1/orders", content=b"x").json()["number"] == 1
    assert (len(server.effects), len(way.sent)) == (1, 2)
    way.script = [problem_response("replay-detected", 401)] * 2
    with pytest.raises(ReplayDetected):
        http.post("/v1/orders", content=b"x")


def test_three_sends_only_across_a_restart(http: httpx2.Client, way: Way, clock: Clock, server: Server) -> None:
    """C8, C25: cut, then clock-skew, then the server's nonce; a second cut ends it."""
    server.fresh = True
    way.script = ["lost"]
    assert http.post("/v1/orders", content=b"x").extensions["sealwire"].sends == 3
    way.sent.clear()
    way.script = ["lost", "pass", "cut"]
    with pytest.raises(OutcomeUnknown):
        http.post("/v1/orders", content=b"x")
    way.sent.clear()
    way.script = ["pass", "cut"]
    with pytest.raises(OutcomeUnknown):
        http.post("/v1/orders", content=b"x")
    assert len(way.sent) == 2


@pytest.mark.parametrize(
    "slug", ["signature-missing", "key-unknown", "not-found", "rate-limited", "request-invalid", "internal"]
)
def test_an_unsigned_refusal_is_shown_and_proves_nothing(http: httpx2.Client, way: Way, slug: str) -> None:
    """C25, F23: it is told, marked, and changes nothing that is sent afterwards."""
    way.script = [problem_response(slug, 400, add=[("retry-after", "7")], outcome="not done")]
    with pytest.raises(BY_SLUG[slug]) as caught:
        http.post("/v1/orders", content=b"x")
    error = caught.value
    assert isinstance(error, Refused)
    assert (error.slug, error.proven, error.outcome, error.request_id) == (slug, False, "unknown", "req_ANY")
    assert (error.retry_after, error.detail) == (7, "someone says so")
    assert "not signed" in str(error)
    assert len(way.sent) == 1
    assert http.post("/v1/orders", content=b"x").status_code == 201
    assert (
        way.sent[0].headers["signature-input"].partition(")")[0]
        == way.sent[1].headers["signature-input"].partition(")")[0]
    )


def test_a_refusal_of_the_future_is_a_refusal(http: httpx2.Client, way: Way) -> None:
    way.script = [problem_response("teapot-empty", 418, detail="\x1b[2J" + "x" * 5000)]
    with pytest.raises(Refused) as caught:
        http.get("/v1/balances")
    assert (type(caught.value), caught.value.slug, len(caught.value.detail)) == (Refused, "teapot-empty", 300)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"code": 7}', b'{"code": "<script>"}', b"[" * 100_000])
def test_a_problem_that_is_none_is_an_unproven_reply(http: httpx2.Client, way: Way, body: bytes) -> None:
    headers = {"content-type": "application/problem+json"}
    way.script = [httpx2.Response(400, headers=headers, stream=httpx2.ByteStream(body))]
    with pytest.raises(ReplyUnproven):
        http.get("/v1/balances")


def test_a_changed_signed_refusal_is_not_taken_for_an_unsigned_one(
    http: httpx2.Client, way: Way, server: Server
) -> None:
    server.app = lambda request, body: server.problem("scope-insufficient", "missing")
    way.on_reply = lambda r: changed(r, body=json.dumps({"code": "clock-skew"}).encode())
    with pytest.raises(ReplyUnproven):
        http.get("/v1/balances")


def test_a_refusal_of_the_repeat_does_not_say_that_the_first_was_not_done(
    http: httpx2.Client, way: Way, server: Server
) -> None:
    """C25: the first send may have been carried out before the client lost its scope."""
    server.app = lambda request, body: server.problem("scope-insufficient", "missing")
    way.script = ["lost"]
    assert http.post("/v1/orders", content=b"x").extensions["sealwire"].outcome == "unknown"


def test_a_limit_says_when_to_come_back(http: httpx2.Client, way: Way) -> None:
    way.script = [problem_response("rate-limited", 429, add=[("retry-after", "soon")])]
    with pytest.raises(RateLimited) as caught:
        http.get("/v1/balances")
    assert caught.value.retry_after is None


def test_entropy_makes_every_nonce_new(credential: Credential, way: Way, clock: Clock) -> None:
    """C4: at least 128 random bits each, from the operating system by default."""
    with httpx2.Client(transport=Transport(credential, inner=way, clock=clock)) as http:
        for _ in range(20):
            http.get(f"{credential.origin}/v1/x")
    assert len(set(nonces(way))) == 20
    assert {len(nonce) for nonce in nonces(way)} == {32}
