"""The command line as people hold it: the installed program, the demo's real server, real TLS, real curl."""

import json
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.fronts.cli.demo import free_port
from tests.fronts.command import demo, environment, sealwire
from tests.house.tree import ROOT

pytestmark = pytest.mark.xdist_group("server")

POLICY = ("--config", ".sealwire/sealwire.toml")
INVITATION = r"sw_test_inv_[\w-]{16}\.[\w-]{43}\.[\w-]{43}\n"
ORDER = '{"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}'


@pytest.fixture(scope="module")
def port() -> int:
    """The port of the exchange."""
    return free_port()


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[tuple[Path, list[str]]]:
    """A folder in which the demo runs, and what it printed."""
    folder = tmp_path_factory.mktemp("here")
    with demo(folder, port) as lines:
        yield folder, lines


@pytest.fixture
def here(screen: tuple[Path, list[str]]) -> Path:
    """The folder in which the demo runs."""
    return screen[0]


def enrolled(here: Path, port: int, name: str) -> str:
    """A client of its own, by invitation; the name of its credential file."""
    invitation = sealwire(here, *POLICY, "client", "invite", name).out
    file = f"{name}.json"
    origin = f"https://localhost:{port}"
    done = sealwire(here, "enroll", origin, "--ca", ".sealwire/ca.pem", "--out", file, stdin=invitation)
    assert (done.code, done.out) == (0, "")
    return file


def client_id(here: Path, file: str) -> str:
    """The client that a credential file is of."""
    return str(json.loads((here / file).read_text())["client"])


def test_the_first_screen(screen: tuple[Path, list[str]], port: int) -> None:
    """The demo's transcript: what it is, where, each step of the tour, and the next command, which works as printed."""
    here, lines = screen
    there = "sign in as alice (password in .sealwire/users.json), and add your phone"
    assert lines[:5] == [
        "  DEVELOPMENT: throw-away keys, not for production",
        f"  exchange   https://localhost:{port}     TLS 1.3, local CA in .sealwire/ca.pem",
        f"  approvals  https://localhost:{port + 1}     {there}",
        "  log        .sealwire/calls.jsonl     one JSON line a call",
        "  tour",
    ]
    tour = [re.split(r"  +", line.strip()) for line in lines[5:-1]]
    assert [re.split(":|…", step[-1])[0] for step in tour] == [
        "signature-missing",
        "enrolled alice-bot",
        tour[2][-1],  # how long it took
        "receipt verified",
        "under the session's key",
        "eyJhbGciOiJkaXIiLCJlbmMi",
        "replay-detected",
        "digest-mismatch",
        "clock-skew",
        "signature-mismatch",
        "authority-unknown",
        "it may read, and no more",
        "signature-missing",
        re.split(":|…", tour[13][-1])[0],  # how many calls there were
        "token-invalid",
        re.split(":|…", tour[15][-1])[0],  # how many it took
        "approval-required",
        "approval-required",
        "that amount to that address, once",
        "approval-required",
        "approval-denied",
        "approval-pending",
        "key-unknown",
        "the operator talked to her",
    ]
    assert re.fullmatch(r"\d+ calls, none failed; the old secret goes on for a day", tour[13][-1])
    assert re.fullmatch(r"rate-limited after \d+; 20 of 20 from elsewhere were answered", tour[15][-1])
    assert re.fullmatch(r"session ses_.{4}…: our ephemeral key out, a symmetric key sealed to it back", tour[2][0])
    assert re.fullmatch(r"MLKEM768-X25519 \d+\.\d ms", " ".join(tour[2][1:]))
    says, _, following = lines[-1].partition("Next: ")
    assert says == "  Ctrl-C to stop.  "
    done = subprocess.run(following.split(), cwd=here, env=environment(), check=True, capture_output=True, text=True)
    assert set(json.loads(done.stdout)) == {"BTC", "EUR"}


