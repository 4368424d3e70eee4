"""`sealwire key …`: list and revoke for the operator, rotate for the client."""

from __future__ import annotations

from typing import Annotated

import typer

from sealwire.client import Credential, rotate
from sealwire.fronts.cli.callers import CredentialOption, found_credential
from sealwire.fronts.cli.options import Ended, JsonOption, confirmed
from sealwire.fronts.cli.records import key_members, print_json

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_keys(
    context: typer.Context,
    client: Annotated[str | None, typer.Option(help="Only this client's, by its id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One line a key, with tabs between: thumbprint, client, name, algorithm, state."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every = admin.keys(client)
    if as_json:
        print_json([key_members(key) for key in every])
        return
    for key in every:
        typer.echo(f"{key.keyid}\t{key.client}\t{key.name}\t{key.verifier.algorithm}\t{key.state}")


@app.command("rotate")
def rotate_key(credential: CredentialOption = None) -> None:
    """
    Make a new key for this client here, and have its present one vouch for it. Prints the new key's thumbprint.

    The credential file holds the new key afterwards. The old key stays good for as long as the server's policy says,
    so that calls on their way are not lost. If no answer came, run it again: it finishes with the same key.
    """
    path = found_credential(credential)
    old = Credential.load(path)
    new = rotate(old, path=path)
    typer.echo(f"{path} holds the new key; the old one, {old.signer.keyid}, is retiring", err=True)
    typer.echo(new.signer.keyid)


# A thumbprint may begin with a dash, and is no option then.
@app.command(context_settings={"ignore_unknown_options": True})
def revoke(
    context: typer.Context,
    keyid: Annotated[str, typer.Argument(help="The thumbprint of the key.")],
    confirm: Annotated[str, typer.Option(help="The same thumbprint again.")] = "",
) -> None:
    """End a key, for ever and at once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    confirmed("key revoke ends this key", keyid, confirm)
    with Admin(context.obj.config) as admin:
        if not admin.revoke_key(keyid):
            raise Ended(f"no key {keyid} is enrolled; sealwire key list shows those that are", 5)
    typer.echo("ended", err=True)
