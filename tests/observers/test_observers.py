"""What the observers tell of an outcome, and what they never tell."""

import asyncio
import json
import logging
import os
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sealwire.call import Outcome
from sealwire.errors import Fault
from sealwire.observers.log import JsonFormatter, JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.observers.tally import Tally
from sealwire.stores.memory_durable import MemoryLedger
from tests.stories.world import START, SetClock

OUTCOME = Outcome(
    "req_1", START, "/v1/orders", "POST", 201, "ok", "entered", "cli_1", "alice", "key", "192.0.2.1", 0.25, 2.0, True
)
REFUSED = OUTCOME._replace(
    status=401, code="replay-detected/nonce", decision="refused", client="", user="", skew_seconds=None, recorded=False
)


def test_a_line_for_each_outcome() -> None:
    """One JSON line in ECS names, control characters escaped."""
    lines: list[str] = []
    JsonLog(lines.append).heard(OUTCOME._replace(user="al\r\nice\x1b[31m"))
    assert lines[0].isprintable()
    line = json.loads(lines[0])
    assert line["@timestamp"] == "2026-09-21T14:13:20.000Z"
    assert (line["url.template"], line["http.response.status_code"], line["event.duration"]) == (
        "/v1/orders",
        201,
        250_000_000,
    )
    assert line["process.pid"] == os.getpid()


@given(
    texts=st.lists(st.text(max_size=40), min_size=11, max_size=11), at=st.floats(0, 2**33), seconds=st.floats(0, 1e6)
)
def test_the_line_is_what_an_encoder_writes(texts: list[str], at: float, seconds: float) -> None:
    """The line is put together by hand, because it is written for each call; here the library reads and writes it."""
    request, template, method, code, decision, client, user, key, address, apikey, claimed = texts
    lines: list[str] = []
    JsonLog(lines.append).heard(
        Outcome(
            request,
            at,
            template,
            method,
            200,
            code,
            decision,
            client,
            user,
            key,
            address,
            seconds,
            None,
            True,
            apikey,
            claimed,
        )
    )
    read = json.loads(lines[0])
    assert json.dumps(read, ensure_ascii=True, separators=(",", ":")) == lines[0]
    assert list(read.values())[2] == decision
    told = [request, method, 200, template, address, user, client, key, apikey, claimed, code, os.getpid()]
    assert list(read.values())[5:] == told
    assert datetime.fromisoformat(read["@timestamp"]).timestamp() == pytest.approx(at, abs=0.002)


def test_an_exception_without_its_message() -> None:
    """What the caller sent may stand in an exception's message: the log tells its kind and place only."""
    try:
        raise ValueError("MARKER")
    except ValueError as why:
        record = logging.LogRecord("n", logging.ERROR, "f", 1, "it failed", (), (type(why), why, why.__traceback__))
    line = JsonFormatter().format(record)
    assert "MARKER" not in line
    assert json.loads(line)["error.type"] == "ValueError"
    plain = json.loads(JsonFormatter().format(logging.LogRecord("n", logging.INFO, "f", 1, "a %s", ("b",), None)))
    assert plain["message"] == "a b"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Task exception was never retrieved\nfuture: <Task exception=ValueError('MARKER')>",
            "Task exception was never",
        ),
        ("Exception in callback f('MARKER')\nhandle: <Handle f('MARKER')>", "Exception in callback f"),
        ("('MARKER')", ""),
    ],
)
def test_what_the_event_loop_shows(said: str, shown: str) -> None:
    """The event loop puts exceptions and arguments into its message: its first words stand, and no value."""
    line = JsonFormatter().format(logging.LogRecord("asyncio", logging.ERROR, "f", 1, said, (), None))
    assert "MARKER" not in line
    assert json.loads(line)["message"].startswith(shown)


