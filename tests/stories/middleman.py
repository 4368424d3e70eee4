"""Who stands between the real client and the real guard: reads, keeps, changes, answers in their place."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from sealwire.client import Credential, Transport
from tests.stories.test_enrolment import Bridge
from tests.stories.world import ORIGIN, World

Change = Callable[[httpx2.Response], httpx2.Response]


class Middleman(Bridge):
    """
    The network, and whoever holds it. `change` is done to each reply; `sent` are the requests that reached the guard,
    `replies` what it answered, before any change.
    """

    def __init__(self, world: World, change: Change | None = None) -> None:
        super().__init__(world)
        self.change = change
        self.sent: list[httpx2.Request] = []
        self.replies: list[httpx2.Response] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/rules"):
            return super().handle_request(request)  # asked for once, before the first call
        self.sent.append(request)
        reply = super().handle_request(request)
        self.replies.append(reply)
        return reply if self.change is None else self.change(reply)

    def nonces(self) -> list[str]:
        """The nonce of each request, in order."""
        inputs = [request.headers["signature-input"] for request in self.sent]
        return [given.partition('nonce="')[2].partition('"')[0] for given in inputs]


def client(world: World, credential: Credential, way: Bridge, **more: object) -> httpx2.Client:
    """The real client over `way`, on the guard's clock unless told otherwise."""
    given = {"clock": world.clock.now, **more}
    transport = Transport(credential=credential, inner=way, **given)  # type: ignore[arg-type]
    return httpx2.Client(transport=transport, base_url=ORIGIN)


def like(reply: httpx2.Response, *, status: int = 0, body: bytes | None = None) -> httpx2.Response:
    """A copy with another status or body."""
    headers = list(reply.headers.raw)
    return httpx2.Response(
        status or reply.status_code, headers=headers, content=reply.content if body is None else body
    )


def with_field(reply: httpx2.Response, name: str, value: str | None) -> httpx2.Response:
    """A copy in which a field has another value, is added, or (None) is gone."""
    headers = [(n, v) for n, v in reply.headers.raw if n.lower() != name.encode()]
    if value is not None:
        headers.append((name.encode(), value.encode()))
    return httpx2.Response(reply.status_code, headers=headers, content=reply.content)
