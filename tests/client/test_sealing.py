"""Sealed calls of every transport: sessions come and go by themselves, and nothing doubtful is said to be not done."""

from __future__ import annotations

import copy
import gc
import hashlib
import json
import os
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sealwire.client import KeyUnknown, OutcomeUnknown, Refused, ReplyUnproven, SealwireError
from sealwire.client.session import SPARE_SECONDS
from sealwire.protocol import envelope
from sealwire.protocol.handshake import KeyPair, Keys
from sealwire.protocol.identifier import identifier
from sealwire.protocol.message import Reply
from tests.client.callers import EVERY_KIND, Caller, sealed_under
from tests.client.sealing_double import Document, SealingServer, no, seal
from tests.client.server_double import Clock, changed, new_signer, problem_response

ORDERS, QUOTES = "/v1/orders", "/v1/quotes"
BOTH = pytest.mark.parametrize("path", [ORDERS, QUOTES])


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


# --- sessions come and go by themselves ------------------------------------------------------------------------------


@EVERY_KIND
def test_one_life(caller: Caller, server: SealingServer) -> None:
    """F6: opened with the first sealed call, used by all of them, ended at the server."""
    assert caller.get("/v1/balances").status_code == 200
    for path in (ORDERS, QUOTES, ORDERS):
        reply = caller.post(path, b"MARKER")
        assert isinstance(reply, caller.kind.library.Response)
        assert (reply.status_code, reply.headers["content-type"]) == (201, "application/json")
        assert reply.json()["client"] == "cli_ALICE"
    assert caller.get(QUOTES).status_code == 200
    (held,) = server.sessions
    caller.close()
    assert server.sessions == {}
    began = ["GET rules", "GET balances", "POST sessions", "POST orders", "POST quotes", "POST orders", "GET quotes"]
    assert caller.paths() == [*began, "DELETE ses"]
    assert server.inside == [b"MARKER", b"MARKER", b"MARKER", b""]
    assert sealed_under(caller.way.sent) == [held] * 3
    assert not any(b"MARKER" in request.content for request in caller.way.sent)


@EVERY_KIND
def test_a_session_is_left_at_its_count(caller: Caller, server: SealingServer) -> None:
    """F11, F12: before its server would say so: no call is sent twice."""
    server.max_requests = 3
    for _ in range(7):
        assert caller.post().extensions["sealwire"].sends == 1
    used = sealed_under(caller.way.sent)
    assert [used.count(session) for session in dict.fromkeys(used)] == [3, 3, 1]
    assert (server.opened, len(used)) == (3, 7)


@EVERY_KIND
def test_a_session_is_left_near_its_end(caller: Caller, server: SealingServer) -> None:
    """F12."""
    caller.post()
    caller.pass_time(server.lifetime - SPARE_SECONDS - 1)
    caller.post()
    assert server.opened == 1
    caller.pass_time(1)
    assert caller.post().status_code == 201
    assert server.opened == 2
    assert len(sealed_under(caller.way.sent)) == 3


@EVERY_KIND
@BOTH
def test_a_server_that_forgot_the_session(caller: Caller, server: SealingServer, path: str) -> None:
    """F26: a new one is opened, once, and the call goes out once more under the same key."""
    caller.post(path)
    server.sessions.clear()
    assert caller.post(path).status_code == 201
    assert server.opened == 2
    assert caller.paths()[-3:] == [f"POST {path[4:]}", "POST sessions", f"POST {path[4:]}"]
    keys = [request.headers["idempotency-key"] for request in caller.sent_to(path)]
    assert keys[1] == keys[2] != keys[0]
    assert len(server.effects) == 2


@EVERY_KIND
def test_a_server_that_forgets_each_session(caller: Caller, server: SealingServer) -> None:
    """F26: there is no loop: after three new ones the refusal is the answer, and it is known that nothing was done."""

    def forget(request: httpx2.Request) -> httpx2.Request:
        if request.url.path == ORDERS:
            server.sessions.clear()
        return request

    caller.way.on_request = forget
    reply = caller.post()
    assert (reply.status_code, reply.json()["code"]) == (401, "session-unknown")
    assert reply.extensions["sealwire"].outcome == "not done"
    assert (server.opened, len(caller.sent_to(ORDERS)), server.effects) == (4, 4, [])


