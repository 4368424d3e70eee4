"""
What passes between a conversation and whatever carries it over the network. No `repr` shows what is sent.

Owns: the values that go out and come in, and the one way to say that a connection was lost.
Refuses to know: sockets, HTTP libraries, keys, and what any of these messages means.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from sealwire.protocol.message import Headers, Request
from sealwire.protocol.profile import Claim


class Call(NamedTuple):
    """What a program wants sent: `target` is path and query as bytes, `body` is whole, field names have any case."""

    method: str
    target: bytes
    headers: Headers = ()
    body: bytes = b""
    stream: bool = False  # the caller takes the content of a streamed reply as unverified

    def __repr__(self) -> str:
        return f"Call({self.method})"


class Outgoing(NamedTuple):
    """The final bytes of one request, to be sent unchanged."""

    method: str
    target: bytes
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"Outgoing({self.method})"


class Turn(Enum):
    """
    Asked of the carrier in place of a request: what follows a `TAKE` is done by one conversation of a process at a
    time, until its `GIVE` or its end. It is a courtesy and no lock: after a while the carrier lets the next one go on.
    """

    TAKE = "take"
    GIVE = "give"


class Pause(NamedTuple):
    """Asked of the carrier in place of a request: to go on after so many seconds."""

    seconds: float


#: What a conversation asks of its carrier.
Demand = Outgoing | Turn | Pause


class Incoming(NamedTuple):
    """A response as it came. `stream` is the carrier's own handle of a body that it has left unread, else None."""

    status: int
    headers: Headers
    body: bytes
    stream: object = None

    def __repr__(self) -> str:
        return f"Incoming({self.status}, {len(self.body)} bytes)"


class Signed(NamedTuple):
    """A request with its signatures, and those read back from it as its receiver will read them."""

    request: Request
    claims: tuple[Claim, ...]


class Proven(NamedTuple):
    """
    A response that the server's key vouches for. `headers` are the covered fields only.

    `base` and `signature` are the receipt: whoever has the key `keyid` can check them again. `sends` counts the
    requests that this answer took.
    """

    status: int
    headers: Headers
    body: bytes
    stream: object
    keyid: str
    created: int
    base: bytes
    signature: bytes
    sends: int = 1
    outcome: str = "answered"

    def __repr__(self) -> str:
        return f"Proven({self.status}, {len(self.body)} bytes, by {self.keyid})"


class Cut(Exception):
    """
    Thrown into a conversation by its carrier: no whole response came. `cause` is the carrier's own error.

    `unsent` says that no byte of the request left, so that nothing can have been done.
    """

    def __init__(self, cause: Exception, *, unsent: bool) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.unsent = unsent
