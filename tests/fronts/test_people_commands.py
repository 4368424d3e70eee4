"""`sealwire approval`, `sealwire factor`, `sealwire client thaw`, as an operator runs them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.admin import Admin
from sealwire.call import Approval
from sealwire.demo.state import DemoState
from sealwire.ports import Decision
from sealwire.presence import NewSeed
from sealwire.protocol.approval import Shown
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.otp import STEP_SECONDS, Seed
from tests.fronts.command import SEALWIRE, environment, sealwire

SECRET = b"12345678901234567890"
TOO_LONG = "characters are more than anybody reads at a terminal: approve it on the page"
SHOWN = Shown("Send 1 BTC to bc1q\u202eabc", (("amount", "1"), ("address", "bc1q\u202eabc")))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the demo's deployment in it."""
    DemoState(tmp_path / ".sealwire", 8443).make()
    return tmp_path


def admin_of(here: Path) -> Admin:
    return Admin(here / ".sealwire" / "sealwire.toml")


def asked(here: Path, number: int = 1, shown: Shown = SHOWN) -> str:
    """A question for alice, as a call leaves it."""
    approval_id, now = f"apr_{number:026}", time.time()
    with admin_of(here) as admin:
        wrapped = admin._ports.keyring.wrap(shown.pack(), approval_id.encode())
        binding = tuple(bytes((number,)) * 32 for _ in range(7))
        question = Approval(
            approval_id, "cli_1", "TradeBot", "alice", "key", binding, wrapped, "/v1/withdrawals", ("totp", "hotp"),
            "192.0.2.1", now, now + 600,
        )  # fmt: skip
        asyncio.run(admin._ports.approvals.ask(question))
    return approval_id


def typed(here: Path, text: str, *args: str) -> tuple[int, str]:
    """Runs a command at a terminal, and types: exit code, and all that the terminal showed."""
    mine, theirs = pty.openpty()
    running = subprocess.Popen(
        [SEALWIRE, *args],
        cwd=here,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,  # so that there is no other terminal to ask
    )
    os.close(theirs)
    shown = b""
    sent = False
    while True:
        try:
            more = os.read(mine, 4096)
        except OSError:  # the other end is closed, which Linux says so
            break
        if not more:
            break
        shown += more
        if not sent and shown.endswith(b": "):  # the blank comes once echo is off and what was typed before is gone
            os.write(mine, text.encode() + b"\n")
            sent = True
    os.close(mine)
    return running.wait(20), shown.decode()


def test_a_token_is_given_and_its_codes_approve(here: Path) -> None:
    """The seed comes by a pipe, and is never shown again; the cool-down of the policy is said."""
    added = sealwire(here, "factor", "add", "alice", "--kind", "hotp", "--name", "Token", stdin=SECRET.hex() + "\n")
    assert (added.code, added.out) == (0, "")
    told, said = added.err.splitlines()
    assert told == "notice to alice: How your approvals are given"
    assert (said[:4], said[-43:]) == ("fac_", "; nothing is approved for alice for 0 hours")
    listed = sealwire(here, "factor", "list", "alice")
    assert listed.out.split("\t")[1:3] == ["hotp", "Token"]
    (factor,) = json.loads(sealwire(here, "factor", "list", "alice", "--json").out)
    assert (factor["kind"], factor["used_at"], set(factor)) == (
        "hotp", None, {"factor", "user", "kind", "name", "added_at", "used_at"},
    )  # fmt: skip
    question = asked(here)
    code, shown = typed(here, Seed(SECRET).code(3), "approval", "approve", question)
    assert (code, "Send 1 BTC" in shown, "\u202e" in shown, Seed(SECRET).code(3) in shown) == (0, True, False, False)
    assert shown.rstrip().endswith("approved")
    assert json.loads(sealwire(here, "approval", "show", question, "--json").out)["how"] == "hotp"
    used = asked(here, 2)
    code, shown = typed(here, Seed(SECRET).code(3), "approval", "approve", used)
    assert (code, "that is no code of that person; 4 more tries" in shown) == (4, True)


def test_who_approves_at_a_terminal_sees_what_the_page_shows(here: Path) -> None:
    """Each value by its name, odd characters by their code points; a sentence too long for it is not approved there."""
    sealwire(here, "factor", "add", "alice", "--kind", "hotp", "--name", "Token", stdin=SECRET.hex() + "\n")
    values = (("asset", "BTC to bc1qfriend"), ("address", "bc1q\u0430\u202eb"))
    question = asked(here, shown=Shown(f"Send {values[0][1]} to {values[1][1]}", values))
    code, shown = typed(here, Seed(SECRET).code(0), "approval", "approve", question)
    lines = [line.strip() for line in shown.splitlines()]
    odd = "bc1q\u0430[U+0430][U+202E]b"
    assert (code, lines[:3]) == (0, [f"Send BTC to bc1qfriend to {odd}", "asset: BTC to bc1qfriend", f"address: {odd}"])
    padded = (("asset", "BTC" + " " * 2000), ("address", "bc1qthief"))
    question = asked(here, 2, Shown(f"Send {padded[0][1]} to {padded[1][1]}", padded))
    code, shown = typed(here, Seed(SECRET).code(1), "approval", "approve", question)
    assert (code, shown.strip()) == (4, f"2021 {TOO_LONG}")
    assert json.loads(sealwire(here, "approval", "show", question, "--json").out)["state"] == "pending"


