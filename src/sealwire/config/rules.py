"""
One rule of the policy: its settings, its mistakes, and what the guard makes of it.

The docstrings of the fields are the settings' manual. Refuses to know: the rest of the file.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from sealwire.call import Approve, Rule
from sealwire.config.tables import Seconds, Table, nearest
from sealwire.errors import Misuse
from sealwire.ports.people import FACTOR_KINDS
from sealwire.protocol.approval import Sentence
from sealwire.protocol.ratelimit import KINDS, PERIODS, parse_limit

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_DEFAULT_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_PROFILES = ("open", "keyed", "signed", "sealed", "critical")
#: Profiles whose calls no signature stands behind.
_UNSIGNED = ("open", "keyed")
_UNLISTABLE = re.compile(
    r"forwarded|x-forwarded-.*|x-real-ip|x-original-.*|x-rewrite-.*|.*-method-override|client-cert.*|sealwire-.*|host"
    r"|connection|content-length|transfer-encoding|signature|signature-input"
)
_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.1
# RFC 6749 section 3.3, without the comma that the command line puts between scopes.
_SCOPE = re.compile(r"[!#-+\--\[\]-~]+")


class ApproveTable(Table):
    """What a critical rule wants a person to approve."""

    show: str = Field(
        "", description="Sentence with members of the body, as in `Send {amount} to {address}`; absent: the app asks."
    )
    factors: list[str] = Field(
        ["totp", "hotp"], alias="with", description="Kinds of factors that may approve: `totp`, `hotp`, `recovery`."
    )
    within: Seconds = Field(600, ge=30, le=600, description="How long the question stands, and the yes, in seconds.")


class RuleTable(Table):
    """One `[[rules]]` table. The nearest rule for a path decides, whatever the order in the file."""

    path: str = Field(description="Template: literals, `{parameter}` segments, `**` as the last segment.")
    methods: list[str] = Field(list(_DEFAULT_METHODS), description="Methods. HEAD and OPTIONS need to be listed.")
    profile: str = Field("signed", description="`open`, `keyed`, `signed`, `sealed` or `critical`.")
    mode: Literal["enforce", "observe"] = Field("enforce", description="`observe` logs who would be refused.")
    scopes: list[str] = Field([], description="Scopes that the client must have.")
    limits: list[str] = Field([], description="As `60/min per address`; kinds are address, key, client, user, rule.")
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
    because: str = Field("", description="Why an open or keyed rule may write; needed in production.")
    approve: ApproveTable | None = Field(None, description="Of a `critical` rule: what a person approves.")

    @model_validator(mode="before")
    @classmethod
    def _critical_calls_have_keys(cls, raw: object) -> object:
        """What is not said of a critical rule is that its calls need an Idempotency-Key."""
        if isinstance(raw, dict) and raw.get("profile") == "critical":
            return {"idempotency": "required", **raw}
        return raw


def judge_rule(key: str, rule: RuleTable, environment: str) -> None:
    _judge_profile(key, rule.profile)
    _judge_methods(key, rule.methods)
    writes = set(rule.methods) - SAFE_METHODS
    if rule.profile in _UNSIGNED and writes and environment == "production" and not rule.because.strip():
        article = "an open" if rule.profile == "open" else "a keyed"
        raise Misuse(f'{key}.because: {article} rule that takes {min(writes)} needs a reason, as in "sign-up form"')
    if rule.stream and (others := set(rule.methods) - {"GET", "HEAD"}):
        raise Misuse(f"{key}.stream: only GET and HEAD can be streamed, not {min(others)}")
    _judge_sealing(key, rule)
    if rule.approve is not None and rule.profile != "critical":
        raise Misuse(f'{key}.approve: only on a rule of profile = "critical", not "{rule.profile}"')
    if rule.slash_ok and f"{{{rule.slash_ok}}}" not in rule.path.split("/"):
        raise Misuse(f'{key}.slash_ok = "{rule.slash_ok}": the path has no parameter {{{rule.slash_ok}}}')
    _judge_names(key, rule)
    _judge_limits(key, rule)
    if rule.profile in _UNSIGNED:
        _judge_unsigned(key, rule)


def _judge_names(key: str, rule: RuleTable) -> None:
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


def _judge_limits(key: str, rule: RuleTable) -> None:
    seen: dict[tuple[str, int], str] = {}
    for limit in rule.limits:
        try:
            found = parse_limit(limit)
        except ValueError as why:
            raise Misuse(f"{key}.limits: {_nearest_kind(limit) or why}") from None
        if rule.profile == "open" and found.kind not in ("address", "rule"):
            raise Misuse(
                f'{key}.limits: "{limit}" counts per {found.kind}, and an open rule knows none; say per address'
            )
        other = seen.setdefault((found.kind, found.period_seconds), limit)
        if other != limit:
            raise Misuse(f'{key}.limits: "{other}" and "{limit}" count the same; say the smaller one')


def _nearest_kind(limit: str) -> str:
    _, per, kind = limit.rpartition(" per ")
    if not per or kind in KINDS or kind in PERIODS:
        return ""
    return f'"{limit}": nothing is counted per {kind}; {nearest(kind, list(KINDS))}'


def _judge_unsigned(key: str, rule: RuleTable) -> None:
    """What only a signed call can be held to would be passed over without a word."""
    idle = {"fresh": rule.fresh, "idempotency": rule.idempotency == "required", "replay": rule.replay == "fast"}
    if rule.profile == "open":
        idle["scopes"] = bool(rule.scopes)
    for name, demanded in idle.items():
        if demanded:
            says = "an open rule lets anybody in" if rule.profile == "open" else "a keyed rule takes unsigned calls"
            raise Misuse(f'{key}.{name}: {says} and demands none; say profile = "signed"')
    if rule.profile == "keyed" and "authorization" in (header.lower() for header in rule.headers):
        raise Misuse(f'{key}.headers: "authorization" is the API key of a keyed call, which no app needs to see')


def _judge_profile(key: str, profile: str) -> None:
    if profile not in _PROFILES:
        raise Misuse(f'{key}.profile = "{profile}": {nearest(profile, list(_PROFILES))}')


def _judge_sealing(key: str, rule: RuleTable) -> None:
    if rule.profile in ("sealed", "critical"):
        if rule.stream:
            raise Misuse(f'{key}.stream: a reply of profile = "{rule.profile}" is sealed whole: it is no stream')
        if rule.profile == "critical":
            _judge_critical(key, rule)
        return
    for name, given in (("session_mac", rule.session_mac), ("clear_query", rule.clear_query)):
        if given:
            raise Misuse(f'{key}.{name}: only on a rule of profile = "sealed", not "{rule.profile}"')


def _judge_critical(key: str, rule: RuleTable) -> None:
    """What would let a call past its person, or past its proof of who asked."""
    if rule.mode == "observe":
        raise Misuse(f'{key}.mode = "observe": no critical call is entered without a person; say profile = "sealed"')
    if rule.session_mac:
        raise Misuse(f"{key}.session_mac: a critical call is signed by its caller's own key")
    if safe := set(rule.methods) & SAFE_METHODS:
        raise Misuse(f"{key}.methods: a person approves what a call does, and {min(safe)} does nothing; take it out")
    if rule.idempotency != "required":
        raise Misuse(f'{key}.idempotency = "optional": a critical call happens once, and carries an Idempotency-Key')
    if rule.replay == "fast":
        raise Misuse(f'{key}.replay = "fast": a critical call is durably seen once')
    # Neither shown, nor bound by the yes, nor signed for unless its sender covers it: anybody on the way could set it.
    if rule.headers:
        raise Misuse(
            f'{key}.headers: "{rule.headers[0]}" is nothing that a person approves; a critical call says it in its body'
        )
    terms = rule.approve or ApproveTable.model_validate({})
    _judge_approve(key, terms)
    if terms.show:
        _judge_shown(key, rule)


def _judge_approve(key: str, terms: ApproveTable) -> None:
    for factor in terms.factors:
        if factor not in FACTOR_KINDS:
            raise Misuse(f'{key}.approve.with: "{factor}": {nearest(factor, list(FACTOR_KINDS))}')
    if not terms.factors:
        raise Misuse(f"{key}.approve.with: name a kind of factor: {', '.join(FACTOR_KINDS)}")
    # Written and empty is a mistake: whoever leaves it to the app leaves it out.
    if "show" in terms.model_fields_set:
        try:
            Sentence.read(terms.show)
        except ValueError as why:
            raise Misuse(f'{key}.approve.show = "{terms.show}": {why}') from None


def _judge_shown(key: str, rule: RuleTable) -> None:
    """The app reads the body as its media type says, and must find what the person was shown."""
    for kind in rule.content_types:
        if kind.lower() != "application/json" and not kind.lower().endswith("+json"):
            raise Misuse(f'{key}.content_types: "{kind}" is no JSON, which the sentence is read from')


def _judge_methods(key: str, methods: list[str]) -> None:
    if not methods:
        raise Misuse(f"{key}.methods: a rule needs a method")
    for method in methods:
        if method != method.upper() or not (method.isascii() and method.isalpha()):
            raise Misuse(f'{key}.methods: "{method}" is no method; nearest is "{method.upper()}"')


def compile_rule(table: RuleTable) -> Rule:
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
        approve=_terms(table.approve) if table.profile == "critical" else None,
    )


def _terms(table: ApproveTable | None) -> Approve:
    table = table or ApproveTable.model_validate({})
    show = Sentence.read(table.show) if table.show else None
    return Approve(show, tuple(dict.fromkeys(table.factors)), table.within)
