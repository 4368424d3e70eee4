"""A session at its client: what its answer must fit, when it is left for another, what is never shown of it."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable

import httpx2
import pytest

from sealwire.client import Credential, KeyUnknown, ReplyUnproven, Transport
from sealwire.client.sealing import Ends
from sealwire.client.session import LONGEST_SECONDS, MOST_REQUESTS, SPARE_SECONDS, Session, Sessions, is_session
from sealwire.client.signing import by_session
from sealwire.client.turns import Turns
from sealwire.protocol.handshake import KEMS, KeyPair, Keys
from sealwire.protocol.message import Reply
from tests.client.conftest import enrolled
from tests.client.sealing_double import JSON, SESSIONS, Document, SealingServer
from tests.client.server_double import NOW, Clock, Way, problem_response

SECRET = bytes(range(32))
NAME = "ses_" + "A" * 26


def session(expires_at: int = 1000, most: int = 3, kem: str = "X25519") -> Session:
    return Session(NAME, kem, Keys(SECRET, b"context"), expires_at, most)


# --- the value -------------------------------------------------------------------------------------------------------


def test_it_carries_so_many_messages() -> None:
    """F11, F12."""
    one = session(most=2)
    assert [one.take(0), one.take(0), one.take(0)] == [True, True, False]


def test_it_is_left_before_it_ends() -> None:
    """F12: a call near the end would not arrive in time."""
    one = session(1000)
    assert one.take(1000 - SPARE_SECONDS - 0.1)
    assert not one.take(1000 - SPARE_SECONDS)


def test_it_is_limited_and_never_lengthened() -> None:
    one = session(1000, 5)
    one.limit(2000, 7)
    assert (one.expires_at, one.max_requests) == (1000, 5)
    one.limit(900, 3)
    assert (one.expires_at, one.max_requests) == (900, 3)


def test_one_is_held_for_those_whose_rule_has_its_kem() -> None:
    """F23: a rule without the kem of the session that is held gets a session of its own."""
    held, first = Sessions(), session()
    assert held.take(0, KEMS) is None
    held.hold(first)
    assert held.take(0, ("X25519",)) is first
    assert held.take(0, ("P-256",)) is None
    assert held.take(0, KEMS) is first
    assert held.take(995, KEMS) is None
    assert held.leave() is None


def test_only_the_one_that_is_over_is_dropped() -> None:
    """P3: a thread that finds an old session over does not throw away the new one of another thread."""
    held, first, second = Sessions(), session(), session()
    held.hold(first)
    held.hold(second)
    held.drop(first)
    assert held.take(0, KEMS) is second
    held.drop(second)
    assert held.take(0, KEMS) is None
    held.hold(second)
    assert held.leave() is second
    assert held.leave() is None


@pytest.mark.parametrize(
    ("name", "is_one"),
    [(NAME, True), ("ses_" + "a" * 19, False), (NAME + "\n", False), ("a" * 43, False), ("ses_" + "_" * 26, False)],
)
def test_which_names_are_a_sessions(name: str, is_one: bool) -> None:
    assert is_session(name) is is_one


# --- what is never shown ---------------------------------------------------------------------------------------------


def secrets() -> list[bytes]:
    keys = Keys(SECRET, b"context")
    return [SECRET, keys.c2s_mac, keys.s2c_mac, keys.commitment]


def held_everywhere() -> list[object]:
    held, one = Sessions(), session()
    held.hold(one)
    signatures = by_session(NAME, one.keys.c2s_mac)
    ends = Ends(object(), signatures, object(), held, KEMS, float, bytes)  # type: ignore[arg-type]
    return [one, one.keys, held, KeyPair("X25519"), KeyPair("RSA-OAEP-256"), signatures, ends, Turns()]


_CONTENT = b"MARKER"


@pytest.mark.parametrize("number", range(8))
def test_no_repr_shows_a_key(number: int) -> None:
    """P4."""
    thing = held_everywhere()[number]
    for text in (repr(thing), str(thing), f"{[thing]}"):
        assert not any(repr(secret)[2:-1] in text or secret.hex() in text for secret in secrets())
        assert "b'" not in text


@pytest.mark.parametrize("copied", [copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("number", range(5))
def test_no_copy_holds_a_key(number: int, copied: Callable[[object], object]) -> None:
    """P4: keys do not travel to another process or a file, and each is held once."""
    with pytest.raises(TypeError):
        copied(held_everywhere()[number])


def test_a_session_has_no_twin() -> None:
    """F11: one that counts on its own would carry as many messages again."""
    with pytest.raises(TypeError, match="not pickled or copied"):
        copy.copy(session())


# --- opening one -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


@pytest.fixture
def http(credential: Credential, way: Way, clock: Clock) -> httpx2.Client:
    return httpx2.Client(transport=Transport(credential, inner=way, clock=clock), base_url=credential.origin)


def held_by(http: httpx2.Client) -> Session | None:
    found = http._transport._process.sessions._held  # type: ignore[attr-defined]
    assert found is None or isinstance(found, Session)
    return found


@pytest.mark.parametrize("kem", KEMS)
def test_one_is_opened_with_each_kem(server: SealingServer, way: Way, clock: Clock, kem: str) -> None:
    transport = Transport(enrolled(server), inner=way, clock=clock, kems=(kem,))
    with httpx2.Client(transport=transport, base_url=server.origin) as http:
        assert http.post("/v1/orders", content=b"x").status_code == 201
        held = held_by(http)
        assert held is not None
        assert held.kem == kem
    assert server.inside == [b"x"]
    assert server.sessions == {}


def test_one_is_opened_with_a_clock_that_was_wrong(http: httpx2.Client, server: SealingServer, clock: Clock) -> None:
    """C15: the session is bound to the nonce of the request that was answered, which is the second."""
    clock.now -= 3600
    assert http.post("/v1/orders", content=b"x").status_code == 201
    assert (server.opened, server.inside) == (1, [b"x"])


def test_one_is_opened_though_the_first_answer_was_lost(http: httpx2.Client, way: Way, server: SealingServer) -> None:
    way.script = ["cut"]
    assert http.post("/v1/orders", content=b"x").status_code == 201
    assert (server.opened, server.inside) == (2, [b"x"])


def test_what_a_hostile_server_allows_is_bounded(http: httpx2.Client, server: SealingServer) -> None:
    """F11, F12: a signed answer that lets a session last and carry without end."""
    server.lifetime, server.max_requests = 1 << 40, 1 << 50
    assert http.post("/v1/orders", content=b"x").status_code == 201
    held = held_by(http)
    assert held is not None
    assert (held.expires_at, held.max_requests) == (NOW + LONGEST_SECONDS, MOST_REQUESTS)


Change = Callable[[Document], object]


def having(name: str, value: object) -> Change:
    return lambda document: {**document, name: value}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda _: b"", "JSON"),
        (lambda _: b"[]", "other members"),
        (lambda _: b'{"session": "a", "session": "b"}', "twice"),
        (lambda d: {name: d[name] for name in d if name != "commitment"}, "other members"),
        (having("note", "x"), "other members"),
        (having("session", 7), "other types"),
        (having("session", "ses_short"), "other types"),
        (having("session", "ses_" + "A" * 20 + '"'), "other types"),
        (having("sealed_key", None), "other types"),
        (having("commitment", 7), "other types"),
        (having("kem", ["X25519"]), "other types"),
        (having("expires_at", "soon"), "its end"),
        (having("expires_at", True), "its end"),
        (having("expires_at", -1), "its end"),
        (having("expires_at", 1.5), "its end"),
        (having("max_requests", 0), "its end"),
        (having("max_requests", False), "its end"),
        (having("kem", "X25519"), "another kem"),
        (having("sealed_key", "A" * 1600), "not sealed to this key pair"),
        (having("sealed_key", "???"), "base64|alphabet|canonical"),
        (having("commitment", "A" * 43), "commitment does not fit"),
        (having("commitment", ""), "commitment does not fit"),
        (having("expires_at", int(NOW) + 901), "not sealed to this key pair"),
        (having("max_requests", 7), "not sealed to this key pair"),
        (having("session", NAME), "not sealed to this key pair"),
        (lambda d: Reply(200, (JSON,), b"{}"), "status 200"),
        (lambda d: Reply(204, (), b""), "status 204"),
        (lambda d: Reply(500, (JSON,), b"{}"), "status 500"),
    ],
)
def test_an_answer_of_another_form_opens_none(
    http: httpx2.Client, way: Way, server: SealingServer, change: Change, why: str
) -> None:
    """F24, G5: though the server's own key signed it. Nothing of the call was sent, and its outcome is known."""
    server.on_open = change
    with pytest.raises(ReplyUnproven, match=why) as caught:
        http.post("/v1/orders", content=_CONTENT, headers={"Idempotency-Key": "mine"})
    assert (caught.value.outcome, caught.value.idempotency_key) == ("not done", "mine")
    assert [request.url.path for request in way.sent] == [SESSIONS]
    assert held_by(http) is None
    assert "MARKER" not in "".join(traceback.format_exception(caught.value))


