"""
Carries a conversation over httpx2 or httpx, for threads and for tasks.

Owns: the translation of the values of `exchange` to the library and back, that a lost connection becomes a `Cut`, and
the bound on what is read. The loops below, for threads and for tasks, are the only code that exists twice.
Refuses to know: keys, signatures, repeats; those are the conversation's.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, NamedTuple, TypeVar, cast

import anyio

from sealwire.client.errors import NotSignable, ReplyUnproven
from sealwire.client.exchange import Cut, Demand, Incoming, Outgoing, Pause, Proven, Turn
from sealwire.client.library import HTTPX2, Extensions, Library
from sealwire.client.turns import Turns

#: A reply that is not a stream is held whole before it is proven, so it has a bound.
MAX_REPLY_BYTES = 64 * 1024 * 1024

Result = TypeVar("Result")


def drive(
    talk: Generator[Demand, Incoming, Result],
    send: Callable[[Outgoing], Incoming],
    turns: Turns | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Result:
    """Runs a conversation to its end. Raises what it raises. A stream that is not handed out is closed."""
    turns, its_turn = turns or Turns(), False
    opened: list[Any] = []
    step: _Step[Result] | None = None
    try:
        step = _step(talk)
        while isinstance(step, (Outgoing, Turn, Pause)):
            if isinstance(step, Pause):
                sleep(step.seconds)
                step = _step(talk)
            elif isinstance(step, Turn):
                if its_turn:
                    turns.give()
                its_turn = step is Turn.TAKE and turns.take()
                step = _step(talk)
            else:
                try:
                    reply = send(step)
                except (Cut, ReplyUnproven) as lost:
                    step = _step(talk, lost=lost)
                else:
                    opened += _streams(reply)
                    step = _step(talk, reply)
        return step.result
    finally:
        if its_turn:
            turns.give()
        for response in _unused(opened, step):
            response.close()


async def drive_async(
    talk: Generator[Demand, Incoming, Result],
    send: Callable[[Outgoing], Awaitable[Incoming]],
    turns: Turns | None = None,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> Result:
    """`drive`, for tasks."""
    turns, its_turn = turns or Turns(), False
    opened: list[Any] = []
    step: _Step[Result] | None = None
    try:
        step = _step(talk)
        while isinstance(step, (Outgoing, Turn, Pause)):
            if isinstance(step, Pause):
                await sleep(step.seconds)
                step = _step(talk)
            elif isinstance(step, Turn):
                if its_turn:
                    turns.give_async()
                # Set before it is waited for: a task that is cancelled while it waits has no turn to give back.
                its_turn = False
                its_turn = step is Turn.TAKE and await turns.take_async()
                step = _step(talk)
            else:
                try:
                    reply = await send(step)
                except (Cut, ReplyUnproven) as lost:
                    step = _step(talk, lost=lost)
                else:
                    opened += _streams(reply)
                    step = _step(talk, reply)
        return step.result
    finally:
        if its_turn:
            turns.give_async()
        for response in _unused(opened, step):
            await response.aclose()


class _Done(NamedTuple, Generic[Result]):
    result: Result


_Step = Demand | _Done[Result]


def _step(
    talk: Generator[Demand, Incoming, Result],
    reply: Incoming | None = None,
    *,
    lost: Exception | None = None,
) -> _Step[Result]:
    try:
        if lost is not None:
            return talk.throw(lost)
        return next(talk) if reply is None else talk.send(reply)
    except StopIteration as done:
        return _Done(cast("Result", done.value))


def _streams(reply: Incoming) -> list[Any]:
    return [] if reply.stream is None else [reply.stream]


def _unused(opened: list[Any], step: _Step[Result] | None) -> list[Any]:
    handed_out = step.result.stream if isinstance(step, _Done) and isinstance(step.result, Proven) else None
    return [response for response in opened if response is not handed_out]


def send(inner: Any, origin: str, outgoing: Outgoing, extensions: Extensions, library: Library = HTTPX2) -> Incoming:
    """
    One request over an inner transport of `library`, and its response, read whole unless it is a stream.

    Raises: Cut, ReplyUnproven if it is too large.
    """
    try:
        response = inner.handle_request(to_request(origin, outgoing, extensions, library))
        if _is_stream(response):
            return _incoming(response, b"", response)
        try:
            chunks, size = [], 0
            for chunk in response.stream:
                size = _within(size + len(chunk), response.status_code)
                chunks.append(chunk)
            return _incoming(response, b"".join(chunks))
        finally:
            response.close()
    except library.lost as lost:
        raise Cut(lost, unsent=isinstance(lost, library.unsent)) from None


async def send_async(
    inner: Any, origin: str, outgoing: Outgoing, extensions: Extensions, library: Library = HTTPX2
) -> Incoming:
    """`send`, for tasks."""
    try:
        response = await inner.handle_async_request(to_request(origin, outgoing, extensions, library))
        if _is_stream(response):
            return _incoming(response, b"", response)
        try:
            chunks, size = [], 0
            async for chunk in response.stream:
                size = _within(size + len(chunk), response.status_code)
                chunks.append(chunk)
            return _incoming(response, b"".join(chunks))
        finally:
            await response.aclose()
    except library.lost as lost:
        raise Cut(lost, unsent=isinstance(lost, library.unsent)) from None


def to_request(origin: str, outgoing: Outgoing, extensions: Extensions, library: Library) -> Any:
    """
    The request whose bytes on the wire are exactly those that were signed.

    Raises: NotSignable if the library would write the target otherwise.
    """
    url = library.url(f"{origin}{outgoing.target.decode('ascii')}")
    if url.raw_path != outgoing.target:
        raise NotSignable(f"the HTTP library would send {url.raw_path!r} and not {outgoing.target!r}")
    headers, body = list(outgoing.headers), library.byte_stream(outgoing.body)
    return library.request(outgoing.method, url, headers=headers, stream=body, extensions=dict(extensions))


def _is_stream(response: Any) -> bool:
    return "sealwire-stream" in response.headers


def _within(size: int, status: int) -> int:
    if size > MAX_REPLY_BYTES:
        raise ReplyUnproven(f"it is larger than {MAX_REPLY_BYTES} bytes", status)
    return size


def _incoming(response: Any, body: bytes, stream: object = None) -> Incoming:
    return Incoming(response.status_code, tuple(response.headers.raw), body, stream)
