"""
`sealwire.toml` to frozen settings. The docstrings of the fields are the settings' manual.

Owns: every setting, its default, and the one line that a mistake gets: key, value, and the nearest right one. Secrets
are URIs only. Refuses to know: what any setting is used for.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sealwire.call import Rule
from sealwire.errors import Misuse
from sealwire.protocol.ratelimit import parse_limit

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PROFILES = ("open", "signed", "sealed")
_LATER = frozenset(("keyed", "critical"))
_UNLISTABLE = re.compile(
    r"forwarded|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|.*-method-override|client-cert.*|sealwire-.*|host"
    r"|connection|content-length|transfer-encoding|signature|signature-input"
)
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.1
# RFC 6749 section 3.3, without the comma that the command line puts between scopes.
_SCOPE = re.compile(r"[!#-+\--\[\]-~]+")
# A host name or an IPv6 address in brackets, and a port: what a Host field can hold, since it is compared with one.
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_ORIGIN = re.compile(rf"(https?)://(?:({_HOST})|\[([0-9A-Fa-f:.]+)\])(?::([1-9][0-9]{{0,4}}))?")
_SEGMENTS = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_SPAN = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _span(value: object) -> object:
    """`60s`, `10m`, `24h`, `7d` or a number of seconds, as seconds."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else value


Seconds = Annotated[int, BeforeValidator(_span)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Listen(_Table):
    """Where the server listens."""

    host: str = Field("127.0.0.1", description="Address to bind. Plain HTTP is served on loopback only.")
    port: int = Field(8443, ge=0, le=65535, description="TCP port.")


class Tls(_Table):
    """The server's certificate. TLS 1.3 only."""

    certificate: str = Field(description="PEM file of the certificate chain, relative to this file.")
    key: str = Field(description="`file:` URI of its private key.")


class Keys(_Table):
    """The server's own keys, by URI."""

    signing: str = Field(description="`file:` URI of the PKCS#8 PEM key that signs replies; mode 0600.")
    wrapping: str = Field(description="`file:` URI of 32 bytes in base64url that wrap what is kept; mode 0600.")


class Store(_Table):
    """Where state lives."""

    durable: str = Field(description="`sqlite:` and a file, relative to this file: decisions, keys, durable nonces.")
    fast: str = Field(
        "memory:",
        description="Nonces, buckets, sessions: `memory:` in this one process; `sqlite:` shared by `serve --workers`.",
    )


class MetricsTable(_Table):
    """Prometheus metrics."""

    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on 127.0.0.1 for GET /metrics of `serve`, all workers together; absent: none.",
    )


class Sessions(_Table):
    """Sessions of sealed routes."""

    lifetime: Seconds = Field(900, ge=60, le=3600, description="How long a session lasts, in seconds.")
    max_requests: int = Field(65_536, ge=1, le=1_048_576, description="How many messages a session may carry.")


class RuleTable(_Table):
    """One `[[rules]]` table. The nearest rule for a path decides, whatever the order in the file."""

    path: str = Field(description="Template: literals, `{parameter}` segments, `**` as the last segment.")
    methods: list[str] = Field(list(_DEFAULT_METHODS), description="Methods. HEAD and OPTIONS need to be listed.")
    profile: str = Field("signed", description="`open`, `signed` or `sealed`.")
    mode: Literal["enforce", "observe"] = Field("enforce", description="`observe` logs who would be refused.")
    scopes: list[str] = Field([], description="Scopes that the client must have.")
    limits: list[str] = Field([], description="As `60/min per address`; kinds are address, key, client, user.")
    content_types: list[str] = Field(["application/json"], description="Media types that a body may have.")
    headers: list[str] = Field([], description="Further request fields that the app sees.")
    max_age: Seconds = Field(60, ge=5, le=300, description="How old a signature may be, in seconds.")
    max_body: int = Field(1_048_576, ge=0, le=67_108_864, description="Largest body, in bytes.")
    session_mac: bool = Field(default=False, description="Whether a session's key may sign in place of the client's.")
    clear_query: list[str] = Field([], description="Query parameters that a sealed call may show.")
    fresh: bool = Field(default=False, description="Take only nonces that the server gave.")
    replay: Literal["durable", "fast"] = Field("durable", description="`fast` gives up the durable claim of nonces.")
    idempotency: Literal["optional", "required"] = Field(
        "optional", description="Whether an Idempotency-Key is needed."
    )
    stream: bool = Field(default=False, description="Replies are streamed behind a signed head, content unverified.")
    exact: bool = Field(default=False, description="Opt out of the check against lax upstreams.")
    slash_ok: str = Field("", description="The one path parameter that may hold an encoded slash.")
    because: str = Field("", description="Why an open rule may write; needed in production.")


