"""
One JSON line for each outcome, and for what the guard itself has to say (ECS names).

Owns: which facts a line has. No header value stands in one but the key's thumbprint, no path but the rule's template,
and no exception's message, since what the caller sent may be in it.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted

from sealwire.call import Outcome

_FIRST_WORDS = re.compile(r"[A-Za-z ]*")


class JsonLog:
    """Observer that hands each outcome to `write` as one line of JSON in ASCII: control characters stand escaped."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        # One formatted string, a third of what a general encoder takes; a test holds the two together.
        level = "info" if outcome.decision in ("entered", "repeated") else "warning"
        self._write(
            f'{{"@timestamp":"{_timestamp(outcome.at)}","log.level":"{level}",'
            f'"event.action":{quoted(outcome.decision)},'
            f'"event.outcome":"{"success" if outcome.code == "ok" else "failure"}",'
            f'"event.duration":{int(outcome.duration_seconds * 1e9)},"http.request.id":{quoted(outcome.request_id)},'
            f'"http.request.method":{quoted(outcome.method)},"http.response.status_code":{outcome.status},'
            f'"url.template":{quoted(outcome.template)},"client.ip":{quoted(outcome.address)},'
            f'"user.id":{quoted(outcome.user)},"sealwire.client":{quoted(outcome.client)},'
            f'"sealwire.key":{quoted(outcome.key)},"sealwire.apikey":{quoted(outcome.apikey)},'
            f'"sealwire.claimed":{quoted(outcome.claimed)},"sealwire.code":{quoted(outcome.code)},'
            f'"process.pid":{os.getpid()}}}'
        )


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; of an exception its kind and place, never its message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        message = record.getMessage()
        if record.name == "asyncio":
            # Behind its first words the event loop shows values: a task with its exception, a callback's arguments.
            message = _FIRST_WORDS.match(message)[0]  # type: ignore[index]  # it matches anything
        line = {
            "@timestamp": _timestamp(record.created),
            "log.level": record.levelname.lower(),
            "log.logger": record.name,
            "message": message,
        }
        if record.exc_info and record.exc_info[1] is not None:
            frames = traceback.extract_tb(record.exc_info[1].__traceback__)
            line["error.type"] = type(record.exc_info[1]).__name__
            line["error.place"] = " < ".join(
                f"{f.filename.rpartition('/')[2]}:{f.lineno}:{f.name}" for f in frames[::-1]
            )
        return json.dumps(line, ensure_ascii=True, separators=(",", ":"))


def _timestamp(seconds: float) -> str:
    return f"{_second(int(seconds))}.{int(seconds % 1 * 1000):03}Z"


@functools.lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")
