"""
Which calls are sealed: the server's rules as a value (docs/protocol.md, "Discovery").

Owns: that the nearest rule decides here as at the server. What no rule is known for is not guessed at and not sent: the
client seals by the signed rules and never by what a refusal says.
Refuses to know: how the rules are come by and believed, how anything is sealed.
"""

from __future__ import annotations

from typing import NamedTuple, TypeGuard

from sealwire.call import Rule
from sealwire.client.errors import NotSignable
from sealwire.errors import Misuse, Refusal
from sealwire.protocol.handshake import KEMS
from sealwire.protocol.message import read_target
from sealwire.routes import Routes

#: The server's own endpoints stand in no rule; the client knows how they are called.
_OWN = b"/.well-known/sealwire"
_PROFILES = frozenset(("open", "keyed", "signed", "sealed", "critical"))
_MAX_RULES = 4096


class Sealed(NamedTuple):
    """How calls of one rule are sealed: the kems it offers, and whether the session's key may sign."""

    kems: tuple[str, ...]
    session_mac: bool
    clear_query: frozenset[str]


class Rules:
    """The rules of one origin, as asked for at `asked_at` (Unix seconds of the own clock)."""

    def __init__(self, document: object, asked_at: float) -> None:
        """
        Reads the document of the rules endpoint.

        Raises: ValueError if it is none, or has a profile that this client does not know: then nothing is sent.
        """
        listed = document.get("rules") if isinstance(document, dict) else None
        if not isinstance(listed, list) or len(listed) > _MAX_RULES:
            raise ValueError("rules have a list of rules")
        rules = [_read(members) for members in listed]
        try:
            self._routes = Routes(rule for rule, _ in rules)
        except Misuse:
            raise ValueError("a path is no template, or two rules decide one call") from None
        self._sealed = {rule: sealed for rule, sealed in rules if sealed is not None}
        self.asked_at = asked_at

    def decide(self, method: str, target: bytes, *, silent: bool = False) -> Sealed | None:
        """
        How this call is sealed, or None if it is not. `silent` says that it has no content.

        Raises: NotSignable for one with content or a query that no rule decides, where some rule seals: the server
        would refuse it, but whoever terminates TLS would have seen what may have been meant for a sealed route.
        """
        path, _, query = target.partition(b"?")
        if path == _OWN or path.startswith(_OWN + b"/"):
            return None
        try:
            return self._sealed.get(self._routes.match(method, read_target(target)))
        except Refusal as refusal:
            if not self._sealed or (silent and not query):
                return None
            reason = f"no rule of the server decides this call ({refusal.slug}{': ' * bool(refusal.detail)}"
            raise NotSignable(f"{reason}{refusal.detail})") from None


def _read(members: object) -> tuple[Rule, Sealed | None]:
    if not isinstance(members, dict):
        raise ValueError("a rule is an object")
    path, methods, name = members.get("path"), members.get("methods"), members.get("profile")
    if not isinstance(path, str) or not _texts(methods) or name not in _PROFILES:
        raise ValueError("a rule has path, methods and a profile that this client knows")
    exact, slash_ok = members.get("exact", False), members.get("slash_ok", "")
    if not isinstance(exact, bool) or not isinstance(slash_ok, str):
        raise ValueError("exact is true or false, and slash_ok names a parameter")
    rule = Rule(path, frozenset(methods), name, exact=exact, slash_ok=slash_ok)
    if not rule.seals:
        return rule, None
    kems, query = members.get("kems"), members.get("clear_query")
    if not _texts(kems) or not _texts(query):
        raise ValueError("a sealed rule has kems and clear_query")
    mac = members.get("session_mac") is True
    return rule, Sealed(tuple(kem for kem in KEMS if kem in kems), mac, frozenset(query))


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def choose(sealed: Sealed, own: tuple[str, ...]) -> str:
    """
    The kem for a session: the first of `own` that the rule offers, whatever anybody else would prefer.

    Raises: NotSignable if there is none; then nothing is sent.
    """
    for kem in own:
        if kem in sealed.kems:
            return kem
    raise NotSignable(f"the route is sealed with {', '.join(sealed.kems) or 'nothing known'}, and this client has none")
