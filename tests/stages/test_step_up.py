"""Step up: a call waits for its person, and a yes is for this very call."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from sealwire.call import Approval, Approve, Assured, Body, Call, Caller, Idempotent, InSession, Plain, Rule
from sealwire.desk import Desk
from sealwire.ports import Decision
from sealwire.ports.people import PENDING_OF_A_USER, Attempt, Factor, Move
from sealwire.protocol.approval import ID, PARTS, Sentence, Shown
from sealwire.protocol.message import Reply
from sealwire.stages.step_up import StepUp
from tests.stages.made import CALLER, NOW, SESSION, KeptNotices, Stores, call, head, refused

BODY = b'{"asset": "BTC", "amount": "0.25", "address": "bc1qexample"}'
SENTENCE = "Send 0.25 BTC to bc1qexample"
TERMS = Approve(Sentence.read("Send {amount} {asset} to {address}"), ("totp",), 300)
ASKING = Rule("/v1/withdrawals", frozenset(("POST",)), "critical", approve=TERMS)
BY_APP = ASKING._replace(approve=Approve())
BOT = CALLER._replace(user="alice", client_name="Trading bot")
FRESH = Idempotent("cli_a alice", b"k", b"f", None)
JSON = b"application/json"


class Waiting:
    """The stage over fresh stores, and what it asked."""

    def __init__(self) -> None:
        self.stores = Stores()
        self.notices = KeptNotices()
        self._drawn = itertools.count()
        desk = Desk(self.stores.approvals, self.stores.keyring, self._draw, self.notices, "https://pages.example")
        self.desk, self.stage = desk, StepUp(desk)

    def _draw(self, count: int) -> bytes:
        return next(self._drawn).to_bytes(count, "big")

    async def asked(self) -> list[Approval]:
        """All that was asked, the newest first."""
        return await self.stores.approvals.approvals()

    async def ask(self, made: Call | None = None) -> str:
        """The id of what a call asked."""
        with refused("approval-required/asked", "policy"):
            await self.stage(made or withdrawal())
        return (await self.asked())[0].id

    async def approve(self, approval_id: str) -> None:
        """Its user says yes."""
        number = next(self._drawn)
        decision = Decision(approval_id, NOW, "approved", "totp", "cli_a", "alice", "key", "", "", "", "")
        await self.stores.approvals.add(
            Factor(f"fac_{number}", "alice", "totp", "Phone", b"w", "SHA1", 6, 0, NOW), decision
        )
        attempt = await self.stores.approvals.attempt("alice", approval_id, NOW)
        assert isinstance(attempt, Attempt)
        move = Move(f"fac_{number}", 0, 1)
        assert await self.stores.approvals.approve(approval_id, move, attempt, decision) == "approved"

    async def deny(self, approval_id: str) -> None:
        """Its user says no."""
        decision = Decision(approval_id, NOW, "denied", "user", "cli_a", "alice", "key", "", "", "", "")
        assert await self.stores.approvals.deny(approval_id, decision)


@pytest.fixture
def waiting() -> Waiting:
    """The stage over fresh stores."""
    return Waiting()


def withdrawal(
    body: bytes = BODY,
    *,
    approval: str | bytes = b"",
    method: str = "POST",
    target: bytes = b"/v1/withdrawals",
    authority: str = "api.example",
    kind: bytes = JSON,
    rule: Rule = ASKING,
    caller: Caller = BOT,
    idempotent: Idempotent = FRESH,
    now: float = NOW,
) -> Call:
    """A critical call, opened, fresh and in its session."""
    named = approval.encode() if isinstance(approval, str) else approval
    request = replace(head(method, target, more={b"sealwire-approval": named or None}), authority=authority)
    return call(request, rule, caller, InSession(SESSION, None), Plain(body, kind), idempotent, now=now)


# --- asking ----------------------------------------------------------------------------------------------------------


async def test_it_asks(waiting: Waiting) -> None:
    """The caller hears the sentence, a link and until when; its person hears once that something waits, not of what."""
    with refused("approval-required/asked", "policy") as caught:
        await waiting.stage(withdrawal())
    (kept,) = await waiting.asked()
    link = f"https://pages.example/approve/{kept.id}"
    assert ID.fullmatch(kept.id.encode())
    assert (caught.value.status, caught.value.detail) == (403, f'"{SENTENCE}"')
    told = {"id": kept.id, "url": link, "sentence": SENTENCE, "expires_at": NOW + 300}
    assert caught.value.members == {"approval": told}
    (notice,) = waiting.notices
    assert (notice.user, notice.about, notice.link) == ("alice", "asked", link)
    assert notice.text == "Trading bot asks for your approval. The page shows what for."
    assert all(word not in f"{notice.text} {notice.subject} {notice!r}" for word in ("0.25", "BTC", "bc1q"))


async def test_what_is_kept(waiting: Waiting) -> None:
    """Who asked, from where, under which terms; the sentence wrapped, what it is bound to as keyed digests."""
    await waiting.ask()
    (kept,) = await waiting.asked()
    assert (kept.client, kept.client_name, kept.user, kept.key) == ("cli_a", "Trading bot", "alice", "key")
    assert (kept.template, kept.factors, kept.address) == ("/v1/withdrawals", ("totp",), "192.0.2.1")
    assert (kept.asked_at, kept.expires_at, kept.state) == (NOW, NOW + 300, "pending")
    assert [len(digest) for digest in kept.binding] == [32] * len(PARTS)
    assert all(word not in kept.shown + b"".join(kept.binding) for word in (b"0.25", b"BTC", b"bc1q", b"api.example"))
    assert waiting.desk.shown(kept).sentence == SENTENCE
    assert repr(kept) == f"Approval({kept.id}, pending)"
    with refused("custody-unavailable/wrap"):
        waiting.desk.shown(kept._replace(id=kept.id[:-1] + "Z"))


async def test_the_same_call_asks_once(waiting: Waiting) -> None:
    """Sent again it gets the same link, and nobody is told again; another amount is another question."""
    first = await waiting.ask()
    later = withdrawal(now=NOW + 1)
    with refused("approval-required/asked", "policy") as caught:
        await waiting.stage(later)
    told = caught.value.members["approval"]
    assert isinstance(told, dict)
    assert (told["id"], told["expires_at"]) == (first, NOW + 300)
    assert len(waiting.notices) == 1
    assert await waiting.ask(withdrawal(BODY.replace(b"0.25", b"0.26"), now=NOW + 2)) != first
    assert len(waiting.notices) == len(await waiting.asked()) == 2


async def test_the_app_asks(waiting: Waiting) -> None:
    """Without a sentence in the rule the app is entered, and asks or not."""
    assert await waiting.stage(withdrawal(b"[]", rule=BY_APP)) == Assured()
    assert await waiting.asked() == []


async def test_answered_before(waiting: Waiting) -> None:
    """The repeat of a call that has its answer needs nobody, whatever it names."""
    answered = FRESH._replace(stored=Reply(200, (), b"{}"))
    for named in (b"", b"apr_nonsense"):
        assert await waiting.stage(withdrawal(approval=named, idempotent=answered)) == Assured()
    assert await waiting.asked() == []


async def test_what_cannot_be_shown_is_not_asked(waiting: Waiting) -> None:
    """A member that no sentence shows is the caller's to mend, with an approval or without one."""
    approval_id = await waiting.ask()
    for named in ("", approval_id):
        with refused("request-invalid/shown", "policy") as caught:
            await waiting.stage(withdrawal(BODY.replace(b'"0.25"', b"0.25"), approval=named))
        assert str(caught.value.members["errors"]).count("'/amount'") == 1
    assert len(await waiting.asked()) == 1


