"""A call that a person has to approve: what the error holds, what is repeated and what never is, who is believed."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sealwire.client import (
    ApprovalDenied,
    ApprovalExpired,
    ApprovalPending,
    ApprovalRequired,
    Credential,
    ForeignOrigin,
    OutcomeUnknown,
    SealwireError,
)
from sealwire.client.approving import MOST_QUESTIONS
from sealwire.protocol.identifier import identifier
from sealwire.protocol.message import Reply, Request
from tests.client.callers import KINDS, Kind
from tests.client.four import Caller
from tests.client.sealing_double import SealingServer
from tests.client.server_double import ORIGIN, Clock, Server, Way, changed, problem_response
from tests.stories.approving import SENTENCE, WITHDRAWAL, ApprovingWorld
from tests.stories.test_enrolment import Bridge
from tests.stories.test_enrolment import enrolled as enrolled_there
from tests.stories.world import Wire

ASKED = "Send 0.25 BTC to bc1q7k2f"
BODY = {"amount": "0.25"}
Meets = Callable[..., Caller]


class Desk:
    """What stands behind the double's calls: they are asked about, and wait for whoever sets `state`."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state, self.retry_after = "pending", "7"
        self.sentence: str | list[str] = ASKED
        self.asked: dict[str, tuple[object, ...]] = {}
        self.used: list[tuple[str, str]] = []
        server.app = self.app

    def member(self, **changes: object) -> dict[str, object]:
        number = len(self.asked)
        approval = identifier("apr", 1, bytes(15) + bytes([number]))
        sentence = self.sentence if isinstance(self.sentence, str) else self.sentence[number]
        link = f"https://pages.example/approve/{approval}"
        return {"id": approval, "url": link, "sentence": sentence, "expires_at": 1_790_000_600} | changes

    def app(self, request: Request, body: bytes) -> Reply:
        named, fields = request.fields.get(b"sealwire-approval", b"").decode(), request.fields
        same = (request.method, request.path, request.query, fields.get(b"content-type"), body)
        if not named:
            return self.ask(same)
        if self.asked.get(named) != same:
            return self.server.problem("approval-required", "differs")
        if self.state in ("denied", "expired"):
            return self.server.problem(f"approval-{self.state}", self.state)
        if self.state == "another":
            return self.ask(same)
        if self.state != "approved":
            return self.server.problem("approval-pending", "pending", wait=self.retry_after)
        self.server.effects.append(body)
        self.used.append((named, fields.get(b"idempotency-key", b"").decode()))
        return Reply(201, ((b"content-type", b"application/json"),), b'{"number": %d}' % len(self.server.effects))

    def ask(self, same: tuple[object, ...]) -> Reply:
        member = self.member()
        self.asked[str(member["id"])] = same
        return self.server.problem("approval-required", "asked", approval=member)


@pytest.fixture
def server(clock: Clock) -> SealingServer:
    return SealingServer(clock=Clock(clock.now))


@pytest.fixture
def desk(server: SealingServer) -> Desk:
    return Desk(server)


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def meets(kind: Kind, credential: Credential, way: Way, clock: Clock, server: SealingServer) -> Iterator[Meets]:
    """Programs with one of the four transports; time passes for both ends while one sleeps."""
    made: list[Caller] = []

    def meet(**more: Any) -> Caller:
        caller = Caller(kind, credential, way, clock, **more)

        async def pass_time(seconds: float) -> None:
            clock.now += seconds
            server.clock.now += seconds  # type: ignore[attr-defined]  # the double's own clock

        caller.meanwhile = pass_time
        made.append(caller)
        return caller

    yield meet
    for caller in made:
        caller.close()


def decided(caller: Caller, desk: Desk, state: str, after: int = 1) -> None:
    """In the pause of that number its person decides."""
    before = caller.meanwhile

    async def decide(seconds: float) -> None:
        await before(seconds)
        if len(caller.slept) >= after:
            desk.state = state

    caller.meanwhile = decide


def asked_for(caller: Caller, path: str = "/v1/withdrawals", **given: Any) -> ApprovalRequired:
    """A call that a person has to approve."""
    with pytest.raises(ApprovalRequired) as caught:
        caller.request("POST", path, json=BODY, **given)
    return caught.value


