"""
An app that gets its server to say as much as any app can: every logger at its lowest level, its own words beside.

What it answers with is made from what it was told, so that a word of an answer stands in no request.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import Counter

from sealwire.errors import Fault

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_LOG = logging.getLogger("talkative")
_LOWEST = 1


def answer_to(word: str) -> str:
    """The word that answers a word."""
    return "mk" + hashlib.sha256(word.encode()).hexdigest()[:24]


def made() -> Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]:
    """The app, in a process where nothing is too unimportant to be logged."""
    logging.getLogger().setLevel(_LOWEST)
    return _app


def made_of_heads() -> Callable[[Message, Callable[[], Awaitable[Message]], Send], Awaitable[None]]:
    """The same app, which also logs each head that it is shown."""
    logging.getLogger().setLevel(_LOWEST)
    return _app_of_heads


async def _app_of_heads(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    if scope["type"] == "http":
        _LOG.log(_LOWEST, "heads: %r", scope["headers"])
    await _app(scope, receive, send)


async def _app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    if scope["type"] != "http":
        return
    seen = scope["sealwire"]
    body = (await receive())["body"]
    _LOG.log(_LOWEST, "entered: %r %r %s", seen, seen.caller, seen)
    said = json.loads(body) if body else {"word": scope["path"].rpartition("/")[2]}
    answer = answer_to(said["word"])
    status, content_type = 200, b"application/json"
    match said.get("do"):
        case "refuse":
            status, content_type = 409, b"application/problem+json"
        case "type":
            content_type = f"application/vnd.{answer}+json".encode()
        case "odd type":
            content_type = answer.encode() + b"\xff"
        case "fail":
            raise ValueError(said["word"], answer, body)
        case "fault":
            raise Fault("internal", "app", answer)
        case "plant":
            _plant(said["texts"])
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": json.dumps({"title": "Told", "detail": answer}).encode()})


def _plant(texts: list[str]) -> None:
    """What a careless app leaves of what it was told: in the log, on both streams, in a metric's label."""
    words = Counter("planted", "What was planted.", ["word"])
    for text in texts:
        _LOG.debug("told %s", text)
        sys.stdout.write(text + "\n")
        words.labels(text).inc()
    sys.stdout.flush()
