"""What is left out of a policy file is secure, and nothing that decides is guessed."""

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from sealwire.build import build_guard, open_ports
from sealwire.call import Rule
from sealwire.config import (
    ApproveTable,
    Keys,
    Limits,
    Listen,
    MetricsTable,
    NoticeTable,
    Pages,
    ProxiesTable,
    RuleTable,
    Sessions,
    Settings,
    Store,
    Tls,
    load,
)
from sealwire.errors import Misuse
from sealwire.fronts.asgi import GuardedApp
from sealwire.pipeline import DEMANDS
from tests.stories.test_coverage_and_binding import refused
from tests.stories.world import Wire, World

#: The least that a policy can say.
LEAST = """\
public_origins = ["https://api.example"]
[keys]
signing = "file:signing.pem"
wrapping = "file:wrapping.key"
[store]
durable = "sqlite:sealwire.db"
[[rules]]
path = "/v1/**"
"""
#: Where people approve, and how they hear of it, as little as can be said.
PEOPLE = """\
[pages]
origin = "https://pages.example"
sign_in = "app:sign_in"
[notice]
smtp = "smtp://mail.example:587"
sender = "bank@example"
address = "app:address"
"""
#: Who is believed, said in each of the two ways, of which one is left out.
BY_NETWORK = '[proxies]\nheader = "forwarded"\nnetworks = ["10.0.0.0/8"]\n'
BY_HOPS = '[proxies]\nheader = "forwarded"\nhops = 1\n'
CRITICAL = 'profile = "critical"\nmethods = ["POST"]\napprove = {}\n'
TLS = '[tls]\ncertificate = "cert.pem"\nkey = "file:key.pem"\n'

#: Each option that may be left out, and what it is then: signed, enforced, recorded durably, on loopback, hidden.
DEFAULTS: dict[str, object] = {
    "environment": "production",
    "app": "",
    "app_factory": False,
    "external_prefix": "",
    "health": "",
    "line_fingerprints": True,
    "rotation_overlap": 86_400,
    "front_end": "",
    "live_nonces": 100_000,
    "clock_kept_by": "",
    "tls": None,
    "pages": None,
    "pages.host": "127.0.0.1",
    "pages.port": 8444,
    "pages.scopes": None,
    "pages.factor_cooldown": 86_400,
    "pages.totp_grace_seconds": 10,
    "proxies": None,
    "proxies.networks": [],
    "proxies.hops": None,
    "notice": None,
    "notice.user": "",
    "notice.password": "",
    "listen.host": "127.0.0.1",
    "listen.port": 8443,
    "store.fast": "memory:",
    "limits.calls": 1024,
    "limits.connections": 8192,
    "limits.connections_per_address": 512,
    "limits.failures_per_address": "300/min",
    "limits.failures_per_key": "300/min",
    "sessions.lifetime": 900,
    "sessions.max_requests": 65_536,
    "metrics.port": None,
    "rules.methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
    "rules.profile": "signed",
    "rules.mode": "enforce",
    "rules.scopes": [],
    "rules.limits": [],
    "rules.content_types": ["application/json"],
    "rules.headers": [],
    "rules.max_age": 60,
    "rules.max_body": 1_048_576,
    "rules.session_mac": False,
    "rules.clear_query": [],
    "rules.fresh": False,
    "rules.replay": "durable",
    "rules.idempotency": "optional",
    "rules.stream": False,
    "rules.exact": False,
    "rules.slash_ok": "",
    "rules.because": "",
    "rules.approve": None,
    "rules.approve.show": "",
    "rules.approve.factors": ["totp", "hotp"],
    "rules.approve.within": 600,
}
#: What has no default, since any would be a guess.
NEEDED = {
    "public_origins", "keys", "keys.signing", "keys.wrapping", "store", "store.durable", "rules", "rules.path",
    "tls.certificate", "tls.key", "pages.origin", "pages.sign_in", "notice.smtp", "notice.sender", "notice.address",
    "proxies.header",
}  # fmt: skip
TABLES: dict[str, type[BaseModel]] = {
    "": Settings, "listen.": Listen, "tls.": Tls, "keys.": Keys, "store.": Store, "metrics.": MetricsTable,
    "rules.": RuleTable, "sessions.": Sessions, "limits.": Limits, "pages.": Pages, "notice.": NoticeTable,
    "proxies.": ProxiesTable,
    "rules.approve.": ApproveTable,
}  # fmt: skip


