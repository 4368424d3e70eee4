"""What a peer can do with a connection to the real server: drip, pour, promise, and hide fields in trailers"""

import contextlib
import os
import ssl
import tracemalloc
from collections.abc import Iterator

import pytest

from sealwire.call import Rule
from tests.stories.served import CONTINUE, Served, hear, raw, served
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.world import START, Wire

pytestmark = pytest.mark.xdist_group("server")
RULES = (
    Rule("/v1/time", frozenset(("GET",)), "open"),
    Rule("/v1/login", frozenset(("POST",)), "open", max_body_bytes=1000),
    Rule("/v1/orders", frozenset(("POST",)), "signed", scopes=frozenset(("trade",))),
    Rule("/v1/**", frozenset(("GET", "POST")), "signed"),
)
MIB = 1024 * 1024
POURED = 185 * MIB


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """These rules, served."""
    with served(tmp_path_factory.mktemp("wire"), RULES) as server:
        yield server


@pytest.fixture
def server(running: Served) -> Served:
    """The server, its clock at the start and its app not entered."""
    running.world.clock.at = START
    running.world.entered.clear()
    running.world.bodies.clear()
    return running


def asked(peer: ssl.SSLSocket) -> None:
    """The server has judged the head and asks for the body."""
    received = b""
    while len(received) < len(CONTINUE):
        received += peer.recv(1024)
    assert received == CONTINUE


def order(server: Served, method: str = "POST", body: bytes = BODY) -> Wire:
    """A signed call with a body; a GET is not claimed durably, so there the fast claim is alone."""
    path = b"/v1/orders" if method == "POST" else b"/v1/x"
    return Wire(method, path, body).sign(server.world.signer, created=int(server.world.clock.at))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("until", "accepted"), [(90, 0), (70, 0), (69, 1)])
