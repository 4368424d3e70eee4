"""`sealwire apikey`, `sealwire client bind`, and the bounds and the end of an invitation, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sealwire.admin import Admin
from sealwire.config import policy_version
from sealwire.demo.state import DemoState
from sealwire.errors import Misuse, Refusal
from sealwire.ports import Invitation
from sealwire.ports.apikeys import Use
from sealwire.protocol import apikey
from sealwire.protocol.jwk import load_verifier
from sealwire.records import ApiKeyRecord
from tests.fronts.command import Ran, sealwire
from tests.stories.test_enrolment import fresh

CONFIG = ".sealwire/sealwire.toml"
POLICY = ("--config", CONFIG)
KEY = apikey.PATTERN.replace("(?:test|live)", "test") + r"\n"
DAY = 86_400


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with the demo's deployment in it, which does not run."""
    DemoState(tmp_path / ".sealwire", 8443).make()
    return tmp_path


def run(here: Path, line: str) -> Ran:
    """An operator's command."""
    return sealwire(here, *POLICY, *line.split())


def made(here: Path, line: str) -> str:
    """A command that prints one key, and nothing else; no word on stderr has it."""
    done = run(here, line)
    assert done.code == 0, done.err
    assert re.fullmatch(KEY, done.out)
    written = done.out.strip()
    assert apikey.is_whole(written.encode())
    assert written[11:] not in done.err
    return written


def shown(here: Path, line: str) -> list[dict[str, object]]:
    """What a command says with --json."""
    done = run(here, f"{line} --json")
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    return found if isinstance(found, list) else [found]


def id_of(invitation: str) -> str:
    """What is said of an invitation that is no secret."""
    return invitation.split("_inv_")[1].partition(".")[0]


def kept(here: Path) -> tuple[object, ...]:
    """All that a command could have made or changed."""
    with Admin(here / CONFIG) as admin:
        return admin.apikeys(), admin.clients(), admin.invitations()


def there(here: Path, name: str, *scopes: str) -> ApiKeyRecord:
    """An API key, and its client, that no command made."""
    with Admin(here / CONFIG) as admin:
        admin.make_apikey(name, scopes=frozenset(scopes or ("read", "trade")))
        return admin.apikeys()[-1]


def refused(here: Path, line: str, code: int, said: str) -> None:
    """A mistake: one sentence on stderr, nothing on stdout, the exit code of its kind, and nothing was made or done."""
    before = kept(here)
    done = run(here, line)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert kept(here) == before


def test_the_life_of_an_api_key(here: Path) -> None:
    """Made with a client of its own, listed, rotated, ended; what prints a key prints nothing else."""
    first = made(
        here, "apikey create board --scopes read --user alice --addresses 192.0.2.7,2001:db8::/48 --limits 60/min"
    )
    (one,) = shown(here, "apikey list")
    which, client = str(one["apikey"]), str(one["client"])
    assert re.fullmatch(r"apk_[0-9A-Z]{26}", which)
    until = time.strftime("%Y-%m-%d", time.gmtime(float(str(one["expires_at"]))))
    (line,) = run(here, "apikey list").out.splitlines()
    fields = line.split("\t")
    assert fields[:5] == [which, client, "board", "read", "active"]
    assert fields[5].startswith(until)
    assert fields[6:] == ["-", "-"]

    second = made(here, "apikey rotate board --overlap 1 --days 30")
    third = made(here, f"apikey rotate {which} --overlap 0")
    assert len({first, second, third}) == 3
    unsure = run(here, "apikey revoke board")
    assert (unsure.code, unsure.out, "--confirm=board" in unsure.err) == (2, "", True)
    done = run(here, "apikey revoke board --confirm=board")
    assert (done.code, done.out, done.err) == (0, "", "ended\n")
    assert run(here, "apikey list").out.split("\t")[4] == "revoked"
    refused(here, "apikey rotate board", 5, "apikey rotate: an API key that has ended is not rotated; make a new one")
    said = "".join(run(here, line).out for line in ("apikey list", f"client show {client}", "client list", "status"))
    assert which in said
    assert not any(secret[11:] in said for secret in (first, second, third))


