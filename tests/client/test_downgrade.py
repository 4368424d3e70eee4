"""Whoever is on the way would have a call sealed to themselves, with less, or not at all: nothing of it is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import httpx2
import pytest

from sealwire.client import NotSignable, Refused, ReplyUnproven, Transport
from sealwire.client.rulebook import HELD_SECONDS
from sealwire.protocol import profile
from sealwire.protocol.handshake import KeyPair
from sealwire.protocol.message import Reply, Request
from sealwire.protocol.reply import attach, reply_base
from sealwire.protocol.signature import sign_hmac
from tests.client.callers import EVERY_KIND, Caller, sealed_under
from tests.client.conftest import enrolled
from tests.client.sealing_double import SESSIONS, SealingServer, no
from tests.client.server_double import RULES, Clock, Way, changed, problem_response, rule
from tests.client.test_keyset import turn_over

MARKER = b"MARKER"
Fake = Callable[[httpx2.Request, SealingServer], httpx2.Response]


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


def of_the_call(caller: Caller) -> list[httpx2.Request]:
    """What was sent beside the server's own endpoints."""
    return [request for request in caller.way.sent if not request.url.path.startswith("/.well-known/")]


def keep(way: Way) -> list[httpx2.Response]:
    """All replies that pass from now on."""
    kept: list[httpx2.Response] = []

    def copied(reply: httpx2.Response) -> httpx2.Response:
        kept.append(changed(reply))
        return changed(kept[-1])

    way.on_reply = copied
    return kept


# --- the handshake ---------------------------------------------------------------------------------------------------


class Middleman(SealingServer):
    """Has the client's public key as everybody may, and answers its handshake with a session that is its own."""

    by_session = False

    def sign(self, reply: Reply, request: Request, claims: Sequence[profile.Claim]) -> Reply:
        if not self.by_session:
            return super().sign(reply, request, claims)
        hardened = reply._replace(headers=(*reply.headers, (b"cache-control", b"no-store, no-transform")))
        name = next(reversed(self.sessions))
        base = reply_base(hardened, request, claims, int(self.clock()), name)
        return attach(hardened, base, sign_hmac(self.sessions[name][1].s2c_mac, base.base))


