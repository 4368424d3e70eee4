"""What Approvals and Factors promise, held against every adapter: asked, counted, approved and used once."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from sealwire.call import Approval
from sealwire.errors import Fault, Refusal
from sealwire.ports import Decision, DurableNonce, IdempotencyClaim, Invitation
from sealwire.ports.people import (
    APPROVAL_TRIES,
    PENDING_OF_A_USER,
    USER_TRIES,
    USER_TRIES_SECONDS,
    Attempt,
    Factor,
    Move,
)
from sealwire.protocol.jwk import Verifier
from sealwire.stores import sqlite_file
from sealwire.stores.memory_durable import MemoryLedger
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_file import schema_versions
from tests.contract.adapters import DAY, KINDS, START, Process, SetClock, a_key, people

UNTIL = START + 600
ASKED = Approval(
    "apr_1", "cli_a", "Acme", "alice", "key_a", tuple(bytes((part,)) * 32 for part in range(7)), b"wrapped",
    "/v1/withdrawals", ("totp", "hotp"), "192.0.2.1", START, UNTIL,
)  # fmt: skip
PHONE = Factor("fac_1", "alice", "totp", "Phone", b"wrapped", "SHA1", 6, 100, START - DAY)
MOVE = Move("fac_1", 100, 200)
YES = Decision("apr_1", START, "approved", "totp", "cli_a", "alice", "key_a", "192.0.2.9", "", "/v1/withdrawals", "p")
NO = YES._replace(outcome="denied", code="user")
THAWED = NO._replace(outcome="thawed", code="operator")
ENTERED = Decision("req_1", START, "entered", "ok", "cli_a", "alice", "key_a", "192.0.2.1", "POST", "/v1/w", "p")
NONCE = DurableNonce("key_a", "n" * 22, START + 60, 20)
CLAIM = IdempotencyClaim("cli_a alice", b"key", b"print")


@pytest.fixture(params=KINDS)
def processes(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[Process]]:
    """The store as each process sees it; the first and the last are two where there can be two."""
    with people(request.param, clock, tmp_path) as opened:
        yield opened


def recorded(process: Process) -> list[Decision]:
    """Every decision, in order."""
    if isinstance(process.ledger, MemoryLedger):
        return process.ledger.decisions
    assert isinstance(process.ledger, SqliteLedger)
    columns = "request, at, outcome, code, client, user, key, address, method, rule, policy"
    return [Decision(*row) for row in process.ledger._file.read(f"SELECT {columns} FROM decisions ORDER BY seq")]  # noqa: S608  # ours


async def state(process: Process, approval_id: str = "apr_1") -> str:
    """What stands in the store, whatever the time."""
    found = await process.approvals.approval(approval_id)
    assert found is not None
    return found.state


async def position(process: Process, user: str = "alice") -> list[int]:
    """Where the user's factors stand."""
    return [factor.position for factor in await process.factors.factors(user)]


async def tried(process: Process, user: str = "alice", approval_id: str = "apr_1", now: float = START) -> Attempt:
    """One try that is counted."""
    attempt = await process.approvals.attempt(user, approval_id, now)
    assert attempt is not None
    return attempt


async def give_phone(process: Process, **changes: Any) -> None:
    """The user has a phone; its row is not looked at."""
    await process.factors.add(PHONE._replace(**changes), YES._replace(outcome="factor-added"))
    if isinstance(process.ledger, MemoryLedger):
        process.ledger.decisions.clear()
        return
    assert isinstance(process.ledger, SqliteLedger)
    await process.ledger._file.write(
        lambda connection: connection.execute("DELETE FROM decisions"), ("internal", "bug")
    )


async def approved(process: Process, approval: Approval = ASKED, move: Move = MOVE) -> None:
    """Asked, and approved with the phone."""
    await process.approvals.ask(approval)
    attempt = await tried(process, approval.user, approval.id)
    decision = YES._replace(request_id=approval.id, user=approval.user)
    assert await process.approvals.approve(approval.id, move, attempt, decision) == "approved"


# --- asking ----------------------------------------------------------------------------------------------------------


async def test_kept_as_it_was_asked(processes: list[Process]) -> None:
    """Every member is there again, at the other process too; what nobody asked is None."""
    assert await processes[0].approvals.ask(ASKED) == ASKED
    assert await processes[-1].approvals.approval("apr_1") == ASKED
    assert await processes[-1].approvals.approval("apr_2") is None
    assert recorded(processes[0]) == []


async def test_the_same_call_asks_once(processes: list[Process]) -> None:
    """While the first waits, the same call of the same key gets it back, whatever else is told of it."""
    await processes[0].approvals.ask(ASKED)
    again = ASKED._replace(id="apr_2", asked_at=START + 1, expires_at=UNTIL + 1, shown=b"other", address="192.0.2.2")
    assert await processes[-1].approvals.ask(again) == ASKED
    assert await processes[0].approvals.approval("apr_2") is None
    others = await asyncio.gather(*(processes[i % 2 - 1].approvals.ask(again) for i in range(20)))
    assert set(others) == {ASKED}


@pytest.mark.parametrize(
    "other", [{"client": "cli_b"}, {"key": "key_b"}, {"user": "bob"}, {"binding": (b"x" * 32, *ASKED.binding[1:])}]
)
async def test_another_call_asks_anew(processes: list[Process], other: dict[str, Any]) -> None:
    """Another client, key, user or any part of what is bound makes it another question."""
    await processes[0].approvals.ask(ASKED)
    second = ASKED._replace(id="apr_2", **other)
    assert await processes[-1].approvals.ask(second) == second
    assert await processes[0].approvals.ask(second._replace(id="apr_3")) == second


