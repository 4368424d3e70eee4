"""
The two transports for httpx, for who has not moved to httpx2: `sealwire[httpx]`.

    import httpx
    from sealwire.client.httpx import Transport
    with httpx.Client(transport=Transport(credential="alice-bot.json")) as http: ...

Owns: nothing but the names; what they do is in `shared`, for httpx2 too.
"""

from __future__ import annotations

from sealwire.client.library import Library
from sealwire.client.shared import Signing

try:
    import httpx
except ImportError:
    raise ImportError('sealwire.client.httpx needs httpx: pip install "sealwire[httpx]"', name="httpx") from None

HTTPX = Library(httpx)


class Transport(Signing[httpx.BaseTransport, httpx.Response], httpx.BaseTransport):
    """
    `httpx.Client(transport=Transport(credential="alice-bot.json"))`: all that is said of `sealwire.client.Transport`
    holds, with httpx's own classes and errors in place of httpx2's.
    """

    _library = HTTPX
    _make = staticmethod(lambda context: httpx.HTTPTransport(verify=context))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See the class."""
        return self._carry(request)

    def close(self) -> None:
        """
        Ends this process's session, where the server can be reached, and closes its connections. A server that is gone
        makes no error, and no wait but a short one.
        """
        here = self._here()
        try:
            self._leave(here)
        finally:
            here.inner.close()


class AsyncTransport(Signing[httpx.AsyncBaseTransport, httpx.Response], httpx.AsyncBaseTransport):
    """`Transport`, for `httpx.AsyncClient`."""

    _library = HTTPX
    _make = staticmethod(lambda context: httpx.AsyncHTTPTransport(verify=context))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `Transport`."""
        return await self._carry_async(request)

    async def aclose(self) -> None:
        """See `Transport`."""
        here = self._here()
        try:
            await self._leave_async(here)
        finally:
            await here.inner.aclose()