def fields_of(way: Way, name: str) -> list[str | None]:
    """The field of each call that was sent, sessions left aside."""
    return [sent.headers.get(name) for sent in way.sent if "/.well-known/" not in sent.url.path]


# --- what it holds ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/withdrawals", "/v1/orders", "/v1/quotes"])
def test_the_error_says_what_to_do(meets: Meets, desk: Desk, way: Way, path: str) -> None:
    """In clear, sealed, and under the session's key."""
    asked = asked_for(meets(), path)
    assert (asked.sentence, asked.link) == (ASKED, f"https://pages.example/approve/{asked.approval}")
    assert (asked.expires_at, asked.proven, asked.status, asked.outcome) == (1_790_000_600, True, 403, "not done")
    assert [asked.approval] == list(desk.asked)
    assert [asked.idempotency_key] == fields_of(way, "idempotency-key")
    fields = f"Idempotency-Key: {asked.idempotency_key} and Sealwire-Approval: {asked.approval}"
    assert str(asked).split("\n  ") == [
        "approval-required (req_PROVEN)",
        f'a person has to approve: "{ASKED}"',
        f"have them open {asked.link}",
        f"meanwhile wait_for_approval(), or repeat the same call with {fields}",
        "outcome: not done",
    ]


def test_foreign_text_is_made_plain(meets: Meets, desk: Desk) -> None:
    desk.sentence = "Pay \x1b[2J\n\u202eknil" + "x" * 10_000
    asked = asked_for(meets())
    assert asked.sentence == desk.sentence
    assert '"Pay �[2J��knilxxx' in str(asked)
    assert 'xxx…"' in str(asked)
    assert len(str(asked)) < 1000


def test_what_the_first_send_did_stays_in_doubt(meets: Meets, desk: Desk, way: Way) -> None:
    """C25: the refusal is that of a repeat; nobody knows what became of the first send, then or later."""
    caller = meets()
    way.script = ["lost"]
    asked = asked_for(caller)
    assert (asked.outcome, len(set(fields_of(way, "idempotency-key")))) == ("unknown", 1)
    desk.state = "denied"
    with pytest.raises(ApprovalDenied) as caught:
        caller.wait(asked)
    assert caught.value.outcome == "unknown"


# --- waiting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/withdrawals?to=a", "/v1/orders", "/v1/quotes?page=1"])
def test_the_very_same_call_goes_out_again(
    meets: Meets, desk: Desk, way: Way, server: SealingServer, path: str
) -> None:
    """J1: same method, target, content and key, the approval under the signature, a new nonce each time."""
    caller = meets()
    asked = asked_for(caller, path, headers={"X-Note": "kept"})
    decided(caller, desk, "approved", after=2)
    response = caller.wait(asked)
    assert (response.status_code, response.json(), caller.slept) == (201, {"number": 1}, [7, 7])
    assert isinstance(response, caller.kind.library.Response)
    assert (response.raise_for_status().request.method, str(response.request.url)) == ("POST", ORIGIN + path)
    assert response.extensions["sealwire"].outcome == "answered"
    assert desk.used == [(asked.approval, asked.idempotency_key)]
    assert fields_of(way, "sealwire-approval") == [None, *[asked.approval] * 3]
    assert fields_of(way, "idempotency-key") == [asked.idempotency_key] * 4
    assert fields_of(way, "x-note") == ["kept"] * 4
    calls = [sent for sent in way.sent if "/.well-known/" not in sent.url.path]
    assert {(sent.method, sent.url.raw_path) for sent in calls} == {("POST", path.encode())}
    assert all('"sealwire-approval"' in sent.headers["signature-input"].partition(")")[0] for sent in calls[1:])
    assert len({sent.headers["signature"] for sent in calls}) == 4


def test_the_callers_own_key_is_kept_and_an_old_approval_replaced(meets: Meets, desk: Desk, way: Way) -> None:
    caller = meets()
    desk.state = "another"
    old = asked_for(caller).approval
    asked = asked_for(caller, headers={"idempotency-key": "mine", "Sealwire-Approval": old})
    assert (asked.idempotency_key, asked.approval != old) == ("mine", True)
    desk.state = "approved"
    assert caller.wait(asked).status_code == 201
    assert desk.used == [(asked.approval, "mine")]
    assert fields_of(way, "sealwire-approval") == [None, old, asked.approval]


