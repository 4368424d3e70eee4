"""`sealwire enroll`, `call`, `sign`: what the developer of a client holds in their hands."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from sealwire.client import ApprovalRequired, Credential, Transport, enroll
from sealwire.client.enrolment import Invitation
from sealwire.client.explain import Watched, as_curl, envelope_of, signed_headers, signed_lines
from sealwire.client.problems import plain
from sealwire.client.session import is_session
from sealwire.client.shared import tls_context
from sealwire.fronts.cli.options import Ended, wrong_usage
from sealwire.protocol.approval import ID

CredentialOption = Annotated[Path | None, typer.Option(help="The credential file. Default: the only one in .sealwire.")]
BodyOption = Annotated[str | None, typer.Option("--json", help="The body, or @FILE that holds it.")]
MethodArgument = Annotated[str, typer.Argument(help="GET, POST, …")]
_FOLDER = Path(".sealwire")
_METHOD = re.compile(r"[A-Za-z]+")
NOT_ALLOWED, _NOT_THERE = 403, (502, 503, 504)
NOT_ALLOWED_CODE = 4


def enroll_key(
    context: typer.Context,
    origin: Annotated[str, typer.Argument(help="https://host[:port] of the API.")],
    name: Annotated[str, typer.Option(help="What the operator sees as this key's name.")] = "cli",
    out: Annotated[Path, typer.Option(help="Where the credential goes, mode 0600.")] = Path("credential.json"),
    ca: Annotated[Path | None, typer.Option(help="A file of CA certificates to trust, not the system's.")] = None,
) -> None:
    """
    Make a key here and enrol it at the API. The private key never leaves this machine.

    The invitation is asked for, or read from standard input; it never stands on the command line, and pins the
    server's key. If no answer came, run the same again: it finishes with the same key.
    """
    asks = sys.stdin.isatty() and not context.obj.no_input
    invitation = typer.prompt("Invitation", hide_input=True, err=True) if asks else _line_of_stdin()
    if Invitation.read(invitation) is None:
        wrong_usage("this is not an invitation: one looks like sw_live_inv_<id>.<secret>.<server key>")
    credential = enroll(origin, invitation.strip(), name=name, path=out, ca=ca)
    typer.echo(f"enrolled {credential.client}: the key was made here and never left {out}", err=True)


def call(
    method: MethodArgument,
    path: Annotated[str, typer.Argument(help="Path and query, as in /v1/balances.")],
    body: BodyOption = None,
    credential: CredentialOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print what is signed and sealed, and why.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Where a person has to approve it, wait for them.")] = False,
    approval: Annotated[str | None, typer.Option(help="The id of an approval of this very call.")] = None,
) -> None:
    """
    Send one call, signed and where its rule says so sealed, and print the proven reply.

    Where a person has to approve it, what they are asked and their link are printed, and then the approval's id; once
    they said yes, send the same call with --approval ID, or have it wait for them with --wait.

    Exit code 0 if it was done, 4 if it is not allowed or not approved, 5 if the answer is no, 6 if nothing answers.
    """
    known = Credential.load(found_credential(credential))
    if not path.startswith("/"):
        wrong_usage(f"{path}: a path begins with /, and the credential says at which origin: {known.origin}")
    content, headers = _content(method, body)
    if approval is not None:
        if not ID.fullmatch(approval.encode("utf-8", "surrogateescape")):
            wrong_usage("--approval: an approval's id is apr_ and 26 characters")
        headers.append(("sealwire-approval", approval))
    url = httpx2.URL(known.origin + path)
    inner = httpx2.HTTPTransport(verify=tls_context(None, known.ca))
    way = Watched(inner, _explain) if explain else inner
    with httpx2.Client(transport=Transport(credential=known, inner=way)) as http:
        try:
            reply = http.request(method.upper(), url, headers=headers, content=content or None)
        except ApprovalRequired as asked:
            reply = _approved(asked, wait=wait)
        receipt = reply.extensions["sealwire"]
    by_session = is_session(receipt.keyid)
    typer.echo(f"{reply.status_code}  {'proven by the session' if by_session else 'receipt verified'}", err=True)
    typer.echo(for_terminal(reply.text) if sys.stdout.isatty() else reply.text)
    if reply.is_error:
        code = NOT_ALLOWED_CODE if reply.status_code == NOT_ALLOWED else 6 if reply.status_code in _NOT_THERE else 5
        raise typer.Exit(code)


def sign(
    method: MethodArgument,
    url: Annotated[str, typer.Argument(help="The whole URL, as in https://api.example.com/v1/balances.")],
    body: BodyOption = None,
    credential: CredentialOption = None,
    curl: Annotated[bool, typer.Option("--as-curl", help="A curl command that sends it.")] = False,
) -> None:
    """Print the fields of one signed request, good once and for 60 s. Nothing is sent."""
    known = Credential.load(found_credential(credential))
    content, headers = _content(method, body)
    whole = str(httpx2.URL(url))
    if not curl:
        for name, value in signed_headers(known, method, whole, headers, content):
            typer.echo(f"{name}: {value}")
        return
    data = ("--data-binary", body) if body and body.startswith("@") else ("--data-raw", body or "")
    typer.echo(as_curl(known, method, whole, headers, content, data=data))


def _approved(asked: ApprovalRequired, *, wait: bool) -> httpx2.Response:
    """The reply once a person said yes, if it is waited for; else the command ends here, with 4."""
    if not asked.approval:
        raise asked  # unproven, or nobody can be asked: no link that anybody should open
    typer.echo(f"a person has to approve: {plain(asked.sentence, len(asked.sentence))}", err=True)
    typer.echo(f"have them open {asked.link}", err=True)
    if not wait:
        typer.echo(asked.approval)
        raise typer.Exit(NOT_ALLOWED_CODE)
    response: httpx2.Response = asked.wait_for_approval()
    return response


def for_terminal(text: str) -> str:
    """The text with every control but line ends and tabs as an escape: others may have written what is in it."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode("ascii") for c in text)


