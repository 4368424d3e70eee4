"""The page of one user: factors come and go behind another one, and what is secret is shown once."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import httpx2
import pytest

from sealwire.presence import MOST_FACTORS, NewSeed
from sealwire.protocol.otp import STEP_SECONDS, Seed
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_file import SqliteFile
from tests.pages.visiting import HOME, PagesWorld, Visitor, said, secret_on
from tests.stories.world import SetClock

DAY = 86_400


@pytest.fixture
def world(tmp_path: Path) -> PagesWorld:
    return PagesWorld(tmp_path)


async def offered(world: PagesWorld, visitor: Visitor) -> tuple[str, str, Seed]:
    """A new entry: its secret as shown, its code now, its seed."""
    shown = secret_on(await visitor.get("/factors/new"))
    seed = Seed(base64.b32decode(shown))
    return shown, seed.code(int(world.clock.at // STEP_SECONDS)), seed


async def names(world: PagesWorld, user: str = "alice") -> list[str]:
    """The user's factors."""
    return [factor.name for factor in await world.factors.factors(user)]


def later(world: PagesWorld) -> str:
    """The phone's next code."""
    world.clock.at += STEP_SECONDS
    return world.code()


async def recovery_codes(world: PagesWorld, visitor: Visitor) -> list[str]:
    """Made behind the phone."""
    return written(await visitor.post("/recovery", behind=later(world)))


def written(page: httpx2.Response) -> list[str]:
    """The codes on a page."""
    return [line.partition("</code>")[0] for line in page.text.split("<li><code>")[1:]]


# --- adding ----------------------------------------------------------------------------------------------------------


