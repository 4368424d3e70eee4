"""
Idempotency: what the key of this call says (draft-ietf-httpapi-idempotency-key-header; docs/protocol.md,
"Idempotency").

Here it is only read. The claim itself is part of the decision's transaction, so that of two calls at once one enters.
Neither the key nor the content is kept: both are keyed digests under the key home.
"""

from __future__ import annotations

import re

from sealwire.call import Call, Caller, Idempotent
from sealwire.errors import Refusal
from sealwire.ports import IdempotencyEntry, Keyring, Ledger
from sealwire.protocol.message import Reply
from sealwire.protocol.reply import in_progress, unpack

_FORM = re.compile(rb"[\x21-\x7e]{1,255}")
_NONE_SENT = Idempotent("", b"", b"", None)


class Idempotency:
    """
    Refuses: idempotency-missing, idempotency-conflict, idempotency-in-progress, request-invalid for a key of another
    form.
    """

    def __init__(self, ledger: Ledger, keyring: Keyring) -> None:
        self._ledger = ledger
        self._keyring = keyring

    async def __call__(self, call: Call) -> Idempotent:
        sent = call.request.fields.get(b"idempotency-key")
        if sent is None:
            if call.rule.idempotency_required:
                raise Refusal("idempotency-missing", "absent", failed="policy")
            return _NONE_SENT
        if not _FORM.fullmatch(sent):
            errors = [{"pointer": "", "detail": "An Idempotency-Key is 1 to 255 visible ASCII characters."}]
            raise Refusal("request-invalid", "idempotency-key", failed="policy", members={"errors": errors})
        caller, request = call.get(Caller), call.request
        scope = f"{caller.client} {caller.user or ''}"
        key = self._keyring.digest(b"idempotency key\0" + scope.encode() + b"\0" + sent)
        content_type = call.content_type() or b""
        parts = (request.method.encode("ascii"), request.path, request.query, content_type, call.content())
        fingerprint = self._keyring.digest(b"".join(len(part).to_bytes(8, "big") + part for part in parts))
        entry = await self._ledger.recall(scope, key)
        stored = None if entry is None else self._stored(entry, scope, fingerprint, call.now)
        return Idempotent(scope, key, fingerprint, stored)

    def _stored(self, entry: IdempotencyEntry, scope: str, fingerprint: bytes, now: float) -> Reply:
        if entry.fingerprint != fingerprint:
            raise Refusal("idempotency-conflict", "fingerprint", failed="policy")
        if entry.wrapped is None:
            raise in_progress(now - entry.at)
        return unpack(self._keyring.unwrap(entry.wrapped, scope.encode()))