def test_a_read_has_no_key_and_waits_all_the_same(meets: Meets, desk: Desk, way: Way) -> None:
    caller = meets()
    with pytest.raises(ApprovalRequired, match=r"repeat the same call with Sealwire-Approval: apr_") as caught:
        caller.request("GET", "/v1/secrets")
    desk.state = "approved"
    assert caller.wait(caught.value).status_code == 201
    assert (fields_of(way, "idempotency-key"), caught.value.idempotency_key) == ([None, None], None)


@pytest.mark.parametrize(("state", "expected"), [("denied", ApprovalDenied), ("expired", ApprovalExpired)])
@pytest.mark.parametrize("path", ["/v1/withdrawals", "/v1/orders"])
def test_a_no_is_an_error(
    meets: Meets, desk: Desk, server: SealingServer, state: str, expected: type[ApprovalDenied], path: str
) -> None:
    caller = meets()
    asked = asked_for(caller, path)
    decided(caller, desk, state)
    with pytest.raises(expected) as caught:
        caller.wait(asked)
    error = caught.value
    assert (error.proven, error.outcome, error.idempotency_key) == (True, "not done", asked.idempotency_key)
    assert server.effects == []


def test_an_approval_that_does_not_fit_is_an_answer(meets: Meets, desk: Desk) -> None:
    """Used, or of another call: an ordinary refusal that asks nobody."""
    caller = meets()
    asked = asked_for(caller)
    desk.asked.clear()
    response = caller.wait(asked)
    assert (response.status_code, response.json()["code"]) == (403, "approval-required")
    assert response.extensions["sealwire"].outcome == "not done"


def test_patience_ends_and_can_be_taken_up_again(meets: Meets, desk: Desk) -> None:
    caller = meets()
    asked = asked_for(caller)
    with pytest.raises(ApprovalPending) as caught:
        caller.wait(asked, 10)
    assert (caller.slept, caught.value.outcome, caught.value.retry_after) == ([7, 3], "not done", 7)
    with pytest.raises(ApprovalPending):
        caller.wait(asked, 0)
    assert caller.slept == [7, 3]
    desk.state = "approved"
    assert caller.wait(asked, 0).json() == caller.wait(asked).json() == {"number": 1}


@pytest.mark.parametrize(("retry_after", "slept"), [("0", 1), ("", 2), ("soon", 2), ("3600", 60)])
def test_it_is_asked_neither_at_once_nor_never(meets: Meets, desk: Desk, retry_after: str, slept: int) -> None:
    caller = meets()
    desk.retry_after = retry_after
    decided(caller, desk, "approved")
    assert caller.wait(asked_for(caller), 500).status_code == 201
    assert caller.slept == [slept]


def test_a_session_that_ends_meanwhile(meets: Meets, desk: Desk, way: Way, server: SealingServer) -> None:
    """The key and the approval go on under the next session."""
    caller = meets()
    asked = asked_for(caller, "/v1/orders")
    server.sessions.clear()
    desk.state = "approved"
    assert caller.wait(asked).json() == {"number": 1}
    assert server.opened == 2
    assert set(fields_of(way, "idempotency-key")) == {asked.idempotency_key}


# --- doubt -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/withdrawals", "/v1/orders"])
def test_a_cut_while_the_approval_is_used(meets: Meets, desk: Desk, way: Way, server: SealingServer, path: str) -> None:
    """C25: once it is asked again by itself; after that its caller asks again, and finds the one effect."""
    caller = meets()
    asked = asked_for(caller, path)
    desk.state, way.script = "approved", ["cut", "cut"]
    with pytest.raises(OutcomeUnknown) as caught:
        caller.wait(asked)
    assert (caught.value.outcome, caught.value.idempotency_key) == ("unknown", asked.idempotency_key)
    assert caller.wait(asked).json() == {"number": 1}
    way.script = ["cut"]
    assert caller.wait(asked).json() == {"number": 1}
    assert len(server.effects) == len(desk.used) == 1


