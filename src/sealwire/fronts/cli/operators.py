"""`sealwire status`, `config`, `serve`: a deployment as its operator sees it."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from sealwire.fronts.cli.options import JsonOption
from sealwire.fronts.cli.records import print_json


def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """
    Say what is wrong with this deployment, one sentence each, and what mends it. Nothing is changed.

    Looks at settings, key files, certificate, clock, store, rules, and keys of clients that end. Exit code 0 when
    nothing is wrong, else 5. Notes are worth knowing, and not wrong.
    """
    from sealwire.clock import synchronised  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.status import examine  # noqa: PLC0415  # a caller's machine carries no server

    found = examine(context.obj.config, time.time(), synchronised=synchronised())
    wrong = sum(each.level == "wrong" for each in found)
    if as_json:
        members = [{"level": f.level, "about": f.about, "says": f.says, "mend": f.mend or None} for f in found]
        print_json({"ok": not wrong, "findings": members})
    else:
        for each in sorted(found, key=lambda finding: finding.level == "note"):
            colour = typer.colors.RED if each.level == "wrong" else None
            typer.secho(f"{each.level:<5}  {each.about}: {each.says}", fg=colour)
            if each.mend:
                typer.echo(f"       mend it: {each.mend}")
        typer.echo(f"{wrong} wrong" if wrong else "nothing is wrong", err=True)
    if wrong:
        raise typer.Exit(5)


def show_config(context: typer.Context) -> None:
    """Read the policy file whole and print what holds, defaults included, as TOML. Secrets are URIs only."""
    from sealwire.config import load  # noqa: PLC0415  # a caller's machine carries no server

    settings = load(context.obj.config)
    for line in _toml(settings.model_dump(mode="json", exclude={"path"}, exclude_none=True, by_alias=True)):
        typer.echo(line)
    typer.echo(f"{settings.path}: {len(settings.rules)} rules, {settings.environment}", err=True)


def serve(
    context: typer.Context,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help='Processes; more than 1 need store.fast = "sqlite:".')
    ] = 1,
) -> None:
    """Run the app of the policy file behind its guard, until Ctrl-C or SIGTERM. Logs are JSON lines on stderr."""
    from sealwire.config import load  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.fronts.serve import serve_forever  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.fronts.workers import run_workers  # noqa: PLC0415  # a caller's machine carries no server

    if workers > 1:
        run_workers(load(context.obj.config), workers)
    else:
        serve_forever(context.obj.config)


def _toml(members: dict[str, Any], within: str = "") -> list[str]:
    """A document of plain values, then tables, then arrays of tables; a table of a table stands behind its own."""
    lines = _plain(members)
    for name, value in members.items():
        for table in value if _tables(value) else [value]:
            if isinstance(table, dict) and table:
                heading = f"[[{within}{name}]]" if _tables(value) else f"[{within}{name}]"
                lines += ["", heading, *_toml(table, f"{within}{name}.")]
    return lines


def _plain(members: dict[str, Any]) -> list[str]:
    # A JSON string, number or list of them is the same in TOML, but for DEL.
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for name, value in members.items()
        if not isinstance(value, dict) and not _tables(value)
    ]


def _tables(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)