def test_counts() -> None:
    """Decisions by reason and route, replays, skew; no id in any label."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.heard(OUTCOME)
    metrics.clock_stepped()
    metrics.heard(REFUSED._replace(template=""))
    labels = {"decision": "refused", "reason": "replay-detected", "route": "none"}
    assert registry.get_sample_value("sealwire_decisions_total", labels) == 1
    assert registry.get_sample_value("sealwire_replay_rejections_total") == 1
    assert registry.get_sample_value("sealwire_clock_steps_total") == 1
    assert registry.get_sample_value("sealwire_clock_skew_seconds_sum") == 2
    assert registry.get_sample_value("sealwire_clock_skew_seconds_bucket", {"le": "60.0"}) == 1
    assert registry.get_sample_value("sealwire_call_duration_seconds_count", {"route": "/v1/orders"}) == 1


async def test_noise_becomes_a_count() -> None:
    """Refusals before proof are one row an address, minute and slug, written when the minute is over."""
    ledger = MemoryLedger(SetClock())
    tally = Tally(ledger, bound=2)
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        tally.heard(REFUSED._replace(address=address))
    tally.heard(OUTCOME._replace(at=START + 60))
    await asyncio.sleep(0)
    minute = int(START // 60)
    assert ledger.tallies == [
        ("192.0.2.1", minute, "replay-detected", 2),
        ("192.0.2.2", minute, "replay-detected", 1),
        ("other", minute, "replay-detected", 2),
    ]


async def test_counts_that_cannot_be_written_are_kept() -> None:
    """A ledger that does not answer loses no count."""
    ledger = MemoryLedger(SetClock())
    write = ledger.tally

    async def fails(rows: object) -> None:
        raise Fault("audit-unavailable", "write")

    ledger.tally = fails  # type: ignore[method-assign]
    tally = Tally(ledger)
    tally.heard(REFUSED)
    await tally.flush()
    ledger.tally = write  # type: ignore[method-assign]
    await tally.flush()
    assert [row[3] for row in ledger.tallies] == [1]
    assert tally.failures == 1


class Failing(MemoryLedger):
    """A ledger that fails with `why` until that is None."""

    why: BaseException | None = None

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        if self.why is not None:
            raise self.why
        await super().tally(rows)


async def test_a_minute_that_runs_is_not_written() -> None:
    """At the change of the minute the earlier one goes out; the new one stays until it is over, or until flush."""
    ledger = MemoryLedger(SetClock())
    tally = Tally(ledger)
    tally.heard(REFUSED)
    tally.heard(REFUSED._replace(at=START + 60))
    await asyncio.sleep(0)
    minute = int(START // 60)
    assert [row[1] for row in ledger.tallies] == [minute]
    await tally.flush()
    await tally.flush()
    assert [row[1] for row in ledger.tallies] == [minute, minute + 1]


class Waiting(MemoryLedger):
    """A ledger that writes nothing until it is let go, and then fails where it must."""

    def __init__(self) -> None:
        super().__init__(SetClock())
        self.asked = asyncio.Event()
        self.go = asyncio.Event()
        self.fails = False

    async def tally(self, rows: tuple[tuple[str, int, str, int], ...]) -> None:
        self.asked.set()
        await self.go.wait()
        if self.fails:
            self.fails = False
            raise Fault("audit-unavailable", "write")
        await super().tally(rows)


@pytest.mark.parametrize("fails", [False, True])
async def test_rows_on_their_way_count_towards_the_bound(*, fails: bool) -> None:
    """While a minute is being written, the next one finds only the room that is left; no count is lost."""
    ledger = Waiting()
    ledger.fails = fails
    tally = Tally(ledger, bound=3)
    for at in (START, START + 60):
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
            tally.heard(REFUSED._replace(at=at, address=address))
            if at > START:
                await ledger.asked.wait()
    ledger.go.set()
    await tally.flush()
    assert sum(row[3] for row in ledger.tallies) == 8
    assert len(ledger.tallies) <= 5, "three rows, and an other on its way and an other at home"


async def test_flush_waits_for_what_is_on_its_way() -> None:
    """What a minute's write could not do, flush does after it, and nothing is written twice."""
    ledger = Waiting()
    ledger.fails = True
    tally = Tally(ledger)
    tally.heard(REFUSED)
    tally.heard(REFUSED._replace(at=START + 60))
    await ledger.asked.wait()
    flushing = asyncio.create_task(tally.flush())
    await asyncio.sleep(0)
    assert ledger.tallies == []
    ledger.go.set()
    await flushing
    minute = int(START // 60)
    assert sorted((row[1], row[3]) for row in ledger.tallies) == [(minute, 1), (minute + 1, 1)]
    assert tally.failures == 1


async def test_no_failure_loses_a_count() -> None:
    """Not one that the port does not name, nor a cancelled write; the log does not tell its message."""
    ledger = Failing(SetClock())
    tally = Tally(ledger)
    tally.heard(REFUSED)
    ledger.why = RuntimeError("MARKER")
    await tally.flush()
    ledger.why = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await tally.flush()
    ledger.why = None
    await tally.flush()
    assert [row[3] for row in ledger.tallies] == [1]
    assert tally.failures == 1


async def test_a_ledger_long_down_stays_within_the_bound(caplog: pytest.LogCaptureFixture) -> None:
    """Past the bound there is one row a slug, however many minutes pass; no count is lost."""
    ledger = Failing(SetClock())
    ledger.why = RuntimeError("MARKER")
    tally = Tally(ledger, bound=3)
    for minute in range(50):
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
            tally.heard(REFUSED._replace(at=START + 60 * minute, address=address))
        await asyncio.sleep(0)
    ledger.why = None
    await tally.flush()
    assert len(ledger.tallies) <= 4
    assert sum(row[3] for row in ledger.tallies) == 200
    assert "RuntimeError" in caplog.text
    assert "MARKER" not in caplog.text
