"""The real client and the real guard over time, threads, tasks, forks and origins, and what the client never shows."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sealwire.client import AsyncTransport, ClockSkew, Credential, Refused, ReplyUnproven, SealwireError, enroll, rotate
from sealwire.client.exchange import Call, Incoming, Outgoing, Proven
from tests.stories.markers import leaks, marker, told
from tests.stories.middleman import Middleman, client, like, with_field
from tests.stories.test_enrolment import HMAC_KEY, SECRET, Bridge, enrolled, invited
from tests.stories.world import ORIGIN, Wire, World

HOUR = 3600
CALLS = 12


def off(world: World, seconds: float) -> Callable[[], float]:
    """A clock that is wrong by so much."""
    return lambda: world.clock.now() + seconds


@pytest.mark.parametrize("seconds", [-HOUR, HOUR, -61, 11])
def test_a_client_with_a_wrong_clock(world: World, seconds: int) -> None:
    """
    C15: a client an hour off: its first call works after one repeat, with one effect; from then on each at once.

    Stopped by: verify
    """
    way = Middleman(world)
    with client(world, enrolled(world), way, clock=off(world, seconds)) as http:
        way.replies.clear()
        first = http.post("/v1/orders", json={})
        assert (first.status_code, first.extensions["sealwire"].sends) == (200, 2)
        assert [reply.status_code for reply in way.replies] == [401, 200]
        for _ in range(2):
            again = http.post("/v1/orders", json={})
            assert (again.status_code, again.extensions["sealwire"].sends) == (200, 1)
        world.clock.at += 2 * HOUR
        assert http.get("/v1/balances").extensions["sealwire"].sends == 1
    assert len(world.entered) == 4


def test_a_client_with_a_wrong_clock_enrols(world: World) -> None:
    """
    C15: enrolment and rotation an hour behind.

    Stopped by: permit
    """
    behind = off(world, -HOUR)
    credential = enroll(ORIGIN, invited(world), name="bob", inner=Bridge(world), clock=behind)
    newer = rotate(credential, inner=Bridge(world), clock=behind)
    assert newer.client == credential.client


def test_a_second_refusal_is_told(world: World) -> None:
    """
    C15, C19: the middleman plays the first refusal again, or takes the nonce out: an error, no loop, no clock moved.

    Stopped by: client
    """
    way = Middleman(world)
    with client(world, enrolled(world), way, clock=off(world, -HOUR)) as http:
        kept: list[httpx2.Response] = []

        def again(reply: httpx2.Response) -> httpx2.Response:
            kept.append(reply)
            return like(kept[0])

        for change, sends in ((again, 2), (lambda reply: with_field(reply, "accept-signature", None), 1)):
            before, way.change = len(way.sent), change
            with pytest.raises(ClockSkew) as caught:
                http.get("/v1/balances")
            assert len(way.sent) - before == sends
            assert (caught.value.proven, caught.value.skew_ms) == (False, -HOUR * 1000)
        way.change = None
        assert http.get("/v1/balances").extensions["sealwire"].sends == 2


def test_a_strangers_word_moves_no_clock(world: World) -> None:
    """
    C15: a forged refusal says that the clock is a day off: one repeat with the nonce it gave, dated as before.

    Stopped by: client
    """
    way = Middleman(world)
    forged = json.dumps({"code": "clock-skew", "status": 401, "clock": {"server_time": 1, "skew_ms": 86_400_000}})
    offer = 'sig=();created;expires;nonce="' + "n" * 43 + '";tag="sealwire"'
    fields = {"content-type": "application/problem+json", "accept-signature": offer}
    with client(world, enrolled(world), way) as http:
        before = len(way.sent)
        way.change = lambda _: httpx2.Response(401, headers=fields, content=forged)
        with pytest.raises(ClockSkew):
            http.get("/v1/balances")
        way.change = None
        assert http.get("/v1/balances").extensions["sealwire"].sends == 1
    dated = {sent.headers["signature-input"].partition("created=")[2].partition(";")[0] for sent in way.sent[before:]}
    assert dated == {str(int(world.clock.now()))}


def test_what_is_learnt_belongs_to_one_origin(world: World, tmp_path: Path) -> None:
    """
    P3: two deployments, one with its clock an hour ahead: what a client learns of one it does not apply to the other.

    Stopped by: client
    """
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other")
    other.clock.at += HOUR
    here, there = Middleman(world), Middleman(other)
    with client(world, enrolled(world), here) as near, client(world, enrolled_at(other), there) as far:
        assert far.get("/v1/balances").extensions["sealwire"].sends == 2
        assert near.get("/v1/balances").extensions["sealwire"].sends == 1
        assert far.get("/v1/balances").extensions["sealwire"].sends == 1
    with client(world, enrolled(world, "carol"), there) as lost, pytest.raises((Refused, ReplyUnproven)):
        lost.get("/v1/balances")


def enrolled_at(world: World) -> Credential:
    """A client of that deployment, whose own clock is the deployment's."""
    return enrolled(world, "dora")


