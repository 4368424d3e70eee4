"""
Authenticate: the credential that was presented makes the caller, told apart by its form and never by trial; nothing
else that the message says does.
"""

from __future__ import annotations

from sealwire.call import Call, Caller, FirstSeen, Proof
from sealwire.credentials import Credentials
from sealwire.errors import Fault, Refusal
from sealwire.ports import Directory
from sealwire.protocol import apikey
from sealwire.records import Bounds, KeyRecord, usable


class Authenticate:
    """
    One frozen Caller from the key that signed, narrowed by an API key that came covered beside the signature. Refuses:
    key-unknown for a key that ended while its body came in, token-invalid for another client's API key.
    """

    def __init__(self, directory: Directory, credentials: Credentials) -> None:
        self._directory = directory
        self._credentials = credentials

    async def __call__(self, call: Call) -> Caller:
        call.get(FirstSeen)
        key = call.get(Proof).key
        if key is None:
            raise Fault("internal", "evidence")
        if call.request.has_content():
            # A body may take as long as its sender likes: without this a revoked key would act for minutes more.
            key = usable(await self._directory.key(key.keyid), call.now)
        caller = Caller(key.client, key.user, key.scopes, key.keyid, "signature", key.client_name, _bounds(key))
        sent = call.request.fields.get(b"authorization")
        if sent is None or not apikey.is_ours(credential := apikey.presented(sent)):
            return caller  # another bearer is the app's own business
        beside = await self._credentials.find(credential, call.now)
        if beside.client != key.client:
            refusal = Refusal("token-invalid", "other-client")
            refusal.claimed = beside.id
            raise refusal
        return caller._replace(
            scopes=key.scopes & beside.scopes,
            bounds=tuple(dict.fromkeys(caller.bounds + beside.bounds)),
            apikey=beside.id,
        )


class AuthenticateBearer:
    """One frozen Caller from an API key alone. Refuses: token-invalid."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def __call__(self, call: Call) -> Caller:
        sent = call.request.fields.get(b"authorization")
        if sent is None:
            raise Refusal("token-invalid", "absent", "No API key was sent.")
        found = await self._credentials.find(apikey.presented(sent), call.now)
        return Caller(
            found.client, found.user, found.scopes, found.id, "api-key", found.client_name, found.bounds, found.id
        )


def _bounds(key: KeyRecord) -> tuple[Bounds, ...]:
    return (Bounds(key.client, key.addresses, key.limits),) if key.addresses or key.limits else ()
