"""
How a person shows to be there: a code from something they hold, counted before it is judged, used once.

Owns: which code counts for which factor, that guessing ends at the limits, and that a change of factors is told to
their owner and recorded. Refuses to know: HTTP, pages, terminals.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from sealwire.call import Approval
from sealwire.ports import Clock, Decision, Entropy, Keyring
from sealwire.ports.people import (
    FACTOR_KINDS,
    USER_TRIES,
    Approvals,
    Attempt,
    Factor,
    Factors,
    Move,
    Notice,
    Notices,
)
from sealwire.protocol import otp
from sealwire.protocol.identifier import RANDOM_BYTES, identifier

#: Factors of one user; each code is tried against all of them.
MOST_FACTORS = 10
RECOVERY_CODES = 10
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,60}")
# A number that says which hash it belongs to, then 60 bits.
_RECOVERY = re.compile(r"([0-9])([a-z2-7]{12})")
_HASHING_AT_ONCE = 2  # each takes 64 MiB

Result = Literal["right", "wrong", "locked", "late", "cooling", "no-factor"]


class Said(NamedTuple):
    """What became of a code: `left` tries are left, for this approval or for this user, whichever are fewer."""

    result: Result
    left: int = 0


class Terms(NamedTuple):
    """What the policy says of factors; `policy` is its version, for the records."""

    totp_grace_seconds: int = 10
    cooldown_seconds: int = 86_400
    policy: str = ""


class Presence:
    """Judges codes, and changes factors. Faults: store-unavailable, custody-unavailable; then nobody is let through."""

    def __init__(
        self,
        approvals: Approvals,
        factors: Factors,
        keyring: Keyring,
        clock: Clock,
        entropy: Entropy,
        notices: Notices,
        terms: Terms,
    ) -> None:
        self._approvals = approvals
        self._factors = factors
        self._keyring = keyring
        self._clock = clock
        self._entropy = entropy
        self._notices = notices
        self._terms = terms
        self._hashing = asyncio.Semaphore(_HASHING_AT_ONCE)

    async def approve(self, approval: Approval, code: str, address: str) -> Said:
        """The user of the approval says yes to it, with a code of a kind that it takes."""
        now = self._clock.now()
        if approval.state_at(now) != "pending":
            return Said("late")
        if now < await self._factors.cooling_until(approval.user):
            return Said("cooling")
        found = await self._judged(approval.user, approval.id, code, approval.factors)
        if isinstance(found, Said):
            return found
        factor, move, attempt = found
        decision = self._decision("approved", factor.kind, approval.user, address, approval)
        outcome = await self._approvals.approve(approval.id, move, attempt, decision)
        match outcome:
            case "approved":
                return Said("right")
            case "raced":
                return Said("wrong", min(attempt.left, attempt.left_for_user))
        return Said(outcome)

    async def deny(self, approval: Approval, by: str, address: str) -> bool:
        """No. `by` is who said so: `user` or `operator`. False if it no longer waits."""
        return await self._approvals.deny(approval.id, self._decision("denied", by, approval.user, address, approval))

    async def disown(self, approval: Approval, address: str) -> int:
        """This was not me: the client's keys are frozen, and what waits of it is denied. How many keys were."""
        decision = self._decision("frozen", "user", approval.user, address, approval)
        frozen = await self._approvals.freeze(approval.client, approval.user, decision)
        text = f"The keys of {approval.client_name} are frozen. Only the operator can let them sign again."
        self._notices.tell(Notice(approval.user, "frozen", "A client of yours was frozen", text))
        return frozen

    async def thaw(self, client: str, address: str) -> int:
        """The operator lets a client go on; how many keys sign again."""
        decision = self._decision("thawed", "operator", "", address, client=client)
        return await self._approvals.thaw(client, decision)

    async def show(self, user: str, code: str) -> Factor | Said:
        """The factor that the user just used, for something else than an approval."""
        found = await self._judged(user, "", code, FACTOR_KINDS)
        if isinstance(found, Said):
            return found
        factor, move, attempt = found
        if await self._factors.move(move, user, attempt, self._clock.now()):
            return factor
        return Said("wrong", attempt.left_for_user)

    async def allow(self, user: str, code: str, address: str) -> Said:
        """
        The user allows an act of their own account. While factors cool down nothing is allowed, and a recovery code
        starts that: whoever finds the paper gets one thing, and no yes to what it asks.
        """
        if self._clock.now() < await self._factors.cooling_until(user):
            return Said("cooling")
        found = await self.show(user, code)
        if isinstance(found, Said):
            return found
        if found.kind == "recovery":
            decision = self._decision("factors-reset", f"{found.kind}/user", user, address)
            if not await self._factors.cool(user, self._cooling_until(), decision):
                return Said("cooling")  # another code of the same paper was judged at the same time, and came first
            self._tell(user, "factors-reset", "A recovery code was used. For a while nothing more is approved.")
        return Said("right")

    async def add_seed(self, user: str, seed: NewSeed, by: str, address: str, *, reset: bool = False) -> Factor:
        """
        Adds what makes one-time codes. `reset`: it was not added behind another factor of the user, so nothing is
        approved until the cool-down is over. Raises: ValueError for a name or a seed that cannot be, or one too many.
        """
        if seed.kind not in ("totp", "hotp"):
            raise ValueError("a seed makes codes by time (totp) or by count (hotp)")
        otp.Seed(seed.secret, seed.algorithm, seed.digits)
        secret = {"secret": base64.b32encode(seed.secret).decode("ascii")}
        parameters = (seed.algorithm, seed.digits, seed.position)
        return await self._add(user, seed.kind, seed.name, secret, parameters, by, address, reset=reset)

    async def add_recovery(self, user: str, by: str, address: str, *, reset: bool = False) -> list[str]:
        """Fresh recovery codes in place of the old ones; they are shown once. Raises: ValueError for one too many."""
        await self.room_for(user, "recovery", "Recovery codes")
        old = next((one.id for one in await self._factors.factors(user) if one.kind == "recovery"), "")
        codes = []
        for number in range(RECOVERY_CODES):
            drawn = base64.b32encode(self._entropy(8)).decode("ascii").lower()[:12]
            codes.append(f"{number}{drawn}")
        hashes = [await self._hashed(code) for code in codes]
        await self._add(
            user, "recovery", "Recovery codes", {"hashes": hashes}, ("", 0, 0), by, address, reset=reset, replaces=old
        )
        return [f"{code[:1]}-{code[1:5]}-{code[5:9]}-{code[9:]}" for code in codes]

    async def room_for(self, user: str, kind: str, name: str) -> None:
        """Asked before a code is used up for it. Raises: ValueError for a name that cannot be, or one too many."""
        if not _NAME.fullmatch(name.strip()):
            raise ValueError("a name has 1 to 60 characters")
        staying = [one for one in await self._factors.factors(user) if kind != "recovery" or one.kind != "recovery"]
        if len(staying) >= MOST_FACTORS:
            raise ValueError(f"a user has at most {MOST_FACTORS} factors")

    async def remove(self, user: str, factor: Factor, by: str, address: str, *, reset: bool) -> bool:
        """Ends a factor; `reset` as above, and whenever it was the last one. False if it is gone."""
        until = self._cooling_until()
        decision = self._decision("factor-removed", f"{factor.kind}/{by}", user, address)
        removed = await self._factors.remove(factor.id, user, decision, until if reset else 0, until)
        if removed:
            self._tell(user, "factor-removed", f"Your factor “{factor.name}” was removed.")
        return removed

    async def _add(
        self,
        user: str,
        kind: str,
        name: str,
        secret: Mapping[str, object],
        parameters: tuple[str, int, int],
        by: str,
        address: str,
        *,
        reset: bool,
        replaces: str = "",
    ) -> Factor:
        name = name.strip()
        await self.room_for(user, kind, name)
        now = self._clock.now()
        factor_id = identifier("fac", int(now * 1000), self._entropy(RANDOM_BYTES))
        wrapped = self._keyring.wrap(json.dumps(secret).encode("ascii"), _context(factor_id, user))
        factor = Factor(factor_id, user, kind, name, wrapped, *parameters, now)
        decision = self._decision("factor-added", f"{kind}/{by}", user, address)
        await self._factors.add(factor, decision, self._cooling_until() if reset else 0, replaces)
        self._tell(user, "factor-added", f"The factor “{name}” was added to your account.")
        return factor

    async def _judged(
        self, user: str, approval_id: str, code: str, kinds: tuple[str, ...]
    ) -> tuple[Factor, Move, Attempt] | Said:
        """To its end, though whoever guesses hangs up meanwhile: the owner is told of the last guess all the same."""
        return await asyncio.shield(self._judge(user, approval_id, code, kinds))

    async def _judge(
        self, user: str, approval_id: str, code: str, kinds: tuple[str, ...]
    ) -> tuple[Factor, Move, Attempt] | Said:
        """Counted first, durably: whoever cuts the connection here has spent a try all the same."""
        factors = [one for one in await self._factors.factors(user) if one.kind in kinds]
        if not factors:
            return Said("no-factor")
        attempt = await self._approvals.attempt(user, approval_id, self._clock.now())
        if attempt is None:
            return Said("locked")
        for factor in factors:
            move = await self._find(factor, code)
            if move is not None:
                return factor, move, attempt
        left = min(attempt.left, attempt.left_for_user) if approval_id else attempt.left_for_user
        if left == 0:
            self._tell(user, "tries", "Wrong codes were tried until no more are taken. If that was not you, tell us.")
        elif attempt.left_for_user == USER_TRIES // 2:
            # Whoever guesses slowly enough never gets to the end.
            self._tell(user, "tries", f"{USER_TRIES // 2} wrong codes were tried within an hour. Not you? Tell us.")
        return Said("wrong", left)

    async def _find(self, factor: Factor, code: str) -> Move | None:
        secret = json.loads(self._keyring.unwrap(factor.secret, _context(factor.id, factor.user)))
        if factor.kind == "recovery":
            return await self._find_recovery(factor, secret["hashes"], code)
        seed = otp.Seed(base64.b32decode(secret["secret"]), factor.algorithm, factor.digits)
        if factor.kind == "totp":
            first, last = otp.steps(self._clock.now(), self._terms.totp_grace_seconds)
            found = seed.find(code, max(first, factor.position + 1), last)
            return None if found is None else Move(factor.id, factor.position, found)
        found = seed.find(code, factor.position, factor.position + otp.LOOK_AHEAD)
        return None if found is None else Move(factor.id, factor.position, found + 1)

    async def _find_recovery(self, factor: Factor, hashes: list[str], code: str) -> Move | None:
        typed = _RECOVERY.fullmatch(re.sub(r"[\s-]", "", code).lower())
        if typed is None:
            return None
        number = int(typed[1])
        if factor.position >> number & 1 or not await self._is(typed[0], hashes[number]):
            return None
        return Move(factor.id, factor.position, factor.position | 1 << number)

    async def _hashed(self, code: str) -> str:
        salt = self._entropy(16)
        derive = Argon2id(salt=salt, length=32, iterations=2, lanes=1, memory_cost=64 * 1024)
        async with self._hashing:
            return await asyncio.to_thread(derive.derive_phc_encoded, code.encode("ascii"))

    async def _is(self, code: str, encoded: str) -> bool:
        async with self._hashing:
            try:
                await asyncio.to_thread(Argon2id.verify_phc_encoded, code.encode("ascii"), encoded)
            except InvalidKey:
                return False
        return True

    def _cooling_until(self) -> float:
        return self._clock.now() + self._terms.cooldown_seconds

    def _tell(self, user: str, about: str, text: str) -> None:
        self._notices.tell(Notice(user, about, "How your approvals are given", text))

    def _decision(
        self, outcome: str, code: str, user: str, address: str, approval: Approval | None = None, client: str = ""
    ) -> Decision:
        now, policy = self._clock.now(), self._terms.policy
        if approval is None:
            request_id = identifier("req", int(now * 1000), self._entropy(RANDOM_BYTES))
            return Decision(request_id, now, outcome, code, client, user, "", address, "", "", policy)
        client, key, rule = approval.client, approval.key, approval.template
        return Decision(approval.id, now, outcome, code, client, user, key, address, "", rule, policy)


class NewSeed(NamedTuple):
    """What makes codes, before it is kept. `position`: the last TOTP step that was used, or the next HOTP counter."""

    kind: str
    name: str
    secret: bytes
    algorithm: str = "SHA1"
    digits: int = 6
    position: int = 0

    def base32(self) -> str:
        """The secret as authenticator apps take it."""
        return base64.b32encode(self.secret).decode("ascii").rstrip("=")

    def __repr__(self) -> str:
        return f"NewSeed({self.kind})"


def _context(factor_id: str, user: str) -> bytes:
    return f"factor {factor_id} {user}".encode()
