"""J: what moves money waits for a person, whoever holds the keys."""

from __future__ import annotations

from pathlib import Path

from tests.stories.approving import SENTENCE, ask, begun, code_of
from tests.stories.sealing import problem_of


async def test_the_bot_asks_and_a_person_answers(tmp_path: Path) -> None:
    """Asked with a link, pending, approved with a code, entered once; the repeat gets the same answer."""
    world, session = await begun(tmp_path)
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
