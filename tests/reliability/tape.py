"""What somebody on the way has of a round: every message, and what came back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.reliability.history import Order


@dataclass
class Taped:
    """
    One message on the wire, its bytes, and what came back: status 0 for nothing. It was sent for the `ask`-th asking
    for its order, to the `start`-th start of the server, by the SDK client of this number, and is sealed under
    `session` or, where it `opens` one, answered with it.
    """

    order: Order
    raw: bytes
    key: str
    nonce: str
    ask: int
    start: int
    client: int
    session: str = ""
    opens: bool = False
    status: int = 0
    code: str = ""
    request: str = ""
    retry_after: str = ""

    def answered(self, status: int, fields: dict[str, str], body: bytes) -> None:
        """What somebody on the way reads of its answer."""
        self.status, self.retry_after = status, fields.get("retry-after", "")
        self.request = fields.get("x-request-id", "")
        if fields.get("content-type") == "application/problem+json":
            self.code = str(json.loads(body)["code"])
        if self.opens and status == 201:
            self.session = str(json.loads(body)["session"])


@dataclass
class Tape:
    """The messages of a round, in the order in which they went out."""

    messages: list[Taped] = field(default_factory=list)
    #: How often each order was asked for so far.
    asked: Counter[Order] = field(default_factory=Counter)
    #: Set once so many were answered.
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    wanted: int = 0
    #: How often the server was started anew since the first message.
    start: int = 0
    #: A client's new connection waits for it, as behind a proxy that holds calls while its upstream starts anew.
    way_is_open: asyncio.Event = field(default_factory=asyncio.Event)
    clients: int = 0
    #: Told of each message just before its bytes go out, and of its answer.
    watcher: Callable[[Taped], None] = lambda _: None

    def __post_init__(self) -> None:
        self.way_is_open.set()

    def sends(self, message: Taped) -> None:
        """A message goes out."""
        self.messages.append(message)
        self.watcher(message)

    def heard(self, message: Taped) -> None:
        """A message has its answer."""
        self.watcher(message)
        if sum(one.status == 200 for one in self.messages) >= self.wanted:
            self.answered.set()