@pytest.mark.parametrize("path", ["/v1/withdrawals", "/v1/orders"])
def test_after_a_cut_no_refusal_says_that_nothing_was_done(meets: Meets, desk: Desk, way: Way, path: str) -> None:
    """C25: also where the wait that was cut is long over."""
    caller = meets()
    asked = asked_for(caller, path)
    way.script = ["lost", "lost"]
    with pytest.raises(OutcomeUnknown):
        caller.wait(asked)
    desk.state = "denied"
    with pytest.raises(ApprovalDenied) as caught:
        caller.wait(asked)
    assert caught.value.outcome == "unknown"


def test_a_cut_in_the_middle_of_one_wait_is_remembered(meets: Meets, desk: Desk, way: Way) -> None:
    caller = meets()
    asked = asked_for(caller)
    way.script = ["lost"]
    decided(caller, desk, "denied")
    with pytest.raises(ApprovalDenied) as caught:
        caller.wait(asked)
    assert (caught.value.outcome, caller.slept) == ("unknown", [7])


class Interrupted(BaseException):
    """Ctrl-C, or a task that is cancelled."""


@pytest.mark.parametrize(("where", "outcome"), [("send", "unknown"), ("sleep", "not done")])
def test_an_interrupted_wait(meets: Meets, desk: Desk, way: Way, where: str, outcome: str) -> None:
    """C25: in the middle of a send nobody knows what became of it; between two sends it is known."""
    caller = meets()
    asked = asked_for(caller)
    passing = caller.meanwhile

    def interrupt(request: httpx2.Request) -> httpx2.Request:
        raise Interrupted

    async def interrupt_sleep(seconds: float) -> None:
        raise Interrupted

    if where == "send":
        way.on_request = interrupt
    else:
        caller.meanwhile = interrupt_sleep
    with pytest.raises(Interrupted):
        caller.wait(asked)
    way.on_request, caller.meanwhile, desk.state = None, passing, "denied"
    with pytest.raises(ApprovalDenied) as caught:
        caller.wait(asked)
    assert caught.value.outcome == outcome


def test_no_connection_is_the_librarys_own_error_and_no_doubt(meets: Meets, desk: Desk, way: Way) -> None:
    caller = meets()
    asked = asked_for(caller)
    way.script = [httpx2.ConnectError("refused")]
    with pytest.raises(caller.kind.library.ConnectError):
        caller.wait(asked)
    desk.state = "denied"
    with pytest.raises(ApprovalDenied) as caught:
        caller.wait(asked)
    assert caught.value.outcome == "not done"


def test_rules_that_cannot_be_asked_for_do_not_say_that_nothing_was_done(
    meets: Meets, desk: Desk, way: Way, clock: Clock, server: SealingServer
) -> None:
    """C25: nothing is sent this time, and what an earlier send did is as unknown as before."""
    caller = meets()
    asked = asked_for(caller)
    way.script = ["lost", "lost"]
    with pytest.raises(OutcomeUnknown):
        caller.wait(asked)
    clock.now += 1000
    server.clock.now += 1000  # type: ignore[attr-defined]  # the double's own clock
    way.with_rules, way.script = True, ["lost", "lost"]
    with pytest.raises(OutcomeUnknown, match="the rules") as caught:
        caller.wait(asked)
    assert (caught.value.outcome, caught.value.idempotency_key) == ("unknown", asked.idempotency_key)


# --- bots ------------------------------------------------------------------------------------------------------------


def test_a_bot_is_told_and_gets_its_answer(meets: Meets, desk: Desk, way: Way) -> None:
    told: list[ApprovalRequired] = []
    caller = meets(on_approval=told.append)
    decided(caller, desk, "approved", after=2)
    response = caller.request("POST", "/v1/orders", json=BODY)
    assert (response.status_code, response.json(), caller.slept) == (201, {"number": 1}, [7, 7])
    assert [(one.sentence, one.approval) for one in told] == [(ASKED, desk.used[0][0])]
    assert len(set(fields_of(way, "idempotency-key"))) == 1
    desk.state = "pending"
    decided(caller, desk, "denied")
    with pytest.raises(ApprovalDenied):
        caller.request("POST", "/v1/orders", json=BODY)


