"""How a person shows to be there: which code counts, how often, and who hears of what changes."""

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from sealwire.call import Approval
from sealwire.errors import Fault
from sealwire.ports import Decision
from sealwire.ports.people import APPROVAL_TRIES, FACTOR_KINDS, USER_TRIES, USER_TRIES_SECONDS, Factor
from sealwire.presence import MOST_FACTORS, RECOVERY_CODES, NewSeed, Presence, Result, Said, Terms
from sealwire.protocol.otp import LOOK_AHEAD, STEP_SECONDS, Seed
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_file import SqliteFile
from tests.stages.made import CLIENT, KeptNotices, MadeKeyring, Stores

SECRET, TOKEN = b"12345678901234567890", b"abcdefghijklmnopqrst"
PHONE, STICK = Seed(SECRET), Seed(TOKEN, "SHA256", 8)
START = 1_790_000_010.0  # a step begins here
HOME = "192.0.2.9"
WRONG = "000000"
COOLDOWN = 86_400
TERMS = Terms(policy="p-1")


class Person:
    """Alice before her approvals, over fresh stores."""

    def __init__(self, terms: Terms = TERMS, keyring: MadeKeyring | None = None) -> None:
        self.stores = Stores()
        self.clock = self.stores.clock
        self.clock.at = START
        self.notices = KeptNotices()
        self.asked = self.stores.approvals
        self.keyring = keyring or self.stores.keyring
        self.presence = Presence(self.asked, self.asked, self.keyring, self.clock, os.urandom, self.notices, terms)

    def code(self, steps: int = 0) -> str:
        """What the phone shows, so many steps from now."""
        return PHONE.code(int(self.clock.at // STEP_SECONDS) + steps)

    async def give(self, kind: str = "totp", user: str = "alice", **more: Any) -> Factor:
        """A phone, or a token that stands at 100."""
        if kind == "totp":
            seed = NewSeed("totp", "Phone", SECRET, **more)
        else:
            seed = NewSeed("hotp", "Stick", TOKEN, "SHA256", 8, 100)
        return await self.presence.add_seed(user, seed, "user", HOME)

    async def ask(self, name: str = "1", kinds: tuple[str, ...] = FACTOR_KINDS, user: str = "alice") -> Approval:
        """An approval that waits for ten minutes from now."""
        now = self.clock.at
        return await self.asked.ask(
            Approval(
                f"apr_{name}", "cli_a", "Bot", user, f"key_{name}", (b"b" * 32,), b"w", "/v1/w", kinds, "192.0.2.1",
                now, now + 600,
            )
        )  # fmt: skip

    async def says(self, code: str, name: str = "1") -> Said:
        """A code for an approval, as it is known now."""
        approval = await self.asked.approval(f"apr_{name}")
        assert approval is not None
        return await self.presence.approve(approval, code, HOME)

    async def position(self) -> int:
        """Where the one factor stands."""
        (factor,) = await self.asked.factors("alice")
        return factor.position

    async def tries(self, approval_id: str = "apr_other") -> int:
        """How many tries of alice's have been counted so far; looking counts one more."""
        attempt = await self.asked.attempt("alice", approval_id, self.clock.at)
        return USER_TRIES if attempt is None else USER_TRIES - attempt.left_for_user - 1

    def rows(self) -> list[Decision]:
        """All that was recorded but for the first factors."""
        return [row for row in self.stores.ledger.decisions if row.outcome != "factor-added"]

    def told(self) -> list[str]:
        """What the notices were about, but for added factors."""
        return [notice.about for notice in self.notices if notice.about != "factor-added"]


@pytest.fixture
def alice() -> Person:
    """Alice, who has nothing yet."""
    return Person()


# --- a phone ---------------------------------------------------------------------------------------------------------


async def test_approved_with_a_phone(alice: Person) -> None:
    """Right; and the record says who, with what, from where, for which call, under which policy."""
    await alice.give()
    await alice.ask()
    assert await alice.says(alice.code()) == Said("right")
    approval = await alice.asked.approval("apr_1")
    assert approval is not None
    assert (approval.state, approval.how, approval.decided_at) == ("approved", "totp", START)
    assert alice.rows() == [
        Decision("apr_1", START, "approved", "totp", "cli_a", "alice", "key_1", HOME, "", "/v1/w", "p-1")
    ]
    assert alice.told() == []


async def test_each_code_once(alice: Person) -> None:
    """J3: the same code again, as it was or with spaces, and the previous step's behind it, are wrong."""
    await alice.give()
    for name in "12":
        await alice.ask(name)
    code, before = alice.code(), alice.code(-1)
    assert await alice.says(code) == Said("right")
    for again in (code, f"{code[:3]} {code[3:]}", f" {code} ", before):
        assert (await alice.says(again, "2")).result == "wrong"
    alice.clock.at += STEP_SECONDS
    assert (await alice.says(code, "2")).result == "wrong"
    assert await alice.position() == START // STEP_SECONDS
    alice.clock.at = START + USER_TRIES_SECONDS
    await alice.ask("3")
    assert await alice.says(alice.code(), "3") == Said("right")


@pytest.mark.parametrize(
    ("grace", "after", "steps", "result"),
    [
        (10, 9.999, -1, "right"),
        (10, 10, -1, "wrong"),
        (0, 0, -1, "wrong"),
        (0, 0, 0, "right"),
        (10, 29.999, 0, "right"),
        (10, 0, 1, "wrong"),
        (10, 29.999, 1, "wrong"),
        (10, 0, -2, "wrong"),
    ],
)
async def test_the_steps_that_count(grace: int, after: float, steps: int, result: Result) -> None:
    """J3: the current one, the previous one for its grace, never the next."""
    alice = Person(Terms(totp_grace_seconds=grace))
    await alice.give()
    alice.clock.at = START + after
    await alice.ask()
    assert (await alice.says(alice.code(steps))).result == result


async def test_the_code_it_was_added_with_counts_no_more(alice: Person) -> None:
    """Whoever saw the code that proved the new phone has none for an approval."""
    await alice.give(position=int(START // STEP_SECONDS))
    await alice.ask()
    assert (await alice.says(alice.code())).result == "wrong"
    alice.clock.at += STEP_SECONDS
    assert await alice.says(alice.code()) == Said("right")


@pytest.mark.parametrize("typed", ["", "12345", "７５５２２４", "not a code", "0-abcd-efgh-ijkl", "9" * 400])
async def test_what_is_no_code(alice: Person, typed: str) -> None:
    """Counted as any other."""
    await alice.give()
    await alice.give("hotp")
    await alice.ask()
    assert await alice.says(typed) == Said("wrong", APPROVAL_TRIES - 1)


# --- a token ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "result"), [(-1, "wrong"), (0, "right"), (1, "right"), (LOOK_AHEAD, "right"), (LOOK_AHEAD + 1, "wrong")]
)
async def test_a_token_may_have_run_ahead(alice: Person, ahead: int, result: Result) -> None:
    """Codes that were shown and not used are passed over, so many at the most; the next counter is behind the code."""
    await alice.give("hotp")
    await alice.ask()
    assert (await alice.says(STICK.code(100 + ahead))).result == result
    assert await alice.position() == (101 + ahead if result == "right" else 100)


async def test_a_token_s_code_once(alice: Person) -> None:
    """Neither the code again nor one that was passed over; the one behind it is right."""
    await alice.give("hotp")
    await alice.ask("1")
    await alice.ask("2")
    assert await alice.says(STICK.code(105)) == Said("right")
    for counter in (105, 104, 100):
        assert (await alice.says(STICK.code(counter), "2")).result == "wrong"
    assert await alice.says(STICK.code(106), "2") == Said("right")
    assert [row.code for row in alice.rows()] == ["hotp", "hotp"]


async def test_the_kinds_that_a_rule_takes(alice: Person) -> None:
    """A code of another kind is wrong though it is right; without a factor of the kind no try is spent."""
    await alice.give()
    await alice.ask("1", ("hotp",))
    assert await alice.says(alice.code()) == Said("no-factor")
    assert await alice.tries() == 0
    await alice.give("hotp")
    assert (await alice.says(alice.code())).result == "wrong"
    assert await alice.says(STICK.code(100)) == Said("right")


async def test_another_user_s_code(alice: Person) -> None:
    """Bob's phone says yes to nothing of alice's."""
    await alice.give("hotp")
    await alice.give(user="bob")
    await alice.ask()
    assert (await alice.says(alice.code())).result == "wrong"


# --- recovery codes --------------------------------------------------------------------------------------------------


async def test_recovery_codes(alice: Person) -> None:
    """Ten, shown once; kept as Argon2id under the key home; each is right once, in whatever case and grouping."""
    codes = await alice.presence.add_recovery("alice", "user", HOME)
    assert len(set(codes)) == RECOVERY_CODES
    assert all(re.fullmatch(r"[0-9]-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}", code) for code in codes)
    (factor,) = await alice.asked.factors("alice")
    kept = alice.keyring.unwrap(factor.secret, f"factor {factor.id} alice".encode())
    hashes = json.loads(kept)["hashes"]
    assert len(set(hashes)) == RECOVERY_CODES
    assert all(one.startswith("$argon2id$v=19$m=65536,t=2,p=1$") for one in hashes)
    assert not any(code.replace("-", "").encode() in kept or code.encode() in kept for code in codes)
    for i, typed in enumerate((codes[3], codes[0].upper(), codes[9].replace("-", " "), codes[1].replace("-", ""))):
        await alice.ask(str(i))
        assert await alice.says(typed, str(i)) == Said("right")
    assert await alice.position() == 0b10_0000_1011
    await alice.ask("again")
    assert (await alice.says(codes[3], "again")).result == "wrong"
    assert (await alice.says("4" + codes[5][1:], "again")).result == "wrong", "another number's code"
    assert await alice.says(codes[4], "again") == Said("right")
    assert {row.code for row in alice.rows()} == {"recovery"}


async def test_fresh_recovery_codes_end_the_old_ones(alice: Person) -> None:
    """One set is good at a time; nothing cools where it was done behind another factor."""
    await alice.give()
    old = await alice.presence.add_recovery("alice", "user", HOME)
    new = await alice.presence.add_recovery("alice", "user", HOME)
    assert sorted(factor.kind for factor in await alice.asked.factors("alice")) == ["recovery", "totp"]
    assert await alice.asked.cooling_until("alice") == 0
    await alice.ask()
    assert (await alice.says(old[0])).result == "wrong"
    assert await alice.says(new[0]) == Said("right")


# --- guessing --------------------------------------------------------------------------------------------------------


async def test_guessing_ends(alice: Person) -> None:
    """Five tries, each told how many are left; then the right code is locked out too, and the owner was told once."""
    await alice.give()
    await alice.ask()
    for left in (4, 3, 2, 1, 0):
        assert await alice.says(WRONG) == Said("wrong", left)
    assert alice.told() == ["tries"]
    assert alice.notices[-1].user == "alice"
    for code in (WRONG, alice.code()):
        assert await alice.says(code) == Said("locked")
    assert alice.told() == ["tries"]
    assert alice.rows() == []
    await alice.ask("2")
    assert await alice.says(alice.code(), "2") == Said("right")


async def test_new_questions_bring_no_new_tries(alice: Person) -> None:
    """J3: ten wrong codes an hour, for however many approvals, signed-in pages, and factors."""
    await alice.give()
    for name in "123":
        await alice.ask(name)
    said = [await alice.says(WRONG, name) for name in "1112"]
    assert alice.told() == []
    said += [await alice.says(WRONG, name) for name in "223"]
    assert [one.left for one in said] == [4, 3, 2, 4, 3, 2, 3], "whichever is less, of the approval or of the user"
    assert alice.told() == ["tries"], "told at the fifth: who guesses slowly enough never comes to the last"
    assert [await alice.presence.show("alice", WRONG) for _ in range(3)] == [Said("wrong", left) for left in (2, 1, 0)]
    assert alice.told() == ["tries", "tries"]
    assert await alice.says(alice.code()) == Said("locked")
    assert await alice.presence.show("alice", alice.code()) == Said("locked")
    alice.clock.at = START + USER_TRIES_SECONDS
    await alice.ask("4")
    assert await alice.says(alice.code(), "4") == Said("right")


async def test_a_right_code_is_no_guess(alice: Person) -> None:
    """Twenty approvals an hour with right codes: no try of them is left counted."""
    await alice.give("hotp")
    for i in range(2 * USER_TRIES):
        await alice.ask(str(i))
        assert await alice.says(STICK.code(100 + i), str(i)) == Said("right")
    assert await alice.tries() == 0


async def test_counted_before_it_is_judged(alice: Person) -> None:
    """Whoever cuts the connection while a code is being judged has spent the try."""
    codes = await alice.presence.add_recovery("alice", "user", HOME)
    approval = await alice.ask()
    for spent in (1, 2, 3):
        judging = asyncio.create_task(alice.presence.approve(approval, codes[0][0] + "a" * 12, HOME))
        for _ in range(100):
            if len(alice.asked._tries) == spent:
                break
            await asyncio.sleep(0)
        assert not judging.done()
        judging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await judging
    assert await alice.says(WRONG) == Said("wrong", APPROVAL_TRIES - 4)


async def test_a_key_home_that_fails_lets_nobody_through() -> None:
    """No code is right then; the try is spent, and nothing was approved."""

    class Shut(MadeKeyring):
        shut = False

        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            if self.shut:
                raise Fault("custody-unavailable", "wrap")
            return super().unwrap(wrapped, context)

    keyring = Shut()
    alice = Person(keyring=keyring)
    await alice.give()
    await alice.ask()
    keyring.shut = True
    with pytest.raises(Fault, match="custody-unavailable"):
        await alice.says(alice.code())
    keyring.shut = False
    assert alice.rows() == []
    assert await alice.says(WRONG) == Said("wrong", APPROVAL_TRIES - 2)


async def test_a_secret_belongs_to_its_user(alice: Person) -> None:
    """Whoever writes in the store can give nobody another's phone: it is wrapped for its user and its id."""
    factor = await alice.give(user="bob")
    moved = (factor._replace(user="alice"), factor._replace(id="fac_other", user="alice"))
    await alice.ask()
    for stolen in moved:
        alice.asked._factors = {stolen.id: stolen}
        with pytest.raises(Fault, match="custody-unavailable"):
            await alice.says(alice.code())
    assert b"12345678901234567890" not in factor.secret
    assert base64.b32encode(SECRET) not in factor.secret


# --- too late, too early ---------------------------------------------------------------------------------------------


async def test_what_no_longer_waits(alice: Person) -> None:
    """Approved, denied, past its time: late, and no try is spent."""
    await alice.give()
    for name in "123":
        await alice.ask(name)
    waiting = await alice.asked.approval("apr_1")
    assert waiting is not None
    assert await alice.says(alice.code()) == Said("right")
    assert await alice.presence.deny(await alice.ask("2"), "user", HOME)
    alice.clock.at = START + 600
    for name in "123":
        assert await alice.says(alice.code(), name) == Said("late")
    assert await alice.tries() == 0
    alice.clock.at = START + 599
    assert await alice.presence.approve(waiting, alice.code(), HOME) == Said("late"), "read before it was approved"
    assert await alice.says(alice.code(), "3") == Said("right"), "and the code was not used up by that"


@contextmanager
def at_the_file(alice: Person, folder: Path) -> Iterator[None]:
    """Alice's approvals in a file, where calls are in turn with each other."""
    file = SqliteFile(folder / "durable.db")
    alice.asked = cast(Any, SqliteApprovals(file, alice.clock))
    presence = Presence(alice.asked, alice.asked, alice.keyring, alice.clock, os.urandom, alice.notices, TERMS)
    alice.presence = presence
    yield
    file.close()


async def test_one_code_at_two_windows(alice: Person, tmp_path: Path) -> None:
    """Typed for two approvals at the same time: one is approved, for the other it is as wrong as any."""
    with at_the_file(alice, tmp_path):
        await alice.give()
        for name in "12":
            await alice.ask(name)
        said = await asyncio.gather(alice.says(alice.code(), "1"), alice.says(alice.code(), "2"))
        assert sorted(one.result for one in said) == ["right", "wrong"]
        (lost,) = (one for one in said if one.result == "wrong")
        assert lost.left == APPROVAL_TRIES - 1
        shown = await asyncio.gather(*(alice.presence.show("alice", alice.code(-1)) for _ in range(2)))
        assert [one.result for one in shown if isinstance(one, Said)] == ["wrong", "wrong"]
        alice.clock.at += STEP_SECONDS
        shown = await asyncio.gather(*(alice.presence.show("alice", alice.code()) for _ in range(3)))
        assert sorted(isinstance(one, Factor) for one in shown) == [False, False, True]


# --- a no ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["user", "operator"])
async def test_denied(alice: Person, by: str) -> None:
    """Without a code; it is recorded who said so; a second time it is nothing."""
    approval = await alice.ask()
    assert await alice.presence.deny(approval, by, HOME)
    assert not await alice.presence.deny(approval, by, HOME)
    assert alice.rows() == [Decision("apr_1", START, "denied", by, "cli_a", "alice", "key_1", HOME, "", "/v1/w", "p-1")]


async def test_disowned(alice: Person) -> None:
    """This was not me: keys frozen, what waits denied, recorded, and the user told, with what lets them sign again."""
    record = await alice.stores.enrol()
    alice.stores.directory._keys[CLIENT.keyid] = record._replace(user="alice")
    approval, other = await alice.ask("1"), await alice.ask("2")
    assert await alice.presence.disown(approval, HOME) == 1
    frozen = await alice.stores.directory.key(CLIENT.keyid)
    assert frozen is not None
    assert (frozen.state, frozen.frozen_at) == ("frozen", START)
    for one in (approval, other):
        found = await alice.asked.approval(one.id)
        assert found is not None
        assert found.state == "denied"
    (row,) = alice.rows()
    assert (row.outcome, row.code, row.client, row.user, row.address) == ("frozen", "user", "cli_a", "alice", HOME)
    (notice,) = alice.notices
    assert (notice.user, notice.about) == ("alice", "frozen")
    assert notice.text == "The keys of Bot are frozen. Only the operator can let them sign again."


# --- presence for something else -------------------------------------------------------------------------------------


async def test_shown(alice: Person) -> None:
    """Any factor will do, and is used with it; nothing is recorded, no try is left counted."""
    assert await alice.presence.show("alice", WRONG) == Said("no-factor")
    phone = await alice.give()
    stick = await alice.give("hotp")
    code = alice.code()
    assert await alice.presence.show("alice", code) == phone
    assert await alice.presence.show("alice", code) == Said("wrong", USER_TRIES - 1)
    assert await alice.presence.show("alice", STICK.code(103)) == stick
    assert sorted(factor.position for factor in await alice.asked.factors("alice")) == [104, START // STEP_SECONDS]
    assert await alice.tries() == 1
    assert alice.rows() == []
    await alice.ask()
    assert (await alice.says(code)).result == "wrong"


# --- changing factors ------------------------------------------------------------------------------------------------


async def test_added(alice: Person) -> None:
    """Kept wrapped, under its own id; recorded with its kind and who added it; the owner hears of it, not of more."""
    await alice.give("hotp")
    (factor,) = await alice.asked.factors("alice")
    assert (factor.kind, factor.name, factor.algorithm, factor.digits) == ("hotp", "Stick", "SHA256", 8)
    assert (factor.position, factor.added_at, factor.used_at) == (100, START, 0)
    assert factor.id.startswith("fac_")
    assert repr(factor) == f"Factor({factor.id}, hotp)"
    (row,) = alice.stores.ledger.decisions
    assert row[1:] == (START, "factor-added", "hotp/user", "", "alice", "", HOME, "", "", "p-1")
    assert row.request_id.startswith("req_")
    (notice,) = alice.notices
    assert (notice.user, notice.about) == ("alice", "factor-added")
    assert "“Stick”" in notice.text
    assert repr(NewSeed("totp", "Phone", SECRET)) == "NewSeed(totp)"
    assert await alice.asked.cooling_until("alice") == 0


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\x00b", "a\x7fb", "\ttab\tin it"])
async def test_names_that_are_none(alice: Person, name: str) -> None:
    """Empty, over 60 characters, control characters: refused, and nothing is kept or told."""
    with pytest.raises(ValueError, match="1 to 60 characters"):
        await alice.presence.add_seed("alice", NewSeed("totp", name, SECRET), "user", HOME)
    assert (await alice.asked.factors("alice"), alice.notices) == ([], [])


@pytest.mark.parametrize(("name", "kept"), [("x" * 60, "x" * 60), ("  Büro 2 ", "Büro 2"), ("<b>", "<b>")])
async def test_names(alice: Person, name: str, kept: str) -> None:
    """As they are, without the spaces around."""
    factor = await alice.presence.add_seed("alice", NewSeed("totp", name, SECRET), "user", HOME)
    assert factor.name == kept


async def test_seeds_that_are_none(alice: Person) -> None:
    """A seed that no code can be made of is refused, and nothing is kept."""
    for seed in (
        NewSeed("totp", "x", b"short"),
        NewSeed("totp", "x", SECRET, "MD5"),
        NewSeed("hotp", "x", SECRET, digits=9),
    ):
        with pytest.raises(ValueError, match="128 bits"):
            await alice.presence.add_seed("alice", seed, "user", HOME)
    assert await alice.asked.factors("alice") == []


async def test_so_many_factors(alice: Person) -> None:
    """A user has ten at the most: every code is tried against each. Others are not concerned."""
    for _ in range(MOST_FACTORS):
        await alice.give()
    with pytest.raises(ValueError, match="at most 10"):
        await alice.give()
    with pytest.raises(ValueError, match="at most 10"):
        await alice.presence.add_recovery("alice", "user", HOME)
    assert len(await alice.asked.factors("alice")) == MOST_FACTORS
    assert (await alice.give(user="bob")).user == "bob"


async def test_removed(alice: Person) -> None:
    """Its codes end, its owner hears of it, it is recorded with who did it; gone already, nothing of it is."""
    phone = await alice.give()
    await alice.give("hotp")
    assert await alice.presence.remove("alice", phone, "operator", HOME, reset=False)
    assert not await alice.presence.remove("alice", phone, "operator", HOME, reset=False)
    assert alice.told() == ["factor-removed"]
    assert "“Phone”" in alice.notices[-1].text
    assert [(row.outcome, row.code) for row in alice.rows()] == [("factor-removed", "totp/operator")]
    assert await alice.asked.cooling_until("alice") == 0
    await alice.ask()
    assert (await alice.says(alice.code())).result == "wrong"
    assert await alice.says(STICK.code(100)) == Said("right")


async def test_nobody_removes_another_s(alice: Person) -> None:
    """By an id alone nothing of another user ends, and nothing cools."""
    phone = await alice.give(user="bob")
    assert not await alice.presence.remove("alice", phone, "user", HOME, reset=True)
    assert await alice.asked.factors("bob") == [phone]
    assert await alice.asked.cooling_until("bob") == await alice.asked.cooling_until("alice") == 0
    assert alice.told() == []


# --- cooling down ----------------------------------------------------------------------------------------------------


async def _add(alice: Person) -> None:
    await alice.give("hotp")
    await alice.presence.add_seed("alice", NewSeed("totp", "New", SECRET), "operator", HOME, reset=True)


async def _remove(alice: Person) -> None:
    await alice.give()
    stick = await alice.give("hotp")
    assert await alice.presence.remove("alice", stick, "operator", HOME, reset=True)


async def _remove_the_last(alice: Person) -> None:
    stick = await alice.give("hotp")
    assert await alice.presence.remove("alice", stick, "user", HOME, reset=False)
    await alice.give()


async def _recover(alice: Person) -> None:
    await alice.give()
    await alice.presence.add_recovery("alice", "operator", HOME, reset=True)


@pytest.mark.parametrize("reset", [_add, _remove, _remove_the_last, _recover])
async def test_nothing_is_approved_after_a_reset(alice: Person, reset: Any) -> None:
    """J8: added or removed not behind another factor, the last one removed, recovery codes given: a day must pass."""
    await reset(alice)
    assert await alice.asked.cooling_until("alice") == START + COOLDOWN
    await alice.ask("now")
    assert await alice.says(alice.code(), "now") == Said("cooling")
    alice.clock.at = START + COOLDOWN - 0.001
    await alice.ask("just before")
    assert await alice.says(alice.code(), "just before") == Said("cooling")
    assert await alice.tries() == 0
    alice.clock.at = START + COOLDOWN
    assert await alice.says(alice.code(), "just before") == Said("right")
    assert alice.asked._approvals["apr_now"].state == "pending"


async def test_it_cools_for_its_own_user(alice: Person) -> None:
    """Another user's reset is nothing to alice, and hers keeps her from nothing but approving."""
    await alice.presence.add_seed("bob", NewSeed("totp", "New", SECRET), "operator", HOME, reset=True)
    await alice.give()
    approval = await alice.ask()
    assert await alice.says(alice.code()) == Said("right")
    await alice.presence.add_seed("alice", NewSeed("hotp", "New", TOKEN, "SHA256", 8), "operator", HOME, reset=True)
    denied = await alice.ask("2")
    assert await alice.presence.deny(denied, "user", HOME)
    assert isinstance(await alice.presence.show("alice", STICK.code(0)), Factor)
    found = await alice.asked.approval(approval.id)
    assert found is not None
    assert found.state == "approved"


async def test_as_long_as_the_policy_says() -> None:
    """A policy may say another time, or none."""
    for seconds in (0, 60):
        alice = Person(Terms(cooldown_seconds=seconds))
        await alice.presence.add_seed("alice", NewSeed("totp", "New", SECRET), "operator", HOME, reset=True)
        await alice.ask()
        assert (await alice.says(alice.code())).result == ("cooling" if seconds else "right")


async def test_a_notice_has_no_secret(alice: Person) -> None:
    """Whatever was told in a life of factors: no code, no seed, no sentence."""
    phone = await alice.give()
    codes = await alice.presence.add_recovery("alice", "user", HOME)
    await alice.ask()
    for _ in range(APPROVAL_TRIES):
        await alice.says(WRONG)
    await alice.presence.remove("alice", phone, "user", HOME, reset=False)
    told = " ".join(f"{notice.subject} {notice.text} {notice.link} {notice!r}" for notice in alice.notices)
    assert [notice.about for notice in alice.notices] == ["factor-added", "factor-added", "tries", "factor-removed"]
    secrets = [SECRET.decode(), base64.b32encode(SECRET).decode(), alice.code(), WRONG, *codes]
    assert not any(secret in told for secret in secrets)


async def test_of_two_codes_of_one_paper_one_is_allowed(alice: Person) -> None:
    """Both are judged before the cool-down of either has begun: the second one hears of it, and gets nothing."""
    codes = await alice.presence.add_recovery("alice", "user", HOME)
    cool, let_go, arrived = alice.asked.cool, asyncio.Event(), asyncio.Semaphore(0)

    async def held(user: str, until: float, decision: Decision) -> bool:
        arrived.release()
        await let_go.wait()
        return await cool(user, until, decision)

    alice.asked.cool = held  # type: ignore[method-assign]
    allowing = []
    for code in codes[:2]:
        allowing.append(asyncio.create_task(alice.presence.allow("alice", code, HOME)))
        await arrived.acquire()
    let_go.set()
    assert sorted(said.result for said in await asyncio.gather(*allowing)) == ["cooling", "right"]
