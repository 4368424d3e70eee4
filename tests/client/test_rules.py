"""Which calls are sealed: the nearest rule as at the server, and rules that are believed, kept and given up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import httpx2
import pytest

from sealwire.call import Rule
from sealwire.client import Credential, NotSignable, OutcomeUnknown, ReplyUnproven, SealwireError, Transport
from sealwire.client.library import default_extensions
from sealwire.client.origin import Origin
from sealwire.client.rulebook import HELD_SECONDS, RuleBook
from sealwire.client.rules import Rules, Sealed, choose
from sealwire.client.sending import drive, send
from sealwire.endpoints import _shown
from sealwire.errors import Refusal
from sealwire.protocol.handshake import KEMS
from sealwire.protocol.message import read_target
from sealwire.routes import Routes
from tests.client.server_double import (
    NOW,
    RULES,
    Clock,
    Server,
    Way,
    changed,
    new_signer,
    problem_response,
    rule,
)

GET_POST = frozenset(("GET", "POST"))
SERVED = (
    Rule("/v1/orders", GET_POST, "sealed"),
    Rule("/v1/orders/{id}", GET_POST, "sealed", slash_ok="id"),
    Rule("/v1/orders/{id}/notes", GET_POST, "signed"),
    Rule("/v1/Loud", frozenset(("GET",)), "sealed"),
    Rule("/v1/files/", frozenset(("GET",)), "sealed", exact=True),
    Rule("/v1/files/{name}", frozenset(("GET",)), "signed"),
    Rule("/v1/open", frozenset(("GET",)), "open"),
    Rule("/v1/public/**", GET_POST, "signed"),
    Rule("/v2/**", GET_POST, "sealed", session_mac=True, clear_query=frozenset(("page",))),
)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        b"/v1/orders",
        b"/v1/orders?x=1",
        b"/v1/orders/7",
        b"/v1/orders/a%2Fb",
        b"/v1/orders/7/notes",
        b"/v1/orders/",
        b"/v1/Orders",
        b"/v1/orders;x",
        b"/v1/Loud",
        b"/v1/loud",
        b"/v1/files/",
        b"/v1/files/a",
        b"/v1/open",
        b"/v1/public/a/b",
        b"/v1/public/a%2Fb",
        b"/v2/anything/at/all?page=1",
        b"/v3",
        b"/",
        b"/v1//orders",
        b"/v1/../v1/orders",
        b"/.well-known/sealwire-sealed",
    ],
)
def test_the_nearest_rule_decides_as_at_the_server(method: str, target: bytes) -> None:
    """F23: whatever the server would seal is sealed, and what it would refuse is not sent in clear."""
    held = Rules({"rules": [_shown(rule, "") for rule in SERVED]}, NOW)
    try:
        theirs: Rule | None = Routes(SERVED).match(method, read_target(target))
    except Refusal:
        with pytest.raises(NotSignable, match="no rule of the server decides"):
            held.decide(method, target)
        return
    ours = held.decide(method, target)
    assert theirs is not None
    assert (ours is not None) == (theirs.profile == "sealed")
    if ours is not None:
        assert ours == Sealed(KEMS, theirs.session_mac, theirs.clear_query)


@pytest.mark.parametrize("target", [b"/.well-known/sealwire", b"/.well-known/sealwire/sessions/ses_x?a=b"])
def test_the_servers_own_endpoints_stand_in_no_rule(target: bytes) -> None:
    assert Rules({"rules": [rule("/**", "sealed")]}, NOW).decide("GET", target) is None


def test_what_a_person_approves_is_sealed() -> None:
    """J: a critical rule seals as a sealed one does."""
    rules = Rules({"rules": [rule("/x", "critical", session_mac=True), rule("/**", "signed")]}, NOW)
    assert rules.decide("POST", b"/x") == Sealed(KEMS, session_mac=True, clear_query=frozenset())


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"rules": {}},
        {"rules": [None]},
        {"rules": [rule("/x", "signed")] * 4097},
        {"rules": [rule("/x", "signed"), rule("/x", "sealed")]},
        {"rules": [rule("no-slash", "signed")]},
        {"rules": [rule("/a/**/b", "signed")]},
        {"rules": [rule("/x", "signed") | {"path": 7}]},
        {"rules": [rule("/x", "signed", methods="GET")]},
        {"rules": [rule("/x", "signed", methods=[7])]},
        {"rules": [rule("/x", "later")]},
        {"rules": [rule("/x", "signed") | {"profile": None}]},
        {"rules": [rule("/x", "signed", exact="yes")]},
        {"rules": [rule("/x", "signed", slash_ok=True)]},
        {"rules": [rule("/x", "sealed", kems="X25519")]},
        {"rules": [rule("/x", "sealed", clear_query=None)]},
    ],
)
def test_what_are_no_rules(document: object) -> None:
    with pytest.raises(ValueError, match=r"rule|template|exact"):
        Rules(document, NOW)


def test_of_kems_only_those_that_are_known_count() -> None:
    held = Rules({"rules": [rule("/x", "sealed", kems=["ROT13", "P-256", "X25519"], session_mac="yes")]}, NOW)
    sealed = held.decide("GET", b"/x")
    assert sealed == Sealed(("X25519", "P-256"), False, frozenset())
    assert choose(sealed, ("P-256", "X25519")) == "P-256"
    with pytest.raises(NotSignable, match="sealed with X25519, P-256"):
        choose(sealed, ("RSA-OAEP-256", "ROT13"))
    with pytest.raises(NotSignable, match="nothing known"):
        choose(sealed._replace(kems=()), KEMS)


# --- the rules of one process ----------------------------------------------------------------------------------------


class Book:
    """A rule book over the double, and who sits on the way."""

    def __init__(self, credential: Credential, way: Way, clock: Clock) -> None:
        way.with_rules = True
        self.book, self.way, self.clock = RuleBook(), way, clock
        self.origin: Origin = credential.to_origin()

    def ask(self, past: Rules | None = None) -> Rules:
        return drive(
            self.book.ask(self.origin, self.clock, os.urandom, past),
            lambda out: send(self.way, self.origin.name, out, default_extensions()),
        )

    def asked(self) -> int:
        """How often the rules were asked for."""
        return sum(request.url.path == RULES for request in self.way.sent)


@pytest.fixture
def book(credential: Credential, way: Way, clock: Clock) -> Book:
    return Book(credential, way, clock)


def test_rules_are_held_for_a_while(book: Book, clock: Clock) -> None:
    """F8."""
    first = book.ask()
    clock.now += HELD_SECONDS - 1
    assert book.ask() is first
    clock.now += 1
    second = book.ask()
    assert second is not first
    clock.now -= 1  # a clock that was set back says nothing about their age
    assert book.ask() is not second
    assert book.asked() == 3


def test_rules_age_from_the_question(book: Book, clock: Clock) -> None:
    """F8: who holds the answer back does not make old rules young."""

    def hold(response: httpx2.Response) -> httpx2.Response:
        clock.now += HELD_SECONDS
        return response

    book.way.on_reply = hold
    book.ask()
    book.ask()
    assert book.asked() == 2


def test_forgotten_rules_are_asked_for_anew(book: Book) -> None:
    first = book.ask()
    book.book.forget()
    assert book.ask() is not first
    assert book.ask() is book.ask()
    assert book.asked() == 2


def test_rules_that_were_overtaken_are_not_kept(book: Book) -> None:
    """F8: an answer that was under way when the server said that they are out of date brings them not back."""

    def overtaken(response: httpx2.Response) -> httpx2.Response:
        book.book.forget()
        return response

    book.way.on_reply = overtaken
    first = book.ask()
    book.way.on_reply = None
    assert book.ask() is not first


def test_rules_without_a_rule_are_asked_for_once_more(book: Book) -> None:
    first = book.ask()
    second = book.ask(past=first)
    assert second is not first
    assert book.ask(past=first) is second
    assert book.asked() == 2


def test_a_question_that_was_lost_is_asked_again(book: Book) -> None:
    book.way.script = ["cut"]
    book.ask()
    book.way.script = [httpx2.Response(503)]
    book.book.forget()
    book.ask()
    assert book.asked() == 4


@pytest.mark.parametrize("lost", ["cut", "lost", httpx2.Response(502)])
def test_no_answer_at_all(book: Book, lost: str | httpx2.Response) -> None:
    """Nothing of the call was sent, so its outcome is known."""
    book.way.script = [lost, lost]
    with pytest.raises(OutcomeUnknown, match="the rules") as caught:
        book.ask()
    assert (caught.value.outcome, book.asked()) == ("not done", 2)


def test_no_connection_is_the_librarys_own_error(book: Book) -> None:
    book.way.script = [httpx2.ConnectError("refused")]
    with pytest.raises(httpx2.ConnectError):
        book.ask()
    assert book.asked() == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: changed(r, drop=("signature", "signature-input")), "no signature"),
        (lambda r: changed(r, body=b'{"rules": []}'), "body was changed"),
        (lambda r: changed(r, status=404), "status 404"),
        (lambda r: changed(r, status=500), "status 500"),
        (lambda r: changed(r, add=[("sealwire-stream", "?1")]), "not answered"),
        (lambda _: problem_response("not-found", 404), "status 404"),
        (lambda r: changed(r, body=b" " * (4 * 1024 * 1024 + 1)), "larger"),
    ],
)
def test_rules_that_cannot_be_believed(
    book: Book, change: Callable[[httpx2.Response], httpx2.Response], why: str
) -> None:
    """F23."""
    book.way.on_reply = change
    with pytest.raises(ReplyUnproven, match=why) as caught:
        book.ask()
    assert caught.value.outcome == "not done"
    assert "the rules" in str(caught.value)


def test_rules_past_all_bounds(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 10)
    with pytest.raises(ReplyUnproven, match="larger") as caught:
        book.ask()
    assert caught.value.outcome == "not done"


def test_the_answer_to_another_question(book: Book) -> None:
    """F8, H3: rules that were kept on the way since before they changed."""
    kept: list[httpx2.Response] = []

    def keep(response: httpx2.Response) -> httpx2.Response:
        kept.append(changed(response))
        return changed(kept[0])

    book.way.on_reply = keep
    book.ask()
    book.book.forget()
    book.way.on_reply = lambda _: changed(kept[0])
    with pytest.raises(ReplyUnproven, match="another nonce"):
        book.ask()


def test_rules_under_a_new_server_key(book: Book, server: Server) -> None:
    """F8: the key set that the old key vouches for is asked for once."""
    old, server.signer = server.signer, new_signer()
    server.next_signers, server.version = [old], 2
    sign = server.sign

    def by_the_old(reply: object, request: object, claims: object) -> object:
        new = server.signer
        server.signer = old if getattr(request, "path", b"").endswith(b"jwks.json") else new
        try:
            return sign(reply, request, claims)  # type: ignore[arg-type]
        finally:
            server.signer = new

    server.sign = by_the_old  # type: ignore[assignment, method-assign]
    book.ask()
    assert [request.url.path.rpartition("/")[2] for request in book.way.sent] == ["rules", "jwks.json"]
    assert book.origin.keys.version == 2


def test_rules_under_a_key_that_nobody_vouches_for(book: Book, server: Server) -> None:
    server.signer = new_signer()
    with pytest.raises(ReplyUnproven, match="not trusted"):
        book.ask()


@pytest.mark.parametrize(
    "rules",
    [[rule("/x", "later"), rule("/**", "signed")], [rule("/v1/orders", "signed"), rule("/v1/orders", "open")]],
)
def test_rules_that_are_not_understood(
    credential: Credential, way: Way, server: Server, clock: Clock, rules: list[dict[str, object]]
) -> None:
    """F23: then nothing is sent at all, whichever route is meant."""
    server.rules, way.with_rules = rules, True
    http = httpx2.Client(transport=Transport(credential, inner=way, clock=clock), base_url=credential.origin)
    with http, pytest.raises(ReplyUnproven) as caught:
        http.post("/v1/orders", content=b"secret")
    assert caught.value.outcome == "not done"
    assert [request.url.path for request in way.sent] == [RULES]


def test_a_call_that_no_rule_decides_is_not_sent(
    credential: Credential, way: Way, server: Server, clock: Clock
) -> None:
    """F23: in clear it might be meant for a sealed route; with newer rules it is sent."""
    server.rules, way.with_rules = [rule("/v1/orders", "signed"), rule("/v1/vault", "sealed")], True
    with httpx2.Client(transport=Transport(credential, inner=way, clock=clock), base_url=credential.origin) as http:
        assert http.post("/v1/orders", content=b"x").status_code == 201
        with pytest.raises(NotSignable, match="not-found"):
            http.post("/v1/wires", content=b"secret")
        assert len(way.sent) == 2
        clock.now += 1
        with pytest.raises(NotSignable, match="not-found"):
            http.post("/v1/wires", content=b"secret")
        assert len(way.sent) == 3
        server.rules = [*server.rules, rule("/v1/wires", "signed")]
        clock.now += 1
        assert http.post("/v1/wires", content=b"secret").status_code == 201
    assert [request.url.path for request in way.sent[3:]] == [RULES, "/v1/wires"]


def test_what_is_wrong_names_no_content(book: Book) -> None:
    book.way.on_reply = lambda r: changed(r, body=json.dumps({"rules": "MARKER"}).encode())
    with pytest.raises(SealwireError) as caught:
        book.ask()
    assert "MARKER" not in str(caught.value)
