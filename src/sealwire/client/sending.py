"""
Carries a conversation over httpx2, for threads and for tasks.

Owns: the translation of the values of `exchange` to httpx2 and back, which of its errors mean that no byte was sent,
and the bound on what is read. The two loops below are the only code that exists twice.
Refuses to know: keys, signatures, repeats; those are the conversation's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

import httpx2

from sealwire.client.errors import NotSignable, ReplyUnproven
from sealwire.client.exchange import Cut, Incoming, Outgoing, Proven

#: A reply that is not a stream is held whole before it is proven, so it has a bound.
MAX_REPLY_BYTES = 64 * 1024 * 1024
DEFAULT_TIMEOUT_SECONDS = 30.0

Result = TypeVar("Result")
Extensions = Mapping[str, Any]

# Of these errors httpx2 says that there was no connection: the request never left.
_UNSENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)


def default_extensions() -> dict[str, Any]:
    """What httpx2 is told of a request that no caller of ours made."""
    return {"timeout": httpx2.Timeout(DEFAULT_TIMEOUT_SECONDS).as_dict()}


def drive(talk: Generator[Outgoing, Incoming, Result], send: Callable[[Outgoing], Incoming]) -> Result:
    """Runs a conversation to its end. Raises what it raises. A stream that is not handed out is closed."""
    opened: list[httpx2.Response] = []
    step: Outgoing | _Done[Result] | None = None
    try:
        step = _step(talk)
        while isinstance(step, Outgoing):
            try:
                reply = send(step)
            except (Cut, ReplyUnproven) as lost:
                step = _step(talk, lost=lost)
            else:
                opened += _streams(reply)
                step = _step(talk, reply)
        return step.result
    finally:
        for response in _unused(opened, step):
            response.close()


async def drive_async(
    talk: Generator[Outgoing, Incoming, Result], send: Callable[[Outgoing], Awaitable[Incoming]]
) -> Result:
    """`drive`, for tasks."""
    opened: list[httpx2.Response] = []
    step: Outgoing | _Done[Result] | None = None
    try:
        step = _step(talk)
        while isinstance(step, Outgoing):
            try:
                reply = await send(step)
            except (Cut, ReplyUnproven) as lost:
                step = _step(talk, lost=lost)
            else:
                opened += _streams(reply)
                step = _step(talk, reply)
        return step.result
    finally:
        for response in _unused(opened, step):
            await response.aclose()


class _Done(NamedTuple, Generic[Result]):
    result: Result


def _step(
    talk: Generator[Outgoing, Incoming, Result], reply: Incoming | None = None, *, lost: Exception | None = None
) -> Outgoing | _Done[Result]:
    try:
        if lost is not None:
            return talk.throw(lost)
        return next(talk) if reply is None else talk.send(reply)
    except StopIteration as done:
        return _Done(cast("Result", done.value))


def _streams(reply: Incoming) -> list[httpx2.Response]:
    return [reply.stream] if isinstance(reply.stream, httpx2.Response) else []


def _unused(opened: list[httpx2.Response], step: Outgoing | _Done[Result] | None) -> list[httpx2.Response]:
    handed_out = step.result.stream if isinstance(step, _Done) and isinstance(step.result, Proven) else None
    return [response for response in opened if response is not handed_out]


def send(inner: httpx2.BaseTransport, origin: str, outgoing: Outgoing, extensions: Extensions) -> Incoming:
    """One request and its response, read whole unless it is a stream. Raises: Cut, ReplyUnproven if it is too large."""
    try:
        response = inner.handle_request(to_request(origin, outgoing, extensions))
        if _is_stream(response):
            return _incoming(response, b"", response)
        try:
            chunks, size = [], 0
            for chunk in cast("httpx2.SyncByteStream", response.stream):
                size = _within(size + len(chunk), response.status_code)
                chunks.append(chunk)
            return _incoming(response, b"".join(chunks))
        finally:
            response.close()
    except httpx2.TransportError as lost:
        raise Cut(lost, unsent=isinstance(lost, _UNSENT)) from None


async def send_async(
    inner: httpx2.AsyncBaseTransport, origin: str, outgoing: Outgoing, extensions: Extensions
) -> Incoming:
    """`send`, for tasks."""
    try:
        response = await inner.handle_async_request(to_request(origin, outgoing, extensions))
        if _is_stream(response):
            return _incoming(response, b"", response)
        try:
            chunks, size = [], 0
            async for chunk in cast("httpx2.AsyncByteStream", response.stream):
                size = _within(size + len(chunk), response.status_code)
                chunks.append(chunk)
            return _incoming(response, b"".join(chunks))
        finally:
            await response.aclose()
    except httpx2.TransportError as lost:
        raise Cut(lost, unsent=isinstance(lost, _UNSENT)) from None


def to_request(origin: str, outgoing: Outgoing, extensions: Extensions) -> httpx2.Request:
    """
    The request whose bytes on the wire are exactly those that were signed.

    Raises: NotSignable if httpx2 would write the target otherwise.
    """
    url = httpx2.URL(f"{origin}{outgoing.target.decode('ascii')}")
    if url.raw_path != outgoing.target:
        raise NotSignable(f"the HTTP library would send {url.raw_path!r} and not {outgoing.target!r}")
    body = httpx2.ByteStream(outgoing.body)
    return httpx2.Request(
        outgoing.method, url, headers=list(outgoing.headers), stream=body, extensions=dict(extensions)
    )


def _is_stream(response: httpx2.Response) -> bool:
    return "sealwire-stream" in response.headers


def _within(size: int, status: int) -> int:
    if size > MAX_REPLY_BYTES:
        raise ReplyUnproven(f"it is larger than {MAX_REPLY_BYTES} bytes", status)
    return size


def _incoming(response: httpx2.Response, body: bytes, stream: httpx2.Response | None = None) -> Incoming:
    return Incoming(response.status_code, tuple(response.headers.raw), body, stream)
