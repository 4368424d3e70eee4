"""
An approval is for one call, and for no other that looks like it

The attacker has a yes that was said to a small thing and holds keys to send a larger one with it, or holds the approval
of somebody else. Each refusal names what differs to who asked, and tells nobody else anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.call import Approve, Rule
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.entry import ApprovalNeeded
from sealwire.errors import Misuse
from sealwire.fronts.asgi import GuardedApp, Receive, Scope, Send
from sealwire.protocol.approval import Sentence
from sealwire.protocol.jwk import Signer
from sealwire.protocol.signature import signer_of
from tests.stories.approving import SENTENCE, TARGET, WITHDRAWAL, ApprovingWorld, ask, asked_for, asking, begun, code_of
from tests.stories.sealing import Opened, bare, open_session, problem_of, sealed, turned_away
from tests.stories.world import Wire

SHOW = Approve(Sentence.read("Send {amount} {asset} to {address}"), ("totp",), 600)


def critical(template: str) -> Rule:
    """A rule that takes all that can differ beside a body."""
    return Rule(
        template, frozenset(("POST", "PUT")), "critical", idempotency_required=True, approve=SHOW,
        clear_query=frozenset(("note",)), content_types=frozenset(("application/json", "application/*+json")),
    )  # fmt: skip


RULES = (
    critical("/v1/withdrawals"),
    critical("/v1/transfers"),
    Rule("/v1/time", frozenset(("GET",)), "open"),
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
    Rule("/v1/orders", frozenset(("GET", "POST")), "sealed"),
)
BODY = {**WITHDRAWAL, "amount": "10", "note": "rent"}
Change = Callable[..., Any]


@pytest.fixture
async def begun_here(tmp_path: Path) -> tuple[ApprovingWorld, Opened]:
    """A world, and alice's session."""
    return await begun(tmp_path, rules=RULES)


async def approved(world: ApprovingWorld, session: Opened, **how: Any) -> str:
    """Asked for with `how`, and given."""
    approval = await asked_for(world, session, **how)
    assert (await world.approve(approval)).result == "right"
    return approval


def method(wire: Wire, name: str) -> Wire:
    """The same with another method."""
    wire.method = name
    return wire


def at_host(world: ApprovingWorld, wire: Wire, host: bytes) -> Wire:
    """Signed for another authority."""
    wire.change(b"host", host)

    def sign(base: bytes) -> bytes:
        return world.signer.sign(base.replace(b'"@authority": api.example', b'"@authority": ' + host))

    return wire.sign(world.signer, int(world.clock.at), secret=sign)


DIFFERS: dict[str, tuple[str, dict[str, Any]]] = {
    "amount": ("amount 10", {"body": {**BODY, "amount": "11"}}),
    "amount as a number": ("another body", {"body": {**BODY, "amount": 10}}),
    "amount with a space": ("amount 10", {"body": {**BODY, "amount": "10 "}}),
    "payee": (f"address {BODY['address']}", {"body": {**BODY, "address": "bc1qmallory"}}),
    "payee in capitals": (f"address {BODY['address']}", {"body": {**BODY, "address": BODY["address"].upper()}}),
    "asset": ("asset BTC", {"body": {**BODY, "asset": "ETH"}}),
    "what is not shown": ("another body", {"body": {**BODY, "note": "not the rent"}}),
    "a member more": ("another body", {"body": {**BODY, "fee": "9"}}),
    "a member less": ("another body", {"body": WITHDRAWAL | {"amount": "10"}}),
    "order of members": ("another body", {"body": dict(reversed(BODY.items()))}),
    "route": ("another path", {"target": b"/v1/transfers"}),
    "query": ("another query", {"target": TARGET + b"?note=x"}),
    "empty query": ("another query", {"target": TARGET + b"?note="}),
    "content type": ("another content type", {"content_type": "application/json; charset=utf-8"}),
}


