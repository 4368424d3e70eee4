"""A small app as one writes it with FastAPI; all that it knows of a guard is `scope["sealwire"]`."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

v1 = APIRouter(prefix="/v1")


class Teapot(Exception):
    """The app has an answer of its own for this."""


@v1.get("/time")
def time(request: Request) -> dict[str, bool]:
    return {"caller": request.scope["sealwire"].caller is not None}


@v1.get("/balances")
def balances(request: Request) -> dict[str, str | None]:
    caller = request.scope["sealwire"].caller
    return {"client": caller.client, "user": caller.user}


@v1.post("/orders")
async def orders(request: Request, order: Annotated[dict[str, Any], Body()]) -> dict[str, str]:
    client = request.scope["sealwire"].caller.client
    return {"client": client, "body": (await request.body()).decode()}


@v1.api_route("/orders/{id}", methods=["GET", "DELETE"])
async def order(request: Request, id: str) -> dict[str, str]:  # noqa: A002  # the name of the path's parameter
    return {"id": id, "method": request.method}


@v1.get("/events")
@v1.get("/report")
async def events() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingResponse(parts(), media_type="text/plain")


@v1.get("/breaks")
async def breaks() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        raise ValueError("MARKER")

    return StreamingResponse(parts(), media_type="text/plain")


@v1.get("/teapot")
async def teapot() -> None:
    raise Teapot


@v1.get("/fails")
def fails() -> None:
    raise ValueError("MARKER")


async def _teapot(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "teapot"}, 418)


async def _nothing(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "nothing"}, 404)


async def _failed(request: Request, why: Exception) -> JSONResponse:
    return JSONResponse({"error": "failed"}, 500)


def make() -> FastAPI:
    """The app, with its own answers to what goes wrong in it."""
    app = FastAPI(openapi_url=None)
    app.include_router(v1)
    app.add_exception_handler(Teapot, _teapot)
    app.add_exception_handler(404, _nothing)
    app.add_exception_handler(Exception, _failed)
    return app