def test_what_the_readme_says_is_true(here: Path, port: int) -> None:
    """Its commands in their order and its Python, with nothing changed but the port and where the program lies."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("8443", str(port))
    commands = re.findall(r"^\.venv/bin/sealwire (.*)$", text, re.MULTILINE)
    assert [line.split()[0] for line in commands] == ["call", "--config", "enroll", "call"]
    printed = ""
    for line in commands:
        done = sealwire(here, *line.split(), stdin=printed)
        assert done.code == 0, done.err
        printed = done.out
    assert json.loads(printed) == {"BTC": "10", "EUR": "100000"}
    program = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "httpx2" in block)
    ran = subprocess.run([sys.executable, "-c", program], cwd=here, check=True, capture_output=True, text=True)
    assert ran.stderr == ""
    balances = sealwire(here, "call", "GET", "/v1/balances", "--credential", "my-bot.json")
    assert json.loads(balances.out) == {"BTC": "10.01", "EUR": "99999"}


def test_an_invitation_is_all_that_stdout_holds(here: Path, port: int) -> None:
    """In the demo a new client comes with a user of its own, test money, and a password that only the file holds."""
    done = sealwire(here, *POLICY, "client", "invite", "money-bot")
    assert re.fullmatch(INVITATION, done.out)
    assert "money-bot" in done.err
    users = here / ".sealwire" / "users.json"
    assert users.stat().st_mode & 0o777 == 0o600
    password = json.loads(users.read_text())["money-bot"]["password"]
    assert len(password) >= 16
    assert password not in done.out + done.err
    file = enrolled(here, port, "money-bot")
    again = json.loads(users.read_text())["money-bot"]["password"]
    assert again == password
    called = sealwire(here, "call", "GET", "/v1/balances", "--credential", file)
    assert (called.code, json.loads(called.out)) == (0, {"BTC": "10", "EUR": "100000"})
    assert called.err == "200  receipt verified\n"


def test_a_user_that_is_named_is_not_made(here: Path) -> None:
    """With --user the account is someone's already."""
    done = sealwire(here, *POLICY, "client", "invite", "second-bot", "--user", "alice", "--scopes", "trade")
    assert re.fullmatch(INVITATION, done.out)
    assert "second-bot" not in json.loads((here / ".sealwire" / "users.json").read_text())


def test_explained(here: Path) -> None:
    """
    Of the request that went out: each line that is signed with its reason, and what is sealed, no wider than a
    terminal. Of what the client asks for itself, a line. The reply alone on stdout.
    """
    done = sealwire(here, "call", "POST", "/v1/orders", "--json", ORDER, "--explain")
    assert json.loads(done.out)["status"] == "filled"
    assert re.findall(r"^[A-Z]+ .*", done.err, re.MULTILINE) == [
        "GET /.well-known/sealwire/rules",
        "POST /.well-known/sealwire/sessions",
        "POST /v1/orders",
        f"DELETE /.well-known/sealwire/sessions/{re.findall('ses_[0-9A-Za-z]+', done.err)[-1]}",
    ]
    shown = re.findall(r'^  ("[@a-z-]+"|[a-z]+) ', done.err, re.MULTILINE)
    covered = ["@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key"]
    assert shown == [*(f'"{name}"' for name in [*covered, "@signature-params"]), "sealed", "by"]
    assert f"{len(ORDER)} bytes of application/json, as a JWE of " in done.err
    assert [line for line in done.err.splitlines() if len(line) > 80] == []
    assert "so that a read cannot be turned into a write" in done.err
    assert done.err.endswith("201  receipt verified\n")
    assert "100.00" not in done.err, "the content is sealed, and nothing but content says it"


