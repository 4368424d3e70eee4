"""
`sealwire`: the top-level commands, and what becomes of errors.

Exit codes: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 not allowed, 5 the answer is no, 6 something remote is
not there.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from sealwire import __version__
from sealwire.client import CredentialError, ForeignOrigin, NotSignable, OutcomeUnknown, Refused, SealwireError
from sealwire.client.problems import plain
from sealwire.errors import Misuse
from sealwire.fronts.cli import apikeys, approvals, callers, clients, factors, keys, operators
from sealwire.fronts.cli.options import Ended, Options

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(
    clients.app, name="client", help="The programs that call: invite, uninvite, list, show, bind, thaw, revoke."
)
app.add_typer(apikeys.app, name="apikey", help="Their API keys: create, list, find, rotate, revoke.")
app.add_typer(approvals.app, name="approval", help="What people are asked: list, show, approve, deny.")
app.add_typer(factors.app, name="factor", help="What people approve with: add, list, remove.")
app.add_typer(keys.app, name="key", help="Their public keys: list, rotate, revoke.")


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            envvar="SEALWIRE_CONFIG",
            help="The policy file of the deployment; by default sealwire.toml here, else the demo's in .sealwire.",
        ),
    ] = None,
    no_input: Annotated[bool, typer.Option("--no-input", help="Never ask; fail instead.")] = False,
) -> None:
    """
    Guard HTTP APIs: every call signed by its caller's key, accepted once.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 not allowed, 5 the answer is no, 6 something remote
    is not there.
    """
    context.obj = Options(config or _found(), no_input)


def _found() -> Path:
    here, demo_s = Path("sealwire.toml"), Path(".sealwire") / "sealwire.toml"
    return demo_s if demo_s.is_file() and not here.is_file() else here


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command("demo")
def run_demo(
    state: Annotated[Path, typer.Option(help="The folder for all it makes.")] = Path(".sealwire"),
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the exchange on localhost.")] = 8443,
    tour_only: Annotated[
        bool, typer.Option("--tour-only", help="Play the tour on a server of its own; exit code 0 if all held, else 5.")
    ] = False,
) -> None:
    """Run a small crypto exchange behind its guard, with throw-away keys, and show attacks on it."""
    from sealwire.fronts.cli.demo import demo  # noqa: PLC0415  # a caller's machine carries no server

    demo(state, port, tour_only=tour_only)


app.command("serve")(operators.serve)
app.command("status")(operators.status)
app.command("config")(operators.show_config)
app.command("enroll")(callers.enroll_key)
app.command("call")(callers.call)
app.command("sign")(callers.sign)


#: The nearest class decides, hence the general one last.
_CODES: dict[type[Exception], int] = {
    Misuse: 3, CredentialError: 3, ForeignOrigin: 2, NotSignable: 2, OutcomeUnknown: 6, SealwireError: 5,
}  # fmt: skip


def main() -> None:
    """The console script. Nobody gets a stack trace, unless SEALWIRE_TRACEBACK asks for it."""
    try:
        app(standalone_mode=True)
    except Exception as error:  # noqa: BLE001  # the last place: it ends in a sentence and an exit code
        if os.environ.get("SEALWIRE_TRACEBACK"):
            traceback.print_exc()
        sentence, code = worded(error)
        typer.echo(sentence, err=True)
        sys.exit(code)


def worded(error: Exception) -> tuple[str, int]:
    """What is said of an error that ends a command, and the exit code."""
    said = str(error)
    match error:
        case Ended():
            return said, error.code
        case Refused() if error.status == callers.NOT_ALLOWED:
            return said, 4
        case httpx2.InvalidURL():
            return f"no URL: {plain(said)}", 2
        case httpx2.HTTPError():
            return f"{type(error).__name__}: {plain(said)}; outcome: not done", 6
        case ModuleNotFoundError() if not (error.name or "").startswith("sealwire"):
            return f"{error.name} is not installed: this command needs sealwire[server], demo needs sealwire[demo]", 3
        case OSError():
            return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or said, 1
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        return f"unexpected {type(error).__name__}: {said}\n  set SEALWIRE_TRACEBACK=1 to see where, and report it", 1
    return said, code
