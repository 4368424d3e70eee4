"""Harden: the fields every reply goes out with, whatever the app said."""

from __future__ import annotations

from sealwire.call import AddressSpent, Call, CallerSpent
from sealwire.errors import Fault
from sealwire.protocol.message import Reply, are_fields
from sealwire.protocol.ratelimit import Spent, fields

_OURS = frozenset(
    b"cache-control x-content-type-options x-request-id server connection signature signature-input content-digest "
    b"transfer-encoding content-length sealwire-stream".split()
)
_LIMITS = frozenset((b"ratelimit", b"ratelimit-policy"))


class Harden:
    """
    Nothing is cached or sniffed, and framing, signatures and the request's id are ours alone to say.

    Faults: internal for a field that would be more than one line, here and in the signature base.
    """

    async def __call__(self, call: Call, reply: Reply) -> Reply:
        headers = []
        for name, value in reply.headers:
            name = name.lower()
            if name not in _OURS:
                headers.append((name, value))
        if headers and not are_fields(*zip(*headers, strict=True)):
            raise Fault("internal", "reply")
        fixed = (
            (b"cache-control", b"no-store, no-transform"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", call.request_id.encode("ascii")),
        )
        return Reply(reply.status, (*_limited(call, reply.status, headers), *fixed), reply.body)


def _limited(call: Call, status: int, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With what is left of the limits that took the call, so that its caller need not find out."""
    spent: tuple[Spent, ...] = ()
    if CallerSpent in call.held and status != 429:
        spent = call.get(CallerSpent).spent
    elif AddressSpent in call.held and not call.get(AddressSpent).later and status < 400:
        spent = call.get(AddressSpent).spent
    if not spent:
        return headers
    return [*(each for each in headers if each[0] not in _LIMITS), *fields(spent)]
