"""A setting that is wrong stops the start with one line that names it; one that is left out is secure."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from sealwire.call import Approve
from sealwire.config import (
    ApproveTable,
    Keys,
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
    policy_version,
)
from sealwire.errors import Misuse
from sealwire.protocol.approval import Sentence
from sealwire.protocol.forwarded import Proxies

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
    assert settings.proxies_compiled() is None
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
            'rules[0].stream: a reply of profile = "sealed" is sealed whole: it is no stream',
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
    tables = (
        Settings, Listen, Tls, Keys, Store, MetricsTable, Sessions, RuleTable, ApproveTable, Pages, NoticeTable,
        ProxiesTable,
    )  # fmt: skip
    fields = {f"{table.__name__}.{name}": field for table in tables for name, field in table.model_fields.items()}
    assert [name for name, field in fields.items() if not field.description] == []
    assert len(fields) >= 63


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
        RULE + '\nprofile = "keyd"',
        'rules[0].profile = "keyd": did you mean "keyed"?',
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


PAGES = '[pages]\norigin = "https://pages.example"\nsign_in = "app:sign_in"\n'
NOTICE = '[notice]\nsmtp = "smtp://mail.example:587"\nsender = "bank@example"\naddress = "app:address"\n'
CRITICAL = RULE + '\nprofile = "critical"\nmethods = ["POST"]'
GOOD_CRITICAL = GOOD.replace("[tls]", PAGES + NOTICE + "[tls]").replace(RULE, CRITICAL)
APPROVE = CRITICAL + '\napprove = { show = "Send {amount} to {address}" }'


NO_SENTENCE = "a sentence is one line that names members of the body, as in Send {amount} to {address}"


def approve(**terms: str) -> str:
    """A critical rule with these terms, as TOML has them."""
    return CRITICAL + "\napprove = { " + ", ".join(f"{name} = {value}" for name, value in terms.items()) + " }"


def test_critical_rules(tmp_path: Path) -> None:
    """What is left out: the app asks, with a code from a phone or a token, for ten minutes; a key is needed."""
    (rule,) = loaded(tmp_path, GOOD_CRITICAL).rules_compiled()
    assert (rule.profile, rule.idempotency_required) == ("critical", True)
    assert rule.approve == Approve(None, ("totp", "hotp"), 600)
    (rule,) = loaded(tmp_path, GOOD_CRITICAL.replace(CRITICAL, APPROVE)).rules_compiled()
    assert rule.approve == Approve(Sentence("Send {amount} to {address}", ("amount", "address")), ("totp", "hotp"), 600)
    for within, seconds in (('"30s"', 30), ("30", 30), ('"10m"', 600)):
        text = approve(**{"with": '["recovery", "hotp", "recovery"]', "within": within})
        (rule,) = loaded(tmp_path, GOOD_CRITICAL.replace(CRITICAL, text)).rules_compiled()
        assert rule.approve == Approve(None, ("recovery", "hotp"), seconds)
    (signed,) = loaded(tmp_path, GOOD).rules_compiled()
    assert (signed.approve, signed.idempotency_required) == (None, False)


def test_pages_and_notices(tmp_path: Path) -> None:
    """Where people approve and how they hear of it, at both ends of what is taken."""
    settings = loaded(tmp_path, GOOD_CRITICAL)
    assert settings.pages is not None
    assert settings.notice is not None
    assert (settings.pages.origin, settings.pages.sign_in) == ("https://pages.example", "app:sign_in")
    assert (settings.notice.smtp, settings.notice.address) == ("smtp://mail.example:587", "app:address")
    for cooldown, grace, seconds in (("0", 0, 0), ('"30d"', 30, 2_592_000)):
        more = f"factor_cooldown = {cooldown}\ntotp_grace_seconds = {grace}\n"
        pages = loaded(tmp_path, GOOD_CRITICAL.replace(PAGES, PAGES + more)).pages
        assert pages is not None
        assert (pages.factor_cooldown, pages.totp_grace_seconds) == (seconds, grace)
    for smtp in ("smtps://mail.example:465", "smtp://[2001:db8::1]:25", "smtp://127.0.0.1:65535"):
        mail = NOTICE.replace("smtp://mail.example:587", smtp) + 'user = "bank"\npassword = "file:mail.password"\n'
        notice = loaded(tmp_path, GOOD_CRITICAL.replace(NOTICE, mail)).notice
        assert notice is not None
        assert (notice.smtp, notice.user, notice.password) == (smtp, "bank", "file:mail.password")


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            PAGES,
            "",
            'rules[0].profile = "critical": people approve at pages of their own; add [pages]',
        ),
        ('"critical"', '"critcal"', 'rules[0].profile = "critcal": did you mean "critical"?'),
        (
            CRITICAL,
            RULE + "\napprove = {}",
            'rules[0].approve: only on a rule of profile = "critical", not "signed"',
        ),
        (
            CRITICAL,
            RULE + '\nprofile = "sealed"\napprove = {}',
            'rules[0].approve: only on a rule of profile = "critical", not "sealed"',
        ),
        (
            CRITICAL,
            CRITICAL + '\nmode = "observe"',
            'rules[0].mode = "observe": no critical call is entered without a person; say profile = "sealed"',
        ),
        (
            CRITICAL,
            CRITICAL + "\nsession_mac = true",
            "rules[0].session_mac: a critical call is signed by its caller's own key",
        ),
        (
            CRITICAL,
            CRITICAL.replace('["POST"]', '["POST", "GET"]'),
            "rules[0].methods: a person approves what a call does, and GET does nothing; take it out",
        ),
        (
            CRITICAL,
            CRITICAL.replace('["POST"]', '["GET"]') + "\nstream = true",
            'rules[0].stream: a reply of profile = "critical" is sealed whole: it is no stream',
        ),
        (CRITICAL, CRITICAL + '\nreplay = "fast"', 'rules[0].replay = "fast": a critical call is durably seen once'),
        (
            CRITICAL,
            CRITICAL + '\nheaders = ["X-Destination"]',
            'rules[0].headers: "X-Destination" is nothing that a person approves; a critical call says it in its body',
        ),
        (
            CRITICAL,
            APPROVE + '\ncontent_types = ["application/json", "application/x-www-form-urlencoded"]',
            'rules[0].content_types: "application/x-www-form-urlencoded" is no JSON, which the sentence is read from',
        ),
        (CRITICAL, approve(shw='"x"'), 'rules[0].approve.shw: unknown; did you mean "show"?'),
        (CRITICAL, approve(wth='["totp"]'), 'rules[0].approve.wth: unknown; did you mean "with"?'),
        (CRITICAL, approve(withn='"5m"'), 'rules[0].approve.withn: unknown; did you mean "within"?'),
        (
            CRITICAL,
            approve(factors='["totp"]'),
            "rules[0].approve.factors: unknown; known are show, with, within",
        ),
        (CRITICAL, approve(**{"with": '["topt"]'}), 'rules[0].approve.with: "topt": did you mean "totp"?'),
        (
            CRITICAL,
            approve(**{"with": '["passkey"]'}),
            'rules[0].approve.with: "passkey": it is "totp" or "hotp" or "recovery"',
        ),
        (
            CRITICAL,
            approve(**{"with": "[]"}),
            "rules[0].approve.with: name a kind of factor: totp, hotp, recovery",
        ),
        (
            CRITICAL,
            approve(within='"11m"'),
            'rules[0].approve.within = "660": input should be less than or equal to 600',
        ),
        (
            CRITICAL,
            approve(within="29"),
            'rules[0].approve.within = "29": input should be greater than or equal to 30',
        ),
        (
            CRITICAL,
            approve(show='"Send it all"'),
            f'rules[0].approve.show = "Send it all": {NO_SENTENCE}',
        ),
        (CRITICAL, approve(show='""'), f'rules[0].approve.show = "": {NO_SENTENCE}'),
        (PAGES, PAGES + "cooldown = 1\n", 'pages.cooldown: unknown; did you mean "factor_cooldown"?'),
        (
            PAGES,
            PAGES + 'factor_cooldown = "31d"\n',
            'pages.factor_cooldown = "2678400": input should be less than or equal to 2592000',
        ),
        (
            PAGES,
            PAGES + "totp_grace_seconds = 31\n",
            'pages.totp_grace_seconds = "31": input should be less than or equal to 30',
        ),
        (
            "https://pages.example",
            "http://pages.example",
            'pages.origin = "http://pages.example": an origin is https://host or https://host:port and nothing more',
        ),
        (
            "https://pages.example",
            "https://api.example",
            'pages.origin = "https://api.example": the pages have an origin of their own, never that of the API',
        ),
        ("app:sign_in", "app.sign_in", 'pages.sign_in = "app.sign_in": it is module:function'),
        (NOTICE, NOTICE + 'usr = "x"\n', 'notice.usr: unknown; did you mean "user"?'),
        (
            "smtp://mail.example:587",
            "mail.example:587",
            'notice.smtp = "mail.example:587": it is smtp://host:port or smtps://host:port',
        ),
        ("app:address", "address", 'notice.address = "address": it is module:function'),
        (NOTICE, NOTICE + 'user = "bank"\n', "notice: user and password go together"),
        (NOTICE, NOTICE + 'password = "file:x"\n', "notice: user and password go together"),
    ]
    + [
        (
            NOTICE,
            NOTICE + f'user = "bank"\npassword = "{secret}"\n',
            "notice.password: a secret is named by a URI, as in file:keys/name; this version knows file:",
        )
        for secret in ("hunter2", "file://host/hunter2")
    ],
)
def test_one_line_for_each_mistake_about_people(tmp_path: Path, old: str, new: str, line: str) -> None:
    """Whatever would let a critical call past its person stops the start; never a secret in the line."""
    assert old in GOOD_CRITICAL
    loaded(tmp_path, GOOD_CRITICAL)
    with pytest.raises(Misuse) as found:
        loaded(tmp_path, GOOD_CRITICAL.replace(old, new, 1))
    assert str(found.value) == line
    assert "hunter2" not in str(found.value)


def test_pages_in_plain_http_stay_at_home(tmp_path: Path) -> None:
    """Without a certificate the pages are served on loopback only, as the API is."""
    plain = GOOD_CRITICAL.replace('[tls]\ncertificate = "cert.pem"\nkey = "file:key.pem"\n', "")
    assert loaded(tmp_path, plain).tls is None
    everywhere = PAGES + 'host = "0.0.0.0"\n'
    with pytest.raises(Misuse, match=r'pages.host = "0.0.0.0": plain HTTP is served on loopback only; add \[tls\]'):
        loaded(tmp_path, plain.replace(PAGES, everywhere))
    assert loaded(tmp_path, GOOD_CRITICAL.replace(PAGES, everywhere)).pages is not None


@pytest.mark.parametrize("origin", ["https://API.example", "https://api.example:443", "https://Api.Example:443"])
def test_the_origin_of_the_api_in_another_spelling(tmp_path: Path, origin: str) -> None:
    """A browser takes these for one origin (RFC 6454 section 4), so they are one here."""
    with pytest.raises(Misuse, match="never that of the API"):
        loaded(tmp_path, GOOD_CRITICAL.replace("https://pages.example", origin))


def test_proxies(tmp_path: Path) -> None:
    """By network or by hops, at both ends of what is taken, as the fronts take them."""
    text = 'header = "forwarded"\nnetworks = ["10.0.0.0/8", "192.0.2.7", "fc00::/7", "2001:DB8::1/128"]'
    networks = tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7/32", "fc00::/7", "2001:db8::1/128")))
    made = loaded(tmp_path, f"{GOOD}[proxies]\n{text}\n")
    assert made.proxies_compiled() == Proxies(b"forwarded", networks)
    for hops in (1, 10):
        made = loaded(tmp_path, f'{GOOD}[proxies]\nheader = "x-forwarded-for"\nhops = {hops}\n')
        assert made.proxies_compiled() == Proxies(b"x-forwarded-for", (), hops)


_WIDE = "would believe everybody; name the networks of the proxies alone"
_NONE = 'is no network; it is one as in "192.0.2.0/24"'
_ONE = "proxies: one of networks and hops says which proxies are believed"


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("hops = 1", "proxies.header: missing"),
        ('header = "forwarded"', _ONE),
        ('header = "forwarded"\nnetworks = []', _ONE),
        ('header = "forwarded"\nhops = 1\nnetworks = ["10.0.0.0/8"]', _ONE),
        ('header = "Forwarded"\nhops = 1', 'proxies.header = "Forwarded": did you mean "forwarded"?'),
        ('header = "X-Forwarded-For"\nhops = 1', 'proxies.header = "X-Forwarded-For": did you mean "x-forwarded-for"?'),
        ('header = "via"\nhops = 1', 'proxies.header = "via": it is "forwarded" or "x-forwarded-for"'),
        ('header = "forwarded"\nhop = 1', 'proxies.hop: unknown; did you mean "hops"?'),
        ('header = "forwarded"\nnetwork = ["10.0.0.0/8"]', 'proxies.network: unknown; did you mean "networks"?'),
        ('heder = "forwarded"\nhops = 1', 'proxies.heder: unknown; did you mean "header"?'),
        ('header = "forwarded"\nhops = 0', 'proxies.hops = "0": input should be greater than or equal to 1'),
        ('header = "forwarded"\nhops = 11', 'proxies.hops = "11": input should be less than or equal to 10'),
        ('header = "forwarded"\nhops = true', 'proxies.hops = "True": input should be a valid integer'),
    ]
    + [
        (f'header = "forwarded"\nnetworks = ["10.0.0.0/8", "{network}"]', f'proxies.networks: "{network}"{said}')
        for network, said in (
            *(
                (one, f" {_NONE}")
                for one in ("10.1", "lb.example", "", "1.2.3.4/33", "fe80::1%eth0", "10.0.0.0/ 8", "*")
            ),
            *((one, f" {_WIDE}") for one in ("0.0.0.0/0", "::/0", "0.0.0.0/1", "2000::/3", "::ffff:0:0/0")),
            ("10.0.0.5/8", ': did you mean "10.0.0.0/8"?'),
            ("2001:db8::1/64", ': did you mean "2001:db8::/64"?'),
            ("::ffff:10.0.0.0/104", " is IPv4, and is written so"),
        )
    ],
)
def test_one_line_for_each_mistake_about_proxies(tmp_path: Path, lines: str, line: str) -> None:
    """Whatever would believe the wrong ones, or nobody where some were meant, stops the start."""
    with pytest.raises(Misuse) as found:
        loaded(tmp_path, f"{GOOD}[proxies]\n{lines}\n")
    assert str(found.value) == line


@pytest.mark.parametrize("header", ["forwarded", "Forwarded", "x-forwarded-for", "X-Forwarded-For", "x-real-ip"])
def test_what_proxies_write_is_on_no_list(tmp_path: Path, header: str) -> None:
    """With proxies as without: what they say reaches the guard, and never the app."""
    for more in ("", '[proxies]\nheader = "forwarded"\nhops = 1\n'):
        with pytest.raises(Misuse, match="speaks for a proxy or for the guard and never reaches the app"):
            loaded(tmp_path, GOOD.replace(RULE, f'{RULE}\nheaders = ["{header}"]') + more)