def test_the_shape_of_json(here: Path) -> None:
    """What programs may rely on: these members, these types; null where there is nothing to say."""
    made(here, "apikey create board --scopes read --user alice --addresses 192.0.2.7 --limits 60/min,1000/day")
    (board,) = shown(here, "apikey list")
    (client,) = shown(here, f"client show {board['client']}")
    assert client == {
        "client": board["client"], "name": "board", "user": "alice", "scopes": ["read"],
        "addresses": ["192.0.2.7/32"], "limits": ["60/min", "1000/day"], "keys": [], "apikeys": [board["apikey"]],
    }  # fmt: skip
    ages = (board.pop("made_at"), board.pop("expires_at"))
    assert all(isinstance(age, int) for age in ages)
    assert ages[1] - ages[0] == 90 * DAY  # type: ignore[operator]
    assert board == {
        "apikey": board["apikey"], "client": board["client"], "name": "board", "user": "alice", "scopes": ["read"],
        "addresses": [["192.0.2.7/32"]], "limits": ["60/min", "1000/day"], "state": "active",
        "old_secret_until": None, "used_at": None, "used_from": None,
    }  # fmt: skip
    made(here, "apikey rotate board --overlap 2")
    with Admin(here / CONFIG) as admin:
        used = Use(str(board["client"]), str(board["apikey"]), "ok", 20_000, 1, 1_790_000_000.5, "192.0.2.7")
        asyncio.run(admin._ports.uses.add_uses((used,)))
    (board,) = shown(here, "apikey list")
    assert 0 < int(str(board["old_secret_until"])) - time.time() <= 2 * 3600
    assert (board["used_at"], board["used_from"]) == (1_790_000_000, "192.0.2.7")
    assert run(here, "apikey list").out.rstrip().split("\t")[6:] == ["2026-09-21 14:13 UTC", "192.0.2.7"]


def test_keys_of_a_client_there_is(here: Path) -> None:
    """With --client the new key is one more of that client, with its scopes or fewer; a list can be of one client."""
    client = there(here, "board").client
    other = there(here, "other")
    made(here, f"apikey create second --client {client}")
    made(here, "apikey create third --client board --scopes read --limits 5/s")
    own = shown(here, f"apikey list --client {client}")
    assert [one["name"] for one in own] == ["board", "second", "third"]
    assert [one["scopes"] for one in own] == [["read", "trade"]] * 2 + [["read"]]
    assert [one["limits"] for one in own] == [[], [], ["5/s"]]
    assert len(kept(here)[0]) == 4  # type: ignore[arg-type]
    assert run(here, "apikey list --client nobody").out == ""
    refused(here, "apikey create x --client board --scopes withdraw", 2, "the client itself has no scope withdraw")
    made(here, f"apikey create second --client {other.client}")
    refused(here, "apikey rotate second", 2, "2 API keys are called second: give the id, apk_")


def test_a_client_is_bound(here: Path) -> None:
    """Scopes, addresses and limits change by themselves, empty ones fall, and keys have no more than their client."""
    there(here, "board")

    def bound(line: str) -> list[object]:
        done = run(here, f"client bind board {line}")
        assert (done.code, done.out, done.err) == (0, "", "board: from its next call on\n")
        (client,) = shown(here, "client show board")
        return [client[name] for name in ("scopes", "addresses", "limits")]

    assert bound("--addresses 198.51.100.0/24,::1") == [["read", "trade"], ["198.51.100.0/24", "::1/128"], []]
    assert bound("--limits 60/min,5/s") == [["read", "trade"], ["198.51.100.0/24", "::1/128"], ["60/min", "5/s"]]
    assert bound("--scopes read") == [["read"], ["198.51.100.0/24", "::1/128"], ["60/min", "5/s"]]
    with Admin(here / CONFIG) as admin:
        assert [one.scopes for one in admin.apikeys()] == [{"read"}]
    text = run(here, "client show board").out
    assert "from     198.51.100.0/24, ::1/128\nlimits   60/min, 5/s\n" in text
    assert bound("--addresses= --limits=") == [["read"], [], []]
    assert "from     anywhere\nlimits   those of the rules\n" in run(here, "client show board").out


