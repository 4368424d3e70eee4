"""docs/operating.md says what the code does: settings, bounds, log fields, metrics, exit codes; its commands run."""

import inspect
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from sealwire import clients, endpoints, ports, presence, routes, sessions
from sealwire.build import open_ports
from sealwire.client import approving, rulebook, sending
from sealwire.clock import STEP_SECONDS
from sealwire.config import ApproveTable, Limits, Pages, RuleTable, Sessions, Settings, load
from sealwire.fronts import asgi, connections, server
from sealwire.fronts import pages as fronts_pages
from sealwire.fronts.cli import main
from sealwire.observers import alarms, notice
from sealwire.observers.log import JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.observers.tally import Tally
from sealwire.observers.usage import Usage
from sealwire.pages import account, door, visits
from sealwire.pipeline import Failures
from sealwire.ports import apikeys, people
from sealwire.presence import Terms
from sealwire.protocol import envelope, forwarded, message, otp, profile, ratelimit, reply, strictjson, window
from sealwire.stages import authorize
from sealwire.stores import (
    memory,
    sqlite,
    sqlite_approvals,
    sqlite_directory,
    sqlite_fast,
    sqlite_file,
    sqlite_sessions,
)
from tests.house.manual import PAGE, bounds_of, page, tables
from tests.observers.test_observers import OUTCOME
from tests.stories.world import SetClock

