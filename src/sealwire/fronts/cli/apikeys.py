"""`sealwire apikey …`: create, list, find, rotate, revoke."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sealwire.errors import Misuse
from sealwire.fronts.cli.clients import AddressesOption, LimitsOption, ScopesOption, words
from sealwire.fronts.cli.options import Ended, JsonOption, confirmed, wrong_usage
from sealwire.fronts.cli.records import apikey_members, minute, print_json
from sealwire.protocol.apikey import is_ours

if TYPE_CHECKING:
    from sealwire.admin import Admin
    from sealwire.records import ApiKeyRecord

app = typer.Typer(no_args_is_help=True)

ApiKeyArgument = Annotated[str, typer.Argument(help="Its id (apk_…), or its name if no other has it.")]
DaysOption = Annotated[int, typer.Option(min=1, max=365, help="How long it lives.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is called, and its client where that is new.")],
    client: Annotated[str | None, typer.Option(help="The client it belongs to; without it, a new one.")] = None,
    user: Annotated[str | None, typer.Option(help="Of a new client: whose account it acts on.")] = None,
    scopes: ScopesOption = None,
    addresses: AddressesOption = "",
    limits: LimitsOption = "",
    days: DaysOption = 90,
) -> None:
    """
    Print one API key, and nothing else: it opens what rules of profile keyed allow. It is kept nowhere in clear.

    Whoever reads it can send it: give it what a dashboard may see, and never what moves money.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if client is not None and user is not None:
        wrong_usage("apikey create: --client says whose it is already; --user is of a new client")
    with Admin(context.obj.config) as admin:
        try:
            owner = None if client is None else admin.client(client)
            if client is not None and owner is None:
                raise Ended(f"there is no client {client}; sealwire client list shows those there are", 5)
            made = admin.make_apikey(
                name,
                client=owner,
                user=user,
                scopes=None if scopes is None else frozenset(words(scopes)),
                days=days,
                addresses=words(addresses),
                limits=words(limits),
            )
        except Misuse as why:
            wrong_usage(str(why))
    typer.echo(made)


@app.command("list")
def list_apikeys(
    context: typer.Context,
    client: Annotated[str | None, typer.Option(help="Only this client's, by its id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """One line an API key, with tabs between: id, client, name, scopes, state, until, used last, from where."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every, uses, now = admin.apikeys(client), admin.last_uses(), admin.now()
    if as_json:
        print_json([apikey_members(each, uses.get(each.id), now) for each in every])
        return
    for each in every:
        last = uses.get(each.id)
        used = (minute(last.at), last.address or "-") if last is not None else ("-", "-")
        fields = (
            each.id,
            each.client,
            each.name,
            ",".join(sorted(each.scopes)) or "-",
            each.state_at(now),
        )
        typer.echo("\t".join((*fields, minute(each.expires_at), *used)))


@app.command()
def find(context: typer.Context, as_json: JsonOption = False) -> None:
    """
    Say which API key a secret is that was found somewhere: it is asked for, or read from a pipe, and never an argument,
    which others would see. Then revoke it by its id, and give its user a new one.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if sys.stdin.isatty():
        if context.obj.no_input:
            wrong_usage("apikey find asks for the secret; give it on stdin, or without --no-input")
        secret = str(typer.prompt("The secret", hide_input=True, err=True))
    else:
        secret = sys.stdin.readline()
    with Admin(context.obj.config) as admin:
        found, uses, now = admin.find_apikey(secret.strip()), admin.last_uses(), admin.now()
    if found is None:
        raise Ended("no API key here has or had this secret", 5)
    if as_json:
        print_json(apikey_members(found, uses.get(found.id), now))
    else:
        typer.echo("\t".join((found.id, found.client, found.name, found.why_not(now) or "active")))


@app.command()
def rotate(
    context: typer.Context,
    apikey: ApiKeyArgument,
    days: DaysOption = 90,
    overlap: Annotated[
        int | None, typer.Option(min=0, max=30 * 24, help="Hours for which the old one goes on; 0 ends it at once.")
    ] = None,
) -> None:
    """
    Print a new secret for an API key, and nothing else. The old one goes on for `rotation_overlap`, so that what runs
    with it can be changed without a failed call.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        found = _found(admin, apikey)
        try:
            made = admin.rotate_apikey(found, days=days, overlap_seconds=None if overlap is None else overlap * 3600)
        except Misuse as why:
            raise Ended(str(why), 5) from None
    typer.echo(made)


@app.command()
def revoke(
    context: typer.Context,
    apikey: ApiKeyArgument,
    confirm: Annotated[str, typer.Option(help="The same again.")] = "",
) -> None:
    """End an API key, for ever and at once."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    _judge_no_secret(apikey)
    confirmed("apikey revoke ends this API key", apikey, confirm)
    with Admin(context.obj.config) as admin:
        admin.revoke_apikey(_found(admin, apikey))
    typer.echo("ended", err=True)


def _found(admin: Admin, name: str) -> ApiKeyRecord:
    _judge_no_secret(name)
    every = admin.apikeys()
    found = [each for each in every if each.id == name] or [each for each in every if each.name == name]
    if len(found) > 1:
        wrong_usage(f"{len(found)} API keys are called {name}: give the id, {' or '.join(each.id for each in found)}")
    if not found:
        raise Ended(f"there is no API key {name}; sealwire apikey list shows those there are", 5)
    return found[0]


def _judge_no_secret(name: str) -> None:
    """A secret on a command line is in the history, and others saw it: it is not said once more."""
    if is_ours(name.encode("utf-8", "replace")):
        wrong_usage(
            "that is a secret, and others can see a command line: say the id (sealwire apikey find), and revoke it"
        )
