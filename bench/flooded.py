"""What an honest caller notices of a flood that comes from its own address, while one core serves both."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.served import _TIME, _at, _deployed, _enrol, _free_port, _load, _running, _signed
from bench.timing import Figures
from sealwire.client.signing import by_key
from sealwire.protocol.jwk import Signer

_ROUNDS, _CALLS, _CALLERS, _PEERS = 5, 400, 4, 2_000


def flooded(folder: Path) -> Figures:
    """
    flooded_p99_vs_quiet: signed GETs of 4 callers while 2,000 connections from their address send a byte a second, each
    opened again when it is cut ÷ the same without them; p50 and p99 of both in ms.
    """
    cores = sorted(os.sched_getaffinity(0))
    port = _free_port()
    signer = _deployed(folder, port)
    ours = [str(Path(sys.executable).parent / "sealwire"), "--config", str(folder / "sealwire.toml"), "serve"]
    with _running(ours, port, cores[-1]):
        os.sched_setaffinity(0, cores[:1])
        try:
            _enrol(folder, signer)
            quiet, flood = [], []
            for _ in range(_ROUNDS):
                quiet += _calls(signer, port)
                with _flood(port):
                    flood += _calls(signer, port)
        finally:
            os.sched_setaffinity(0, cores)
    raw = {
        f"{name}_p{rank}_ms": round(_at(times, rank) * 1e3, 2)
        for name, times in (("flooded", flood), ("quiet", quiet))
        for rank in (50, 99)
    }
    return {"flooded_p99_vs_quiet": {"ratio": round(_at(flood, 99) / _at(quiet, 99), 2), **raw}}


def _calls(signer: Signer, port: int) -> list[float]:
    """Seconds of each. Every answer is counted: one that is not 2xx, or a connection that is cut, voids the figure."""
    return _load(port, [_signed(by_key(signer), port, _TIME) for _ in range(_CALLS)], _CALLERS)[1]


@contextmanager
def _flood(port: int) -> Iterator[None]:
    """While it floods."""
    command = [sys.executable, "-m", "bench.flood", str(port), str(_PEERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"standing\n"
            yield
            assert process.poll() is None, "the flood ended by itself"
        finally:
            process.kill()
    _let_go(port)


def _let_go(port: int) -> None:
    """Until the server has let go of what was killed."""
    until = time.monotonic() + 20
    while _connected(port):
        assert time.monotonic() < until, "connections of the flood are still there"
        time.sleep(0.05)


def _connected(port: int) -> bool:
    rows = (line.split()[1:4] for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(local.endswith(f":{port:04X}") and state in ("01", "08") for local, _, state in rows)
