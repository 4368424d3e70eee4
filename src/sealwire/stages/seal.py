"""Seal: what goes back to a caller whose call was opened can be read by that caller only."""

from __future__ import annotations

from sealwire.call import Call, InSession
from sealwire.errors import Fault, Refusal
from sealwire.ports import Entropy
from sealwire.protocol import envelope
from sealwire.protocol.message import Reply


class Seal:
    """
    Seals the content under the session of the call. A call that was refused before one was known is answered in clear.

    Faults: internal for content that was compressed, which tells what is in it by its length (CRIME, BREACH), and for a
    media type that no header can hold.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy

    async def __call__(self, call: Call, reply: Reply) -> Reply:
        if InSession not in call.held or not reply.body:
            return reply
        session, content_type, headers = call.get(InSession).session, b"application/octet-stream", []
        for field in reply.headers:
            if field[0] == b"content-type":
                content_type = field[1]
            elif field[0] == b"content-encoding":
                raise Fault("internal", "compressed")
            else:
                headers.append(field)
        try:
            protected = envelope.protect(session.id, content_type.decode("latin-1"))
        except Refusal:
            raise Fault("internal", "sealing") from None  # the app's doing, and nothing that the caller could mend
        sealed = envelope.seal(session.keys.s2c, protected, self._entropy(envelope.IV_BYTES), reply.body)
        return Reply(reply.status, (*headers, (b"content-type", envelope.MEDIA_TYPE)), sealed)
