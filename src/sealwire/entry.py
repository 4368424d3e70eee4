"""
What passes between the guard and a front: a call as it arrives, and as it is let through to the app.

Owns: the gate at which an app may ask for a person. Refuses to know: ASGI, stages, who decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sealwire.call import Caller, Receive, Rule
from sealwire.errors import Refusal
from sealwire.protocol.message import Headers, Reply, Request


class Arrival(NamedTuple):
    """What a front hands over: the head as received, nothing read of the body. `repr` shows the address alone."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    address: str
    receive: Receive

    def __repr__(self) -> str:
        return f"Arrival({self.address})"


class Entry(NamedTuple):
    """A call let through to the app. `repr` shows its id and its rule's template."""

    request: Request
    rule: Rule
    caller: Caller | None
    body: bytes
    request_id: str
    sealed_type: bytes | None = None  # the media type that was sealed with the body; None for a call in clear
    gate: Gate | None = None  # where the app may ask for an approval

    def __repr__(self) -> str:
        return f"Entry({self.request_id}, {self.rule.template})"


class ApprovalNeeded(Exception):
    """A person has to say yes first. For the app to let through: whatever it sends after this is dropped."""


class Gate:
    """
    Where the app says that a call needs a person. `approved` is the sentence that one said yes to, None if nobody did:
    no sentence of an app's is taken for that. `wanted` is the sentence that it said, and nobody approved.
    """

    def __init__(self, approved: str | None) -> None:
        self._approved = approved
        self.wanted: str | None = None

    def need_approval(self, sentence: str) -> None:
        """Returns if a person approved this very sentence for this call. Raises: ApprovalNeeded."""
        if self.wanted is None and sentence == self._approved:
            return
        self.wanted = sentence if self.wanted is None else self.wanted
        raise ApprovalNeeded("a person has to approve this call first")


class Room:
    """
    How many calls may be at work at once. A call that waits for its peer's body is not: whoever sends slowly holds no
    room that others could use.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._at_work = 0

    def is_full(self) -> bool:
        """Whether as many calls are at work as may be."""
        return self._at_work >= self._most

    def __enter__(self) -> None:
        self._at_work += 1

    def __exit__(self, *_: object) -> None:
        self._at_work -= 1

    def outside(self, receive: Receive) -> Receive:
        """Reads as `receive` does, and holds no room while it waits."""

        async def waiting() -> tuple[bytes, bool]:
            self._at_work -= 1
            try:
                return await receive()
            finally:
                self._at_work += 1

        return waiting


def busy() -> Refusal:
    """What a call hears that finds no room."""
    detail = "As many calls are at work here as may be."
    return Refusal("rate-limited", "busy", detail, fields=((b"retry-after", b"1"),))


#: Signs the head of a streamed reply, whose content is not known yet.
Begin = Callable[[int, Headers], Awaitable[Reply]]
#: Runs the app on an entry: its answer, or None if it was streamed out behind a head from Begin.
Enter = Callable[[Entry, Begin], Awaitable[Reply | None]]
