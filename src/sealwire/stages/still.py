"""Still: the API key of a call whose body took its time is looked at once more, as the key of a signature is."""

from __future__ import annotations

from sealwire.call import Body, Call, StillGood
from sealwire.credentials import Credentials
from sealwire.protocol import apikey


class Still:
    """Refuses: token-invalid for an API key that ended while the body came in."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __call__(self, call: Call) -> StillGood:
        call.get(Body)
        if call.request.has_content():
            # A body may take as long as its sender likes: without this a revoked key would act for minutes more.
            await self._credentials.find(apikey.presented(call.request.fields[b"authorization"]), call.now)
        return StillGood()
