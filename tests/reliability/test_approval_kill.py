"""`kill -9` at each step between a person's yes and its effect: all or nothing, and the idempotency key tells which."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.stories.approval_process import STATEMENTS, ProcessWorld, effects_in, laid, processes
from tests.stories.approving import ask, asked_for
from tests.stories.sealing import open_session, problem_of


class Left(NamedTuple):
    """What a death leaves behind, and what the repeat under the same key then gets and does."""

    approval: str
    claims: list[int]  # of each idempotency key, whether its end is recorded
    effects: int
    repeat: int
    effects_in_all: int


NOTHING = Left("approved", [], 0, 200, 1)
ENDS = {
    "before the decision": NOTHING,
    "the approval is used": NOTHING,
    "the decision is written": NOTHING,
    "the commit": NOTHING,
    "before the effect": Left("used", [0], 0, 409, 0),
    "after the effect": Left("used", [0], 1, 409, 1),
    "the end is recorded": Left("used", [0], 1, 409, 1),
    "before the answer": Left("used", [1], 1, 200, 1),
}


@pytest.mark.parametrize("death", ENDS)
async def test_killed_between_yes_and_effect(tmp_path: Path, death: str) -> None:
    """Approval, idempotency key and decision hold or fall together; what cannot be known is never done again."""
    assert STATEMENTS.keys() < ENDS.keys()
    key, left = await laid(tmp_path), ENDS[death]
    other = ProcessWorld(tmp_path, key)
    session = await open_session(other)
    approval = await asked_for(other, session)
    assert (await other.approve(approval)).result == "right"
    with processes(tmp_path, key, (death,)) as (dying,):
        dying.say("ask", approval)
        assert dying.died()
    assert seen(tmp_path) == (left.approval, left.claims, left.effects)
    repeat = await ask(other, session, approval=approval)
    assert repeat.status_code == left.repeat
    if repeat.status_code == 409:
        problem = problem_of(repeat, session)
        assert (problem["code"], problem["outcome"]) == ("idempotency-in-progress", "unknown")
    assert effects_in(tmp_path) == left.effects_in_all
    # Either way the yes is used up now, and serves no other call.
    assert (await ask(other, session, approval=approval, key="another")).status_code == 403
    assert effects_in(tmp_path) == left.effects_in_all
    other.close()


def seen(folder: Path) -> tuple[str, list[int], int]:
    """The approval's state, the claims of idempotency keys, the effects."""
    with closing(sqlite3.connect(folder / "durable.db", timeout=10)) as connection:
        ((state,),) = connection.execute("SELECT state FROM approvals").fetchall()
        decided = "SELECT count(*) FROM decisions WHERE outcome = 'entered' AND rule = '/v1/withdrawals'"
        entered = connection.execute(decided).fetchone()[0]
        claims = [ended for (ended,) in connection.execute("SELECT reply IS NOT NULL FROM idempotency")]
    assert entered == len(claims), "the decision is there exactly where the key is claimed"
    return state, claims, effects_in(folder)
