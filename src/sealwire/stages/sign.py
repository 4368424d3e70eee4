"""Sign: a reply bound to the request it answers, by the server's key: a receipt that a third party can check."""

from __future__ import annotations

from sealwire.call import Call, InSession, Possession, Proof
from sealwire.ports import Keyring
from sealwire.protocol.message import Reply
from sealwire.protocol.reply import attach, reply_base


class Sign:
    """
    Signs the reply as docs/protocol.md, "Replies", says. Faults: custody-unavailable; then nothing of the reply goes
    out.
    """

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    async def __call__(self, call: Call, reply: Reply) -> Reply:
        claims = []
        if Possession in call.held:
            claims.append(call.get(Possession).claim)
        if Proof in call.held:
            claims.append(call.get(Proof).claim)
        session = call.get(InSession).session if InSession in call.held and call.get(Proof).session else None
        keyid = self._keyring.verifier.keyid if session is None else session.id
        # A streamed head comes without its content; what has any here, as a refusal does, is whole and has its digest.
        stream = call.rule.stream and not reply.body
        base = reply_base(reply, call.request, claims, int(call.now), keyid, stream=stream)
        if session is not None:
            # Under the session's key both ways: fast, and no receipt.
            return attach(reply, base, session.keys.mac_of_reply(base.base))
        return attach(reply, base, await self._keyring.sign(base.base))
