"""
A proven reply as the HTTP library's response, with the proof of it.

Owns: that nothing but the proven part is handed out. Refuses to know: how it was proven.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sealwire.client.exchange import Proven
from sealwire.client.library import Library


class Receipt(NamedTuple):
    """
    What `response.extensions["sealwire"]` holds: proof of the reply, for keeping.

    `signature` over `base` is by the server's key `keyid`. `sends` counts the requests this answer took. `outcome` is
    "answered", or of a refusal by the guard "not done" or "unknown" (an earlier send may have been carried out).
    """

    keyid: str
    created: int
    base: bytes
    signature: bytes
    sends: int
    outcome: str


def respond(proven: Proven, library: Library, request: Any) -> Any:
    """The response to `request`, unread."""
    receipt = Receipt(proven.keyid, proven.created, proven.base, proven.signature, proven.sends, proven.outcome)
    unread = proven.stream
    stream = unread.stream if isinstance(unread, library.response) else library.byte_stream(proven.body)
    headers, extensions = list(proven.headers), {"sealwire": receipt}
    return library.response(proven.status, headers=headers, stream=stream, request=request, extensions=extensions)
