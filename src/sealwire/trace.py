"""
What is known of one call for its record, its log line and its counts, filled in as the call goes along.

Owns: what is ever said of a call. Never a path, a query, a field or a body: the rule's template stands for them;
never an exception's message. Refuses to know: who decides, and who hears of it.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from types import MappingProxyType

from sealwire.call import Call, Caller, CallerSpent, Evidence, Outcome, Proof
from sealwire.ports import Decision

_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "CONNECT"))
_NEAR = 10  # of a limit that has less than a tenth left it is said
_NOTHING: Mapping[type, Evidence] = MappingProxyType({})


def place(failure: BaseException) -> str:
    """Where an exception was raised and of what kind, without its message: that may hold what the caller sent."""
    frames = traceback.extract_tb(failure.__traceback__)
    at = f" at {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(failure).__name__}{at}"


class Trace:
    """What is known of one call for its record, its log line and its counts; filled in as it goes along."""

    __slots__ = (
        "address", "at", "call", "claimed", "code", "decision", "method", "recorded", "request_id", "status", "template"
    )  # fmt: skip

    def __init__(self, request_id: str, at: float, address: str, method: str) -> None:
        self.request_id = request_id
        self.at = at
        self.address = address
        self.method = method if method in _METHODS else "OTHER"
        self.template = ""
        self.code = "ok"
        self.decision = ""
        self.status = 0
        self.recorded = False
        self.claimed = ""
        self.call: Call | None = None

    def decided(self, call: Call, policy: str) -> Decision:
        """The ledger's record. Never a path, a query, a field or a body: the rule's template stands for them."""
        caller = call.get(Caller) if Caller in call.held else None
        client, user = (caller.client, caller.user or "") if caller else ("", "")
        return Decision(
            self.request_id,
            self.at,
            self.decision,
            self.code,
            client,
            user,
            call.get(Proof).keyid if Proof in call.held else "" if caller is None else caller.key,
            self.address,
            self.method,
            call.rule.template,
            policy,
        )

    def outcome(self, status: int, duration_seconds: float) -> Outcome:
        """What the observers hear."""
        held = self.call.held if self.call is not None else _NOTHING
        caller, proof, spent = held.get(Caller), held.get(Proof), held.get(CallerSpent)
        client = user = key = apikey = near = ""
        skew = None
        if isinstance(caller, Caller):
            client, user, key, apikey = caller.client, caller.user or "", caller.key, caller.apikey
        if isinstance(proof, Proof):
            # Of a session its owner's key is said: sessions come and go, and each would be a credential of its own.
            key = proof.keyid if proof.key is None else proof.key.keyid
            skew = proof.claim.created - self.at
        if isinstance(spent, CallerSpent) and spent.spent:
            near = next((one.limit.name for one in spent.spent if one.remaining * _NEAR < one.limit.quota), "")
        return Outcome(
            self.request_id,
            self.at,
            self.template,
            self.method,
            status,
            self.code,
            self.decision,
            client,
            user,
            key,
            self.address,
            duration_seconds,
            skew,
            self.recorded,
            apikey,
            self.claimed,
            near,
        )
