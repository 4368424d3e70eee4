"""A setting that is wrong stops the start with one line that names it; one that is left out is secure."""

from pathlib import Path

import pytest

from sealwire.config import Keys, Listen, MetricsTable, RuleTable, Sessions, Settings, Store, Tls, load, policy_version
from sealwire.errors import Misuse

GOOD = """\
public_origins = ["https://api.example"]
[tls]
certificate = "cert.pem"
key = "file:key.pem"
[keys]
signing = "file:signing.pem"
wrapping = "file:wrapping.key"
[store]
durable = "sqlite:sealwire.db"
[[rules]]
path = "/v1/**"
"""


def loaded(folder: Path, text: str) -> Settings:
    """The settings of this text."""
    path = folder / "sealwire.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def test_what_is_left_out_is_secure(tmp_path: Path) -> None:
    """B12: each option that is left out has its documented secure default."""
    settings = loaded(tmp_path, GOOD)
    (rule,) = settings.rules_compiled()
    assert settings.environment == "production"
    assert (settings.listen.host, settings.listen.port) == ("127.0.0.1", 8443)
    assert (rule.profile, rule.observe, rule.max_age_seconds, rule.fast_replay) == ("signed", False, 60, False)
    assert rule.methods == {"GET", "POST", "PUT", "PATCH", "DELETE"}
    assert (rule.headers, rule.exact, rule.stream, rule.slash_ok) == (frozenset(), False, False, "")
    assert rule.content_types == {"application/json"}
    assert settings.resolve("file:a/b.pem") == tmp_path / "a/b.pem"
    assert (settings.line_fingerprints, settings.rotation_overlap, settings.store.fast) == (True, 86_400, "memory:")
    assert (settings.external_prefix, settings.health, settings.front_end, settings.app) == ("", "", "", "")
    assert (settings.metrics.port, settings.app_factory) == (None, False)
    assert (settings.live_nonces, settings.clock_kept_by) == (100_000, "")
    assert (rule.max_body_bytes, rule.idempotency_required, rule.fresh) == (1_048_576, False, False)
    assert (rule.scopes, rule.limits, rule.because) == (frozenset(), (), "")
    assert (rule.session_mac, rule.clear_query) == (False, frozenset())
    assert (settings.sessions.lifetime, settings.sessions.max_requests) == (900, 65_536)
    assert len(policy_version(settings.path)) == 12


