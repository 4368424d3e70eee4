"""The page of one question: its user's alone; yes, no and "this was not me" each happen once and leave a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealwire.protocol.otp import STEP_SECONDS
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_file import SqliteFile
from tests.pages.visiting import HOME, VALUES, PagesWorld, asking, said
from tests.stories.world import SetClock


@pytest.fixture
async def world(tmp_path: Path) -> PagesWorld:
    made = PagesWorld(tmp_path)
    await made.give_phone()
    made.ledger.decisions.clear()
    return made


async def test_what_is_asked(world: PagesWorld) -> None:
    """Every value whole, the sentence whole, who asks, from where, until when."""
    path = await world.ask()
    alice = await world.signed_in()
    page = (await alice.get(path)).text
    for shown in ("0.25", "BTC", f"Send 0.25 BTC to {VALUES[2][1]}", "TradeBot", "203.0.113.5", "10 minutes 0 seconds"):
        assert shown in page
    groups = [VALUES[2][1][at : at + 4] for at in range(0, len(VALUES[2][1]), 4)]
    assert "".join(f'<span class="four">{group}</span>' for group in groups) in page
    world.clock.at += 61
    assert "8 minutes 59 seconds" in (await alice.get(path)).text


async def test_a_link_of_somebody_else_shows_nothing(world: PagesWorld) -> None:
    """The same bytes as one that was never sent, whatever is done with it."""
    path = await world.ask()
    bob = await world.signed_in("bob")
    never = f"/approve/apr_{'0' * 26}"
    for answer in ("approve", "deny", "disown"):
        code = world.code()
        theirs, none = [await bob.post(link, answer=answer, code=code) for link in (path, never)]
        assert (theirs.status_code, theirs.content, theirs.headers) == (404, none.content, none.headers)
    theirs, none = [await bob.get(link) for link in (path, never)]
    assert (theirs.status_code, theirs.content, theirs.headers) == (404, none.content, none.headers)
    assert "TradeBot" not in theirs.text
    assert (await world.state(path), world.recorded()) == ("pending", [])


async def test_a_stranger_sees_nothing(world: PagesWorld) -> None:
    """A link alone leads to the way in, whether it is one or not."""
    path = await world.ask()
    for link in (path, f"/approve/apr_{'0' * 26}"):
        answer = await world.visitor().get(link)
        assert (answer.status_code, answer.content) == (303, b"")


async def test_yes(world: PagesWorld) -> None:
    """With a code, once; the record says with what and from where."""
    path = await world.ask()
    alice = await world.signed_in()
    await alice.get(path)
    answer = await alice.post(path, answer="approve", code=world.code())
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert await world.state(path) == "approved"
    (record,) = world.ledger.decisions
    assert (record.outcome, record.code, record.user) == ("approved", "totp", "alice")
    assert (record.address, record.client, record.key) == (HOME, "cli_bot", "key-of-the-bot")
    assert record.request_id == path.rpartition("/")[2]
    assert (record.template, record.policy) == ("/v1/withdrawals", "policy-1")
    page = (await alice.get(path)).text
    assert "You approved this" in page
    assert "Code from your phone" not in page


async def test_a_code_counts_once(world: PagesWorld) -> None:
    """Not for the next question either."""
    first, second = await world.ask(), await world.ask(values=())
    alice = await world.signed_in()
    code = world.code()
    assert (await alice.post(first, answer="approve", code=code)).status_code == 303
    answer = await alice.post(second, answer="approve", code=code)
    assert said(answer) == "That is not the code. 4 more tries."
    assert await world.state(second) == "pending"


async def test_wrong_codes(world: PagesWorld) -> None:
    """Each says how many are left; then not even the right one counts, and the owner is told."""
    path = await world.ask()
    alice = await world.signed_in()
    heard = [
        said(await alice.post(path, answer="approve", code=code)) for code in ("000000", "", "x" * 8000, "１２３４５６")
    ]
    assert heard == [
        "That is not the code. 4 more tries.", "That is not the code. 3 more tries.",
        "That is not the code. 2 more tries.", "That is not the code. 1 more try.",
    ]  # fmt: skip
    no_more = "Too many wrong codes. No more are taken now; deny it if you did not ask for it."
    assert said(await alice.post(path, answer="approve", code="000000")) == no_more
    assert said(await alice.post(path, answer="approve", code=world.code())) == no_more
    assert await world.state(path) == "pending"
    assert "tries" in [notice.about for notice in world.notices]
    assert world.recorded() == []


async def test_no(world: PagesWorld) -> None:
    """Without a code, and final."""
    path = await world.ask()
    alice = await world.signed_in()
    assert (await alice.post(path, answer="deny")).status_code == 303
    assert (await world.state(path), world.recorded()) == ("denied", [("denied", "user", "alice")])
    late = await alice.post(path, answer="approve", code=world.code())
    assert said(late) == "This is no longer waiting: see below."
    await alice.post(path, answer="deny")
    assert (await world.state(path), len(world.recorded())) == ("denied", 1)


async def test_this_was_not_me(world: PagesWorld) -> None:
    """The client's keys are frozen, all that it asked is denied, and the page says so; its other clients go on."""
    key = world.enrol_bot()
    path, other, bobs = await world.ask(), await world.ask(values=()), await world.ask("bob")
    alice = await world.signed_in()
    answer = await alice.post(path, answer="disown")
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert [await world.state(one) for one in (path, other, bobs)] == ["denied", "denied", "pending"]
    assert world.recorded() == [("frozen", "user", "alice")]
    assert world.directory._keys[key].state == "frozen"
    assert "frozen" in [notice.about for notice in world.notices]
    page = await alice.get(path)
    assert (
        said(page) == "The keys of TradeBot are frozen, and nothing that it asked for will be done. Tell the operator."
    )
    assert said(await alice.get(path)) == ""


