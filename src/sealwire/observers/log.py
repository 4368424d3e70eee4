"""
One JSON line for each outcome, and for what the guard itself has to say (ECS names).

Owns: which facts a line has. No header value stands in one but the key's thumbprint, no path but the rule's template,
and no exception's message, since what the caller sent may be in it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Callable
from datetime import UTC, datetime

from sealwire.call import Outcome

_FIRST_WORDS = re.compile(r"[A-Za-z ]*")


class JsonLog:
    """Observer that hands each outcome to `write` as one line of JSON in ASCII: control characters stand escaped."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        line = {
            "@timestamp": _timestamp(outcome.at),
            "log.level": "info" if outcome.decision in ("entered", "repeated") else "warning",
            "event.action": outcome.decision,
            "event.outcome": "success" if outcome.code == "ok" else "failure",
            "event.duration": int(outcome.duration_seconds * 1e9),
            "http.request.id": outcome.request_id,
            "http.request.method": outcome.method,
            "http.response.status_code": outcome.status,
            "url.template": outcome.template,
            "client.ip": outcome.address,
            "user.id": outcome.user,
            "sealwire.client": outcome.client,
            "sealwire.key": outcome.key,
            "sealwire.code": outcome.code,
            "process.pid": os.getpid(),
        }
        self._write(json.dumps(line, ensure_ascii=True, separators=(",", ":")))


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
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
