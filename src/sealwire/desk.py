"""
Where calls that need a person wait: the question is kept, its person told, its caller given the link.

Owns: what an approval is bound to, what of it is kept readable (nothing: the sentence is wrapped), and what the caller
hears. Refuses to know: when a call needs one, and how a person says yes.
"""

from __future__ import annotations

from sealwire.call import Approval, Approve, Call, Caller
from sealwire.errors import Refusal
from sealwire.ports import Entropy, Keyring
from sealwire.ports.people import Approvals, Notice, Notices
from sealwire.protocol import approval as form
from sealwire.protocol.approval import Shown
from sealwire.protocol.identifier import RANDOM_BYTES, identifier

# Of a sentence, in `detail`; whole it stands beside it.
_SAID = 200


class Desk:
    """Asks, and reads what was asked."""

    def __init__(self, approvals: Approvals, keyring: Keyring, entropy: Entropy, notices: Notices, pages: str) -> None:
        """`pages` is the origin at which people decide."""
        self.approvals = approvals
        self._notices = notices
        self._pages = pages
        self._keyring = keyring
        self._entropy = entropy

    async def ask(self, call: Call, shown: Shown, terms: Approve, cause: str) -> Refusal:
        """
        Asks the caller's user, once for however many calls that are the same, and gives back what the caller hears.

        Raises: approval-required where there is nobody to ask, rate-limited where too much waits for that person.
        """
        caller = call.get(Caller)
        if caller.user is None:
            raise Refusal("approval-required", "no-user", "No person stands behind this client.", failed="policy")
        approval_id = identifier(form.PREFIX, int(call.now * 1000), self._entropy(RANDOM_BYTES))
        kept = await self.approvals.ask(
            Approval(
                approval_id,
                caller.client,
                caller.client_name,
                caller.user,
                caller.key,
                self.binding(call, shown),
                self._keyring.wrap(shown.pack(), approval_id.encode("ascii")),
                call.rule.template,
                terms.factors,
                call.address,
                call.now,
                call.now + terms.within_seconds,
            )
        )
        link = f"{self._pages}/approve/{kept.id}"
        if kept.id == approval_id:
            text = f"{caller.client_name} asks for your approval. The page shows what for."
            self._notices.tell(Notice(caller.user, "asked", "Something waits for your approval", text, link))
        told = {"id": kept.id, "url": link, "sentence": shown.sentence, "expires_at": int(kept.expires_at)}
        said = shown.sentence if len(shown.sentence) <= _SAID else f"{shown.sentence[:_SAID]}…"
        return Refusal("approval-required", cause, f'"{said}"', failed="policy", members={"approval": told})

    def binding(self, call: Call, shown: Shown) -> tuple[bytes, ...]:
        """Keyed digests of all that an approval of this call is bound to."""
        parts = form.bound(call.request, call.content_type() or b"", call.content(), shown.sentence)
        return tuple(self._keyring.digest(part) for part in parts)

    def shown(self, approval: Approval) -> Shown:
        """What the person is shown. Faults: custody-unavailable."""
        return Shown.unpack(self._keyring.unwrap(approval.shown, approval.id.encode("ascii")))