@pytest.mark.parametrize("state", ["expired", "approved", "used"])
async def test_this_was_not_me_is_never_too_late(world: PagesWorld, state: str) -> None:
    """Whoever reads the notice in the morning can still stop the client."""
    key = world.enrol_bot()
    path = await world.ask()
    alice = await world.signed_in()
    if state == "expired":
        world.clock.at += 600
    else:
        await alice.post(path, answer="approve", code=world.code())
    if state == "used":
        assert world.ledger.use_approval(path.rpartition("/")[2], world.clock.at)
    page = (await alice.get(path)).text
    assert 'value="disown"' in page
    assert 'value="deny"' not in page
    await alice.post(path, answer="disown")
    assert world.directory._keys[key].state == "frozen"
    assert await world.state(path) == {"expired": "expired", "approved": "denied", "used": "used"}[state]


@pytest.mark.parametrize("answer", ["", "yes", "Approve", "approve "])
async def test_an_answer_that_is_none(world: PagesWorld, answer: str) -> None:
    """Changes nothing, and spends no try."""
    path = await world.ask()
    alice = await world.signed_in()
    await alice.post(path, answer=answer, code=world.code())
    assert (await world.state(path), world.recorded()) == ("pending", [])
    assert said(await alice.post(path, answer="approve", code="000000")) == "That is not the code. 4 more tries."


async def test_nobody_decides_in_time(world: PagesWorld) -> None:
    """Ten minutes, to the second."""
    path = await world.ask()
    alice = await world.signed_in()
    world.clock.at += 599
    assert "Do you want this?" in (await alice.get(path)).text
    world.clock.at += 1
    assert "Nobody decided in time" in (await alice.get(path)).text
    answer = await alice.post(path, answer="approve", code=world.code())
    assert said(answer) == "This is no longer waiting: see below."
    assert (await world.state(path), world.recorded()) == ("expired", [])


async def test_without_a_factor_nothing_is_approved(world: PagesWorld) -> None:
    """The page says where to get one; no code is asked for, and none counts."""
    path = await world.ask("bob")
    bob = await world.signed_in("bob")
    page = (await bob.get(path)).text
    assert 'href="/factors/new"' in page
    assert 'name="code"' not in page
    assert 'value="deny"' in page
    answer = await bob.post(path, answer="approve", code=world.code())
    assert said(answer) == "You have nothing to approve this with yet."
    assert await world.state(path) == "pending"


async def test_markup_is_text(world: PagesWorld) -> None:
    """In every field that somebody else chose."""
    markup = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;"
    path = await world.ask(values=(("amount", markup), ("asset", markup), ("address", markup)), client=markup)
    alice = await world.signed_in()
    for page in (await alice.get(path), await alice.get("/")):
        assert "<script" not in page.text
        assert "<img" not in page.text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    sent = await world.visitor().post("/sign-in", name=f'"{markup}', password="x", back=f'/"{markup}')
    assert "<script" not in sent.text
    assert 'value="&#34;&lt;script&gt;' in sent.text


async def test_a_store_that_does_not_answer_approves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A page that says so, on every way; when it answers again, nothing has changed."""
    file, clock = SqliteFile(tmp_path / "durable.db"), SetClock()
    world = PagesWorld(tmp_path, store=SqliteApprovals(file, clock))
    await world.give_phone()
    approval = asking(world.keyring, clock.at, "alice", VALUES)
    await world.approvals.ask(approval)
    path = f"/approve/{approval.id}"
    alice = await world.signed_in()
    file.close()
    answers = [
        await alice.get("/"), await alice.get(path), await alice.get("/factors/new"),
        await alice.post(path, answer="approve", code=world.code()), await alice.post(path, answer="deny"),
        await alice.post(path, answer="disown"), await alice.post("/recovery", behind=world.code()),
    ]  # fmt: skip
    for answer in answers:
        assert answer.status_code == 503
        assert "Nothing was approved." in answer.text
        assert "content-security-policy" in answer.headers
    assert "store-unavailable" in caplog.text
    again = SqliteFile(tmp_path / "durable.db")
    found = await SqliteApprovals(again, clock).approval(approval.id)
    again.close()
    assert found == approval
    assert world.clock.at // STEP_SECONDS == clock.at // STEP_SECONDS
