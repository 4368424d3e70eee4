"""The pages in this process: real ports in memory, a settable clock, and visitors who send what a browser sends."""

from __future__ import annotations

import os
import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.build import Ports
from sealwire.call import Approval
from sealwire.clients import Clients
from sealwire.config import load
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.pages.app import build_pages
from sealwire.pages.door import SignIn
from sealwire.ports import Directory
from sealwire.ports.people import Approvals, Factors
from sealwire.presence import NewSeed, Presence, Terms
from sealwire.protocol.approval import Shown
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.jwk import load_verifier
from sealwire.protocol.otp import STEP_SECONDS, Seed
from sealwire.protocol.signature import signer_of
from sealwire.records import KeyRecord
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.memory_apikeys import MemoryApiKeys
from sealwire.stores.memory_approvals import MemoryApprovals
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile
from tests.stories.world import PAGES, START, KeptNotices, SetClock

PASSWORDS = {"alice": "correct horse", "bob": "battery staple"}
SECRET = b"12345678901234567890"
VALUES = (("amount", "0.25"), ("asset", "BTC"), ("address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k2f"))
HOME, ELSEWHERE = "192.0.2.10", "198.51.100.7"
TERMS = Terms(policy="policy-1")
FORM = "application/x-www-form-urlencoded"
API = "https://api.example"
POLICY = """
environment = "production"
clock_kept_by = "the host"
public_origins = ["https://api.example"]
app = "app:app"
keys = {{ signing = "file:signing.pem", wrapping = "file:wrapping.key" }}
store = {{ durable = "sqlite:durable.db", fast = "memory:" }}
pages = {{ origin = "{origin}", sign_in = "app:known", scopes = ["read", "trade"] }}

[[rules]]
path = "/v1/ticker"
methods = ["GET"]
profile = "keyed"
scopes = ["read"]

[[rules]]
path = "/v1/orders"
methods = ["POST"]
profile = "signed"
scopes = ["trade", "admin"]
"""


def known(name: str, password: str) -> str | None:
    """The app's own sign-in."""
    return name if PASSWORDS.get(name) == password else None


def asking(
    keyring: FileKeyring, now: float, user: str, values: tuple[tuple[str, str], ...], client: str = "TradeBot"
) -> Approval:
    """A question as the desk keeps it."""
    texts = dict(values)
    sentence = f"Send {texts['amount']} {texts['asset']} to {texts['address']}" if values else "Close the account"
    approval_id = identifier("apr", int(now * 1000), os.urandom(RANDOM_BYTES))
    shown = keyring.wrap(Shown(sentence, values).pack(), approval_id.encode())
    return Approval(
        approval_id, "cli_bot", client, user, "key-of-the-bot", (os.urandom(32),), shown, "/v1/withdrawals",
        ("totp", "hotp", "recovery"), "203.0.113.5", now, now + 600,
    )  # fmt: skip


