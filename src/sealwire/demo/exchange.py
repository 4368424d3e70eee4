"""
A small crypto exchange: a plain FastAPI app as anyone would write it, with passwords and session tokens.

Owns: its HTTP API and its sessions. Every error is `{"error": "…"}`.
Refuses to know: signatures, keys, and what stands in front of it. All that it takes from a guard is the caller, in
`account_of`, and it runs without one too.
"""

import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from sealwire.demo import books
from sealwire.demo.books import open_account

__all__ = ["account_of", "app_from_environment", "create_app", "open_account", "sign_in"]

SESSION_SECONDS = 3600
_STATUS: dict[type[Exception], int] = {books.NoSuchOrder: 404, books.NotOpen: 409, books.Refused: 422}
_SESSIONS = "CREATE TABLE IF NOT EXISTS sessions (hash BLOB PRIMARY KEY, user TEXT, ends REAL) STRICT"

Amount = Annotated[str, Field(pattern=books.AMOUNT)]


class Caller(Protocol):
    """Who calls, proven by whatever guards this app: a program, and the user it acts for, if any."""

    user: str | None
    client: str


class Setting(NamedTuple):
    """What one app was created with."""

    database: Path
    users_file: Path
    clock: Callable[[], float]


class Login(BaseModel, extra="forbid"):
    user: str = Field(min_length=1, max_length=128)
    password: str = Field(min_length=1, max_length=1024)


class NewQuote(BaseModel, extra="forbid"):
    market: str = Field(max_length=16)
    side: books.Side
    amount: Amount


class NewOrder(BaseModel, extra="forbid"):
    market: str = Field(max_length=16)
    side: books.Side
    price: Amount
    amount: Amount


class NewWithdrawal(BaseModel, extra="forbid"):
    asset: str = Field(max_length=8)
    amount: Amount
    address: str = Field(pattern="^[!-~]{1,128}$")


def setting_of(request: Request) -> Setting:
    setting: Setting = request.app.state.setting
    return setting


Settings = Annotated[Setting, Depends(setting_of)]


def account_of(request: Request, setting: Settings) -> str:
    """
    Whose account this call acts on: the guard's caller, by user if there is one, else by client; without a caller, the
    user who logged in for the session token.
    """
    guarded = request.scope.get("sealwire")
    caller: Caller | None = None if guarded is None else guarded.caller
    if caller is not None:
        return caller.client if caller.user is None else caller.user
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    user = _session_user(setting, token) if scheme.lower() == "bearer" else None
    if user is None:
        raise HTTPException(401, "log in first", {"WWW-Authenticate": "Bearer"})
    return user


OwnAccount = Annotated[str, Depends(account_of)]

v1 = APIRouter(prefix="/v1")


@v1.post("/login")
def login(asked: Login, setting: Settings) -> dict[str, str]:
    """A session token, good for an hour. Only its hash is kept."""
    if not _password_is_right(setting.users_file, asked):
        raise HTTPException(401, "wrong user or password")
    token, now = secrets.token_urlsafe(32), setting.clock()
    with books.transaction(setting.database) as connection:
        connection.execute("DELETE FROM sessions WHERE ends <= ?", (now,))
        connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (_hash(token), asked.user, now + SESSION_SECONDS))
    return {"token": token}


@v1.get("/markets")
def markets() -> dict[str, list[dict[str, str]]]:
    return {"markets": [{"market": name, "price": books.written(price, 2)} for name, price in books.QUOTES.items()]}


@v1.get("/ticker")
def ticker(market: str, setting: Settings) -> dict[str, str | int]:
    """What a dashboard shows: no account is looked at."""
    return {"market": market, "price": books.written(books.quoted(market), 2), "time": int(setting.clock())}


@v1.get("/time")
def unix_time(setting: Settings) -> dict[str, int]:
    return {"time": int(setting.clock())}


@v1.get("/balances")
def balances(owner: OwnAccount, setting: Settings) -> dict[str, str]:
    return {asset: books.written(units) for asset, units in books.balances(setting.database, owner).items()}