@pytest.mark.parametrize("what", DIFFERS)
async def test_used_for_another_call(begun_here: tuple[ApprovingWorld, Opened], what: str) -> None:
    """
    J1: approved for 10, used with 11, another payee, asset, member, route, query or content type.

    Stopped by: step up
    """
    world, session = begun_here
    approval = await approved(world, session, body=BODY)
    named, how = DIFFERS[what]
    reply = await ask(world, session, **{"body": BODY, "approval": approval, "key": "changed", **how})
    problem = problem_of(reply, session)
    assert (reply.status_code, problem["code"]) == (403, "approval-required")
    assert problem["detail"] == f"this approval was for {named}"
    assert "approval" not in problem, "a changed call asks nobody"
    assert world.entered == []
    # The yes is still there for what it was said to.
    assert (await ask(world, session, BODY, approval=approval)).status_code == 200


async def test_used_with_another_method_and_authority(begun_here: tuple[ApprovingWorld, Opened]) -> None:
    """
    J1: the same body to the same path by PUT, and to another host of the same server.

    Stopped by: step up
    """
    world, session = begun_here
    hosts = frozenset(("api.example", "eu.example"))
    world.guard._deployment = world.guard._deployment._replace(authorities=hosts)
    approval = await approved(world, session, body=BODY)
    put = method(asking(session, BODY, approval=approval, key="put"), "PUT").sign(world.signer)
    there = at_host(world, asking(session, BODY, approval=approval, key="there"), b"eu.example")
    for wire, named in ((put, "method"), (there, "authority")):
        problem = await turned_away(world, wire, 403, "approval-required", session)
        assert problem["detail"] == f"this approval was for another {named}"
    # Either is a call of its own, which a person can say yes to.
    unasked = at_host(world, asking(session, BODY, key="there"), b"eu.example")
    problem = await turned_away(world, unasked, 403, "approval-required", session)
    assert isinstance(problem["approval"], dict)
    assert problem["approval"]["id"] != approval


async def test_used_by_another(begun_here: tuple[ApprovingWorld, Opened]) -> None:
    """
    J1: by another client, by another key of the same client, and by a client of the same user: the answer is that of an
    approval that never was, whatever its state.

    Stopped by: step up
    """
    world, session = begun_here
    mallory, second, other_bot = (signer_of(Ed25519PrivateKey.generate()) for _ in range(3))
    world.add_key(mallory, "mallory")
    world.add_key(second, "alice")
    world.add_key(other_bot, "other")
    record = world.directory._keys[other_bot.keyid]
    world.directory._keys[other_bot.keyid] = record._replace(user="alice")
    states = {
        "pending": await asked_for(world, session, body={**BODY, "amount": "1"}),
        "approved": await approved(world, session, body={**BODY, "amount": "2"}),
        "denied": await asked_for(world, session, body={**BODY, "amount": "3"}),
    }
    assert await world.presence.deny(await world.approval(states["denied"]), "user", "192.0.2.9")
    for signer in (mallory, second, other_bot):
        own = await open_session(world, signer=signer)
        said = set()
        for number, approval in enumerate((*states.values(), "apr_01ARZ3NDEKTSV4RRFFQ69G5FAV", "nonsense"), 1):
            body = {**BODY, "amount": str(number)}
            reply = await ask(world, own, body, approval=approval, key=f"k{number}", signer=signer)
            problem = problem_of(reply, own)
            del problem["request_id"]
            said.add(json.dumps(problem, sort_keys=True))
        assert len(said) == 1
        (only,) = said
        assert json.loads(only)["detail"] == "This key asked for no such approval."
        for told in ("rent", BODY["address"], "alice", *states.values()):
            assert told not in only
    # Nor does the same key use what its former user said yes to, once its client is another user's.
    own_record = world.directory._keys[world.signer.keyid]
    world.directory._keys[world.signer.keyid] = own_record._replace(user="bob")
    problem = problem_of(await ask(world, session, {**BODY, "amount": "2"}, approval=states["approved"]), session)
    assert problem["detail"] == "This key asked for no such approval."
    assert world.entered == []
    assert [(await world.approval(one)).state for one in states.values()] == list(states)


