"""
`sealwire`: the top-level commands, and what becomes of errors.

Exit codes: 0 done, 1 unexpected, 2 usage, 3 configuration, 4 not allowed, 5 the answer is no, 6 something remote is
not there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from sealwire import __version__
from sealwire.client import CredentialError, SealwireError
from sealwire.client.problems import plain
from sealwire.errors import Misuse
from sealwire.fronts.cli import callers, clients, keys

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(clients.app, name="client", help="The programs that call.")
app.add_typer(keys.app, name="key", help="Their public keys.")


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[Path, typer.Option(envvar="SEALWIRE_CONFIG", help="The policy file of the deployment.")] = Path(
        "sealwire.toml"
    ),
) -> None:
    """Guard HTTP APIs: every call signed by its caller's key, accepted once."""
    context.obj = config


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command("config")
def check_config(context: typer.Context) -> None:
    """Read the policy file whole and say whether it holds."""
    from sealwire.config import load  # noqa: PLC0415  # a caller's machine carries no server

    settings = load(context.obj)
    typer.echo(f"{context.obj}: {len(settings.rules)} rules, {settings.environment}", err=True)


@app.command()
def serve(
    context: typer.Context,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; more than 1 share a fast store.")] = 1,
) -> None:
    """Run the app of the policy file behind its guard."""
    from sealwire.config import load  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.fronts.serve import serve_forever  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.fronts.workers import run_workers  # noqa: PLC0415  # a caller's machine carries no server

    if workers > 1:
        run_workers(load(context.obj), workers)
    else:
        serve_forever(context.obj)


@app.command("demo")
def run_demo(
    state: Annotated[Path, typer.Option(help="The folder for all it makes.")] = Path(".sealwire"),
    port: Annotated[int, typer.Option(help="The port of the exchange on localhost.")] = 8443,
    tour_only: Annotated[
        bool, typer.Option("--tour-only", help="Play the tour on a server of its own; 0 if all held.")
    ] = False,
) -> None:
    """Run a small crypto exchange behind its guard, with throw-away keys."""
    from sealwire.fronts.cli.demo import demo  # noqa: PLC0415  # a caller's machine carries no server

    demo(state, port, tour_only=tour_only)


app.command("enroll")(callers.enroll_key)
app.command("call")(callers.call)
app.command("sign")(callers.sign)


def main() -> None:
    """The console script. Nobody gets a stack trace for what they can mend."""
    try:
        app(standalone_mode=True)
    except Misuse as misuse:
        _end(str(misuse), 3)
    except CredentialError as error:
        _end(str(error), 4)
    except SealwireError as error:
        _end(str(error), 5)
    except httpx2.InvalidURL as error:
        _end(f"no URL: {plain(str(error))}", 2)
    except httpx2.HTTPError as error:
        _end(f"{type(error).__name__}: {plain(str(error))}", 6)
    except OSError as error:
        _end(f"{type(error).__name__}: {error.strerror or error}", 6)


def _end(sentence: str, code: int) -> None:
    typer.echo(sentence, err=True)
    sys.exit(code)
