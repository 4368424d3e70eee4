"""
A call that a person has to approve first, and the same call again until they decided
(docs/protocol.md, "Approvals").

Owns: that an approval goes out with its own call and no other, and that a repeat never says "not done" of a call that
may have been carried out before. Refuses to know: sockets, how time passes, what a refusal has to look like.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from sealwire.client.errors import ApprovalRequired, OutcomeUnknown, Refused, ReplyUnproven, SealwireError
from sealwire.client.exchange import Call, Incoming, Outgoing, Pause, Proven, Turn
from sealwire.client.problems import read_refusal, refusal
from sealwire.client.question import read
from sealwire.client.sealing import Ends, carry_out, with_key
from sealwire.client.wrapping import key_of

#: Questions to people that one call asks with `on_approval`: an app may want another sentence the second time.
MOST_QUESTIONS = 3
_FIELD = b"sealwire-approval"
#: Retry-After is kept to between these.
_LEAST_SECONDS, _USUAL_SECONDS, _MOST_SECONDS = 1, 2, 60

Steps = Generator[Outgoing | Turn | Pause, Incoming, Proven]
#: Carries a conversation, made for what its process shares, to the library's response; for tasks, to be awaited.
Run = Callable[[Callable[[Ends], Steps]], Any]


#: `on_approval`, as a bot gives it.
Tell = Callable[[ApprovalRequired], object]


class Way(NamedTuple):
    """How a call is carried: by threads or by tasks, of one transport."""

    run: Run
    tasks: bool

    def __repr__(self) -> str:
        return "Way()"


class Waiting:
    """
    One call with the approval that it waits for; see `errors.Repeat`. `repr` shows nothing of either.

    In doubt: an earlier send of it may have been carried out.
    """

    __slots__ = ("_call", "_in_doubt", "_way")

    def __init__(self, call: Call, approval: str, way: Way, *, in_doubt: bool) -> None:
        headers = [(name, value) for name, value in call.headers if name.lower() != _FIELD]
        self._call = call._replace(headers=(*headers, (_FIELD, approval.encode("ascii"))))
        self._way = way
        self._in_doubt = in_doubt

    def wait(self, timeout_seconds: float | None) -> Any:
        """As the protocol says. Raises: SealwireError if it is for tasks."""
        if self._way.tasks:
            raise SealwireError("this call belongs to a transport for tasks: await wait_for_approval_async()")
        response = self._way.run(lambda ends: self.repeat(ends, timeout_seconds))
        if not self._call.stream:
            response.read()  # a Client does it for what passes through it; this does not
        return response

    async def wait_async(self, timeout_seconds: float | None) -> Any:
        """`wait`, for tasks."""
        if not self._way.tasks:
            raise SealwireError("this call belongs to a transport for threads: call wait_for_approval()")
        response = await self._way.run(lambda ends: self.repeat(ends, timeout_seconds))
        if not self._call.stream:
            await response.aread()
        return response

    def repeat(self, ends: Ends, timeout_seconds: float | None) -> Steps:
        """The call again, until its person decided. Raises: the Refused of a no, of its end, of no word in time."""
        until = None if timeout_seconds is None else ends.clock() + timeout_seconds
        while True:
            proven = yield from self._once(ends)
            document = read_refusal(proven, ends.origin.name)
            code = "" if document is None else document["code"]
            if document is None or code not in ("approval-pending", "approval-denied", "approval-expired"):
                return judged(proven, self._call, ends, self._way)
            refused = refusal(proven.status, proven.headers, document, proven=True)
            refused.outcome, refused.idempotency_key = proven.outcome, key_of(self._call)
            left = float(_MOST_SECONDS) if until is None else until - ends.clock()
            if code != "approval-pending" or left <= 0:
                raise refused
            asked = _USUAL_SECONDS if refused.retry_after is None else refused.retry_after
            yield Pause(min(left, max(_LEAST_SECONDS, min(asked, _MOST_SECONDS))))

    def _once(self, ends: Ends) -> Steps:
        # In doubt from its first byte on: who is interrupted, or cancelled, in the middle never comes back here.
        before, self._in_doubt = self._in_doubt, True
        try:
            proven = yield from carry_out(self._call, ends, resumed=before)
        except (OutcomeUnknown, Refused, ReplyUnproven) as why:
            if before:
                why.outcome = "unknown"
            why.idempotency_key = key_of(self._call)
            self._in_doubt = why.outcome != "not done"
            raise
        except Exception:
            self._in_doubt = before  # nothing was sent this time
            raise
        self._in_doubt = before or proven.outcome == "unknown"
        return proven


def ask(call: Call, ends: Ends, way: Way) -> Steps:
    """The conversation of one call, under one Idempotency-Key. Raises: as `carry_out`; ApprovalRequired."""
    call = with_key(call, ends.entropy)
    proven = yield from carry_out(call, ends)
    return judged(proven, call, ends, way)


def judged(proven: Proven, call: Call, ends: Ends, way: Way) -> Proven:
    """The answer, if it does not ask for a person. Raises: ApprovalRequired, which can wait."""
    asked = read(proven, ends.origin.name)
    if asked is None:
        return proven
    asked.idempotency_key = key_of(call)
    asked.bind(Waiting(call, asked.approval, way, in_doubt=proven.outcome != "not done"))
    raise asked


def carry(call: Call, way: Way, tell: Tell | None) -> Any:
    """
    The response to a call. `tell`, if there is one, hears of what a person is asked, and the call is waited for.

    Raises: as `ask`, as `wait_for_approval`, and what `tell` does.
    """
    asked: ApprovalRequired | None = None
    for left in range(MOST_QUESTIONS, -1, -1):
        try:
            return way.run(lambda ends: ask(call, ends, way)) if asked is None else asked.wait_for_approval()
        except ApprovalRequired as why:
            if tell is None or left == 0 or not why.approval:
                raise
            asked = why
        answer = tell(asked)
        if inspect.iscoroutine(answer):
            answer.close()
            raise TypeError("on_approval of a transport for threads is a plain function")
    raise AssertionError("the last round returns")


async def carry_async(call: Call, way: Way, tell: Tell | None) -> Any:
    """`carry`, for tasks; `tell` may be async."""
    asked: ApprovalRequired | None = None
    for left in range(MOST_QUESTIONS, -1, -1):
        try:
            if asked is None:
                return await way.run(lambda ends: ask(call, ends, way))
            return await asked.wait_for_approval_async()
        except ApprovalRequired as why:
            if tell is None or left == 0 or not why.approval:
                raise
            asked = why
        answer = tell(asked)
        if inspect.isawaitable(answer):
            await answer
    raise AssertionError("the last round returns")
