"""What production does not start with, and a clock that is set while it runs."""

import logging
from pathlib import Path

import pytest

from sealwire import build
from sealwire.build import build_guard, open_ports
from sealwire.clock import ClockWatch
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.errors import Misuse
from sealwire.keys.file import make_signing_key, make_wrapping_key
from tests.contract.adapters import SetClock
from tests.observers.test_observers import OUTCOME

DEMO_KEYS = ("keys/signing.pem", "keys/wrapping.key", "tls/key.pem")


def production(folder: Path, *, own: bool = True) -> DemoState:
    """A demo's folder that calls itself production, with keys of its own or those that the demo made."""
    state = DemoState(folder, 8443)
    state.make()
    state.config.write_text(state.config.read_text().replace('"development"', '"production"', 1))
    if own:
        (folder / "keys/signing.pem").unlink()
        (folder / "keys/wrapping.key").unlink()
        make_signing_key(folder / "keys/signing.pem")
        make_wrapping_key(folder / "keys/wrapping.key", bytes)
        tls = folder / "tls/key.pem"
        tls.write_bytes(tls.read_bytes().partition(b"\n")[2])
    return state


@pytest.mark.parametrize("left", DEMO_KEYS)
def test_keys_of_the_demo(tmp_path: Path, left: str) -> None:
    """
    O5: any one key that the demo made is left in production.

    Stopped by: build
    """
    state = production(tmp_path)
    settings = load(state.config)
    open_ports(settings).close()
    (tmp_path / left).unlink()
    (tmp_path / left).write_bytes((production(tmp_path / "demo", own=False).folder / left).read_bytes())
    (tmp_path / left).chmod(0o600)
    with pytest.raises(Misuse, match=f'"{Path(left).name}" is a development key'):
        open_ports(settings)


def test_a_clock_that_nothing_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    C14: the kernel says that its clock is free; named by who keeps it, it is taken; where nothing is said, a log line.

    Stopped by: build
    """
    settings = load(production(tmp_path).config)
    ports = open_ports(settings)
    monkeypatch.setattr(build, "synchronised", lambda: False)
    with pytest.raises(Misuse, match="clock_kept_by: the kernel says that nothing keeps this host's clock"):
        build_guard(settings, ports)
    build_guard(settings.model_copy(update={"clock_kept_by": "phc2sys"}), ports)
    build_guard(settings.model_copy(update={"environment": "development"}), ports)
    monkeypatch.setattr(build, "synchronised", lambda: True)
    build_guard(settings, ports)
    assert caplog.text == ""
    monkeypatch.setattr(build, "synchronised", lambda: None)
    build_guard(settings, ports)
    assert "cannot tell whether anything keeps this host's clock" in caplog.text
    ports.close()


@pytest.mark.parametrize("step", [-3600.0, -1.5, 1.5, 3600.0])
def test_the_clock_is_set_while_it_runs(step: float, caplog: pytest.LogCaptureFixture) -> None:
    """
    C14: the wall clock is set back or forward: one alarm in the log and one count, however many calls come after it.

    Stopped by: observers
    """
    clock, steps = SetClock(), []
    watch = ClockWatch(clock, lambda: steps.append(clock.at))
    for second in range(6):
        clock.elapsed += 1
        clock.at += 1 + (step if second == 2 else 0)
        watch.heard(OUTCOME)
    assert len(steps) == 1
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"alarm: the wall clock was set by {step:+.1f} s" in caplog.text
