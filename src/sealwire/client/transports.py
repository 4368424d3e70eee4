"""The two transports for httpx2. Owns: nothing but the names; what they do is in `shared`, for httpx too."""

from __future__ import annotations

import httpx2

from sealwire.client.library import HTTPX2
from sealwire.client.shared import Signing


class Transport(Signing[httpx2.BaseTransport, httpx2.Response], httpx2.BaseTransport):
    """
    `httpx2.Client(transport=Transport(credential="alice-bot.json"))`: signs, sends, proves. One credential, one origin.

    A body is read whole before it is signed. A proven refusal is a response like any other. Redirects are returned, not
    followed; a Client that follows one has it signed anew, within the origin only. Content of a route that streams is
    handed out, unverified, only to a request with the extension `{"sealwire": {"stream": True}}`.

    A call that a person has to approve raises ApprovalRequired, whose `wait_for_approval` repeats it; a bot gives
    `on_approval=tell` instead, and the call returns once it was decided on.

    Raises: ForeignOrigin, NotSignable before anything is sent; ReplyUnproven, Refused, OutcomeUnknown; httpx2's own
    errors if no connection came about.
    """

    _library = HTTPX2
    _make = staticmethod(lambda context: httpx2.HTTPTransport(verify=context))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
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


class AsyncTransport(Signing[httpx2.AsyncBaseTransport, httpx2.Response], httpx2.AsyncBaseTransport):
    """`Transport`, for `httpx2.AsyncClient`."""

    _library = HTTPX2
    _make = staticmethod(lambda context: httpx2.AsyncHTTPTransport(verify=context))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `Transport`."""
        return await self._carry_async(request)

    async def aclose(self) -> None:
        """See `Transport`."""
        here = self._here()
        try:
            await self._leave_async(here)
        finally:
            await here.inner.aclose()