class PagesWorld:
    """The pages of one deployment, and what lies behind them."""

    def __init__(
        self,
        folder: Path,
        *,
        origin: str = PAGES,
        sign_in: SignIn = known,
        store: Any = None,
        file: SqliteFile | None = None,
        development: bool = False,
    ) -> None:
        self.clock = SetClock()
        self.at_start = START
        if not (folder / "signing.pem").exists():
            make_signing_key(folder / "signing.pem")
            make_wrapping_key(folder / "wrapping.key", os.urandom)
        self.keyring = FileKeyring(folder / "signing.pem", folder / "wrapping.key", os.urandom)
        self.directory = MemoryDirectory()
        self.ledger = MemoryLedger(self.clock)
        kept = MemoryApprovals(self.clock, self.ledger, self.directory)
        self.approvals: Approvals = kept if store is None else store
        self.factors: Factors = kept if store is None else store
        apikeys: MemoryApiKeys | SqliteApiKeys = MemoryApiKeys(self.ledger, self.directory)
        directory: Directory = self.directory
        if file is not None:
            apikeys, directory = SqliteApiKeys(file), SqliteDirectory(file)
        self.notices = KeptNotices()
        self.origin = origin
        self.buckets = MemoryBuckets(self.clock)
        ports = Ports(
            directory, self.ledger, MemoryNonces(self.clock, os.urandom), MemorySessions(self.clock),
            self.buckets, self.keyring, self.clock, os.urandom, lambda: None,
            self.approvals, self.factors, self.notices, apikeys, apikeys,
        )  # fmt: skip
        self.presence = Presence(
            self.approvals, self.factors, self.keyring, self.clock, os.urandom, self.notices, TERMS
        )
        policy = folder / "sealwire.toml"
        policy.write_text(POLICY.format(origin=origin), encoding="utf-8")
        self.apikeys = apikeys
        self.clients = Clients(load(policy), ports)
        self.app = build_pages(origin, ports, TERMS, sign_in, self.clients, api=API, development=development)
        self.phone = Seed(SECRET)

    def visitor(self, address: str = HOME) -> Visitor:
        """Somebody at a browser that nobody has used before."""
        return Visitor(self, address)

    async def signed_in(self, name: str = "alice", address: str = HOME) -> Visitor:
        """Somebody who is in."""
        visitor = self.visitor(address)
        answer = await visitor.sign_in(name)
        assert answer.status_code == 303, answer.text
        return visitor

    async def give_phone(self, user: str = "alice", name: str = "Phone") -> None:
        """A factor that was added long ago."""
        await self.presence.add_seed(user, NewSeed("totp", name, SECRET), "user", HOME)

    def code(self, steps: int = 0) -> str:
        """What the phone shows, so many steps from now."""
        return self.phone.code(int(self.clock.at // STEP_SECONDS) + steps)

    async def ask(
        self, user: str = "alice", values: tuple[tuple[str, str], ...] = VALUES, client: str = "TradeBot"
    ) -> str:
        """A question that waits: its path."""
        approval = await self.approvals.ask(asking(self.keyring, self.clock.at, user, values, client))
        return f"/approve/{approval.id}"

    async def state(self, path: str) -> str:
        """What became of a question."""
        found = await self.approvals.approval(path.rpartition("/")[2])
        assert found is not None
        return found.state_at(self.clock.at)

    def enrol_bot(self) -> str:
        """A key of the client that asks: its id."""
        signer = signer_of(Ed25519PrivateKey.generate())
        self.directory._keys[signer.keyid] = KeyRecord(
            signer.keyid, "cli_bot", "TradeBot", "bot", "alice", frozenset(("withdraw",)), (),
            load_verifier(signer.jwk), "active", START - 100, None,
        )  # fmt: skip
        return signer.keyid

    def recorded(self) -> list[tuple[str, str, str]]:
        """Outcome, code and user of each record, in their order."""
        return [(one.outcome, one.code, one.user) for one in self.ledger.decisions]


class Visitor:
    """One browser: keeps its cookies and the token of its last page, and says where its forms come from."""

    def __init__(self, world: PagesWorld, address: str) -> None:
        self._world = world
        transport = httpx2.ASGITransport(world.app, client=(address, 4000))
        self.http = httpx2.AsyncClient(transport=transport, base_url=world.origin)
        self.csrf = ""

    async def get(self, path: str) -> httpx2.Response:
        """Opens a page."""
        return self._seen(await self.http.get(path))

    async def post(self, path: str, headers: dict[str, str | None] | None = None, /, **fields: str) -> httpx2.Response:
        """Sends a form as the page of ours would; None in `headers` leaves a field out."""
        sent = {"origin": self._world.origin, "sec-fetch-site": "same-origin"} | (headers or {})
        kept = {name: value for name, value in sent.items() if value is not None}
        return self._seen(await self.http.post(path, data={"csrf": self.csrf} | fields, headers=kept))

    async def sign_in(self, name: str, password: str | None = None, back: str = "/") -> httpx2.Response:
        """Signs in, and opens the page of the account for its token where that went well."""
        given = PASSWORDS.get(name, "") if password is None else password
        answer = await self.post("/sign-in", name=name, password=given, back=back)
        if answer.status_code == 303:
            await self.get("/")
        return answer

    def cookie(self) -> str:
        """The token of the visit."""
        (value,) = self.http.cookies.values()
        return str(value)

    def _seen(self, answer: httpx2.Response) -> httpx2.Response:
        found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
        if found is not None:
            self.csrf = unescape(found[1])
        return answer


def said(answer: httpx2.Response) -> str:
    """What the page tells its reader of what they just did."""
    found = re.search(r'class="said" role="alert">([^<]*)<', answer.text)
    return unescape(found[1]) if found else ""


def once(answer: httpx2.Response) -> str:
    """What lets a form on the page be sent, once."""
    found = re.search(r'name="once" value="([^"]+)"', answer.text)
    return found[1] if found else ""


def shown_once(answer: httpx2.Response) -> str:
    """The invitation or the API key on the page; empty where there is none."""
    found = re.search(r'class="once"[^>]*>([^<]*)<', answer.text)
    return unescape(found[1]) if found else ""


def secret_on(answer: httpx2.Response) -> str:
    """The new entry's secret as it is to be typed in."""
    found = re.search(r'class="secret"[^>]*>(.*?)</p>', answer.text, re.DOTALL)
    assert found is not None
    return re.sub(r"<[^>]+>|\s", "", found[1])
