"""
Every way in which a call can fail at the client, in one tree under SealwireError.

Owns: the classes, what each carries, and the sentences in which it is told.
Refuses to know: keys, HTTP libraries, and how a refusal is read from the wire.
"""

from __future__ import annotations

from typing import Any, NoReturn, Protocol

from sealwire.client.mismatch import Difference, words
from sealwire.errors import TABLE


class SealwireError(Exception):
    """The base of all errors of this client."""


class CredentialError(SealwireError):
    """The credential cannot be used: its file is missing, readable by others, or not of the right form."""


class ForeignOrigin(SealwireError):
    """The URL belongs to another origin than the credential. Nothing was sent."""


class NotSignable(SealwireError):
    """The request has no form that the server would accept signed. Nothing was sent."""


class _Undecided(SealwireError):
    """
    A call that was sent. `outcome` is "unknown" or "not done"; `idempotency_key` is what the call carried: to repeat it
    under the same key is safe, to repeat it under another may do it twice.
    """

    outcome: str = "unknown"
    idempotency_key: str | None = None

    def _next_step(self) -> str:
        if self.outcome != "unknown":
            return f"outcome: {self.outcome}"
        if self.idempotency_key is None:
            return "outcome: unknown"
        return f"outcome: unknown. To ask again, repeat with Idempotency-Key: {self.idempotency_key}"


class ReplyUnproven(_Undecided):
    """
    The reply was not signed by the server, or not for this request, or was changed on the way. It is not handed out.

    `reason` says what is wrong, `status` is the unproven status.
    """

    def __init__(self, reason: str = "", status: int = 0, idempotency_key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return f"the reply is not proven to be the server's: {self.reason}\n  {self._next_step()}"


class OutcomeUnknown(_Undecided):
    """The connection was lost, also on the repeat. The call may have been carried out; `__cause__` says what broke."""

    def __init__(self, reason: str = "", idempotency_key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return f"no answer came: {self.reason}\n  {self._next_step()}"


class Refused(_Undecided):
    """
    The server said no, in a problem document. One subclass for each slug of the table of errors.

    `proven` is False for an unsigned refusal: then anyone on the way may have written it, and the outcome is unknown.
    `retry_after` is in seconds. `members` is the whole document.
    """

    slug: str = ""
    status: int = 0
    detail: str = ""
    request_id: str = ""
    proven: bool = False
    retry_after: int | None = None

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.members: dict[str, object] = {}

    def __str__(self) -> str:
        return "\n  ".join([f"{self.slug} ({self.request_id or self.status})", *self._said(), *self._proof()])

    def _said(self) -> list[str]:
        row = TABLE.get(self.slug)
        said = [self.detail] if self.detail else []
        return [*said, row.remedy] if row else said

    def _proof(self) -> list[str]:
        unsigned = "this refusal is not signed: it proves nothing, and anyone on the way could have written it"
        return [self._next_step()] if self.proven else [unsigned, self._next_step()]


class SignatureMismatch(Refused):
    """
    The signature did not verify. `differences` are the lines that the server built otherwise, with what was signed.

    `same` counts the lines that are alike; None if the server gave no fingerprints to compare.
    """

    differences: tuple[Difference, ...] = ()
    same: int | None = None

    def _said(self) -> list[str]:
        return super()._said() if self.same is None else words(self.differences, self.same)


class ClockSkew(Refused):
    """The call was outside its window, also with the server's nonce. `skew_ms` is created - server time, unproven."""

    skew_ms: int | None = None


class ReplayDetected(Refused):
    """The server accepted this very message before: someone on the way sent it, and kept the answer."""


class KeyUnknown(Refused):
    """The key is not enrolled there, or no longer active."""


class InvitationInvalid(Refused):
    """The invitation is unknown, spent or past its time."""


class ApprovalPending(Refused):
    """Nobody has decided on the call yet: the wait for it is over, and may be taken up again."""


class ApprovalDenied(Refused):
    """A person said no. It is not asked again by itself: they have seen what was asked."""


class ApprovalExpired(Refused):
    """Nobody decided in time, or the call came too late after the yes; the call without its approval asks anew."""


class RateLimited(Refused):
    """A limit is spent; `retry_after` says when to come back."""


class Repeat(Protocol):
    """What waits in an ApprovalRequired: the call that asked, and the transport that it went through."""

    def wait(self, timeout_seconds: float | None) -> Any:
        """The response, for threads."""

    async def wait_async(self, timeout_seconds: float | None) -> Any:
        """The response, for tasks."""


class ApprovalRequired(Refused):
    """
    A person has to say yes to this call first. `link` is for that person, `sentence` what they are asked, `approval`
    the id under which the call is repeated, `expires_at` (Unix seconds of the server) when it is too late. All of them
    are empty where the refusal is not proven, or there is nobody to ask.

    `sentence` is as the server wrote it: what goes to a terminal or a log is str() of this. What is pickled or copied
    has the words and cannot wait.
    """

    # A slot and no member of __dict__: that is what is pickled, copied and dumped by those who log errors.
    __slots__ = ("_repeat",)
    sentence: str = ""
    link: str = ""
    approval: str = ""
    expires_at: int = 0

    def bind(self, repeat: Repeat) -> None:
        """For the transport that raises it."""
        self._repeat = repeat

    def wait_for_approval(self, timeout_seconds: float | None = None) -> Any:
        """
        The response to the very same call, once its person has said yes; until they decide, or so many seconds long.

        Raises: ApprovalDenied, ApprovalExpired; ApprovalPending if nobody decided in time, after which this can be
        called again; else as any call, under the same Idempotency-Key.
        """
        return self._bound().wait(timeout_seconds)

    async def wait_for_approval_async(self, timeout_seconds: float | None = None) -> Any:
        """`wait_for_approval`, for the transports for tasks."""
        return await self._bound().wait_async(timeout_seconds)

    def _bound(self) -> Repeat:
        repeat: Repeat | None = getattr(self, "_repeat", None)
        return self._cannot_wait() if repeat is None else repeat

    def _cannot_wait(self) -> NoReturn:
        why = "this is a copy of the error that was raised" if self.approval else "it names no approval"
        raise SealwireError(f"there is nothing that could be waited for: {why}")

    def _said(self) -> list[str]:
        if not self.approval:
            return super()._said()
        fields = f"Sealwire-Approval: {self.approval}"
        if self.idempotency_key is not None:
            fields = f"Idempotency-Key: {self.idempotency_key} and {fields}"
        return [
            f"a person has to approve: {self.detail}",
            f"have them open {self.link}",
            f"meanwhile wait_for_approval(), or repeat the same call with {fields}",
        ]


def _class_name(slug: str) -> str:
    return "".join(part.capitalize() for part in slug.split("-"))


def _grow() -> dict[str, type[Refused]]:
    """The class of each slug: written above where it says more than its row, made from the row otherwise."""
    tree: dict[str, type[Refused]] = {}
    for slug, row in TABLE.items():
        name = _class_name(slug)
        made = type(name, (Refused,), {"__doc__": row.meaning, "__module__": __name__})
        # Each stands under its name in this module, so that it can be pickled and named in an `except`.
        tree[slug] = globals().setdefault(name, made)
        tree[slug].slug = slug
    return tree


#: The subclass of Refused for each slug of the table of errors.
BY_SLUG = _grow()
