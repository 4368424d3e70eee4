"""
Permit: who allows a new key to be enrolled, an operator by invitation or the same client by its active key.

Judged from the head, before the body is read. The permit covers the possession signature that stands beside it, so
neither can be taken to another message (docs/protocol.md, "Enrolment").
"""

from __future__ import annotations

from sealwire.call import Call, Proof
from sealwire.errors import Problem, Refusal
from sealwire.ports import REPEAT_SECONDS, Directory, Entropy, Keyring, NonceStore
from sealwire.protocol import profile, servernonce
from sealwire.protocol.jwk import KEYID
from sealwire.protocol.signature import check, check_hmac
from sealwire.protocol.window import Window, accept_signature, clock, judge
from sealwire.records import KeyRecord, usable


class Permit:
    """Verifies the authorising signature. Refuses as `verify` does, and invitation-invalid."""

    def __init__(self, directory: Directory, nonces: NonceStore, keyring: Keyring, entropy: Entropy) -> None:
        self._directory = directory
        self._nonces = nonces
        self._keyring = keyring
        self._entropy = entropy
        self._plans = profile.Plans()

    async def __call__(self, call: Call) -> Proof:
        claim = None
        try:
            possession = profile.find_label(call.request, profile.TAG_POSSESSION)
            invited = profile.has_tag(call.request, profile.TAG_INVITATION)
            tag = profile.TAG_INVITATION if invited else profile.TAG
            claim = profile.claim(call.request, tag, self._plans, possession=possession)
            return await self._judge(call, claim, invited=invited)
        except Problem as problem:
            if problem.slug == "clock-skew" and claim is not None:
                random = self._entropy(servernonce.RANDOM_BYTES)
                nonce = servernonce.issue(self._nonces.secret, int(call.now * 1000), random, claim.keyid)
                problem.members["clock"] = clock(claim, call.now, call.rule.max_age_seconds)
                problem.fields += (accept_signature(call.request, nonce, tag=tag),)
            raise

    async def _judge(self, call: Call, claim: profile.Claim, *, invited: bool) -> Proof:
        base = profile.build_base(claim, call.request)
        key: KeyRecord | None = None
        if invited:
            secret = await self._secret(claim.keyid, call.now)
            if claim.algorithm not in (None, "hmac-sha256"):
                raise Refusal("algorithm-not-allowed", "other-than-key", failed="algorithm")
        else:
            key = usable(await self._directory.key(claim.keyid) if KEYID.fullmatch(claim.keyid) else None, call.now)
            if claim.algorithm not in (None, key.verifier.algorithm):
                raise Refusal("algorithm-not-allowed", "other-than-key", failed="algorithm")
        issued = servernonce.issued_at(self._nonces.secret, claim.nonce, claim.keyid)
        window = Window.of(claim, issued, call.rule.max_age_seconds)
        restarted = key is not None and window.predates(self._nonces.epoch, key.enrolled_at)
        restarted = restarted or (issued is None and servernonce.reads_as_one(claim.nonce))
        judge(window, call.now, restarted=restarted, demand_server_nonce=False)
        if key is None:
            check_hmac(secret, base, claim.signature)
        else:
            check(key.verifier, base, claim.signature)
        invitation = claim.keyid if invited else ""
        return Proof(claim, key, window.last_valid, window.remember_seconds, invitation)

    async def _secret(self, invitation_id: str, now: float) -> bytes:
        """The HMAC key of an invitation that is unspent, or was spent so lately that the same key may ask again."""
        invitation = await self._directory.invitation(invitation_id)
        if invitation is None:
            raise Refusal("invitation-invalid", "unknown", failed="key")
        if not invitation.used_by and now >= invitation.expires_at:
            raise Refusal("invitation-invalid", "expired", failed="key")
        if invitation.used_by and now >= invitation.used_at + REPEAT_SECONDS:
            raise Refusal("invitation-invalid", "spent", failed="key")
        return self._keyring.unwrap(invitation.wrapped, b"invitation " + invitation_id.encode())
