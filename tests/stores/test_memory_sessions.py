"""Sessions in this process: what each new one costs."""

from sealwire.call import Session
from sealwire.ports import LATE_SECONDS
from sealwire.protocol.handshake import Keys
from sealwire.stores.memory import MemorySessions
from tests.contract.adapters import START, SetClock

KEYS = Keys(bytes(32), b"context")


async def test_a_new_session_sweeps_a_few() -> None:
    """What ran out goes a few at a time, however much there is, and nothing of it stays behind."""
    clock = SetClock()
    store = MemorySessions(clock)
    for i in range(30):
        await store.keep(Session(f"ses_{i}", f"k{i}", int(START) + 900, 10, KEYS), bytes(32), b"context")
    clock.at = START + 900 + LATE_SECONDS
    held = []
    for i in range(10):
        await store.keep(Session(f"ses_new{i}", "k", int(clock.at) + 900, 10, KEYS), bytes(32), b"context")
        held.append(len(store._sessions))
    assert held == [27, 24, 21, 18, 15, 12, 9, 8, 9, 10]
    assert set(store._of_key) == {"k"}


async def test_all_that_ended_is_gone() -> None:
    """Ended sessions leave nothing behind, neither by their id nor by their key."""
    store = MemorySessions(SetClock())
    for i in range(100):
        await store.keep(Session(f"ses_{i}", f"k{i % 10}", int(START) + 900, 10, KEYS), bytes(32), b"context")
    for i in range(100):
        await store.end(f"ses_{i}")
    assert (store._sessions, store._of_key) == ({}, {})
