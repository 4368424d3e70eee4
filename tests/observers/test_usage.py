"""Usage: what is counted of each credential, when it is written, and what a failing store costs."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from sealwire.call import Outcome
from sealwire.errors import Fault
from sealwire.observers import usage
from sealwire.observers.usage import Usage
from sealwire.ports.apikeys import Use
from tests.observers.test_observers import OUTCOME
from tests.stories.sealing import SealedWorld, by_mac, open_session, sealed
from tests.stories.world import START

DAY = int(START // 86_400)
GOOD = OUTCOME._replace(key="thumb", client="cli_1", address="192.0.2.1")
LIMITED = GOOD._replace(status=429, code="rate-limited/caller", decision="refused")
ENDED = GOOD._replace(client="", user="", key="", code="token-invalid/expired", decision="refused", claimed="apk_1")


class Kept:
    """Uses that were written, a list each time; fails with `why` until that is None, and waits where told to."""

    def __init__(self) -> None:
        self.written: list[tuple[Use, ...]] = []
        self.why: Exception | None = None
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.asked = 0

    async def add_uses(self, uses: tuple[Use, ...]) -> None:
        """As the port says."""
        self.asked += 1
        await self.may_go.wait()
        if self.why is not None:
            raise self.why
        if uses:
            self.written.append(uses)

    async def uses(self, client: str | None = None) -> list[Use]:
        """As the port says."""
        return [use for uses in self.written for use in uses if client in (None, use.client)]


async def until(condition: Callable[[], bool]) -> None:
    """Gives the loop its turns until this is so."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def counted(*outcomes: Outcome) -> dict[tuple[str, str, str], int]:
    """What is written of these: calls by client, credential and reason."""
    store = Kept()
    heard = Usage(store)
    for outcome in outcomes:
        heard.heard(outcome)
    await heard.flush()
    return {(use.client, use.credential, use.reason): use.calls for use in await store.uses()}


async def test_by_credential_and_reason() -> None:
    """Each end has its count, under the slug alone; an API key beside a signature counts as well as the key."""
    beside = GOOD._replace(apikey="apk_1")
    assert await counted(GOOD, GOOD, LIMITED, beside, GOOD._replace(client="cli_2")) == {
        ("cli_1", "thumb", "ok"): 3,
        ("cli_1", "thumb", "rate-limited"): 1,
        ("cli_1", "apk_1", "ok"): 1,
        ("cli_2", "thumb", "ok"): 1,
    }


async def test_an_api_key_alone_counts_once() -> None:
    """Where key and API key are the same it is one credential."""
    assert await counted(GOOD._replace(key="apk_1", apikey="apk_1")) == {("cli_1", "apk_1", "ok"): 1}


async def test_near_its_end() -> None:
    """A call of a limit that is nearly spent is counted as such too, with the limit and its rule."""
    assert await counted(GOOD._replace(near="key-60"), GOOD) == {
        ("cli_1", "thumb", "ok"): 2,
        ("cli_1", "thumb", "near key-60 /v1/orders"): 1,
    }


async def test_an_ended_api_key_is_counted() -> None:
    """Who sends one that has ended has proven that it was theirs: its owner sees that something still uses it."""
    causes = ("expired", "revoked", "frozen", "retired")
    heard = [ENDED._replace(code=f"token-invalid/{cause}") for cause in causes]
    assert await counted(*heard) == {("", "apk_1", "token-invalid"): 4}


@pytest.mark.parametrize(
    "outcome",
    [
        ENDED._replace(claimed="", code="token-invalid/unknown"),
        ENDED._replace(claimed="thumb", code="signature-mismatch/does-not-verify"),
        ENDED._replace(claimed="thumb", code="rate-limited/failures-key"),
        ENDED._replace(claimed="", key="thumb", code="key-unknown/revoked"),
        GOOD._replace(client="", user="", key="", code="ok"),
    ],
    ids=["unknown", "forged", "too many", "a signature before its caller", "open"],
)
async def test_strangers_fill_nobodys_count(outcome: Outcome) -> None:
    """What was not proven is nobody's use."""
    assert await counted(outcome) == {}


async def test_the_last_moment_and_address() -> None:
    """A row has the time and the address of its last call, and a day's calls are that day's."""
    store = Kept()
    heard = Usage(store)
    heard.heard(GOOD)
    heard.heard(GOOD._replace(at=START + 5, address="192.0.2.9"))
    heard.heard(GOOD._replace(at=START + 86_400))
    await heard.flush()
    assert await store.uses() == [
        Use("cli_1", "thumb", "ok", DAY, 2, START + 5, "192.0.2.9"),
        Use("cli_1", "thumb", "ok", DAY + 1, 1, START + 86_400, "192.0.2.1"),
    ]
    await heard.flush()
    assert len(store.written) == 1, "what was written is written once"


async def test_written_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds later, all of it together; and what comes after that, again."""
    monkeypatch.setattr(usage, "_WRITTEN_EVERY_SECONDS", 0.0)
    store = Kept()
    heard = Usage(store)
    for _ in range(2):
        heard.heard(GOOD)
        heard.heard(GOOD)
        before = len(store.written)
        await until(lambda before=before: len(store.written) > before)  # type: ignore[misc]
    assert [[use.calls for use in uses] for uses in store.written] == [[2], [2]]


async def test_flush_waits_for_what_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost between the two, and both are written when it returns."""
    monkeypatch.setattr(usage, "_WRITTEN_EVERY_SECONDS", 0.0)
    store = Kept()
    first = store.may_go = asyncio.Event()
    heard = Usage(store)
    heard.heard(GOOD)
    await until(lambda: store.asked == 1)
    store.may_go = asyncio.Event()
    store.may_go.set()
    heard.heard(LIMITED)
    flushing = asyncio.create_task(heard.flush())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not flushing.done()
    first.set()
    await flushing
    assert [use.reason for use in await store.uses()] == ["ok", "rate-limited"]