def test_a_callback_may_be_async_for_tasks_only(meets: Meets, desk: Desk, kind: Kind, way: Way) -> None:
    told: list[str] = []

    async def tell(asked: ApprovalRequired) -> None:
        await asyncio.sleep(0)
        told.append(asked.link)

    caller = meets(on_approval=tell)
    desk.state = "approved"
    if kind.tasks:
        assert caller.request("POST", "/v1/x", json=BODY).status_code == 201
        assert len(told) == 1
    else:
        with pytest.raises(TypeError, match="plain function"):
            caller.request("POST", "/v1/x", json=BODY)
        assert (told, len(way.sent)) == ([], 1)


def test_a_callback_that_fails_ends_the_call(meets: Meets, desk: Desk, way: Way) -> None:
    def fail(asked: ApprovalRequired) -> None:
        raise OSError("the pager is down")

    with pytest.raises(OSError, match="pager"):
        meets(on_approval=fail).request("POST", "/v1/x", json=BODY)
    assert len(way.sent) == 1


def test_another_question_is_another_error(meets: Meets, desk: Desk) -> None:
    """The app wants a yes to another sentence than the one that was approved: it is asked as the first was."""
    desk.sentence = ["first", "second"]
    caller = meets()
    first = asked_for(caller)
    desk.state = "another"
    with pytest.raises(ApprovalRequired) as caught:
        caller.wait(first)
    second = caught.value
    assert (second.sentence, second.idempotency_key) == ("second", first.idempotency_key)
    desk.state = "approved"
    assert caller.wait(second).status_code == 201
    assert desk.used == [(second.approval, first.idempotency_key)]


def test_questions_of_one_call_have_an_end(meets: Meets, desk: Desk) -> None:
    told: list[str] = []
    caller = meets(on_approval=lambda asked: told.append(asked.approval))
    desk.state = "another"
    with pytest.raises(ApprovalRequired):
        caller.request("POST", "/v1/x", json=BODY)
    assert len(set(told)) == len(told) == MOST_QUESTIONS


# --- who is believed -------------------------------------------------------------------------------------------------


def test_a_strangers_refusal_asks_nobody(meets: Meets, desk: Desk, way: Way) -> None:
    """F23: unsigned, so its link is shown to nobody and nothing waits for it."""
    told: list[ApprovalRequired] = []
    for caller in (meets(), meets(on_approval=told.append)):
        asked_before = len(way.sent)
        kind = f"{ORIGIN}/.well-known/sealwire/problems/approval-required"
        way.script = [problem_response("approval-required", 403, type=kind, approval=desk.member())]
        with pytest.raises(ApprovalRequired) as caught:
            caller.request("POST", "/v1/withdrawals", json=BODY)
        error = caught.value
        assert (error.proven, error.approval, error.link, error.sentence, error.expires_at) == (False, "", "", "", 0)
        assert (told, len(way.sent) - asked_before) == ([], 1)
        assert "pages.example" not in str(error)
        with pytest.raises(SealwireError, match="it names no approval"):
            caller.wait(error)


def test_a_link_that_was_changed_on_the_way(http: httpx2.Client, desk: Desk, way: Way) -> None:
    """H2."""
    way.on_reply = lambda reply: changed(reply, body=reply.read().replace(b"pages.example", b"pages.evil.xx"))
    with pytest.raises(SealwireError, match="not proven"):
        http.post("/v1/withdrawals", json=BODY)