def under_its_own_mac(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """F24."""
    middle = Middleman(clock=server.clock, clients=server.clients)
    middle.by_session = True
    return middle.handle(request)


def under_its_own_key(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G5."""
    return Middleman(clock=server.clock, clients=server.clients).handle(request)


def under_the_servers_name(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G5: its own key, in the name of the server's."""
    middle = Middleman(clock=server.clock, clients=server.clients)
    middle.signer = middle.signer._replace(keyid=server.signer.keyid)
    return middle.handle(request)


def as_to_another(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G5: the server's own answer to a handshake of the middleman's, who is a client too."""
    way = Way(server)
    kept = keep(way)
    transport = Transport(enrolled(server), inner=way, clock=server.clock)
    with httpx2.Client(transport=transport, base_url=server.origin) as http:
        http.post(SESSIONS, json={"kem": "X25519", "public_key": KeyPair("X25519").public_key})
    return kept[0]


def reflected(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G6: the client's own message, with its own signature."""
    kept = [(name, value) for name, value in request.headers.raw if name.lower() not in (b"host", b"content-length")]
    return httpx2.Response(201, headers=kept, stream=httpx2.ByteStream(request.content))


def reflected_as_a_reply(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G6: the same, its tag changed to that of replies."""
    reply = reflected(request, server)
    tag = reply.headers["signature-input"].replace('tag="sealwire"', 'tag="sealwire-response"')
    return changed(reply, drop=("signature-input",), add=[("signature-input", tag)])


def with_another_key(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G5: the client's public key exchanged on its way to the server."""
    body = json.dumps({"kem": "X25519", "public_key": KeyPair("X25519").public_key}).encode()
    headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    return server.handle(httpx2.Request("POST", request.url, headers=headers, stream=httpx2.ByteStream(body)))


def with_a_weaker_kem(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G7: the server's answer, its kem rewritten."""
    reply = server.handle(request)
    return changed(reply, body=reply.read().replace(b"MLKEM768-X25519", b"X25519"))


def of_an_older_protocol(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G7: unsigned: no handshake here, and the kem is not supported."""
    return problem_response("request-invalid", 422, errors=[{"pointer": "/kem", "detail": "The kem is one of P-256."}])


def none_at_all(request: httpx2.Request, server: SealingServer) -> httpx2.Response:
    """G7."""
    return httpx2.Response(404, stream=httpx2.ByteStream(b"Not Found"))


@EVERY_KIND
@pytest.mark.parametrize("path", ["/v1/orders", "/v1/quotes"])
@pytest.mark.parametrize(
    "fake",
    [
        under_its_own_mac,
        under_its_own_key,
        under_the_servers_name,
        as_to_another,
        reflected,
        reflected_as_a_reply,
        with_another_key,
        with_a_weaker_kem,
        of_an_older_protocol,
        none_at_all,
    ],
)
def test_a_session_with_the_middleman(caller: Caller, server: SealingServer, path: str, fake: Fake) -> None:
    """F24, G5, G6, G7: there is none, nothing of the call is sent, and it is known that it was not done."""
    caller.way.on_reply = lambda reply: (
        fake(caller.way.sent[-1], server) if caller.way.sent[-1].url.path == SESSIONS else reply
    )
    with pytest.raises((ReplyUnproven, Refused)) as caught:
        caller.post(path, MARKER, headers={"idempotency-key": "mine"})
    assert isinstance(caught.value, ReplyUnproven | Refused)
    assert (caught.value.outcome, caught.value.idempotency_key) == ("not done", "mine")
    assert of_the_call(caller) == []
    assert {json.loads(request.content)["kem"] for request in caller.sent_to(SESSIONS)} == {"MLKEM768-X25519"}
    caller.way.on_reply = None
    assert caller.post(path, MARKER).status_code == 201
    assert (len(sealed_under(caller.way.sent)), server.inside) == (1, [MARKER])


# --- the rules -------------------------------------------------------------------------------------------------------


@EVERY_KIND
@pytest.mark.parametrize(
    "older",
    [
        [rule("/**", "signed")],
        [rule("/**", "open")],
        [rule("/v1/orders", "sealed", kems=["P-256"]), rule("/**", "signed")],
        [rule("/v1/orders", "sealed", session_mac=True, clear_query=["seed"])],
    ],
)
def test_older_rules_are_played_again(caller: Caller, server: SealingServer, older: list[dict[str, object]]) -> None:
    """F23, G7: the server did sign them, before the route was sealed, or sealed as it is."""
    newer, server.rules = server.rules, older
    kept = keep(caller.way)
    caller.get("/v1/orders/7/notes")
    server.rules, caller.way.on_reply = newer, None
    caller.pass_time(HELD_SECONDS)
    assert caller.post("/v1/orders", MARKER).status_code == 201
    caller.pass_time(HELD_SECONDS)
    caller.way.on_reply = lambda reply: changed(kept[0]) if caller.way.sent[-1].url.path == RULES else reply
    before = len(of_the_call(caller))
    with pytest.raises(ReplyUnproven, match="another nonce") as caught:
        caller.post("/v1/orders", MARKER)
    assert caught.value.outcome == "not done"
    assert len(of_the_call(caller)) == before
    assert not any(MARKER in request.content for request in caller.way.sent)


def without_sealed(body: bytes) -> bytes:
    return body.replace(b'"sealed"', b'"signed"')


def without_kems(body: bytes) -> bytes:
    return body.replace(b'"MLKEM768-X25519", "X25519", ', b"")


def without_orders(body: bytes) -> bytes:
    return body.replace(b"/v1/orders", b"/v1/ordres")


@EVERY_KIND
@pytest.mark.parametrize("stripped", [without_sealed, without_kems, without_orders])
@pytest.mark.parametrize(
    ("drop", "why"), [((), "its body was changed"), (("signature", "signature-input"), "no signature")]
)
def test_rules_that_are_stripped(
    caller: Caller, server: SealingServer, stripped: Callable[[bytes], bytes], drop: tuple[str, ...], why: str
) -> None:
    """F23, G7."""
    caller.way.on_reply = lambda reply: changed(reply, body=stripped(reply.read()), drop=drop)
    with pytest.raises(ReplyUnproven, match=why) as caught:
        caller.post("/v1/orders", MARKER)
    assert caught.value.outcome == "not done"
    assert caller.paths() == ["GET rules"]


@EVERY_KIND
def test_a_route_that_offers_nothing_of_the_own_list(caller: Caller, server: SealingServer) -> None:
    """F23: though the server itself says so: RSA is not on the list of this client by default."""
    server.rules = [rule("/v1/orders", "sealed", kems=["RSA-OAEP-256", "ROT13"]), rule("/**", "signed")]
    with pytest.raises(NotSignable, match="this client has none"):
        caller.post("/v1/orders", MARKER)
    assert caller.paths() == ["GET rules"]


@EVERY_KIND
def test_rules_under_a_key_of_an_older_key_set(caller: Caller, server: SealingServer) -> None:
    """F9: signed by a known key, of an older version than was seen: the key that signs the rules is not believed."""
    server.rules = [rule("/**", "signed")]
    turn_over(server)
    server.version = 0
    with pytest.raises(ReplyUnproven, match="version 0") as caught:
        caller.post("/v1/orders", MARKER)
    assert caught.value.outcome == "not done"
    assert of_the_call(caller) == []


@EVERY_KIND
@pytest.mark.parametrize("slug", ["encryption-required", "encryption-unexpected", "query-in-clear"])
def test_the_server_wants_it_otherwise(caller: Caller, server: SealingServer, slug: str) -> None:
    """F23: signed and in clear: told as it is; the next call asks for the rules again, and goes by them alone."""
    server.refusals = [no(server, slug)]
    reply = caller.post("/v1/orders", MARKER)
    assert (reply.json()["code"], reply.extensions["sealwire"].outcome) == (slug, "not done")
    assert caller.post("/v1/orders", MARKER).status_code == 201
    assert caller.paths() == ["GET rules", "POST sessions", "POST orders", "GET rules", "POST orders"]
    assert len(sealed_under(caller.way.sent)) == 2