def test_a_client_with_a_scope_that_no_rule_names_any_more(here: Path) -> None:
    """It is held closer all the same: what is not said stays as it is."""
    there(here, "board")
    config = here / CONFIG
    config.write_text(config.read_text().replace('["trade"]', '["deal"]'))
    with Admin(config) as admin:
        client = admin.client("board")
        assert client is not None
        assert admin.bind_client(client, limits=("5/min",))
        bound = admin.client("board")
        assert bound is not None
        assert bound.scopes == {"read", "trade"}
        assert [limit.quota for limit in bound.stored.bounds.limits] == [5]
        admin.make_apikey("more", client=bound)
        with pytest.raises(Misuse, match="no rule names the scope trade"):
            admin.bind_client(bound, scopes=frozenset(("trade",)))


def test_every_act_is_recorded(here: Path) -> None:
    """What an operator did, to whom, under which policy, is in the ledger, act by act."""
    key = fresh()
    with Admin(here / CONFIG) as admin:
        unused, invitation = (id_of(admin.invite(name, user="alice")) for name in ("lost", "bot"))
        assert admin.end_invitation(unused)
        assert not admin.end_invitation(unused)
        ports = admin._ports
        verifier = load_verifier(key.jwk)
        asyncio.run(ports.directory.enrol(invitation, verifier, "cli_bot", "bot", ports.clock.now()))
        bot = admin.client("bot")
        assert bot is not None
        admin.make_apikey("board", client=bot)
        (board,) = admin.apikeys()
        admin.rotate_apikey(board)
        admin.bind_client(bot, limits=("5/min",))
        assert admin.revoke_apikey(board)
        assert admin.revoke_key(key.keyid)
        assert not admin.revoke_key("none")
        assert not admin.end_invitation(invitation)
        admin.make_apikey("wall", client=bot)
        (wall,) = [one for one in admin.apikeys() if one.name == "wall"]
        assert admin.revoke_client("cli_bot") == 1
        assert admin.revoke_client("cli_bot") == 0
        policy = policy_version(here / CONFIG)
    with closing(sqlite3.connect(here / ".sealwire" / "sealwire.db")) as connection:
        rows = connection.execute("SELECT outcome, code, client, user, key, address, policy FROM decisions").fetchall()
    by, where = "operator", ("local", policy)
    assert rows == [
        ("invited", by, "", "alice", "", *where),
        ("invited", by, "", "alice", "", *where),
        ("invitation-ended", by, "", "alice", unused, *where),
        ("apikey-made", by, "cli_bot", "alice", board.id, *where),
        ("apikey-rotated", by, "cli_bot", "alice", board.id, *where),
        ("client-bound", by, "cli_bot", "alice", "", *where),
        ("apikey-revoked", by, "cli_bot", "alice", board.id, *where),
        ("key-revoked", by, "cli_bot", "alice", key.keyid, *where),
        ("apikey-made", by, "cli_bot", "alice", wall.id, *where),
        ("client-ended", by, "cli_bot", "alice", "", *where),
    ]


def test_an_invitation_with_bounds(here: Path) -> None:
    """The bounds of an invitation wait with it for the client that it makes; stdout has the invitation alone."""
    done = run(here, "client invite bot --user alice --scopes read --addresses 192.0.2.7 --limits 60/min")
    assert re.fullmatch(r"sw_test_inv_[\w-]{16}\.[\w-]{43}\.[\w-]{43}\n", done.out)
    assert (done.code, done.err) == (0, "notice to alice: What may call in your name\n")
    with Admin(here / CONFIG) as admin:
        (waits,) = [one for one in admin.invitations() if one.name == "bot"]
    assert (sorted(waits.scopes), waits.addresses) == (["read"], ("192.0.2.7/32",))
    assert [(limit.quota, limit.period_seconds) for limit in waits.limits] == [(60, 60)]