@pytest.mark.parametrize(
    ("why", "said"),
    [(Fault("store-unavailable", "directory"), "store-unavailable/directory"), (ValueError("MARKER"), "ValueError")],
)
async def test_a_store_that_fails_loses_no_count(caplog: pytest.LogCaptureFixture, why: Exception, said: str) -> None:
    """It is said in the log, without what the store said; the counts are added to those that come and written then."""
    store = Kept()
    store.why = why
    heard = Usage(store)
    heard.heard(GOOD)
    heard.heard(LIMITED)
    await heard.flush()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"uses of credentials could not be written: {said}"
    ]
    heard.heard(GOOD._replace(at=START + 9, address="192.0.2.9"))
    store.why = None
    await heard.flush()
    assert await store.uses() == [
        Use("cli_1", "thumb", "ok", DAY, 2, START + 9, "192.0.2.9"),
        Use("cli_1", "thumb", "rate-limited", DAY, 1, START, "192.0.2.1"),
    ]


async def test_counts_that_came_while_it_failed() -> None:
    """What was heard while the write was on its way is added to, and keeps the later moment and address."""
    store = Kept()
    store.why = Fault("store-unavailable", "directory")
    store.may_go.clear()
    heard = Usage(store)
    heard.heard(GOOD)
    flushing = asyncio.create_task(heard.flush())
    await until(lambda: store.asked == 1)
    heard.heard(GOOD._replace(at=START + 9, address="192.0.2.9"))
    store.may_go.set()
    await flushing
    store.why = None
    await heard.flush()
    assert await store.uses() == [Use("cli_1", "thumb", "ok", DAY, 2, START + 9, "192.0.2.9")]


async def test_as_many_rows_as_the_bound() -> None:
    """Past it the rows that are there go on counting, and no new one begins; also with a store that stays down."""
    store = Kept()
    store.why = Fault("store-unavailable", "directory")
    heard = Usage(store, bound=2)
    for turn in range(3):
        for key in ("a", "b", f"c{turn}"):
            heard.heard(GOOD._replace(key=key))
        await heard.flush()
    store.why = None
    await heard.flush()
    assert {use.credential: use.calls for use in await store.uses()} == {"a": 3, "b": 3}
    heard.heard(GOOD._replace(key="d"))
    await heard.flush()
    assert (await store.uses("cli_1"))[-1].credential == "d", "after it there is room again"


async def test_no_row_past_the_bound() -> None:
    """With a store that works, what comes past the bound is not counted; what is there goes on."""
    store = Kept()
    heard = Usage(store, bound=2)
    for key in ("a", "b", "c", "a", "d"):
        heard.heard(GOOD._replace(key=key))
    await heard.flush()
    assert {use.credential: use.calls for use in await store.uses()} == {"a": 2, "b": 1}


async def test_what_comes_back_finds_no_room() -> None:
    """Rows that could not be written give way to those that came meanwhile, or there would be twice the bound."""
    store = Kept()
    store.why = Fault("store-unavailable", "directory")
    store.may_go.clear()
    heard = Usage(store, bound=2)
    for key in ("a", "b"):
        heard.heard(GOOD._replace(key=key))
    flushing = asyncio.create_task(heard.flush())
    await until(lambda: store.asked == 1)
    for key in ("c", "a"):
        heard.heard(GOOD._replace(key=key))
    store.may_go.set()
    await flushing
    store.why = None
    await heard.flush()
    assert {use.credential: use.calls for use in await store.uses()} == {"c": 1, "a": 2}


def test_the_next_loop_writes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer of a loop that is over does not hold the next one back."""
    store = Kept()
    heard = Usage(store)

    async def hear() -> None:
        heard.heard(GOOD)

    async def hear_and_wait() -> None:
        heard.heard(LIMITED)
        await until(lambda: bool(store.written))

    asyncio.run(hear())
    monkeypatch.setattr(usage, "_WRITTEN_EVERY_SECONDS", 0.0)
    asyncio.run(hear_and_wait())
    assert [use.reason for use in store.written[0]] == ["ok", "rate-limited"]


def test_on_a_loop_that_is_over() -> None:
    """What one loop heard is written on the next, also where the first was closed while it wrote."""
    store = Kept()
    heard = Usage(store)

    async def hear(reason: Outcome) -> None:
        heard.heard(reason)

    asyncio.run(hear(GOOD))
    asyncio.run(hear(LIMITED))
    asyncio.run(heard.flush())
    written = asyncio.run(store.uses())
    assert [(use.reason, use.calls) for use in written] == [("ok", 1), ("rate-limited", 1)]


async def test_what_sessions_sign_counts_for_the_key_behind_them(tmp_path: Path) -> None:
    """Its owner reads when the key was used, whatever signed in its place; no number of sessions makes more counts."""
    world = SealedWorld(tmp_path)
    for _ in range(3):
        session = await open_session(world)
        reply = await world.send(by_mac(sealed(session, target=b"/v1/quotes"), session, int(world.clock.at)))
        assert reply.status_code == 200
    await world.guard.close()
    assert [(use.credential, use.reason, use.calls) for use in await world.apikeys.uses()] == [
        (world.signer.keyid, "ok", 6)
    ]