@EVERY_KIND
def test_key_unknown_for_ever(caller: Caller, server: SealingServer) -> None:
    """F25, F26: unsigned, it is what a server says that lost its sessions: believed once, and proving nothing."""
    caller.post(QUOTES)
    caller.way.script = [problem_response("key-unknown", 401), "pass", problem_response("key-unknown", 401)]
    with pytest.raises(KeyUnknown) as caught:
        caller.post(QUOTES)
    assert (caught.value.outcome, caught.value.proven) == ("unknown", False)
    assert (server.opened, len(caller.sent_to(QUOTES))) == (2, 3)


def test_key_unknown_where_the_clients_key_signed(caller: Caller, server: SealingServer) -> None:
    """C25: it is not about the session, which is kept."""
    caller.post()
    caller.way.script = [problem_response("key-unknown", 401)]
    with pytest.raises(KeyUnknown) as caught:
        caller.post()
    assert caught.value.outcome == "unknown"
    assert (server.opened, len(caller.sent_to(ORDERS))) == (1, 2)


def test_key_unknown_after_all_renewals(caller: Caller, server: SealingServer) -> None:
    """F26: the last word may be unsigned too, and is told as any other."""
    server.refusals = [no(server, "session-expired") for _ in range(3)]
    caller.way.script = [*["pass"] * 8, problem_response("key-unknown", 401)]
    with pytest.raises(KeyUnknown) as caught:
        caller.post(QUOTES)
    assert caught.value.outcome == "unknown"
    assert (server.refusals, len(caller.sent_to(QUOTES))) == ([], 4)


# --- outcomes in doubt -----------------------------------------------------------------------------------------------

Spoil = Callable[[Caller, SealingServer], None]


def lost(caller: Caller, server: SealingServer) -> None:
    caller.way.script = ["cut", "cut"]


def lost_for_a_proxy(caller: Caller, server: SealingServer) -> None:
    caller.way.on_reply = lambda _: httpx2.Response(504, stream=httpx2.ByteStream(b"Gateway Timeout"))


def other_keys(caller: Caller, server: SealingServer) -> None:
    server.on_answer = lambda _, session, reply: seal(Keys(bytes(32), b"other"), session, reply)


def other_session(caller: Caller, server: SealingServer) -> None:
    """That of another client, which the server has too."""
    name, keys = identifier("ses", 0, bytes(16)), Keys(bytes(32), b"other")
    server.on_answer = lambda _keys, _session, reply: seal(keys, name, reply)


def other_name(caller: Caller, server: SealingServer) -> None:
    """Its own keys, in another session's name."""
    server.on_answer = lambda keys, _, reply: seal(keys, identifier("ses", 0, bytes(16)), reply)


def reflected(caller: Caller, server: SealingServer) -> None:
    """F3: the call's own body, sent back."""
    server.on_answer = lambda *_: Reply(201, ((b"content-type", envelope.MEDIA_TYPE),), caller.way.sent[-1].content)


def damaged(caller: Caller, server: SealingServer) -> None:
    def flip(keys: Keys, session: str, reply: Reply) -> Reply:
        sealed = seal(keys, session, reply)
        return sealed._replace(body=sealed.body[:-30] + (b"A" if sealed.body[-30:-29] != b"A" else b"B") + b"A" * 29)

    server.on_answer = flip


def cut_short(caller: Caller, server: SealingServer) -> None:
    server.on_answer = lambda keys, session, reply: reply._replace(
        body=seal(keys, session, reply).body[:-1], headers=((b"content-type", envelope.MEDIA_TYPE),)
    )


def compressed(caller: Caller, server: SealingServer) -> None:
    """F15."""

    def encoded(keys: Keys, session: str, reply: Reply) -> Reply:
        sealed = seal(keys, session, reply)
        return sealed._replace(headers=(*sealed.headers, (b"content-encoding", b"gzip")))

    server.on_answer = encoded


def in_clear(caller: Caller, server: SealingServer) -> None:
    server.on_answer = lambda keys, session, reply: reply


def unsigned(caller: Caller, server: SealingServer) -> None:
    caller.way.on_reply = lambda reply: changed(reply, drop=("signature", "signature-input"))


def signed_by_another(caller: Caller, server: SealingServer) -> None:
    """By a key that is not the server's, or another session's."""

    def change_keys(keys: Keys, session: str, reply: Reply) -> Reply:
        keyid, _ = server.sessions[session]
        server.sessions[session] = (keyid, Keys(bytes(32), b"other"))
        return seal(keys, session, reply)

    server.signer, server.on_answer = new_signer(), change_keys


