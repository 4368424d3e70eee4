"""What a person gets for a mistake: one sentence on stderr, nothing on stdout, and the exit code of its kind."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from sealwire.client.errors import BY_SLUG, OutcomeUnknown, ReplyUnproven
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.main import worded
from tests.fronts.command import SEALWIRE, environment, sealwire

COMMANDS = [
    (), ("demo",), ("serve",), ("status",), ("config",), ("version",), ("enroll",), ("call",), ("sign",), ("client",),
    ("client", "invite"), ("client", "list"), ("client", "show"), ("client", "revoke"), ("key",), ("key", "list"),
    ("key", "rotate"), ("key", "revoke"),
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a demo's state in it that does not run, a file that is no credential, one that is no text."""
    DemoState(tmp_path / ".sealwire", 8443).make()
    (tmp_path / "none.json").touch(mode=0o600)
    (tmp_path / "bad.toml").write_bytes(b"\xff\x00")
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("clent list", 2, "Did you mean 'client'?"),
        ("client lst", 2, "Did you mean 'list'?"),
        ("call GET / --explian", 2, "--explain"),
        ("call", 2, "Missing argument"),
        ("call GET / --credential nofile", 3, "nofile: cannot be read (No such file or directory)"),
        ("call GET / --credential none.json", 3, "none.json: not a credential"),
        ("call GET /", 2, "there is no credential in .sealwire: name one with --credential FILE"),
        ("key rotate", 2, "there is no credential in .sealwire: name one with --credential FILE"),
        ("key rotate --credential nofile", 3, "nofile: cannot be read"),
        ("--config no.toml client list", 3, "no.toml: No such file or directory"),
        ("--config no.toml serve", 3, "no.toml: No such file or directory"),
        ("--config bad.toml config", 3, "bad.toml: "),
        ("--config .sealwire config", 3, ".sealwire: Is a directory"),
        ("--config .sealwire/sealwire.toml client invite my/bot", 2, '"my/bot" is no name'),
        ("--config .sealwire/sealwire.toml client invite b --scopes trad", 2, "no rule names the scope trad"),
        ("--config .sealwire/sealwire.toml client show bot", 5, "no client bot has a key"),
        ("--config .sealwire/sealwire.toml client revoke b --confirm=b", 5, "no client b has a key"),
        ("--config .sealwire/sealwire.toml client revoke b --confirm=c", 2, "--confirm=b"),
        ("--config .sealwire/sealwire.toml key revoke k", 2, "--confirm=k"),
        ("--config .sealwire/sealwire.toml key revoke k --confirm=k", 5, "no key k is enrolled"),
        ("--config .sealwire/sealwire.toml key revoke -k --confirm=-k", 5, "no key -k is enrolled"),
        ("--config .sealwire/sealwire.toml key revoke k --confrm=k", 2, "--confrm=k"),
        ("--config .sealwire/sealwire.toml serve --workers 2", 3, "store.fast"),
        ("enroll https://localhost:1", 2, "this is not an invitation"),
        ("demo --state none.json", 1, "none.json: File exists"),
        ("demo --port 0", 2, "--port"),
    ],
)
def test_a_mistake_is_a_sentence(here: Path, line: str, code: int, said: str) -> None:
    """The sentence names what is wrong; stdout stays empty but for the demo's banner."""
    done = sealwire(here, *line.split())
    assert (done.code, said in done.err) == (code, True), done.err
    assert done.out == "" or line.startswith("demo")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Each command tells what it does in at most 80 columns, without colour where none is wanted."""
    done = sealwire(tmp_path, *command, "--help")
    assert done.code == 0
    assert [line for line in done.out.splitlines() if len(line) > 80] == []
    assert "\x1b" not in done.out
    assert "Usage: sealwire" in done.out
    assert not any(tmp_path.iterdir())


def test_production_wants_scopes(here: Path) -> None:
    """No invitation opens everything by default where it counts, and no user is made up."""
    policy = here / ".sealwire" / "sealwire.toml"
    policy.write_text(policy.read_text().replace('"development"', '"production"'))
    for name in ("keys/signing.pem", "keys/wrapping.key", "tls/key.pem"):
        path = here / ".sealwire" / name
        path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(keepends=True) if line[:1] != b"#"))
    done = sealwire(here, "--config", str(policy), "client", "invite", "bot")
    assert (done.code, done.out, "--scopes is required" in done.err) == (2, "", True)
    done = sealwire(here, "--config", str(policy), "client", "invite", "bot", "--scopes", "trade")
    assert (done.code, done.out.startswith("sw_live_inv_")) == (0, True)
    assert not (here / ".sealwire" / "users.json").exists()


def test_the_policy_file_is_named_by_the_environment(here: Path) -> None:
    """SEALWIRE_CONFIG does what --config does."""
    more = {"SEALWIRE_CONFIG": ".sealwire/sealwire.toml"}
    assert sealwire(here, "client", "list", more=more).code == 0


@pytest.mark.parametrize(("args", "asked"), [((), True), (("--no-input",), False)])
def test_no_input_never_asks(tmp_path: Path, args: tuple[str, ...], asked: bool) -> None:
    """On a terminal the invitation is asked for and not shown; with --no-input it is only read."""
    outer, inner = pty.openpty()
    command = [str(SEALWIRE), *args, "enroll", "https://localhost:1"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdin=inner, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        err = running.stderr.read(len("Invitation: ")) if asked else ""
        os.write(outer, b"hunter2\n")
        err += running.stderr.read()
    os.close(inner)
    os.close(outer)
    assert (running.returncode, "Invitation: " in err) == (2, asked)
    assert "hunter2" not in err


def test_what_nobody_foresaw_is_a_sentence_too(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected error has exit code 1 and says how to see more; what the server said decides the others."""
    said, code = worded(RuntimeError("x"))
    assert (code, "unexpected RuntimeError: x" in said, "SEALWIRE_TRACEBACK=1" in said) == (1, True, True)
    forbidden = BY_SLUG["scope-insufficient"]()
    forbidden.status = 403
    assert [worded(e)[1] for e in (forbidden, OutcomeUnknown("lost"), ReplyUnproven("other"))] == [4, 6, 5]
    assert worded(ModuleNotFoundError(name="pydantic"))[1] == 3
    assert capsys.readouterr().out == ""


def test_a_closed_pipe_is_no_drama(here: Path) -> None:
    """`sealwire config | head -1` ends in silence."""
    script = f"'{SEALWIRE}' --config .sealwire/sealwire.toml config | head -1"
    done = subprocess.run(["sh", "-c", script], cwd=here, env=environment(), check=True, capture_output=True, text=True)
    assert done.stdout == 'environment = "development"\n'
    assert "Error" not in done.stderr
