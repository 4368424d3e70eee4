"""`sealwire factor …`: what a user approves with, given and taken by the operator."""

from __future__ import annotations

import base64
import binascii
import sys
from enum import StrEnum
from typing import Annotated

import typer

from sealwire.client.problems import plain
from sealwire.fronts.cli.options import Ended, JsonOption, confirmed, wrong_usage
from sealwire.fronts.cli.records import factor_members, minute, print_json

app = typer.Typer(no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(help="The user's id, as the app's sign-in gives it.")]


class Kind(StrEnum):
    """What can be added here; recovery codes are shown to their user alone, on the page."""

    TOTP = "totp"
    HOTP = "hotp"


class Algorithm(StrEnum):
    """The hash of the codes."""

    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA512 = "SHA512"


@app.command()
def add(
    context: typer.Context,
    user: UserArgument,
    kind: Annotated[Kind, typer.Option(help="An app's codes by time, or a token's by count.")] = Kind.TOTP,
    name: Annotated[str, typer.Option(help="What the user calls it.")] = "Phone",
    algorithm: Annotated[Algorithm, typer.Option(help="Most apps know SHA1 alone.")] = Algorithm.SHA1,
    digits: Annotated[int, typer.Option(min=6, max=8, help="How long a code is.")] = 6,
    counter: Annotated[int, typer.Option(min=0, help="Of a token: the next code's number.")] = 0,
) -> None:
    """
    Give a user a factor. For an app it prints an otpauth: line, with a QR code on a terminal; for a token it asks for
    the token's seed. Nothing is approved for this user until the cool-down is over.

    Hand it to the user and to nobody else, never to the program that calls: a seed beside its key is no second factor.
    """
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server
    from sealwire.people import provisioning_uri  # noqa: PLC0415
    from sealwire.presence import NewSeed  # noqa: PLC0415
    from sealwire.protocol.otp import SECRET_BYTES  # noqa: PLC0415

    with Admin(context.obj.config) as admin:
        secret = admin.draw(SECRET_BYTES) if kind is Kind.TOTP else _asked_seed(no_input=context.obj.no_input)
        seed = NewSeed(kind.value, name, secret, algorithm.value, digits, counter)
        factor = admin.add_factor(user, seed)
        uri, cooldown = provisioning_uri(seed, user, admin.issuer), admin.cooldown_seconds
    if kind is Kind.TOTP:
        if sys.stdout.isatty():
            import segno  # noqa: PLC0415  # the server's own

            segno.make(uri, error="m").terminal(compact=True)
        typer.echo(uri)
    typer.echo(f"{factor.id} added; nothing is approved for {plain(user)} for {cooldown / 3600:g} hours", err=True)


@app.command("list")
def list_factors(context: typer.Context, user: UserArgument, as_json: JsonOption = False) -> None:
    """One line a factor, with tabs between: id, kind, name, since when, used last."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every = admin.factors(user)
    if as_json:
        print_json([factor_members(factor) for factor in every])
        return
    for factor in every:
        used = minute(factor.used_at) if factor.used_at else "-"
        typer.echo("\t".join((factor.id, factor.kind, plain(factor.name), minute(factor.added_at), used)))


@app.command()
def remove(
    context: typer.Context,
    user: UserArgument,
    factor: Annotated[str, typer.Argument(help="Its id (fac_…).")],
    confirm: Annotated[str, typer.Option(help="The id again.")] = "",
) -> None:
    """Take a factor from a user. Nothing is approved for this user until the cool-down is over."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    confirmed("factor remove ends this factor", factor, confirm)
    with Admin(context.obj.config) as admin:
        if not admin.remove_factor(user, factor):
            raise Ended(f"{plain(user)} has no factor {factor}; sealwire factor list shows those there are", 5)
    typer.echo("ended", err=True)


def _asked_seed(*, no_input: bool) -> bytes:
    """From a prompt, or the first line of a pipe: never from a flag, which others see in the process list."""
    if sys.stdin.isatty():
        if no_input:
            wrong_usage("factor add --kind hotp asks for the seed; give it on stdin, or without --no-input")
        text = str(typer.prompt("The token's seed (base32 or hex)", hide_input=True, err=True))
    else:
        text = sys.stdin.readline()
    text = "".join(text.split())
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass  # not hex, so it has to be base32
    try:
        return base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except binascii.Error:
        wrong_usage("the seed is neither hex nor base32")
