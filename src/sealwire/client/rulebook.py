"""
The rules as one process holds them: asked for, believed, kept for a while (docs/protocol.md, "Discovery").

Owns: that rules are taken from nowhere but the server's signed document, how long they are held, and that one asks
while the others wait. Refuses to know: which of them decides a call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from sealwire.client.errors import OutcomeUnknown, ReplyUnproven
from sealwire.client.exchange import Call, Cut, Incoming, Outgoing, Turn
from sealwire.client.keyset import fetch_trusted
from sealwire.client.origin import Origin
from sealwire.client.proving import SANE_SECONDS, Asked, UnknownKey, Unproven, prove
from sealwire.client.rules import Rules
from sealwire.client.signing import NONCE_BYTES, compose, nonce_of
from sealwire.protocol import profile, strictjson

PATH = b"/.well-known/sealwire/rules"
#: How long rules are held before they are asked for again, in seconds.
HELD_SECONDS = 300
_MAX_BYTES = 4 * 1024 * 1024
_NO_WORD = frozenset((502, 503, 504))
_WHAT = "the rules, which say what has to be sealed"

Clock = Callable[[], float]
Entropy = Callable[[int], bytes]


class RuleBook:
    """What one process knows of an origin's rules. Safe for threads and tasks: one asks, and the others wait for it."""

    def __init__(self) -> None:
        self._held: Rules | None = None
        self._forgotten = 0

    def forget(self) -> None:
        """The server says proven that a call should have been sealed otherwise: what is held is out of date."""
        self._forgotten += 1
        self._held = None

    def ask(
        self, origin: Origin, clock: Clock, entropy: Entropy, past: Rules | None = None
    ) -> Generator[Outgoing | Turn, Incoming, Rules]:
        """
        The rules, fetched if none are held or they are old, or if they are `past`: those had no rule for a call.

        Raises: ReplyUnproven if they cannot be believed, OutcomeUnknown if they were not answered: then no call is sent
        and nothing was done; the carrier's own error if there was no connection.
        """
        rules = self._fresh(clock(), past)
        if rules is not None:
            return rules
        yield Turn.TAKE
        rules = self._fresh(clock(), past)
        if rules is None:
            forgotten = self._forgotten
            rules = yield from _fetch(origin, clock, entropy)
            # What was asked for before a word that it is out of date is good for this call, and not kept.
            if forgotten == self._forgotten:
                self._held = rules
        yield Turn.GIVE
        return rules

    def _fresh(self, now: float, past: Rules | None) -> Rules | None:
        held = self._held
        return held if held is not None and held is not past and 0 <= now - held.asked_at < HELD_SECONDS else None


def _fetch(origin: Origin, clock: Clock, entropy: Entropy) -> Generator[Outgoing, Incoming, Rules]:
    """Asked twice at most, if the first time no word of the server came back: it is a question, and nothing is done."""
    try:
        rules = yield from _fetch_once(origin, clock, entropy)
        if rules is None:
            rules = yield from _fetch_once(origin, clock, entropy)
        if rules is not None:
            return rules
        lost = OutcomeUnknown(f"{_WHAT} were not answered")
        lost.outcome = "not done"
        raise lost
    except ReplyUnproven as why:  # here, or by a carrier that gave up on a long one
        reason, status = why.reason, why.status
    except (Unproven, ValueError) as why:
        reason, status = str(why), 200
    unproven = ReplyUnproven(f"{_WHAT}: {reason}", status)
    unproven.outcome = "not done"
    raise unproven


def _fetch_once(origin: Origin, clock: Clock, entropy: Entropy) -> Generator[Outgoing, Incoming, Rules | None]:
    """The rules, or None if no word of the server came back."""
    nonce = nonce_of(entropy(NONCE_BYTES))
    request = compose(Call("GET", PATH), origin.authority)
    wanted = f'sig=();nonce="{nonce}";tag="{profile.TAG_RESPONSE}"'.encode("ascii")
    # Their age counts from the question: who holds the answer back makes it no younger.
    now = clock()
    try:
        reply = yield Outgoing("GET", PATH, (*request.headers, (b"accept-signature", wanted)), b"")
    except Cut as cut:
        if cut.unsent:
            raise cut.cause from None
        return None
    if reply.status in _NO_WORD:
        return None
    if reply.status != 200 or reply.stream is not None:
        raise ReplyUnproven(f"they were not answered, but with status {reply.status}", reply.status)
    if len(reply.body) > _MAX_BYTES:
        raise Unproven(f"they are larger than {_MAX_BYTES} bytes")
    asked, held = Asked(request, nonce=nonce), origin.keys
    try:
        proven = prove(reply, asked, held.find)
    except UnknownKey:
        around = now + origin.offset_seconds
        earliest, latest = around - SANE_SECONDS, around + SANE_SECONDS
        fetched = yield from fetch_trusted(origin.authority, held, entropy, earliest, latest)
        origin.adopt(fetched)
        proven = prove(reply, asked, origin.keys.find)
    return Rules(strictjson.read(proven.body), now)
