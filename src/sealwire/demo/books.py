"""
The exchange's books: double entry in one SQLite file that several processes may share.

Owns: money and what moves it. Amounts are whole numbers of 1e-8, and nothing is ever rounded. The postings of one entry
sum to zero per asset, and only the house, where test money comes from, may owe.
Refuses to know: HTTP, and who is calling.
"""

import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Literal, NamedTuple

UNIT = 10**8
#: No sign, no exponent, no leading zero, at most 8 places; ten digits before the point keep every amount in 64 bits.
AMOUNT = r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,8})?$"
#: The price of one BTC-EUR is the EUR that one BTC costs. Quotes stand still, so an order that is open stays open.
QUOTES = {"BTC-EUR": 100 * UNIT, "ETH-BTC": UNIT // 10, "ETH-EUR": 10 * UNIT}
OPENING = {"BTC": 10 * UNIT, "EUR": 100_000 * UNIT}
Side = Literal["buy", "sell"]

_SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS postings (entry INTEGER, kind TEXT, owner TEXT, asset TEXT, units INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS balances (
    kind TEXT, owner TEXT, asset TEXT, units INTEGER CHECK (units >= 0 OR kind = 'house'), UNIQUE (owner, kind, asset)
) STRICT;
CREATE TRIGGER IF NOT EXISTS posted AFTER INSERT ON postings BEGIN
    INSERT INTO balances VALUES (new.kind, new.owner, new.asset, 0) ON CONFLICT DO NOTHING;
    UPDATE balances SET units = units + new.units WHERE (kind, owner, asset) = (new.kind, new.owner, new.asset);
END;
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY, owner TEXT, market TEXT, side TEXT, price INTEGER, amount INTEGER, status TEXT, filled INTEGER
) STRICT;
COMMIT"""


class Refused(Exception):
    """What was asked cannot be done; the message says why, and nothing has moved."""


class NoSuchOrder(Exception):
    """The owner has no order of this id."""


class NotOpen(Exception):
    """The order is filled or cancelled already."""


class Account(NamedTuple):
    """Where money lies. `held` secures open orders; the house and the outside, where withdrawals go, have no owner."""

    kind: Literal["house", "outside", "free", "held"]
    owner: str = ""


class Order(NamedTuple):
    """A limit order; `price` is the limit, `filled_price` what was paid. `status` is open, filled or cancelled."""

    id: str
    owner: str
    market: str
    side: Side
    price: int
    amount: int
    status: str
    filled_price: int | None


def units_of(text: str) -> int:
    """The whole number of 1e-8 that a positive amount stands for. Raises: Refused."""
    whole, _, fraction = text.partition(".")
    units = int(whole + fraction.ljust(8, "0")) if re.fullmatch(AMOUNT, text) else 0
    if not units:
        raise Refused("an amount is a positive decimal string with at most 8 places")
    return units


def written(units: int, places: int = 0) -> str:
    """Exactly these units as a decimal string, with as few places as they need, but at least `places`."""
    whole, fraction = divmod(units, UNIT)
    digits = f"{fraction:08}".rstrip("0").ljust(places, "0")
    return f"{whole}.{digits}" if digits else str(whole)


def prepare(database: Path) -> None:
    """The file exists, for its owner's eyes only, with all its tables. May be called by many at once."""
    database.touch(mode=0o600)
    with connected(database) as connection:
        for _ in range(100):  # the one statement for which SQLite does not wait when others do the same
            with suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
                break
            sleep(0.05)
        connection.executescript(_SCHEMA)


@contextmanager
def connected(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection for reading; each statement sees the newest committed state."""
    with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        yield connection


@contextmanager
def transaction(database: Path) -> Iterator[sqlite3.Connection]:
    """Whole or not at all, and the only writer from its first line on: what it has read cannot change under it."""
    with connected(database) as connection, connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def open_account(database: Path, user: str) -> None:
    """`user` has an account that was given its test money once, however often this is called."""
    prepare(database)
    with transaction(database) as connection:
        if connection.execute("INSERT INTO owners VALUES (?) ON CONFLICT DO NOTHING", (user,)).rowcount:
            gifts = [(asset, units, Account("house"), Account("free", user)) for asset, units in OPENING.items()]
            _post(connection, "opened", *gifts)


def balances(database: Path, owner: str) -> dict[str, int]:
    """What `owner` may spend, by asset; what open orders hold is not in it. Without an account: zeros."""
    with connected(database) as connection:
        rows = connection.execute("SELECT asset, units FROM balances WHERE kind = 'free' AND owner = ?", (owner,))
        return dict.fromkeys(OPENING, 0) | dict(rows.fetchall())


def quoted(market: str) -> int:
    """What one of the market's base costs. Raises: Refused."""
    quote = QUOTES.get(market)
    if quote is None:
        raise Refused("no such market")
    return quote


def place(database: Path, owner: str, market: str, side: Side, price: int, amount: int) -> Order:
    """Filled by the house at the quote if the limit allows; else open, with its cost held. Raises: Refused."""
    quote = quoted(market)
    fills = price >= quote if side == "buy" else price <= quote
    status, filled_price = ("filled", quote) if fills else ("open", None)
    order = Order(f"ord_{secrets.token_hex(16)}", owner, market, side, price, amount, status, filled_price)
    paid, got = _sides(order)
    free, held, house = Account("free", owner), Account("held", owner), Account("house")
    moves = [(*paid, free, house), (*got, house, free)] if fills else [(*paid, free, held)]
    with transaction(database) as connection:
        _post(connection, order.id, *moves)
        connection.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?)", order)
    return order


def find_order(database: Path, owner: str, order_id: str) -> Order:
    """The owner's own order. Raises: NoSuchOrder, for another's as for none."""
    with connected(database) as connection:
        row = connection.execute("SELECT * FROM orders WHERE id = ? AND owner = ?", (order_id, owner)).fetchone()
    if row is None:
        raise NoSuchOrder("no such order")
    return Order(*row)


def cancel(database: Path, owner: str, order_id: str) -> Order:
    """The order is cancelled and all that it held is free again. Raises: NoSuchOrder, NotOpen."""
    sql = "UPDATE orders SET status = 'cancelled' WHERE id = ? AND owner = ? AND status = 'open' RETURNING *"
    with transaction(database) as connection:
        rows = connection.execute(sql, (order_id, owner)).fetchall()
        if not rows:
            raise NotOpen(f"the order is {find_order(database, owner, order_id).status}")
        paid, _ = _sides(order := Order(*rows[0]))
        _post(connection, f"{order.id} cancelled", (*paid, Account("held", owner), Account("free", owner)))
    return order


def withdraw(database: Path, owner: str, asset: str, amount: int, address: str) -> str:
    """The id of a withdrawal whose money has left. Raises: Refused."""
    withdrawal = f"wdr_{secrets.token_hex(16)}"
    with transaction(database) as connection:
        _post(connection, f"{withdrawal} to {address}", (asset, amount, Account("free", owner), Account("outside")))
    return withdrawal


def _post(connection: sqlite3.Connection, reason: str, *moves: tuple[str, int, Account, Account]) -> None:
    """One entry: each move takes units of an asset from one account to another, or none does. Raises: Refused."""
    entry = connection.execute("INSERT INTO entries (reason) VALUES (?)", (reason,)).lastrowid
    for asset, units, source, target in moves:
        sql = "SELECT units FROM balances WHERE kind = ? AND owner = ? AND asset = ?"
        (there,) = connection.execute(sql, (*source, asset)).fetchone() or (0,)
        if there < units and source.kind != "house":
            raise Refused("insufficient funds")
        sides = [(entry, *source, asset, -units), (entry, *target, asset, units)]
        connection.executemany("INSERT INTO postings VALUES (?, ?, ?, ?, ?)", sides)


def _sides(order: Order) -> tuple[tuple[str, int], tuple[str, int]]:
    """What the order's owner pays and gets. Raises: Refused, if that is no whole number of units."""
    base, quote = order.market.split("-")
    value, rest = divmod((order.filled_price or order.price) * order.amount, UNIT)
    if rest:
        raise Refused("price times amount has more than 8 places")
    bought, cost = (base, order.amount), (quote, value)
    return (cost, bought) if order.side == "buy" else (bought, cost)
