"""A deployment as `sealwire serve` makes one: policy file, SQLite stores, log, metrics; all that it says is kept."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest

from sealwire.admin import Admin
from sealwire.build import build_guard, open_ports
from sealwire.call import Call, Evidence, Outcome
from sealwire.client import enroll
from sealwire.clock import SystemClock
from sealwire.config import load
from sealwire.entry import Arrival, Begin, Enter, Entry
from sealwire.fronts.asgi import GuardedApp, Receive, Scope, Send
from sealwire.keys.file import make_signing_key, make_wrapping_key
from sealwire.observers.log import JsonFormatter, JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.protocol.message import Reply, read_target
from sealwire.stores import sqlite_fast, sqlite_sessions
from tests.stories.markers import files, told
from tests.stories.test_enrolment import Bridge
from tests.stories.world import ORIGIN, World, tally, together

POLICY = """\
clock_kept_by = "the story"
public_origins = ["https://api.example"]
[keys]
signing = "file:keys/signing.pem"
wrapping = "file:keys/wrapping.key"
[store]
durable = "sqlite:state/sealwire.db"
[[rules]]
path = "/v1/orders/{id}"
headers = ["x-custom", "authorization", "cookie"]
[[rules]]
path = "/open/{id}"
profile = "open"
because = "sign-up form"
[[rules]]
path = "/seen/{id}"
mode = "observe"
"""


class Plain(logging.Formatter):
    """What a program gets that sets up logging without a thought."""


class Deployed(World):
    """`said` is all that was logged, measured and shown of a call; `failing` has the app or a stage raise its text."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "keys").mkdir()
        (folder / "state").mkdir()
        make_signing_key(folder / "keys" / "signing.pem")
        make_wrapping_key(folder / "keys" / "wrapping.key", os.urandom)
        (folder / "sealwire.toml").write_text(POLICY, encoding="utf-8")
        with Admin(folder / "sealwire.toml") as admin:
            self.invitation = admin.invite("alice", scopes=frozenset())
        settings = load(folder / "sealwire.toml")
        sqlite_fast.make(folder / "state" / "fast.db", SystemClock(), os.urandom)
        sqlite_sessions.make(folder / "state" / "fast.db", os.urandom)
        self.ports = open_ports(settings, folder / "state" / "fast.db")
        self.said: list[str] = []
        self.failing = ""
        self.stage_failing = ""
        self.reads = 0
        self.while_reading = lambda: None
        self.address = "192.0.2.1"
        self.entered: list[Scope] = []
        self.registry = CollectorRegistry()
        observers = (JsonLog(self.said.append), Metrics(self.registry), self)
        self.guard = build_guard(settings, self.ports, observers)
        self.observers = together(self.guard)
        self.tally = tally(self.guard)
        self._watch()
        self.app = GuardedApp(self._app, self.guard)
        self.credential = enroll(ORIGIN, self.invitation, name="alice", inner=Bridge(self))
        self.signer = self.credential.signer

    def heard(self, outcome: Outcome) -> None:
        """An observer that shows what it hears, and fails with the caller's words where it is told to."""
        self.said.append(repr(outcome))
        if self.failing:
            raise ValueError(self.failing)

    def _watch(self) -> None:
        """Has everything that passes through the guard shown as a debugger or a careless log line would show it."""
        pipeline, handle = self.guard._pipeline, self.guard.handle
        watched = {
            profile: tuple((name, self._watched(name, stage)) for name, stage in stages)
            for profile, stages in pipeline.stages.items()
        }
        self.guard._pipeline = pipeline._replace(stages=watched)

        async def handled(arrival: Arrival, enter: Enter) -> Reply | None:
            async def entering(entry: Entry, begin: Begin) -> Reply | None:
                self.said.append(f"{entry!r} {entry.request!r} {entry.caller!r}")
                return await enter(entry, begin)

            self.said.append(f"{arrival!r} {arrival}")
            try:
                reply = await handle(arrival, entering)
            except Exception as error:
                self.said.append(told(error))
                raise
            self.said.append(f"{reply!r}")
            return reply

        self.guard.handle = handled  # type: ignore[method-assign]

    def _watched(
        self, name: str, stage: Callable[[Call], Awaitable[Evidence]]
    ) -> Callable[[Call], Awaitable[Evidence]]:
        async def watched(call: Call) -> Evidence:
            self.said.append(f"{call!r} {call.request!r} {call.rule!r} {dict(call.held)!r}")
            self.said.append(f"{read_target(call.request.target)!r}")
            if self.stage_failing and name == "validate":
                raise ValueError(self.stage_failing)
            try:
                evidence = await stage(call)
            except Exception as error:
                self.said.append(told(error))
                raise
            self.said.append(f"{evidence!r} {evidence}")
            return evidence

        return watched

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers with what it was sent; raises it where it is told to."""
        self.entered.append(scope)
        body = (await receive())["body"]
        self.said.append(repr(scope["sealwire"]))
        if self.failing:
            raise ValueError(f"{self.failing} {body!r} {scope['path']} {scope['headers']}")
        headers = [(b"content-type", b"application/json"), (b"x-echo", scope["path"].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def places(self, records: list[logging.LogRecord]) -> dict[str, bytes]:
        """All that this deployment left anywhere: logs in both formats, metrics, reprs, and every file of its state."""
        self.observers.flush()
        asyncio.run(self.tally.flush())
        kept = files(self.folder / "state")
        self.ports.close()
        logs = [style.format(record) for record in records for style in (JsonFormatter(), Plain())]
        return {
            **{f"{name} while open": content for name, content in kept.items()},
            **files(self.folder / "state"),
            "logs": "\n".join(dict.fromkeys(logs)).encode(),
            "metrics": generate_latest(self.registry),
            "said": "\n".join(dict.fromkeys(self.said)).encode(),
        }
