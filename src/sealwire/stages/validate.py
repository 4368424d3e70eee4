"""Validate: the content has one reading, and the app gets exactly the bytes that were judged."""

from __future__ import annotations

from sealwire.call import Call, Valid
from sealwire.errors import Refusal
from sealwire.protocol import strictjson

_VALID = Valid()
_JSON = b"application/json"


class Validate:
    """The strict JSON gate. Refuses: request-invalid, media-type for a body without a type."""

    async def __call__(self, call: Call) -> Valid:
        content, content_type = call.content(), call.content_type()
        if not content and (content_type is None or not call.request.has_content()):
            return _VALID
        if content_type is None:
            raise Refusal("media-type", "absent", "A body needs a Content-Type.")
        if _is_json(content_type):
            try:
                strictjson.read(content)
            except strictjson.NotStrict as why:
                failed = "policy" if call.rule.seals or call.rule.profile == "signed" else ""
                errors = [{"pointer": "", "detail": str(why)}]
                raise Refusal("request-invalid", "json", failed=failed, members={"errors": errors}) from None
        return _VALID


def _is_json(content_type: bytes) -> bool:
    if content_type == _JSON:
        return True
    kind = content_type.partition(b";")[0].strip().lower()
    return kind == _JSON or kind.endswith(b"+json")
