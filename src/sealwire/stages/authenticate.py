"""Authenticate: the proven key makes the caller; nothing else that the message says does."""

from __future__ import annotations

from sealwire.call import Call, Caller, FirstSeen, Proof
from sealwire.errors import Fault


class Authenticate:
    """One frozen Caller from the key that signed."""

    async def __call__(self, call: Call) -> Caller:
        call.get(FirstSeen)
        key = call.get(Proof).key
        if key is None:
            raise Fault("internal", "evidence")
        return Caller(key.client, key.user, key.scopes, key.keyid, "signature")