TEXT = PAGE.read_text("utf-8")
BOUNDS: dict[str, int] = {
    "unexpired nonces of one key, by default": Settings.model_fields["live_nonces"].default,
    "buckets of limits": memory.MAX_BUCKETS,
    "rows of counted refusals that wait to be written": Tally.__init__.__defaults__[0],  # type: ignore[index]
    "sessions of one key": ports.SESSIONS_OF_A_KEY,
    "sessions": memory.MAX_SESSIONS,
    "messages of a session, by default": Sessions.model_fields["max_requests"].default,
    "seconds that a session lasts, by default": Sessions.model_fields["lifetime"].default,
    "seconds that a session is remembered after that": ports.LATE_SECONDS,
    "keys of sessions that one of several workers holds ready": sqlite_sessions._HELD_KEYS,
    "headers of sealed bodies held ready": envelope.Headers.BOUND,
    "characters of such a header": envelope._HEADER_BYTES,
    "bytes of a session's request": sessions._REQUEST_BYTES,
    "peers, and networks of addresses, held ready": forwarded.MAX_PEERS,
    "limits, and address lists of clients, held ready": authorize.HELD_LISTS,
    "public keys, and what is known of them, held ready": sqlite_directory._MAX_LOADED,
    "forms of a signature held ready": profile.Plans.BOUND,
    "request targets without a query held ready, in each process": message.HELD_TARGETS,
    "paths whose rules are held ready, in each process": routes.HELD_PATHS,
    "bytes of such a target or path": routes.HELD_PATH_BYTES,
    "names of reply fields held ready": reply.HELD_NAMES,
    "bytes of such a name": reply.HELD_NAME_BYTES,
    "bytes of a head": message.HEAD_BYTES,
    "bytes of one field": message.FIELD_BYTES,
    "signatures in one head": profile.MAX_LABELS,
    "components of one signature": profile.MAX_COMPONENTS,
    "seconds from `created` to `expires`": profile.MAX_LIFETIME_SECONDS,
    "depth of JSON": strictjson.MAX_DEPTH,
    "bytes of a body, by default": RuleTable.model_fields["max_body"].default,
    "bytes of an enrolment": endpoints._ENROLMENT_BYTES,
    "bytes of a reply that is not streamed": asgi.MAX_REPLY_BYTES,
    "seconds an answer is kept under its idempotency key": ports.IDEMPOTENCY_SECONDS,
    "seconds a lost answer of an enrolment can be asked for again": ports.REPEAT_SECONDS,
    "approvals that wait for one user": people.PENDING_OF_A_USER,
    "seconds from asking to the end of an approval, by default and at most": ApproveTable.model_fields[
        "within"
    ].default,
    "calls at work at once in each process, by default": Limits.model_fields["calls"].default,
    "connections of each process, by default": Limits.model_fields["connections"].default,
    "connections of one IPv4 address or IPv6 /64, by default": Limits.model_fields["connections_per_address"].default,
    "connections of the pages": fronts_pages._LIMITS.whole,
    "descriptors that are left to files and pages": connections.RESERVE,
    "calls that wait behind the first on one connection": server._PIPELINED,
    "failed credentials of one address in a minute, by default": Failures().per_address.quota,
    "failed credentials that name one key in a minute, by default": Failures().per_key.quota,
    "/64 networks of IPv6 that a /56 counts for": ratelimit.SITE_SHARE,
    "live API keys of one client": clients.MOST_APIKEYS,
    "clients of one user": clients.MOST_CLIENTS,
    "days that an API key lives, by default": clients.DEFAULT_DAYS,
    "days that an API key lives at most": clients.MOST_DAYS,
    "days that counts of uses are kept": apikeys.USE_DAYS,
    "counts of uses that wait to be written": inspect.signature(Usage).parameters["bound"].default,
    "alarms of failed credentials that are remembered for a minute": alarms._MOST,
    "tries of a code for one approval": people.APPROVAL_TRIES,
    "tries of a code by one user within an hour": people.USER_TRIES,
    "factors of one user": presence.MOST_FACTORS,
    "recovery codes of one user": presence.RECOVERY_CODES,
    "codes of a token that were shown and not used": otp.LOOK_AHEAD,
    "seconds that the previous TOTP code counts, by default": Pages.model_fields["totp_grace_seconds"].default,
    "seconds that nothing is approved after a reset of factors, by default": Pages.model_fields[
        "factor_cooldown"
    ].default,
    "characters of a factor's name": int(presence._NAME.pattern.rpartition(",")[2].rstrip("}")),
    "days that an approval is kept": sqlite_approvals._KEPT_SECONDS // 86_400,
    "visits of the pages": visits.MOST,
    "visits of one user": visits.MOST_OF_A_USER,
    "idle seconds of a visit": visits.IDLE_SECONDS,
    "seconds of a visit in all": visits.WHOLE_SECONDS,
    "bytes of a form": door._FORM_BYTES,
    "sign-ins from one network in a minute": door._FROM_HERE[0].quota,
    "sign-ins for one name from one network in a minute": door._FROM_HERE[1].quota,
    "sign-ins for one name in an hour": door._FROM_ANYWHERE.quota,
    "sign-ins that the app judges at once": door._SIGNING_IN_AT_ONCE,
    "approvals on a user's page": account._RECENT,
    "notices on their way, in each process": notice._WAITING,
    "writes in one commit": sqlite_file._BATCH,
    "durable rows that ran out, deleted at a time, once a second": sqlite._PURGE_ROWS,
    "bytes of a reply that our client takes": sending.MAX_REPLY_BYTES,
    "questions that one call of our client hands to `on_approval`": approving.MOST_QUESTIONS,
    "seconds that our client holds the rules": rulebook.HELD_SECONDS,
}
WAITS: dict[str, float] = {
    "fast store of several workers, sessions too": sqlite_fast._BUSY_SECONDS,
    "durable store, a read": sqlite_file._READ_BUSY_SECONDS,
    "durable store, a write": sqlite_file.WRITE_SECONDS,
    "durable store, another process writes": sqlite_file._BUSY_SECONDS,
    "mail server": notice._SECONDS,
    "app's answer can't be kept for repeats": sqlite_file.WRITE_SECONDS,
    "counts of refusals can't be written": sqlite_file.WRITE_SECONDS,
    "counts of uses can't be written": sqlite_file.WRITE_SECONDS,
}


