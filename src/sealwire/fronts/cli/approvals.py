"""`sealwire approval …`: list, show, approve by the person's own code, deny."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sealwire.client.problems import plain
from sealwire.fronts.cli.options import Ended, JsonOption, wrong_usage
from sealwire.fronts.cli.records import approval_members, print_json

if TYPE_CHECKING:
    from sealwire.admin import Admin
    from sealwire.call import Approval
    from sealwire.protocol.approval import Shown

app = typer.Typer(no_args_is_help=True)

ApprovalArgument = Annotated[str, typer.Argument(help="Its id (apr_…).")]
_SHOWN = 100
# What is approved here is shown whole, since nobody says yes to what they did not see.
_READ = 500


@app.command("list")
def list_approvals(
    context: typer.Context,
    user: Annotated[str | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, the newest first.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """One line an approval, with tabs between: id, state, user, client, when it was asked, the sentence."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        every = admin.approvals(user, limit)
    if as_json:
        print_json([approval_members(approval, shown) for approval, shown in every])
        return
    for approval, shown in every:
        asked, sentence = _moment(approval.asked_at), plain(shown.sentence, _SHOWN)
        fields = (approval.id, approval.state, plain(approval.user), plain(approval.client_name), asked, sentence)
        typer.echo("\t".join(fields))


@app.command()
def show(context: typer.Context, approval: ApprovalArgument, as_json: JsonOption = False) -> None:
    """Everything that is known of one approval."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        found, shown = _found(admin, approval)
    if as_json:
        print_json(approval_members(found, shown))
        return
    typer.echo(f"approval   {found.id}, {found.state}\nuser       {plain(found.user)}")
    typer.echo(f"client     {plain(found.client_name)} ({found.client})\nkey        {found.key}")
    typer.echo(f"asked      {_moment(found.asked_at)} from {found.address}, until {_moment(found.expires_at)}")
    if found.decided_at:
        how = f" with {found.how}" if found.how else ""
        typer.echo(f"decided    {_moment(found.decided_at)}{how}")
    typer.echo(f"sentence   {plain(shown.sentence, 2000)}")


@app.command()
def approve(context: typer.Context, approval: ApprovalArgument) -> None:
    """Say yes as its person: asks for a code from that person's phone or token. Nobody else's will do."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    if context.obj.no_input:
        wrong_usage("approval approve asks for the person's code; it is for people, and --no-input forbids to ask")
    with Admin(context.obj.config) as admin:
        found, shown = _found(admin, approval)
        if len(shown.sentence) > _READ:
            length = len(shown.sentence)
            raise Ended(f"{length} characters are more than anybody reads at a terminal: approve it on the page", 4)
        for line in (_seen(shown.sentence), *(f"{name}: {_seen(value)}" for name, value in shown.values)):
            typer.echo(line, err=True)
        code = typer.prompt(f"A code of {plain(found.user)}", hide_input=True, err=True)
        said = admin.approve(found, code)
    if said.result != "right":
        raise Ended(_WORDS[said.result].format(left=said.left), 4)
    typer.echo("approved", err=True)


@app.command()
def deny(context: typer.Context, approval: ApprovalArgument) -> None:
    """Say no, as the operator."""
    from sealwire.admin import Admin  # noqa: PLC0415  # a caller's machine carries no server

    with Admin(context.obj.config) as admin:
        found, _ = _found(admin, approval)
        if not admin.deny(found):
            raise Ended(f"{approval} no longer waits: it is {found.state}", 5)
    typer.echo("denied", err=True)


_WORDS = {
    "wrong": "that is no code of that person; {left} more tries",
    "locked": "too many wrong codes: no more are taken now",
    "late": "it no longer waits; sealwire approval show tells what became of it",
    "cooling": "that person's factors were reset a short while ago: nothing is approved until the cool-down is over",
    "no-factor": "that person has no factor that this approval takes; sealwire factor list shows those there are",
}


def _found(admin: Admin, approval: str) -> tuple[Approval, Shown]:
    found = admin.approval(approval)
    if found is None:
        raise Ended(f"no approval {approval}; sealwire approval list shows those there are", 5)
    return found


def _seen(text: str) -> str:
    """What a person approves, as the page shows it: odd characters by their code points, inert and in their order."""
    from sealwire.pages.text import pieces  # noqa: PLC0415  # a caller's machine carries no server

    codes = {"plain": "{0.text}", "odd": "{0.text}[{0.codes}]", "hidden": "[{0.codes}]"}
    return "".join(codes[piece.kind].format(piece) for piece in pieces(text))


def _moment(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