async def test_nobody_to_ask(waiting: Waiting) -> None:
    """A client that is no user's has nobody who could say yes."""
    with refused("approval-required/no-user", "policy"):
        await waiting.stage(withdrawal(caller=BOT._replace(user=None)))
    assert (await waiting.asked(), waiting.notices) == ([], [])


async def test_too_much_waits(waiting: Waiting) -> None:
    """A bot that goes on asking is rate-limited; its person hears of what waits, and of no more."""
    for amount in range(PENDING_OF_A_USER):
        await waiting.ask(withdrawal(BODY.replace(b"0.25", b"%d" % amount), now=NOW + amount / 1000))
    with refused("rate-limited/approvals", "policy") as caught:
        await waiting.stage(withdrawal(BODY.replace(b"0.25", b"one more")))
    assert (caught.value.status, caught.value.fields) == (429, ((b"retry-after", b"301"),))
    assert len(waiting.notices) == PENDING_OF_A_USER


# --- naming one ------------------------------------------------------------------------------------------------------


async def test_it_waits(waiting: Waiting) -> None:
    """Until somebody decides, the call is told to come again, and asks for no other."""
    approval_id = await waiting.ask()
    with refused("approval-pending/pending", "policy") as caught:
        await waiting.stage(withdrawal(approval=approval_id))
    assert caught.value.fields == ((b"retry-after", b"2"),)
    assert len(waiting.notices) == len(await waiting.asked()) == 1


