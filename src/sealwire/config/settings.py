"""
All settings of the file but the rules, each with its default; the docstrings of the fields are the settings' manual.

Owns: every setting and its default, and what no setting may say. Refuses to know: what any setting is used for.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Literal

from pydantic import Field

from sealwire.call import Rule
from sealwire.config.rules import RuleTable, compile_rule, judge_rule
from sealwire.config.tables import Seconds, Table, nearest
from sealwire.errors import Misuse
from sealwire.protocol.forwarded import Proxies
from sealwire.protocol.message import normal_authority
from sealwire.protocol.ratelimit import parse_own

# A host name or an IPv6 address in brackets, and a port: what a Host field can hold, since it is compared with one.
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?"
_ORIGIN = re.compile(rf"(https?)://(?:({_HOST})|\[([0-9A-Fa-f:.]+)\])(?::([1-9][0-9]{{0,4}}))?")
_SEGMENTS = re.compile(r"(/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_SMTP = re.compile(rf"smtps?://(?:{_HOST}|\[[0-9A-Fa-f:.]+\]):[1-9][0-9]{{0,4}}")
# The private networks of RFC 1918 and RFC 4193 are as wide as that, and no proxy's own is wider.
_WIDEST = {4: 8, 6: 7}
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Listen(Table):
    """Where the server listens."""

    host: str = Field("127.0.0.1", description="Address to bind. Plain HTTP is served on loopback only.")
    port: int = Field(8443, ge=0, le=65535, description="TCP port.")


class Tls(Table):
    """The server's certificate. TLS 1.3 only."""

    certificate: str = Field(description="PEM file of the certificate chain, relative to this file.")
    key: str = Field(description="`file:` URI of its private key.")


class Keys(Table):
    """The server's own keys, by URI."""

    signing: str = Field(description="`file:` URI of the PKCS#8 PEM key that signs replies; mode 0600.")
    wrapping: str = Field(description="`file:` URI of 32 bytes in base64url that wrap what is kept; mode 0600.")


class Store(Table):
    """Where state lives."""

    durable: str = Field(description="`sqlite:` and a file, relative to this file: decisions, keys, durable nonces.")
    fast: str = Field(
        "memory:",
        description="Nonces, buckets, sessions: `memory:` in this one process; `sqlite:` shared by `serve --workers`.",
    )


class ProxiesTable(Table):
    """The proxies that say where a call comes from. Without them whoever connects is the caller."""

    header: Literal["forwarded", "x-forwarded-for"] = Field(
        description="The one field that they write; no other is believed."
    )
    networks: list[str] = Field([], description="Networks (CIDR) that they connect from, every one on the way.")
    hops: int | None = Field(
        None,
        ge=1,
        le=10,
        description="In place of `networks`: how many stand before us. Only where nothing but they can connect.",
    )

    def compiled(self) -> Proxies:
        """As the fronts take them."""
        return Proxies(self.header.encode("ascii"), tuple(map(ipaddress.ip_network, self.networks)), self.hops or 0)


class MetricsTable(Table):
    """Prometheus metrics."""

    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on 127.0.0.1 for GET /metrics of `serve`, all workers together; absent: none.",
    )


class Limits(Table):
    """What holds for all calls together, in each process; the limits of a rule are the rule's."""

    calls: int = Field(1024, ge=1, le=1_000_000, description="Calls at work at once; more are 429 and asked to wait.")
    connections: int = Field(8192, ge=1, le=1_000_000, description="Connections that are open at once.")
    connections_per_address: int = Field(
        512, ge=1, le=1_000_000, description="Connections of one IPv4 address or IPv6 /64; proxies are not counted."
    )
    failures_per_address: str = Field(
        "300/min", description="Failed credentials of one address before it hears no more than 429."
    )
    failures_per_key: str = Field(
        "300/min", description="The same for tries that name one key, from anywhere; its owner's calls are not refused."
    )


class Sessions(Table):
    """Sessions of sealed routes."""

    lifetime: Seconds = Field(900, ge=60, le=3600, description="How long a session lasts, in seconds.")
    max_requests: int = Field(65_536, ge=1, le=1_048_576, description="How many messages a session may carry.")


class Pages(Table):
    """The pages at which people approve, at an origin of their own."""

    origin: str = Field(description="Origin of the pages, never one of `public_origins`.")
    host: str = Field("127.0.0.1", description="Address to bind. Plain HTTP is served on loopback only.")
    port: int = Field(8444, ge=0, le=65535, description="TCP port.")
    sign_in: str = Field(description="`module:function` of the app: (name, password) to the user's id, or None.")
    scopes: list[str] | None = Field(
        None, description="Scopes that users may give their own programs; absent: in development all, else none."
    )
    factor_cooldown: Seconds = Field(
        86_400, ge=0, le=2_592_000, description="How long after a reset of factors nothing is approved, in seconds."
    )
    totp_grace_seconds: int = Field(
        10, ge=0, le=30, description="How long the previous TOTP code counts; 0 keeps RFC 6238 by the letter."
    )