async def test_each_of_two_at_once_has_its_own(begun_here: tuple[ApprovingWorld, Opened]) -> None:
    """
    J1: the same withdrawal asked for by two bots of one user: two questions, and neither yes serves the other.

    Stopped by: step up
    """
    world, session = begun_here
    second = signer_of(Ed25519PrivateKey.generate())
    world.add_key(second, "alice")
    other = await open_session(world, signer=second)
    one = await asked_for(world, session, body=BODY)
    two = await asked_for(world, other, body=BODY, signer=second, key="two")
    assert one != two
    assert (await world.approve(one)).result == "right"
    problem = problem_of(await ask(world, other, BODY, approval=one, signer=second, key="two"), other)
    assert problem["detail"] == "This key asked for no such approval."
    reply = await ask(world, other, BODY, approval=two, signer=second, key="two")
    assert code_of(reply, other) == "approval-pending"


async def test_an_approval_that_nobody_signed_for(begun_here: tuple[ApprovingWorld, Opened]) -> None:
    """
    A12, D16: the approval added to a signed call, taken out of one, changed, and named by Connection: on critical rules
    and on others.

    Stopped by: verify
    """
    world, session = begun_here
    approval = await approved(world, session, body=BODY)
    field = b"sealwire-approval"

    def unsigned(kind: str) -> Wire:
        if kind == "critical":
            return asking(session, BODY)
        return sealed(session) if kind == "sealed" else Wire()

    for kind in ("critical", "sealed", "signed"):
        added = unsigned(kind).sign(world.signer).change(field, approval.encode())
        problem = await turned_away(world, added, 401, "components-insufficient")
        assert '"sealwire-approval"' in str(problem["detail"])
        hop = unsigned(kind).change(field, approval.encode()).change(b"connection", b"close, Sealwire-Approval")
        problem = await turned_away(world, hop.sign(world.signer), 401, "components-insufficient")
        assert '"sealwire-approval"' in str(problem["detail"])
    other = await asked_for(world, session, body={**BODY, "amount": "11"})
    changed = asking(session, BODY, approval=other).sign(world.signer).change(field, approval.encode())
    await turned_away(world, changed, 401, "signature-mismatch")
    gone = asking(session, BODY, approval=approval).sign(world.signer).without(field)
    await turned_away(world, gone, 401, "components-insufficient")
    assert (await world.approval(approval)).state == "approved"
    assert (await ask(world, session, BODY, approval=approval)).status_code == 200


async def test_an_approval_on_a_rule_that_wants_none(begun_here: tuple[ApprovingWorld, Opened]) -> None:
    """
    J1: sent with open, signed and sealed calls: they go through as without it, it is not used up, the app does not see
    it, and cannot ask there.

    Stopped by: step up
    """
    world, session = begun_here
    approval = await approved(world, session, body=BODY)

    def with_it(wire: Wire, signer: Signer | None) -> Wire:
        wire.change(b"sealwire-approval", approval.encode())
        return wire if signer is None else wire.sign(signer)

    own = world.signer
    for wire in (
        with_it(Wire("GET", b"/v1/time"), None),
        with_it(Wire(), own),
        with_it(sealed(session), own),
        with_it(bare(session.id), own),
    ):
        assert (await world.send(wire)).status_code == 200
        scope = world.entered[-1]
        assert b"sealwire-approval" not in dict(scope["headers"])
        with pytest.raises(RuntimeError, match="not of profile critical"):
            await scope["sealwire"].need_approval("Send it")
    assert (await world.approval(approval)).state == "approved"


@pytest.mark.parametrize("sentence", ["", " ", "Send it"])
async def test_an_app_that_asks_where_nobody_was(tmp_path: Path, sentence: str) -> None:
    """
    J1: the app asks with whatever sentence, an empty one too: without an approval it does not get past that.

    Stopped by: guard
    """
    world, session = await begun(tmp_path)
    passed: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["sealwire"].need_approval(sentence)
        passed.append(sentence)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    world.app = GuardedApp(app, world.guard)
    reply = await ask(world, session, target=b"/v1/payouts")
    assert (reply.status_code, code_of(reply, session)) == (403, "approval-required")
    assert passed == []