def found_credential(given: Path | None) -> Path:
    """The file that was named, or the only credential of the demo's folder."""
    if given is not None:
        return given
    every = sorted(_FOLDER.glob("*.credential.json")) if _FOLDER.is_dir() else []
    if len(every) != 1:
        which = "several credentials" if every else "no credential"
        wrong_usage(f"there is {which} in {_FOLDER}: name one with --credential FILE")
    return every[0]


def _explain(request: httpx2.Request) -> None:
    """What a person is told of one request as it goes out; of what the client asks for itself, a line."""
    path = request.url.path
    typer.echo(f"{request.method} {for_terminal(path)}", err=True)
    if path.startswith("/.well-known/sealwire/"):
        return
    for line in signed_lines(request):
        parts = line.value.replace(";", ";\n") if line.component == '"@signature-params"' else line.value
        _row(line.component, [piece for part in parts.split("\n") for piece in _wrapped(part)] or [""], line.why)
    sealed = envelope_of(request)
    if sealed is not None:
        what = f"{sealed.content_bytes} bytes of {sealed.content_type}, as a JWE of {sealed.sealed_bytes}"
        _row("sealed", _wrapped(what), "so that whoever terminates TLS sees its type and length, and nothing of it")
        _row("by", [sealed.session], "a key of this session, which its two ends alone have")


def _row(left: str, values: list[str], why: str) -> None:
    first, *rest = [*(for_terminal(value) for value in values), *_wrapped(why)]
    typer.echo(f"  {left:<20}{first}", err=True)
    for more in rest:
        typer.echo(f"{' ' * 22}{more}", err=True)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 58, break_long_words=False, break_on_hyphens=False)


def _content(method: str, body: str | None) -> tuple[bytes, list[tuple[str, str]]]:
    """The bytes of the body, and the fields that go with it."""
    if not _METHOD.fullmatch(method):
        wrong_usage(f"{method}: this is no method; it is GET, POST, …")
    if body is None:
        return b"", []
    if body.startswith("@"):
        try:
            content = Path(body[1:]).read_bytes()
        except OSError as why:
            wrong_usage(f"--json {body}: cannot be read ({why.strerror})")
    else:
        content = body.encode("utf-8", "surrogateescape")
    try:
        json.loads(content)
    except (ValueError, RecursionError) as why:
        wrong_usage(f"--json: this is not JSON ({why})")
    return content, [("content-type", "application/json")]


def _line_of_stdin() -> str:
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError:
        raise Ended("standard input is no text, and an invitation was read from it", 2) from None
