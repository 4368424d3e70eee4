"""
Approvals and factors in this process, for tests and trials: the durable ports without durability.

Keeps: everything until the process ends.
"""

from __future__ import annotations

from sealwire.call import Approval
from sealwire.ports import Clock, Decision
from sealwire.ports.people import (
    APPROVAL_TRIES,
    PENDING_OF_A_USER,
    USER_TRIES,
    USER_TRIES_SECONDS,
    Approved,
    Attempt,
    Factor,
    Move,
    too_many_questions,
)
from sealwire.stores.memory_durable import MemoryDirectory, MemoryLedger


class MemoryApprovals:
    """Approvals and Factors beside a ledger, whose decisions use them up, and a directory, whose keys they freeze."""

    def __init__(self, clock: Clock, ledger: MemoryLedger, directory: MemoryDirectory) -> None:
        self._clock = clock
        self._ledger = ledger
        self._directory = directory
        self._approvals: dict[str, Approval] = {}
        self._factors: dict[str, Factor] = {}
        self._tries: dict[int, tuple[str, str, float]] = {}
        self._tried = 0
        self._cooling: dict[str, float] = {}
        ledger.use_approval = self._use

    async def ask(self, approval: Approval) -> Approval:
        """As the port says."""
        fresh, now = approval, approval.asked_at
        own = [one for one in self._approvals.values() if one.user == fresh.user]
        for held in own:
            same = (held.client, held.key, held.binding) == (fresh.client, fresh.key, fresh.binding)
            if same and held.state_at(now) in ("pending", "approved"):
                return held
        waiting = [one.expires_at for one in own if one.state_at(now) == "pending"]
        if len(waiting) >= PENDING_OF_A_USER:
            raise too_many_questions(min(waiting) - now)
        self._approvals[fresh.id] = fresh
        return fresh

    async def approval(self, approval_id: str) -> Approval | None:
        """As the port says."""
        return self._approvals.get(approval_id)

    async def approvals(self, user: str | None = None, limit: int = 50) -> list[Approval]:
        """As the port says."""
        found = [one for one in self._approvals.values() if user is None or one.user == user]
        return sorted(found, key=lambda one: (one.asked_at, one.id), reverse=True)[:limit]

    async def attempt(self, user: str, approval_id: str, now: float) -> Attempt | None:
        """As the port says."""
        by_user = sum(who == user and at > now - USER_TRIES_SECONDS for who, _, at in self._tries.values())
        of_this = sum(what == approval_id != "" for _, what, _ in self._tries.values())
        if by_user >= USER_TRIES or of_this >= APPROVAL_TRIES:
            return None
        self._tried += 1
        self._tries[self._tried] = (user, approval_id, now)
        return Attempt(self._tried, APPROVAL_TRIES - of_this - 1, USER_TRIES - by_user - 1)

    async def approve(self, approval_id: str, move: Move, attempt: Attempt, decision: Decision) -> Approved:
        """As the port says."""
        now, user = self._clock.now(), decision.user
        if now < self._cooling.get(user, 0):
            return "cooling"
        held = self._approvals.get(approval_id)
        if held is None or held.user != user or held.state_at(now) != "pending":
            return "late"
        if not self._move(move, user, now):
            return "raced"
        self._approvals[approval_id] = held._replace(state="approved", decided_at=now, how=decision.code)
        del self._tries[attempt.number]
        self._ledger.decisions.append(decision)
        return "approved"

    async def deny(self, approval_id: str, decision: Decision) -> bool:
        """As the port says."""
        now, held = self._clock.now(), self._approvals.get(approval_id)
        if held is None or held.state_at(now) != "pending":
            return False
        self._approvals[approval_id] = held._replace(state="denied", decided_at=now)
        self._ledger.decisions.append(decision)
        return True

    async def freeze(self, client: str, user: str, decision: Decision) -> int:
        """As the port says."""
        now = self._clock.now()
        for held in self._approvals.values():
            if (held.client, held.user) == (client, user) and held.state_at(now) in ("pending", "approved"):
                self._approvals[held.id] = held._replace(state="denied", decided_at=now)
        self._ledger.decisions.append(decision)
        return self._directory.freeze(client, user, now)

    async def thaw(self, client: str, decision: Decision) -> int:
        """As the port says."""
        thawed = self._directory.thaw(client)
        if thawed:
            self._ledger.decisions.append(decision)
        return thawed

    async def factors(self, user: str) -> list[Factor]:
        """As the port says."""
        return sorted((one for one in self._factors.values() if one.user == user), key=lambda one: one.added_at)

    async def add(self, factor: Factor, decision: Decision, cooling_until: float = 0, replaces: str = "") -> None:
        """As the port says."""
        old = self._factors.get(replaces)
        if old is not None and old.user == factor.user:
            del self._factors[replaces]
        self._factors[factor.id] = factor
        self._cool(factor.user, cooling_until)
        self._ledger.decisions.append(decision)

    async def remove(
        self, factor_id: str, user: str, decision: Decision, cooling_until: float = 0, if_last: float = 0
    ) -> bool:
        """As the port says."""
        held = self._factors.get(factor_id)
        if held is None or held.user != user:
            return False
        del self._factors[factor_id]
        left = any(one.user == user for one in self._factors.values())
        self._cool(user, cooling_until if left else max(cooling_until, if_last))
        self._ledger.decisions.append(decision)
        return True

    async def move(self, move: Move, user: str, attempt: Attempt, now: float) -> bool:
        """As the port says."""
        moved = self._move(move, user, now)
        if moved:
            del self._tries[attempt.number]
        return moved

    async def cool(self, user: str, until: float, decision: Decision) -> bool:
        """As the port says."""
        if decision.at < self._cooling.get(user, 0.0):
            return False
        self._cool(user, until)
        self._ledger.decisions.append(decision)
        return True

    async def cooling_until(self, user: str) -> float:
        """As the port says."""
        return self._cooling.get(user, 0.0)

    def _use(self, approval_id: str, now: float) -> bool:
        held = self._approvals.get(approval_id)
        if held is None or held.state_at(now) != "approved":
            return False
        self._approvals[approval_id] = held._replace(state="used")
        return True

    def _move(self, move: Move, user: str, now: float) -> bool:
        held = self._factors.get(move.factor)
        if held is None or (held.user, held.position) != (user, move.before):
            return False
        self._factors[move.factor] = held._replace(position=move.after, used_at=now)
        return True

    def _cool(self, user: str, until: float) -> None:
        if until:
            self._cooling[user] = max(self._cooling.get(user, 0), until)