def test_the_apps_own_problem_is_an_answer(meets: Meets, desk: Desk, server: SealingServer) -> None:
    """Its type is the app's: whatever else it says, it is no word of the guard's."""
    document = {"code": "approval-required", "approval": desk.member(), "status": 403}
    for kind in (
        "about:blank",
        f"{ORIGIN}/problems/approval-required",
        "https://evil.example/.well-known/sealwire/",
        7,
    ):
        content = json.dumps(document | {"type": kind}).encode()
        server.app = lambda request, body, c=content: Reply(403, ((b"content-type", b"application/problem+json"),), c)
        for path in ("/v1/withdrawals", "/v1/orders"):
            assert meets().request("POST", path, json=BODY).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"id": "apr_" + "0" * 25},
        {"id": "apr_" + "0" * 27},
        {"id": "apr_" + "0" * 25 + "U"},
        {"id": "apr_" + "0" * 25 + "\n"},
        {"id": "req_" + "0" * 26},
        {"id": "apr_" + "a" * 26},
        {"id": 7},
        {"url": "http://pages.example/approve/x"},
        {"url": "ftp://pages.example/"},
        {"url": "javascript:alert(1)"},
        {"url": "https://alice@pages.example/"},
        {"url": "https://pages.example\\@evil.example/"},
        {"url": "https:///approve"},
        {"url": "https://pages.example/\x1b[2J"},
        {"url": "https://pages.example/a b"},
        {"url": "https://pages.example/\u202e"},
        {"url": "https://pages.example/" + "x" * 2048},
        {"url": "/approve/x"},
        {"url": ""},
        {"url": None},
        {"sentence": ""},
        {"sentence": " \n"},
        {"sentence": "\ud800"},
        {"sentence": ["Send"]},
        {"expires_at": "1790000600"},
        {"expires_at": 1_790_000_600.5},
        {"expires_at": True},
        {"expires_at": 0},
        {"expires_at": 1 << 60},
        {"expires_at": None},
    ],
    ids=str,
)
def test_another_form_is_an_answer_like_any_other(
    http: httpx2.Client, desk: Desk, server: SealingServer, change: dict[str, object]
) -> None:
    server.app = lambda request, body: server.problem("approval-required", "asked", approval=desk.member(**change))
    response = http.post("/v1/withdrawals", json=BODY)
    assert (response.status_code, response.extensions["sealwire"].outcome) == (403, "not done")


@pytest.mark.parametrize("approval", [None, [], "apr_", {}, {"id": "apr_" + "0" * 26}])
def test_no_approval_is_an_answer(http: httpx2.Client, server: SealingServer, approval: object) -> None:
    server.app = lambda request, body: server.problem("approval-required", "asked", approval=approval)
    assert http.post("/v1/withdrawals", json=BODY).status_code == 403
    server.app = lambda request, body: server.problem("approval-required", "no-user")
    assert http.post("/v1/withdrawals", json=BODY).status_code == 403


def test_another_status_or_code_is_an_answer(http: httpx2.Client, desk: Desk, server: SealingServer) -> None:
    required = server.problem("approval-required", "asked", approval=desk.member())
    server.app = lambda request, body: required._replace(status=401)
    assert http.post("/v1/withdrawals", json=BODY).status_code == 401
    server.app = lambda request, body: server.problem("scope-insufficient", "missing", approval=desk.member())
    assert http.post("/v1/withdrawals", json=BODY).status_code == 403


@pytest.mark.parametrize(
    "link", ["http://localhost:8444/approve/x?y=1#z", "http://127.0.0.1/a", "http://[::1]:8444/a", "https://p.example"]
)
def test_links_that_are_taken(http: httpx2.Client, desk: Desk, server: SealingServer, link: str) -> None:
    """Plain HTTP on this machine only, for the demo."""
    server.app = lambda request, body: server.problem(
        "approval-required", "asked", approval=desk.member(url=link, more=1)
    )
    with pytest.raises(ApprovalRequired) as caught:
        http.post("/v1/withdrawals", json=BODY)
    assert caught.value.link == link


def test_denials_without_a_wait_are_answers(http: httpx2.Client, desk: Desk) -> None:
    """Who names an approval themselves gets what the server says to it."""
    with pytest.raises(ApprovalRequired) as caught:
        http.post("/v1/withdrawals", json=BODY)
    for desk.state in ("pending", "denied", "expired"):
        fields = {"Sealwire-Approval": caught.value.approval}
        response = http.post("/v1/withdrawals", json=BODY, headers=fields)
        assert (response.status_code, response.json()["code"]) == (403, f"approval-{desk.state}")


# --- what stays here -------------------------------------------------------------------------------------------------


def test_approval_and_key_stay_with_their_call(meets: Meets, desk: Desk, way: Way, server: SealingServer) -> None:
    """H5: what follows from the answer, in this origin or another, is another call."""
    caller = meets(on_approval=lambda asked: None)
    desk.state, elsewhere = "approved", b"/v1/next"
    before = desk.app

    def app(request: Request, body: bytes) -> Reply:
        if request.path == b"/v1/next":
            return Reply(200, ((b"content-type", b"text/plain"),), b"next")
        reply = before(request, body)
        return Reply(307, ((b"location", elsewhere),), b"") if reply.status == 201 else reply

    server.app = app
    assert caller.request("POST", "/v1/x", json=BODY, follow_redirects=True).text == "next"
    asked, used, followed = way.sent
    assert asked.headers["idempotency-key"] == used.headers["idempotency-key"] != followed.headers["idempotency-key"]
    assert "sealwire-approval" not in followed.headers
    elsewhere = b"https://evil.example/x"
    with pytest.raises(ForeignOrigin):
        caller.request("POST", "/v1/x", json=BODY, follow_redirects=True)
    assert {sent.url.host for sent in way.sent} == {"api.example.com"}
    assert caller.request("POST", "/v1/next", json=BODY).status_code == 200
    assert fields_of(way, "sealwire-approval")[-1] is None


