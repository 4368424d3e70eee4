"""
The time of a signature: when it is valid, how long its nonce is remembered, and what a caller without a clock is told
(docs/protocol.md, "The window").

Owns: the window's arithmetic. Refuses to know: any clock; `now` comes in as Unix seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from sealwire.errors import Refusal
from sealwire.protocol import profile, servernonce
from sealwire.protocol.message import Request

#: Any two clocks of a fleet, the store's included, may differ by this much each way.
SKEW_SECONDS = 10
#: Twice the skew: the node that accepts and the node that is asked again may err in opposite directions.
REMEMBER_SECONDS = 2 * SKEW_SECONDS


class Window(NamedTuple):
    """From when (inclusive, the skew not yet allowed for) to when (exclusive) a message is valid, in Unix seconds."""

    first_valid: float
    last_valid: float
    remember_seconds: int
    by_server_nonce: bool

    @classmethod
    def of(cls, claim: profile.Claim, issued_at: float | None, max_age_seconds: int) -> Window:
        """By `created` and `expires`, or by the issue time of a server nonce instead of both."""
        if issued_at is not None:
            return cls(issued_at, issued_at + servernonce.VALID_SECONDS, REMEMBER_SECONDS, by_server_nonce=True)
        last_valid = min(claim.expires, claim.created + max_age_seconds)
        return cls(claim.created, last_valid, REMEMBER_SECONDS, by_server_nonce=False)

    def predates(self, epoch: float, enrolled_at: float) -> bool:
        """Whether a memory of nonces that began at `epoch` began too late to know this message of a key that old."""
        return not self.by_server_nonce and enrolled_at < epoch and self.first_valid < epoch + SKEW_SECONDS


def judge(window: Window, now: float, *, restarted: bool, demand_server_nonce: bool) -> None:
    """
    Valid iff first_valid - 10 <= now < last_valid. `restarted`: the memory of nonces began too late to know this
    message.

    Raises: clock-skew.
    """
    behind = int(now - window.first_valid)
    if now < window.first_valid - SKEW_SECONDS:
        raise _skew("early", f"{-behind} s ahead; at most {SKEW_SECONDS} s")
    if now >= window.last_valid:
        if window.by_server_nonce:
            raise _skew(
                "server-nonce-late", f"the server nonce is {behind} s old; window {servernonce.VALID_SECONDS} s"
            )
        span = round(window.last_valid - window.first_valid)
        raise _skew("late", f"{behind} s behind; window {span} s")
    if demand_server_nonce and not window.by_server_nonce:
        raise _skew(
            "fresh-demanded", "this route takes only a nonce that the server gave; repeat with the one given here"
        )
    if restarted:
        raise _skew("restart", "the server started anew; repeat with the nonce given here")


def late() -> Refusal:
    """The message ran out before its nonce could be claimed."""
    return _skew("claim-late", "the message ran out of its window before it was whole")


def _skew(cause: str, detail: str) -> Refusal:
    return Refusal("clock-skew", cause, detail, failed="created")


def clock(claim: profile.Claim, now: float, max_age_seconds: int) -> dict[str, int]:
    """
    The `clock` member of a refusal: the server's Unix seconds, created - now in milliseconds, the window in seconds.
    """
    return {"server_time": int(now), "skew_ms": int((claim.created - now) * 1000), "window": max_age_seconds}


def accept_signature(request: Request, nonce: str = "", tag: str = profile.TAG) -> tuple[bytes, bytes]:
    """
    Accept-Signature (RFC 9421 section 5.1) for this request: what to cover, and a server nonce where one is given.
    """
    names = list(profile.ALWAYS)
    if request.has_content():
        names += profile.WITH_CONTENT
    names += sorted(profile.WHEN_PRESENT & request.fields.keys())
    listed = " ".join(f'"{name.decode("ascii")}"' for name in names)
    offered = f';nonce="{nonce}"' if nonce else ";nonce"
    value = f'sig=({listed});created;expires;keyid{offered};tag="{tag}"'
    return b"accept-signature", value.encode("ascii")
