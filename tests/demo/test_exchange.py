"""The exchange over HTTP, and that its books hold whatever is done to them."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, invariant, multiple, rule
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from sealwire.demo import books
from sealwire.demo.exchange import SESSION_SECONDS, app_from_environment, create_app, open_account

NOW = 1_700_000_000.9
PASSWORDS = {"alice": {"password": "correct horse"}, "bob": {"password": "battery staple"}}
BUY = {"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}
LOW = BUY | {"price": "90", "amount": "2"}
SEND = {"asset": "BTC", "amount": "0.25", "address": "bc1q7k2f"}


class Exchange:
    """An exchange of its own, with accounts for alice and bob, and a guard in front that says who calls."""

    def __init__(self, folder: Path) -> None:
        self.database, self.users = folder / "exchange.db", folder / "users.json"
        self.users.write_text(json.dumps(PASSWORDS))
        self.now = NOW
        self.app = create_app(self.database, self.users, lambda: self.now)
        for user in PASSWORDS:
            open_account(self.database, user)

    def plain(self, token: str | None = None) -> TestClient:
        return TestClient(self.app, headers={"Authorization": f"Bearer {token}"} if token else {})

    def guarded(self, user: str | None, client: str = "cli_1") -> TestClient:
        return self.behind(SimpleNamespace(caller=SimpleNamespace(user=user, client=client)))

    def behind(self, guarded: object, token: str | None = None) -> TestClient:
        async def guard(scope: Scope, receive: Receive, send: Send) -> None:
            await self.app({**scope, "sealwire": guarded}, receive, send)

        return TestClient(guard, headers={"Authorization": f"Bearer {token}"} if token else {})

    def login(self, user: str) -> str:
        reply = self.plain().post("/v1/login", json={"user": user, **PASSWORDS[user]})
        assert reply.status_code == 200
        token: str = reply.json()["token"]
        return token


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange(tmp_path)


@pytest.fixture
def alice(exchange: Exchange) -> TestClient:
    return exchange.guarded("alice")


class Book(NamedTuple):
    """All the money, by account and asset: as posted, and as the balances say."""

    posted: Counter[tuple[str, str, str]]
    balances: dict[tuple[str, str, str], int]


def read_books(database: Path) -> Book:
    with closing(sqlite3.connect(database)) as connection:
        posted: Counter[tuple[str, str, str]] = Counter()
        for kind, owner, asset, units in connection.execute("SELECT kind, owner, asset, units FROM postings"):
            posted[kind, owner, asset] += units
        sums = connection.execute("SELECT sum(units) FROM postings GROUP BY entry, asset").fetchall()
        rows = connection.execute("SELECT kind, owner, asset, units FROM balances").fetchall()
    assert set(sums) == {(0,)}
    return Book(posted, {(kind, owner, asset): units for kind, owner, asset, units in rows})


# --- who is calling --------------------------------------------------------------------------------------------------


def test_a_session_token_acts_for_its_user_for_an_hour(exchange: Exchange) -> None:
    client = exchange.plain(exchange.login("alice"))
    assert client.get("/v1/balances").json() == {"BTC": "10", "EUR": "100000"}
    exchange.now += SESSION_SECONDS - 1
    assert client.get("/v1/balances").status_code == 200
    exchange.now += 1
    assert client.get("/v1/balances").status_code == 401


def test_no_token_is_kept(exchange: Exchange) -> None:
    token = exchange.login("alice")
    assert len(token) >= 43
    assert token != exchange.login("alice")
    for file in exchange.database.parent.iterdir():
        assert token.encode() not in file.read_bytes()


def test_sessions_that_ended_are_taken_out(exchange: Exchange) -> None:
    exchange.login("alice")
    exchange.now += SESSION_SECONDS
    exchange.login("bob")
    with closing(sqlite3.connect(exchange.database)) as connection:
        assert connection.execute("SELECT user FROM sessions").fetchall() == [("bob",)]


@pytest.mark.parametrize(
    ("user", "password"), [("alice", "wrong"), ("alice", "battery staple"), ("mallory", "correct horse")]
)
def test_a_wrong_login_is_told_nothing(exchange: Exchange, user: str, password: str) -> None:
    reply = exchange.plain().post("/v1/login", json={"user": user, "password": password})
    assert (reply.status_code, reply.json()) == (401, {"error": "wrong user or password"})


def test_a_new_user_can_log_in_without_a_restart(exchange: Exchange) -> None:
    exchange.users.unlink()
    asked = {"user": "carol", "password": "new"}
    assert exchange.plain().post("/v1/login", json=asked).status_code == 401
    exchange.users.write_text('{"carol": {"password": "new"}}')
    assert exchange.plain().post("/v1/login", json=asked).status_code == 200


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer x", "Basic YTpi", "bearer \xff"])
@pytest.mark.parametrize("path", ["/v1/balances", "/v1/orders/x"])
def test_nobody_is_asked_to_log_in(exchange: Exchange, header: str | None, path: str) -> None:
    headers = [] if header is None else [(b"Authorization", header.encode("latin-1"))]
    reply = exchange.plain().get(path, headers=headers)
    assert (reply.status_code, reply.json()) == (401, {"error": "log in first"})
    assert reply.headers["www-authenticate"] == "Bearer"


def test_the_guards_caller_goes_before_a_token(exchange: Exchange) -> None:
    caller = SimpleNamespace(user="alice", client="cli_1")
    client = exchange.behind(SimpleNamespace(caller=caller), exchange.login("bob"))
    client.post("/v1/orders", json=BUY)
    assert client.get("/v1/balances").json()["EUR"] == "99999"
    assert exchange.guarded("bob").get("/v1/balances").json()["EUR"] == "100000"


def test_a_client_without_a_user_has_its_own_account(exchange: Exchange) -> None:
    open_account(exchange.database, "cli_service")
    service = exchange.guarded(None, "cli_service")
    assert service.post("/v1/orders", json=BUY).status_code == 201
    assert service.get("/v1/balances").json() == {"BTC": "10.01", "EUR": "99999"}


def test_a_guard_without_a_caller_leaves_it_to_the_token(exchange: Exchange) -> None:
    nobody = SimpleNamespace(caller=None)
    assert exchange.behind(nobody, exchange.login("alice")).get("/v1/balances").status_code == 200
    assert exchange.behind(nobody).get("/v1/balances").status_code == 401


# --- what anybody may read -------------------------------------------------------------------------------------------


def test_markets_and_time(exchange: Exchange) -> None:
    assert {"market": "BTC-EUR", "price": "100.00"} in exchange.plain().get("/v1/markets").json()["markets"]
    assert exchange.plain().get("/v1/time").json() == {"time": 1_700_000_000}


def test_what_is_not_there_is_an_error_like_any_other(exchange: Exchange) -> None:
    assert exchange.plain().get("/v1/nothing").json() == {"error": "Not Found"}
    reply = exchange.plain().put("/v1/time")
    assert (reply.status_code, reply.json(), reply.headers["allow"]) == (405, {"error": "Method Not Allowed"}, "GET")


# --- orders ----------------------------------------------------------------------------------------------------------


def test_a_buy_fills_at_the_quote(alice: TestClient) -> None:
    reply = alice.post("/v1/orders", json=BUY | {"price": "120", "amount": "0.010"})
    placed = reply.json()
    assert reply.status_code == 201
    assert re.fullmatch("ord_[0-9a-f]{32}", placed["id"])
    outcome = {"id": placed["id"], "status": "filled", "filled_price": "100.00"}
    assert placed == BUY | {"price": "120.00"} | outcome
    assert alice.get("/v1/balances").json() == {"BTC": "10.01", "EUR": "99999"}
    assert alice.get(f"/v1/orders/{placed['id']}").json() == placed


@pytest.mark.parametrize("price", ["100", "99.99"])
def test_a_sell_fills_at_the_quote(alice: TestClient, price: str) -> None:
    placed = alice.post("/v1/orders", json=BUY | {"side": "sell", "price": price, "amount": "10"}).json()
    assert (placed["status"], placed["filled_price"]) == ("filled", "100.00")
    assert alice.get("/v1/balances").json() == {"BTC": "0", "EUR": "101000"}


def test_an_order_that_must_wait_holds_its_cost_until_cancelled(alice: TestClient) -> None:
    buy = alice.post("/v1/orders", json=LOW).json()
    sell = alice.post("/v1/orders", json=LOW | {"side": "sell", "price": "100.01", "amount": "4"}).json()
    assert [(order["status"], order["filled_price"]) for order in (buy, sell)] == [("open", None)] * 2
    assert alice.get("/v1/balances").json() == {"BTC": "6", "EUR": "99820"}
    for order in (buy, sell):
        reply = alice.delete(f"/v1/orders/{order['id']}")
        assert (reply.status_code, reply.json()) == (200, order | {"status": "cancelled"})
        assert alice.get(f"/v1/orders/{order['id']}").json()["status"] == "cancelled"
    assert alice.get("/v1/balances").json() == {"BTC": "10", "EUR": "100000"}


def test_what_an_order_holds_cannot_be_spent(alice: TestClient) -> None:
    assert alice.post("/v1/orders", json=BUY | {"side": "sell", "price": "101", "amount": "9.9"}).status_code == 201
    assert alice.post("/v1/withdrawals", json=SEND).status_code == 422
    assert alice.post("/v1/withdrawals", json=SEND | {"amount": "0.1"}).status_code == 201


def test_only_an_open_order_is_cancelled_and_only_once(alice: TestClient) -> None:
    filled = alice.post("/v1/orders", json=BUY).json()["id"]
    waiting = alice.post("/v1/orders", json=LOW).json()["id"]
    assert alice.delete(f"/v1/orders/{waiting}").status_code == 200
    before = alice.get("/v1/balances").json()
    for order, status in ((filled, "filled"), (waiting, "cancelled")):
        reply = alice.delete(f"/v1/orders/{order}")
        assert (reply.status_code, reply.json()) == (409, {"error": f"the order is {status}"})
    assert alice.get("/v1/balances").json() == before


def test_anothers_order_is_no_order(exchange: Exchange, alice: TestClient) -> None:
    order = alice.post("/v1/orders", json=LOW).json()["id"]
    bob = exchange.guarded("bob")
    for reply in (bob.get(f"/v1/orders/{order}"), bob.delete(f"/v1/orders/{order}"), bob.get("/v1/orders/ord_0")):
        assert (reply.status_code, reply.json()) == (404, {"error": "no such order"})
    assert alice.get(f"/v1/orders/{order}").json()["status"] == "open"


@pytest.mark.parametrize(
    "more",
    [
        {"price": "200", "amount": "1000.00000001"},
        {"side": "sell", "amount": "10.00000001"},
        {"price": "99.99", "amount": "9999999999"},
        {"market": "ETH-EUR", "side": "sell", "price": "10"},
    ],
)
def test_nobody_spends_what_he_has_not(alice: TestClient, more: dict[str, str]) -> None:
    reply = alice.post("/v1/orders", json=BUY | more)
    assert (reply.status_code, reply.json()) == (422, {"error": "insufficient funds"})
    assert alice.get("/v1/balances").json() == {"BTC": "10", "EUR": "100000"}


def test_what_cannot_be_exact_is_refused(alice: TestClient) -> None:
    reply = alice.post("/v1/orders", json=BUY | {"price": "99.99", "amount": "0.00000001"})
    assert (reply.status_code, reply.json()) == (422, {"error": "price times amount has more than 8 places"})


def test_an_unknown_market_is_refused(alice: TestClient) -> None:
    assert alice.post("/v1/orders", json=BUY | {"market": "BTC-USD"}).json() == {"error": "no such market"}


# --- withdrawals -----------------------------------------------------------------------------------------------------


def test_a_withdrawal_leaves(alice: TestClient) -> None:
    reply = alice.post("/v1/withdrawals", json=SEND | {"amount": "0.250"})
    assert reply.status_code == 201
    assert reply.json() == SEND | {"id": reply.json()["id"], "status": "sent"}
    assert re.fullmatch("wdr_[0-9a-f]{32}", reply.json()["id"])
    assert alice.get("/v1/balances").json() == {"BTC": "9.75", "EUR": "100000"}


@pytest.mark.parametrize("more", [{"amount": "10.00000001"}, {"amount": "9999999999.99999999"}, {"asset": "XYZ"}])
def test_a_withdrawal_past_the_balance_is_refused(alice: TestClient, more: dict[str, str]) -> None:
    reply = alice.post("/v1/withdrawals", json=SEND | more)
    assert (reply.status_code, reply.json()) == (422, {"error": "insufficient funds"})


# --- what is asked must be exactly so --------------------------------------------------------------------------------

AMOUNTS = ["0", "0.0", "-1", "+1", "1e1", "1.", ".5", "01", "1.000000001", "1,5", " 1", "1\n", "", "١", "NaN", "1" * 11]


@pytest.mark.parametrize("amount", [*AMOUNTS, 1, 0.5, None, True])
def test_an_amount_is_a_strict_decimal_string(alice: TestClient, amount: object) -> None:
    for path, asked in (("/v1/withdrawals", SEND), ("/v1/orders", BUY)):
        reply = alice.post(path, json=asked | {"amount": amount})
        assert reply.status_code == 422
        assert list(reply.json()) == ["error"]
    assert alice.post("/v1/orders", json=BUY | {"price": amount}).status_code == 422


@pytest.mark.parametrize("more", [{"note": "x"}, {"address": ""}, {"address": "a b"}, {"address": "x" * 129}])
def test_a_withdrawal_has_only_its_members(alice: TestClient, more: dict[str, str]) -> None:
    assert alice.post("/v1/withdrawals", json=SEND | more).status_code == 422


@pytest.mark.parametrize("more", [{"side": "both"}, {"type": "market"}, {"side": None}])
def test_an_order_has_only_its_members(alice: TestClient, more: dict[str, str]) -> None:
    assert alice.post("/v1/orders", json=BUY | more).status_code == 422


def test_an_error_repeats_no_value(exchange: Exchange) -> None:
    reply = exchange.plain().post("/v1/login", json={"user": "alice", "password": ["hunter2"], "more": "hunter3"})
    assert reply.status_code == 422
    assert "hunter" not in reply.text
    assert "password" in reply.json()["error"]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"\\ud800": 1}', b'{"user": "\\ud800", "password": "x"}', b"\xff"]
)
def test_a_body_that_is_none_is_an_error_like_any_other(exchange: Exchange, body: bytes) -> None:
    reply = exchange.plain().post("/v1/login", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code in {400, 422}
    assert list(reply.json()) == ["error"]


# --- accounts --------------------------------------------------------------------------------------------------------


def test_an_account_is_opened_once(exchange: Exchange, alice: TestClient) -> None:
    alice.post("/v1/withdrawals", json=SEND)
    open_account(exchange.database, "alice")
    assert alice.get("/v1/balances").json() == {"BTC": "9.75", "EUR": "100000"}


def test_a_call_opens_no_account(exchange: Exchange) -> None:
    carol = exchange.guarded("carol")
    before = read_books(exchange.database)
    assert carol.get("/v1/balances").json() == {"BTC": "0", "EUR": "0"}
    assert carol.post("/v1/orders", json=BUY).status_code == 422
    assert carol.post("/v1/withdrawals", json=SEND).status_code == 422
    assert read_books(exchange.database) == before


@pytest.mark.parametrize("user", ["house", "outside", "held", ""])
def test_no_name_reaches_the_houses_money(exchange: Exchange, user: str) -> None:
    assert exchange.guarded(user).post("/v1/withdrawals", json=SEND).status_code == 422
    open_account(exchange.database, user)
    assert exchange.guarded(user).get("/v1/balances").json() == {"BTC": "10", "EUR": "100000"}


def test_the_database_is_private_and_outlives_the_app(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange.guarded("alice").post("/v1/withdrawals", json=SEND)
    assert stat.S_IMODE(exchange.database.stat().st_mode) == 0o600
    monkeypatch.setenv("EXCHANGE_DATABASE", str(exchange.database))
    monkeypatch.setenv("EXCHANGE_USERS", str(exchange.users))
    client = TestClient(app_from_environment(), headers={"Authorization": f"Bearer {exchange.login('alice')}"})
    # The token is of the year the fixed clock shows, so for the app's own clock it has ended.
    assert client.get("/v1/balances").status_code == 401
    token = client.post("/v1/login", json={"user": "alice", **PASSWORDS["alice"]}).json()["token"]
    assert client.get("/v1/balances", headers={"Authorization": f"Bearer {token}"}).json()["BTC"] == "9.75"


# --- the books hold --------------------------------------------------------------------------------------------------


def test_two_threads_spend_the_same_money_once(exchange: Exchange) -> None:
    start = Barrier(2)

    def spend(_: int) -> int:
        client = exchange.guarded("alice")
        start.wait()
        return client.post("/v1/withdrawals", json=SEND | {"amount": "10"}).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(spend, range(2))) == [201, 422]
    assert exchange.guarded("alice").get("/v1/balances").json()["BTC"] == "0"


def test_two_threads_cancel_the_same_order_once(exchange: Exchange, alice: TestClient) -> None:
    order = alice.post("/v1/orders", json=LOW).json()["id"]
    start = Barrier(2)

    def cancel(_: int) -> int:
        client = exchange.guarded("alice")
        start.wait()
        return client.delete(f"/v1/orders/{order}").status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(cancel, range(2))) == [200, 409]
    assert alice.get("/v1/balances").json() == {"BTC": "10", "EUR": "100000"}


def spend_in_a_process(database: Path) -> int:
    open_account(database, "alice")
    sent = 0
    while True:
        try:
            books.withdraw(database, "alice", "BTC", books.UNIT // 4, "bc1q7k2f")
        except books.Refused:
            return sent
        sent += 1


def test_processes_share_one_file(tmp_path: Path) -> None:
    """From the first moment, when all of them make the file, to the last coin."""
    with get_context("spawn").Pool(4) as pool:
        sent = pool.map(spend_in_a_process, [tmp_path / "exchange.db"] * 4, chunksize=1)
        pool.close()
        pool.join()
    assert sum(sent) == 40
    assert read_books(tmp_path / "exchange.db").balances["outside", "", "BTC"] == 10 * books.UNIT


users = st.sampled_from(sorted(PASSWORDS))
sides: st.SearchStrategy[books.Side] = st.sampled_from(["buy", "sell"])
whole = st.integers(1, 12).map(books.UNIT.__mul__)
amounts = st.one_of(whole, st.integers(1, 12 * books.UNIT), st.integers(1, 10**18 - 1))
prices = st.one_of(st.sampled_from(["0.1", "10", "99.5", "100", "100.5", "20000"]).map(books.units_of), amounts)


class Trading(RuleBasedStateMachine):
    """Two users who place, cancel and withdraw whatever they like, beside books that the test keeps by itself."""

    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.database = Path(self.folder.name, "exchange.db")
        for user in PASSWORDS:
            open_account(self.database, user)
        self.free = {user: Counter(books.OPENING) for user in PASSWORDS}
        self.held: dict[str, tuple[str, str, int]] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(
        target=orders,
        user=users,
        market=st.sampled_from(sorted(books.QUOTES)),
        side=sides,
        price=prices,
        amount=amounts,
    )
    def place(
        self, user: str, market: str, side: books.Side, price: int, amount: int
    ) -> MultipleResults[tuple[str, str]]:
        try:
            order = books.place(self.database, user, market, side, price, amount)
        except books.Refused:
            return multiple()
        base, quote = market.split("-")
        cost = Fraction(order.filled_price or price) * amount / books.UNIT
        assert cost.denominator == 1
        paid, got = ((quote, int(cost)), (base, amount)) if side == "buy" else ((base, amount), (quote, int(cost)))
        self.free[user][paid[0]] -= paid[1]
        if order.status == "filled":
            self.free[user][got[0]] += got[1]
        else:
            self.held[order.id] = (user, *paid)
        return multiple((user, order.id))

    @rule(user=users, order=orders)
    def cancel(self, user: str, order: tuple[str, str]) -> None:
        owner, order_id = order
        if user != owner:
            with pytest.raises(books.NoSuchOrder):
                books.cancel(self.database, user, order_id)
        elif order_id not in self.held:
            with pytest.raises(books.NotOpen):
                books.cancel(self.database, user, order_id)
        else:
            books.cancel(self.database, user, order_id)
            _, asset, units = self.held.pop(order_id)
            self.free[user][asset] += units

    @rule(user=users, asset=st.sampled_from(["BTC", "ETH", "EUR"]), amount=amounts)
    def withdraw(self, user: str, asset: str, amount: int) -> None:
        if amount > self.free[user][asset]:
            with pytest.raises(books.Refused):
                books.withdraw(self.database, user, asset, amount, "bc1q7k2f")
        else:
            books.withdraw(self.database, user, asset, amount, "bc1q7k2f")
            self.free[user][asset] -= amount

    @invariant()
    def the_books_hold(self) -> None:
        book = read_books(self.database)
        assert dict(book.posted) == book.balances
        assert all(units >= 0 for (kind, _, _), units in book.balances.items() if kind != "house")
        per_asset: Counter[str] = Counter()
        for (_, _, asset), units in book.balances.items():
            per_asset[asset] += units
        assert not any(per_asset.values())
        held: Counter[tuple[str, str, str]] = Counter()
        for owner, asset, units in self.held.values():
            held["held", owner, asset] += units
        free = Counter({("free", user, asset): units for user in PASSWORDS for asset, units in self.free[user].items()})
        assert +book.posted == +(held + free + outside(book))


def outside(book: Book) -> Counter[tuple[str, str, str]]:
    return Counter({account: units for account, units in book.balances.items() if account[0] == "outside"})


TestTrading = Trading.TestCase
