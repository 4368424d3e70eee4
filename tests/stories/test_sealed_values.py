"""
What a value of the server shows of sealed content when somebody prints it, or is told of it as the cause of a failure.

The attacker has the output of whoever looked for a mistake inside the guard. `test_sealed_marker` has what a whole
server says and keeps.
"""

import logging
from pathlib import Path

import pytest

from sealwire.call import Body, Call, Idempotent, InSession, Plain
from sealwire.entry import Entry
from sealwire.errors import Fault, Problem
from sealwire.protocol.message import Reply
from tests.stories.markers import leaks, told
from tests.stories.sealing import (
    JSON_TYPE,
    Opened,
    SealedWorld,
    carrying,
    open_session,
    put_together,
    sealed,
    taken_apart,
)

MARKER = "m4rk3r-Zq9"
SAID = b'{"seed": "%s"}' % MARKER.encode()


@pytest.fixture
def world(tmp_path: Path) -> SealedWorld:
    made = SealedWorld(tmp_path)
    made.answer = Reply(200, (JSON_TYPE,), SAID)
    return made


def words(session: Opened) -> dict[str, str | bytes]:
    """What only the session's two ends know: the marker, the secret, what was made of it as far as that can be read."""
    keys = session.keys
    return {"marker": MARKER, "secret": session.secret, "c2s mac": keys.c2s_mac, "s2c mac": keys.s2c_mac}


async def test_values_that_are_printed(world: SealedWorld) -> None:
    """
    P4, N2: the evidence, the session, the call and the answer, each printed alone and within others.

    Stopped by: call
    """
    caught: list[object] = []

    async def looks(call: Call) -> Idempotent:
        body, joined, plain = call.get(Body), call.get(InSession), call.get(Plain)
        reply = Reply(200, (JSON_TYPE,), SAID)
        entry = Entry(call.request, call.rule, None, plain.content, call.request_id, sealed_type=plain.content_type)
        evidence = Idempotent("scope", b"key", b"print", reply)
        caught.extend((call, call.held, dict(call.held), body, Body(SAID), joined, plain, reply, entry, evidence))
        raise RuntimeError(str(caught))

    page = dict(world.guard._pipeline.stages)
    page["sealed"] = tuple((name, looks if name == "idempotency" else one) for name, one in page["sealed"])
    world.guard._pipeline = world.guard._pipeline._replace(stages=page)
    session = await open_session(world)
    assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    assert len(caught) == 10
    said = "".join(f"{value!r} {value!s} {value}" for value in caught).encode()
    assert b"Plain(" in said
    assert session.id.encode() in said
    assert leaks(words(session), {"said": said}) == []


async def test_problems_that_are_printed(world: SealedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """
    N2: the problems that a sealed call can end in, also one that no honest client sends, printed with all that led to
    them.

    Stopped by: unseal
    """
    caplog.set_level(logging.DEBUG)
    problems: list[str] = []
    turn_away = world.guard._turn_away

    async def noted(problem: Problem, call: Call | None, trace: object) -> Reply:
        problems.append(told(problem) + repr(vars(problem)))
        return await turn_away(problem, call, trace)  # type: ignore[arg-type]

    world.guard._turn_away = noted  # type: ignore[method-assign]
    session = await open_session(world)
    *parts, _ = taken_apart(session.seal(SAID))
    key = MARKER.encode()
    for wire, status in (
        (sealed(session, SAID[:-1]), 422),
        (sealed(session, b'{"%s": 1, "%s": 2}' % (key, key)), 422),
        (carrying(put_together([*parts, bytes(16)])), 400),
        (carrying(session.seal(SAID, f"text/{MARKER}")), 415),
        (sealed(session, SAID).change(b"idempotency-key", key), 200),
        (sealed(session, SAID[:-1] + b" }").change(b"idempotency-key", key), 422),
    ):
        assert (await world.send(wire.sign(world.signer))).status_code == status
    world.answer = Reply(200, ((b"content-type", key + b"\xff"),), SAID)
    assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    for failure in (RuntimeError(MARKER), ValueError(SAID)):
        world.failure = failure
        assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    assert len(problems) == 8
    assert "InvalidTag" not in "".join(problems)
    assert "RuntimeError" in caplog.text
    assert leaks(words(session), {"problems": "".join(problems).encode(), "log": caplog.text.encode()}) == []
    # An app's own Fault is its own words, which the caller is to have; the search is shown to find them.
    world.failure = Fault("internal", "app", MARKER)
    assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    assert leaks({"marker": MARKER}, {"problem": problems[-1].encode()}) != []
    assert MARKER not in caplog.text
