"""A deployment whose withdrawals a person approves: the bot asks, its user answers with a code from a phone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx2

from sealwire.call import Approval, Approve, Rule
from sealwire.presence import NewSeed, Presence, Said, Terms
from sealwire.protocol.approval import Sentence
from sealwire.protocol.jwk import Signer
from sealwire.protocol.otp import STEP_SECONDS, Seed
from tests.stories.sealing import IN_MEMORY, Opened, SealedWorld, Stores, carrying, open_session, problem_of
from tests.stories.world import Wire

WITHDRAWAL = {"asset": "BTC", "amount": "0.25", "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k2f"}
SENTENCE = f"Send 0.25 BTC to {WITHDRAWAL['address']}"
TARGET = b"/v1/withdrawals"
SECRET = b"12345678901234567890"
CRITICAL_RULES = (
    Rule(
        "/v1/withdrawals", frozenset(("POST",)), "critical", idempotency_required=True,
        approve=Approve(Sentence.read("Send {amount} {asset} to {address}"), ("totp", "hotp", "recovery"), 600),
    ),
    Rule("/v1/payouts", frozenset(("POST",)), "critical", idempotency_required=True, approve=Approve()),
    Rule("/v1/balances", frozenset(("GET",)), "signed"),
)  # fmt: skip


class ApprovingWorld(SealedWorld):
    """A SealedWorld with critical rules, and alice's phone."""

    def __init__(self, folder: Path, stores: Stores = IN_MEMORY, rules: tuple[Rule, ...] = CRITICAL_RULES) -> None:
        super().__init__(folder, rules, stores=stores)
        self.phone = Seed(SECRET)
        self.presence = Presence(
            self.asked, self.asked, self.keyring, self.clock, os.urandom, self.notices, Terms(policy="policy-1")
        )

    async def give_phone(self, user: str = "alice") -> None:
        """The user has a factor, added long ago."""
        await self.presence.add_seed(user, NewSeed("totp", "Phone", SECRET), "user", "192.0.2.9")

    def code(self, steps: int = 0) -> str:
        """What the phone shows, so many steps from now."""
        return self.phone.code(int(self.clock.at // STEP_SECONDS) + steps)

    async def approve(self, approval_id: str, code: str | None = None) -> Said:
        """Its user says yes."""
        approval = await self.asked.approval(approval_id)
        assert approval is not None
        return await self.presence.approve(approval, self.code() if code is None else code, "192.0.2.9")

    async def approval(self, approval_id: str) -> Approval:
        """What is known of one."""
        found = await self.asked.approval(approval_id)
        assert found is not None
        return found


def asking(
    session: Opened,
    body: dict[str, Any] | None = None,
    *,
    approval: str = "",
    key: str = "withdrawal-1",
    target: bytes = TARGET,
    content_type: str = "application/json",
) -> Wire:
    """A withdrawal as the bot makes it, under its session, not signed yet."""
    plaintext = json.dumps(WITHDRAWAL if body is None else body).encode()
    wire = carrying(session.seal(plaintext, content_type), target).change(b"idempotency-key", key.encode())
    if approval:
        wire.change(b"sealwire-approval", approval.encode())
    return wire


async def ask(
    world: ApprovingWorld,
    session: Opened,
    body: dict[str, Any] | None = None,
    *,
    signer: Signer | None = None,
    **how: Any,
) -> httpx2.Response:
    """A withdrawal as the bot sends it now."""
    return await world.send(asking(session, body, **how).sign(signer or world.signer, int(world.clock.at)))


def code_of(reply: httpx2.Response, session: Opened) -> str:
    """The slug of a refusal."""
    return str(problem_of(reply, session)["code"])


async def asked_for(world: ApprovingWorld, session: Opened, **given: Any) -> str:
    """Asks, and gives back the approval's id."""
    reply = await ask(world, session, **given)
    problem = problem_of(reply, session)
    assert (reply.status_code, problem["code"]) == (403, "approval-required"), problem
    told = problem["approval"]
    assert isinstance(told, dict)
    return str(told["id"])


async def begun(
    folder: Path, stores: Stores = IN_MEMORY, rules: tuple[Rule, ...] = CRITICAL_RULES
) -> tuple[ApprovingWorld, Opened]:
    """A world, alice's phone, and a session of her bot."""
    world = ApprovingWorld(folder, stores, rules)
    if stores.durable is not None:
        await world.enrol(world.signer, "alice")
    await world.give_phone()
    return world, await open_session(world)