def refused_by_a_stranger(caller: Caller, server: SealingServer) -> None:
    """After the call was carried out."""
    caller.way.on_reply = lambda _: problem_response("scope-insufficient", 403, outcome="not done")


def too_large(caller: Caller, server: SealingServer) -> None:
    caller.way.on_reply = lambda reply: changed(reply, body=b"x" * 2000)


DOUBTS: tuple[tuple[Spoil, type[Exception], str], ...] = (
    (lost, OutcomeUnknown, "no answer came"),
    (lost_for_a_proxy, ReplyUnproven, "no signature"),
    (other_keys, ReplyUnproven, "does not open"),
    (other_session, ReplyUnproven, "another session"),
    (other_name, ReplyUnproven, "another session"),
    (reflected, ReplyUnproven, "does not open"),
    (damaged, ReplyUnproven, "does not open"),
    (cut_short, ReplyUnproven, "does not open"),
    (compressed, ReplyUnproven, "compressed"),
    (in_clear, ReplyUnproven, "in clear"),
    (unsigned, ReplyUnproven, "no signature"),
    (signed_by_another, ReplyUnproven, "key set could not|not trusted|does not hold"),
    (refused_by_a_stranger, Refused, "not signed"),
    (too_large, ReplyUnproven, "larger"),
)


@EVERY_KIND
@BOTH
@pytest.mark.parametrize(("spoil", "error", "why"), DOUBTS, ids=[spoil.__name__ for spoil, _, _ in DOUBTS])
def test_an_outcome_in_doubt(
    caller: Caller,
    server: SealingServer,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    spoil: Spoil,
    error: type[Refused | ReplyUnproven | OutcomeUnknown],
    why: str,
) -> None:
    """C25, F3, F6, F13: it was carried out, and its answer is no proof: said to be unknown, with the key to ask by."""
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 1999)
    caller.post(path, b"first")
    honest = (server.on_answer, server.signer)
    spoil(caller, server)
    with pytest.raises(error, match=why) as caught:
        caller.post(path, b"MARKER")
    assert server.effects == [b"first", b"MARKER"]
    key = caller.sent_to(path)[-1].headers["idempotency-key"]
    assert (caught.value.outcome, caught.value.idempotency_key) == ("unknown", key)
    assert "outcome: unknown" in str(caught.value)
    assert "not done" not in str(caught.value)
    assert "MARKER" not in str(caught.value)
    assert len({request.headers["idempotency-key"] for request in caller.sent_to(path)[1:]}) == 1
    caller.way.on_reply, caller.way.script = None, []
    server.on_answer, server.signer = honest
    server.sessions.clear()
    again = caller.post(path, b"MARKER", headers={"idempotency-key": key})
    assert again.json()["number"] == len(server.effects) == 2
    assert sealed_under(caller.way.sent)


# --- refusals that are proven ----------------------------------------------------------------------------------------


def sealed_no(server: SealingServer, slug: str, **members: object) -> Callable[..., Reply]:
    """A refusal of the guard after it opened the call."""
    return lambda keys, session, _: seal(keys, session, no(server, slug, **members))


@EVERY_KIND
@BOTH
@pytest.mark.parametrize(
    ("slug", "members", "outcome"),
    [
        ("request-invalid", {}, "not done"),
        ("decrypt-failed", {}, "not done"),
        ("idempotency-conflict", {}, "not done"),
        ("idempotency-in-progress", {"outcome": "unknown"}, "unknown"),
        ("audit-unavailable", {}, "unknown"),
        ("internal", {}, "unknown"),
    ],
)
def test_a_refusal_under_the_session(
    caller: Caller, server: SealingServer, path: str, slug: str, members: dict[str, object], outcome: str
) -> None:
    """C25: proven and opened, it says what became of the call as one in clear does."""
    server.on_answer = sealed_no(server, slug, **members)
    reply = caller.post(path)
    assert (reply.json()["code"], reply.extensions["sealwire"].outcome) == (slug, outcome)
    assert caller.sent_to(path)[0].headers["content-type"] == "application/jose"
    assert len(caller.sent_to(path)) == 1


@EVERY_KIND
def test_a_refusal_before_the_session_was_known(caller: Caller, server: SealingServer) -> None:
    """In clear and signed by the server's key: believed, and nothing was done."""
    server.refusals = [no(server, "scope-insufficient")]
    reply = caller.post()
    assert (reply.status_code, reply.extensions["sealwire"].outcome) == (403, "not done")
    assert server.effects == []