async def test_the_first_phone(world: PagesWorld) -> None:
    """A picture and its secret, kept once a code of it came back; then it approves, and the owner was told."""
    alice = await world.signed_in()
    path = await world.ask()
    _, code, seed = await offered(world, alice)
    assert await names(world) == []
    answer = await alice.post("/factors/new", name="My phone", code=code)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert await names(world) == ["My phone"]
    assert world.recorded() == [("factor-added", "totp/user", "alice")]
    assert [(notice.user, notice.about) for notice in world.notices] == [("alice", "factor-added")]
    assert (await alice.post(path, answer="approve", code=code)).status_code == 200  # this one was used
    world.clock.at += STEP_SECONDS
    code = seed.code(int(world.clock.at // STEP_SECONDS))
    assert (await alice.post(path, answer="approve", code=code)).status_code == 303
    assert await world.state(path) == "approved"


async def test_the_secret_is_on_its_own_page_alone(world: PagesWorld) -> None:
    """Not on the next one, not after it was kept, not in the store in clear; each visit of the page makes another."""
    alice, again = await world.signed_in(), await world.signed_in()
    first, _, _ = await offered(world, alice)
    shown, code, _ = await offered(world, alice)
    other, others, _ = await offered(world, again)
    assert len({first, shown, other}) == 3
    assert len(base64.b32decode(shown)) == 20
    assert said(await alice.post("/factors/new", name="Phone", code=others)) != ""  # of another visit
    assert await names(world) == []
    await alice.post("/factors/new", name="Phone", code=code)
    (factor,) = await world.factors.factors("alice")
    for secret in (shown.encode(), base64.b32decode(shown)):
        assert secret not in factor.secret
    for page in ("/", f"/factors/{factor.id}", "/sign-in", "/factors/new"):
        assert shown not in (await alice.get(page)).text


async def test_a_secret_that_was_shown_is_gone_with_its_visit(world: PagesWorld) -> None:
    """Nothing is kept of one that no code came back for."""
    alice = await world.signed_in()
    _, code, _ = await offered(world, alice)
    await alice.post("/sign-out")
    await alice.sign_in("alice")
    answer = await alice.post("/factors/new", name="Phone", code=code)
    assert (answer.status_code, answer.headers["location"]) == (303, "/factors/new")
    assert await names(world) == []


async def test_a_wrong_code_keeps_the_picture(world: PagesWorld) -> None:
    """And the name that was typed: whoever mistypes scans once."""
    alice = await world.signed_in()
    shown, code, _ = await offered(world, alice)
    wrong = await alice.post("/factors/new", name="Mine", code="000000" if code != "000000" else "000001")
    assert said(wrong) == "That is not the code that the new entry shows now."
    assert secret_on(wrong) == shown
    assert 'name="name" value="Mine"' in wrong.text
    assert (await alice.post("/factors/new", name="Mine", code=code)).status_code == 303


@pytest.mark.parametrize("ahead", [-1, 0, 1])
async def test_the_code_that_adds_a_phone_approves_nothing(world: PagesWorld, ahead: int) -> None:
    """Of a phone whose clock is a little off, too: its code was used, whenever it would have counted."""
    alice = await world.signed_in()
    path = await world.ask()
    _, _, seed = await offered(world, alice)
    step = int(world.clock.at // STEP_SECONDS) + ahead
    assert (await alice.post("/factors/new", name="Phone", code=seed.code(step))).status_code == 303
    world.clock.at = max(world.clock.at, step * STEP_SECONDS)
    answer = await alice.post(path, answer="approve", code=seed.code(step))
    assert (answer.status_code, await world.state(path)) == (200, "pending")


async def test_a_form_that_was_sent_twice_adds_one_phone(tmp_path: Path) -> None:
    """Two entries of one secret would take each code twice."""
    file = SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, store=SqliteApprovals(file, SetClock()))
    alice = await world.signed_in()
    _, code, _ = await offered(world, alice)
    answers = await asyncio.gather(*(alice.post("/factors/new", name="Phone", code=code) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {303}
    assert await names(world) == ["Phone"]
    file.close()


@pytest.mark.parametrize("behind", ["", "000000", "x"])
async def test_another_phone_comes_behind_the_first(world: PagesWorld, behind: str) -> None:
    """With a code of what is there already; with none, or the new one's own, it is not added."""
    await world.give_phone()
    alice = await world.signed_in()
    world.clock.at += STEP_SECONDS
    _, code, _ = await offered(world, alice)
    for given in (behind, code):
        answer = await alice.post("/factors/new", name="Second", code=code, behind=given)
        assert said(answer).startswith("The code that allows this is wrong.")
    assert await names(world) == ["Phone"]
    assert (await alice.post("/factors/new", name="Second", code=code, behind=world.code())).status_code == 303
    assert await names(world) == ["Phone", "Second"]
    assert await world.factors.cooling_until("alice") == 0


@pytest.mark.parametrize("name", ["", "   ", "a" * 61, "a\nb", "\0"])
async def test_a_name_that_cannot_be_costs_no_code(world: PagesWorld, name: str) -> None:
    """The code that allows it is used with the factor that it added, not before."""
    await world.give_phone()
    alice = await world.signed_in()
    world.clock.at += STEP_SECONDS
    _, code, _ = await offered(world, alice)
    answer = await alice.post("/factors/new", name=name, code=code, behind=world.code())
    assert said(answer) == "A name has 1 to 60 characters."
    assert (await alice.post("/factors/new", name="Second", code=code, behind=world.code())).status_code == 303


async def test_no_more_than_ten(world: PagesWorld) -> None:
    """Neither phones nor recovery codes; the page says so, and nothing fails."""
    for number in range(MOST_FACTORS):
        seed = NewSeed("totp", f"Phone {number}", bytes([number]) * 20)
        await world.presence.add_seed("alice", seed, "user", HOME)
    alice = await world.signed_in()
    world.clock.at += STEP_SECONDS
    behind = Seed(bytes(20)).code(int(world.clock.at // STEP_SECONDS))
    _, code, _ = await offered(world, alice)
    answer = await alice.post("/factors/new", name="More", code=code, behind=behind)
    assert said(answer) == "A user has at most 10 factors."
    answer = await alice.post("/recovery", behind=behind)
    assert (answer.status_code, said(answer)) == (200, "A user has at most 10 factors.")
    assert len(await names(world)) == MOST_FACTORS


# --- removing --------------------------------------------------------------------------------------------------------


async def test_a_phone_goes_behind_a_code(world: PagesWorld) -> None:
    """None without one; the last one that goes begins the cool-down."""
    await world.give_phone()
    (phone,) = await world.factors.factors("alice")
    alice = await world.signed_in()
    world.clock.at += STEP_SECONDS
    answer = await alice.post(f"/factors/{phone.id}/remove", behind="000000")
    assert said(answer) == "The code that allows this is wrong. 9 more tries."
    assert await names(world) == ["Phone"]
    assert (await alice.post(f"/factors/{phone.id}/remove", behind=world.code())).status_code == 303
    assert await names(world) == []
    assert world.recorded()[-1] == ("factor-removed", "totp/user", "alice")
    assert world.notices[-1].about == "factor-removed"
    assert await world.factors.cooling_until("alice") == world.clock.at + DAY


async def test_a_phone_of_somebody_else_stays(world: PagesWorld) -> None:
    """The same answer as for one that is not there, and no try is spent."""
    await world.give_phone("bob")
    await world.give_phone("alice")
    (phone,) = await world.factors.factors("bob")
    alice = await world.signed_in()
    world.clock.at += STEP_SECONDS
    theirs, none = [await alice.post(f"/factors/{one}/remove", behind=world.code()) for one in (phone.id, "fac_1")]
    assert (theirs.status_code, theirs.content, theirs.headers) == (404, none.content, none.headers)
    assert await names(world, "bob") == ["Phone"]


async def test_ten_wrong_codes_an_hour(world: PagesWorld) -> None:
    """For whatever a code is asked: approving, adding, removing are counted as one."""
    await world.give_phone()
    (phone,) = await world.factors.factors("alice")
    alice = await world.signed_in()
    path = await world.ask()
    world.clock.at += STEP_SECONDS
    _, code, _ = await offered(world, alice)
    for _ in range(4):
        await alice.post(path, answer="approve", code="000000")
        await alice.post(f"/factors/{phone.id}/remove", behind="000000")
    await alice.post("/factors/new", name="x", code=code, behind="000000")
    last = await alice.post("/recovery", behind="000000")
    assert said(last) == "Too many wrong codes. No more are taken for an hour."
    for answer in (
        await alice.post(f"/factors/{phone.id}/remove", behind=world.code()),
        await alice.post("/recovery", behind=world.code()),
        await alice.post(path, answer="approve", code=world.code()),
    ):
        assert said(answer).startswith("Too many wrong codes.")
    assert (await names(world), await world.state(path)) == (["Phone"], "pending")


# --- recovery --------------------------------------------------------------------------------------------------------


async def test_recovery_codes_are_shown_once_and_work_once(world: PagesWorld) -> None:
    """Ten, behind a code; on no page afterwards, and not in the store. Fresh ones end the old."""
    await world.give_phone()
    alice = await world.signed_in()
    refused = await alice.post("/recovery", behind="000000")
    assert said(refused).startswith("The code that allows this is wrong.")
    assert await names(world) == ["Phone"]
    codes = await recovery_codes(world, alice)
    assert len(set(codes)) == 10
    assert (await alice.get("/recovery")).status_code == 405
    kept = (await world.factors.factors("alice"))[1].secret
    page = (await alice.get("/")).text
    for code in codes:
        assert code not in page
        assert code.encode() not in kept
    answer = await alice.post("/recovery", behind=codes[1])
    assert await world.factors.cooling_until("alice") == world.clock.at + DAY
    assert said(await alice.post("/recovery", behind=codes[2])).startswith("The code that allows this is wrong.")
    fresh = written(answer)
    world.clock.at += 5
    phone = (await world.factors.factors("alice"))[0]
    assert (await alice.post(f"/factors/{phone.id}/remove", behind=fresh[0])).status_code == 303
    assert await world.factors.cooling_until("alice") == world.clock.at + DAY
    assert said(await alice.post("/recovery", behind=fresh[0])).startswith("The code that allows this is wrong.")
    assert await names(world) == ["Recovery codes"]


async def test_recovery_codes_need_a_factor_first(world: PagesWorld) -> None:
    """They are for the day when it is lost."""
    alice = await world.signed_in()
    answer = await alice.post("/recovery", behind="")
    assert said(answer) == "Add a factor first."
    assert await names(world) == []


async def test_after_a_recovery_nothing_is_approved_for_a_day(world: PagesWorld) -> None:
    """Whoever finds the paper adds a phone with it, and waits while its owner is told; to the second."""
    await world.give_phone()
    alice = await world.signed_in()
    codes = await recovery_codes(world, alice)
    _, code, seed = await offered(world, alice)
    answer = await alice.post("/factors/new", name="Thief", code=code, behind=codes[3].upper())
    assert answer.status_code == 303
    over = world.clock.at + DAY
    assert await world.factors.cooling_until("alice") == over
    assert "Your factors were reset. Nothing can be approved until" in (await alice.get("/")).text
    world.clock.at = over - 1
    await alice.sign_in("alice")
    path = await world.ask()
    for given in (seed.code(int(world.clock.at // STEP_SECONDS)), world.code()):
        answer = await alice.post(path, answer="approve", code=given)
        assert said(answer).startswith("Your factors were reset a short while ago.")
    world.clock.at = over
    answer = await alice.post(path, answer="approve", code=seed.code(int(world.clock.at // STEP_SECONDS)))
    assert (answer.status_code, await world.state(path)) == (303, "approved")


# --- what is listed --------------------------------------------------------------------------------------------------


async def test_the_list_is_of_ones_own(world: PagesWorld) -> None:
    """Approvals and factors of this user, each with what became of it."""
    await world.give_phone()
    waits = await world.ask(client="WaitingBot")
    denied = await world.ask(values=(), client="DeniedBot")
    await world.ask("bob", client="BobsBot")
    alice = await world.signed_in()
    await alice.post(denied, answer="deny")
    page = (await alice.get("/")).text
    assert f'href="{waits}"' in page
    assert [state in page for state in (">waits<", ">denied<", ">approved<")] == [True, True, False]
    assert "BobsBot" not in page
    assert "WaitingBot" in page
    assert "Phone" in page
