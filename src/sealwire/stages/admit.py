"""Admit: what can be refused by the head alone, before any cryptography and before a byte of body."""

from __future__ import annotations

from sealwire.call import Admitted, Call
from sealwire.errors import Refusal


class Admit:
    """Judges media type and declared size against the rule. Refuses: media-type, body-too-large."""

    async def __call__(self, call: Call) -> Admitted:
        fields = call.request.fields
        if not call.request.has_content():
            return Admitted()
        length = fields.get(b"content-length")
        if length is not None and int(length) > call.rule.max_body_bytes:
            raise Refusal("body-too-large", "declared", f"This route takes at most {call.rule.max_body_bytes} bytes.")
        content_type = fields.get(b"content-type")
        # An absent type is for the signature to refuse (it must be covered) or, unsigned, for the content check.
        if content_type is not None and not acceptable(content_type, call.rule.content_types):
            wanted = ", ".join(sorted(call.rule.content_types))
            raise Refusal("media-type", "content-type", f"This route takes {wanted}.")
        return Admitted()


def acceptable(content_type: bytes, listed: frozenset[str]) -> bool:
    """True for a listed media type, bare or with `charset=utf-8` alone (RFC 9110 section 8.3.1)."""
    kind, semicolon, parameter = content_type.decode("latin-1").lower().partition(";")
    if semicolon and parameter.strip().replace('"', "") != "charset=utf-8":
        return content_type.decode("latin-1").lower() in listed
    return kind.strip() in listed