async def test_an_app_that_asks_on_after_a_no(tmp_path: Path) -> None:
    """
    J1: one sentence was approved; the app asks for another first, makes nothing of the no, and then for the one: it
    gets past neither, or it would act on a call that ends as refused.

    Stopped by: guard
    """
    world, session = await begun(tmp_path)
    wanted, passed = ["one"], []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for sentence in wanted:
            try:
                await scope["sealwire"].need_approval(sentence)
                passed.append(sentence)
            except ApprovalNeeded:
                pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    world.app = GuardedApp(app, world.guard)
    approval = await asked_for(world, session, target=b"/v1/payouts")
    assert (await world.approve(approval)).result == "right"
    wanted[:] = ["other", "one", "third"]
    problem = problem_of(await ask(world, session, target=b"/v1/payouts", approval=approval), session)
    assert isinstance(problem["approval"], dict)
    assert problem["approval"]["sentence"] == "other"
    assert passed == []


async def test_an_app_that_asks_for_more_than_its_rule_shows(tmp_path: Path) -> None:
    """
    J1: the rule shows one sentence, was approved, and the app wants a yes to another one, which no call could ever
    bring: a mistake of the deployment, said in the log; nothing is asked and nothing goes out of what the app sends.

    Stopped by: guard
    """
    world, session = await begun(tmp_path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await scope["sealwire"].need_approval("Send it at another rate")
        except ApprovalNeeded:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

    world.app = GuardedApp(app, world.guard)
    approval = await approved(world, session)
    reply = await ask(world, session, approval=approval)
    assert (reply.status_code, code_of(reply, session)) == (500, "internal")
    assert [one.id for one in await world.asked.approvals()] == [approval]


async def test_an_app_that_asks_what_its_rule_shows(tmp_path: Path) -> None:
    """
    J1: the app asks for the very sentence that its rule shows, which was approved.

    Stopped by: nothing
    """
    world, session = await begun(tmp_path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["sealwire"].need_approval(SENTENCE)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    world.app = GuardedApp(app, world.guard)
    approval = await approved(world, session)
    assert (await ask(world, session, approval=approval)).status_code == 200


async def test_an_app_whose_client_left_when_it_asked(tmp_path: Path) -> None:
    """
    J1: the client is gone by the time the app asks, and the app gives up for that: its person is asked all the same,
    and the idempotency key is free for the approved repeat.

    Stopped by: guard
    """
    world, session = await begun(tmp_path)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await scope["sealwire"].need_approval("Pay it")
        except Exception:  # noqa: BLE001  # as a framework does
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    world.app = GuardedApp(app, world.guard)
    approval = await asked_for(world, session, target=b"/v1/payouts")
    assert (await world.approve(approval)).result == "right"
    assert (await ask(world, session, target=b"/v1/payouts", approval=approval)).status_code == 200


@pytest.mark.parametrize(
    ("more", "about"),
    [
        ('mode = "observe"', 'mode = "observe"'),
        ("session_mac = true", "session_mac"),
        ('replay = "fast"', 'replay = "fast"'),
        ('methods = ["GET", "POST"]', "methods"),
        ("approve = {with = []}", "approve.with"),
        ('approve = {with = ["sms"]}', "sms"),
    ],
)
def test_a_policy_that_lets_calls_past_a_person(tmp_path: Path, more: str, about: str) -> None:
    """
    J1: critical rules that only observe, take the session's key for a signature, or name no factor, do not start.

    Stopped by: configuration
    """
    state = DemoState(tmp_path, 8443)
    state.make()
    head = state.config.read_text("utf-8").partition("[[rules]]")[0]
    methods = "" if more.startswith("methods") else 'methods = ["POST"]\n'
    rule = f'[[rules]]\npath = "/v1/withdrawals"\n{methods}profile = "critical"\n{more}\n'
    state.config.write_text(head + rule, "utf-8")
    with pytest.raises(Misuse) as misuse:
        load(state.config)
    assert about in str(misuse.value)
