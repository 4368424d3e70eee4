"""The desk with its sealed routes, behind `sealwire serve` in a process of its own, for callers on other libraries."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port

_DESK = Path(__file__).with_name("desk")
_START_SECONDS = 30


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """Its folder and origin, serving. Keys and certificate are made as the demo makes its own."""
    state = DemoState(tmp_path_factory.mktemp("desk"), free_port())
    state.make()
    shutil.copy(_DESK / "desk.py", state.folder)
    policy = (_DESK / "sealwire.toml").read_text("utf-8")
    state.config.write_text(policy.replace("PORT", str(state.port)), "utf-8")
    command = [str(Path(sys.executable).parent / "sealwire"), "--config", str(state.config), "serve"]
    log = state.folder / "stderr.txt"
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, start_new_session=True)
        try:
            _wait_for(state, process, log)
            yield state
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
            process.wait(20)


def _wait_for(state: DemoState, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    with httpx2.Client(verify=ssl.create_default_context(cafile=str(state.ca))) as http:
        while True:
            try:
                http.get(f"{state.origin}/time")
            except httpx2.TransportError:
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(log.read_text()) from None
                time.sleep(0.05)
            else:
                return
