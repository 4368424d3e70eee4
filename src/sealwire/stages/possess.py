"""Possess: the new key signed the very message that offers it, so nobody enrols a key that is not theirs."""

from __future__ import annotations

from sealwire.call import Body, Call, Possession, Proof
from sealwire.errors import Refusal
from sealwire.protocol import profile, strictjson
from sealwire.protocol.jwk import read_jwk
from sealwire.protocol.signature import check


class Possess:
    """Verifies the possession signature under the key that the body offers. Refuses: request-invalid, signature-…"""

    def __init__(self) -> None:
        self._plans = profile.Plans()

    async def __call__(self, call: Call) -> Possession:
        try:
            offered = strictjson.read(call.get(Body).content)
        except strictjson.NotStrict as why:
            errors = [{"pointer": "", "detail": str(why)}]
            raise Refusal("request-invalid", "json", members={"errors": errors}) from None
        verifier = read_jwk(offered.get("key") if isinstance(offered, dict) else None)
        claim = profile.claim(call.request, profile.TAG_POSSESSION, self._plans)
        authorising = call.get(Proof).claim
        if (claim.created, claim.expires) != (authorising.created, authorising.expires):
            detail = "created and expires of the possession signature equal those of the authorising one."
            raise Refusal("signature-malformed", "possession-times", detail, failed="parse")
        if claim.keyid != verifier.keyid:
            detail = "The possession signature's keyid is not the new key's thumbprint."
            raise Refusal("signature-mismatch", "possession", detail, failed="signature")
        if claim.algorithm not in (None, verifier.algorithm):
            raise Refusal("algorithm-not-allowed", "other-than-key", failed="algorithm")
        check(verifier, profile.build_base(claim, call.request), claim.signature)
        return Possession(claim, verifier)
