"""What callers notice: an app behind our guard beside the same app without it, over sockets, each on one core."""

import asyncio
import hashlib
import json
import os
import secrets
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.timing import Figures, ratio
from sealwire.build import open_ports
from sealwire.client.exchange import Call
from sealwire.client.session import PATH
from sealwire.client.signing import Signatures, by_key, by_session, compose, nonce_of
from sealwire.config import load
from sealwire.keys.file import make_signing_key, make_wrapping_key
from sealwire.ports import Invitation
from sealwire.protocol.handshake import KeyPair, Keys, Terms
from sealwire.protocol.jwk import Signer, load_verifier, unb64url
from sealwire.protocol.signature import signer_of

_ROUNDS, _CALLS, _WARM = 5, 1_500, 300
_PYTHON, _ROOT = Path(sys.executable), Path(__file__).parent.parent
_JSON = ((b"content-type", b"application/json"),)
_TIME = Call("GET", b"/v1/time")
_ORDER = Call("POST", b"/v1/orders", _JSON, b'{"market": "BTC-EUR", "side": "buy", "amount": "0.01"}')
_POLICY = """\
environment = "development"
public_origins = ["http://127.0.0.1:{port}"]
app = "bench.app:app"
[listen]
port = {port}
[keys]
signing = "file:signing.pem"
wrapping = "file:wrapping.key"
[store]
durable = "sqlite:sealwire.db"
[[rules]]
path = "/v1/**"
methods = ["GET", "POST"]
profile = "signed"
[[rules]]
path = "/v1/ticks"
methods = ["GET"]
profile = "sealed"
session_mac = true
"""


def served(folder: Path) -> Figures:
    """
    asgi_signed_vs_fastapi_plain: signed GETs a second over those of the bare app under uvicorn as it comes, 32 callers:
    each writes a line a call (docs/decisions/0008). Beside it `over_silent`, over a uvicorn that was told to log
    nothing.
    asgi_sealed_mac_vs_fastapi_plain: the same with sealed answers, under a session's key. added_p50_vs_commit and
    added_p99_vs_commit: what the guard adds to a signed POST, over the silent one, in durable commits; at 1 caller, and
    `at_64`.
    """
    cores = sorted(os.sched_getaffinity(0))
    guarded, plain, silent = _free_port(), _free_port(), _free_port()
    signer = _deployed(folder, guarded)
    ours = [str(_PYTHON.parent / "sealwire"), "--config", str(folder / "sealwire.toml"), "serve"]
    own = [str(_PYTHON), "-m", "uvicorn", "bench.app:app", "--port"]
    quiet = ["--log-level", "warning", "--no-access-log"]
    with (
        _running(ours, guarded, cores[-1]),
        _running([*own, str(plain)], plain, cores[-1]),
        _running([*own, str(silent), *quiet], silent, cores[-1]),
    ):
        os.sched_setaffinity(0, cores[:1])
        try:
            _enrol(folder, signer)
            return {**_rates(signer, guarded, plain, silent), **_latencies(folder, signer, guarded, silent)}
        finally:
            os.sched_setaffinity(0, cores)


