"""
What the guard itself serves below `/.well-known/sealwire`: discovery, key set, rules, enrolment, rotation,
revocation, and a page for each problem (docs/protocol.md, "Discovery", "Enrolment").

Owns: these documents and their rules. Refuses to know: how a call was proven; it arrives with all its evidence.
"""

from __future__ import annotations

import html
import json
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sealwire.call import Body, Call, Caller, Possession, Proof, Rule
from sealwire.errors import TABLE, Fault, Refusal
from sealwire.ports import Clock, Directory, Entropy, Keyring
from sealwire.protocol import strictjson
from sealwire.protocol.handshake import KEMS
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.jwk import JOSE_NAMES, KEYID
from sealwire.protocol.message import Reply
from sealwire.protocol.problem import PATH as PROBLEMS
from sealwire.protocol.ratelimit import Limit
from sealwire.protocol.window import SKEW_SECONDS

BASE = "/.well-known/sealwire"
KEYS = f"{BASE}/keys"
SESSIONS = f"{BASE}/sessions"
JWKS = f"{BASE}/jwks.json"
RULES = f"{BASE}/rules"
_KEY = f"{KEYS}/{{keyid}}"
_PROBLEM = f"{PROBLEMS}{{slug}}"
#: Anybody may ask for these, and each answer costs a signature.
_LIMITS = (Limit(600, 60, "address"),)
_ENROLMENT_BYTES = 64 * 1024
_JSON = (b"content-type", b"application/json")
Endpoint = Callable[[Call], Awaitable[Reply]]


class Published(NamedTuple):
    """
    What discovery and the endpoints are told of the deployment; `rotation_overlap_seconds` an old key stays valid.
    """

    origin: str
    rules: tuple[Rule, ...]
    rotation_overlap_seconds: int
    external_prefix: str = ""

    def seals(self) -> bool:
        """True if some rule takes sealed calls."""
        return any(rule.seals for rule in self.rules)


def endpoint_rules() -> tuple[Rule, ...]:
    """The rules of the endpoints themselves; a policy cannot name these paths."""
    get = frozenset(("GET",))
    return (
        Rule(BASE, get, "published", limits=_LIMITS),
        Rule(JWKS, get, "published", limits=_LIMITS),
        Rule(RULES, get, "published", limits=_LIMITS),
        Rule(_PROBLEM, get, "open", limits=_LIMITS),
        Rule(KEYS, frozenset(("POST",)), "enrolment", limits=_LIMITS, max_body_bytes=_ENROLMENT_BYTES),
        Rule(_KEY, frozenset(("DELETE",)), "signed"),
    )


