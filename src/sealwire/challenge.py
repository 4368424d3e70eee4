"""
What a 401 tells who could have signed (RFC 9421 section 5): what to sign, and where time was the matter a nonce that
serves at once.
"""

from __future__ import annotations

from collections.abc import Callable

from sealwire.call import Call, Proof
from sealwire.errors import Problem
from sealwire.protocol.profile import TAG, TAG_INVITATION
from sealwire.protocol.window import accept_signature, clock

#: Profiles whose calls are signed.
SIGNED = frozenset(("signed", "sealed", "critical", "enrolment"))


def challenge(problem: Problem, call: Call, now: Callable[[], float], issue_nonce: Callable[[str], str]) -> None:
    """Puts Accept-Signature on a 401 that has none; for a message that ran out on its way, with a fresh nonce."""
    told = any(name == b"accept-signature" for name, _ in problem.fields)
    if told or call.rule.profile not in SIGNED:
        return
    nonce, tag = "", TAG_INVITATION if call.rule.profile == "enrolment" else TAG
    if Proof in call.held:
        proof = call.get(Proof)
        tag = TAG_INVITATION if proof.invitation else TAG
        if problem.slug == "clock-skew":
            nonce = issue_nonce(proof.keyid)
            problem.members["clock"] = clock(proof.claim, now(), call.rule.max_age_seconds)
    problem.fields += (accept_signature(call.request, nonce, tag),)
