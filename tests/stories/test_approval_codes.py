"""
Guessing, repeating and replacing what a person proves their presence with

The attacker has the bot and the link, perhaps the user's password and a code that was seen over a shoulder; the phone
it has not. Each code counts once and for a short while, guesses end, and a factor put in place of the phone waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sealwire.ports.people import APPROVAL_TRIES, USER_TRIES, USER_TRIES_SECONDS, Attempt
from sealwire.presence import NewSeed, Presence, Said, Terms
from sealwire.protocol.otp import STEP_SECONDS, Seed
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.sqlite_approvals import SqliteApprovals
from tests.stories.approving import SECRET, WITHDRAWAL, ApprovingWorld, ask, asked_for, asking, begun, code_of
from tests.stories.sealing import IN_MEMORY, Opened, Stores, make_fast, open_session
from tests.stories.world import START, Wire

#: The first second of a step.
STEP = START - START % STEP_SECONDS + STEP_SECONDS
WRONG = "000000"
DAY = 86_400
Restart = Callable[[], ApprovingWorld]


class Deployed:
    """A world over a store, that can be started again; what was told before is kept."""

    def __init__(self, folder: Path, stores: Stores) -> None:
        self._folder, self._stores = folder, stores
        self.world: ApprovingWorld
        self.session: Opened
        self._asked = 0

    async def start(self) -> None:
        """The first start."""
        self.world, self.session = await begun(self._folder, self._stores)

    async def again(self) -> None:
        """The process ends and another begins. What is in memory alone stays, or there would be nothing to see."""
        if self._stores.durable is None:
            return
        before = self.world
        before.close()
        self.world = ApprovingWorld(self._folder, self._stores)
        self.world.signer, self.world.clock.at = before.signer, before.clock.at
        self.world.notices[:] = before.notices
        self.session = await open_session(self.world)

    async def question(self) -> str:
        """Asks for something that was not asked for before."""
        self._asked += 1
        body = {**WITHDRAWAL, "amount": str(self._asked)}
        return await asked_for(self.world, self.session, body=body, key=f"k{self._asked}")

    def told(self, about: str) -> int:
        """How often the user was told of this."""
        return [(notice.user, notice.about) for notice in self.world.notices].count(("alice", about))


@pytest.fixture(params=["memory", "sqlite"])
async def deployed(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Deployed]:
    """Over each kind of store."""
    stores = IN_MEMORY if request.param == "memory" else Stores(make_fast(tmp_path), tmp_path / "durable.db")
    made = Deployed(tmp_path, stores)
    await made.start()
    yield made
    made.world.close()


async def test_a_code_that_was_seen(deployed: Deployed) -> None:
    """
    J3: the code of an approval is typed again for another one: as it was, with spaces and dashes, in full-width and
    other digits, with something before and behind it; also after a restart.

    Stopped by: presence
    """
    world = deployed.world
    world.clock.at = STEP
    deployed.session = await open_session(world)
    code = world.code()
    first, second = await deployed.question(), await deployed.question()
    assert (await world.approve(first, f" {code[:3]} {code[3:]} ")).result == "right"
    assert (await world.approve(second, code)).result == "wrong"
    await deployed.again()
    world = deployed.world
    spaced = " ".join(code)
    for again in (code, f"{code[:3]} {code[3:]}", f"{code[:3]}-{code[3:]}", f" {spaced} "):
        assert (await world.approve(second, again)).result == "wrong"
    third = await deployed.question()
    world.clock.at += STEP_SECONDS
    fresh = world.code()
    for zero in (0xFF10, 0x0660, 0x1D7CE):
        foreign = "".join(chr(zero + int(digit)) for digit in fresh)
        assert foreign.isdecimal()
        assert (await world.approve(third, foreign)).result == "wrong"
    for around in (f"{fresh}\n", f"{fresh}0"):
        assert (await world.approve(third, around)).result == "wrong"
    assert (await world.approval(third)).state == "pending"


@pytest.mark.parametrize(
    ("grace", "after", "steps", "result"),
    [
        (10, 0, 0, "right"),
        (10, 29.999, 0, "right"),
        (10, 0, -1, "right"),
        (10, 9.999, -1, "right"),
        (10, 10, -1, "wrong"),
        (10, 29.999, -1, "wrong"),
        (10, 0, -2, "wrong"),
        (10, 0, 1, "wrong"),
        (10, 29.999, 1, "wrong"),
        (0, 0, -1, "wrong"),
        (0, 29.999, 0, "right"),
        (0, 29.999, 1, "wrong"),
    ],
)
async def test_the_steps_that_count(tmp_path: Path, grace: int, after: float, steps: int, result: str) -> None:
    """
    J3: the step before later than 10 s after its end, without grace at once, two steps before, and the next one.

    Stopped by: presence
    """
    world, _ = await begun(tmp_path)
    world.presence = Presence(
        world.asked, world.asked, world.keyring, world.clock, world.draw, world.notices, Terms(grace, DAY, "policy-1")
    )
    world.clock.at = STEP
    approval = await asked_for(world, await open_session(world))
    world.clock.at = STEP + after
    assert (await world.approve(approval, world.code(steps))).result == result


async def test_a_step_back_after_a_later_one(deployed: Deployed) -> None:
    """
    J3: the code of this step was used; the code of the one before, which nobody used, is still within its grace.

    Stopped by: presence
    """
    world = deployed.world
    world.clock.at = STEP + 5
    deployed.session = await open_session(world)
    first, second = await deployed.question(), await deployed.question()
    assert (await world.approve(first)).result == "right"
    assert (await world.approve(second, world.code(-1))).result == "wrong"


async def test_one_code_for_two_at_once(deployed: Deployed) -> None:
    """
    J3: one code is sent for twenty approvals at the same time.

    Stopped by: presence
    """
    world = deployed.world
    questions = [await deployed.question() for _ in range(8)]
    said = await asyncio.gather(*(world.approve(question) for question in questions))
    assert sorted(one.result for one in said) == ["right"] + ["wrong"] * 7
    assert [(await world.approval(one)).state for one in questions].count("approved") == 1


async def test_guesses_end(deployed: Deployed) -> None:
    """
    J3: five guesses an approval and ten an hour for a user, counted across new approvals and restarts. The right code
    is not taken then, the owner is told, and a day of guessing is 240 tries of a million.

    Stopped by: presence
    """
    left = []
    first = await deployed.question()
    for _ in range(APPROVAL_TRIES):
        said = await deployed.world.approve(first, WRONG)
        assert said.result == "wrong"
        left.append(said.left)
        await deployed.again()
    assert left == [4, 3, 2, 1, 0]
    assert deployed.told("tries") == 1
    assert (await deployed.world.approve(first)).result == "locked"
    second = await deployed.question()
    for _ in range(USER_TRIES - APPROVAL_TRIES):
        assert (await deployed.world.approve(second, WRONG)).result == "wrong"
        await deployed.again()
    assert deployed.told("tries") == 2
    for question in (first, second, await deployed.question()):
        assert (await deployed.world.approve(question)).result == "locked"
        assert (await deployed.world.approval(question)).state == "pending"
    assert await deployed.world.presence.show("alice", deployed.world.code()) == Said("locked")
    # Another user is not locked out by that, and alice is let in again an hour after the first of them.
    deployed.world.clock.at += USER_TRIES_SECONDS
    deployed.session = await open_session(deployed.world)
    assert (await deployed.world.approve(await deployed.question())).result == "right"


async def test_guesses_in_parallel(deployed: Deployed) -> None:
    """
    J3: two hundred guesses at once for one approval, and then for as many approvals as may wait.

    Stopped by: presence
    """
    world = deployed.world
    question = await deployed.question()
    said = await asyncio.gather(*(world.approve(question, f"{number:06}") for number in range(200)))
    assert [one.result for one in said].count("wrong") == APPROVAL_TRIES
    assert [one.result for one in said].count("locked") == 200 - APPROVAL_TRIES
    others = [await deployed.question() for _ in range(19)]
    said = await asyncio.gather(*(world.approve(other, f"{number:06}") for other in others for number in range(10)))
    assert [one.result for one in said].count("wrong") == USER_TRIES - APPROVAL_TRIES
    assert (await world.approve(others[0])).result == "locked"


async def test_guesses_that_hang_up(tmp_path: Path) -> None:
    """
    J3: the connection is cut as soon as each guess is counted, while its hash is made, so that no answer is ever sent:
    the guesses are counted, and the owner is told.

    Stopped by: presence
    """
    deployed = Deployed(tmp_path, Stores(make_fast(tmp_path), tmp_path / "durable.db"))
    await deployed.start()
    world = deployed.world
    question = await deployed.question()
    await world.presence.add_recovery("alice", "user", "192.0.2.9")
    for number in range(APPROVAL_TRIES):
        async with world.presence._hashing, world.presence._hashing:  # a machine whose every hasher is busy
            guess = asyncio.create_task(world.approve(question, "0-aaaa-aaaa-aaaa"))
            await counted(deployed, number + 1)
            guess.cancel()
            with pytest.raises(asyncio.CancelledError):
                await guess
    assert (await world.approve(question)).result == "locked"
    until = time.monotonic() + 20
    while not deployed.told("tries"):
        assert time.monotonic() < until, "the owner was never told"
        await asyncio.sleep(0)
    assert deployed.told("tries") == 1
    world.close()


def tries_in(deployed: Deployed) -> int:
    """How many tries are in the store."""
    asked = deployed.world.asked
    if isinstance(asked, SqliteApprovals):
        return int(asked._file.read("SELECT count(*) FROM tries")[0][0])
    assert isinstance(asked, MemoryApprovals)
    return len(asked._tries)


async def counted(deployed: Deployed, tries: int) -> None:
    """Until so many tries are in the store."""
    until = time.monotonic() + 10
    while tries_in(deployed) != tries:
        assert time.monotonic() < until, "never counted"
        await asyncio.sleep(0)


async def test_guesses_cut_anywhere(deployed: Deployed) -> None:
    """
    J3: guesses cut at every turn of the event loop: no more of them are judged than may be.

    Stopped by: presence
    """
    world = deployed.world
    question = await deployed.question()
    judged: list[str] = []
    find = Seed.find

    def noted(seed: Seed, given: str, first: int, last: int) -> int | None:
        judged.append(given)
        return find(seed, given, first, last)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Seed, "find", noted)
        for turns in range(40):
            guess = asyncio.create_task(world.approve(question, f"{turns:06}"))
            for _ in range(turns % 8):
                await asyncio.sleep(0)
            guess.cancel()
            await asyncio.gather(guess, return_exceptions=True)
            assert len(judged) <= APPROVAL_TRIES
        said = await world.approve(question)
    assert tries_in(deployed) == APPROVAL_TRIES
    assert said.result == "locked"


async def test_a_wrong_code_says_nothing_to_the_bot(deployed: Deployed) -> None:
    """
    J3: the bot asks on while a person types wrong codes: its answer is the same before, between and after.

    Stopped by: presence
    """
    world = deployed.world
    question = await deployed.question()
    how = {"body": {**WITHDRAWAL, "amount": "1"}, "key": "k1", "approval": question}
    said = set()
    for _ in range(APPROVAL_TRIES + 2):
        reply = await ask(world, deployed.session, **how)  # type: ignore[arg-type]
        said.add((code_of(reply, deployed.session), reply.headers["retry-after"], len(reply.content)))
        await world.approve(question, WRONG)
    assert [code for code, _, _ in said] == ["approval-pending"]


async def test_the_client_tells_the_time(deployed: Deployed) -> None:
    """
    J3: the call that asks carries dates of its own, signed: nothing of it moves the time that codes are judged by.

    Stopped by: presence
    """
    world = deployed.world
    world.clock.at = STEP + 20
    deployed.session = await open_session(world)
    question = await deployed.question()
    late = world.code(-1)
    signed = [(b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"), (b"x-timestamp", b"%d" % (STEP - 1))]
    wire = ask_with(deployed, question, signed)
    assert (await world.send(wire)).status_code == 403
    assert (await world.approve(question, late)).result == "wrong"
    assert (await world.approval(question)).expires_at == world.clock.at + 600


def ask_with(deployed: Deployed, question: str, fields: list[tuple[bytes, bytes]]) -> Wire:
    """The first question's call again, with these fields too."""
    wire = asking(deployed.session, {**WITHDRAWAL, "amount": "1"}, approval=question, key="k1")
    wire.headers += fields
    return wire.sign(deployed.world.signer, int(deployed.world.clock.at))


