"""
Apps that ask for a person before they pay, each in a house that answers whatever is raised: with FastAPI, Starlette and
Django. `how` in the body says in which way a view asks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio.from_thread
from asgiref.sync import async_to_sync
from django.http import HttpRequest, JsonResponse
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.responses import StreamingResponse as FastStreaming
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Route

from sealwire.fronts.asgi import App, Receive, Scope, Send

PATH = "/v1/payouts"


class Till:
    """Stands between guard and app: what was paid, the rate that the app's sentence names, and the app's house."""

    def __init__(self, app: App, house: str) -> None:
        self._app = app
        self.house = house
        self.paid: list[str] = []
        self.rate = "1.10"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, "till": self}, receive, send)


def sentence(scope: Any, pay: str) -> str:
    """What the app wants a yes to."""
    return f"Pay {pay} at {scope['till'].rate}"


async def paid(scope: Any, pay: str) -> dict[str, str]:
    """Asks, then pays."""
    await scope["sealwire"].need_approval(sentence(scope, pay))
    scope["till"].paid.append(pay)
    return {"paid": pay}


async def by_way(how: str, scope: Any, pay: str) -> dict[str, str]:
    """The ways that need no framework."""
    if how == "caught":
        try:
            return await paid(scope, pay)
        except Exception:  # noqa: BLE001  # as apps do
            return {"error": "caught"}
    if how == "caught, and asked otherwise":
        try:
            return await paid(scope, pay)
        except Exception:  # noqa: BLE001  # as apps do
            await scope["sealwire"].need_approval("Say yes to anything")
    if how == "in a task":
        return await asyncio.create_task(paid(scope, pay))
    if how == "in a group":
        async with asyncio.TaskGroup() as group:
            task = group.create_task(paid(scope, pay))
        return task.result()
    if how == "raised as another":
        try:
            return await paid(scope, pay)
        except Exception as why:
            raise KeyError("payment") from why
    return await paid(scope, pay)


async def _parts(scope: Any, pay: str) -> AsyncIterator[bytes]:
    yield b'{"paid": '
    await paid(scope, pay)
    yield b"true}"


async def _answer_anything(request: StarletteRequest, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "answered"}, 200)


class _Pardon(BaseHTTPMiddleware):
    """Answers what is raised within."""

    async def dispatch(self, request: StarletteRequest, call_next: RequestResponseEndpoint) -> Response:
        try:
            return await call_next(request)
        except Exception:  # noqa: BLE001  # as apps do
            return JSONResponse({"error": "pardoned"}, 200)


async def _view(request: StarletteRequest) -> Response:
    body = await request.json()
    how, pay = body["how"], body["pay"]
    if how == "in the background":
        return JSONResponse({"accepted": pay}, 202, background=BackgroundTask(paid, request.scope, pay))
    if how == "in a stream":
        return FastStreaming(_parts(request.scope, pay), media_type="application/json")
    return JSONResponse(await by_way(how, request.scope, pay))


async def _asked(request: Request) -> AsyncIterator[None]:
    body = await request.json()
    if body["how"] == "in a dependency":
        await request.scope["sealwire"].need_approval(sentence(request.scope, body["pay"]))
    yield


async def _fast_view(request: Request, asked: Annotated[None, Depends(_asked)]) -> Response:
    return await _view(request)


def _fast_sync_view(request: Request, body: dict[str, str]) -> dict[str, str]:
    return anyio.from_thread.run(paid, request.scope, body["pay"])


def fastapi(house: str) -> App:
    """With FastAPI."""
    app = FastAPI(openapi_url=None)
    app.add_api_route(PATH, _fast_sync_view if house == "sync view" else _fast_view, methods=["POST"])
    if house == "handler":
        app.add_exception_handler(Exception, _answer_anything)
    if house == "middleware":
        app.add_middleware(_Pardon)
    return app


def starlette(house: str) -> App:
    """With Starlette."""
    return Starlette(
        routes=[Route(PATH, _view, methods=["POST"])],
        exception_handlers={Exception: _answer_anything} if house == "handler" else {},
        middleware=[Middleware(_Pardon)] if house == "middleware" else [],
    )


async def django_view(request: HttpRequest) -> JsonResponse:
    """With Django; its house is in `app_django`, and each has its own path there."""
    body = json.loads(request.body)
    return JsonResponse(await by_way(body["how"], request.scope, body["pay"]))


def django_sync_view(request: HttpRequest) -> JsonResponse:
    """As a thread of Django's runs it."""
    body = json.loads(request.body)
    return JsonResponse(async_to_sync(paid)(request.scope, body["pay"]))