def rows(heading: str) -> list[list[str]]:
    """The cells of the one table below a heading."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def block(name: str) -> str:
    """A fenced block by its name."""
    found = re.search(rf"^```\w+ {name}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def test_every_setting_stands_with_its_default() -> None:
    """The tables are those of the models; `make manual` writes them."""
    assert page(TEXT) == TEXT, "run make manual"
    assert len(tables()) == 13
    assert [heading for heading in tables() if "rules" in heading] == ["[[rules]]", "[rules.approve]"]
    assert "| `port` | number, 0 to 65535 | `8443` | TCP port. |" in TEXT
    assert '| `with` | list of text | `["totp", "hotp"]` |' in TEXT
    # Each table but the first is a field of another one, and one field is not in the file.
    settings = sum(len(model.model_fields) for model in tables().values()) - len(tables())
    assert settings == TEXT.split("<!-- end")[0].count("\n| `")


def test_every_bound_is_the_code_s() -> None:
    assert {what: bound for what, bound, _ in rows("Bounds")} == {what: f"{n:,}" for what, n in BOUNDS.items()}
    assert memory.MAX_BUCKETS == sqlite_fast.MAX_BUCKETS
    assert memory.MAX_SESSIONS == sqlite_sessions.MAX_SESSIONS
    assert tuple(sessions.DEFAULT_TERMS) == (BOUNDS["seconds that a session lasts, by default"], 65_536)
    assert sqlite._PURGE_EVERY_SECONDS == 1
    limits = (*door._FROM_HERE, door._FROM_ANYWHERE)
    assert [limit.period_seconds for limit in limits] == [60, 60, people.USER_TRIES_SECONDS]
    assert bounds_of(ApproveTable.model_fields["within"]) == ", 30 to 600"
    assert ratelimit.HELD_NETWORKS == forwarded.MAX_PEERS
    assert ratelimit.HELD_LIMITS == authorize.HELD_LISTS
    caps = connections.ConnectionLimits()
    assert (caps.whole, caps.per_address, fronts_pages._LIMITS.per_address) == (8192, 512, 128)
    assert (sqlite_approvals._DAY, Terms()) == (86_400, Terms(10, 86_400))


def test_every_wait_is_the_code_s() -> None:
    said = {what: wait for what, wait, _ in rows("When something does not answer") if wait.endswith(" s")}
    assert said == {what: f"{seconds:g} s" for what, seconds in WAITS.items()}


def test_the_clock_s_margins_are_the_code_s() -> None:
    section = TEXT.split("\n## Clocks\n")[1].split("\n## ")[0]
    figures = [int(number) for number in re.findall(r"(\d+) s\b", section)]
    assert figures == [window.SKEW_SECONDS, window.REMEMBER_SECONDS, int(STEP_SECONDS)]


def test_every_field_of_the_log() -> None:
    lines: list[str] = []
    JsonLog(lines.append).heard(OUTCOME)
    assert [row[0] for row in rows("Log")] == [f"`{name}`" for name in json.loads(lines[0])]


def test_every_metric() -> None:
    registry = CollectorRegistry()
    Metrics(registry)
    made = {family.name + ("_total" if family.type == "counter" else "") for family in registry.collect()}
    assert {row[0].strip("`") for row in rows("Metrics")} == made
    labels = {row[0].strip("`"): re.findall(r"`(\w+)`", row[1]) for row in rows("Metrics")}
    assert labels["sealwire_decisions_total"] == ["decision", "reason", "route"]


def test_the_exit_codes() -> None:
    said = re.search(r"Exit codes: (.*?)\.$", main.__doc__ or "", re.DOTALL | re.MULTILINE)
    assert said is not None
    assert [" ".join(row) for row in rows("Exit codes")] == re.split(r",\s+", said[1].replace("\n", " "))


def test_the_example_of_a_critical_rule(tmp_path: Path) -> None:
    """It loads behind the first file, says what it shows, and its functions are such as the settings name."""
    (tmp_path / "sealwire.toml").write_text(block("first") + "\n" + block("approvals"))
    settings = load(tmp_path / "sealwire.toml")
    rule = settings.rules_compiled()[1]
    assert rule.approve is not None
    assert rule.approve.show is not None
    assert rule.approve.show.show(b'{"amount": 1, "asset": "BTC", "address": "bc1q"}').sentence == "Send 1 BTC to bc1q"
    account = SimpleNamespace(user="alice", hash="secret")
    names: dict[str, Any] = {
        "ACCOUNTS": {"Alice": account}, "NOBODY": "", "MAIL": {"alice": "a@example"}, "verify": str.__eq__,
    }  # fmt: skip
    exec(compile(block("people"), "people", "exec"), names)  # noqa: S102  # the page's own example
    assert settings.pages is not None
    sign_in = names[settings.pages.sign_in.partition(":")[2]]
    assert [sign_in("Alice", "secret"), sign_in("Alice", ""), sign_in("Bob", "")] == ["alice", None, None]
    assert settings.notice is not None
    assert names[settings.notice.address.partition(":")[2]]("alice") == "a@example"


async def test_the_first_start_and_the_backup(tmp_path: Path) -> None:
    """The commands run as they stand, private; the copy is whole while the store is open, and opens."""

    def run(command: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, env={**os.environ, "PATH": path})

    (tmp_path / "sealwire.toml").write_text(block("first"))
    run(block("make-keys"))
    opened = open_ports(load(tmp_path / "sealwire.toml"))
    version, _ = await opened.directory.key_set_version("k", SetClock().now())
    run(block("backup"))
    opened.close()
    for made in ("keys/signing.pem", "keys/wrapping.key", "sealwire.db", "copy.db"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o600
    copy = sqlite3.connect(tmp_path / "copy.db")
    assert copy.execute("SELECT version, thumbprints FROM key_sets").fetchall() == [(version, "k")]
    copy.close()
