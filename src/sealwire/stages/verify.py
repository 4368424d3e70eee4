"""
Verify: a signature over this very message, by an active key, within its window.

What is accepted of RFC 9421 is `protocol/profile.py`; this stage adds the key, its algorithm, the time and the check.
What a stranger learns about keys is the same answer for unknown, expired and revoked ones.
"""

from __future__ import annotations

from sealwire.call import Call, Proof, may_sign
from sealwire.errors import Problem, Refusal
from sealwire.ports import SESSION_PREFIX, BucketStore, Charge, Directory, Entropy, NonceStore, SessionStore
from sealwire.protocol import profile, servernonce
from sealwire.protocol.jwk import KEYID
from sealwire.protocol.ratelimit import Limit, network
from sealwire.protocol.signature import check, judge_hmac
from sealwire.protocol.window import Window, accept_signature, clock, judge
from sealwire.records import usable

_FINGERPRINTS = Limit(30, 60, "address")


class Verify:
    """Verifies the signature with tag `sealwire`. Refuses with every judgement from parse to signature."""

    def __init__(
        self, keys: Directory, nonces: NonceStore, sessions: SessionStore, lines: BucketStore | None, entropy: Entropy
    ) -> None:
        self._keys = keys
        self._nonces = nonces
        self._sessions = sessions
        self._lines = lines
        self._entropy = entropy
        self._plans = profile.Plans()

    async def __call__(self, call: Call) -> Proof:
        claim = key = None
        try:
            claim = profile.claim(call.request, profile.TAG, self._plans)
            base = profile.build_base(claim, call.request)
            keyid, session = claim.keyid, None
            if keyid.startswith(SESSION_PREFIX):
                # A session's key signed in place of the client's.
                session = may_sign(await self._sessions.session(keyid), call.rule)
                keyid = session.keyid
            key = usable(await self._keys.key(keyid) if KEYID.fullmatch(keyid) else None, call.now)
            if claim.algorithm not in (None, key.verifier.algorithm if session is None else "hmac-sha256"):
                raise Refusal("algorithm-not-allowed", "other-than-key", failed="algorithm")
            issued = servernonce.issued_at(self._nonces.secret, claim.nonce, claim.keyid)
            window = Window.of(claim, issued, call.rule.max_age_seconds)
            old = session is None and window.predates(self._nonces.epoch, key.enrolled_at)
            restarted = old or (issued is None and servernonce.reads_as_one(claim.nonce))
            judge(window, call.now, restarted=restarted, demand_server_nonce=call.rule.fresh)
            if session is None:
                check(key.verifier, base, claim.signature)
            else:
                judge_hmac(session.keys.mac_of_call(base), claim.signature)
        except Problem as problem:
            problem.claimed = "" if key is None else key.keyid
            await self._help(problem, call, claim)
            raise
        self._plans.keep(claim)
        return Proof(claim, key, window.last_valid, window.remember_seconds, session=session)

    async def _help(self, problem: Problem, call: Call, claim: profile.Claim | None) -> None:
        """What lets the caller mend it: what to sign, a nonce that serves at once, the line that differs."""
        if problem.status == 401:
            nonce = ""
            if claim is not None and problem.slug == "clock-skew":
                random = self._entropy(servernonce.RANDOM_BYTES)
                nonce = servernonce.issue(self._nonces.secret, int(call.now * 1000), random, claim.keyid)
                problem.members["clock"] = clock(claim, call.now, call.rule.max_age_seconds)
            problem.fields += (accept_signature(call.request, nonce),)
        if problem.slug == "signature-mismatch" and claim is not None and self._lines is not None:
            (spent,) = await self._lines.charge((Charge(_FINGERPRINTS, f"fingerprints {network(call.address)}"),))
            if spent.fits:
                problem.members["base_lines"] = profile.fingerprints(claim, profile.build_base(claim, call.request))