class Locked(Middleman):
    """A middleman that lets one call through at a time: the stores of these stories belong to one thread."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._lock = Lock()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        with self._lock:
            return super().handle_request(request)


def test_threads_with_one_transport(world: World) -> None:
    """
    P3: many threads, an hour behind, share one transport: each call gets its own answer, no nonce is used twice.

    Stopped by: client
    """
    way = Locked(world)
    with client(world, enrolled(world), way, clock=off(world, -HOUR)) as http, ThreadPoolExecutor(6) as threads:
        way.sent.clear()
        replies = list(threads.map(lambda n: http.post("/v1/orders", json={"n": n}), range(CALLS)))
        assert {reply.status_code for reply in replies} == {200}
        assert {reply.extensions["sealwire"].sends for reply in replies} <= {1, 2}
        assert http.get("/v1/balances").extensions["sealwire"].sends == 1
    assert sorted(world.bodies) == sorted([b'{"n":%d}' % n for n in range(CALLS)] + [b""])
    assert len(set(way.nonces())) == len(way.nonces())


class AsyncBridge(httpx2.AsyncBaseTransport):
    """The network between the real client and the world, for tasks; each call waits for the others once."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        wire = Wire(request.method, request.url.raw_path)
        wire.headers = [(name.lower(), value) for name, value in request.headers.raw]
        wire.body = await request.aread()
        await asyncio.sleep(0)
        return await self._world.send(wire)


async def test_tasks_with_one_transport(world: World) -> None:
    """
    P3: many tasks at once, an hour behind: one effect each, and the clock is learnt for all.

    Stopped by: client
    """
    credential = await asyncio.to_thread(enrolled, world)
    transport = AsyncTransport(credential, inner=AsyncBridge(world), clock=off(world, -HOUR))
    async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        replies = await asyncio.gather(*(http.post("/v1/orders", json={"n": n}) for n in range(CALLS)))
        assert {reply.status_code for reply in replies} == {200}
        assert (await http.get("/v1/balances")).extensions["sealwire"].sends == 1
    assert sorted(world.bodies) == sorted([b'{"n":%d}' % n for n in range(CALLS)] + [b""])


FORK = """
import json, os, sys
from pathlib import Path
from tests.stories.middleman import Middleman, client
from tests.stories.test_enrolment import enrolled
from tests.stories.world import World

world = World(Path(sys.argv[1]))
way = Middleman(world)
http = client(world, enrolled(world), way)
http.get("/v1/balances")
way.sent.clear()
reading, writing = os.pipe()
child = os.fork()
codes = [http.post("/v1/orders", json={"n": n}).status_code for n in range(5)]
said = json.dumps([codes, way.nonces(), [sent.headers["idempotency-key"] for sent in way.sent]])
if child == 0:
    os.write(writing, said.encode())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([json.loads(said), json.loads(os.read(reading, 10000))]))
"""


