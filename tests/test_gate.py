"""The gate through which an app asks for an approval: shut, but for the very sentence that was approved."""

from pathlib import Path

import pytest

from sealwire.entry import ApprovalNeeded, Gate
from sealwire.fronts.asgi import GuardedApp, Receive, Scope, Send
from sealwire.protocol.approval import MAX_SHOWN
from tests.stories.approving import ApprovingWorld, ask, asked_for, begun, code_of
from tests.stories.sealing import Opened, problem_of

PAYOUTS = b"/v1/payouts"


def test_shut_without_an_approval() -> None:
    """Nothing was approved: no sentence passes, an empty one neither; the first that was said is the one asked."""
    for sentence in ("Pay 5", ""):
        gate = Gate(None)
        for said in (sentence, "another"):
            with pytest.raises(ApprovalNeeded):
                gate.need_approval(said)
        assert gate.wanted == sentence


def test_open_for_what_was_approved() -> None:
    """The same sentence passes as often as it is said; after another one nothing does."""
    gate = Gate("Pay 5")
    gate.need_approval("Pay 5")
    gate.need_approval("Pay 5")
    assert gate.wanted is None
    with pytest.raises(ApprovalNeeded):
        gate.need_approval("Pay 5 ")
    with pytest.raises(ApprovalNeeded):
        gate.need_approval("Pay 5")
    assert gate.wanted == "Pay 5 "


async def asking(folder: Path, sentence: str) -> tuple[ApprovingWorld, Opened, list[str]]:
    """A world whose app wants this sentence approved before it pays, and what it paid."""
    world, session = await begun(folder)
    paid: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await scope["sealwire"].need_approval(sentence)
        paid.append(sentence)
        await world._app(scope, receive, send)

    world.app = GuardedApp(app, world.guard)
    return world, session, paid


@pytest.mark.parametrize("sentence", ["Pay 5 to carol", ""])
async def test_the_app_waits_for_its_person(tmp_path: Path, sentence: str) -> None:
    """Whatever the sentence, also one that came out empty by mistake: nothing is paid before it is approved."""
    world, session, paid = await asking(tmp_path, sentence)
    approval_id = await asked_for(world, session, target=PAYOUTS)
    assert code_of(await ask(world, session, target=PAYOUTS, approval=approval_id), session) == "approval-pending"
    assert paid == []
    assert (await world.approve(approval_id)).result == "right"
    done = await ask(world, session, target=PAYOUTS, approval=approval_id)
    assert (done.status_code, paid) == (200, [sentence])


async def test_a_used_yes_is_no_other(tmp_path: Path) -> None:
    """The same call under a new key names the approval again: it was used, and the app is not entered."""
    world, session, paid = await asking(tmp_path, "Pay 5 to carol")
    approval_id = await asked_for(world, session, target=PAYOUTS)
    await world.approve(approval_id)
    assert (await ask(world, session, target=PAYOUTS, approval=approval_id)).status_code == 200
    again = await ask(world, session, target=PAYOUTS, approval=approval_id, key="withdrawal-2")
    assert problem_of(again, session)["detail"] == "This approval was used before."
    assert len(paid) == 1


async def test_a_sentence_that_nobody_could_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The app's mistake: nobody is asked, nothing is paid, and the log says where."""
    world, session, paid = await asking(tmp_path, "x" * (MAX_SHOWN + 1))
    reply = await ask(world, session, target=PAYOUTS)
    assert (reply.status_code, code_of(reply, session)) == (500, "internal")
    assert (paid, await world.asked.approvals()) == ([], [])
    assert "misuse: the app of /v1/payouts says a sentence of more than 16384 characters" in caplog.text
