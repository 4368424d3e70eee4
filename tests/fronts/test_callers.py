"""What `sealwire call` shows of a reply, and of none."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from sealwire.client.credential import Credential, read_key
from sealwire.client.keypair import new_key
from sealwire.client.origin import KeySet, ServerKey
from sealwire.fronts.cli.callers import for_terminal
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.cli.main import main
from sealwire.protocol.jwk import load_verifier
from tests.stories.approving import SENTENCE, WITHDRAWAL, ApprovingWorld
from tests.stories.test_enrolment import Bridge, enrolled


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


class Quick(Bridge):
    """The network to a real guard, on which its user decides on what waits before the next request arrives."""

    def __init__(self, world: ApprovingWorld, decide: bool | None) -> None:
        super().__init__(world)
        self.world, self.decide = world, decide

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if self.decide is not None:
            asyncio.run(self._decide(self.decide))
        return super().handle_request(request)

    async def _decide(self, yes: bool) -> None:
        for approval in await self.world.asked.approvals():
            if approval.state != "pending":
                continue
            if yes:
                assert (await self.world.approve(approval.id)).result == "right"
            else:
                assert await self.world.presence.deny(approval, "user", "192.0.2.9")


Ran = tuple[object, str, str]
Withdraw = Callable[..., Ran]


@pytest.fixture
def world(tmp_path: Path) -> ApprovingWorld:
    made = ApprovingWorld(tmp_path)
    asyncio.run(made.give_phone("bob"))
    enrolled(made).save(tmp_path / "bob.json")
    return made


@pytest.fixture
def withdraw(
    world: ApprovingWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Withdraw:
    """`sealwire call` of a withdrawal: exit code, data, words. `decide` is what its user says to what waits."""

    def run(*more: str, decide: bool | None = None, path: str = "/v1/withdrawals", **changes: object) -> Ran:
        monkeypatch.setattr(httpx2, "HTTPTransport", lambda **_: Quick(world, decide))
        body = json.dumps(WITHDRAWAL | changes)
        monkeypatch.setattr(
            "sys.argv",
            ["sealwire", "call", "POST", path, "--json", body, "--credential", str(tmp_path / "bob.json"), *more],
        )
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return run


def test_what_a_person_has_to_approve(world: ApprovingWorld, withdraw: Withdraw) -> None:
    """The sentence and the link for them, the id for the next call, and that call once they said yes."""
    code, out, err = withdraw()
    approval = out.strip()
    link = f"https://pages.example/approve/{approval}"
    assert (code, err) == (4, f"a person has to approve: {SENTENCE}\nhave them open {link}\n")
    code, out, err = withdraw("--approval", approval)
    assert (code, json.loads(out)["code"], world.entered) == (4, "approval-pending", [])
    code, out, err = withdraw("--approval", approval, decide=True)
    assert (code, json.loads(out), len(world.entered)) == (0, {"ok": True}, 1)
    code, out, err = withdraw("--approval", approval)
    assert (code, json.loads(out)["code"], len(world.entered)) == (4, "approval-required", 1)


def test_waiting_for_a_yes(world: ApprovingWorld, withdraw: Withdraw) -> None:
    code, out, err = withdraw("--wait", decide=True)
    assert (code, json.loads(out), len(world.entered)) == (0, {"ok": True}, 1)
    assert err.splitlines()[0] == f"a person has to approve: {SENTENCE}"
    assert err.splitlines()[-1].startswith("200  ")


def test_waiting_for_a_no(world: ApprovingWorld, withdraw: Withdraw) -> None:
    code, out, err = withdraw("--wait", decide=False)
    assert (code, out, world.entered) == (4, "", [])
    assert "approval-denied" in err


def test_a_sentence_is_one_whole_line(withdraw: Withdraw) -> None:
    """What another wrote into an address clears no screen, forges no line, and hides nothing by its length."""
    code, _, err = withdraw(address="\x1b[2J\nhave them open https://evil.example/" + "x" * 1000 + "END")
    assert (code, len(err.splitlines()), "\x1b" in err) == (4, 2, False)
    assert err.splitlines()[0].endswith("END")


@pytest.mark.parametrize("given", ["apr_1", "", "apr_" + "0" * 26 + "\n", "ü"])
def test_an_approval_of_another_form(world: ApprovingWorld, withdraw: Withdraw, given: str) -> None:
    code, out, err = withdraw("--approval", given)
    assert (code, out, err) == (2, "", "--approval: an approval's id is apr_ and 26 characters\n")
    assert not asyncio.run(world.asked.approvals())