async def test_what_no_longer_waits_is_asked_anew(processes: list[Process], clock: SetClock) -> None:
    """Denied, or past its time at the exact second: the same call is a new question."""
    process = processes[0]
    await process.approvals.ask(ASKED)
    assert await process.approvals.deny("apr_1", NO)
    third = ASKED._replace(id="apr_3")
    assert await process.approvals.ask(third) == third
    clock.at = UNTIL - 0.001
    assert await process.approvals.ask(ASKED._replace(id="apr_4", asked_at=clock.at)) == third
    clock.at = UNTIL
    fourth = ASKED._replace(id="apr_4", asked_at=clock.at, expires_at=UNTIL + 600)
    assert await process.approvals.ask(fourth) == fourth


async def test_so_many_wait_for_a_user(processes: list[Process], clock: SetClock) -> None:
    """Past the bound a question is rate-limited and not kept, until one is decided or runs out; others are free."""
    process, last = processes[0], processes[-1]
    every = [
        ASKED._replace(id=f"apr_{i}", binding=(bytes((i,)) * 32, *ASKED.binding[1:]), expires_at=UNTIL + i)
        for i in range(PENDING_OF_A_USER + 3)
    ]
    for i in range(PENDING_OF_A_USER):
        await processes[i % 2 - 1].approvals.ask(every[i])
    more = every[PENDING_OF_A_USER]
    with pytest.raises(Refusal, match="rate-limited/approvals") as raised:
        await last.approvals.ask(more)
    assert (raised.value.failed, raised.value.fields) == ("policy", ((b"retry-after", b"601"),))
    assert await process.approvals.approval(more.id) is None
    assert await last.approvals.ask(every[3]._replace(id="apr_again")) == every[3]
    other = more._replace(user="bob")
    assert await last.approvals.ask(other) == other
    assert await process.approvals.deny("apr_7", NO)
    another = every[PENDING_OF_A_USER + 1]
    assert await last.approvals.ask(another) == another
    late = every[PENDING_OF_A_USER + 2]
    clock.at = UNTIL - 0.001
    with pytest.raises(Refusal, match="rate-limited/approvals") as raised:
        await last.approvals.ask(late._replace(asked_at=clock.at))
    assert raised.value.fields == ((b"retry-after", b"1"),)
    clock.at = UNTIL
    assert (await last.approvals.ask(late._replace(asked_at=clock.at))).id == late.id


async def test_what_waits_is_not_read_to_ask_more(clock: SetClock, tmp_path: Path) -> None:
    """Whoever asks on past the bound costs an index: no row, with its long sentence, while all who write wait."""
    said: list[str] = []
    with people("sqlite", clock, tmp_path) as (process, *_):
        store = process.approvals
        assert isinstance(store, SqliteApprovals)
        await store._file.write(lambda connection: connection.set_trace_callback(said.append), ("internal", "bug"))
        await store.ask(ASKED)
        await store._file.write(lambda connection: connection.set_trace_callback(None), ("internal", "bug"))
        selects = [sql for sql in said if sql.startswith("SELECT")]
        plans = [row[3] for sql in selects for row in store._file.read(f"EXPLAIN QUERY PLAN {sql}")]
    assert len(plans) >= 2
    assert all("USING COVERING INDEX" in plan for plan in plans), plans


