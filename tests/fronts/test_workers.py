"""Four worker processes on one socket: the same bytes at once are accepted once, whoever gets them."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import httpx2
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from sealwire import build
from sealwire.admin import Admin
from sealwire.client import Credential, Transport, enroll
from sealwire.client.explain import signed_headers
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.errors import Misuse
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.serve import exposed
from sealwire.fronts.workers import run_workers
from tests.signed_exchange import make_signed

pytestmark = pytest.mark.xdist_group("server")
APP = """
import json, os
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await receive()
    body = json.dumps({"worker": os.getpid(), "fast": os.environ["SEALWIRE_WORKER_FAST"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """An app that says which worker it runs in, on four of them."""
    state = DemoState(tmp_path_factory.mktemp("fleet"), free_port())
    make_signed(state)
    (state.folder / "which.py").write_text(APP)
    text = state.config.read_text().replace("sealwire.demo.exchange:app_from_environment", "which:app")
    text = text.replace("app_factory = true", "").replace('fast = "memory:"', 'fast = "sqlite:"')
    text += f"[metrics]\nport = {free_port()}\n"
    state.config.write_text(text)
    command = [str(Path(sys.executable).parent / "sealwire"), "--config", str(state.config), "serve", "--workers", "4"]
    with (state.folder / "stderr.txt").open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, start_new_session=True)
        try:
            _wait_for(state)
            with httpx2.Client(verify=trust(state)) as http:
                made = Path(http.get(f"{state.origin}/v1/time").json()["fast"]).parent
            assert (made.stat().st_mode & 0o777, (made / "counts").stat().st_mode & 0o777) == (0o700, 0o700)
            yield state
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)
    assert not made.exists(), "what a start made in memory is gone with it"


def trust(state: DemoState) -> ssl.SSLContext:
    """A context that trusts the demo's CA."""
    return ssl.create_default_context(cafile=str(state.ca))


def _wait_for(state: DemoState) -> None:
    """Until two of them serve. Which one takes a connection is the kernel's choice, so each is a new one."""
    until, tls, seen = time.monotonic() + 30, trust(state), set[int]()
    while len(seen) < 2:
        if time.monotonic() > until:
            raise AssertionError((state.folder / "stderr.txt").read_text())
        try:
            with httpx2.Client(verify=tls) as http:
                reply = http.get(f"{state.origin}/v1/time")
        except httpx2.TransportError:
            time.sleep(0.1)
        else:
            seen |= set(worker_of(state, (reply.headers["x-request-id"],)).values())


def credential(state: DemoState) -> Credential:
    """A client of the fleet, enrolled once."""
    path = state.folder / "c.json"
    if not path.exists():
        with Admin(state.config) as admin:
            enroll(state.origin, admin.invite("bot"), name="bot", path=path, ca=state.ca)
    return Credential.load(path)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_100_copies_on_four_workers(fleet: DemoState, method: str) -> None:
    """C4: exactly one of a hundred copies at once is accepted, and at least two workers took part."""
    known = await asyncio.to_thread(credential, fleet)
    path, body = ("/v1/balances", b"") if method == "GET" else ("/v1/withdrawals", b"{}")
    fields = [("content-type", "application/json")] if body else []
    signed = signed_headers(known, method, fleet.origin + path, fields, body)
    headers = [(name, value) for name, value in signed if name not in ("host", "content-length")]

    tls = trust(fleet)

    async def send() -> httpx2.Response:
        async with httpx2.AsyncClient(verify=tls, timeout=30) as http:
            return await http.request(method, fleet.origin + path, headers=headers, content=body or None)

    replies = await asyncio.gather(*(send() for _ in range(100)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 99
    assert {reply.json()["code"] for reply in replies if reply.status_code == 401} == {"replay-detected"}
    judged = {reply.headers["x-request-id"]: reply for reply in replies}
    judges = all_judged(fleet, judged.keys())
    assert len(judged) == len(judges) == 100, "each copy has a line of the worker that judged it"
    assert len(set(judges.values())) >= 2, "one worker alone took every copy: this run says nothing"
    # The log's word on who it was is held against the app's own, where the app was reached.
    assert [reply.json()["worker"] for reply in replies if reply.status_code == 200] == [
        judges[request] for request, reply in judged.items() if reply.status_code == 200
    ]


def worker_of(state: DemoState, requests: Collection[str]) -> dict[str, int]:
    """Which worker judged each of these calls, as far as their lines are written: that is just after the reply."""
    written = (state.folder / "stderr.txt").read_text().rpartition("\n")[0]  # other workers may be in the midst of one
    lines = (line for line in written.splitlines() if '"http.request.id"' in line)
    told = {line["http.request.id"]: line["process.pid"] for line in map(json.loads, lines)}
    return {request: told[request] for request in requests if request in told}


def all_judged(state: DemoState, requests: Collection[str]) -> dict[str, int]:
    """The same once every line is there, for calls of workers that live on."""
    until = time.monotonic() + 20
    while len(judges := worker_of(state, requests)) < len(set(requests)) and time.monotonic() < until:
        time.sleep(0.02)  # between two readings of a log that grows
    return judges


def entered(state: DemoState) -> float:
    """What one reading of the metrics says of the signed calls that were let through."""
    text = httpx2.get(f"http://127.0.0.1:{load(state.config).metrics.port}/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    wanted = {"decision": "entered", "reason": "ok", "route": "/v1/balances"}
    return sum(s.value for s in samples if s.name == "sealwire_decisions_total" and s.labels == wanted)


def test_the_metrics_are_those_of_all_workers(fleet: DemoState) -> None:
    """Whichever worker answered a call, one reading counts it."""
    known, workers = credential(fleet), set()
    before = entered(fleet)
    for _ in range(40):
        with httpx2.Client(transport=Transport(credential=known)) as http:
            workers.add(http.get(f"{fleet.origin}/v1/balances").json()["worker"])
    until = time.monotonic() + 20
    while entered(fleet) - before < 40 and time.monotonic() < until:
        time.sleep(0.02)  # the last call is counted just after its reply
    assert entered(fleet) - before == 40
    assert len(workers) >= 2


def test_a_metrics_port_that_is_taken(tmp_path: Path) -> None:
    """It is said in one line that names the setting, before a call is taken."""
    state = DemoState(tmp_path, 8443)
    state.make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        state.config.write_text(state.config.read_text() + f"[metrics]\nport = {taken.getsockname()[1]}\n")
        said = r"metrics\.port = \d+: cannot be listened on: Address already in use"
        with pytest.raises(Misuse, match=said), exposed(load(state.config), CollectorRegistry()):
            raise AssertionError("it was listened on twice")


def test_workers_need_one_store(tmp_path: Path) -> None:
    """Nonces in each worker's own memory would let each accept the same message."""
    state = DemoState(tmp_path, 8443)
    state.make()
    with pytest.raises(Misuse, match=r'store\.fast = "memory:": 2 workers need one store'):
        run_workers(load(state.config), 2)


def test_what_is_wrong_is_said_before_a_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot start is started again for ever: the parent judges all that it can itself."""
    state = DemoState(tmp_path, 8443)
    state.make()
    state.config.write_text(state.config.read_text().replace('fast = "memory:"', 'fast = "sqlite:"'))
    settings = load(state.config)
    with pytest.raises(Misuse, match='app = "nosuch:app": No module named'):
        run_workers(settings.model_copy(update={"app": "nosuch:app"}), 2)
    bad_rule = settings.rules[0].model_copy(update={"path": "/.well-known/sealwire/x"})
    with pytest.raises(Misuse, match="which the guard serves itself"):
        run_workers(settings.model_copy(update={"rules": [bad_rule]}), 2)
    for key in ("signing.pem", "wrapping.key"):
        path = tmp_path / "keys" / key
        path.write_bytes(path.read_bytes().partition(b"\n")[2])
    monkeypatch.setattr(build, "synchronised", lambda: False)
    with pytest.raises(Misuse, match="clock_kept_by"):
        run_workers(settings.model_copy(update={"environment": "production", "tls": None}), 2)
