"""`sealwire key …`: list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from sealwire.errors import Misuse

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_keys(
    context: typer.Context, client: Annotated[str | None, typer.Option(help="Only this client's.")] = None
) -> None:
    """One line a key: thumbprint, client, name, algorithm, state."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj) as admin:
        for key in admin.keys(client):
            typer.echo(f"{key.keyid}\t{key.client}\t{key.name}\t{key.verifier.algorithm}\t{key.state}")


@app.command()
def revoke(
    context: typer.Context,
    keyid: Annotated[str, typer.Argument(help="The thumbprint of the key.")],
    confirm: Annotated[str, typer.Option(help="The same thumbprint again.")] = "",
) -> None:
    """End a key, for ever and at once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if confirm != keyid:
        raise Misuse(f"key revoke ends the key for ever; say --confirm={keyid}")
    with Admin(context.obj) as admin:
        if not admin.revoke_key(keyid):
            raise Misuse(f"no key {keyid} is enrolled")
    typer.echo("ended", err=True)