def test_an_invitation_that_waits_is_shown_and_ended(here: Path) -> None:
    """Those that wait, the first to end first; no secret is shown, and what was ended enrols nothing."""
    with Admin(here / CONFIG) as admin:
        directory, now = admin._ports.directory, admin.now()
        for name, ends in (("late", now - 1), ("--2_dashes-1st--", now + 1800)):
            asyncio.run(directory.add_invitation(Invitation(name, "old", "cli_a", None, frozenset(), (), b"w", ends)))
        spent = id_of(admin.invite("spent"))
        asyncio.run(directory.enrol(spent, load_verifier(fresh().jwk), "cli_s", "laptop", now))
        terms: dict[str, Any] = {"addresses": ("192.0.2.7",), "limits": ("60/min",)}
        written = admin.invite("bot", user="alice", scopes=frozenset(("trade", "read")), hours=2, **terms)
        (bot,) = [one for one in admin.invitations() if one.name == "bot"]
    first, second = shown(here, "client invitations")
    assert first == {
        "invitation": "--2_dashes-1st--", "client": "cli_a", "name": "old", "user": None, "scopes": [],
        "addresses": [], "limits": [], "expires_at": int(now + 1800),
    }  # fmt: skip
    assert second == {
        "invitation": id_of(written), "client": None, "name": "bot", "user": "alice", "scopes": ["read", "trade"],
        "addresses": ["192.0.2.7/32"], "limits": ["60/min"], "expires_at": int(bot.expires_at),
    }  # fmt: skip
    lines = [line.split("\t") for line in run(here, "client invitations").out.splitlines()]
    until = [time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at)) for at in (now + 1800, bot.expires_at)]
    assert lines == [
        ["--2_dashes-1st--", "old", "-", "-", until[0]],
        [bot.id, "bot", "alice", "read,trade", until[1]],
    ]
    for name in ("--2_dashes-1st--", bot.id):
        done = run(here, f"client uninvite {name}")
        assert (done.code, done.out, done.err) == (0, "", "ended\n")
    with Admin(here / CONFIG) as admin:
        assert admin.invitations(waiting=True) == []
        with pytest.raises(Refusal, match="invitation-invalid/expired"):
            asyncio.run(admin._ports.directory.enrol(bot.id, load_verifier(fresh().jwk), "cli_b", "n", now))
    said = "no invitation of this id waits; sealwire client invitations shows those that do\n"
    for name in (written, spent):  # a secret that was typed is not said again
        done = run(here, f"client uninvite {name}")
        assert (done.code, done.out, done.err) == (5, "", said)


TERMS = [
    ("--scopes reed", 'no rule names the scope reed; did you mean "read"?'),
    ("--scopes read,Trade", 'no rule names the scope Trade; did you mean "trade"?'),
    ("--scopes zzz", "no rule names the scope zzz; rules name read, trade, withdraw"),
    ("--limits 60", "'60' is not of the form N/period, as in 60/min"),
    ("--limits 60/minutes", "'60/minutes' is not of the form N/period, as in 60/min"),
    ("--limits 0/min", "'0/min' is not of the form N/period, as in 60/min"),
    ("--limits -1/min", "'-1/min' is not of the form N/period, as in 60/min"),
    ("--limits 60/min,30/min", "two limits count over the same time; say the smaller one"),
    (
        "--addresses 192.0.2.300",
        '"192.0.2.300" is no address and no network; it is one as in 192.0.2.7 or 2001:db8::/48',
    ),
    ("--addresses example.com", '"example.com" is no address and no network'),
    ("--addresses 10.0.0.0/33", '"10.0.0.0/33" is no address and no network'),
]