def test_bodies_that_drip(server: Served, method: str, until: int, accepted: int) -> None:
    """
    C21: a captured call is opened five times when 55 s old, and the bodies drip until it is 90 s old: none is accepted.
    Until it is 69 s old one is, as one clock may be 10 s behind the other.

    Stopped by: nonce
    """
    clock = server.world.clock
    head, _, body = raw(order(server, method), b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    clock.at = START + 55
    peers = [server.connect() for _ in range(5)]
    for peer in peers:
        peer.sendall(head + b"\r\n\r\n")
        asked(peer)
    for at, drop in enumerate(body):
        clock.at = START + 55 + (until - 55) * (at + 1) / len(body)
        for peer in peers:
            peer.sendall(bytes((drop,)))
    answers = [hear(peer).said() for peer in peers]
    for peer in peers:
        peer.close()
    refusals = {"401 clock-skew"} if not accepted else {"401 replay-detected"}
    assert answers.count("200") == accepted
    assert set(answers) - {"200"} == refusals
    assert len(server.world.entered) == accepted


def test_a_body_is_asked_for_only_when_the_head_held(server: Served) -> None:
    """
    D14, L6: `Expect: 100-continue`: the body is asked for behind a good signature, and not before a refusal.

    Stopped by: verify
    """
    expect = b"Expect: 100-continue\r\n"
    with server.connect() as peer:
        head, _, body = raw(order(server), expect).partition(b"\r\n\r\n")
        peer.sendall(head + b"\r\n\r\n")
        asked(peer)
        assert server.world.entered == []
        peer.sendall(body)
        assert hear(peer).said() == "200"
    bad = order(server).change(b"content-type", b"application/json; charset=utf-8")
    with server.connect() as peer:
        peer.sendall(raw(bad, expect).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        assert peer.recv(12) == b"HTTP/1.1 401"
    assert len(server.world.entered) == 1


def chunked(request: Wire, *chunks: bytes, trailers: bytes = b"") -> bytes:
    """The request with its body in chunks, and with trailers."""
    parts = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    request.body = b""
    return raw(request) + parts + b"0\r\n" + trailers + b"\r\n"


def chunked_order(server: Served) -> Wire:
    """A signed order whose body comes in chunks."""
    request = Wire("POST", b"/v1/orders", BODY).without(b"content-length")
    request.headers.append((b"transfer-encoding", b"chunked"))
    request.headers.append((b"idempotency-key", os.urandom(8).hex().encode()))
    return request.sign(server.world.signer)


def test_what_is_sent_is_what_was_declared(server: Served) -> None:
    """
    D14: chunks with trailers are read; a body longer or shorter than signed, and one that breaks off, enter nothing.

    Stopped by: body
    """
    whole = chunked(chunked_order(server), BODY[:5], BODY[5:], trailers=b"X-A: 1\r\n")
    assert server.say(whole).said() == "200"
    assert server.world.bodies == [BODY]
    for chunks in ((BODY, b" "), (BODY[:-1],), ()):
        assert server.say(chunked(chunked_order(server), *chunks)).said() == "401 digest-mismatch"
    with server.connect() as peer:
        peer.sendall(raw(order(server))[:-1])
    # What stands behind a body of the declared length is the next message, and these are none.
    shorter = order(server).change(b"content-length", b"%d" % (len(BODY) - 1))
    assert server.say(raw(shorter)).said() == "400 bare"
    assert server.world.bodies == [BODY]
    assert server.say(raw(order(server)) + b"}").said() == "400 bare"
    assert set(server.world.bodies) == {BODY}


@pytest.mark.parametrize("name", [b"content-digest", b"content-type", b"idempotency-key"])
def test_a_covered_field_moved_into_a_trailer(server: Served, name: bytes) -> None:
    """
    D21: a field that the signature covers is taken out of the head and sent behind the body.

    Stopped by: arrive
    """
    request = chunked_order(server)
    field = name + b": " + request.header(name) + b"\r\n"
    assert server.say(chunked(request.without(name), BODY, trailers=field)).said() == "401 components-insufficient"


def test_a_trailer_speaks_for_nobody(server: Served) -> None:
    """
    D21: `Client-Cert`, a second Host, an approval as trailers: the call is what it was without them.

    Stopped by: arrive
    """
    trailers = b"Client-Cert: :AAAA:\r\nHost: other.example\r\nSealwire-Approval: apr_1\r\nUser-Agent: x\r\n"
    assert server.say(chunked(chunked_order(server), BODY, trailers=trailers)).said() == "200"
    names = {name for name, _ in server.world.entered[0]["headers"]}
    assert names == {b"host", b"content-type", b"content-digest", b"idempotency-key", b"content-length"}


def poured(peer: ssl.SSLSocket, unit: bytes) -> int:
    """How many bytes the peer got rid of, of POURED, before the server had hung up."""
    sent = 0
    try:
        while sent < POURED:
            peer.sendall(unit)
            sent += len(unit)
    except OSError:
        return sent
    return sent


POST = b"POST /v1/%s HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\n"
CHUNKED = POST % b"login" + b"Transfer-Encoding: chunked\r\n\r\n"
FIELDS = b"X-Abcdef: 123456789\r\n" * 3000
V = b"v" * 65536
START_OF = {
    "one field without an end": (b"GET /v1/time HTTP/1.1\r\nHost: api.example\r\nX-A: ", V),
    "fields without an end": (b"GET /v1/time HTTP/1.1\r\nHost: api.example\r\n", FIELDS),
    "a target without an end": (b"GET /v1/time?", V),
    "a method without an end": (b"", b"G" * 65536),
    "a body behind 413": (POST % b"login" + b"Content-Length: %d\r\n\r\n" % POURED, V),
    "a body behind 401": (POST % b"orders" + b"Content-Length: 1000000\r\n\r\n", V),
    "chunks behind 413": (CHUNKED, b"10000\r\n" + V + b"\r\n"),
    "chunks of next to nothing": (CHUNKED, b"1;" + b"x" * 60_000 + b"\r\nv\r\n"),
    "a chunk extension without an end": (CHUNKED + b"2;x=", V),
    "trailers without an end": (CHUNKED + b"2\r\n{}\r\n0\r\n", FIELDS),
    "one trailer without an end": (CHUNKED + b"2\r\n{}\r\n0\r\nX-A: ", V),
}


@pytest.mark.parametrize("name", START_OF)
def test_who_pours_is_cut_off(server: Served, name: str) -> None:
    """
    D22, L5: 185 MiB of head, or of body behind an early 413 or 401: cut, with a few MiB sent and less than that held.

    Stopped by: arrive
    """
    start, unit = START_OF[name]
    with server.connect() as peer:
        tracemalloc.start()
        try:
            peer.sendall(start)
            sent = poured(peer, unit)
            held = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sent < 16 * MIB
    assert held < 8 * MIB
    assert server.world.entered == []


def test_many_fields_and_a_large_one(server: Served) -> None:
    """
    D22: 10,000 fields, one field of 1 MiB, one just over its limit: 400, and the app is not entered.

    Stopped by: arrive
    """
    assert server.say(raw(Wire("GET", b"/v1/time"), b"a: b\r\n" * 10_000)).said() == "400 bare"
    with server.connect() as peer:
        with contextlib.suppress(OSError):  # it may be cut off before it has sent all of it
            peer.sendall(raw(Wire("GET", b"/v1/time"), b"X-A: " + b"v" * MIB + b"\r\n"))
        assert hear(peer).said() in ("400 bare", "0")
    over = b"X-A: " + b"v" * (12 * 1024) + b"\r\n"
    assert server.say(raw(Wire("GET", b"/v1/time"), over)).said() == "400 header-malformed"
    assert server.world.entered == []


def test_an_early_refusal_closes(server: Served) -> None:
    """
    D22: a second call behind the body that was refused unread is not heard.

    Stopped by: guard
    """
    refused = Wire("POST", b"/v1/orders", BODY)
    with server.connect() as peer:
        peer.sendall(raw(refused) + raw(Wire("GET", b"/v1/time")))
        answer = hear(peer, to_the_end=True)
    assert (answer.said(), answer.rest) == ("401 signature-missing", b"")
    assert b"\r\nconnection: close" in answer.head
    assert server.world.entered == []
