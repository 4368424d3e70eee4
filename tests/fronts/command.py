"""The installed command, run as a person runs it, and the demo beside it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

SEALWIRE = Path(sys.executable).parent / "sealwire"
PLAIN = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "TERM": "dumb", "NO_COLOR": "1", "PYTHONUTF8": "1"}


class Ran(NamedTuple):
    """What a command left: exit code, data, words."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """This process's own, without what would lead a command elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEALWIRE_")} | PLAIN


def sealwire(folder: Path, *args: str, stdin: str = "", more: dict[str, str] | None = None) -> Ran:
    """Runs `sealwire args` in a folder. No mistake may end in a traceback, so none ever does."""
    done = subprocess.run(
        [SEALWIRE, *args],
        cwd=folder,
        env=environment() | (more or {}),
        input=stdin,
        check=False,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def demo(folder: Path, port: int, *, end: signal.Signals = signal.SIGINT) -> Iterator[list[str]]:
    """`sealwire demo` in a folder, once it says how to stop it: its lines so far. The signal ends it with 0."""
    command = [str(SEALWIRE), "demo", "--port", str(port)]
    with (
        (folder / "demo.err").open("w") as err,
        subprocess.Popen(
            command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=err, text=True
        ) as running,
    ):
        try:
            assert running.stdout is not None
            lines: list[str] = []
            for line in running.stdout:
                lines.append(line.rstrip("\n"))
                if "Ctrl-C to stop" in line:
                    break
            yield lines
        finally:
            running.send_signal(end)
            code = running.wait(30)
    assert (code, (folder / "demo.err").read_text()) == (0, "")
