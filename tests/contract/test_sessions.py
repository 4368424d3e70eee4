"""What SessionStore promises, held against every adapter."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sealwire.call import Session
from sealwire.errors import Fault
from sealwire.ports import LATE_SECONDS, SESSIONS_OF_A_KEY, SessionStore
from sealwire.protocol.handshake import Keys
from sealwire.stores.sqlite_sessions import SqliteSessions
from tests.contract.adapters import KINDS, SESSIONS, START, SetClock, sessions

SECRET, CONTEXT = b"s" * 32, b"context"


@pytest.fixture(params=KINDS)
def workers(request: pytest.FixtureRequest, clock: SetClock, tmp_path: Path) -> Iterator[list[SessionStore]]:
    """The store as each worker sees it."""
    with sessions(request.param, clock, tmp_path) as opened:
        yield opened


async def keep(
    store: SessionStore, name: str, keyid: str = "k", *, expires: float = START + 900, max_requests: int = 10
) -> Session:
    """Keeps a session of this name."""
    session = Session(f"ses_{name}", keyid, int(expires), max_requests, Keys(SECRET, CONTEXT))
    await store.keep(session, SECRET, CONTEXT)
    return session


async def alive(store: SessionStore, *names: str) -> str:
    """Those of the names that are known."""
    found = [name for name in names if await store.session(f"ses_{name}") is not None]
    return " ".join(found)


async def test_kept_and_found(workers: list[SessionStore]) -> None:
    """A session is what it was when it was kept, with its keys, whichever worker is asked, and asked again."""
    made = await keep(workers[0], "a")
    for worker in (*workers, *workers):
        found = await worker.session("ses_a")
        assert found is not None
        assert found[:4] == made[:4] == ("ses_a", "k", START + 900, 10)
        assert found.keys.fits(made.keys.commitment)
        assert (found.keys.c2s_mac, found.keys.s2c_mac) == (made.keys.c2s_mac, made.keys.s2c_mac)
        assert made.keys.c2s.decrypt(bytes(12), found.keys.c2s.encrypt(bytes(12), b"x", b""), b"") == b"x"
        assert found.keys.s2c.decrypt(bytes(12), made.keys.s2c.encrypt(bytes(12), b"y", b""), b"") == b"y"


async def test_nobody_else_s(workers: list[SessionStore]) -> None:
    """What was never kept is unknown, and cannot be counted or ended; strange names are names."""
    await keep(workers[0], "a")
    for name in ("", "ses_b", "ses_A", "ses_a ", "ses_a\0", "ses_%", "' OR 1=1 --", "ses_\u00fc", "x" * 10_000):
        assert await workers[-1].session(name) is None
        assert await workers[-1].count(name) == "spent"
        await workers[-1].end(name)
    assert await alive(workers[0], "a") == "a"


@pytest.mark.parametrize("most", [1, 7, 64])
async def test_exactly_so_many(workers: list[SessionStore], most: int) -> None:
    """Of 100 messages at once exactly as many are counted as the session may carry, over all workers."""
    await keep(workers[0], "a", max_requests=most)
    await keep(workers[0], "b", max_requests=most)
    answers = await asyncio.gather(*(workers[i % len(workers)].count("ses_a") for i in range(100)))
    assert sorted(answers) == ["counted"] * most + ["spent"] * (100 - most)
    assert await workers[0].count("ses_b") == "counted"
    assert await alive(workers[-1], "a") == "a"


def test_exactly_so_many_at_the_same_time(clock: SetClock, tmp_path: Path) -> None:
    """Four workers, each with its own connection in its own thread, count to exactly as many on one file."""
    with sessions("sqlite", clock, tmp_path) as opened:
        asyncio.run(keep(opened[0], "a", max_requests=150))

        def worker(_: int) -> list[str]:
            store = SqliteSessions(tmp_path / "fast.db", clock, bytes)

            async def counts() -> list[str]:
                return [await store.count("ses_a") for _ in range(50)]

            try:
                return asyncio.run(counts())
            finally:
                store.close()

        with ThreadPoolExecutor(4) as pool:
            answers = [answer for each in pool.map(worker, range(4)) for answer in each]
    assert sorted(answers) == ["counted"] * 150 + ["spent"] * 50


async def test_late_ones_are_known_for_a_while(workers: list[SessionStore], clock: SetClock) -> None:
    """A session that ran out is known for LATE_SECONDS more, so that its owner hears so, and not longer."""
    await keep(workers[0], "a")
    for late in (0, LATE_SECONDS - 1):
        clock.at = START + 900 + late
        assert [await alive(worker, "a") for worker in workers] == ["a"] * len(workers)
    clock.at = START + 900 + LATE_SECONDS
    assert [await alive(worker, "a") for worker in workers] == [""] * len(workers)


async def test_ended_is_ended_for_all(workers: list[SessionStore]) -> None:
    """Ended by one worker it is over for all, also where its keys were held ready; the others go on; again is well."""
    await keep(workers[0], "a")
    await keep(workers[0], "b")
    assert [await alive(worker, "a", "b") for worker in workers] == ["a b"] * len(workers)
    for _ in range(2):
        await workers[-1].end("ses_a")
        assert [await alive(worker, "a", "b") for worker in workers] == ["b"] * len(workers)
        assert [await worker.count("ses_a") for worker in workers] == ["spent"] * len(workers)


async def test_the_bound_of_a_key(workers: list[SessionStore]) -> None:
    """Past it the key's oldest session ends, over all workers; another key's stay."""
    await keep(workers[0], "other", "l", expires=START + 1)
    names = [str(i) for i in range(SESSIONS_OF_A_KEY + 3)]
    for i, name in enumerate(names):
        await keep(workers[i % len(workers)], name, expires=START + 900 + i)
    assert await alive(workers[-1], "other", *names) == " ".join(["other", *names[3:]])
    await workers[0].end(f"ses_{names[5]}")
    await keep(workers[0], "more", expires=START + 950)
    assert await alive(workers[-1], *names) == " ".join(names[3:5] + names[6:])


async def test_the_bound_of_a_key_is_one(workers: list[SessionStore]) -> None:
    """A key that opens sessions for ever holds no more than its bound, and takes no room of others."""
    for i in range(3 * SESSIONS):
        await keep(workers[i % len(workers)], f"{i}", expires=START + 900 + i)
    names = [f"{i}" for i in range(3 * SESSIONS)]
    assert await alive(workers[0], *names) == " ".join(names[-SESSIONS_OF_A_KEY:])


async def test_the_bound_of_all(workers: list[SessionStore], clock: SetClock) -> None:
    """Past it a new one is a Fault and those that are live stay, until some ran out for good."""
    names = [str(i) for i in range(SESSIONS)]
    for i, name in enumerate(names):
        await keep(workers[i % len(workers)], name, f"k{name}")
    for worker in workers:
        with pytest.raises(Fault, match="store-unavailable/sessions"):
            await keep(worker, "more", "more")
    assert await alive(workers[-1], "more", *names) == " ".join(names)
    await workers[0].end("ses_7")
    await keep(workers[-1], "instead", "more")
    with pytest.raises(Fault, match="store-unavailable/sessions"):
        await keep(workers[0], "more", "more")
    clock.at = START + 901 + LATE_SECONDS
    await keep(workers[0], "more", "more", expires=clock.at + 900)
    assert await alive(workers[-1], "more", "instead", *names) == "more"


async def test_a_full_store_still_renews(workers: list[SessionStore]) -> None:
    """Where all is full, a key at its own bound gets a new session in the place of its oldest."""
    for i in range(SESSIONS):
        keyid = "k" if i < SESSIONS_OF_A_KEY else f"k{i}"
        await keep(workers[0], str(i), keyid, expires=START + 100 + i)
    await keep(workers[0], "new", expires=START + 900)
    assert await alive(workers[-1], "0", "1", "new") == "1 new"