class Endpoints:
    """The guard's own endpoints over a directory and a key home."""

    def __init__(
        self, published: Published, directory: Directory, keyring: Keyring, clock: Clock, entropy: Entropy
    ) -> None:
        self._published = published
        self._directory = directory
        self._keyring = keyring
        self._clock = clock
        self._entropy = entropy

    def table(self) -> dict[str, Endpoint]:
        """Each endpoint by its rule's template."""
        return {
            BASE: self._discovery,
            JWKS: self._key_set,
            RULES: self._rules,
            _PROBLEM: self._problem,
            KEYS: self._enrol,
            _KEY: self._revoke,
        }

    async def _discovery(self, _: Call) -> Reply:
        origin, seals = self._published.origin, self._published.seals()
        endpoints = {"keys": KEYS, "rules": RULES, "jwks": JWKS} | ({"sessions": SESSIONS} if seals else {})
        return _json(
            {
                "origin": origin,
                "version": 1,
                "endpoints": endpoints,
                "algorithms": list(JOSE_NAMES),
                "kems": list(KEMS) if seals else [],
                "window": {"max_age": 60, "skew": SKEW_SECONDS},
                "jwks_uri": f"{origin}{JWKS}",
                "documentation": f"{origin}{PROBLEMS}signature-missing",
            }
        )

    async def _key_set(self, _: Call) -> Reply:
        verifier = self._keyring.verifier
        version, issued_at = await self._directory.key_set_version(verifier.keyid, self._clock.now())
        key = {**verifier.jwk, "use": "sig", "alg": JOSE_NAMES[verifier.algorithm], "kid": verifier.keyid}
        return _json({"version": version, "issued_at": issued_at, "keys": [key], "handovers": []})

    async def _rules(self, _: Call) -> Reply:
        prefix = self._published.external_prefix
        return _json({"rules": [_shown(rule, prefix) for rule in self._published.rules]})

    async def _problem(self, call: Call) -> Reply:
        row = TABLE.get(slug := call.request.decoded.rpartition("/")[2])
        if row is None:
            raise Refusal("not-found", "no-rule")
        title, meaning, remedy = (html.escape(text) for text in (row.title, row.meaning, row.remedy))
        page = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{slug}</title>'
            f"<h1>{title}</h1><p><code>{slug}</code>, status {row.status}</p><p>{meaning}</p><p>{remedy}</p></html>\n"
        )
        policy = (b"content-security-policy", b"default-src 'none'")
        return Reply(200, ((b"content-type", b"text/html; charset=utf-8"), policy), page.encode())

    async def _enrol(self, call: Call) -> Reply:
        proof, verifier = call.get(Proof), call.get(Possession).verifier
        offered = strictjson.read(call.get(Body).content)
        if not isinstance(offered, dict):
            raise Fault("internal", "evidence")
        wanted = {"key", "name"} if proof.invitation else {"key", "name", "client", "by"}
        for member in sorted(offered.keys() ^ wanted):
            detail = "The member is missing." if member in wanted else "The member does not belong here."
            raise _unfit(f"/{member}" if member in {"key", "name", "client", "by"} else "", detail)
        name = offered["name"]
        if not isinstance(name, str) or not 1 <= len(name) <= 100 or not name.isprintable():
            raise _unfit("/name", "A name has 1 to 100 printable characters.")
        now = self._clock.now()
        if proof.invitation:
            client = identifier("cli", int(now * 1000), self._entropy(RANDOM_BYTES))
            enrolled = await self._directory.enrol(proof.invitation, verifier, client, name, now)
        else:
            if proof.key is None:
                raise Fault("internal", "evidence")
            if offered["client"] != proof.key.client:
                raise _unfit("/client", "The client is not the one whose key signed.")
            if offered["by"] != proof.keyid:
                raise _unfit("/by", "This is not the key that signed.")
            overlap = self._published.rotation_overlap_seconds
            enrolled = await self._directory.rotate(proof.keyid, verifier, name, now, overlap)
        key = {"kid": enrolled.keyid, "state": enrolled.state, "expires_at": _seconds(enrolled.expires_at)}
        return _json({"client": enrolled.client, "key": key}, 201)

    async def _revoke(self, call: Call) -> Reply:
        caller, keyid = call.get(Caller), call.request.decoded.rpartition("/")[2]
        key = await self._directory.key(keyid) if KEYID.fullmatch(keyid) else None
        if key is None or key.client != caller.client:
            raise Refusal("not-found", "no-key", "The client has no such key.", failed="policy")
        if keyid != caller.key:
            raise Refusal("approval-required", "another-key", failed="policy")
        await self._directory.revoke(keyid)
        return Reply(204, (), b"")


def _json(document: object, status: int = 200) -> Reply:
    return Reply(status, (_JSON,), json.dumps(document, separators=(",", ":")).encode("ascii"))


def _unfit(pointer: str, detail: str) -> Refusal:
    errors = [{"pointer": pointer, "detail": detail}]
    return Refusal("request-invalid", "enrolment", failed="policy", members={"errors": errors})


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)


def _shown(rule: Rule, prefix: str) -> dict[str, object]:
    """A rule for those who call: its path as they say it, before a proxy strips the prefix."""
    return {
        "path": prefix + rule.template,
        "methods": sorted(rule.methods),
        "profile": rule.profile,
        "exact": rule.exact,
        "slash_ok": rule.slash_ok,
        "session_mac": rule.session_mac,
        "content_types": sorted(rule.content_types),
        "clear_query": sorted(rule.clear_query),
        "max_age": rule.max_age_seconds,
        "kems": list(KEMS) if rule.seals else [],
        "idempotency_key": rule.idempotency_required,
    }