def test_the_commitment_is_compared_with_rsa_too(server: SealingServer, way: Way, clock: Clock) -> None:
    """F24: RSA-OAEP has no place for the context: there the commitment alone binds it."""
    server.on_open = having("max_requests", 7)
    transport = Transport(enrolled(server), inner=way, clock=clock, kems=("RSA-OAEP-256",))
    with (
        httpx2.Client(transport=transport, base_url=server.origin) as http,
        pytest.raises(ReplyUnproven, match="commitment does not fit"),
    ):
        http.post("/v1/orders", content=b"x")
    assert server.inside == []


def test_a_refused_session_is_the_answer_to_the_call(http: httpx2.Client, server: SealingServer) -> None:
    """A proven refusal, and the call was not done, whatever the status is."""
    server.on_open = lambda _: server.problem("store-unavailable", "sessions")
    response = http.post("/v1/orders", content=b"x")
    assert (response.status_code, response.json()["code"]) == (503, "store-unavailable")
    assert response.extensions["sealwire"].outcome == "not done"
    assert server.inside == []


def test_an_unsigned_refusal_of_a_session(http: httpx2.Client, way: Way, server: SealingServer) -> None:
    way.script = [problem_response("key-unknown", 401)]
    with pytest.raises(KeyUnknown) as caught:
        http.post("/v1/quotes", content=b"x", headers={"Idempotency-Key": "mine"})
    assert (caught.value.outcome, caught.value.idempotency_key, caught.value.proven) == ("not done", "mine", False)
    assert server.opened == 0


@pytest.mark.parametrize(("script", "outcome"), [([], "not done"), (["lost"], "unknown")])
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
def test_a_sealed_refusal_says_what_became_of_the_call(
    http: httpx2.Client, way: Way, server: SealingServer, path: str, script: list[str | httpx2.Response], outcome: str
) -> None:
    """What the guard says after it opened the call is sealed, and means what it means in clear; the app's does not."""
    server.app = lambda request, body: server.problem("request-invalid", "shown")
    way.script = ["pass", *script]
    assert http.post(path, content=b"x").extensions["sealwire"].outcome == outcome
    own = b'{"code": "request-invalid", "type": "https://api.example.com/problems/request-invalid"}'
    server.app = lambda request, body: Reply(422, ((b"content-type", b"application/problem+json"),), own)
    assert http.post(path, content=b"x").extensions["sealwire"].outcome == "answered"
