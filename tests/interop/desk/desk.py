"""A trading desk that knows nothing of its guard: it says what reached it, in clear, and where."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

_JSON = (b"content-type", b"application/json")


async def desk(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """201 to what was posted, 204 to a DELETE, 200 to the rest; 422 to an order that has no amount."""
    if scope["type"] != "http":
        return
    content = (await receive())["body"]
    heard = {
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "type": dict(scope["headers"]).get(b"content-type", b"").decode(),
        "said": json.loads(content) if content else None,
    }
    status = {"POST": 201, "DELETE": 204}.get(scope["method"], 200)
    if content and "amount" not in heard["said"]:
        status, heard = 422, {"error": "an order has an amount"}
    body = b"" if status == 204 else json.dumps(heard).encode()
    await send({"type": "http.response.start", "status": status, "headers": [_JSON] if body else []})
    await send({"type": "http.response.body", "body": body})