def loaded(folder: Path, text: str = LEAST) -> Settings:
    """The settings of this text."""
    path = folder / "sealwire.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_the_table_is_whole() -> None:
    """
    B12: an option whose default nobody has thought about.

    Stopped by: config
    """
    every = {prefix + name for prefix, table in TABLES.items() for name in table.model_fields}
    assert every - set(DEFAULTS) - NEEDED == {"limits", "listen", "metrics", "path", "sessions"}
    assert (set(DEFAULTS) | NEEDED) - every == set()


@pytest.mark.parametrize("option", list(DEFAULTS))
def test_what_is_left_out(tmp_path: Path, option: str) -> None:
    """
    B12: each option left out: its value is the documented secure one.

    Stopped by: config
    """
    table, _, name = option.rpartition(".")
    text = LEAST.replace("[keys]", PEOPLE + "[keys]") if table in ("pages", "notice", "rules.approve") else LEAST
    text += {"proxies.networks": BY_HOPS, "proxies.hops": BY_NETWORK}.get(option, "")
    settings = loaded(tmp_path, text + CRITICAL if table == "rules.approve" else text)
    holder: object = settings
    for part in filter(None, table.split(".")):
        holder = settings.rules[0] if part == "rules" else getattr(holder, part)
    assert getattr(holder, name) == DEFAULTS[option]


@pytest.mark.parametrize("option", sorted(NEEDED))
def test_what_cannot_be_left_out(tmp_path: Path, option: str) -> None:
    """
    B12: each option without a default left out: no start, and its name is said.

    Stopped by: config
    """
    raw = tomllib.loads(LEAST.replace("[keys]", TLS + PEOPLE + BY_NETWORK + "[keys]"))
    table, _, name = option.rpartition(".")
    holder = raw if not table else raw["rules"][0] if table == "rules" else raw[table]
    del holder[name]
    with pytest.raises(Misuse, match=rf"{name}: missing"):
        loaded(tmp_path, toml(raw))


def toml(raw: dict[str, object]) -> str:
    """The few kinds of values above as TOML: plain ones first, tables behind them."""
    plain = [f"{name} = {shown(value)}" for name, value in raw.items() if not nested(value)]
    tables = [f"[{name}]\n{toml(value)}" for name, value in raw.items() if isinstance(value, dict)]
    rules = raw.get("rules")
    listed = [f"[[rules]]\n{toml(rule)}" for rule in rules] if isinstance(rules, list) else []
    return "\n".join([*plain, *tables, *listed])


def nested(value: object) -> bool:
    """True for a table, and a list of tables."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def shown(value: object) -> str:
    """A text or a list of texts."""
    return str(value).replace("'", '"') if isinstance(value, list) else f'"{value}"'


def test_a_rule_made_in_code_is_as_strict(tmp_path: Path) -> None:
    """
    B12: a rule that no file wrote has the same defaults, and its profile demands a proof, a first nonce, a caller.

    Stopped by: guard
    """
    (written,) = loaded(tmp_path).rules_compiled()
    assert written == Rule(written.template, written.methods, "signed")
    assert {kind.__name__ for kind in DEMANDS[written.profile]} >= {"Proof", "Body", "FirstSeen", "Caller", "Allowed"}


async def test_a_guard_built_from_the_least_policy(world: World, tmp_path: Path) -> None:
    """
    B12: the least policy over real stores: a stranger, another Host, a path without a rule and HEAD are turned away.

    Stopped by: verify
    """
    settings = loaded(tmp_path, f'clock_kept_by = "the story"\n{LEAST}')
    ports = open_ports(settings)
    world.app = GuardedApp(world._app, build_guard(settings, ports))
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        await refused(world, Wire(method, b"/v1/orders"), 401, "signature-missing")
    await refused(world, Wire().sign(world.signer), 401, "key-unknown")
    await refused(world, Wire().change(b"host", b"localhost"), 421, "authority-unknown")
    await refused(world, Wire().change(b"host", b"10.0.0.7").change(b"x-forwarded-host", b"api.example"), 421,
                  "authority-unknown")  # fmt: skip
    for path in (b"/", b"/healthz", b"/metrics", b"/docs"):
        await refused(world, Wire("GET", path), 404, "not-found")
    await refused(world, Wire("HEAD"), 405, "method-not-allowed")
    assert world.entered == []
    ports.close()
