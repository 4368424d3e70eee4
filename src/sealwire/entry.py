"""
What passes between the guard and a front: a call as it arrives, and as it is let through to the app.

Owns: the gate at which an app may ask for a person. Refuses to know: ASGI, stages, who decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from sealwire.call import Caller, Outside, Receive, Rule
from sealwire.errors import Refusal
from sealwire.protocol.message import Headers, Reply, Request
from sealwire.protocol.ratelimit import network

T = TypeVar("T")


async def no_body() -> tuple[bytes, bool]:
    """Reads the body of a message that has none, and that nobody has to wait for."""
    return b"", False


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
    outside: Outside | None = None  # waits for a peer that has to read on

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
    How many calls may be at work at once, and of one address at most half of them. A call that waits for its peer, to
    send its body or to read a stream, is not at work: whoever is slow holds no room that others could use.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._share = (most + 1) // 2
        self._at_work = 0
        self._of: dict[str, int] = {}

    def take(self, address: str) -> Place | None:
        """A place for a call from this address, None where there is none. Those that nobody knows share nothing."""
        who = network(address)
        if self._at_work >= self._most or self._of.get(who, 0) >= self._share:
            return None
        place = Place(self, who)
        self.enter(who)
        return place

    def enter(self, who: str) -> None:
        """One is at work, whether there is room or not."""
        self._at_work += 1
        if who:
            self._of[who] = self._of.get(who, 0) + 1

    @property
    def shared(self) -> bool:
        """True while more than one is at work."""
        return self._at_work > 1

    async def turn(self) -> None:
        """
        Lets the event loop take a turn, for where others are at work. Calls that came together go through the next part
        one after the other then, while its code is at hand: a processor holds far less than a call runs through.
        """
        await asyncio.sleep(0)

    def leave(self, who: str) -> None:
        """One is at work no more."""
        self._at_work -= 1
        if who:
            left = self._of[who] - 1
            if left:
                self._of[who] = left
            else:
                del self._of[who]


class Place:
    """What one call at work takes, until it is left."""

    __slots__ = ("_room", "_who")

    def __init__(self, room: Room, who: str) -> None:
        self._room = room
        self._who = who

    def leave(self) -> None:
        """The call is over."""
        self._room.leave(self._who)

    def reading(self, receive: Receive) -> Receive:
        """Reads as `receive` does, outside."""
        return receive if receive is no_body else lambda: self.outside(receive())

    async def outside(self, peer: Awaitable[T]) -> T:
        """Waits for the peer, and takes no place meanwhile."""
        self._room.leave(self._who)
        try:
            return await peer
        finally:
            self._room.enter(self._who)


def busy() -> Refusal:
    """What a call hears that finds no room."""
    detail = "As many calls are at work here as may be."
    return Refusal("rate-limited", "busy", detail, fields=((b"retry-after", b"1"),))


#: Signs the head of a streamed reply, whose content is not known yet.
Begin = Callable[[int, Headers], Awaitable[Reply]]
#: Runs the app on an entry: its answer, or None if it was streamed out behind a head from Begin.
Enter = Callable[[Entry, Begin], Awaitable[Reply | None]]
