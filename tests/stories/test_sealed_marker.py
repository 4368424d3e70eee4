"""
A word that only the two ends may know is put into every sealed field, and looked for everywhere else.

The attacker has the logs at any level, the metrics, the ledger, crash reports, and whoever prints a value while looking
for a mistake.
"""

import io
import logging
import traceback
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from sealwire.call import Body, Call, Idempotent, InSession, Plain
from sealwire.errors import Fault, Problem
from sealwire.guard import Entry
from sealwire.observers.log import JsonFormatter, JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.protocol.jwk import b64url
from sealwire.protocol.message import Reply
from sealwire.sessions import DEFAULT_TERMS
from tests.stories.sealing import (
    JSON_TYPE,
    SEALED_RULES,
    Opened,
    SealedWorld,
    Stores,
    by_mac,
    carrying,
    make_fast,
    open_session,
    put_together,
    sealed,
    taken_apart,
)
from tests.stories.world import START

MARKER = "m4rk3r-Zq9"
SAID = b'{"seed": "%s"}' % MARKER.encode()


def forms(secret: bytes) -> set[bytes]:
    """How a few bytes turn up in text and files: as they are, reversed, in hex, in base64 at each offset."""
    found = {secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode(), repr(secret)[2:-1].encode()}
    for shift in range(3):
        # The characters that depend on nothing but the secret.
        whole = b64encode(b"\0" * shift + secret)[(0, 2, 3)[shift] :]
        inner = whole[: len(whole) - 4 if (shift + len(secret)) % 3 else len(whole)]
        found |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return found


class Everywhere:
    """All that a deployment says and keeps: its logs, metrics, files and what its values look like when printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = io.StringIO()
        self.handler = logging.StreamHandler(self.text)
        self.handler.setFormatter(JsonFormatter())
        self.raw = logging.StreamHandler(self.text)
        self.raw.setFormatter(logging.Formatter("%(message)s %(args)s"))
        self.registry = CollectorRegistry()
        stores = Stores(make_fast(folder), folder / "durable.db")
        observers = (JsonLog(self.text.write), Metrics(self.registry))
        self.world = SealedWorld(folder, SEALED_RULES, DEFAULT_TERMS, stores, observers)
        self.world.answer = Reply(200, (JSON_TYPE,), SAID)

    def traces(self, secrets: list[bytes]) -> list[str]:
        """Where any of the secrets is found, by the name of the place."""
        places = {"text": self.text.getvalue().encode(), "metrics": generate_latest(self.registry)}
        for file in self.folder.iterdir():
            places[file.name] = file.read_bytes()
        wanted = {form for secret in secrets for form in forms(secret)}
        return sorted(name for name, held in places.items() if any(form in held for form in wanted))


@pytest.fixture
def everywhere(tmp_path: Path) -> Iterator[Everywhere]:
    made = Everywhere(tmp_path)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    for handler in (made.handler, made.raw):
        root.addHandler(handler)
    yield made
    for handler in (made.handler, made.raw):
        root.removeHandler(handler)
    root.setLevel(level)
    made.world.close()


async def marked_calls(world: SealedWorld) -> Opened:
    """Calls that end in every way there is, each with the marker in what is sealed."""
    await world.enrol(world.signer, "alice")
    world.clock.at = START
    session = await open_session(world)
    session.seal(SAID)
    *parts, _ = taken_apart(session.seal(SAID))
    endings = [
        (sealed(session, SAID), 200),
        (sealed(session, SAID[:-1]), 422),
        (sealed(session, b'{"%s": 1, "%s": 2}' % (MARKER.encode(), MARKER.encode())), 422),
        (carrying(put_together([*parts, bytes(16)])), 400),
        (carrying(session.seal(SAID, f"text/{MARKER}")), 415),
        (sealed(session, SAID).change(b"idempotency-key", MARKER.encode()), 200),
        (sealed(session, SAID).change(b"idempotency-key", MARKER.encode()), 200),
        (sealed(session, SAID[:-1] + b" }").change(b"idempotency-key", MARKER.encode()), 422),
    ]
    for wire, status in endings:
        assert (await world.send(wire.sign(world.signer))).status_code == status
    mac = by_mac(sealed(session, SAID, b"/v1/ticks"), session, int(START))
    assert (await world.send(mac)).status_code == 200
    world.answer = Reply(200, ((b"content-type", MARKER.encode() + b"\xff"),), SAID)
    assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    for failure in (RuntimeError(MARKER), ValueError(SAID), Fault("internal", "app", MARKER)):
        world.failure = failure
        wire = sealed(session, SAID).change(b"idempotency-key", repr(failure).encode()[:9]).sign(world.signer)
        assert (await world.send(wire)).status_code == 500
    return session


def secrets_of(session: Opened) -> list[bytes]:
    """What only the session's two ends know: its secret, and what was made of it as far as that can be read."""
    return [session.secret, session.keys.c2s_mac, session.keys.s2c_mac]