def test_a_copy_has_the_words_and_nothing_else(meets: Meets, desk: Desk, credential: Credential) -> None:
    """P4: a worker's error is pickled on its way to the parent, and a log takes what it is given."""
    caller = meets()
    asked = asked_for(caller, "/v1/orders")
    assert asked.__dict__.keys().isdisjoint({"_repeat"})
    for copied in (pickle.loads(pickle.dumps(asked)), copy.deepcopy(asked), copy.copy(asked)):  # noqa: S301
        assert isinstance(copied, ApprovalRequired)
        assert (copied.sentence, copied.approval, str(copied)) == (asked.sentence, asked.approval, str(asked))
        with pytest.raises(SealwireError, match="copy"):
            caller.wait(copied)
    shown = [repr(asked), repr(vars(asked)), repr(asked._repeat), repr(asked._repeat._way)]  # type: ignore[attr-defined]
    shown += ["".join(traceback.format_exception(asked)), pickle.dumps(asked).decode("latin-1")]
    secret = credential.key.reveal().decode("ascii").splitlines()[1]
    for text in shown:
        assert secret not in text
        assert "amount" not in text
        assert "Transport object" not in text
    assert (repr(asked), repr(asked._repeat._way)) == ("ApprovalRequired()", "Way()")  # type: ignore[attr-defined]


def test_each_kind_waits_in_its_own_way(meets: Meets, desk: Desk, kind: Kind, way: Way) -> None:
    asked = asked_for(meets())

    def wrong() -> Any:
        return asked.wait_for_approval() if kind.tasks else asyncio.run(asked.wait_for_approval_async())

    with pytest.raises(SealwireError, match="transport for"):
        wrong()
    assert len(way.sent) == 1


# --- the real guard --------------------------------------------------------------------------------------------------


class There:
    """The way to a real guard."""

    def __init__(self, world: ApprovingWorld) -> None:
        self._world = world
        self._bridge = Bridge(world)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._bridge.handle_request(request)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        wire = Wire(request.method, request.url.raw_path, b"")
        wire.headers = [(name.lower(), value) for name, value in request.headers.raw]
        wire.body = await request.aread()
        return await self._world.send(wire)


def test_the_real_guard(kind: Kind, tmp_path: Path) -> None:
    """J1, J2: asked, pending, approved with a code from a phone, done once; then a second one, denied."""
    world = ApprovingWorld(tmp_path)
    asyncio.run(world.give_phone("bob"))
    told: list[ApprovalRequired] = []
    caller = Caller(kind, enrolled_there(world), There(world), world.clock.now, on_approval=told.append)

    async def answer(seconds: float) -> None:
        world.clock.at += seconds
        if len(caller.slept) == 2:
            assert (await world.approve(told[0].approval)).result == "right"
        if len(caller.slept) == 3:
            await world.presence.deny(await world.approval(told[1].approval), "user", "192.0.2.9")

    caller.meanwhile = answer
    response = caller.request("POST", "/v1/withdrawals", json=WITHDRAWAL)
    assert (response.status_code, response.json(), caller.slept) == (200, {"ok": True}, [2, 2])
    assert (told[0].sentence, told[0].link) == (SENTENCE, f"https://pages.example/approve/{told[0].approval}")
    assert caller.wait(told[0]).json() == {"ok": True}
    assert len(world.entered) == 1
    with pytest.raises(ApprovalDenied) as caught:
        caller.request("POST", "/v1/withdrawals", json=WITHDRAWAL)
    assert (caught.value.outcome, caught.value.proven, len(world.entered)) == ("not done", True, 1)
    caller.close()
