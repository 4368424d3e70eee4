"""`sealwire enroll`, `call`, `sign`: what the developer of a client holds in their hands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from sealwire.client import Credential, CredentialError, Transport, enroll
from sealwire.client.explain import as_curl, signed_lines

CredentialOption = Annotated[Path | None, typer.Option(help="The credential file. Default: the only one in .sealwire.")]
BodyOption = Annotated[str | None, typer.Option("--json", help="The body, or @file.")]
_FOLDER = Path(".sealwire")


def enroll_key(
    origin: Annotated[str, typer.Argument(help="https://host[:port] of the API.")],
    name: Annotated[str, typer.Option(help="What the key is called.")] = "cli",
    out: Annotated[Path, typer.Option(help="Where the credential goes, mode 0600.")] = Path("credential.json"),
    ca: Annotated[Path | None, typer.Option(help="A CA file to trust instead of the system's.")] = None,
) -> None:
    """Make a key here and enrol it. The invitation is read from standard input, never from the command line."""
    asked = sys.stdin.isatty()
    invitation = typer.prompt("Invitation", hide_input=True, err=True) if asked else sys.stdin.readline()
    credential = enroll(origin, invitation.strip(), name=name, path=out, ca=ca)
    typer.echo(f"enrolled {credential.client}: the key was made here and never left {out}", err=True)


def call(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    path: Annotated[str, typer.Argument(help="Path and query.")],
    body: BodyOption = None,
    credential: CredentialOption = None,
    explain: Annotated[bool, typer.Option(help="Print each line that is signed, and why.")] = False,
) -> None:
    """Send one signed call and print the proven reply. Exit code 5 if the answer is no."""
    known = Credential.load(_found(credential))
    content = _content(body)
    headers = [("content-type", "application/json")] if content else []
    url = known.origin + path
    if explain:
        for line in signed_lines(known, method, url, headers, content):
            typer.echo(f"  {line.component}  {line.value}    {line.why}", err=True)
    with httpx2.Client(transport=Transport(credential=known)) as http:
        reply = http.request(method, url, headers=headers, content=content or None)
    typer.echo(f"{reply.status_code}  receipt verified", err=True)
    typer.echo(for_terminal(reply.text) if sys.stdout.isatty() else reply.text)
    if reply.is_error:
        raise typer.Exit(5)


def sign(
    method: Annotated[str, typer.Argument(help="GET, POST, …")],
    url: Annotated[str, typer.Argument(help="The whole URL.")],
    body: BodyOption = None,
    credential: CredentialOption = None,
) -> None:
    """Print one signed request as a curl command, good once and for 60 s."""
    content = _content(body)
    headers = [("content-type", "application/json")] if content else []
    typer.echo(as_curl(Credential.load(_found(credential)), method, url, headers, content))


def for_terminal(text: str) -> str:
    """The text with every control but line ends and tabs as an escape: others may have written what is in it."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def _found(given: Path | None) -> Path:
    if given is not None:
        return given
    every = sorted(_FOLDER.glob("*.credential.json")) if _FOLDER.is_dir() else []
    if len(every) != 1:
        raise CredentialError(f"{len(every)} credentials in {_FOLDER}: name one with --credential FILE")
    return every[0]


def _content(body: str | None) -> bytes:
    if body is None:
        return b""
    return Path(body[1:]).read_bytes() if body.startswith("@") else body.encode("utf-8")