def test_an_app_is_given_a_line_for_its_user(here: Path) -> None:
    """otpauth: on stdout and nothing else there; its codes approve."""
    added = sealwire(here, "factor", "add", "alice", "--digits", "8", "--algorithm", "SHA256")
    uri = urlsplit(added.out.strip())
    asks = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", "/localhost%3A8444:alice")
    assert (asks["digits"], asks["algorithm"], asks["issuer"]) == (["8"], ["SHA256"], ["localhost:8444"])
    assert asks["secret"][0] not in added.err
    seed = Seed(base64.b32decode(asks["secret"][0]), "SHA256", 8)
    code, shown = typed(
        here, seed.code(int(time.time() // STEP_SECONDS)), "approval", "approve", asked(here)
    )  # fmt: skip
    assert (code, shown.rstrip().endswith("approved")) == (0, True)


@pytest.mark.parametrize("seed", ["", "no seed", "12345678", SECRET.hex()[:20], "MFRGG==="])
def test_what_is_no_seed(here: Path, seed: str) -> None:
    """Neither hex nor base32, or shorter than 128 bits: nothing is added, and it is not shown."""
    refused = sealwire(here, "factor", "add", "alice", "--kind", "hotp", stdin=f"{seed}\n")
    assert refused.code in (2, 3)
    assert not seed or seed not in refused.err
    assert sealwire(here, "factor", "list", "alice").out == ""


def test_a_factor_is_taken(here: Path) -> None:
    """Only by its id said twice, and of that user."""
    with admin_of(here) as admin:
        factor = admin.add_factor("alice", NewSeed("totp", "Phone", SECRET)).id
    assert sealwire(here, "factor", "remove", "alice", factor).code == 2
    assert sealwire(here, "factor", "remove", "bob", factor, f"--confirm={factor}").code == 5
    assert sealwire(here, "factor", "remove", "alice", factor, f"--confirm={factor}").err.endswith("ended\n")
    assert sealwire(here, "factor", "list", "alice").out == ""


def test_questions_are_listed_shown_and_denied(here: Path) -> None:
    """What somebody else chose is one plain line at a terminal; a second no is told."""
    question = asked(here)
    (line,) = sealwire(here, "approval", "list").out.splitlines()
    assert line.split("\t")[:4] == [question, "pending", "alice", "TradeBot"]
    assert line.endswith("\tSend 1 BTC to bc1q�abc")
    assert sealwire(here, "approval", "list", "--user", "bob").out == ""
    told = json.loads(sealwire(here, "approval", "list", "--json").out)[0]
    assert (told["sentence"], told["values"], told["decided_at"]) == (SHOWN.sentence, dict(SHOWN.values), None)
    shown = sealwire(here, "approval", "show", question)
    assert f"approval   {question}, pending" in shown.out
    assert "\u202e" not in shown.out
    assert sealwire(here, "approval", "deny", question).err == "denied\n"
    again = sealwire(here, "approval", "deny", question)
    assert (again.code, again.err) == (5, f"{question} no longer waits: it is denied\n")
    assert "decided" in sealwire(here, "approval", "show", question).out
    late = typed(here, "000000", "approval", "approve", question)
    assert (late[0], "it no longer waits" in late[1]) == (4, True)


def test_nobody_approves_for_somebody(here: Path) -> None:
    """Without a person there is no code: never by a flag, nor where nothing may be asked; an unknown one is said."""
    question = asked(here)
    assert sealwire(here, "--no-input", "approval", "approve", question).code == 2
    assert sealwire(here, "approval", "approve", question, stdin="").code == 1
    code, shown = typed(here, "000000", "approval", "approve", question)
    assert (code, "has no factor that this approval takes" in shown) == (4, True)
    for verb in ("show", "approve", "deny"):
        assert sealwire(here, "approval", verb, "apr_none").code == 5
    assert sealwire(here, "approval", "show", question).out.startswith(f"approval   {question}, pending\n")


def test_a_client_is_thawed(here: Path) -> None:
    """What its user froze: once, and said so."""
    with admin_of(here) as admin:
        invitation = admin.invite("bot", user="alice").partition("_inv_")[2].partition(".")[0]
        verifier = verifier_of(Ed25519PrivateKey.generate().public_key())
        asyncio.run(admin._ports.directory.enrol(invitation, verifier, "cli_1", "k", time.time()))
        frozen = Decision("apr_1", time.time(), "frozen", "user", "cli_1", "alice", "", "192.0.2.9", "", "", "p")
        asyncio.run(admin._ports.approvals.freeze("cli_1", "alice", frozen))
    assert "frozen" in sealwire(here, "client", "show", "bot").out
    assert sealwire(here, "client", "thaw", "bot").err == "1 key signs again\n"
    again = sealwire(here, "client", "thaw", "bot")
    assert (again.code, again.err) == (5, "bot has no frozen key\n")
    assert "active" in sealwire(here, "client", "show", "bot").out