async def test_approved(waiting: Waiting) -> None:
    """The yes is handed on, with its sentence; it is not used up here."""
    approval_id = await waiting.ask()
    await waiting.approve(approval_id)
    assured = await waiting.stage(withdrawal(approval=approval_id))
    assert assured.approval is not None
    assert (assured.approval.id, assured.approval.state) == (approval_id, "approved")
    assert assured.shown is not None
    assert assured.shown.sentence == SENTENCE
    assert await waiting.stores.approvals.approval(approval_id) == assured.approval


async def test_denied_and_used(waiting: Waiting) -> None:
    """A no is told, and so is that it was used."""
    denied = await waiting.ask()
    await waiting.deny(denied)
    with refused("approval-denied/denied", "policy"):
        await waiting.stage(withdrawal(approval=denied))
    used = await waiting.ask(withdrawal(now=NOW + 1))
    await waiting.approve(used)
    decision = Decision("req_1", NOW, "entered", "ok", "cli_a", "alice", "key", "", "POST", "/v1/withdrawals", "")
    assert await waiting.stores.ledger.record(decision, approval=used) == "recorded"
    with refused("approval-required/used", "policy") as caught:
        await waiting.stage(withdrawal(approval=used))
    assert caught.value.detail == "This approval was used before."
    assert "approval" not in caught.value.members


@pytest.mark.parametrize("approved", [False, True])
async def test_past_its_time(waiting: Waiting, *, approved: bool) -> None:
    """Just before its end it counts, at the exact second it is expired, pending or approved."""
    approval_id = await waiting.ask()
    if approved:
        await waiting.approve(approval_id)
        assert await waiting.stage(withdrawal(approval=approval_id, now=NOW + 299.999)) != Assured()
    else:
        with refused("approval-pending/pending", "policy"):
            await waiting.stage(withdrawal(approval=approval_id, now=NOW + 299.999))
    with refused("approval-expired/expired", "policy"):
        await waiting.stage(withdrawal(approval=approval_id, now=NOW + 300))


@pytest.mark.parametrize(
    "named", [b"apr_", b"x", b"apr_" + b"0" * 26, b"apr_" + b"0" * 25 + b"\xc3", b"apr_" + b"0" * 27]
)
async def test_of_nobody(waiting: Waiting, named: bytes) -> None:
    """No approval of this id, or no id at all: nobody is asked for another."""
    with refused("approval-required/unknown", "policy") as caught:
        await waiting.stage(withdrawal(approval=named))
    assert (await waiting.asked(), caught.value.members) == ([], {})


