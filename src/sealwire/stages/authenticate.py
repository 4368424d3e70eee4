"""Authenticate: the proven key makes the caller; nothing else that the message says does."""

from __future__ import annotations

from sealwire.call import Call, Caller, FirstSeen, Proof, usable
from sealwire.errors import Fault
from sealwire.ports import Directory


class Authenticate:
    """One frozen Caller from the key that signed. Refuses: key-unknown for one that ended while its body came in."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def __call__(self, call: Call) -> Caller:
        call.get(FirstSeen)
        key = call.get(Proof).key
        if key is None:
            raise Fault("internal", "evidence")
        if call.request.has_content():
            # A body may take as long as its sender likes: without this a revoked key would act for minutes more.
            key = usable(await self._directory.key(key.keyid), call.now)
        return Caller(key.client, key.user, key.scopes, key.keyid, "signature", key.client_name)