def test_sealed_rules(tmp_path: Path) -> None:
    """What a sealed rule may say besides, and how sessions are bounded, at both ends of what is taken."""
    sealed = RULE + '\nprofile = "sealed"\nsession_mac = true\nclear_query = ["page", "limit"]'
    (rule,) = loaded(tmp_path, GOOD.replace(RULE, sealed)).rules_compiled()
    assert (rule.profile, rule.session_mac, rule.clear_query) == ("sealed", True, frozenset(("page", "limit")))
    for lifetime, seconds, most in (('"1m"', 60, 1), ('"1h"', 3600, 1_048_576)):
        table = f"[sessions]\nlifetime = {lifetime}\nmax_requests = {most}\n[tls]"
        settings = loaded(tmp_path, GOOD.replace("[tls]", table))
        assert (settings.sessions.lifetime, settings.sessions.max_requests) == (seconds, most)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("public_origins", "public_origin", 'public_origin: unknown; did you mean "public_origins"?'),
        ('path = "/v1/**"', 'path = "/v1/**"\nprofil = "open"', 'rules[0].profil: unknown; did you mean "profile"?'),
        ("durable", "durabel", 'store.durabel: unknown; did you mean "durable"?'),
        (
            "[[rules]]",
            '[[rules]]\nprofile = "critical"',
            'rules[0].profile = "critical": not in this version; profiles are open, signed, sealed',
        ),
        ("[[rules]]", '[[rules]]\nprofile = "seald"', 'rules[0].profile = "seald": did you mean "sealed"?'),
        (
            "[[rules]]",
            "[[rules]]\nsession_mac = true",
            'rules[0].session_mac: only on a rule of profile = "sealed", not "signed"',
        ),
        (
            "[[rules]]",
            '[[rules]]\nprofile = "open"\nmethods = ["GET"]\nclear_query = ["page"]',
            'rules[0].clear_query: only on a rule of profile = "sealed", not "open"',
        ),
        (
            "[[rules]]",
            '[[rules]]\nprofile = "sealed"\nmethods = ["GET"]\nstream = true',
            'rules[0].stream: a reply of profile = "sealed" is sealed whole, so it cannot be streamed',
        ),
        ("[tls]", "[sessions]\nlifetim = 60\n[tls]", 'sessions.lifetim: unknown; did you mean "lifetime"?'),
        (
            "[tls]",
            '[sessions]\nlifetime = "59s"\n[tls]',
            'sessions.lifetime = "59": input should be greater than or equal to 60',
        ),
        (
            "[tls]",
            '[sessions]\nlifetime = "61m"\n[tls]',
            'sessions.lifetime = "3660": input should be less than or equal to 3600',
        ),
        (
            "[tls]",
            "[sessions]\nmax_requests = 0\n[tls]",
            'sessions.max_requests = "0": input should be greater than or equal to 1',
        ),
        (
            "[tls]",
            "[sessions]\nmax_requests = 1048577\n[tls]",
            'sessions.max_requests = "1048577": input should be less than or equal to 1048576',
        ),
        ("[[rules]]", '[[rules]]\nprofile = "sined"', 'rules[0].profile = "sined": did you mean "signed"?'),
        (
            "[[rules]]",
            '[[rules]]\nmode = "observ"',
            'rules[0].mode = "observ": did you mean "observe"?',
        ),
        (
            "[[rules]]",
            '[[rules]]\nheaders = ["X_Forwarded-For"]',
            'rules[0].headers: "X_Forwarded-For" speaks for a proxy or for the guard and never reaches the app',
        ),
        (
            "[[rules]]",
            '[[rules]]\nlimits = ["5 per min"]',
            "rules[0].limits: '5 per min' is not of the form N/period per kind, as in 60/min per key",
        ),
        (
            "[[rules]]",
            '[[rules]]\nmax_age = "10m"',
            'rules[0].max_age = "600": input should be less than or equal to 300',
        ),
        (
            "[[rules]]",
            '[[rules]]\nprofile = "open"',
            'rules[0].because: an open rule that takes DELETE needs a reason, as in "sign-up form"',
        ),
        ("[[rules]]", "[[rules]]\nstream = true", "rules[0].stream: only GET and HEAD can be streamed, not DELETE"),
        ("[[rules]]", '[[rules]]\nmethods = ["get"]', 'rules[0].methods: "get" is no method; nearest is "GET"'),
        (
            "sqlite:sealwire.db",
            "postgresql://db",
            'store.durable = "postgresql://db": not in this version; it is sqlite: and a file',
        ),
        (
            "[store]",
            '[store]\nfast = "redis://x"',
            'store.fast = "redis://x": not in this version; it is memory: or sqlite:',
        ),
        (
            "file:wrapping.key",
            "hunter2",
            "keys.wrapping: a secret is named by a URI, as in file:keys/name; this version knows file:",
        ),
        (
            "https://api.example",
            "http://api.example",
            'public_origins[0] = "http://api.example": an origin is https://host or https://host:port and nothing more',
        ),
        ("[tls]", '[listen]\nhost = "0.0.0.0"\n[tls2]', 'tls2: unknown; did you mean "tls"?'),
        (
            "[tls]",
            'external_prefix = "api/"\n[tls]',
            'external_prefix = "api/": a path without its last slash, as in /api',
        ),
        (
            "[[rules]]",
            "[[rules]",
            "sealwire.toml: Expected ']]' at the end of an array declaration (at line 10, column 8)",
        ),
    ],
)
def test_one_line_for_each_mistake(tmp_path: Path, old: str, new: str, line: str) -> None:
    """The key, the value, and the nearest right one; never a secret."""
    with pytest.raises(Misuse) as found:
        loaded(tmp_path, GOOD.replace(old, new, 1))
    assert str(found.value).removeprefix(f"{tmp_path}/") == line
    assert "hunter2" not in str(found.value)


