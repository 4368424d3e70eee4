"""Admit: what can be refused by the head alone, before any cryptography and before a byte of body."""

from __future__ import annotations

from sealwire.call import Admitted, Call
from sealwire.errors import Refusal
from sealwire.protocol.envelope import MEDIA_TYPE

_ADMITTED = Admitted()


class Admit:
    """Judges media type and declared size against the rule. Refuses: media-type, body-too-large,
    encryption-unexpected."""

    async def __call__(self, call: Call) -> Admitted:
        fields, sealed = call.request.fields, call.rule.seals
        if not sealed and (b"sealwire-session" in fields or fields.get(b"content-type") == MEDIA_TYPE):
            raise Refusal("encryption-unexpected", "clear-route")
        if not call.request.has_content():
            return _ADMITTED
        length = fields.get(b"content-length")
        if length is not None and int(length) > call.rule.max_body_bytes:
            raise Refusal("body-too-large", "declared", f"This route takes at most {call.rule.max_body_bytes} bytes.")
        content_type = fields.get(b"content-type")
        # An absent type is for the signature to refuse (it must be covered) or, unsigned, for the content check.
        if content_type is not None and not (call.rule.takes(content_type) or (sealed and content_type == MEDIA_TYPE)):
            wanted = ", ".join(sorted(call.rule.content_types))
            raise Refusal("media-type", "content-type", f"This route takes {wanted}.")
        return _ADMITTED
