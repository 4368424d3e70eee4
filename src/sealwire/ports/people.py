"""
What is asked of the world where people decide: approvals, factors, notices. Contracts as in the rest of the ports.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from sealwire.call import Approval
from sealwire.errors import Refusal
from sealwire.ports import Decision

#: Approvals that may wait for one user; a bot that goes on asking wears nobody down.
PENDING_OF_A_USER = 20
#: Codes that may be tried for one approval, and by one user within USER_TRIES_SECONDS, whatever for.
APPROVAL_TRIES = 5
USER_TRIES = 10
USER_TRIES_SECONDS = 3600


class Attempt(NamedTuple):
    """One try that was counted: how many more there are for the approval and for the user."""

    number: int
    left: int
    left_for_user: int


class Move(NamedTuple):
    """A factor used once: from the position it was read at to its next one."""

    factor: str
    before: int
    after: int


Approved = Literal["approved", "late", "raced", "cooling"]


class Approvals(Protocol):
    """
    What people are asked and what they said, with how often codes were tried: durable, and seen by every process of the
    store at once. Each method is one transaction; each move of a state happens at most once, whoever asks for it.
    Nobody retries; a failure is a Fault store-unavailable, and nothing is approved.
    """

    async def ask(self, approval: Approval) -> Approval:
        """
        Keeps it, or gives back the one that the same user was asked about the same call of the same key, and that
        waits or was approved and not used: nobody is asked twice.

        Raises: Refusal rate-limited past PENDING_OF_A_USER.
        """

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval of this id, in whatever state, or None."""

    async def approvals(self, user: str | None = None, limit: int = 50) -> list[Approval]:
        """A user's, or everybody's, the newest first."""

    async def attempt(self, user: str, approval_id: str, now: float) -> Attempt | None:
        """Counts one try of a code, before it is judged; None, and nothing counted, where none is left."""

    async def approve(self, approval_id: str, move: Move, attempt: Attempt, decision: Decision) -> Approved:
        """
        pending to approved, by a factor of its user that moves on with it, and the decision is recorded; the attempt no
        longer counts against the user. `late` if it no longer waits, `raced` if the factor has moved meanwhile,
        `cooling` while the user's factors may not approve yet.
        """

    async def deny(self, approval_id: str, decision: Decision) -> bool:
        """pending to denied; False if it no longer waits."""

    async def freeze(self, client: str, user: str, decision: Decision) -> int:
        """
        "This was not me": every key and API key of the client that is good is frozen, invitations that would add one
        open nothing any more, whatever of it waits or was approved and not used is denied, and the decision is
        recorded. How many keys were frozen.
        """

    async def thaw(self, client: str, decision: Decision) -> int:
        """
        Lets the frozen keys of a client sign again, and records the decision if there were some; how many there were.
        Sessions that were opened before stay over.
        """


#: What a factor can be.
FACTOR_KINDS = ("totp", "hotp", "recovery")


class Factor(NamedTuple):
    """
    What one user proves their presence with. `secret` is wrapped by the key home. `position` is the last TOTP step that
    was used, the next HOTP counter, or the recovery codes that were used, one bit each. Times are Unix seconds.
    """

    id: str
    user: str
    kind: str  # of FACTOR_KINDS
    name: str
    secret: bytes
    algorithm: str
    digits: int
    position: int
    added_at: float
    used_at: float = 0

    def __repr__(self) -> str:
        return f"Factor({self.id}, {self.kind})"


class Factors(Protocol):
    """
    Users' factors, durable, in the store of their approvals. Each method is one transaction. Nobody retries; a failure
    is a Fault store-unavailable, and nobody is let through.
    """

    async def factors(self, user: str) -> list[Factor]:
        """The user's factors, oldest first."""

    async def add(self, factor: Factor, decision: Decision, cooling_until: float = 0, replaces: str = "") -> None:
        """
        Keeps a new factor, in place of the one with the id `replaces` where there is one. `cooling_until`: until then
        no factor of this user approves anything.
        """

    async def remove(
        self, factor_id: str, user: str, decision: Decision, cooling_until: float = 0, if_last: float = 0
    ) -> bool:
        """
        Ends a factor of this user; False if there is none. `if_last`: until then nothing is approved if it was the
        user's last one.
        """

    async def move(self, move: Move, user: str, attempt: Attempt, now: float) -> bool:
        """Uses a factor once, for something else than an approval; False if it has moved meanwhile."""

    async def cool(self, user: str, until: float, decision: Decision) -> bool:
        """
        Until then no factor of this user approves anything. False, and nothing is changed or recorded, where that is so
        already at the moment of the decision: of two who begin it at once one does.
        """

    async def cooling_until(self, user: str) -> float:
        """Until when the user's factors approve nothing: 0 or long ago for most."""


class Notice(NamedTuple):
    """What a user should hear of, outside the API: never a code, a secret, or what was asked for."""

    user: str
    #: asked, tries, factor-added, factor-removed, factors-reset, frozen, invited, apikey-made, apikey-rotated,
    #: client-widened
    about: str
    subject: str
    text: str
    link: str = ""

    def __repr__(self) -> str:
        return f"Notice({self.about})"


class Notices(Protocol):
    """Tells users. Must not block and must not fail; what could not be sent is an error in the log."""

    def tell(self, notice: Notice) -> None:
        """Sends it, sooner or later."""


def too_many_questions(wait_seconds: float) -> Refusal:
    """What Approvals raise where as much waits for one person as may."""
    fields = ((b"retry-after", b"%d" % (max(int(wait_seconds), 0) + 1)),)
    detail = "As many approvals wait for this user as may."
    return Refusal("rate-limited", "approvals", detail, failed="policy", fields=fields)
