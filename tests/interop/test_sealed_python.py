"""A caller on joserfc, pyhpke and http-message-signatures at sealed routes, over real TLS, to `sealwire serve`."""

import ssl
from collections.abc import Iterator

import httpx2
import pytest

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from tests.interop.sealed import KEMS, Caller, Opened, sign_by_mac
from tests.interop.signed import ENDPOINTS, Key, built, enrolment, parts, server_key, verified

pytestmark = pytest.mark.xdist_group("server")
JSON, PROBLEM = "application/json", "application/problem+json"
ORDER = b'{"market": "BTC-EUR", "amount": "0.01"}'


@pytest.fixture(scope="module")
def caller(desk: DemoState) -> Iterator[Caller]:
    """Enrolled by invitation, which is all that it was given."""
    with Admin(desk.config) as admin:
        invitation = parts(admin.invite("python"))
    key = Key()
    with httpx2.Client(verify=ssl.create_default_context(cafile=str(desk.ca))) as http:
        server = server_key(http, desk.origin, invitation.pin)
        request = enrolment(desk.origin, key, invitation)
        reply = http.send(request)
        assert reply.status_code == 201, reply.text
        assert '"content-digest"' in verified(reply, request, server)
        yield Caller(http, desk.origin, key, server)


@pytest.fixture(scope="module", params=KEMS)
def session(caller: Caller, request: pytest.FixtureRequest) -> Opened:
    """A session over each kem that these libraries have."""
    return caller.open_session(request.param)


def unproven(caller: Caller, request: httpx2.Request, session: Opened) -> tuple[int, str]:
    """What is answered under no key at all to a call by the session's key."""
    sign_by_mac(request, session)
    reply = caller.http.send(request)
    assert "signature" not in reply.headers
    return reply.status_code, reply.json()["code"]


def test_a_sealed_order(caller: Caller, session: Opened) -> None:
    """The app heard the plaintext under its own media type, and only this caller can read what it answered."""
    answer = caller.send(caller.sealed(session, "/orders", ORDER), session)
    assert answer[:3] == (201, True, JSON)
    order = {"market": "BTC-EUR", "amount": "0.01"}
    assert answer.json == {"path": "/orders", "query": "", "type": JSON, "said": order}


def test_a_sealed_call_without_a_body(caller: Caller, session: Opened) -> None:
    """Its reply is sealed all the same; one without content is signed."""
    answer = caller.send(caller.empty(session, "GET", "/orders"), session)
    assert answer == (200, True, JSON, {"path": "/orders", "query": "", "type": "", "said": None})
    assert caller.send(caller.empty(session, "DELETE", "/orders"), session) == (204, False, "", None)


def test_refused_after_unsealing(caller: Caller, session: Opened) -> None:
    """By the guard for JSON with two readings, by the app for what it lacks: both come back sealed."""
    answer = caller.send(caller.sealed(session, "/orders", b'{"amount": "1", "amount": "2"}'), session)
    assert answer[:3] == (422, True, PROBLEM)
    assert answer.json["code"] == "request-invalid"
    answer = caller.send(caller.sealed(session, "/orders", b'{"market": "BTC-EUR"}'), session)
    assert answer == (422, True, JSON, {"error": "an order has an amount"})


def test_under_the_key_of_the_session(caller: Caller, session: Opened) -> None:
    """hmac-sha256 both ways where the rule allows it; elsewhere the client's own key is needed."""
    answer = caller.send_by_mac(caller.sealed(session, "/quotes?page=2", ORDER), session)
    assert answer[:3] == (201, True, JSON)
    assert (answer.json["query"], answer.json["said"]["amount"]) == ("page=2", "0.01")
    answer = caller.send_by_mac(caller.empty(session, "GET", "/quotes?page=3"), session)
    assert (answer.status, answer.sealed, answer.json["query"]) == (200, True, "page=3")
    answer = caller.send_by_mac(caller.sealed(session, "/quotes", b'{"market": "BTC-EUR"}'), session)
    assert answer == (422, True, JSON, {"error": "an order has an amount"})
    assert unproven(caller, caller.sealed(session, "/orders", ORDER), session) == (401, "algorithm-not-allowed")


def test_refused_around_unsealing(caller: Caller, session: Opened) -> None:
    """In clear until a session is known to be the caller's; from then on sealed under it: another's ciphertext too."""
    other = caller.open_session("X25519")
    mixed = caller.sealed(session, "/orders", ORDER)
    mixed.headers["sealwire-session"] = other.id
    told = [
        caller.send(built(caller.origin, "POST", "/orders", ORDER), session),
        caller.send(built(caller.origin, "GET", "/orders"), session),
        caller.send(caller.empty(session, "GET", "/quotes?price=1"), session),
        caller.send(mixed, session),
        caller.send(caller.sealed(session._replace(id=other.id), "/orders", ORDER), other),
        caller.send(caller.sealed(session, "/orders", ORDER, "text/plain"), session),
    ]
    assert [(answer.status, answer.sealed, answer.json["code"]) for answer in told] == [
        (400, False, "encryption-required"),
        (400, False, "encryption-required"),
        (400, True, "query-in-clear"),
        (400, False, "envelope-malformed"),
        (400, True, "decrypt-failed"),
        (415, True, "media-type"),
    ]


def test_spent(caller: Caller) -> None:
    """A session carries as many messages as its signed document says; the next one is told, signed and in clear."""
    session = caller.open_session("X25519")
    assert session.max_requests == 24
    carried = [caller.send(caller.empty(session, "GET", "/orders"), session)[:2] for _ in range(24)]
    assert carried == [(200, True)] * 24
    answer = caller.send(caller.empty(session, "GET", "/orders"), session)
    assert (answer.status, answer.sealed, answer.json["code"], answer.json["retryable"]) == (
        401,
        False,
        "session-expired",
        True,
    )


def test_ended(caller: Caller) -> None:
    """Afterwards the session is as if it had never been, for its envelope, its field and its key."""
    session = caller.open_session("P-256")
    assert caller.send(built(caller.origin, "DELETE", f"{ENDPOINTS}/sessions/{session.id}")).status == 204
    for request in (caller.sealed(session, "/orders", ORDER), caller.empty(session, "GET", "/orders")):
        answer = caller.send(request, session)
        assert (answer.status, answer.sealed, answer.json["code"]) == (401, False, "session-unknown")
    assert unproven(caller, caller.empty(session, "GET", "/quotes"), session) == (401, "key-unknown")
    again = caller.send(built(caller.origin, "DELETE", f"{ENDPOINTS}/sessions/{session.id}"))
    assert (again.status, again.json["code"]) == (401, "session-unknown")
