"""What limits and API keys cost: three buckets beside a peer that decides one, a credential beside one HMAC."""

import asyncio
import hashlib
import hmac
import secrets
import statistics
import time
from ipaddress import IPv4Address
from pathlib import Path

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from bench.timing import CALLS, RUNS, Figures, ratio
from sealwire.clock import SystemClock
from sealwire.credentials import Credentials, digest_of
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.ports import Charge, Decision
from sealwire.ports.apikeys import Client, NewApiKey
from sealwire.protocol.apikey import SECRET_BYTES, write
from sealwire.protocol.ratelimit import Limit
from sealwire.records import Bounds
from sealwire.stages.authenticate import AuthenticateBearer
from sealwire.stores.memory import MemoryBuckets
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger
from tests.stages.made import RULE, call, head

_CALLERS, _KEYS = 10_000, 1_000
_QUOTA = 6_000
_ADDRESS, _USER, _KEY = (Limit(_QUOTA, 60, kind) for kind in ("address", "user", "key"))
_RULE = "/v1/orders"
_DECISION = Decision("req_01", 0, "entered", "ok", "cli_01", "u", "k" * 43, "192.0.2.1", "GET", "/v1/ticker", "p")


def buckets() -> Figures:
    """
    ratelimit_vs_limits: address, user and key decided and named, over one decision of `limits` by its moving window,
    the one strategy of it that never lets more through. 10,000 callers in turn, every call accepted. In CPU time of the
    process: to forget, the peer looks through all of its keys in a thread, up to 100 times a second. Beside it
    `over_caller_alone`, the same ratio without that thread.
    """
    callers = [
        (str(IPv4Address("10.0.0.0") + number), f"usr_{number:022d}", f"{number:043d}") for number in range(_CALLERS)
    ]
    store = MemoryBuckets(SystemClock())
    storage = MemoryStorage()
    peer, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(_QUOTA)

    async def ours() -> int:
        accepted = 0
        for address, user, key in callers:
            spent = await store.charge(
                (
                    Charge(_ADDRESS, f"{_RULE} {address}"),
                    Charge(_USER, f"{_RULE} user {user}"),
                    Charge(_KEY, f"{_RULE} key {key}"),
                )
            )
            accepted += spent[0].fits and spent[1].fits and spent[2].fits
        return accepted

    def other() -> int:
        return sum(peer.hit(item, _RULE, user) for _, user, _ in callers)

    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    with asyncio.Runner() as runner:
        for _ in range(RUNS):
            begun = time.process_time()
            assert runner.run(ours()) == _CALLERS
            times[0].append((time.process_time() - begun) / _CALLERS * 1e6)
            begun, alone = time.process_time(), time.thread_time()
            assert other() == _CALLERS
            times[2].append((time.thread_time() - alone) / _CALLERS * 1e6)
            storage.timer.join()  # its last look is its own cost, not ours
            times[1].append((time.process_time() - begun) / _CALLERS * 1e6)
    mine, whole, caller = (statistics.median(kept) for kept in times)
    return {"ratelimit_vs_limits": {**ratio(mine, whole), "over_caller_alone": round(mine / caller, 3)}}


def credentials(folder: Path) -> Figures:
    """
    apikey_check_vs_hmac: the stage that makes a caller of an API key, one of 1,000, over an HMAC of its bytes; in CPU
    time.
    """
    folder.mkdir()
    make_signing_key(folder / "signing.pem")
    make_wrapping_key(folder / "wrapping.key", secrets.token_bytes)
    keyring = FileKeyring(folder / "signing.pem", folder / "wrapping.key", secrets.token_bytes)
    store = MemoryApiKeys(MemoryLedger(SystemClock()), MemoryDirectory())
    keys = [write("live", secrets.token_bytes(SECRET_BYTES)).encode() for _ in range(_KEYS)]
    now, pepper = time.time(), secrets.token_bytes(32)

    async def fill() -> None:
        for number, key in enumerate(keys):
            client = Client("bench", None, RULE.scopes, Bounds(f"cli_{number}", (), ()), now)
            made = NewApiKey(
                client.id, "bench", RULE.scopes, Bounds(f"apk_{number}", (), ()), digest_of(keyring, key), now, now + 60
            )
            await store.add_apikey(made, client, _DECISION)

    stage = AuthenticateBearer(Credentials(store, keyring))
    chosen = secrets.SystemRandom().sample(keys, CALLS)
    calls = [call(head("GET", more={b"authorization": b"Bearer " + key}), RULE, now=now) for key in chosen]

    async def check() -> None:
        for each in calls:
            caller = await stage(each)
            assert caller.assurance == "api-key"

    def other() -> None:
        for key in chosen:
            hmac.digest(pepper, key, hashlib.sha256)

    times: tuple[list[float], list[float]] = ([], [])
    with asyncio.Runner() as runner:
        runner.run(fill())
        for _ in range(RUNS * 5):
            begun = time.process_time()
            runner.run(check())
            times[0].append((time.process_time() - begun) / CALLS * 1e6)
            begun = time.process_time()
            other()
            times[1].append((time.process_time() - begun) / CALLS * 1e6)
    return {"apikey_check_vs_hmac": ratio(statistics.median(times[0]), statistics.median(times[1]))}