@pytest.mark.parametrize("other", [{"client": "cli_b"}, {"key": "key_2"}, {"user": "bob"}, {"user": None}])
async def test_of_another_principal(waiting: Waiting, other: dict[str, Any]) -> None:
    """J1: another client's, key's or user's approval is none, in the same words as one that is not there."""
    approval_id = await waiting.ask()
    await waiting.approve(approval_id)
    with refused("approval-required/unknown", "policy") as caught:
        await waiting.stage(withdrawal(approval=approval_id, caller=BOT._replace(**other)))
    assert caught.value.detail == "This key asked for no such approval."


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"authority": "b.example"}, "another authority"),
        ({"method": "PUT"}, "another method"),
        ({"target": b"/v1/withdrawals/2"}, "another path"),
        ({"target": b"/v1/withdrawals?fast"}, "another query"),
        ({"kind": b"application/json;charset=utf-8"}, "another content type"),
        ({"body": BODY + b" "}, "another body"),
        ({"body": BODY.replace(b"}", b', "more": 1}')}, "another body"),
        ({"body": BODY.replace(b"0.25", b"0.26")}, "amount 0.25"),
        ({"body": BODY.replace(b"bc1qexample", b"bc1qother")}, "address bc1qexample"),
        ({"body": BODY.replace(b"BTC", b"ETH"), "target": b"/v1/other"}, "asset BTC"),
        (
            {"rule": ASKING._replace(approve=TERMS._replace(show=Sentence.read("Pay {amount} {asset} to {address}")))},
            "another sentence",
        ),
    ],
)
@pytest.mark.parametrize("decided", ["", "approve", "deny"])
async def test_of_another_call(waiting: Waiting, other: dict[str, Any], said: str, decided: str) -> None:
    """J1: whatever differs is named, to the key that asked, before the state is: no yes is lent to another call."""
    approval_id = await waiting.ask()
    if decided:
        await getattr(waiting, decided)(approval_id)
    with refused("approval-required/differs", "policy") as caught:
        await waiting.stage(withdrawal(**{"approval": approval_id, **other}))
    assert caught.value.detail == f"this approval was for {said}"
    assert len(await waiting.asked()) == 1


async def test_what_the_app_asked_for(waiting: Waiting) -> None:
    """Its sentence comes back with the yes; the call is held to all else that it was."""
    asking = withdrawal(rule=BY_APP)
    raised = await waiting.desk.ask(asking, Shown("Send it all"), Approve(), "app")
    assert (raised.code, raised.detail) == ("approval-required/app", '"Send it all"')
    (kept,) = await waiting.asked()
    assert (kept.factors, kept.expires_at) == (("totp", "hotp"), NOW + 600)
    await waiting.approve(kept.id)
    assured = await waiting.stage(withdrawal(rule=BY_APP, approval=kept.id))
    assert assured.shown == Shown("Send it all")
    assert assured.approval is not None
    with refused("approval-required/differs", "policy") as caught:
        await waiting.stage(withdrawal(BODY + b" ", rule=BY_APP, approval=kept.id))
    assert caught.value.detail == "this approval was for another body"


# --- wiring ----------------------------------------------------------------------------------------------------------


async def test_a_rule_without_its_terms_enters_nothing(waiting: Waiting) -> None:
    """A critical rule that was made without terms is our fault, and nobody's way in."""
    with refused("internal/evidence"):
        await waiting.stage(withdrawal(rule=ASKING._replace(approve=None)))


@pytest.mark.parametrize("missing", [InSession, Idempotent])
async def test_not_before_the_others(waiting: Waiting, missing: type) -> None:
    """Without a session, or a judged idempotency key, nothing is asked and nothing assured."""
    made = withdrawal(rule=BY_APP)
    held = [one for kind, one in made.held.items() if kind is not missing]
    with pytest.raises(KeyError):
        await waiting.stage(call(made.request, BY_APP, *held, Body(b"")))


async def test_a_binding_of_another_length(waiting: Waiting) -> None:
    """What is kept of fewer parts than are compared, as no version kept it, lets nothing through."""
    approval_id = await waiting.ask()
    await waiting.approve(approval_id)
    held = waiting.stores.approvals._approvals[approval_id]
    waiting.stores.approvals._approvals[approval_id] = held._replace(binding=held.binding[:3])
    with pytest.raises(ValueError, match="shorter"):
        await waiting.stage(withdrawal(approval=approval_id))
