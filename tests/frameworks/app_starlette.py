"""A small app as one writes it with Starlette; all that it knows of a guard is `scope["sealwire"]`."""

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route


class Teapot(Exception):
    """The app has an answer of its own for this."""


def time(request: Request) -> JSONResponse:
    return JSONResponse({"caller": request.scope["sealwire"].caller is not None})


def balances(request: Request) -> JSONResponse:
    caller = request.scope["sealwire"].caller
    return JSONResponse({"client": caller.client, "user": caller.user})


async def orders(request: Request) -> JSONResponse:
    client = request.scope["sealwire"].caller.client
    return JSONResponse({"client": client, "body": (await request.body()).decode()})


async def order(request: Request) -> JSONResponse:
    return JSONResponse({"id": request.path_params["id"], "method": request.method})


async def events(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingResponse(parts(), media_type="text/plain")


async def breaks(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        raise ValueError("MARKER")

    return StreamingResponse(parts(), media_type="text/plain")


async def teapot(request: Request) -> JSONResponse:
    raise Teapot


def fails(request: Request) -> JSONResponse:
    raise ValueError("MARKER")


async def _teapot(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "teapot"}, 418)


async def _nothing(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "nothing"}, 404)


async def _failed(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "failed"}, 500)


def make() -> Starlette:
    """The app, with its own answers to what goes wrong in it."""
    return Starlette(
        routes=[
            Route("/v1/time", time),
            Route("/v1/balances", balances),
            Route("/v1/orders", orders, methods=["POST"]),
            Route("/v1/orders/{id}", order, methods=["GET", "DELETE"]),
            Route("/v1/events", events),
            Route("/v1/report", events),
            Route("/v1/breaks", breaks),
            Route("/v1/teapot", teapot),
            Route("/v1/fails", fails),
        ],
        exception_handlers={Teapot: _teapot, 404: _nothing, Exception: _failed},
    )