async def test_a_factor_put_in_place_of_the_phone(deployed: Deployed) -> None:
    """
    J8: whoever talked the operator into a new factor withdraws at once: nothing is approved for a day, by the new
    factor or the old one, after a restart too, nor what is asked in the meantime. The owner hears of it.

    Stopped by: presence
    """
    world = deployed.world
    theirs = Seed(b"mallorys own secret!")
    await world.presence.add_seed(
        "alice", NewSeed("totp", "New phone", b"mallorys own secret!"), "operator", "192.0.2.66", reset=True
    )
    assert deployed.told("factor-added") == 2

    def code() -> str:
        return theirs.code(int(deployed.world.clock.at // STEP_SECONDS))

    question = await deployed.question()
    for given in (code(), world.code(), WRONG):
        assert (await world.approve(question, given)).result == "cooling"
    await deployed.again()
    world = deployed.world
    assert (await world.approve(question, code())).result == "cooling"
    assert (await world.approval(question)).state == "pending"
    assert (await world.presence.add_seed("bob", NewSeed("totp", "Phone", SECRET), "user", "192.0.2.8")).user == "bob"
    world.clock.at = START + DAY - 0.001
    deployed.session = await open_session(world)
    question = await deployed.question()
    assert (await world.approve(question, code())).result == "cooling"
    world.clock.at = START + DAY
    assert (await world.approve(question, code())).result == "right"


async def test_a_reset_while_a_code_is_judged(deployed: Deployed) -> None:
    """
    J8: the factor is reset between the count of a right code and its effect: judged once more where the yes is written.

    Stopped by: presence
    """
    world = deployed.world
    question = await deployed.question()
    attempt = world.asked.attempt

    async def slow(*given: Any) -> Attempt | None:
        counted = await attempt(*given)
        await world.presence.add_seed("alice", NewSeed("totp", "New", SECRET), "operator", "192.0.2.66", reset=True)
        return counted

    world.asked.attempt = slow  # type: ignore[method-assign,assignment]
    assert (await world.approve(question)).result == "cooling"
    assert (await world.approval(question)).state == "pending"


async def test_the_last_factor_goes(deployed: Deployed) -> None:
    """
    J8: the only factor is removed and another added, each as if behind the other: the cool-down begins at the removal,
    and a second reset does not shorten the first.

    Stopped by: presence
    """
    world = deployed.world
    (phone,) = await world.asked.factors("alice")
    assert await world.presence.remove("alice", phone, "user", "192.0.2.66", reset=False)
    question = await deployed.question()
    assert (await world.approve(question)).result in ("cooling", "no-factor")
    await world.give_phone()
    assert (await world.approve(question)).result == "cooling"
    shorter = Terms(10, 60, "policy-2")
    presence = Presence(world.asked, world.asked, world.keyring, world.clock, world.draw, world.notices, shorter)
    await presence.add_seed("alice", NewSeed("totp", "Third", SECRET), "operator", "192.0.2.66", reset=True)
    world.clock.at += 61
    assert (await world.approve(question)).result == "cooling"
    assert deployed.told("factor-removed") == 1


async def test_somebody_elses_phone(deployed: Deployed) -> None:
    """
    J3: bob's right code for alice's approval.

    Stopped by: presence
    """
    world = deployed.world
    bobs = b"bobs secret, 20 bytes"
    await world.presence.add_seed("bob", NewSeed("totp", "Phone", bobs), "user", "192.0.2.8")
    question = await deployed.question()
    code = Seed(bobs).code(int(world.clock.at // STEP_SECONDS))
    assert (await world.approve(question, code)).result == "wrong"
    assert (await world.approval(question)).state == "pending"
