"""
Keys that are rotated and revoked under load, on four workers over TLS: no call fails in the overlap, and none goes
through that began when the end had been told, at any worker.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from sealwire.client import Credential, rotate
from sealwire.client.explain import signed_headers
from tests.fronts.test_workers import all_judged, worker_of
from tests.reliability.lives import Heard, Life, judge
from tests.reliability.serving import ROOT, Served

WORKERS = 4
_PATIENCE_SECONDS = 60
_OVERLAP_SECONDS = 5
#: Whoever goes on with what has ended would hear no more than 429 from one address, and this is not about that.
_RULES = """
[limits]
failures_per_address = "1000000/min"
failures_per_key = "1000000/min"

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"

[[rules]]
path = "/v1/ticker"
methods = ["GET"]
profile = "keyed"

[[rules]]
path = "/v1/balances"
methods = ["GET"]
"""
#: An operator's program. What it prints is a secret, and goes to whoever started it.
_OPERATOR = """
import sys
from sealwire.admin import Admin
with Admin(sys.argv[1]) as admin:
    named = [one for one in admin.apikeys() if one.name == "board"]
    print({})
"""


class Keyed(Served):
    """A deployment with a keyed and a signed route, and an operator in another process."""

    def __init__(self, folder: Path, app: str, workers: int = WORKERS) -> None:
        super().__init__(folder, app, workers)
        policy = self.state.config.read_text().partition("[[rules]]")[0]
        self.state.config.write_text(policy + _RULES)

    def operator(self, act: str) -> str:
        """What an act says, once it has returned."""
        command = [sys.executable, "-c", _OPERATOR.format(act), str(self.state.config)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Load:
    """Callers that go on until they are told to stop, each with the secret that it holds at the moment."""

    def __init__(self, served: Keyed) -> None:
        self.served = served
        self.heard: list[Heard] = []
        self.lives: dict[str, Life] = {}
        self.secrets: dict[str, str | Credential] = {}
        self.over = asyncio.Event()

    async def call(self, holds: Callable[[], str], *, stays: bool) -> None:
        """One caller, over a connection that it keeps, or a new one for each call."""
        tls = self.served.trust()
        while not self.over.is_set():
            async with httpx2.AsyncClient(verify=tls, timeout=20) as http:
                for _ in range(50 if stays else 1):
                    if self.over.is_set():
                        return
                    await self._once(http, holds())

    async def _once(self, http: httpx2.AsyncClient, name: str) -> None:
        secret, origin = self.secrets[name], self.served.url
        if isinstance(secret, str):
            url, fields = f"{origin}/v1/ticker", [("authorization", f"Bearer {secret}")]
        else:
            url = f"{origin}/v1/balances"
            fields = [field for field in signed_headers(secret, "GET", url) if field[0] != "host"]
        began = time.time()
        try:
            reply = await http.get(url, headers=fields)
        except httpx2.TransportError as why:
            self.heard.append(Heard(name, began, time.time(), 0, type(why).__name__))
            return
        code = reply.json()["code"] if reply.status_code != 200 else ""
        request = reply.headers.get("x-request-id", "")
        self.heard.append(Heard(name, began, time.time(), reply.status_code, code, request))

    async def until(self, wanted: Callable[[Heard], bool]) -> None:
        """Until every worker has judged a call like that; past the patience it is for the judge to say."""
        until = time.monotonic() + _PATIENCE_SECONDS
        workers = set(self.served.workers())
        while time.monotonic() < until:
            found = worker_of(self.served.state, [one.request for one in self.heard if wanted(one)])
            if workers <= set(found.values()):
                return
            await asyncio.sleep(0.1)  # between two readings of a log that grows

    async def until_all_hear(self, *names: str, late: bool) -> None:
        """Until each of these secrets was shown to every worker in its time, or after it."""
        for name in names:
            life = self.lives[name]
            await self.until(
                lambda one, name=name, life=life: (  # type: ignore[misc]
                    one.secret == name and (one.is_late(life) if late else one.is_due(life))
                )
            )


async def _lives(served: Keyed) -> Load:
    """From two keys to their successors and their end, under load."""
    load, for_ever = Load(served), float("inf")
    credential = await asyncio.to_thread(served.enrolled, "bot")
    first = await asyncio.to_thread(served.operator, 'admin.make_apikey("board")')
    load.secrets = {"the old secret": first, "the old key": credential}
    load.lives = dict.fromkeys(load.secrets, Life(time.time(), for_ever, for_ever))
    changed = {"secret": "the old secret", "key": "the old key"}
    callers = [
        asyncio.create_task(load.call(holds, stays=stays))
        for holds in (
            lambda: "the old secret",
            lambda: changed["secret"],
            lambda: "the old key",
            lambda: changed["key"],
        )
        for stays in (True, False)
    ]
    try:
        await load.until_all_hear("the old secret", "the old key", late=False)

        began = time.time()
        act = f"admin.rotate_apikey(named[0], overlap_seconds={_OVERLAP_SECONDS})"
        load.secrets["the new secret"] = await asyncio.to_thread(served.operator, act)
        returned = time.time()
        load.lives["the old secret"] = Life(
            load.lives["the old secret"].good_from, began + _OVERLAP_SECONDS, returned + _OVERLAP_SECONDS
        )
        load.lives["the new secret"] = Life(returned, for_ever, for_ever)
        load.secrets["the new key"] = await asyncio.to_thread(rotate, credential)
        load.lives["the new key"] = Life(time.time(), for_ever, for_ever)
        changed |= {"secret": "the new secret", "key": "the new key"}
        await load.until_all_hear("the new secret", "the new key", late=False)
        await load.until_all_hear("the old secret", late=True)

        ends = {
            "the old key": f'admin.revoke_key("{credential.signer.keyid}")',
            "the new secret": "admin.revoke_apikey(named[0])",
            "the new key": f'admin.revoke_key("{load.secrets["the new key"].signer.keyid}")',  # type: ignore[union-attr]
        }
        for name, act in ends.items():
            began = time.time()
            assert await asyncio.to_thread(served.operator, act) == "True"
            load.lives[name] = Life(load.lives[name].good_from, began, time.time())
            await load.until_all_hear(name, late=True)
    finally:
        load.over.set()
        await asyncio.gather(*callers)
    return load


def _judged(served: Keyed, load: Load) -> list[str]:
    judges = all_judged(served.state, [one.request for one in load.heard])
    return judge(load.heard, load.lives, judges, served.workers())


@pytest.mark.xdist_group("server")
def test_keys_rotated_and_revoked_under_load(tmp_path: Path) -> None:
    """
    An API key and a public key, each rotated and ended while eight callers go on, half with what they had and half
    with what is new.
    """
    served = Keyed(tmp_path, "tests.reliability.orders_app:made")
    try:
        served.start()
        load = asyncio.run(_lives(served))
        assert _judged(served, load) == []
        assert len(served.workers()) == WORKERS
    finally:
        served.stop()
    # In the overlap both secrets were used, and the old one by those who had not heard of the new one.
    overlap = (load.lives["the new secret"].good_from, load.lives["the old secret"].good_until)
    used = [one.secret for one in load.heard if overlap[0] <= one.began and one.ended <= overlap[1]]
    assert min(used.count("the old secret"), used.count("the new secret")) > 10


@pytest.mark.xdist_group("server")
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("remembers_api_keys", "a call by the new secret was taken after its end"),
        ("forgets_the_old_secret", "a call by the old secret was refused in its time"),
    ],
)
def test_a_server_that_is_broken_on_purpose(tmp_path: Path, fault: str, found: str) -> None:
    """The same load against servers with a fault planted in them."""
    served = Keyed(tmp_path, f"tests.reliability.faults:{fault}", workers=2)
    try:
        served.start()
        assert found in _judged(served, asyncio.run(_lives(served)))
    finally:
        served.stop()


SOUND = (
    *(Heard("a", 1, 2, 200, "", f"a{worker}") for worker in (1, 2)),
    *(Heard("a", 10, 11, 401, "token-invalid", f"z{worker}") for worker in (1, 2)),
    # Begun before its end was told: either may be.
    Heard("a", 4, 12, 200, "", "b1"),
    Heard("a", 6, 7, 401, "token-invalid", "b2"),
)
LIVES = {"a": Life(0, 5, 9)}
JUDGES = {"a1": 1, "a2": 2, "z1": 1, "z2": 2, "b1": 1, "b2": 2}


@pytest.mark.parametrize(
    ("at", "damage", "finding"),
    [
        (0, {"status": 401, "code": "token-invalid"}, "a call by a was refused in its time"),
        (0, {"status": 0}, "a call by a got 0 "),
        (0, {"status": 503, "code": "store-unavailable"}, "a call by a got 503 store-unavailable"),
        (0, {"status": 429, "code": "rate-limited"}, "a call by a got 429 rate-limited"),
        (0, {"request": "a2"}, "a was not shown to 1 in its time"),
        (0, {"request": "lost"}, "a call by a is in no log"),
        (2, {"status": 200, "code": ""}, "a call by a was taken after its end"),
        (2, {"status": 403, "code": "scope-insufficient"}, "a call by a got 403 scope-insufficient"),
        (3, {"request": "z1"}, "a was not shown to 2 after its end"),
        (3, {"began": 8}, "a was not shown to 2 after its end"),
        (4, {"status": 0}, "a call by a got 0 "),
    ],
)
def test_the_judge(at: int, damage: dict[str, object], finding: str) -> None:
    """A sound history has no finding, and each damage to it has its own."""
    assert judge(SOUND, LIVES, JUDGES, {1, 2}) == []
    damaged = [*SOUND[:at], SOUND[at]._replace(**damage), *SOUND[at + 1 :]]  # type: ignore[arg-type]
    assert finding in judge(damaged, LIVES, JUDGES, {1, 2})