@v1.post("/quotes")
def quote(asked: NewQuote, _: OwnAccount) -> dict[str, str]:
    """The price at which an order would be filled now."""
    amount = books.units_of(asked.amount)
    return {
        **asked.model_dump(),
        "amount": books.written(amount),
        "price": books.written(books.quoted(asked.market), 2),
    }


@v1.post("/orders", status_code=201)
def place_order(asked: NewOrder, owner: OwnAccount, setting: Settings) -> dict[str, str | None]:
    price, amount = books.units_of(asked.price), books.units_of(asked.amount)
    return _shown(books.place(setting.database, owner, asked.market, asked.side, price, amount))


@v1.get("/orders/{order_id}")
def show_order(order_id: str, owner: OwnAccount, setting: Settings) -> dict[str, str | None]:
    return _shown(books.find_order(setting.database, owner, order_id))


@v1.delete("/orders/{order_id}")
def cancel_order(order_id: str, owner: OwnAccount, setting: Settings) -> dict[str, str | None]:
    return _shown(books.cancel(setting.database, owner, order_id))


@v1.post("/withdrawals", status_code=201)
def withdraw(asked: NewWithdrawal, owner: OwnAccount, setting: Settings) -> dict[str, str]:
    amount = books.units_of(asked.amount)
    withdrawal = books.withdraw(setting.database, owner, asked.asset, amount, asked.address)
    return {"id": withdrawal, **asked.model_dump(), "amount": books.written(amount), "status": "sent"}


def create_app(database: Path, users_file: Path, clock: Callable[[], float] = time.time) -> FastAPI:
    """The exchange on these two files; the database is made if it is missing, `users_file` is read at each login."""
    books.prepare(database)
    with books.transaction(database) as connection:
        connection.execute(_SESSIONS)
    # The pages of documentation would load scripts from elsewhere.
    app = FastAPI(title="Exchange", docs_url=None, redoc_url=None)
    answered: tuple[type[Exception], ...] = (HTTPException, RequestValidationError, *_STATUS)
    for kind in answered:
        app.add_exception_handler(kind, _answer_error)
    app.state.setting = Setting(database, users_file, clock)
    app.include_router(v1)
    return app


def app_from_environment() -> FastAPI:
    """The exchange on the files that EXCHANGE_DATABASE and EXCHANGE_USERS name."""
    return create_app(Path(os.environ["EXCHANGE_DATABASE"]), Path(os.environ["EXCHANGE_USERS"]))


def sign_in(name: str, password: str) -> str | None:
    """The user of this name and password, for whoever lets the exchange's users in: None for any other."""
    asked = Login.model_construct(user=name, password=password)
    return name if _password_is_right(Path(os.environ["EXCHANGE_USERS"]), asked) else None


def _answer_error(_: Request, why: Exception) -> JSONResponse:
    if isinstance(why, HTTPException):
        return JSONResponse({"error": why.detail}, why.status_code, why.headers)
    if isinstance(why, RequestValidationError):
        # Where and what, never the value: it may be a password. A member's name may hold what is not Unicode.
        said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in why.errors())
        return JSONResponse({"error": said.encode("ascii", "backslashreplace").decode()}, 422)
    return JSONResponse({"error": str(why)}, _STATUS[type(why)])


def _shown(order: books.Order) -> dict[str, str | None]:
    filled = None if order.filled_price is None else books.written(order.filled_price, 2)
    said = {"price": books.written(order.price, 2), "amount": books.written(order.amount), "filled_price": filled}
    return {"id": order.id, "market": order.market, "side": order.side, "status": order.status, **said}


def _password_is_right(users_file: Path, asked: Login) -> bool:
    users: dict[str, dict[str, str]] = json.loads(users_file.read_text("utf-8")) if users_file.exists() else {}
    # An unknown user takes the same comparison, against what nobody can know.
    right = users.get(asked.user, {"password": secrets.token_hex()})["password"]
    return compare_digest(_hash(right), _hash(asked.password))


def _session_user(setting: Setting, token: str) -> str | None:
    sql = "SELECT user FROM sessions WHERE hash = ? AND ends > ?"
    with books.connected(setting.database) as connection:
        row: tuple[str] | None = connection.execute(sql, (_hash(token), setting.clock())).fetchone()
    return row[0] if row else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