class NoticeTable(Table):
    """How users hear of what waits for them. Without it a line in the log."""

    smtp: str = Field(description="`smtp://host:port` (STARTTLS where offered) or `smtps://host:port`.")
    sender: str = Field(description="Address that the mail is from.")
    address: str = Field(description="`module:function` of the app: a user's id to an e-mail address, or None.")
    user: str = Field("", description="Name to log in with.")
    password: str = Field("", description="`file:` URI of the password; mode 0600.")


class Settings(Table):
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
    limits: Limits = Field(
        default_factory=lambda: Limits.model_validate({}), description="Limits of all calls together."
    )
    proxies: ProxiesTable | None = Field(None, description="The proxies that say where a call comes from.")
    metrics: MetricsTable = Field(
        default_factory=lambda: MetricsTable.model_validate({}), description="Where metrics are read."
    )
    pages: Pages | None = Field(None, description="Where people approve; needed by a `critical` rule.")
    notice: NoticeTable | None = Field(None, description="How users hear of what waits for them.")
    rules: list[RuleTable] = Field(min_length=1, description="The rules.")
    path: Path = Field(exclude=True, description="The file itself; set by the loader, not in the file.")

    def resolve(self, uri: str) -> Path:
        """The file that a `file:` or `sqlite:` URI, or a plain path, names."""
        return self.path.parent / uri.removeprefix("file:").removeprefix("sqlite:")

    def rules_compiled(self) -> tuple[Rule, ...]:
        """The rules as the guard takes them."""
        return tuple(compile_rule(table) for table in self.rules)

    def proxies_compiled(self) -> Proxies | None:
        """The proxies as the fronts take them, None where there are none."""
        return None if self.proxies is None else self.proxies.compiled()


def judge(settings: Settings) -> None:
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
        judge_rule(f"rules[{i}]", rule, settings.environment)
        if rule.profile == "critical" and settings.pages is None:
            raise Misuse(f'rules[{i}].profile = "critical": people approve at pages of their own; add [pages]')
    _judge_tables(settings)


def _judge_tables(settings: Settings) -> None:
    if settings.proxies is not None:
        _judge_proxies(settings.proxies)
    if settings.pages is not None:
        _judge_pages(settings, settings.pages)
    if settings.notice is not None:
        _judge_notice(settings.notice)
    _judge_failures(settings)


def _judge_failures(settings: Settings) -> None:
    for name in ("failures_per_address", "failures_per_key"):
        try:
            parse_own(getattr(settings.limits, name), "address")
        except ValueError as why:
            raise Misuse(f"limits.{name}: {why}") from None


def _judge_proxies(proxies: ProxiesTable) -> None:
    if bool(proxies.networks) == (proxies.hops is not None):
        raise Misuse("proxies: one of networks and hops says which proxies are believed")
    for text in proxies.networks:
        said = f'proxies.networks: "{text}"'
        try:
            network = None if "%" in text else ipaddress.ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None:
            raise Misuse(f'{said} is no network; it is one as in "192.0.2.0/24"')
        if network.prefixlen < _WIDEST[network.version]:
            raise Misuse(f"{said} would believe everybody; name the networks of the proxies alone")
        if network.version == 6 and network.network_address.ipv4_mapped is not None:
            raise Misuse(f"{said} is IPv4, and is written so")
        if ipaddress.ip_interface(text).ip != network.network_address:
            raise Misuse(f'{said}: did you mean "{network}"?')


def _judge_pages(settings: Settings, pages: Pages) -> None:
    _judge_origin("pages.origin", pages.origin)
    # As a browser says it, since every form is held against that.
    said = re.sub(r":443$" if pages.origin.startswith("https:") else r":80$", "", pages.origin.lower())
    own = normal_authority(pages.origin.partition("://")[2])
    if own in {normal_authority(origin.partition("://")[2]) for origin in settings.public_origins}:
        raise Misuse(f'pages.origin = "{pages.origin}": the pages have an origin of their own, never that of the API')
    if pages.origin != said:
        raise Misuse(f'pages.origin = "{pages.origin}": browsers say "{said}"')
    if settings.tls is None and not _loopback(pages.host):
        raise Misuse(f'pages.host = "{pages.host}": plain HTTP is served on loopback only; add [tls]')
    named = sorted({scope for rule in settings.rules for scope in rule.scopes})
    for scope in pages.scopes or ():
        if scope not in named:
            raise Misuse(f'pages.scopes: no rule names "{scope}"; {nearest(scope, named)}')
    if not _APP.fullmatch(pages.sign_in):
        raise Misuse(f'pages.sign_in = "{pages.sign_in}": it is module:function')


def _judge_notice(notice: NoticeTable) -> None:
    if not _SMTP.fullmatch(notice.smtp):
        raise Misuse(f'notice.smtp = "{notice.smtp}": it is smtp://host:port or smtps://host:port')
    if not _APP.fullmatch(notice.address):
        raise Misuse(f'notice.address = "{notice.address}": it is module:function')
    if bool(notice.user) != bool(notice.password):
        raise Misuse("notice: user and password go together")
    if notice.password and (not notice.password.startswith("file:") or notice.password.startswith("file://")):
        raise Misuse("notice.password: a secret is named by a URI, as in file:keys/name; this version knows file:")


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
