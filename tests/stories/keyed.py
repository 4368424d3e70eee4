"""A World with API keys, that keeps what its observers were told and counts what is asked of its ports."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2
from prometheus_client import CollectorRegistry

from sealwire.call import Rule
from sealwire.credentials import digest_of
from sealwire.errors import Fault
from sealwire.observers.alarms import FailedTries
from sealwire.observers.log import JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.pipeline import Failures
from sealwire.ports import Charge, Clock, Decision
from sealwire.ports.apikeys import Client, NewApiKey
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import Spent, parse_limit
from sealwire.records import ApiKeyRecord, Bounds, KeyRecord
from sealwire.stores.memory import MemoryBuckets
from tests.stories.world import FAILURES, START, Wire, World

TICKER, ORDERS = b"/v1/ticker", b"/v1/orders"
READ, TRADE = frozenset(("read",)), frozenset(("trade",))
#: The app of each of these rules would like to have the Authorization field.
WANTED = frozenset((b"authorization",))
KEYED_RULES = (
    Rule("/v1/time", frozenset(("GET",)), "open", headers=WANTED),
    Rule("/v1/ticker", frozenset(("GET",)), "keyed", scopes=READ, headers=WANTED),
    Rule("/v1/notes", frozenset(("POST",)), "keyed", scopes=READ),
    Rule("/v1/balances", frozenset(("GET",)), "signed", headers=WANTED),
    Rule("/v1/orders", frozenset(("POST",)), "signed", scopes=TRADE, headers=WANTED),
)
DAY = 86_400
#: Who makes, rotates and ends keys in these stories.
BY_OPERATOR = Decision("req_0", START, "made", "operator", "", "", "", "local", "", "", "policy-1")


class AskedBuckets(MemoryBuckets):
    """Keeps what it was asked, and under which names; fails at what is in `failing`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.asked: list[str] = []
        self.names: set[str] = set()
        self.failing: set[str] = set()

    async def look(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says."""
        self._note("look", charges)
        return await super().look(charges)

    async def charge(self, charges: tuple[Charge, ...]) -> tuple[Spent, ...]:
        """As the port says."""
        self._note("charge", charges)
        return await super().charge(charges)

    def _note(self, method: str, charges: tuple[Charge, ...]) -> None:
        self.asked.append(f"buckets.{method}")
        self.names |= {one.bucket for one in charges}
        if method in self.failing:
            raise Fault("store-unavailable", "buckets")


class KeyedWorld(World):
    """Its client alice has a public key, and the API keys that a story makes."""

    buckets: AskedBuckets

    def __init__(self, folder: Path, rules: tuple[Rule, ...] = KEYED_RULES, *, failures: Failures = FAILURES) -> None:
        self.lines: list[str] = []
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        observers = (JsonLog(self.lines.append), metrics, FailedTries(metrics.tries_limited))
        super().__init__(folder, rules, failures=failures, observers=observers, buckets=AskedBuckets)
        self.made = 0
        #: Each call of a port, in order.
        self.asked = self.buckets.asked
        for name in ("key", "invitation"):
            self._watch(self.directory, name, "directory")
        self._watch(self.apikeys, "apikey", "apikeys")
        self._watch(self.keyring, "digest", "keyring")
        self._watch(self.nonces, "claim", "nonces")
        self._watch(self.ledger, "record", "ledger")

    def _watch(self, port: object, name: str, called: str) -> None:
        method = getattr(port, name)

        def watched(*given: Any, **named: Any) -> Any:
            self.asked.append(f"{called}.{name}")
            return method(*given, **named)

        setattr(port, name, watched)

    async def make(
        self,
        client: str = "alice",
        scopes: frozenset[str] = READ | TRADE,
        *,
        addresses: tuple[str, ...] = (),
        limits: tuple[str, ...] = (),
        days: float = 90,
        user: str | None = None,
    ) -> tuple[str, str]:
        """
        An API key of a client, which is made with it if need be, of a user of its name unless another is said, or none:
        the key itself, and its id.
        """
        self.made += 1
        own = tuple(parse_limit(limit)._replace(kind="own") for limit in limits)
        bounds = Bounds(f"apk_{self.made}", addresses, own)
        written = apikey.write("test", os.urandom(apikey.SECRET_BYTES))
        new = NewApiKey(
            f"cli_{client}", client, scopes, bounds, self.digest(written), self.clock.at, self.clock.at + days * DAY
        )
        known = {one.id for one in await self.apikeys.clients()}
        owner = None if new.client in known else self.owner(client, client if user is None else user or None)
        await self.apikeys.add_apikey(new, owner, BY_OPERATOR)
        return written, bounds.owner

    def owner(self, client: str, user: str | None) -> Client:
        """A client that has no key yet."""
        return Client(client, user, READ | TRADE, Bounds(f"cli_{client}", (), ()), self.clock.at)

    def add_key(self, signer: Any, client: str, state: str = "active", expires_at: float | None = None) -> None:
        """Enrols a key of a client that may read and trade."""
        super().add_key(signer, client, state, expires_at)
        record: KeyRecord = self.directory._keys[signer.keyid]
        self.directory._keys[signer.keyid] = record._replace(scopes=READ | TRADE)

    def digest(self, written: str) -> bytes:
        """What is kept of a key."""
        return digest_of(self.keyring, written.encode())

    async def rotate(self, which: str, overlap_seconds: int) -> str:
        """A new secret of an API key."""
        written = apikey.write("test", os.urandom(apikey.SECRET_BYTES))
        end = self.clock.at + 90 * DAY
        by = BY_OPERATOR._replace(at=self.clock.at)
        assert await self.apikeys.rotate_apikey(which, self.digest(written), overlap_seconds, end, by)
        return written

    async def record(self, written: str) -> ApiKeyRecord | None:
        """An API key as the stages find it."""
        return await self.apikeys.apikey(self.digest(written))

    async def steps(self, request: Wire) -> tuple[httpx2.Response, list[str]]:
        """The answer to a request, and what was asked of the ports for it."""
        self.asked.clear()
        reply = await self.send(request)
        return reply, list(self.asked)

    def told(self) -> dict[str, Any]:
        """The last line of the log."""
        line: dict[str, Any] = json.loads(self.lines[-1])
        return line

    def counted(self, by: str) -> float:
        """What the metric of failed tries says."""
        return self.registry.get_sample_value("sealwire_failed_tries_limited_total", {"by": by}) or 0


def bearing(written: str | bytes, target: bytes = TICKER, scheme: bytes = b"Bearer ") -> Wire:
    """A call with nothing but an API key."""
    key = written if isinstance(written, bytes) else written.encode()
    return Wire("GET", target).change(b"authorization", scheme + key)


def beside(world: World, written: str, request: Wire | None = None) -> Wire:
    """A signed call with an API key beside the signature, covered by it."""
    return (request or Wire()).change(b"authorization", b"Bearer " + written.encode()).sign(world.signer)


def outward(reply: httpx2.Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Everything that a caller sees of an answer, but for the id of the request."""
    own = reply.headers.get("x-request-id", "").encode()
    fields = [(name, value) for name, value in reply.headers.items() if name != "x-request-id"]
    return reply.status_code, fields, reply.content.replace(own, b"")