def test_explained_in_clear(here: Path) -> None:
    """A call of a signed route has nothing that is sealed, and opens no session; a fast one shows whose key proves."""
    done = sealwire(here, "call", "GET", "/v1/balances?a=1", "--explain")
    assert re.findall(r"^[A-Z]+ .*", done.err, re.MULTILINE) == ["GET /.well-known/sealwire/rules", "GET /v1/balances"]
    assert '"@query"            ?a=1\n' in done.err
    assert "sealed" not in done.err
    quote = {name: json.loads(ORDER)[name] for name in ("market", "side", "amount")}
    fast = sealwire(here, "call", "POST", "/v1/quotes", "--json", json.dumps(quote), "--explain")
    assert re.search(r'keyid="ses_', fast.err)
    assert fast.err.endswith("200  proven by the session\n")


def test_signed_fields(here: Path, port: int) -> None:
    """Without --as-curl the fields alone, one a line."""
    done = sealwire(here, "sign", "GET", f"https://localhost:{port}/v1/balances")
    assert [line.partition(": ")[0] for line in done.out.splitlines()] == [
        "host",
        "accept-encoding",
        "signature-input",
        "signature",
    ]


def test_the_life_of_a_key(here: Path, port: int) -> None:
    """Rotated by its client, shown and ended by the operator, while the server runs; every act holds at once."""
    file = enrolled(here, port, "life-bot")
    client = client_id(here, file)
    first = json.loads(sealwire(here, *POLICY, "client", "show", "life-bot", "--json").out)
    (old,) = [key["keyid"] for key in first["keys"]]
    rotated = sealwire(here, "key", "rotate", "--credential", file)
    assert rotated.code == 0
    assert old in rotated.err
    new = rotated.out.strip()
    listed = sealwire(here, *POLICY, "key", "list", "--client", client).out.splitlines()
    states = {line.split("\t")[0]: line.split("\t")[-1] for line in listed}
    assert states == {old: "retiring", new: "active"}
    assert f"key      {new}\n" in sealwire(here, *POLICY, "client", "show", client).out
    assert sealwire(here, "call", "GET", "/v1/balances", "--credential", file).code == 0

    unsure = sealwire(here, *POLICY, "key", "revoke", new)
    assert (unsure.code, f"--confirm={new}" in unsure.err) == (2, True)
    assert sealwire(here, *POLICY, "key", "revoke", new, f"--confirm={new}").code == 0
    refused = sealwire(here, "call", "GET", "/v1/balances", "--credential", file)
    assert (refused.code, refused.out, "key-unknown" in refused.err) == (5, "", True)

    unsure = sealwire(here, *POLICY, "client", "revoke", "life-bot")
    assert (unsure.code, "--confirm=life-bot" in unsure.err) == (2, True)
    ended = sealwire(here, *POLICY, "client", "revoke", "life-bot", "--confirm=life-bot")
    assert (ended.code, ended.err) == (0, "1 key ended\n")
    assert sealwire(here, *POLICY, "client", "list").out.count("life-bot\tlife-bot\tread,trade,withdraw\t0\n") == 1


def test_the_shape_of_json(here: Path, port: int) -> None:
    """What programs may rely on: these members, these types."""
    file = enrolled(here, port, "json-bot")
    clients = json.loads(sealwire(here, *POLICY, "client", "list", "--json").out)
    (client,) = [each for each in clients if each["client"] == client_id(here, file)]
    (key,) = client.pop("keys")
    shown = {
        "client": client["client"],
        "name": "json-bot",
        "user": "json-bot",
        "scopes": ["read", "trade", "withdraw"],
        "addresses": [],
        "limits": [],
        "apikeys": [],
    }
    assert client == shown
    assert isinstance(key.pop("enrolled_at"), int)
    assert re.fullmatch(r"[\w-]{43}", key.pop("keyid"))
    same = {"client": client["client"], "name": "cli", "algorithm": "ed25519", "state": "active"}
    assert key == {**same, "expires_at": None, "follows": None}
    alone = json.loads(sealwire(here, *POLICY, "key", "list", "--json", "--client", client["client"]).out)
    assert alone == json.loads(sealwire(here, *POLICY, "client", "show", "json-bot", "--json").out)["keys"]
    status = json.loads(sealwire(here, *POLICY, "status", "--json").out)
    assert json.loads(sealwire(here, "status", "--json").out) == status, "the demo's folder is found without a flag"
    assert set(status) == {"ok", "findings"}
    assert status["ok"] is True
    assert {frozenset(each) for each in status["findings"]} == {frozenset(("level", "about", "says", "mend"))}


