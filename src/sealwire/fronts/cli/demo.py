"""`sealwire demo`: the exchange behind its guard, with a tour, from one folder of throw-away state."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import typer
from rich.console import Console

from sealwire.admin import Admin
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.demo.tour import Operator, Tour
from sealwire.errors import Misuse
from sealwire.fronts.pages import pages_served
from sealwire.fronts.serve import prepare, server_context
from sealwire.presence import NewSeed
from sealwire.records import ApiKeyRecord

_USER, _PHONE = "alice", "The tour's phone"
_START_SECONDS = 15
DEFAULT_FOLDER = Path(".sealwire")


def demo(state: Path, port: int, *, tour_only: bool) -> None:
    """Run a small crypto exchange behind its guard, with throw-away keys."""
    console = Console(highlight=False)
    console.print("[bold yellow]  DEVELOPMENT: throw-away keys, not for production[/]")
    if tour_only:
        with tempfile.TemporaryDirectory(prefix="sealwire-tour-") as folder:
            held = _run(DemoState(Path(folder), free_port(), free_port()), console, stay=False)
        raise typer.Exit(0 if held else 5)
    _run(DemoState(state, port), console, stay=True)


def _run(state: DemoState, console: Console, *, stay: bool) -> bool:
    state.make()
    password = state.add_user(_USER)
    with serving(state):
        console.print(f"  exchange   {state.origin}     TLS 1.3, local CA in {state.ca}", soft_wrap=True)
        there = f"sign in as {_USER} (password in {state.users}), and add your phone"
        console.print(f"  approvals  {state.pages}     {there}", soft_wrap=True)
        console.print(f"  log        {state.folder / 'calls.jsonl'}     one JSON line a call", soft_wrap=True)
        # What the tour's person hears is told by the tour; afterwards each notice is a line here.
        notices = logging.getLogger("sealwire.notice")
        notices.setLevel(logging.ERROR)
        console.print("  tour")
        held = True
        with Admin(state.config) as admin:
            operator = operator_of(admin)
            tour = Tour(state.origin, state.pages, state.ca, _USER, password, operator, state.folder)
            for step in tour.play():
                mark = "" if step.held else "[bold red]  not as it must be[/]"
                console.print(f"    {step.tried:<45}  {step.status:<5} {step.said}{mark}".rstrip(), soft_wrap=True)
                held = held and step.held
            _take_phone(admin)  # its user's own one is then the first, and needs no other to be added
        notices.setLevel(logging.WARNING)
        if stay:
            console.print(f"  Ctrl-C to stop.  Next: {_next(state)}", soft_wrap=True, markup=False)
            _until_told()
    return held


def operator_of(admin: Admin) -> Operator:
    """The tour's operator. A tour that broke off may have left a phone, which goes first."""

    def give_phone(user: str, secret: bytes) -> None:
        _take_phone(admin)
        admin.add_factor(user, NewSeed("totp", _PHONE, secret))

    def thaw(name: str) -> None:
        found = admin.client(name)
        if found is not None:
            admin.thaw_client(found.id)

    def make_apikey(name: str) -> str:
        for left in [one for one in admin.apikeys() if one.name == name]:
            admin.revoke_apikey(left)
        return admin.make_apikey(name, user=_USER, scopes=frozenset(("read",)), days=1, client=admin.client(name))

    def rotate_apikey(name: str) -> str:
        return admin.rotate_apikey(live(name), days=1)

    def revoke_apikey(name: str) -> None:
        admin.revoke_apikey(live(name))

    def live(name: str) -> ApiKeyRecord:
        return next(one for one in admin.apikeys() if one.name == name and one.state_at(admin.now()) == "active")

    return Operator(
        lambda name: admin.invite(name, user=_USER), give_phone, thaw, make_apikey, rotate_apikey, revoke_apikey
    )


def _take_phone(admin: Admin) -> None:
    for factor in admin.factors(_USER):
        if factor.name == _PHONE:
            admin.remove_factor(_USER, factor.id)


def _next(state: DemoState) -> str:
    """A first call, as it is typed here."""
    started, here = Path(sys.argv[0]).absolute(), Path.cwd()
    on_path = shutil.which(started.name)
    if on_path and Path(on_path).samefile(started):
        program = started.name
    else:
        program = str(started.relative_to(here) if started.is_relative_to(here) else started)
    credential = state.folder / f"{_USER}-bot.credential.json"
    given = "" if state.folder == DEFAULT_FOLDER else f" --credential {shlex.quote(str(credential))}"
    return f"{program} call GET /v1/balances{given}"


def _until_told() -> None:
    """Waits for Ctrl-C or SIGTERM."""
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    with contextlib.suppress(KeyboardInterrupt):
        told.wait()


@contextlib.contextmanager
def serving(state: DemoState) -> Iterator[None]:
    """The exchange on a thread of its own, from its first call to its last. Raises: Misuse if it does not start."""
    os.environ["EXCHANGE_DATABASE"], os.environ["EXCHANGE_USERS"] = str(state.database), str(state.users)
    with (state.folder / "calls.jsonl").open("a", buffering=1, encoding="utf-8") as log:
        settings = load(state.config)
        running, ports = prepare(settings, lambda line: log.write(f"{line}\n"))
        thread = threading.Thread(target=running.run, name="exchange", daemon=True)
        thread.start()
        try:
            until = time.monotonic() + _START_SECONDS
            while not running.started:
                if not thread.is_alive() or time.monotonic() > until:
                    raise Misuse(f"the exchange did not start; is port {state.port} free?")
                time.sleep(0.02)
            with pages_served(settings, server_context(settings)):
                yield
        finally:
            running.should_exit = True
            thread.join(10)
            ports.close()


def free_port() -> int:
    """A port of this machine that nobody has, nor the one after it; below those that the system gives to callers."""
    for _ in range(1000):
        port = 20_000 + secrets.randbelow(10_000)
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as after:
            probe.bind(("127.0.0.1", port))
            after.bind(("127.0.0.1", port + 1))
            return port
    raise Misuse("no port is free on this machine")
