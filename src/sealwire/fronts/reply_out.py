"""
How a reply leaves: its head with the first bytes of its body.

Owns: that the two are one write. Refuses to know: what they say.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Joined:
    """
    The transport as one call sees it: the head of its reply waits for the first bytes of its body, within one turn of
    the loop, so that both leave together. Two writes would wake the peer twice.
    """

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._cycle = cycle
        self._loop = loop
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        """Part of the reply, or of what comes before it (100 Continue)."""
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif self._begun or not self._cycle.response_started:
            self._transport.write(data)
        else:
            self._begun = True
            self._head = data
            self._loop.call_soon(self._flush)

    def is_closing(self) -> bool:
        """As the transport says."""
        return self._transport.is_closing()

    def close(self) -> None:
        """The connection ends behind what was written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
