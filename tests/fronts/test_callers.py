"""What `sealwire call` shows of a reply, and of none."""

from pathlib import Path

import pytest

from sealwire.client.credential import Credential, read_key
from sealwire.client.keypair import new_key
from sealwire.client.origin import KeySet, ServerKey
from sealwire.fronts.cli.callers import for_terminal
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.cli.main import main
from sealwire.protocol.jwk import load_verifier


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{\n\t"market": "BTC/EUR", "née": "名前"}\n', '{\n\t"market": "BTC/EUR", "née": "名前"}\n'),
        ("\x1b[2J\x1b]0;x\x07", "\\x1b[2J\\x1b]0;x\\x07"),
        ("paid\rdue", "paid\\rdue"),
        ("\x9b31m \u202egnp", "\\x9b31m \\u202egnp"),
    ],
)
def test_a_reply_does_not_control_the_terminal(text: str, shown: str) -> None:
    """What another client wrote into an order's note is data: it clears no screen and turns no text around."""
    assert for_terminal(text) == shown


@pytest.mark.parametrize(("path", "code", "line"), [("/v1/time", 6, "ConnectError: "), ("/\x1b", 2, "no URL: ")])
def test_what_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: str, code: int, line: str
) -> None:
    """Nobody gets a stack trace for a server that is down or a path that is none."""
    key, file = new_key("ed25519"), tmp_path / "alice.json"
    origin = f"https://localhost:{free_port()}"
    trusted = KeySet(1, (ServerKey(load_verifier(read_key(key).jwk)),))
    Credential(origin, "cli_A", "alice", key, read_key(key), trusted).save(file)
    monkeypatch.setattr("sys.argv", ["sealwire", "call", "GET", path, "--credential", str(file)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert (ended.value.code, said.startswith(line), said.count("\n")) == (code, True, 1)