def _rates(signer: Signer, guarded: int, plain: int, silent: int) -> Figures:
    session, keys = _session(signer, guarded)
    ticks = Call("GET", b"/v1/ticks", ((b"sealwire-session", session.encode()),))
    ways: dict[str, tuple[int, Signatures, Call]] = {
        "asgi_signed_vs_fastapi_plain": (guarded, by_key(signer), _TIME),
        "asgi_sealed_mac_vs_fastapi_plain": (guarded, by_session(session, keys.c2s_mac), ticks),
        "plain": (plain, by_key(signer), _TIME),
        "silent": (silent, by_key(signer), _TIME),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(_ROUNDS):
        for name, (port, by, call) in ways.items():
            begun, took = time.perf_counter(), _load(port, [_signed(by, port, call) for _ in range(_CALLS)], 32)
            assert time.perf_counter() - begun < 50, "the signatures ran out"
            rates[name].append(_CALLS / took[0])
    medians = {name: statistics.median(kept) for name, kept in rates.items()}
    bare, quiet = medians.pop("plain"), medians.pop("silent")
    return {
        name: {**ratio(ours, bare, "rps"), "over_silent": round(ours / quiet, 3), "silent_rps": round(quiet, 2)}
        for name, ours in medians.items()
    }


def _session(signer: Signer, port: int) -> tuple[str, Keys]:
    """Opens a session: its id, and its keys."""
    pair, authority, nonce = KeyPair("X25519"), f"127.0.0.1:{port}", nonce_of(secrets.token_bytes(18))
    asked = json.dumps({"kem": pair.kem, "public_key": pair.public_key}).encode()
    head = compose(Call("POST", PATH, _JSON, asked), authority)
    request = by_key(signer).put_on(head, int(time.time()), nonce).request
    connection = HTTPConnection(authority, timeout=20)
    fields = {name.decode(): value.decode() for name, value in request.headers}
    connection.request("POST", PATH.decode(), asked, fields)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    bounds = (answer["expires_at"], answer["max_requests"])
    digest = hashlib.sha256(asked).digest()
    context = Terms(authority, signer.keyid, pair.kem, answer["session"], digest, nonce, *bounds).context()
    return answer["session"], Keys(pair.open(unb64url(answer["sealed_key"]), context), context)


def _latencies(folder: Path, signer: Signer, guarded: int, plain: int) -> Figures:
    commits = _commits(folder)
    figures: Figures = {}
    for callers, calls in ((1, _WARM), (64, _CALLS)):
        taken: dict[int, list[float]] = {guarded: [], plain: []}
        for _ in range(_ROUNDS):
            for port, kept in taken.items():
                kept += _load(port, [_signed(by_key(signer), port, _ORDER) for _ in range(calls)], callers)[1]
        for name, rank in (("added_p50_vs_commit", 50), ("added_p99_vs_commit", 99)):
            added = (_at(taken[guarded], rank) - _at(taken[plain], rank)) * 1e6
            commit = _at(commits, rank) * 1e6
            if callers == 1:
                figures[name] = ratio(added, commit)
            else:
                figures[name] |= {"at_64": round(added / commit, 2), "at_64_us": round(added, 1)}
    return figures


def _at(times: list[float], rank: int) -> float:
    return statistics.quantiles(times, n=100)[rank - 1]


def _commits(folder: Path) -> list[float]:
    """Seconds that one bare durable commit takes."""
    bare, taken = sqlite3.connect(folder / "commit.db", isolation_level=None), []
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE d (seq INTEGER PRIMARY KEY, a)")
    for _ in range(_CALLS):
        begun = time.perf_counter()
        bare.execute("INSERT INTO d (a) VALUES (?)", ("x" * 200,))
        taken.append(time.perf_counter() - begun)
    bare.close()
    return taken


def _signed(by: Signatures, port: int, call: Call) -> bytes:
    head = compose(call, f"127.0.0.1:{port}", nonce_of(secrets.token_bytes(16)))
    request = by.put_on(head, int(time.time()), nonce_of(secrets.token_bytes(18))).request
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers)
    return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (call.method.encode(), call.target, lines, call.body)


def _load(port: int, requests: list[bytes], callers: int) -> tuple[float, list[float]]:
    """Seconds for all, and for each. Every answer is counted: one that is not 2xx voids the figure."""
    return asyncio.run(_load_over(port, requests, callers))


async def _load_over(port: int, requests: list[bytes], callers: int) -> tuple[float, list[float]]:
    waiting, taken = iter(requests), []

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            body = await reader.readexactly(int(length))
            taken.append(time.perf_counter() - begun)
            assert head.startswith(b"HTTP/1.1 2"), (head, body)
        writer.close()
        await writer.wait_closed()

    begun = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    assert len(taken) == len(requests)
    return time.perf_counter() - begun, taken


def _deployed(folder: Path, port: int) -> Signer:
    folder.mkdir()
    make_signing_key(folder / "signing.pem")
    make_wrapping_key(folder / "wrapping.key", secrets.token_bytes)
    (folder / "sealwire.toml").write_text(_POLICY.format(port=port))
    return signer_of(Ed25519PrivateKey.generate())


def _enrol(folder: Path, signer: Signer) -> None:
    """Enrols the caller's key once the server runs: a key that is older than its memory would have to wait."""
    ports, now = open_ports(load(folder / "sealwire.toml")), time.time()

    async def enrol() -> None:
        invitation = Invitation("bench", "bench", "", None, frozenset(), (), b"none", now + 60)
        await ports.directory.add_invitation(invitation)
        await ports.directory.enrol("bench", load_verifier(signer.jwk), "cli_bench", "bench", now)

    asyncio.run(enrol())
    ports.close()


@contextmanager
def _running(command: list[str], port: int, core: int) -> Iterator[None]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, [core]),  # noqa: PLW1509  # no thread is running here
    )
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"{command[0]} did not start") from None
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port