def test_the_settings_are_printed_whole(here: Path) -> None:
    """`config` prints TOML that means the same, defaults included, and no secret."""
    done = sealwire(here, *POLICY, "config")
    assert done.code == 0
    again = here / ".sealwire" / "again.toml"
    again.write_text(done.out)
    assert sealwire(here, "--config", str(again), "config").out == done.out
    said = tomllib.loads(done.out)
    assert said["keys"] == {"signing": "file:keys/signing.pem", "wrapping": "file:keys/wrapping.key"}
    assert said["rules"][0]["max_age"] == 60
    (critical,) = (rule for rule in said["rules"] if rule["profile"] == "critical")
    assert critical["approve"] == {
        "show": "Send {amount} {asset} to {address}",
        "with": ["totp", "hotp"],
        "within": 600,
    }


def test_not_allowed_is_four(here: Path, port: int) -> None:
    """A scope that is lacking is another no than a wrong signature."""
    invitation = sealwire(here, *POLICY, "client", "invite", "poor-bot", "--scopes", "trade").out
    enrol = ("enroll", f"https://localhost:{port}", "--ca", ".sealwire/ca.pem", "--out", "poor-bot.json")
    assert sealwire(here, *enrol, stdin=invitation).code == 0
    body = '{"asset": "BTC", "amount": "1", "address": "bc1q"}'
    done = sealwire(here, "call", "POST", "/v1/withdrawals", "--json", body, "--credential", "poor-bot.json")
    assert (done.code, json.loads(done.out)["code"]) == (4, "scope-insufficient")
    taken = sealwire(here, *enrol, stdin=invitation)
    assert (taken.code, "not written over" in taken.err) == (3, True)
    spent = sealwire(here, *enrol[:-1], "other.json", stdin=invitation)
    assert (spent.code, "invitation-invalid" in spent.err) == (5, True)


def test_another_server_is_not_believed(here: Path, port: int) -> None:
    """Without the demo's CA nothing is there to be trusted, and with nothing listening nothing is there."""
    invitation = sealwire(here, *POLICY, "client", "invite", "lost-bot").out
    out = ("--out", "lost-bot.json")
    unknown = sealwire(here, "enroll", f"https://localhost:{port}", *out, stdin=invitation)
    assert (unknown.code, "CERTIFICATE_VERIFY_FAILED" in unknown.err) == (6, True)
    trusting = ("--ca", ".sealwire/ca.pem", *out)
    down = sealwire(here, "enroll", f"https://localhost:{free_port()}", *trusting, stdin=invitation)
    assert (down.code, "outcome: not done" in down.err) == (6, True)
    assert sealwire(here, "enroll", f"https://localhost:{port}", *trusting, stdin=invitation).code == 0


def test_the_demo_starts_again_and_ends_when_told(tmp_path: Path) -> None:
    """SIGTERM ends it as Ctrl-C does; the second start finds the first one's keys; what is down says so."""
    port = free_port()
    for end in (signal.SIGTERM, signal.SIGINT):
        with demo(tmp_path, port, end=end):
            assert sealwire(tmp_path, "call", "GET", "/v1/balances").code == 0
            assert sealwire(tmp_path, "factor", "list", "alice").out == "", "the tour's phone would have to allow hers"
            taken = sealwire(tmp_path, "demo", "--port", str(port), "--state", "other")
            assert (taken.code, f"is port {port} free?" in taken.err) == (3, True)
    down = sealwire(tmp_path, "call", "GET", "/v1/balances")
    assert (down.code, "outcome: not done" in down.err) == (6, True)
