"""
API keys as they are presented: found by a keyed digest, whatever else is wrong with them judged after that.

Owns: the pepper's use, and that every key that opens nothing is refused alike. Refuses to know: where they are kept.
"""

from __future__ import annotations

from sealwire.errors import Refusal
from sealwire.ports import Keyring
from sealwire.ports.apikeys import ApiKeys
from sealwire.protocol import apikey
from sealwire.records import ApiKeyRecord


def digest_of(keyring: Keyring, credential: bytes) -> bytes:
    """What is kept of an API key: HMAC-SHA-256 under the pepper of the key home."""
    return keyring.digest(b"apikey\0" + credential)


class Credentials:
    """Finds an API key by what was presented. Refuses: token-invalid, in the same words and steps for every cause."""

    def __init__(self, apikeys: ApiKeys, keyring: Keyring) -> None:
        self._apikeys = apikeys
        self._keyring = keyring

    async def find(self, credential: bytes, now: float) -> ApiKeyRecord:
        """The API key, if it opens anything now."""
        # What cannot be one of ours is looked for all the same: a typing mistake takes no other time than a guess.
        record = await self._apikeys.apikey(digest_of(self._keyring, credential))
        whole = apikey.is_whole(credential)
        cause = "form" if not whole else "unknown" if record is None else record.why_not(now)
        if record is None or cause:
            refusal = Refusal("token-invalid", cause)
            refusal.claimed = "" if record is None else record.id
            raise refusal
        return record
