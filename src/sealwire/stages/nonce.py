"""
Nonce: claimed only now, after signature and digest held, so that strangers cannot burn nonces.

The claim judges time again, on the store's own clock: a slow body must not outlive the memory of its nonce.
"""

from __future__ import annotations

from sealwire.call import Call, FirstSeen, Possession, Proof
from sealwire.errors import Refusal
from sealwire.ports import NonceStore
from sealwire.protocol.window import late

_FIRST_SEEN = FirstSeen()


class ClaimNonce:
    """
    Claims the nonce of the signature, and at enrolment that of the possession too. Refuses: replay-detected,
    clock-skew.
    """

    def __init__(self, nonces: NonceStore) -> None:
        self._nonces = nonces

    async def __call__(self, call: Call) -> FirstSeen:
        proof = call.get(Proof)
        claims = [(proof.keyid, proof.claim.nonce)]
        if Possession in call.held:
            possession = call.get(Possession).claim
            claims.append((possession.keyid, possession.nonce))
        for keyid, nonce in claims:
            outcome = await self._nonces.claim(keyid, nonce, proof.last_valid, proof.remember_seconds)
            if outcome == "seen":
                raise Refusal("replay-detected", "nonce", failed="replay")
            if outcome == "late":
                raise late()
            if outcome == "full":
                fields = ((b"retry-after", b"%d" % call.rule.max_age_seconds),)
                detail = "The key holds as many unexpired nonces as it may."
                raise Refusal("rate-limited", "live-nonces", detail, failed="replay", fields=fields)
        return _FIRST_SEEN
