"""`sealwire client …`: invite, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from sealwire.errors import Misuse

app = typer.Typer(no_args_is_help=True)


@app.command()
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the client is called.")],
    user: Annotated[str | None, typer.Option(help="Whose account it acts on.")] = None,
    scopes: Annotated[str | None, typer.Option(help="What it may do, with commas between.")] = None,
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the invitation is good.")] = 24,
) -> None:
    """Print one invitation: it enrols one key, once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    wanted = None if scopes is None else frozenset(scope for scope in scopes.split(",") if scope)
    with Admin(context.obj) as admin:
        typer.echo(admin.invite(name, user=user, scopes=wanted, hours=hours))


@app.command("list")
def list_clients(context: typer.Context) -> None:
    """One line a client: id, name, user, scopes, keys that are not revoked."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj) as admin:
        by_client: dict[str, list[str]] = {}
        for key in admin.keys():  # noqa: SIM118  # a method of Admin, not of a mapping
            line = [key.client, key.client_name, key.user or "-", ",".join(sorted(key.scopes)) or "-", "0"]
            entry = by_client.setdefault(key.client, line)
            entry[-1] = str(int(entry[-1]) + (key.state != "revoked"))
        for line in by_client.values():
            typer.echo("\t".join(line))


@app.command()
def revoke(
    context: typer.Context,
    client: Annotated[str, typer.Argument(help="The id of the client.")],
    confirm: Annotated[str, typer.Option(help="The same id again.")] = "",
) -> None:
    """End every key of a client, for ever."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if confirm != client:
        raise Misuse(f"client revoke ends keys for ever; say --confirm={client}")
    with Admin(context.obj) as admin:
        typer.echo(f"{admin.revoke_client(client)} keys ended", err=True)