class Settings(_Table):
    """The whole file."""

    environment: Literal["development", "production"] = Field("production", description="Production is stricter.")
    public_origins: list[str] = Field(min_length=1, description="Origins that Host must be one of; the first is ours.")
    app: str = Field("", description="`module:name` of the ASGI app, for `sealwire serve`.")
    app_factory: bool = Field(default=False, description="`app` names a function that makes the app.")
    external_prefix: str = Field("", description="Path prefix that a proxy strips, as in `/api`.")
    health: str = Field("", description="Path that answers a status to whoever asks, before everything else.")
    line_fingerprints: bool = Field(default=True, description="Whether a mismatch shows which line differs.")
    rotation_overlap: Seconds = Field(86_400, ge=60, le=2_592_000, description="How long a rotated key stays, seconds.")
    front_end: str = Field("", description="Name of the server that judges targets, where it is not ours.")
    live_nonces: int = Field(100_000, ge=1, le=10_000_000, description="Unexpired nonces that one key may hold.")
    clock_kept_by: str = Field("", description="What keeps the host's clock, where the kernel does not know of it.")
    listen: Listen = Field(default_factory=lambda: Listen.model_validate({}), description="Address and port.")
    tls: Tls | None = Field(None, description="Certificate; without it plain HTTP, on loopback only.")
    keys: Keys = Field(description="The server's keys.")
    store: Store = Field(description="The stores.")
    sessions: Sessions = Field(
        default_factory=lambda: Sessions.model_validate({}), description="How long sessions live."
    )
    metrics: MetricsTable = Field(
        default_factory=lambda: MetricsTable.model_validate({}), description="Where metrics are read."
    )
    rules: list[RuleTable] = Field(min_length=1, description="The rules.")
    path: Path = Field(exclude=True, description="The file itself; set by the loader, not in the file.")

    def resolve(self, uri: str) -> Path:
        """The file that a `file:` or `sqlite:` URI, or a plain path, names."""
        return self.path.parent / uri.removeprefix("file:").removeprefix("sqlite:")

    def rules_compiled(self) -> tuple[Rule, ...]:
        """The rules as the guard takes them."""
        return tuple(_rule(table) for table in self.rules)


