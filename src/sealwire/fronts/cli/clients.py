"""`sealwire client …`: invite, invitations, uninvite, list, show, bind, thaw, revoke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sealwire.errors import Misuse
from sealwire.fronts.cli.options import Ended, JsonOption, confirmed, wrong_usage
from sealwire.fronts.cli.records import client_members, invitation_members, minute, print_json
from sealwire.protocol.ratelimit import written

if TYPE_CHECKING:
    from sealwire.admin import Admin, ClientRecord

app = typer.Typer(no_args_is_help=True)

ScopesOption = Annotated[
    str | None, typer.Option(help="What it may do, with commas between. In development: all, unless given.")
]
AddressesOption = Annotated[
    str, typer.Option(help="Networks it calls from, with commas between, as 192.0.2.7 or 2001:db8::/48. None: any.")
]
LimitsOption = Annotated[
    str, typer.Option(help="Limits of its own beside the rules', with commas between, as in 60/min.")
]
ClientArgument = Annotated[str, typer.Argument(help="Its id (cli_…), or its name if no other has it.")]


@app.command()
def invite(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the client is called.")],
    user: Annotated[
        str | None, typer.Option(help="Whose account it acts on. In the demo, without it, a new user NAME.")
    ] = None,
    scopes: ScopesOption = None,
    addresses: AddressesOption = "",
    limits: LimitsOption = "",
    hours: Annotated[int, typer.Option(min=1, max=720, help="How long the invitation is good.")] = 24,
) -> None:
    """
    Print one invitation, and nothing else: it enrols one key, once. It is kept nowhere in clear.

    Hand it to whoever runs `sealwire enroll`. In the demo its user is made with test money, if there is none yet.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    wanted = None if scopes is None else frozenset(words(scopes))
    with Admin(context.obj.config) as admin:
        demo = _demo(admin)
        try:
            invitation = admin.invite(
                name,
                user=name if demo and user is None else user,
                scopes=wanted,
                hours=hours,
                addresses=words(addresses),
                limits=words(limits),
            )
        except Misuse as why:
            wrong_usage(str(why))
        if demo and user is None:
            from sealwire.demo.state import DemoState  # noqa: PLC0415  # only the demo has it

            state = DemoState(admin.settings.path.parent, admin.settings.listen.port)
            state.add_user(name)
            typer.echo(f"user {name}: 10 BTC and 100,000 EUR of test money, password in {state.users}", err=True)
    typer.echo(invitation)


@app.command()
def invitations(context: typer.Context, as_json: JsonOption = False) -> None:
    """One line an invitation that waits, with tabs between: id, name, user, scopes, until."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every = admin.invitations(waiting=True)
    if as_json:
        print_json([invitation_members(each) for each in every])
        return
    for each in every:
        fields = (each.id, each.name, each.user or "-", ",".join(sorted(each.scopes)) or "-")
        typer.echo("\t".join((*fields, minute(each.expires_at))))


# An id may begin with a dash, and is no option then.
@app.command(context_settings={"ignore_unknown_options": True})
def uninvite(
    context: typer.Context, invitation: Annotated[str, typer.Argument(help="Its id: what client invitations shows.")]
) -> None:
    """End an invitation that waits, at once: no key is enrolled with it any more."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        if not admin.end_invitation(invitation):
            # What was typed is not said again: it may be the invitation itself, which is a secret.
            raise Ended("no invitation of this id waits; sealwire client invitations shows those that do", 5)
    typer.echo("ended", err=True)


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
    """Everything that is known of one client, and each of its keys and API keys."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        found, now = _found(admin, client), admin.now()
    if as_json:
        print_json(client_members(found))
        return
    typer.echo(f"client   {found.id}\nname     {found.name}\nuser     {found.user or '-'}")
    typer.echo(f"scopes   {', '.join(sorted(found.scopes)) or '-'}")
    typer.echo(f"from     {', '.join(found.stored.bounds.addresses) or 'anywhere'}")
    typer.echo(f"limits   {', '.join(map(written, found.stored.bounds.limits)) or 'those of the rules'}")
    for apikey in found.apikeys:
        typer.echo(f"apikey   {apikey.id}")
        until = f"since {minute(apikey.made_at)}, until {minute(apikey.expires_at)}"
        typer.echo(f"         {apikey.name}, {apikey.state_at(now)}, {until}")
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
    """End every key and API key of a client, for ever and at once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    confirmed(f"client revoke ends every key of {client}", client, confirm)
    with Admin(context.obj.config) as admin:
        ended = admin.revoke_client(_found(admin, client).id)
    typer.echo("1 key ended" if ended == 1 else f"{ended} keys ended", err=True)


@app.command()
def bind(
    context: typer.Context,
    client: ClientArgument,
    scopes: Annotated[str | None, typer.Option(help="What it may do from now on, with commas between.")] = None,
    addresses: Annotated[str | None, typer.Option(help="Networks it calls from; empty: any.")] = None,
    limits: Annotated[str | None, typer.Option(help="Limits of its own, as in 60/min; empty: none.")] = None,
) -> None:
    """Hold a client closer, or less close, from its next call on. What is not said stays as it is."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if scopes is None and addresses is None and limits is None:
        wrong_usage("client bind: say --scopes, --addresses or --limits")
    with Admin(context.obj.config) as admin:
        found = _found(admin, client)
        try:
            admin.bind_client(
                found,
                scopes=None if scopes is None else frozenset(words(scopes)),
                addresses=None if addresses is None else words(addresses),
                limits=None if limits is None else words(limits),
            )
        except Misuse as why:
            wrong_usage(str(why))
    typer.echo(f"{found.name}: from its next call on", err=True)


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
        raise Ended(f"no client {name} has a key; sealwire client list shows those that have", 5)
    return found


def words(listed: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(word.strip() for word in listed.split(",") if word.strip())


def _demo(admin: Admin) -> bool:
    named = admin.settings.app.partition(":")[0] == "sealwire.demo.exchange"
    return named and admin.settings.environment == "development"