async def test_listed_newest_first(processes: list[Process]) -> None:
    """A user's own, or everybody's, so many at the most; those of one second in the order of their ids."""
    for i, user in enumerate(("alice", "bob", "alice", "alice")):
        asked = ASKED._replace(id=f"apr_{i}", user=user, asked_at=START + i // 2, binding=(bytes((i,)) * 32,))
        await processes[0].approvals.ask(asked)
    last = processes[-1].approvals
    assert [one.id for one in await last.approvals()] == ["apr_3", "apr_2", "apr_1", "apr_0"]
    assert [one.id for one in await last.approvals(limit=2)] == ["apr_3", "apr_2"]
    assert [one.id for one in await last.approvals("alice")] == ["apr_3", "apr_2", "apr_0"]
    assert [one.id for one in await last.approvals("alice", 1)] == ["apr_3"]
    assert await last.approvals("nobody") == []


# --- counting codes --------------------------------------------------------------------------------------------------


async def test_five_tries_an_approval(processes: list[Process]) -> None:
    """Each says what is left; the sixth is none, and is not counted against the user either."""
    for i in range(APPROVAL_TRIES):
        attempt = await tried(processes[i % 2 - 1])
        assert attempt[1:] == (APPROVAL_TRIES - i - 1, USER_TRIES - i - 1)
    for process in processes:
        assert await process.approvals.attempt("alice", "apr_1", START) is None
    other = await tried(processes[-1], approval_id="apr_2")
    assert other[1:] == (APPROVAL_TRIES - 1, USER_TRIES - APPROVAL_TRIES - 1)
    assert await processes[0].approvals.attempt("alice", "apr_1", START + USER_TRIES_SECONDS) is None, "for ever"


async def test_ten_tries_an_hour(processes: list[Process]) -> None:
    """New approvals bring no new tries to a user, nor does what else asks for a code; an hour does, to the second."""
    for i in range(USER_TRIES):
        attempt = await tried(processes[i % 2 - 1], approval_id=f"apr_{i}" if i % 3 else "")
        assert attempt.left_for_user == USER_TRIES - i - 1
    for process in processes:
        for approval_id in ("apr_new", ""):
            assert await process.approvals.attempt("alice", approval_id, START) is None
            assert await process.approvals.attempt("alice", approval_id, START + USER_TRIES_SECONDS - 0.001) is None
    assert (await tried(processes[0], "bob", "apr_bob")).left_for_user == USER_TRIES - 1
    later = await tried(processes[0], approval_id="", now=START + USER_TRIES_SECONDS)
    assert later.left_for_user == USER_TRIES - 1


async def test_guesses_at_once_are_counted_one_by_one(processes: list[Process]) -> None:
    """Of 40 at once for one approval five are let through, of 40 for one user ten; no two have one number."""
    for user, approval_id, let in (("alice", "apr_1", APPROVAL_TRIES), ("bob", "", USER_TRIES)):
        tries = [processes[i % 2 - 1].approvals.attempt(user, approval_id, START) for i in range(40)]
        counted = [attempt for attempt in await asyncio.gather(*tries) if attempt is not None]
        assert len(counted) == let
        assert len({attempt.number for attempt in counted}) == let
        assert sorted(attempt.left_for_user for attempt in counted) == list(range(USER_TRIES - let, USER_TRIES))


async def test_tries_outlive_the_file(clock: SetClock, tmp_path: Path) -> None:
    """A restart gives nobody a try more."""
    with people("sqlite", clock, tmp_path) as (process, _):
        await process.approvals.ask(ASKED)
        for _ in range(APPROVAL_TRIES):
            await tried(process)
    with people("sqlite", clock, tmp_path) as (process, _):
        assert await process.approvals.attempt("alice", "apr_1", START) is None
        for left in reversed(range(USER_TRIES - APPROVAL_TRIES)):
            assert (await tried(process, approval_id="")).left_for_user == left
    with people("sqlite", clock, tmp_path) as (process, _):
        assert await process.approvals.attempt("alice", "", START) is None
        assert await process.approvals.attempt("alice", "", START + USER_TRIES_SECONDS - 1) is None


# --- a yes -----------------------------------------------------------------------------------------------------------


async def test_approved(processes: list[Process], clock: SetClock) -> None:
    """State, factor, try and record move together, and every process sees it."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    await tried(process)
    attempt = await tried(process)
    clock.at = START + 5
    assert await process.approvals.approve("apr_1", MOVE, attempt, YES) == "approved"
    found = await last.approvals.approval("apr_1")
    assert found == ASKED._replace(state="approved", decided_at=START + 5, how="totp")
    assert await last.factors.factors("alice") == [PHONE._replace(position=200, used_at=START + 5)]
    assert recorded(last) == [YES]
    assert (await tried(last)).left_for_user == USER_TRIES - 2, "the wrong one still counts, the right one does not"


async def test_approved_once(processes: list[Process]) -> None:
    """What was approved, denied or used is late for another yes, whatever factor says it; and nothing moves."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await approved(process)
    attempt = await tried(last)
    assert await last.approvals.approve("apr_1", Move("fac_1", 200, 300), attempt, YES) == "late"
    assert await process.ledger.record(ENTERED, approval="apr_1") == "recorded"
    assert await last.approvals.approve("apr_1", Move("fac_1", 200, 300), attempt, YES) == "late"
    second = ASKED._replace(id="apr_2")
    await process.approvals.ask(second)
    assert await process.approvals.deny("apr_2", NO)
    assert await last.approvals.approve("apr_2", Move("fac_1", 200, 300), attempt, YES) == "late"
    assert await last.approvals.approve("apr_none", Move("fac_1", 200, 300), attempt, YES) == "late"
    assert await position(last) == [200]
    assert recorded(last) == [YES, ENTERED, NO]
    assert (await tried(last)).left_for_user == USER_TRIES - 2, "the late one stays counted"


async def test_approved_by_its_user_alone(processes: list[Process]) -> None:
    """Another user's yes is late, another user's factor is none."""
    process = processes[0]
    await give_phone(process)
    await give_phone(process, id="fac_2", user="bob")
    await process.approvals.ask(ASKED)
    attempt, bobs = await tried(process), Move("fac_2", 100, 200)
    assert await process.approvals.approve("apr_1", bobs, attempt, YES._replace(user="bob")) == "late"
    assert await process.approvals.approve("apr_1", bobs, attempt, YES) == "raced"
    assert await process.approvals.approve("apr_1", Move("fac_3", 100, 200), attempt, YES) == "raced"
    assert (await state(process), await position(process), await position(process, "bob")) == ("pending", [100], [100])
    assert recorded(process) == []


async def test_approved_in_time(processes: list[Process], clock: SetClock) -> None:
    """Just before its end it can be approved; at the exact second it is late."""
    process = processes[0]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    attempt = await tried(process)
    clock.at = UNTIL
    assert await process.approvals.approve("apr_1", MOVE, attempt, YES) == "late"
    assert (await state(process), await position(process), recorded(process)) == ("pending", [100], [])
    clock.at = UNTIL - 0.001
    assert await process.approvals.approve("apr_1", MOVE, attempt, YES) == "approved"


async def test_a_factor_that_moved_approves_nothing(processes: list[Process]) -> None:
    """Read before another used it, it is raced: it waits on, the try stays counted, nothing is recorded."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    assert await process.factors.move(MOVE, "alice", await tried(process, approval_id=""), START)
    attempt = await tried(last)
    assert await last.approvals.approve("apr_1", MOVE, attempt, YES) == "raced"
    assert (await state(process), await position(process), recorded(process)) == ("pending", [200], [])
    assert (await tried(process)).left_for_user == USER_TRIES - 2


async def test_one_code_for_two_at_once(processes: list[Process]) -> None:
    """Two approvals with one and the same code: one of them; one approval with two factors: once."""
    process = processes[0]
    await give_phone(process)
    await give_phone(process, id="fac_2")
    second = ASKED._replace(id="apr_2", key="key_b")
    for one in (ASKED, second):
        await process.approvals.ask(one)
    yes = [
        processes[i % 2 - 1].approvals.approve(f"apr_{i % 2 + 1}", MOVE, await tried(process, approval_id=f"{i}"), YES)
        for i in range(8)
    ]
    assert sorted(await asyncio.gather(*yes)).count("approved") == 1
    states = {"apr_1": await state(process), "apr_2": await state(process, "apr_2")}
    assert sorted(states.values()) == ["approved", "pending"]
    (waiting,) = (name for name, found in states.items() if found == "pending")
    moves = [Move("fac_1", 200, 300), Move("fac_2", 100, 200)]
    yes = [
        each.approvals.approve(waiting, move, await tried(process, approval_id=move.factor), YES)
        for each, move in zip((processes[0], processes[-1]), moves, strict=True)
    ]
    assert sorted(await asyncio.gather(*yes)) == ["approved", "late"]


async def test_nothing_is_approved_while_it_cools(processes: list[Process], clock: SetClock) -> None:
    """After a reset, until the exact second; the user's other factors do not help, nor does another's reset."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.factors.add(PHONE._replace(id="fac_2", user="bob"), YES, START + 9000)
    await process.factors.add(PHONE._replace(id="fac_3"), YES, START + 300)
    assert await last.factors.cooling_until("alice") == START + 300
    await process.approvals.ask(ASKED)
    attempt = await tried(process)
    clock.at = START + 299.999
    for move in (MOVE, Move("fac_3", 100, 200)):
        assert await last.approvals.approve("apr_1", move, attempt, YES) == "cooling"
    assert (await state(process), await position(process)) == ("pending", [100, 100])
    clock.at = START + 300
    assert await last.approvals.approve("apr_1", MOVE, attempt, YES) == "approved"


# --- a no ------------------------------------------------------------------------------------------------------------


async def test_denied_once(processes: list[Process], clock: SetClock) -> None:
    """What waits is denied and recorded; a second no, a no to a yes, and a no to nothing are none."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    clock.at = START + 5
    assert await last.approvals.deny("apr_1", NO)
    assert await process.approvals.approval("apr_1") == ASKED._replace(state="denied", decided_at=START + 5)
    assert not await process.approvals.deny("apr_1", NO)
    assert not await process.approvals.deny("apr_none", NO)
    await approved(process, ASKED._replace(id="apr_2"))
    assert not await last.approvals.deny("apr_2", NO)
    assert await state(last, "apr_2") == "approved"
    assert [one.outcome for one in recorded(last)] == ["denied", "approved"]


async def test_denied_in_time(processes: list[Process], clock: SetClock) -> None:
    """At the exact second there is nothing left to deny."""
    await processes[0].approvals.ask(ASKED)
    clock.at = UNTIL
    assert not await processes[0].approvals.deny("apr_1", NO)
    assert recorded(processes[0]) == []
    clock.at = UNTIL - 0.001
    assert await processes[0].approvals.deny("apr_1", NO)


async def test_yes_and_no_at_once(processes: list[Process]) -> None:
    """One of them is what was said, and one is recorded."""
    process = processes[0]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    attempt = await tried(process)
    said, denied = await asyncio.gather(
        process.approvals.approve("apr_1", MOVE, attempt, YES), processes[-1].approvals.deny("apr_1", NO)
    )
    assert (said == "approved") is not denied
    assert await state(process) == ("denied" if denied else "approved")
    assert recorded(process) == [NO if denied else YES]


# --- using one -------------------------------------------------------------------------------------------------------


async def test_used_once(processes: list[Process]) -> None:
    """With the decision it was approved for; a second time it is unapproved."""
    await give_phone(processes[0])
    await approved(processes[0])
    assert await processes[-1].ledger.record(ENTERED, NONCE, CLAIM, "apr_1") == "recorded"
    assert await state(processes[0]) == "used"
    assert await processes[0].ledger.record(ENTERED, approval="apr_1") == "unapproved"
    assert recorded(processes[0]) == [YES, ENTERED]


async def test_one_of_200_uses_it(processes: list[Process]) -> None:
    """200 calls at once, each with a nonce and an idempotency key of its own: one is recorded."""
    await give_phone(processes[0])
    await approved(processes[0])
    tries = [
        processes[i % 2 - 1].ledger.record(
            ENTERED._replace(request_id=f"req_{i}"), NONCE._replace(nonce=f"{i:022d}"), CLAIM._replace(key=b"%d" % i),
            "apr_1",
        )
        for i in range(200)
    ]  # fmt: skip
    outcomes = await asyncio.gather(*tries)
    assert sorted(outcomes) == ["recorded"] + ["unapproved"] * 199
    used = outcomes.index("recorded")
    assert [one.request_id for one in recorded(processes[0])] == ["apr_1", f"req_{used}"]
    for i in range(200):
        found = await processes[0].ledger.recall(CLAIM.scope, b"%d" % i)
        assert (found is None) is (i != used)


async def test_a_lost_approval_leaves_the_key_free(processes: list[Process]) -> None:
    """Pending, denied, used or of nobody: no decision, the idempotency key free, the message seen all the same."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.approvals.ask(ASKED)
    await process.approvals.ask(ASKED._replace(id="apr_2", key="key_b"))
    assert await process.approvals.deny("apr_2", NO)
    for i, approval_id in enumerate(("apr_1", "apr_2", "apr_none")):
        nonce = NONCE._replace(nonce=f"{i:022d}")
        assert await last.ledger.record(ENTERED, nonce, CLAIM, approval_id) == "unapproved"
        assert await process.ledger.recall(CLAIM.scope, CLAIM.key) is None
        assert await process.ledger.record(ENTERED, nonce) == "seen"
    assert recorded(process) == [NO]
    assert await state(process) == "pending"
    attempt = await tried(process)
    assert await process.approvals.approve("apr_1", MOVE, attempt, YES) == "approved"
    assert await last.ledger.record(ENTERED, NONCE, CLAIM, "apr_1") == "recorded"
    assert await process.ledger.recall(CLAIM.scope, CLAIM.key) is not None


async def test_an_answer_is_not_lost_with_an_approval(processes: list[Process]) -> None:
    """A key that holds an answer is taken before the approval is asked for: both stay."""
    process = processes[0]
    await give_phone(process)
    await approved(process)
    assert await process.ledger.record(ENTERED, None, CLAIM) == "recorded"
    await process.ledger.finish(CLAIM.scope, CLAIM.key, b"answer")
    assert await process.ledger.record(ENTERED, None, CLAIM, "apr_1") == "taken"
    entry = await process.ledger.recall(CLAIM.scope, CLAIM.key)
    assert entry is not None
    assert entry.wrapped == b"answer"
    assert await state(process) == "approved"


@pytest.mark.parametrize(("lost", "at"), [("seen", START), ("late", START + 70)])
async def test_a_replay_uses_no_approval(processes: list[Process], clock: SetClock, lost: str, at: float) -> None:
    """A message that was seen, or is late, leaves the yes where it is."""
    process = processes[0]
    await give_phone(process)
    await approved(process)
    assert await process.ledger.record(ENTERED, NONCE) == "recorded"
    clock.at = at
    assert await processes[-1].ledger.record(ENTERED, NONCE, CLAIM, "apr_1") == lost
    assert await state(process) == "approved"
    assert await process.ledger.recall(CLAIM.scope, CLAIM.key) is None


async def test_used_in_time(processes: list[Process], clock: SetClock) -> None:
    """At the exact second a yes is over; just before it is good."""
    process = processes[0]
    await give_phone(process)
    await approved(process)
    clock.at = UNTIL
    assert await process.ledger.record(ENTERED, None, CLAIM, "apr_1") == "unapproved"
    assert recorded(process) == [YES]
    clock.at = UNTIL - 0.001
    assert await process.ledger.record(ENTERED, None, CLAIM, "apr_1") == "recorded"


# --- "this was not me" -----------------------------------------------------------------------------------------------


async def enrolled(process: Process, client: str, user: str | None, *, rotated: bool = False) -> list[Verifier]:
    """A client of this user with a key, or with one that retires and the one that follows it."""
    keys = [a_key()]
    name = f"inv_{client}"
    await process.directory.add_invitation(
        Invitation(name, client, "", user, frozenset(("withdraw",)), (), b"w", START + 60)
    )
    await process.directory.enrol(name, keys[0], client, "k", START)
    if rotated:
        keys.append(a_key())
        await process.directory.rotate(keys[0].keyid, keys[1], "k", START, DAY)
    return keys


async def states(process: Process, client: str) -> list[str]:
    """The states of a client's keys, in the order of their names."""
    return sorted(key.state for key in await process.directory.keys(client))


async def test_an_invitation_for_a_frozen_client_opens_nothing(processes: list[Process]) -> None:
    """One that would add a key to it would be the way around a freeze; another client's goes on."""
    process, last = processes[0], processes[-1]
    await enrolled(process, "cli_a", "alice")
    await enrolled(process, "cli_b", "alice")
    for client in ("cli_a", "cli_b"):
        more = Invitation(f"more_{client}", "k", client, "alice", frozenset(), (), b"w", START + 60)
        await process.directory.add_invitation(more)
    await process.approvals.freeze("cli_a", "alice", YES._replace(outcome="frozen", code="user"))
    with pytest.raises(Refusal, match="invitation-invalid/expired"):
        await last.directory.enrol("more_cli_a", a_key(), "", "k", START)
    assert (await last.directory.enrol("more_cli_b", a_key(), "", "k", START)).client == "cli_b"


async def test_frozen(processes: list[Process], clock: SetClock) -> None:
    """Every key that may sign stops at once in every process, is so from that second on, and it is recorded once."""
    process, last = processes[0], processes[-1]
    first, second = await enrolled(process, "cli_a", "alice", rotated=True)
    (revoked,) = await enrolled(process, "cli_x", "alice")
    await process.directory.revoke(revoked.keyid)
    await enrolled(process, "cli_b", "alice")
    await enrolled(process, "cli_c", "bob")
    clock.at = START + 5
    frozen = YES._replace(outcome="frozen", code="user")
    assert await last.approvals.freeze("cli_a", "alice", frozen) == 2
    for keyid in (first.keyid, second.keyid):
        key = await process.directory.key(keyid)
        assert key is not None
        assert (key.state, key.frozen_at) == ("frozen", START + 5)
    assert [await states(process, client) for client in ("cli_b", "cli_c")] == [["active"], ["active"]]
    assert recorded(process) == [frozen]
    assert await process.approvals.freeze("cli_a", "alice", frozen) == 0
    assert await process.approvals.freeze("cli_x", "alice", frozen) == 0
    assert await states(process, "cli_x") == ["revoked"]


async def test_nobody_freezes_another_s_client(processes: list[Process]) -> None:
    """Neither another user's client, nor one that is no user's."""
    process = processes[0]
    await enrolled(process, "cli_a", "alice")
    await enrolled(process, "cli_s", None)
    await process.approvals.ask(ASKED)
    assert await process.approvals.freeze("cli_a", "bob", NO) == 0
    assert await process.approvals.freeze("cli_s", "alice", NO) == 0
    assert (await states(process, "cli_a"), await states(process, "cli_s")) == (["active"], ["active"])
    assert await state(process) == "pending"


async def test_a_frozen_key_makes_no_other(processes: list[Process]) -> None:
    """It cannot be rotated: whoever has it would go on with a fresh one."""
    process, last = processes[0], processes[-1]
    (key,) = await enrolled(process, "cli_a", "alice")
    await process.approvals.freeze("cli_a", "alice", NO)
    with pytest.raises(Refusal, match="approval-required/more-keys"):
        await last.directory.rotate(key.keyid, a_key(), "k", START, DAY)
    assert await states(last, "cli_a") == ["frozen"]


async def test_thawed(processes: list[Process], clock: SetClock) -> None:
    """The keys go on as they were, with the second of the freeze, so that sessions from before stay over."""
    process, last = processes[0], processes[-1]
    first, second = await enrolled(process, "cli_a", "alice", rotated=True)
    await enrolled(process, "cli_b", "alice")
    await process.approvals.freeze("cli_b", "alice", NO)
    clock.at = START + 5
    await process.approvals.freeze("cli_a", "alice", NO)
    assert await last.approvals.thaw("cli_a", THAWED) == 2
    for keyid, was in ((first.keyid, "retiring"), (second.keyid, "active")):
        key = await process.directory.key(keyid)
        assert key is not None
        assert (key.state, key.frozen_at) == (was, START + 5)
    assert await process.approvals.thaw("cli_a", THAWED) == 0
    assert recorded(process) == [NO, NO, THAWED], "what changed nothing is no record"
    assert await states(process, "cli_b") == ["frozen"]
    clock.at = START + 9
    assert await process.approvals.freeze("cli_a", "alice", NO) == 2
    key = await last.directory.key(second.keyid)
    assert key is not None
    assert key.frozen_at == START + 9


async def test_revoked_stays_revoked(processes: list[Process]) -> None:
    """A key that was revoked while it was frozen is none of those that thaw."""
    process, last = processes[0], processes[-1]
    first, _ = await enrolled(process, "cli_a", "alice", rotated=True)
    await process.approvals.freeze("cli_a", "alice", NO)
    assert await process.directory.revoke(first.keyid)
    assert await states(last, "cli_a") == ["frozen", "revoked"]
    assert await last.approvals.thaw("cli_a", THAWED) == 1
    assert await states(process, "cli_a") == ["active", "revoked"]
    await process.approvals.freeze("cli_a", "alice", NO)
    assert await process.directory.revoke_client("cli_a") == 1
    assert await last.approvals.thaw("cli_a", THAWED) == 0
    assert await states(last, "cli_a") == ["revoked", "revoked"]


async def test_what_waits_is_denied_with_the_freeze(processes: list[Process], clock: SetClock) -> None:
    """Asked or approved, of that client and user; what is over, and what others asked, stays as it is."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await give_phone(process, id="fac_2", user="bob")
    await process.approvals.ask(ASKED._replace(id="apr_over", key="k0", expires_at=START + 5))
    for i, name in enumerate(("apr_used", "apr_yes")):
        await approved(process, ASKED._replace(id=name), Move("fac_1", 100 + i, 101 + i))
        if name == "apr_used":
            assert await process.ledger.record(ENTERED, approval=name) == "recorded"
    await process.approvals.ask(ASKED._replace(key="k1"))
    await process.approvals.ask(ASKED._replace(id="apr_client", client="cli_b"))
    await approved(process, ASKED._replace(id="apr_user", user="bob"), Move("fac_2", 100, 101))
    clock.at = START + 5
    await last.approvals.freeze("cli_a", "alice", NO)
    assert {one.id: (one.state, one.decided_at) for one in await process.approvals.approvals()} == {
        "apr_over": ("pending", 0),
        "apr_used": ("used", START),
        "apr_yes": ("denied", START + 5),
        "apr_1": ("denied", START + 5),
        "apr_client": ("pending", 0),
        "apr_user": ("approved", START),
    }
    assert await process.ledger.record(ENTERED, approval="apr_yes") == "unapproved"


# --- factors ---------------------------------------------------------------------------------------------------------


async def test_added_and_listed(processes: list[Process]) -> None:
    """Every member is there again, oldest first, each user's own, with a row for each."""
    added = YES._replace(outcome="factor-added", code="totp/user")
    token = Factor("fac_0", "alice", "hotp", "Schlüssel", b"other", "SHA512", 8, 7, START - 1, START)
    for factor in (token, PHONE, PHONE._replace(id="fac_2", user="bob")):
        await processes[0].factors.add(factor, added)
    assert await processes[-1].factors.factors("alice") == [PHONE, token]
    assert [factor.id for factor in await processes[-1].factors.factors("bob")] == ["fac_2"]
    assert await processes[-1].factors.factors("nobody") == []
    assert await processes[-1].factors.cooling_until("alice") == 0
    assert recorded(processes[-1]) == [added] * 3


async def test_removed_by_its_user_alone(processes: list[Process]) -> None:
    """Another user's id ends nothing, a second removal neither; each real one is recorded."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    removed = YES._replace(outcome="factor-removed")
    assert not await process.factors.remove("fac_1", "bob", removed, START + 300)
    assert not await process.factors.remove("fac_none", "alice", removed, START + 300)
    assert await last.factors.cooling_until("alice") == await last.factors.cooling_until("bob") == 0
    assert await last.factors.remove("fac_1", "alice", removed)
    assert not await process.factors.remove("fac_1", "alice", removed)
    assert (await process.factors.factors("alice"), recorded(process)) == ([], [removed])
    await process.approvals.ask(ASKED)
    assert await process.approvals.approve("apr_1", MOVE, await tried(process), YES) == "raced"


async def test_of_two_removals_at_once_the_last_one_cools(processes: list[Process]) -> None:
    """Which one is the last is judged where it is removed."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.factors.add(PHONE._replace(id="fac_2"), YES)
    await asyncio.gather(
        process.factors.remove("fac_1", "alice", NO, 0, START + 300),
        last.factors.remove("fac_2", "alice", NO, 0, START + 300),
    )
    assert await process.factors.cooling_until("alice") == START + 300


async def test_a_factor_in_place_of_another(processes: list[Process]) -> None:
    """One step: no moment has neither, and another user's stays."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    await process.factors.add(PHONE._replace(id="fac_2", user="bob"), YES)
    await process.factors.add(PHONE._replace(id="fac_3"), YES, replaces="fac_1")
    await process.factors.add(PHONE._replace(id="fac_4"), YES, replaces="fac_2")
    assert [factor.id for factor in await last.factors.factors("alice")] == ["fac_3", "fac_4"]
    assert [factor.id for factor in await last.factors.factors("bob")] == ["fac_2"]


async def test_nobody_is_asked_again_after_a_yes(processes: list[Process], clock: SetClock) -> None:
    """A caller that lost what it knew gets the approval that is there, until it is used or over."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    assert (await process.approvals.ask(ASKED)).id == "apr_1"
    assert await process.approvals.approve("apr_1", MOVE, await tried(process), YES) == "approved"
    again = ASKED._replace(id="apr_2")
    held = await last.approvals.ask(again)
    assert (held.id, held.state) == ("apr_1", "approved")
    assert await process.ledger.record(ENTERED, None, None, "apr_1") == "recorded"
    assert (await last.approvals.ask(again)).id == "apr_2"


async def test_cooling_is_never_shortened(processes: list[Process]) -> None:
    """By another change of factors, with or without a time of its own."""
    process, last = processes[0], processes[-1]
    await process.factors.add(PHONE, YES, START + 300)
    await process.factors.add(PHONE._replace(id="fac_2"), YES)
    await process.factors.add(PHONE._replace(id="fac_3"), YES, START + 200)
    assert await last.factors.cooling_until("alice") == START + 300
    assert await last.factors.remove("fac_2", "alice", YES, START + 100)
    assert await process.factors.cooling_until("alice") == START + 300
    assert await last.factors.remove("fac_3", "alice", YES, START + 400)
    assert await process.factors.cooling_until("alice") == START + 400


async def test_cooling_by_itself(processes: list[Process]) -> None:
    """Begun without a change of factors, recorded, for this user alone, and never shortened."""
    process, last = processes[0], processes[-1]
    assert await process.factors.cool("alice", START + 300, YES)
    assert await last.factors.cooling_until("alice") == START + 300
    assert await last.factors.cooling_until("bob") == 0
    assert recorded(last) == [YES]
    for until in (START + 200, START + 400):
        assert not await last.factors.cool("alice", until, YES)
    assert await process.factors.cooling_until("alice") == START + 300
    assert recorded(last) == [YES]
    over = YES._replace(at=START + 300)
    assert await last.factors.cool("alice", START + 500, over)
    assert not await process.factors.cool("alice", START + 600, over)
    assert recorded(process) == [YES, over]


async def test_moved_once(processes: list[Process]) -> None:
    """One of 8 with the same code gets in; its try counts no longer, the others' do; nobody moves another's."""
    process, last = processes[0], processes[-1]
    await give_phone(process)
    attempt = await tried(process, approval_id="")
    assert not await process.factors.move(MOVE, "bob", attempt, START)
    assert not await process.factors.move(MOVE._replace(before=99), "alice", attempt, START)
    assert not await process.factors.move(MOVE._replace(factor="fac_2"), "alice", attempt, START)
    assert await position(last) == [100]
    attempts = [attempt, *[await tried(process, approval_id="") for _ in range(7)]]
    moves = [processes[i % 2 - 1].factors.move(MOVE, "alice", each, START + 5) for i, each in enumerate(attempts)]
    assert sorted(await asyncio.gather(*moves)) == [False] * 7 + [True]
    assert await last.factors.factors("alice") == [PHONE._replace(position=200, used_at=START + 5)]
    assert (await tried(last, approval_id="")).left_for_user == USER_TRIES - 8
    assert recorded(last) == []


# --- the file --------------------------------------------------------------------------------------------------------


async def test_what_was_said_outlives_the_file(clock: SetClock, tmp_path: Path) -> None:
    """Asked, approved, cooling: as it was when the file is opened again."""
    with people("sqlite", clock, tmp_path) as (process, _):
        await give_phone(process)
        await approved(process)
        await process.factors.add(PHONE._replace(id="fac_2", added_at=START), YES, START + 300)
    with people("sqlite", clock, tmp_path) as (process, _):
        assert await state(process) == "approved"
        assert [factor.id for factor in await process.factors.factors("alice")] == ["fac_1", "fac_2"]
        assert await process.factors.cooling_until("alice") == START + 300
        assert await process.ledger.record(ENTERED, approval="apr_1") == "recorded"
    with people("sqlite", clock, tmp_path) as (process, _):
        assert await process.ledger.record(ENTERED, approval="apr_1") == "unapproved"


async def test_what_is_old_is_forgotten(clock: SetClock, tmp_path: Path) -> None:
    """Approvals after 90 days, tries after a day, with the next question."""
    with people("sqlite", clock, tmp_path) as (process, _):
        await process.approvals.ask(ASKED)
        await tried(process)
        for name, later, known, tries in (
            ("apr_2", DAY, True, 1), ("apr_3", DAY + 1, True, 0), ("apr_4", 90 * DAY, True, 0),
            ("apr_5", 90 * DAY + 1, False, 0),
        ):  # fmt: skip
            await process.approvals.ask(ASKED._replace(id=name, asked_at=START + later, user=name))
            assert (await process.approvals.approval("apr_1") is not None) is known
            assert isinstance(process.ledger, SqliteLedger)
            assert process.ledger._file.read("SELECT count(*) FROM tries") == [(tries,)]


async def test_a_file_from_before_keeps_its_keys(clock: SetClock, tmp_path: Path) -> None:
    """A file of schema 2 is moved to 3: its keys sign on, were never frozen, and can be."""
    path, key = tmp_path / "durable.db", a_key()
    schema = files("sealwire.stores").joinpath("schema")
    before = sqlite3.connect(path, isolation_level=None)
    for number in ("0001", "0002"):
        before.executescript(schema.joinpath(f"{number}.sql").read_text("utf-8"))
    before.execute("PRAGMA user_version = 2")
    before.execute("INSERT INTO clients VALUES ('cli_a', 'Acme', 'alice', 'withdraw', '', ?)", (START,))
    sql = "INSERT INTO keys (keyid, client, name, jwk, state, enrolled) VALUES (?, 'cli_a', 'k', ?, 'active', ?)"
    before.execute(sql, (key.keyid, json.dumps(key.jwk), START))
    before.execute("INSERT INTO nonces VALUES (?, ?)", (b"d" * 16, START + 80))
    before.close()
    with people("sqlite", clock, tmp_path) as (process, last):
        found = await last.directory.key(key.keyid)
        assert found is not None
        assert (found.state, found.frozen_at, found.user, found.client_name) == ("active", -1, "alice", "Acme")
        assert schema_versions(path) == (5, 5)
        assert isinstance(process.ledger, SqliteLedger)
        assert process.ledger._file.read("SELECT digest FROM nonces") == [(b"d" * 16,)]
        await process.approvals.ask(ASKED)
        assert await process.approvals.freeze("cli_a", "alice", NO) == 1
        assert await states(last, "cli_a") == ["frozen"]
    with people("sqlite", clock, tmp_path) as (process, _):
        assert await states(process, "cli_a") == ["frozen"]


async def test_a_store_that_fails_lets_nobody_through(
    clock: SetClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be written it is a Fault within the bound, and nothing of it is written later."""
    monkeypatch.setattr(sqlite_file, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    with people("sqlite", clock, tmp_path) as (process, last):
        await give_phone(process)
        await process.approvals.ask(ASKED)
        attempt = await tried(process)
        holder = sqlite3.connect(tmp_path / "durable.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        for write in writes(process, attempt):
            with pytest.raises(Fault, match="store-unavailable/approvals"):
                await write
        with pytest.raises(Fault, match="audit-unavailable"):
            await process.ledger.record(ENTERED, approval="apr_1")
        holder.execute("ROLLBACK")
        holder.close()
        assert (await state(last), await position(last), recorded(last)) == ("pending", [100], [])
        assert (await tried(last)).left_for_user == USER_TRIES - 2


async def test_a_closed_file_is_a_fault(clock: SetClock, tmp_path: Path) -> None:
    """Neither read nor written: store-unavailable."""
    with people("sqlite", clock, tmp_path) as (process, _):
        pass
    reads = (
        process.approvals.approval("apr_1"), process.approvals.approvals(), process.approvals.approvals("alice"),
        process.factors.factors("alice"), process.factors.cooling_until("alice"),
    )  # fmt: skip
    for wanted in (*reads, *writes(process, Attempt(1, 4, 9))):
        with pytest.raises(Fault, match="store-unavailable/approvals"):
            await wanted


def writes(process: Process, attempt: Attempt) -> list[Any]:
    """Every write of the two ports, not begun."""
    return [
        process.approvals.ask(ASKED._replace(id="apr_2", key="key_b")),
        process.approvals.attempt("alice", "apr_1", START),
        process.approvals.approve("apr_1", MOVE, attempt, YES),
        process.approvals.deny("apr_1", NO),
        process.approvals.freeze("cli_a", "alice", NO),
        process.factors.add(PHONE._replace(id="fac_2"), YES),
        process.factors.remove("fac_1", "alice", NO),
        process.factors.move(MOVE, "alice", attempt, START),
    ]