def test_plain_http_stays_at_home(tmp_path: Path) -> None:
    """Without a certificate only loopback is served; a file that is not there is said to be none."""
    plain = GOOD.replace('[tls]\ncertificate = "cert.pem"\nkey = "file:key.pem"\n', "")
    assert loaded(tmp_path, plain).tls is None
    with pytest.raises(Misuse, match=r'listen.host = "0.0.0.0": plain HTTP is served on loopback only'):
        loaded(tmp_path, plain.replace("[keys]", '[listen]\nhost = "0.0.0.0"\n[keys]'))
    with pytest.raises(Misuse, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(Misuse, match="path: unknown"):
        loaded(tmp_path, 'path = "x"\n' + GOOD)


def test_every_setting_is_documented() -> None:
    """The manual is made of the fields' descriptions: each has one."""
    tables = (Settings, Listen, Tls, Keys, Store, MetricsTable, Sessions, RuleTable)
    fields = {f"{table.__name__}.{name}": field for table in tables for name, field in table.model_fields.items()}
    assert [name for name, field in fields.items() if not field.description] == []
    assert len(fields) >= 45


RULE = "[[rules]]"
OPEN = '[[rules]]\nprofile = "open"\nbecause = "sign-up form"'
MORE_MISTAKES = [
    ("https://api.example", origin, f'public_origins[0] = "{origin}": an origin is')
    for origin in (
        "https://[::1",
        "https://api.example#f",
        "https://api.example?",
        "https://api.example:abc",
        "https://api.example:99999",
        "https://*.example",
        "https://a b",
        "https://:p@a.example",
        "https://u@a.example",
        "https://api.example/",
    )
] + [
    (RULE, RULE + '\nheaders = ["\u00e9"]', 'rules[0].headers: "\u00e9" is no field name'),
    (RULE, RULE + '\nheaders = ["x-real-ip\\n"]', 'rules[0].headers: "x-real-ip\\n" is no field name'),
    (RULE, RULE + '\nmode = "x\\ny"', 'rules[0].mode = "x\\ny": it is "enforce" or "observe"'),
    (RULE, RULE + '\nmode = "observ"', 'rules[0].mode = "observ": did you mean "observe"?'),
    (RULE, RULE + '\nprofile = "sined"', 'rules[0].profile = "sined": did you mean "signed"?'),
    (
        RULE,
        RULE + '\nprofile = "keyed"',
        'rules[0].profile = "keyed": not in this version; profiles are open, signed, sealed',
    ),
    (
        RULE,
        RULE + '\nprofile = "open"\nbecause = " "',
        "rules[0].because: an open rule that takes DELETE needs a reason",
    ),
    (RULE, RULE + "\nmethods = []", "rules[0].methods: a rule needs a method"),
    (RULE, RULE + '\nmethods = ["OPTIONS"]\nstream = true', "rules[0].stream: only GET and HEAD can be streamed"),
    (RULE, RULE + '\nslash_ok = "id"', 'rules[0].slash_ok = "id": the path has no parameter {id}'),
    (RULE, OPEN + '\nlimits = ["60/min"]', 'rules[0].limits: "60/min" counts per key, and an open rule knows none'),
    (RULE, OPEN + '\nlimits = ["9/s per user"]', 'rules[0].limits: "9/s per user" counts per user, and an open rule'),
    (RULE, OPEN + '\nscopes = ["admin"]', "rules[0].scopes: an open rule lets anybody in and demands none"),
    (RULE, OPEN + "\nfresh = true", "rules[0].fresh: an open rule lets anybody in"),
    (RULE, OPEN + '\nidempotency = "required"', "rules[0].idempotency: an open rule lets anybody in"),
    (RULE, RULE + '\nscopes = ["read admin"]', 'rules[0].scopes: "read admin" is no one scope'),
    (RULE, RULE + '\nscopes = ["a,b"]', 'rules[0].scopes: "a,b" is no one scope'),
    (RULE, RULE + '\nscopes = [""]', 'rules[0].scopes: "" is no one scope'),
    ("[tls]", 'external_prefix = "/.."\n[tls]', 'external_prefix = "/..": a path without its last slash'),
    ("[tls]", 'health = "nope"\n[tls]', 'health = "nope": a plain path, as in /healthz'),
    ("[tls]", 'app = "nocolon"\n[tls]', 'app = "nocolon": it is module:name'),
    ("file:wrapping.key", "file:", "keys.wrapping: a secret is named by a URI"),
    ("file:wrapping.key", "file://host/x", "keys.wrapping: a secret is named by a URI"),
    ("sqlite:sealwire.db", "sqlite::memory:", 'store.durable = "sqlite::memory:": not in this version'),
    ("sqlite:sealwire.db", "postgresql://db", 'store.durable = "postgresql://db": not in this version'),
    ("[store]", '[store]\nfast = "redis://x"', 'store.fast = "redis://x": not in this version'),
]


@pytest.mark.parametrize(("old", "new", "line"), MORE_MISTAKES)
def test_mistakes_that_could_pass_for_settings(tmp_path: Path, old: str, new: str, line: str) -> None:
    """What no one can have meant stops the start too, in one line that begins with the key; never another error."""
    with pytest.raises(Misuse) as found:
        loaded(tmp_path, GOOD.replace(old, new, 1)).rules_compiled()
    assert str(found.value).startswith(line)
    assert str(found.value).isprintable()


@pytest.mark.parametrize(
    "origin", ["https://api.example", "https://API.example:8443", "https://[2001:db8::1]:9", "http://localhost:8000"]
)
def test_origins_that_are_some(tmp_path: Path, origin: str) -> None:
    """Names, ports, IPv6, and plain HTTP on loopback."""
    assert loaded(tmp_path, GOOD.replace("https://api.example", origin)).public_origins == [origin]


@pytest.mark.parametrize(
    ("origin", "line"),
    [
        ("https://api.example", "the pages have an origin of their own, never that of the API"),
        ("https://other.example", "the pages have an origin of their own, never that of the API"),
        ("https://pages.example:443", 'browsers say "https://pages.example"'),
        ("https://Pages.example", 'browsers say "https://pages.example"'),
    ],
)
def test_the_pages_are_at_an_origin_of_their_own(tmp_path: Path, origin: str, line: str) -> None:
    """However either is spelt: what a browser calls the same is the same."""
    text = GOOD.replace('["https://api.example"]', '["https://API.example:443", "https://other.example"]')
    pages = f'\n[pages]\norigin = "{origin}"\nsign_in = "people:sign_in"\n'
    with pytest.raises(Misuse) as caught:
        loaded(tmp_path, text + pages)
    assert str(caught.value) == f'pages.origin = "{origin}": {line}'
    assert loaded(tmp_path, text + pages.replace(origin, "https://api.example:8444")).pages is not None
