"""
Which calls are sealed: the server's signed rules, as one process holds them (docs/protocol.md, "Discovery").

Owns: how the rules are fetched and believed, how long they are held, and which of them decides a call. What no rule is
known for is not guessed at: the client seals by the signed rules and never by what a refusal says.
Refuses to know: how anything is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeGuard

from sealwire.call import Rule
from sealwire.client.errors import NotSignable, ReplyUnproven
from sealwire.client.exchange import Call, Cut, Incoming, Outgoing
from sealwire.client.keyset import fetch_trusted
from sealwire.client.origin import Origin
from sealwire.client.proving import SANE_SECONDS, Asked, UnknownKey, Unproven, prove
from sealwire.client.signing import NONCE_BYTES, compose, nonce_of
from sealwire.errors import Misuse, Refusal
from sealwire.protocol import profile, strictjson
from sealwire.protocol.handshake import KEMS
from sealwire.protocol.message import read_target
from sealwire.routes import Routes

PATH = b"/.well-known/sealwire/rules"
#: The server's own endpoints stand in no rule; the client knows how they are called.
_OWN = b"/.well-known/sealwire"
#: How long rules are held before they are asked for again, in seconds.
HELD_SECONDS = 300
_PROFILES = frozenset(("open", "signed", "sealed"))
_MAX_RULES = 4096

Clock = Callable[[], float]
Entropy = Callable[[int], bytes]


class Sealed(NamedTuple):
    """How calls of one rule are sealed: the kems it offers, and whether the session's key may sign."""

    kems: tuple[str, ...]
    session_mac: bool
    clear_query: frozenset[str]


class Rules:
    """The rules of one origin, as of `fetched_at` (Unix seconds of the own clock)."""

    def __init__(self, document: object, fetched_at: float) -> None:
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
            raise ValueError("two rules decide one call") from None
        self._sealed = {rule: sealed for rule, sealed in rules if sealed is not None}
        self.fetched_at = fetched_at

    def decide(self, method: str, target: bytes, *, silent: bool) -> Sealed | None:
        """
        How this call is sealed, or None if it is not. `silent` says that it has nothing to hide but its path.

        Raises: NotSignable for one that is not silent where no rule decides it and some rule seals: the server would
        refuse it, but whoever terminates TLS would have seen what may have been meant for a sealed route.
        """
        path, _, query = target.partition(b"?")
        if path == _OWN or path.startswith(_OWN + b"/"):
            return None
        try:
            return self._sealed.get(self._routes.match(method, read_target(target)))
        except Refusal as refusal:
            if not self._sealed or (silent and not query):
                return None
            reason = f"no rule of the server decides this call ({refusal.slug}): nothing was sent"
        raise NotSignable(reason)


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
    if name != "sealed":
        return rule, None
    kems, query = members.get("kems"), members.get("clear_query")
    if not _texts(kems) or not _texts(query):
        raise ValueError("a sealed rule has kems and clear_query")
    mac = members.get("session_mac") is True
    return rule, Sealed(tuple(kem for kem in KEMS if kem in kems), mac, frozenset(query))


def _texts(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


class RuleBook:
    """What one process knows of an origin's rules. Safe for threads and tasks: the newest that was fetched is held."""

    def __init__(self) -> None:
        self._held: Rules | None = None

    def forget(self) -> None:
        """The server says proven that a call should have been sealed otherwise: what is held is out of date."""
        self._held = None

    def ask(self, origin: Origin, clock: Clock, entropy: Entropy) -> Generator[Outgoing, Incoming, Rules]:
        """
        The rules, fetched if none are held or they are old.

        Raises: ReplyUnproven if they cannot be believed or were not answered: then no call is sent; the carrier's own
        error if there was no connection.
        """
        held, now = self._held, clock()
        if held is not None and 0 <= now - held.fetched_at < HELD_SECONDS:
            return held
        fetched = yield from _fetch(origin, clock, entropy)
        self._held = fetched
        return fetched


def _fetch(origin: Origin, clock: Clock, entropy: Entropy) -> Generator[Outgoing, Incoming, Rules]:
    nonce = nonce_of(entropy(NONCE_BYTES))
    request = compose(Call("GET", PATH), origin.authority)
    wanted = f'sig=();nonce="{nonce}";tag="{profile.TAG_RESPONSE}"'.encode("ascii")
    try:
        reply = yield Outgoing("GET", PATH, (*request.headers, (b"accept-signature", wanted)), b"")
    except Cut as cut:
        raise cut.cause from None
    now = clock()
    if reply.status != 200 or reply.stream is not None:
        raise ReplyUnproven("the rules, which say what has to be sealed, were not answered", reply.status)
    asked = Asked(request, nonce=nonce)
    held = origin.keys
    try:
        try:
            proven = prove(reply, asked, held.find)
        except UnknownKey:
            around = now + origin.offset_seconds
            fetched = yield from fetch_trusted(
                origin.authority, held, entropy, around - SANE_SECONDS, around + SANE_SECONDS
            )
            origin.adopt(fetched)
            proven = prove(reply, asked, origin.keys.find)
        return Rules(strictjson.read(proven.body), now)
    except (Unproven, ValueError) as why:
        reason = f"the rules, which say what has to be sealed: {why}"
    raise ReplyUnproven(reason, reply.status)


def choose(sealed: Sealed, own: tuple[str, ...]) -> str:
    """
    The kem for a session: the first of `own` that the rule offers, whatever anybody else would prefer.

    Raises: NotSignable if there is none; then nothing is sent.
    """
    for kem in own:
        if kem in sealed.kems:
            return kem
    raise NotSignable(f"the route is sealed with {', '.join(sealed.kems) or 'nothing known'}, and this client has none")
