"""
Who is signed in to the pages: in this process's memory, so a restart signs everybody out.

Keeps: at most 10,000 visits, ten a user, for 15 idle minutes and an hour in all; of a token its digest alone.
"""

from __future__ import annotations

import hashlib
import hmac

from sealwire.ports import Entropy
from sealwire.presence import NewSeed
from sealwire.protocol.jwk import b64url

IDLE_SECONDS, WHOLE_SECONDS = 900, 3600
MOST, MOST_OF_A_USER = 10_000, 10
MOST_PLACES = 10_000
#: Forms that make something, open in one visit: each can be sent once.
MOST_FORMS = 50


class Visit:
    """
    One browser's stay. `pending` is a factor that its user is about to add, `said` what the next page tells them.
    `repr` shows the user alone.
    """

    __slots__ = ("_forms", "begun_at", "csrf", "pending", "said", "seen_at", "user")

    def __init__(self, user: str, csrf: str, now: float) -> None:
        self.user = user
        self.csrf = csrf
        self.begun_at = self.seen_at = now
        self.pending: NewSeed | None = None
        self.said = ""
        self._forms: dict[str, None] = {}

    def offer_form(self, token: str) -> str:
        """A form that can be sent once, by this token. Past the bound the oldest can be sent no more."""
        self._forms[token] = None
        if len(self._forms) > MOST_FORMS:
            del self._forms[next(iter(self._forms))]
        return token

    def take_form(self, token: str) -> bool:
        """True the first time."""
        return self._forms.pop(token, False) is None

    def __repr__(self) -> str:
        return f"Visit({self.user})"


class Visits:
    """All visits, by the digest of their token. Past its bound the one that was seen least lately ends."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._visits: dict[bytes, Visit] = {}

    def begin(self, user: str, now: float) -> str:
        """A fresh visit; its token goes into the cookie and nowhere else."""
        own = [digest for digest, visit in self._visits.items() if visit.user == user]
        for digest in own[: max(0, len(own) - MOST_OF_A_USER + 1)]:
            del self._visits[digest]
        if len(self._visits) >= MOST:
            del self._visits[next(iter(self._visits))]
        token = b64url(self._entropy(32))
        self._visits[_digest(token)] = Visit(user, b64url(self._entropy(32)), now)
        return token

    def find(self, token: str, now: float) -> Visit | None:
        """The visit of a cookie, which is seen by that."""
        digest = _digest(token)
        visit = self._visits.pop(digest, None)
        if visit is None or now >= visit.seen_at + IDLE_SECONDS or now >= visit.begun_at + WHOLE_SECONDS:
            return None
        visit.seen_at = now
        self._visits[digest] = visit  # at the end: those that were seen least lately stand first
        return visit

    def end(self, token: str) -> None:
        """Signs out."""
        self._visits.pop(_digest(token), None)


class Places:
    """Where names got in from before: a network and a name, as a digest. Past its bound the oldest is forgotten."""

    def __init__(self) -> None:
        self._places: dict[bytes, None] = {}

    def remember(self, place: str) -> None:
        """Somebody got in from here."""
        self._places.pop(_digest(place), None)
        self._places[_digest(place)] = None
        if len(self._places) > MOST_PLACES:
            del self._places[next(iter(self._places))]

    def knows(self, place: str) -> bool:
        """Whether somebody did before."""
        return _digest(place) in self._places


def same(one: str, other: str) -> bool:
    """Compared in constant time."""
    return hmac.compare_digest(one.encode("utf-8"), other.encode("utf-8"))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8")).digest()