def test_a_fork(tmp_path: Path) -> None:
    """
    P3: parent and child go on with one transport: no nonce and no idempotency key is drawn by both.

    Stopped by: client
    """
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parent, child = json.loads(done.stdout)
    assert parent[0] == child[0] == [200] * 5
    for ours, theirs in zip(parent[1:], child[1:], strict=True):
        assert len({*ours, *theirs}) == 10


class Watching(Middleman):
    """Shows every value that passes, as a careless log line would; loses, or changes, what it is told to."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.said: list[str] = []
        self.lost = self.swapping = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.said.append(f"{request!r}")
        if self.lost:
            raise httpx2.ReadError("the line is dead")
        if self.swapping and "authorization" in request.headers:
            # A copy: what was sent before stays as it was.
            headers = [(n, b"other" if n == b"authorization" else v) for n, v in request.headers.raw]
            request = httpx2.Request(request.method, request.url, headers=headers, content=request.read())
        return super().handle_request(request)


def failures(way: Watching, world: World) -> list[Callable[[], None]]:
    """What goes wrong, one at a time."""

    def lose() -> None:
        way.lost = True

    def swap() -> None:
        way.swapping = True

    def strip() -> None:
        way.change = lambda reply: with_field(reply, "signature", None)

    def skew() -> None:
        world.clock.at += HOUR

    def revoke() -> None:
        for key in list(world.directory._keys):
            asyncio.run(world.directory.revoke(key))

    def forget() -> None:
        world.directory._keys.clear()

    return [lose, swap, strip, skew, revoke, forget]


def seed(credential: Credential) -> bytes:
    """The private key itself."""
    key = load_pem_private_key(credential.key.reveal(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return key.private_bytes_raw()


def test_what_the_client_never_shows(world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    N2: private key, invitation and bearer token through enrolment, calls, refusals, failures and rotation: in no log of
    the client, repr, error or traceback; the token only in the request itself.

    Stopped by: client
    """
    caplog.set_level(logging.DEBUG)
    way, said = Watching(world), []
    token = marker()
    file = tmp_path / "bob.json"
    credential = enroll(ORIGIN, invited(world), name="bob", path=file, inner=way, clock=world.clock.now)
    rotated = newer = rotate(credential, inner=way, clock=world.clock.now)
    headers = {"authorization": f"Bearer {token}"}
    for fail in (lambda: None, *failures(way, world)):
        with client(world, newer, way) as http:
            assert http.get("/v1/balances").status_code == 200
            fail()
            try:
                said.append(repr(http.post("/v1/orders", json={}, headers=headers).extensions["sealwire"]))
            except (SealwireError, httpx2.HTTPError) as error:
                said.append(told(error))
            said.append(repr(http))
        way.lost, way.swapping, way.change = False, False, None
        newer = enrolled(world, marker())
    shown = (Call("GET", token.encode()), Outgoing("GET", token.encode(), ((b"authorization", token.encode()),), b""))
    said += [repr(one) for one in (*shown, Incoming(200, (), token.encode()), credential, newer, vars(credential))]
    said.append(repr(Proven(200, (), token.encode(), None, "", 0, b"", b"")))
    secrets: dict[str, str | bytes] = {
        "private key": seed(credential),
        "rotated key": seed(rotated),
        "invitation": SECRET,
        "invitation's key": HMAC_KEY,
        "token": token,
    }
    places = {"logs": caplog.text.encode(), "said": "\n".join([*said, *way.said]).encode()}
    assert len([one for one in said if "Traceback" in one]) == 5
    assert any("(not shown)" in one for one in said)
    assert leaks(secrets, places) == []
    assert leaks({"private key": secrets["private key"]}, {"file": file.read_bytes()}) != []
    assert any(token in request.headers.get("authorization", "") for request in way.sent)
    assert not any(SECRET in str(request.headers) + request.read().decode() for request in way.sent)