@BOTH
def test_a_refusal_of_the_repeat(caller: Caller, server: SealingServer, path: str) -> None:
    """C25: sealed or not, it does not say that the first send was not carried out."""
    caller.post(path)
    caller.way.script = ["cut"]
    server.on_answer = sealed_no(server, "request-invalid")
    assert caller.post(path).extensions["sealwire"].outcome == "unknown"
    caller.way.script = ["cut"]
    server.refusals = [no(server, "rate-limited"), no(server, "rate-limited")]
    assert caller.post(path).extensions["sealwire"].outcome == "unknown"


def test_the_apps_own_refusal_is_an_answer(caller: Caller, server: SealingServer) -> None:
    """Also one that has a code of the guard's: the app was entered, and no new session would change what it says."""
    content = json.dumps({"type": "about:blank", "code": "session-expired"}).encode()
    said = Reply(401, ((b"content-type", b"application/problem+json"),), content)
    server.on_answer = lambda keys, session, _: seal(keys, session, said)
    reply = caller.post()
    assert (reply.status_code, reply.extensions["sealwire"].outcome) == (401, "answered")
    assert (server.opened, len(caller.sent_to(ORDERS))) == (1, 1)


# --- in doubt from one session to the next ---------------------------------------------------------------------------


def forgets_once(server: SealingServer, path: str, effects: int) -> Callable[[httpx2.Request], httpx2.Request]:
    """The server loses its sessions when so much was done; a call on `/v1/quotes` is told so by the way's script."""
    due = iter([path == ORDERS])

    def passes(request: httpx2.Request) -> httpx2.Request:
        if len(server.effects) >= effects and next(due, False):
            server.sessions.clear()
        return request

    return passes


@EVERY_KIND
@BOTH
@pytest.mark.parametrize(
    ("opening", "error"),
    [
        (["cut", "cut"], OutcomeUnknown),
        ([httpx2.ConnectError("refused")] * 2, OutcomeUnknown),
        ([httpx2.Response(503), httpx2.Response(503)], ReplyUnproven),
        ([problem_response("rate-limited", 429)], Refused),
    ],
)
def test_no_new_session_after_a_doubt(
    caller: Caller, server: SealingServer, path: str, opening: list[Any], error: type[Exception]
) -> None:
    """C25: the call was carried out under the session before: that no new one is to be had does not undo it."""
    caller.post(path)
    over = problem_response("key-unknown", 401) if path == QUOTES else "pass"
    caller.way.script, caller.way.on_request = ["cut", over, *opening], forgets_once(server, path, 2)
    with pytest.raises(error) as caught:
        caller.post(path)
    assert isinstance(caught.value, Refused | ReplyUnproven | OutcomeUnknown)
    key = caller.sent_to(path)[-1].headers["idempotency-key"]
    assert (caught.value.outcome, caught.value.idempotency_key) == ("unknown", key)
    assert "outcome: unknown" in str(caught.value)
    assert len(server.effects) == 2


@EVERY_KIND
@BOTH
def test_a_lost_call_after_a_doubt(caller: Caller, server: SealingServer, path: str) -> None:
    """C25: under the new session the call never leaves: the library's own error would say that nothing was done."""
    caller.post(path)
    over = problem_response("key-unknown", 401) if path == QUOTES else "pass"
    caller.way.script = ["cut", over, "pass", *[httpx2.ConnectError("refused")] * 2]
    caller.way.on_request = forgets_once(server, path, 2)
    with pytest.raises(OutcomeUnknown) as caught:
        caller.post(path)
    assert caught.value.idempotency_key == caller.sent_to(path)[-1].headers["idempotency-key"]
    assert (server.opened, len(server.effects), caller.way.script) == (2, 2, [])


@EVERY_KIND
@BOTH
def test_a_refused_session_after_a_doubt(caller: Caller, server: SealingServer, path: str) -> None:
    """C25: the refusal is proven, and says nothing of the call."""
    caller.post(path)
    over = problem_response("key-unknown", 401) if path == QUOTES else "pass"
    caller.way.script, caller.way.on_request = ["cut", over], forgets_once(server, path, 2)
    server.on_open = lambda _: no(server, "rate-limited")
    reply = caller.post(path)
    assert (reply.json()["code"], reply.extensions["sealwire"].outcome) == ("rate-limited", "unknown")
    assert len(server.effects) == 2


