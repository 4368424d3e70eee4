"""
The lifespan of a guarded app (ASGI lifespan 2.0): the app's own where it has one, and the guard's end behind it.

Owns: that the guard is closed after the app, whatever the app makes of its lifespan; many know none, and a server that
is told so never says that it stops. Refuses to know: what there is to close.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sealwire.trace import place

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]

_STARTED = "lifespan.startup.complete"
_ENDS = frozenset(("lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"))
_LOG = logging.getLogger("sealwire.fronts")


async def pass_lifespan(
    app: _App, close: Callable[[], Awaitable[None]], scope: MutableMapping[str, Any], receive: _Receive, send: _Send
) -> None:
    """
    The app's lifespan, completed where the app leaves it: `close` has run before the server hears of its end.

    An app that fails before it answered the startup is served without a lifespan, as servers do.
    """
    life = _Lifespan(close, receive, send)
    failed = False
    try:
        await app(scope, life.receive, life.send)
    except Exception as failure:
        if life.said in _ENDS:
            raise
        failed = True
        if life.heard:
            _LOG.warning("the app failed in its lifespan: %s", place(failure))
    await life.complete(failed=failed)


class _Lifespan:
    """What server and app have said to each other so far: the last message that was `heard`, and that was `said`."""

    def __init__(self, close: Callable[[], Awaitable[None]], receive: _Receive, send: _Send) -> None:
        self.heard = ""
        self.said = ""
        self._close = close
        self._receive = receive
        self._send = send

    async def receive(self) -> _Message:
        """The app's `receive`."""
        message = await self._receive()
        self.heard = message["type"]
        return message

    async def send(self, message: _Message) -> None:
        """The app's `send`. Raises: RuntimeError for what is no word of a lifespan, as servers do."""
        kind = message["type"]
        if kind in _ENDS:
            await self._close()
        elif kind != _STARTED:
            raise RuntimeError(f"{kind} was sent in a lifespan")
        self.said = kind
        await self._send(message)

    async def complete(self, *, failed: bool) -> None:
        """Says what the app left unsaid."""
        if not self.heard:
            await self.receive()
        if not self.said:
            await self.send({"type": _STARTED})
            failed = False
        if self.said == _STARTED:
            down = self.heard == "lifespan.shutdown"
            while self.heard != "lifespan.shutdown":
                await self.receive()
            await self.send({"type": "lifespan.shutdown.failed" if failed and down else "lifespan.shutdown.complete"})
