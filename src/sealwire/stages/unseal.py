"""Unseal: what the sealed body of a call says, under the session that it named (docs/protocol.md, "Sealed bodies")."""

from __future__ import annotations

from urllib.parse import unquote_plus

from sealwire.call import Body, Call, InSession, Plain
from sealwire.errors import Refusal
from sealwire.protocol import envelope

_EMPTY = Plain(b"", b"")


class Unseal:
    """Refuses: query-in-clear, encryption-required, decrypt-failed, media-type."""

    def __init__(self, headers: envelope.Headers) -> None:
        self._headers = headers

    async def __call__(self, call: Call) -> Plain:
        session, sealed = call.get(InSession)
        _judge_query(call)
        if sealed is None:
            if call.get(Body).content:
                raise Refusal("encryption-required", "plaintext", failed="policy")
            return _EMPTY
        plaintext = envelope.open_sealed(sealed, session.keys.c2s)
        self._headers.keep(sealed)
        content_type = sealed.header.content_type.encode("ascii", "replace")
        if not call.rule.takes(content_type):
            wanted = ", ".join(sorted(call.rule.content_types))
            raise Refusal("media-type", "sealed", f"This route takes {wanted}.", failed="policy")
        return Plain(plaintext, content_type)


def _judge_query(call: Call) -> None:
    if not call.request.query:
        return
    names = [unquote_plus(pair.partition("=")[0]) for pair in call.request.query.decode("latin-1").split("&") if pair]
    if any(name not in call.rule.clear_query for name in names):
        raise Refusal("query-in-clear", "parameter", failed="policy")