def test_a_refusal_in_another_origins_name(caller: Caller, server: SealingServer) -> None:
    """C25: after a lost answer a session is over in words that are not the guard's: that ends no doubt."""
    caller.post()
    theirs = json.dumps({"type": "https://other.example/over", "code": "session-expired"}).encode()
    over = Reply(401, ((b"content-type", b"application/problem+json"),), theirs)

    def refuse(request: httpx2.Request) -> httpx2.Request:
        if len(server.effects) == 2 and not server.refusals:
            server.refusals = [over, no(server, "scope-insufficient")]
        return request

    caller.way.on_request, caller.way.script = refuse, ["cut"]
    reply = caller.post()
    assert (reply.status_code, reply.extensions["sealwire"].outcome) == (403, "unknown")
    assert len(server.effects) == 2


# --- what is never shown ---------------------------------------------------------------------------------------------


def secrets_of(server: SealingServer, caller: Caller) -> set[str]:
    """How all that only the two ends may know would look in a traceback."""
    labels = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac")
    found = [caller.transport.credential.key.reveal()]
    for secret, context in server.drawn:
        salt = hashlib.sha256(context).digest()
        keys = [HKDF(hashes.SHA256(), 32, salt, b"sealwire " + label).derive(secret) for label in labels]
        assert Keys(secret, context).s2c_mac == keys[-1]
        found += [secret, *keys]
    return {text for secret in found for text in (repr(secret)[2:-1], repr(bytearray(secret))[12:-2], secret.hex())}


def unsignable(caller: Caller, server: SealingServer) -> None:
    """By a field that the server would drop."""
    caller.http.headers["x_y"] = "1"


def gone(caller: Caller, server: SealingServer) -> None:
    caller.way.script = [httpx2.ConnectError("refused")] * 2


def unsealable(caller: Caller, server: SealingServer) -> None:
    caller.http.headers["content-type"] = "x" * 300


def opens_none(caller: Caller, server: SealingServer) -> None:
    """The next session's commitment is another's."""
    server.sessions.clear()
    server.on_open = lambda document: {**document, "commitment": "A" * 43}


ENDS = (*(spoil for spoil, _, _ in DOUBTS), unsignable, unsealable, gone, opens_none)


@EVERY_KIND
@BOTH
@pytest.mark.parametrize("spoil", ENDS, ids=[spoil.__name__ for spoil in ENDS])
def test_no_traceback_shows_a_key(
    caller: Caller, server: SealingServer, monkeypatch: pytest.MonkeyPatch, path: str, spoil: Spoil
) -> None:
    """P4: not even one that shows the values of every frame."""
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 1999)
    caller.post(path, b"first")
    spoil(caller, server)
    with pytest.raises((SealwireError, caller.kind.library.TransportError)) as caught:
        caller.post(path, b"second")
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    frames = [part for part in shown.split('  File "') if f"{os.sep}tests{os.sep}" not in part.partition("\n")[0]]
    assert any("_carry" in frame for frame in frames)
    secrets = secrets_of(server, caller)
    assert [frame for frame in frames if any(secret in frame for secret in secrets)] == []


@EVERY_KIND
def test_a_client_in_use_is_not_copied(caller: Caller, server: SealingServer) -> None:
    """P4: nor does anything of it that is printed show a key."""
    caller.post()
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copied(caller.transport)
    here = caller.transport._process
    shown = "".join(map(repr, [caller.transport, vars(caller.transport), here, vars(here.sessions), caller.http]))
    assert "Session(ses_" in shown
    assert [secret for secret in secrets_of(server, caller) if secret in shown] == []


def pairs_alive() -> int:
    return sum(type(found) is KeyPair for found in gc.get_objects())  # no look at an attribute: some objects mind


@EVERY_KIND
def test_the_key_pair_is_gone(caller: Caller, server: SealingServer) -> None:
    """F22: as soon as the session is open, though it is still used; also where it could not be opened."""
    gc.collect()
    before, during = pairs_alive(), []

    def look(document: Document) -> Document:
        during.append(pairs_alive())
        return document

    server.on_open = look
    caller.post()
    assert (during, pairs_alive()) == ([before + 1], before)
    opens_none(caller, server)
    with pytest.raises(ReplyUnproven):
        caller.post()
    gc.collect()  # the error, whose frames refer to it and to each other
    assert pairs_alive() == before