async def test_the_marker_is_nowhere(everywhere: Everywhere) -> None:
    """
    N2: a marker in each sealed body, answer, media type and in the app's exceptions; the session's own secrets: not in
    the logs, the metrics, the ledger, the WAL nor the fast store.

    Stopped by: trace
    """
    session = await marked_calls(everywhere.world)
    assert everywhere.world.entered
    assert everywhere.text.getvalue().count('"sealwire.code"') >= 14
    assert "RuntimeError" in everywhere.text.getvalue()
    files = {file.name for file in everywhere.folder.iterdir()}
    assert {"durable.db", "durable.db-wal", "fast.db", "fast.db-wal", "fast.key"} <= files
    assert everywhere.traces([MARKER.encode(), *secrets_of(session)]) == []
    for _, reply in everywhere.world.seen:
        assert MARKER.encode() not in reply.content + repr(reply.headers).encode()


@pytest.mark.parametrize("spelt", ["as it is", "base64", "hex", "in a body"])
async def test_a_planted_leak_is_found(everywhere: Everywhere, spelt: str) -> None:
    """
    N2: the search itself: a leak planted in the log, in a file and in the ledger's WAL is found in each spelling.

    Stopped by: nothing
    """
    session = await marked_calls(everywhere.world)
    whole = {
        "as it is": MARKER.encode(),
        "base64": b"x" + b64encode(b"ab" + MARKER.encode()),
        "hex": MARKER.encode().hex().encode(),
        "in a body": b64url(SAID).encode(),
    }[spelt]
    logging.getLogger("app").debug("got %s", whole.decode())
    (everywhere.folder / "crash.txt").write_bytes(b"locals: " + whole)
    await everywhere.world.books.tally(((whole.decode(), 1, "slug", 1),))
    assert everywhere.traces([MARKER.encode()]) == ["crash.txt", "durable.db-wal", "text"]
    (everywhere.folder / "keys.txt").write_bytes(b64url(b"?" + session.secret).encode())
    assert everywhere.traces(secrets_of(session)) == ["keys.txt"]


async def test_values_that_are_printed(everywhere: Everywhere) -> None:
    """
    P4, N2: the evidence, the session, the call and the answer, each printed alone and within others.

    Stopped by: call
    """
    caught: list[object] = []
    world = everywhere.world

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
    await world.enrol(world.signer, "alice")
    session = await open_session(world)
    assert (await world.send(sealed(session, SAID).sign(world.signer))).status_code == 500
    assert len(caught) == 10
    said = "".join(f"{value!r} {value!s} {value}" for value in caught).encode()
    assert b"Plain(" in said
    assert session.id.encode() in said
    for secret in (MARKER.encode(), *secrets_of(session)):
        assert not any(form in said for form in forms(secret))
    assert everywhere.traces([MARKER.encode()]) == []


async def test_exceptions_have_none_of_it(everywhere: Everywhere) -> None:
    """
    N2: the problems that a sealed call can end in, printed with all that led to them.

    Stopped by: unseal
    """
    world = everywhere.world
    problems: list[str] = []
    turn_away = world.guard._turn_away

    async def noted(problem: Problem, call: Call | None, trace: object) -> Reply:
        problems.append("".join(traceback.format_exception(problem)) + repr(problem.__dict__))
        return await turn_away(problem, call, trace)  # type: ignore[arg-type]

    world.guard._turn_away = noted  # type: ignore[method-assign]
    session = await marked_calls(world)
    assert len(problems) == 9
    assert "InvalidTag" not in "".join(problems)
    said = "".join(problems).encode()
    for secret in secrets_of(session):
        assert not any(form in said for form in forms(secret))
    # An app's own Fault is its own words; nothing of ours repeats the marker.
    ours = "".join(one for one in problems if "Fault" not in one or MARKER not in one)
    assert MARKER not in ours
