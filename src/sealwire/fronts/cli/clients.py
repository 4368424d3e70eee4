"""`sealwire client …`: invite, list, show, thaw, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sealwire.errors import Misuse
from sealwire.fronts.cli.options import Ended, JsonOption, confirmed, wrong_usage
from sealwire.fronts.cli.records import client_members, minute, print_json

if TYPE_CHECKING:
    from sealwire.admin import Admin, ClientRecord

app = typer.Typer(no_args_is_help=True)

ClientArgument = Annotated[str, typer.Argument(help="Its id (cli_…), or its name if no other has it.")]


@app.command()
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the client is called.")],
    user: Annotated[
        str | None, typer.Option(help="Whose account it acts on. In the demo, without it, a new user NAME.")
    ] = None,
    scopes: Annotated[
        str | None, typer.Option(help="What it may do, with commas between. In development: all, unless given.")
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the invitation is good.")] = 24,
) -> None:
    """
    Print one invitation, and nothing else: it enrols one key, once. It is kept nowhere in clear.

    Hand it to whoever runs `sealwire enroll`. In the demo its user is made with test money, if there is none yet.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    wanted = None if scopes is None else frozenset(scope.strip() for scope in scopes.split(",") if scope.strip())
    with Admin(context.obj.config) as admin:
        demo = _demo(admin)
        try:
            invitation = admin.invite(name, user=name if demo and user is None else user, scopes=wanted, hours=hours)
        except Misuse as why:
            wrong_usage(str(why))
        if demo and user is None:
            from sealwire.demo.state import DemoState  # noqa: PLC0415  # only the demo has it

            state = DemoState(admin.settings.path.parent, admin.settings.listen.port)
            state.add_user(name)
            typer.echo(f"user {name}: 10 BTC and 100,000 EUR of test money, password in {state.users}", err=True)
    typer.echo(invitation)


@app.command("list")
def list_clients(context: typer.Context, as_json: JsonOption = False) -> None:
    """One line a client, with tabs between: id, name, user, scopes, keys that are not revoked."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every = admin.clients()
    if as_json:
        print_json([client_members(each) for each in every])
        return
    for client in every:
        alive = sum(key.state != "revoked" for key in client.keys)
        fields = (client.id, client.name, client.user or "-", ",".join(sorted(client.scopes)) or "-", str(alive))
        typer.echo("\t".join(fields))


@app.command()
def show(context: typer.Context, client: ClientArgument, as_json: JsonOption = False) -> None:
    """Everything that is known of one client, and each of its keys."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        found = _found(admin, client)
    if as_json:
        print_json(client_members(found))
        return
    typer.echo(f"client   {found.id}\nname     {found.name}\nuser     {found.user or '-'}")
    typer.echo(f"scopes   {', '.join(sorted(found.scopes)) or '-'}")
    for key in found.keys:
        ends = "" if key.expires_at is None else f", until {minute(key.expires_at)}"
        typer.echo(f"key      {key.keyid}")
        typer.echo(f"         {key.name}, {key.verifier.algorithm}, {key.state}, since {minute(key.enrolled_at)}{ends}")


@app.command()
def revoke(
    context: typer.Context,
    client: ClientArgument,
    confirm: Annotated[str, typer.Option(help="The same again.")] = "",
) -> None:
    """End every key of a client, for ever and at once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    confirmed(f"client revoke ends every key of {client}", client, confirm)
    with Admin(context.obj.config) as admin:
        ended = admin.revoke_client(_found(admin, client).id)
    typer.echo("1 key ended" if ended == 1 else f"{ended} keys ended", err=True)


@app.command()
def thaw(context: typer.Context, client: ClientArgument) -> None:
    """Let a client go on whose keys its user froze with "This was not me". Talk to the user first."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        thawed = admin.thaw_client(_found(admin, client).id)
    if not thawed:
        raise Ended(f"{client} has no frozen key", 5)
    typer.echo("1 key signs again" if thawed == 1 else f"{thawed} keys sign again", err=True)


def _found(admin: Admin, name: str) -> ClientRecord:
    try:
        found = admin.client(name)
    except Misuse as why:
        wrong_usage(str(why))
    if found is None:
        raise Ended(f"no client {name} has enrolled a key; sealwire client list shows those that have", 5)
    return found


def _demo(admin: Admin) -> bool:
    named = admin.settings.app.partition(":")[0] == "sealwire.demo.exchange"
    return named and admin.settings.environment == "development"
