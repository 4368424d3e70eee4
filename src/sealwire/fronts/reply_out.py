"""
How a whole reply leaves: as one write, its head as the guard made it.

Owns: the bytes of a reply on a connection of our runner. Refuses to know: what they say.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from sealwire.protocol.message import Reply

_BODILESS = frozenset((204, 304))


def write_whole(cycle: RequestResponseCycle, send: Any, reply: Reply) -> bool:
    """
    The reply of `cycle` in one write, as the two messages of an app would have it: in two the peer wakes twice, and the
    fields, which were judged when they were signed, are judged again. False, and nothing is done, where something else
    has to see those messages, as a middleware before the guard does, or where the peer has to read on first.
    """
    if send != cycle.send or cycle.response_started or cycle.flow.write_paused:
        return False
    status, bodiless = reply.status, reply.status in _BODILESS
    if bodiless and reply.body:
        return False  # the server has a word for that
    if cycle.disconnected:
        return True
    cycle.response_started, cycle.waiting_for_100_continue = True, False
    lines = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *reply.headers):
        lines += (name, b": ", value, b"\r\n")
    if not bodiless:
        lines.append(b"content-length: %d\r\n" % len(reply.body))
    if (b"connection", b"close") in reply.headers:
        cycle.keep_alive = False
    elif not cycle.keep_alive:
        lines.append(b"connection: close\r\n")
    lines.append(b"\r\n")
    if cycle.scope["method"] != "HEAD":
        lines.append(reply.body)
    cycle.transport.write(b"".join(lines))
    cycle.response_complete = True
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
