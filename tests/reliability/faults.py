"""The same app in servers that are broken on purpose: what the judge must find when real processes die."""

from __future__ import annotations

import asyncio
from typing import Any

from sealwire.ports import Decision, DurableNonce, IdempotencyClaim, Recorded
from sealwire.stores.sqlite import SqliteLedger
from tests.reliability.orders_app import OrdersApp, made

_record = SqliteLedger.record
_running: set[asyncio.Task[Recorded]] = set()


async def _record_later(
    ledger: SqliteLedger,
    decision: Decision,
    nonce: DurableNonce | None = None,
    idempotency: IdempotencyClaim | None = None,
) -> Recorded:
    task = asyncio.get_running_loop().create_task(_record(ledger, decision, nonce, idempotency))
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