def load(path: Path) -> Settings:
    """The settings of a file, judged whole. Raises: Misuse, one line."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as why:
        raise Misuse(f"{path}: {why.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise Misuse(f"{path}: {why}") from None
    if "path" in raw:
        raise Misuse("path: unknown; a path belongs to a rule")
    try:
        settings = Settings.model_validate({**raw, "path": path})
    except ValidationError as why:
        raise Misuse(_line(why)) from None
    _judge(settings)
    return settings


def policy_version(path: Path) -> str:
    """12 hex digits that change with the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _line(why: ValidationError) -> str:
    """The first mistake in one line: key, value, and the nearest right one."""
    # A misspelt key is also a missing one: the spelling is what has to be mended.
    first = min(why.errors(), key=lambda error: error["type"] != "extra_forbidden")
    *parents, last = first["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "extra_forbidden":
        known = [name for name in _known(parents) if name != "path" or parents]
        near = difflib.get_close_matches(str(last), known, 1)
        return f"{key}: unknown; " + (f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}")
    if first["type"] == "missing":
        return f"{key}: missing"
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']+)'", str(first["ctx"]["expected"]))
        return f'{key} = "{first["input"]}": {_nearest(str(first["input"]), choices)}'
    given = first["input"] if isinstance(first["input"], str | int | float | bool) else type(first["input"]).__name__
    return f'{key} = "{given}": {first["msg"][0].lower()}{first["msg"][1:]}'


def _nearest(given: str, choices: list[str]) -> str:
    """The choice that was probably meant, or all of them."""
    near = difflib.get_close_matches(given, choices, 1)
    return f'did you mean "{near[0]}"?' if near else "it is " + " or ".join(f'"{choice}"' for choice in choices)


def _known(parents: list[int | str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "listen": Listen, "tls": Tls, "keys": Keys, "store": Store, "metrics": MetricsTable, "rules": RuleTable,
        "sessions": Sessions,
    }  # fmt: skip
    table = tables[str(parents[0])] if parents else Settings
    return list(table.model_fields)


def _judge(settings: Settings) -> None:
    for i, origin in enumerate(settings.public_origins):
        _judge_origin(f"public_origins[{i}]", origin)
    if settings.tls is None and not _loopback(settings.listen.host):
        raise Misuse(f'listen.host = "{settings.listen.host}": plain HTTP is served on loopback only; add [tls]')
    _judge_uris(settings)
    if settings.external_prefix and not _SEGMENTS.fullmatch(settings.external_prefix):
        raise Misuse(f'external_prefix = "{settings.external_prefix}": a path without its last slash, as in /api')
    if settings.health and not _SEGMENTS.fullmatch(settings.health):
        raise Misuse(f'health = "{settings.health}": a plain path, as in /healthz')
    if settings.app and not _APP.fullmatch(settings.app):
        raise Misuse(f'app = "{settings.app}": it is module:name')
    for i, rule in enumerate(settings.rules):
        _judge_rule(f"rules[{i}]", rule, settings.environment)


def _judge_uris(settings: Settings) -> None:
    uris = {"keys.signing": settings.keys.signing, "keys.wrapping": settings.keys.wrapping}
    if settings.tls is not None:
        uris["tls.key"] = settings.tls.key
    for key, uri in uris.items():
        if not uri.startswith("file:") or uri == "file:" or uri.startswith("file://"):
            raise Misuse(f"{key}: a secret is named by a URI, as in file:keys/name; this version knows file:")
    scheme, _, file = settings.store.durable.partition(":")
    if scheme != "sqlite" or not file or file.startswith((":", "//")):
        raise Misuse(f'store.durable = "{settings.store.durable}": not in this version; it is sqlite: and a file')
    if settings.store.fast not in ("memory:", "sqlite:"):
        raise Misuse(f'store.fast = "{settings.store.fast}": not in this version; it is memory: or sqlite:')


def _judge_origin(key: str, origin: str) -> None:
    found = _ORIGIN.fullmatch(origin)
    if found is not None:
        scheme, name, ipv6, port = found.groups()
        if (name or _is_ipv6(ipv6)) and int(port or 0) <= 65535 and (scheme == "https" or _loopback(name or ipv6)):
            return
    raise Misuse(f'{key} = "{origin}": an origin is https://host or https://host:port and nothing more')


def _is_ipv6(address: str) -> bool:
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _judge_rule(key: str, rule: RuleTable, environment: str) -> None:
    _judge_profile(key, rule.profile)
    _judge_methods(key, rule.methods)
    writes = set(rule.methods) - SAFE_METHODS
    if rule.profile == "open" and writes and environment == "production" and not rule.because.strip():
        raise Misuse(f'{key}.because: an open rule that takes {min(writes)} needs a reason, as in "sign-up form"')
    if rule.stream and (others := set(rule.methods) - {"GET", "HEAD"}):
        raise Misuse(f"{key}.stream: only GET and HEAD can be streamed, not {min(others)}")
    _judge_sealing(key, rule)
    if rule.slash_ok and f"{{{rule.slash_ok}}}" not in rule.path.split("/"):
        raise Misuse(f'{key}.slash_ok = "{rule.slash_ok}": the path has no parameter {{{rule.slash_ok}}}')
    for header in rule.headers:
        if not _FIELD_NAME.fullmatch(header):
            raise Misuse(f'{key}.headers: "{header}" is no field name')
        if _UNLISTABLE.fullmatch(header.lower().replace("_", "-")):
            raise Misuse(f'{key}.headers: "{header}" speaks for a proxy or for the guard and never reaches the app')
    for scope in rule.scopes:
        if not _SCOPE.fullmatch(scope):
            raise Misuse(
                f'{key}.scopes: "{scope}" is no one scope; each is an item of the list, as in ["read", "trade"]'
            )
    _judge_limits(key, rule)
    if rule.profile == "open":
        _judge_open(key, rule)


def _judge_limits(key: str, rule: RuleTable) -> None:
    for limit in rule.limits:
        try:
            kind = parse_limit(limit).kind
        except ValueError as why:
            raise Misuse(f"{key}.limits: {why}") from None
        if rule.profile == "open" and kind != "address":
            raise Misuse(f'{key}.limits: "{limit}" counts per {kind}, and an open rule knows none; say per address')


def _judge_open(key: str, rule: RuleTable) -> None:
    """What only a proven caller can be held to would be passed over without a word."""
    idle = {"scopes": rule.scopes, "fresh": rule.fresh, "idempotency": rule.idempotency == "required"}
    for name, demanded in idle.items():
        if demanded:
            raise Misuse(f'{key}.{name}: an open rule lets anybody in and demands none; say profile = "signed"')


def _judge_profile(key: str, profile: str) -> None:
    if profile not in _PROFILES:
        if profile in _LATER:
            raise Misuse(f'{key}.profile = "{profile}": not in this version; profiles are {", ".join(_PROFILES)}')
        raise Misuse(f'{key}.profile = "{profile}": {_nearest(profile, list(_PROFILES))}')


def _judge_sealing(key: str, rule: RuleTable) -> None:
    if rule.profile == "sealed":
        if rule.stream:
            raise Misuse(f'{key}.stream: a reply of profile = "sealed" is sealed whole, so it cannot be streamed')
        return
    for name, given in (("session_mac", rule.session_mac), ("clear_query", rule.clear_query)):
        if given:
            raise Misuse(f'{key}.{name}: only on a rule of profile = "sealed", not "{rule.profile}"')


def _judge_methods(key: str, methods: list[str]) -> None:
    if not methods:
        raise Misuse(f"{key}.methods: a rule needs a method")
    for method in methods:
        if method != method.upper() or not (method.isascii() and method.isalpha()):
            raise Misuse(f'{key}.methods: "{method}" is no method; nearest is "{method.upper()}"')


def _rule(table: RuleTable) -> Rule:
    return Rule(
        template=table.path,
        methods=frozenset(table.methods),
        profile=table.profile,
        observe=table.mode == "observe",
        scopes=frozenset(table.scopes),
        limits=tuple(parse_limit(limit) for limit in table.limits),
        content_types=frozenset(kind.lower() for kind in table.content_types),
        headers=frozenset(header.lower().encode("ascii") for header in table.headers),
        max_age_seconds=table.max_age,
        max_body_bytes=table.max_body,
        session_mac=table.session_mac,
        clear_query=frozenset(table.clear_query),
        fresh=table.fresh,
        fast_replay=table.replay == "fast",
        idempotency_required=table.idempotency == "required",
        stream=table.stream,
        exact=table.exact,
        slash_ok=table.slash_ok,
        because=table.because,
    )