@pytest.mark.parametrize(("terms", "said"), TERMS)
def test_terms_that_cannot_be(here: Path, terms: str, said: str) -> None:
    """A scope, a limit or an address that is none, in each act that takes terms: the nearest right one."""
    there(here, "there")
    option, _, listed = terms.removeprefix("--").partition(" ")
    given: Any = frozenset(listed.split(",")) if option == "scopes" else tuple(listed.split(","))
    before = kept(here)
    with Admin(here / CONFIG) as admin:
        client = admin.client("there")
        assert client is not None
        for act in (
            lambda: admin.make_apikey("board", **{option: given}),
            lambda: admin.make_apikey("board", client=client, **{option: given}),
            lambda: admin.invite("board", **{option: given}),
            lambda: admin.bind_client(client, **{option: given}),
        ):
            with pytest.raises(Misuse, match=re.escape(said)):
                act()
    assert kept(here) == before


@pytest.mark.parametrize(
    ("line", "of"), [("apikey create board", 0), ("client invite board --user alice", 3), ("client bind there", -1)]
)
def test_terms_that_are_mistyped(here: Path, line: str, of: int) -> None:
    """The same in the commands: exit code 2, and the command's name before what is wrong."""
    there(here, "there")
    terms, said = TERMS[of]
    refused(here, f"{line} {terms}", 2, f"{' '.join(line.split()[:2])}: {said}")


def test_a_limit_that_says_of_what(here: Path) -> None:
    """A limit of one's own counts its own calls, and says so."""
    done = sealwire(here, *POLICY, "apikey", "create", "board", "--limits", "60/min per address")
    assert (done.code, done.out) == (2, "")
    assert "'60/min per address' is not of the form N/period, as in 60/min: it counts its own calls" in done.err


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("apikey create my/board", 2, '"my/board" is no name'),
        ("apikey create x --client nobody", 5, "there is no client nobody; sealwire client list shows those there are"),
        ("apikey create x --client there --user alice", 2, "--client says whose it is already"),
        ("apikey rotate nobody", 5, "there is no API key nobody; sealwire apikey list shows those there are"),
        ("apikey revoke nobody --confirm=nobody", 5, "there is no API key nobody"),
        ("apikey revoke there --confirm=their", 2, "--confirm=there"),
        ("client bind there", 2, "client bind: say --scopes, --addresses or --limits"),
        ("client bind nobody --scopes read", 5, "no client nobody has a key"),
    ],
)
def test_mistakes(here: Path, line: str, code: int, said: str) -> None:
    """What a person gets for a mistake."""
    there(here, "there")
    refused(here, line, code, said)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("apikey", "create"),
        ("apikey crate x", "Did you mean"),
        ("apikey create", "Missing argument"),
        ("apikey create x --scope read", "--scopes"),
        ("apikey create x --days 0", "--days"),
        ("apikey create x --days 366", "--days"),
        ("apikey rotate x --overlap -1", "--overlap"),
        ("apikey rotate x --overlap 721", "--overlap"),
    ],
)
def test_wrong_usage(here: Path, line: str, said: str) -> None:
    """What the command line itself refuses is exit code 2, and what would be right is on stderr, or in the help."""
    done = run(here, line)
    assert done.code == 2
    assert said in done.err + done.out
    assert kept(here)[0] == []


def test_a_secret_that_was_found(here: Path) -> None:
    """It is looked up from a pipe, whatever became of it; on a command line it is refused, and not said once more."""
    with Admin(here / CONFIG) as admin:
        secret = admin.make_apikey("lost", user="alice", scopes=frozenset(("read",)))
        (lost,) = [one for one in admin.apikeys() if one.name == "lost"]
        admin.rotate_apikey(lost, overlap_seconds=0)
    told = sealwire(here, "--config", CONFIG, "apikey", "find", stdin=f"{secret}\n")
    assert (told.code, told.out) == (0, f"{lost.id}\t{lost.client}\tlost\tretired\n")
    none = sealwire(here, "--config", CONFIG, "apikey", "find", stdin="sw_test_sk_0\n")
    assert (none.code, none.out) == (5, "")
    refused = sealwire(here, "--config", CONFIG, "apikey", "revoke", secret)
    assert (refused.code, refused.out, "apikey find" in refused.err) == (2, "", True)
    assert secret not in refused.err
