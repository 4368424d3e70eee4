"""A middleman between the real client and the real guard: what is changed on the way back is never handed out."""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sealwire.client import ForeignOrigin, ReplyUnproven
from sealwire.client.errors import BY_SLUG
from sealwire.client.exchange import Incoming
from sealwire.client.proving import Asked, Unproven, prove
from sealwire.errors import Fault
from sealwire.fronts.asgi import Receive, Scope, Send
from sealwire.protocol import profile
from sealwire.protocol.digest import content_digest
from sealwire.protocol.jwk import Signer
from sealwire.protocol.message import Headers, Request, combine
from sealwire.protocol.signature import signer_of
from tests.stories.middleman import Middleman, client, like, with_field
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.test_enrolment import enrolled, fresh
from tests.stories.world import ORIGIN, Wire, World

SHOWN = {
    "location": "https://api.example/v1/orders/7",
    "link": '<https://api.example/v1/orders?page=2>; rel="next"',
    "retry-after": "3",
    "ratelimit": '"default";r=5;t=10',
    "x-balance": "0.05",
}


def answering(world: World, status: int = 200, fields: dict[str, str] | None = None) -> None:
    """Has the app answer so."""
    headers = [(name.encode(), value.encode()) for name, value in (fields or {}).items()]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        world.entered.append(scope)
        world.bodies.append((await receive())["body"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    world.app._app = app


def signed_by_another(reply: httpx2.Response) -> httpx2.Response:
    """The middleman's own signature of the right form in the server's place, under its own name or the server's."""
    return with_field(reply, "signature", "reply=:" + "A" * 86 + "==:")


def renamed(reply: httpx2.Response) -> httpx2.Response:
    """Signed by a key of the middleman's, which it names."""
    keyid = fresh().keyid
    given = reply.headers["signature-input"]
    old = given.rpartition('keyid="')[2].partition('"')[0]
    return with_field(signed_by_another(reply), "signature-input", given.replace(old, keyid))


def without_signature(reply: httpx2.Response) -> httpx2.Response:
    """As a server that does not sign would answer."""
    return with_field(with_field(reply, "signature", None), "signature-input", None)


def another_body(reply: httpx2.Response) -> httpx2.Response:
    """Another body under a digest that fits it."""
    changed = like(reply, body=b'{"ok": false}')
    return with_field(changed, "content-digest", content_digest(b'{"ok": false}').decode())


CHANGES: dict[str, Callable[[httpx2.Response], httpx2.Response]] = {
    "signature removed": without_signature,
    "signature alone removed": lambda reply: with_field(reply, "signature", None),
    "signature replaced": signed_by_another,
    "signature by another key": renamed,
    "status": lambda reply: like(reply, status=201),
    "body": lambda reply: like(reply, body=b'{"ok": false}'),
    "body cut": lambda reply: like(reply, body=reply.content[:-1]),
    "body taken away": lambda reply: like(reply, body=b""),
    "body and digest": another_body,
    "digest taken away": lambda reply: with_field(reply, "content-digest", None),
    "content-type": lambda reply: with_field(reply, "content-type", "text/html"),
    "stream claimed": lambda reply: with_field(reply, "sealwire-stream", "?1"),
    "tag": lambda reply: with_field(
        reply, "signature-input", reply.headers["signature-input"].replace("sealwire-response", "sealwire")
    ),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_reply_that_was_changed(world: World, change: str) -> None:
    """
    H1, H2: signature removed or replaced, status, body, digest, media type changed: an error, and no data.

    Stopped by: client
    """
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        assert http.get("/v1/balances").json() == {"ok": True}
        way.change = CHANGES[change]
        with pytest.raises(ReplyUnproven) as caught:
            http.get("/v1/balances")
    assert caught.value.outcome == "unknown"
    assert '"ok"' not in str(caught.value)


def test_a_refusal_turned_into_a_success(world: World) -> None:
    """
    H2: a proven 403 goes out as 200, and a 200 as 403.

    Stopped by: client
    """
    way = Middleman(world)
    credential = enrolled(world)
    held = world.directory._keys[credential.signer.keyid]
    with client(world, credential, way) as http:
        world.directory._keys[credential.signer.keyid] = held._replace(scopes=frozenset())
        assert http.post("/v1/orders", json={}).status_code == 403
        way.change = lambda reply: like(reply, status=200)
        with pytest.raises(ReplyUnproven):
            http.post("/v1/orders", json={})
        world.directory._keys[credential.signer.keyid] = held
        way.change = lambda reply: like(reply, status=403)
        with pytest.raises(ReplyUnproven):
            http.post("/v1/orders", json={})
    assert len(world.entered) == 1


def test_an_earlier_reply_to_the_same_question(world: World) -> None:
    """
    H1, H3: a reply that was kept is played to a later request, the same one, another, and another client's.

    Stopped by: client
    """
    way = Middleman(world)
    credential, other = enrolled(world), enrolled(world, "carol")
    with client(world, credential, way) as http:
        http.get("/v1/balances")
        kept = way.replies[-1]
        way.change = lambda reply: like(kept)
        for path in ("/v1/balances", "/v1/orders/7"):
            with pytest.raises(ReplyUnproven):
                http.get(path)
    with client(world, other, way) as http, pytest.raises(ReplyUnproven):
        http.get("/v1/balances")


def test_a_key_home_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    H4: the server cannot sign. The client has an error and an open outcome; the app was entered once, nothing leaks.

    Stopped by: sign
    """
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        http.get("/v1/balances")

        async def fails(_: bytes) -> bytes:
            raise Fault("custody-unavailable", "sign")

        monkeypatch.setattr(world.keyring, "sign", fails)
        with pytest.raises(BY_SLUG["custody-unavailable"]) as caught:
            http.post("/v1/orders", json={})
    assert (caught.value.outcome, caught.value.proven) == ("unknown", False)
    answered = way.replies[-2:]
    assert [reply.status_code for reply in answered] == [503, 503]
    assert all(reply.headers["cache-control"] == "no-store, no-transform" for reply in answered)
    assert all(b'"ok"' not in reply.content for reply in answered)
    assert len(world.entered) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_to_another_origin(world: World, status: int) -> None:
    """
    H5: the app's own redirect to another host, followed by the program: nothing is sent there.

    Stopped by: client
    """
    answering(world, status, {"location": "https://evil.example/v1/balances"})
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        before = len(way.sent)
        assert http.post("/v1/orders", json={}).status_code == status
        with pytest.raises(ForeignOrigin):
            http.post("/v1/orders", json={}, follow_redirects=True)
    assert [request.url.host for request in way.sent[before:]] == ["api.example"] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_within_the_origin(world: World, status: int) -> None:
    """
    H5: followed within the origin it is signed anew; the old signature is never sent to another path.

    Stopped by: client
    """
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        answering(world, status, {"location": "/v1/balances"})
        before = len(way.sent)
        with pytest.raises(httpx2.TooManyRedirects):
            http.get("/v1/orders/7", follow_redirects=True)
    nonces = way.nonces()[before:]
    assert len(set(nonces)) == len(nonces) > 1
    assert [scope["path"] for scope in world.entered[:2]] == ["/v1/orders/7", "/v1/balances"]


def test_a_redirect_that_the_middleman_makes(world: World) -> None:
    """
    H5, H7: an unsigned redirect, and a signed one that leads elsewhere, are followed by nobody.

    Stopped by: client
    """
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        answering(world, 302, {"location": "/v1/balances"})
        before = len(way.sent)
        for change in (
            lambda reply: with_field(reply, "location", "/v1/orders/7"),
            lambda reply: httpx2.Response(302, headers={"location": f"{ORIGIN}/v1/balances"}),
        ):
            way.change = change
            with pytest.raises(ReplyUnproven):
                http.get("/v1/time", follow_redirects=True)
    assert len(way.sent) == before + 2


@pytest.mark.parametrize("name", list(SHOWN))
@pytest.mark.parametrize("to", ["https://evil.example", None, ""])
def test_a_field_that_was_changed(world: World, name: str, to: str | None) -> None:
    """
    H7: Location, Link, Retry-After, RateLimit and a field of the app's own, changed, emptied, taken away or added.

    Stopped by: client
    """
    way = Middleman(world)
    with client(world, enrolled(world), way) as http:
        answering(world, 201, SHOWN)
        assert http.post("/v1/orders", json={}).headers[name] == SHOWN[name]
        way.change = lambda reply: with_field(reply, name, to)
        with pytest.raises(ReplyUnproven):
            http.post("/v1/orders", json={})
        answering(world, 201, {})
        way.change = lambda reply: with_field(reply, name, "added")
        with pytest.raises(ReplyUnproven):
            http.post("/v1/orders", json={})


@pytest.mark.parametrize(
    "name", ["set-cookie", "date", "server", "via", "vary", "alt-svc", "keep-alive", "access-control-allow-origin"]
)
def test_a_field_that_nobody_signed(world: World, name: str) -> None:
    """
    H7: a field that may stand uncovered, added on the way, is not shown, whether the app sent one or not.

    Stopped by: client
    """
    way = Middleman(world, lambda reply: with_field(reply, name, "a=b"))
    with client(world, enrolled(world), way) as http:
        for fields in ({}, {name: "honest"}):
            answering(world, 201, fields)
            reply = http.post("/v1/orders", json={})
            assert (reply.status_code, reply.headers.get(name)) == (201, None)


#: The order of the group of P-256 (FIPS 186-4, D.1.2.3).
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def number(base: bytes) -> int:
    """A message as ECDSA sees it."""
    return int.from_bytes(hashlib.sha256(base).digest(), "big")


def fitting_both(one: bytes, two: bytes) -> tuple[Signer, bytes]:
    """A key under which one signature holds for two messages: s = (e1 + r d) / k, and -s = (e2 + r d) / k."""
    k = secrets.randbelow(ORDER - 1) + 1
    r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % ORDER
    d = -(number(one) + number(two)) * pow(2 * r, -1, ORDER) % ORDER
    s = (number(one) + r * d) * pow(k, -1, ORDER) % ORDER
    return signer_of(ec.derive_private_key(d, ec.SECP256R1())), r.to_bytes(32, "big") + s.to_bytes(32, "big")


def two_requests(keyid: str, nonces: tuple[str, str]) -> tuple[list[Wire], list[bytes]]:
    """Two orders, and the bases that are to be signed, under a name that the key will be known by."""
    bases: list[bytes] = []

    def keep(base: bytes) -> bytes:
        bases.append(base)
        return b""

    anyone = fresh()
    wires = [
        Wire("POST", b"/v1/orders", body).sign(anyone, nonce=nonce, keyid=keyid, secret=keep)
        for body, nonce in zip((BODY, b'{"amount": "1000"}'), nonces, strict=True)
    ]
    return wires, bases


async def test_one_signature_that_fits_two_requests(world: World) -> None:
    """
    H8: a key made so that one signature fits two orders. Its name would have to be known before it; and where a
    directory names keys otherwise, each receipt still names its own order by its `;req` components.

    Stopped by: verify
    """
    name = secrets.token_urlsafe(32)
    (one, two), bases = two_requests(name, ("a" * 22, "b" * 22))
    signer, octets = fitting_both(*bases)
    for wire in (one, two):
        wire.change(b"signature", b"sig=:" + b64encode(octets) + b":")
    world.add_key(signer, "mallory")
    assert signer.keyid != name
    await refused(world, one, 401, "key-unknown")
    world.directory._keys[name] = world.directory._keys[signer.keyid]._replace(keyid=name)
    replies = [await world.send(wire) for wire in (one, two)]
    assert [reply.status_code for reply in replies] == [200, 200]
    assert one.header(b"signature") == two.header(b"signature")
    for mine, (wire, reply) in enumerate(zip((one, two), replies, strict=True)):
        other = replies[1 - mine]
        assert content_digest(wire.body) in proven(world, wire, reply)
        with pytest.raises(Unproven):
            proven(world, wire, other)


def proven(world: World, wire: Wire, reply: httpx2.Response) -> bytes:
    """The base of the receipt for this request."""
    headers: Headers = tuple(wire.headers)
    path = wire.target
    request = Request(wire.method, path, "api.example", path, b"", path.decode(), headers, combine(headers))
    claim = profile.claim(request, profile.TAG, profile.Plans())
    incoming = Incoming(reply.status_code, tuple(reply.headers.raw), reply.content)
    return prove(incoming, Asked(request, (claim,)), lambda keyid, at: world.keyring.verifier).base
