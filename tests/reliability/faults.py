"""The same app in servers that are broken on purpose: what the judge must find when real processes die."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

from sealwire.call import Session
from sealwire.fronts import server
from sealwire.ports import Decision, DurableNonce, IdempotencyClaim, Recorded
from sealwire.protocol.handshake import Keys
from sealwire.records import ApiKeyRecord
from sealwire.stores.memory import MemorySessions
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_sessions import SqliteSessions
from tests.reliability.orders_app import DATABASE, OrdersApp, made

_record = SqliteLedger.record
_running: set[asyncio.Task[Recorded]] = set()


async def _record_later(
    ledger: SqliteLedger,
    decision: Decision,
    nonce: DurableNonce | None = None,
    idempotency: IdempotencyClaim | None = None,
    approval: str = "",
) -> Recorded:
    task = asyncio.get_running_loop().create_task(_record(ledger, decision, nonce, idempotency, approval))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return "recorded"


async def _record_without_claims(ledger: SqliteLedger, decision: Decision, *claims: Any) -> Recorded:
    return await _record(ledger, decision)


def does_it_twice() -> OrdersApp:
    """The app does each order twice."""
    return made(times=2)


def enters_before_the_record() -> OrdersApp:
    """The guard lets calls through while their decisions are still being written."""
    setattr(SqliteLedger, "record", _record_later)  # noqa: B010  # mypy takes no assignment to a method
    return made()


def keeps_no_claims() -> OrdersApp:
    """Decisions are written, the claims that must stand or fall with them are not."""
    setattr(SqliteLedger, "record", _record_without_claims)  # noqa: B010  # as above
    return made()


def keeps_sessions_on_the_disk() -> OrdersApp:
    """Sessions are written down with their secrets, and found again by the next start."""
    kept = Path(os.environ[DATABASE]).with_suffix(".sessions")
    kept.mkdir(exist_ok=True)
    keep, find = MemorySessions.keep, MemorySessions.session

    async def keep_for_good(store: MemorySessions, session: Session, secret: bytes, context: bytes) -> None:
        await keep(store, session, secret, context)
        texts = [base64.b64encode(part).decode() for part in (secret, context)]
        (kept / session.id).write_text(json.dumps([*session[:4], *texts]))

    async def find_for_good(store: MemorySessions, session_id: str) -> Session | None:
        file = kept / session_id
        if await find(store, session_id) is None and file.exists():
            *terms, secret, context = json.loads(file.read_text())
            keys = Keys(base64.b64decode(secret), base64.b64decode(context))
            await keep(store, Session._make([*terms, keys]), b"", b"")
        return await find(store, session_id)

    setattr(MemorySessions, "keep", keep_for_good)  # noqa: B010  # as above
    setattr(MemorySessions, "session", find_for_good)  # noqa: B010  # as above
    return made()


def keeps_sessions_to_itself() -> OrdersApp:
    """A worker finds the sessions only that it opened itself."""
    own: set[str] = set()
    keep, find = SqliteSessions.keep, SqliteSessions.session

    async def keep_own(store: SqliteSessions, session: Session, secret: bytes, context: bytes) -> None:
        own.add(session.id)
        await keep(store, session, secret, context)

    async def find_own(store: SqliteSessions, session_id: str) -> Session | None:
        return await find(store, session_id) if session_id in own else None

    setattr(SqliteSessions, "keep", keep_own)  # noqa: B010  # as above
    setattr(SqliteSessions, "session", find_own)  # noqa: B010  # as above
    return made()


def stops_at_once() -> OrdersApp:
    """A stop does not wait for the calls that are on their way."""
    server._STOP_SECONDS = 0
    return made()


def remembers_api_keys() -> OrdersApp:
    """A worker asks the store for an API key once, and believes the answer from then on."""
    known: dict[bytes, ApiKeyRecord | None] = {}
    find = SqliteApiKeys.apikey

    async def find_once(store: SqliteApiKeys, digest: bytes) -> ApiKeyRecord | None:
        if digest not in known:
            known[digest] = await find(store, digest)
        return known[digest]

    setattr(SqliteApiKeys, "apikey", find_once)  # noqa: B010  # as above
    return made()


def forgets_the_old_secret() -> OrdersApp:
    """A secret that another has taken the place of opens nothing any more, overlap or not."""
    find = SqliteApiKeys.apikey

    async def find_newest(store: SqliteApiKeys, digest: bytes) -> ApiKeyRecord | None:
        found = await find(store, digest)
        return None if found is None or found.retires_at is not None else found

    setattr(SqliteApiKeys, "apikey", find_newest)  # noqa: B010  # as above
    return made()
