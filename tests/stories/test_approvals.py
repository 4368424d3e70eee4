"""
What moves money waits for a person, whoever holds the keys

The attacker has the bot's signing key and its session, or has taken the one approval there is and wants more of it than
was said yes to: another time, later, before it was said, or with its bot disowned.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.call import Approve, Rule
from sealwire.errors import Misuse
from sealwire.protocol.approval import Sentence
from sealwire.protocol.signature import signer_of
from tests.stories.approving import (
    CRITICAL_RULES,
    SENTENCE,
    WITHDRAWAL,
    ApprovingWorld,
    ask,
    asked_for,
    asking,
    begun,
    code_of,
)
from tests.stories.sealing import (
    IN_MEMORY,
    Opened,
    Stores,
    bare,
    by_mac,
    make_fast,
    open_session,
    problem_of,
    sealed,
    turned_away,
)
from tests.stories.world import START

THEIRS = {**WITHDRAWAL, "address": "bc1qmallory"}
RULES = (
    *CRITICAL_RULES,
    Rule("/v1/quotes", frozenset(("GET", "POST")), "sealed", session_mac=True),
)  # fmt: skip
Begun = tuple[ApprovingWorld, Opened]


@pytest.fixture(params=["memory", "sqlite"])
async def both(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Begun]:
    """A world with alice's phone and her bot's session, over each kind of store."""
    stores = IN_MEMORY if request.param == "memory" else Stores(make_fast(tmp_path), tmp_path / "durable.db")
    world, session = await begun(tmp_path, stores, RULES)
    yield world, session
    world.close()


async def approved(world: ApprovingWorld, session: Opened) -> str:
    """The id of an approval that was asked for and given."""
    approval = await asked_for(world, session)
    assert (await world.approve(approval)).result == "right"
    return approval


async def refused(world: ApprovingWorld, session: Opened, code: str, **how: object) -> dict[str, object]:
    """Asks, is refused so, and the app is not entered."""
    entered = len(world.entered)
    reply = await ask(world, session, **how)  # type: ignore[arg-type]
    problem = problem_of(reply, session)
    assert (reply.status_code, problem["code"]) == (403, code), problem
    assert len(world.entered) == entered
    return problem


async def test_the_bot_asks_and_a_person_answers(both: Begun) -> None:
    """
    J2: asked with a link, pending, approved with a code, entered once; the repeat gets the same answer.

    Stopped by: step up
    """
    world, session = both
    reply = await ask(world, session)
    problem = problem_of(reply, session)
    assert (reply.status_code, problem["code"], problem["retryable"]) == (403, "approval-required", False)
    told = problem["approval"]
    assert isinstance(told, dict)
    assert (told["sentence"], told["url"]) == (SENTENCE, f"https://pages.example/approve/{told['id']}")
    assert told["expires_at"] == int(world.clock.at) + 600
    assert [(notice.user, notice.about, notice.link) for notice in world.notices[1:]] == [
        ("alice", "asked", told["url"])
    ]
    waiting = await ask(world, session, approval=told["id"])
    assert code_of(waiting, session) == "approval-pending"
    assert waiting.headers["retry-after"] == "2"
    assert world.entered == []
    assert (await world.approve(told["id"])).result == "right"
    done = await ask(world, session, approval=told["id"])
    assert (done.status_code, session.read(done)[0]) == (200, b'{"ok": true}')
    again = await ask(world, session, approval=told["id"])
    assert session.read(again)[0] == b'{"ok": true}'
    assert len(world.entered) == 1


async def test_an_approval_used_twice(both: Begun) -> None:
    """
    J2: used once, it is sent with the same call under another idempotency key; and with the same key and another body.

    Stopped by: step up
    """
    world, session = both
    approval = await approved(world, session)
    assert (await ask(world, session, approval=approval)).status_code == 200
    problem = await refused(world, session, "approval-required", approval=approval, key="withdrawal-2")
    assert problem["detail"] == "This approval was used before."
    assert (await world.approval(approval)).state == "used"
    conflict = await ask(world, session, THEIRS, approval=approval)
    assert (conflict.status_code, code_of(conflict, session)) == (422, "idempotency-conflict")
    assert len(world.entered) == 1


async def test_an_approval_that_is_over(both: Begun) -> None:
    """
    J2: a yes counts to its last moment and not at the second it ends; nor can it be given or taken back then.

    Stopped by: step up
    """
    world, session = both
    for key, after, counts in (("in-time", 599.999, True), ("late", 600, False)):
        asked_at = world.clock.at
        approval = await asked_for(world, session, key=key)
        assert (await world.approve(approval)).result == "right"
        world.clock.at = asked_at + after
        session = await open_session(world)
        if counts:
            assert (await ask(world, session, approval=approval, key=key)).status_code == 200
        else:
            await refused(world, session, "approval-expired", approval=approval, key=key)
    unsaid = await asked_for(world, session, key="unsaid")
    world.clock.at += 600
    assert (await world.approve(unsaid)).result == "late"
    assert not await world.presence.deny(await world.approval(unsaid), "user", "192.0.2.9")
    session = await open_session(world)
    await refused(world, session, "approval-expired", approval=unsaid, key="unsaid")
    assert len(world.entered) == 1


async def test_an_approval_that_runs_out_before_the_decision(both: Begun) -> None:
    """
    J2: it was good when the call came in, and is over when the decision is written: time is judged there once more.

    Stopped by: guard
    """
    world, session = both
    approval = await approved(world, session)
    record = world.books.record

    async def slow(*given: object) -> object:
        world.clock.at = START + 600
        return await record(*given)  # type: ignore[arg-type]

    world.clock.at = START + 590
    world.guard._ledger = Recording(world.books, slow)  # type: ignore[assignment]
    await refused(world, session, "approval-required", approval=approval)
    await refused(world, session, "approval-expired", approval=approval)
    assert (await world.approval(approval)).state == "approved"
    assert world.entered == []


class Recording:
    """The ledger, with something done before each record: what a busy machine does."""

    def __init__(self, ledger: object, record: object) -> None:
        self._ledger = ledger
        self.record = record

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)


async def test_a_key_frozen_between_check_and_decision(both: Begun) -> None:
    """
    J2: "This was not me" is said while a call with the approval has passed every check and is not yet decided.

    Stopped by: guard
    """
    world, session = both
    approval = await approved(world, session)
    record = world.books.record

    async def late(*given: object) -> object:
        world.guard._ledger = world.books
        await world.presence.disown(await world.approval(approval), "192.0.2.9")
        return await record(*given)  # type: ignore[arg-type]

    world.guard._ledger = Recording(world.books, late)  # type: ignore[assignment]
    await refused(world, session, "approval-required", approval=approval)
    assert (await world.approval(approval)).state == "denied"


async def test_an_approval_that_was_not_given(both: Begun) -> None:
    """
    J2: used before it was given, and after it was denied; a no is not turned into a yes by a right code.

    Stopped by: step up
    """
    world, session = both
    approval = await asked_for(world, session)
    problem = await refused(world, session, "approval-pending", approval=approval)
    assert problem["retryable"] is True
    assert await world.presence.deny(await world.approval(approval), "user", "192.0.2.9")
    await refused(world, session, "approval-denied", approval=approval)
    assert (await world.approve(approval)).result == "late"
    await refused(world, session, "approval-denied", approval=approval)


async def test_both_secrets_of_the_bot_in_hand(both: Begun) -> None:
    """
    J1, J2: with its signing key and its session: asked without an approval, with one that waits, with one made up, by
    the session's key alone, again and again. What the attacker asks for itself is shown to a person as it is.

    Stopped by: step up
    """
    world, session = both
    own = await open_session(world)
    waiting = await asked_for(world, own, body=THEIRS)
    assert await asked_for(world, session, body=THEIRS, key="other") == waiting, "one question, however often"
    await refused(world, own, "approval-pending", body=THEIRS, approval=waiting)
    for made_up in ("apr_01ARZ3NDEKTSV4RRFFQ69G5FAV", "apr_1", "x" * 5000, f"{waiting}, {waiting}", '"', "%00"):
        await refused(world, own, "approval-required", body=THEIRS, approval=made_up)
    mac = by_mac(asking(own, THEIRS, approval=waiting), own, int(START))
    await turned_away(world, mac, 401, "algorithm-not-allowed")
    for guess in ("000000", "", "0" * 6 + "\n", "１２３４５６"):
        assert (await world.approve(waiting, guess)).result == "wrong"
    shown = world.guard._desk.shown(await world.approval(waiting))
    assert shown.sentence == "Send 0.25 BTC to bc1qmallory"
    for number in range(2, 21):
        await asked_for(world, own, body={**THEIRS, "amount": str(number)})
    reply = await ask(world, own, {**THEIRS, "amount": "21"})
    assert (reply.status_code, code_of(reply, own)) == (429, "rate-limited")
    assert world.entered == []


async def test_this_was_not_me(both: Begun) -> None:
    """
    J2: the user disowns what their bot asks. Its keys sign nothing, its sessions are over for good, what waits and what
    was approved is denied; the operator's thaw brings back the keys, and none of the rest.

    Stopped by: verify
    """
    world, session = both
    second = signer_of(Ed25519PrivateKey.generate())
    if world.people is world.directory:
        world.add_key(second, "alice")
    yes, waits = await approved(world, session), await asked_for(world, session, body=THEIRS, key="theirs")
    quote = by_mac(bare(session.id, b"/v1/quotes"), session, int(START))
    assert (await world.send(quote)).status_code == 200
    entered = len(world.entered)
    frozen = await world.presence.disown(await world.approval(waits), "192.0.2.9")
    assert frozen == (2 if world.people is world.directory else 1)
    assert [notice.about for notice in world.notices].count("frozen") == 1
    assert [(await world.approval(one)).state for one in (yes, waits)] == ["denied", "denied"]
    signed = asking(session, approval=yes)
    await turned_away(world, signed.sign(world.signer), 401, "key-unknown")
    await turned_away(world, by_mac(bare(session.id, b"/v1/quotes"), session, int(START)), 401, "key-unknown")
    with pytest.raises(AssertionError, match="key-unknown"):
        await open_session(world)
    assert (await world.approve(waits)).result == "late"
    world.clock.at += 1
    assert await world.presence.thaw("cli_alice", "192.0.2.9") == frozen
    # The key signs again; the session that was open when it was frozen stays over, under either key.
    await turned_away(world, asking(session, approval=yes).sign(world.signer), 401, "session-unknown")
    await turned_away(world, by_mac(bare(session.id, b"/v1/quotes"), session, int(START)), 401, "session-unknown")
    await turned_away(world, sealed(session, target=b"/v1/quotes").sign(world.signer), 401, "session-unknown")
    fresh = await open_session(world)
    await refused(world, fresh, "approval-denied", approval=yes)
    await refused(world, fresh, "approval-denied", body=THEIRS, approval=waits, key="theirs")
    assert len(world.entered) == entered


async def test_a_session_opened_while_the_user_says_no(both: Begun) -> None:
    """
    J2: a handshake that began before the keys were frozen and ends after it; the operator thaws later. It is over too.

    Stopped by: session
    """
    world, session = both
    waits = await asked_for(world, session)
    keep = world.session_store.keep

    async def slow(*given: object) -> None:
        await world.presence.disown(await world.approval(waits), "192.0.2.9")
        await keep(*given)  # type: ignore[arg-type]

    world.session_store.keep = slow  # type: ignore[method-assign,assignment]
    between = await open_session(world)
    world.clock.at += 1
    await world.presence.thaw("cli_alice", "192.0.2.9")
    await turned_away(world, asking(between).sign(world.signer), 401, "session-unknown")


@pytest.mark.parametrize("keys", ["a key for each", "one key"])
async def test_two_hundred_at_once(both: Begun, keys: str) -> None:
    """
    J2: one approval, used 200 times in parallel, each under a key of its own and all under one.

    Stopped by: guard
    """
    world, session = both
    approval = await approved(world, session)

    def key(number: int) -> str:
        return f"key-{number}" if keys == "a key for each" else "key"

    wires = [asking(session, approval=approval, key=key(number)).sign(world.signer) for number in range(200)]
    replies = await asyncio.gather(*(world.send(wire) for wire in wires))
    done = [reply for reply in replies if reply.status_code == 200]
    codes = {code_of(reply, session) for reply in replies if reply.status_code != 200}
    assert len(world.entered) == 1
    if keys == "a key for each":
        assert len(done) == 1
        assert codes == {"approval-required"}
    else:
        assert len(done) >= 1
        assert codes <= {"idempotency-in-progress"}
    assert (await world.approval(approval)).state == "used"
    if keys == "one key":
        return
    # Those that lost it in the decision's transaction did not take their keys with them: a new yes goes through.
    world.clock.at += 30
    fresh = await approved(world, session)
    lost = next(at for at, reply in enumerate(replies) if reply.status_code == 403)
    assert (await ask(world, session, approval=fresh, key=key(lost))).status_code == 200
    assert len(world.entered) == 2


async def test_an_answer_lost_on_the_way(both: Begun) -> None:
    """
    J2: the approved call is done and its answer lost. The repeat under its key finds it, with the approval and without,
    also from another session; a day later the key is forgotten and the approval still used.

    Stopped by: guard
    """
    world, session = both
    approval = await approved(world, session)
    await ask(world, session, approval=approval)  # whose answer nobody saw
    other = await open_session(world)
    for again in (await ask(world, other, approval=approval), await ask(world, other)):
        assert (again.status_code, other.read(again)[0]) == (200, b'{"ok": true}')
    world.clock.at += 24 * 3600
    later = await open_session(world)
    await refused(world, later, "approval-required", approval=approval)
    assert len(world.entered) == 1


async def test_a_refusal_is_not_kept_under_the_key(both: Begun) -> None:
    """
    J2: each refusal on the way to a yes leaves the idempotency key free: the approved repeat under it goes through.

    Stopped by: guard
    """
    world, session = both
    approval = await asked_for(world, session, key="k")
    await refused(world, session, "approval-pending", approval=approval, key="k")
    await refused(world, session, "approval-required", approval="apr_1", key="k")
    await refused(world, session, "approval-required", body=THEIRS, approval=approval, key="k")
    assert (await world.approve(approval)).result == "right"
    assert (await ask(world, session, approval=approval, key="k")).status_code == 200
    assert len(world.entered) == 1


async def test_observed_rules_and_critical_ones(tmp_path: Path) -> None:
    """
    J2: a critical rule that only observes, that a session's key may sign, or that has no terms: no guard is made of it,
    though code has it and no policy.

    Stopped by: wire
    """
    show = Sentence.read("Send {amount} {asset} to {address}")
    whole = Rule(
        "/v1/withdrawals", frozenset(("POST",)), "critical", idempotency_required=True, approve=Approve(show)
    )  # fmt: skip
    lacking = ({"observe": True}, {"session_mac": True}, {"approve": None}, {"idempotency_required": False})
    for lack in lacking:
        with pytest.raises(Misuse, match="is critical"):
            await begun(tmp_path, rules=(whole._replace(**lack),))
    await begun(tmp_path, rules=(whole,))
