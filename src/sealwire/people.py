"""
What an operator may do about people and their approvals: read, deny, give and take factors, let a client go on.

Owns: that an operator never approves for somebody: that takes the person's own code. Refuses to know: terminals, pages.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from sealwire.build import Ports
from sealwire.call import Approval
from sealwire.config import Settings, policy_version
from sealwire.desk import Desk
from sealwire.ports.people import Factor
from sealwire.presence import NewSeed, Presence, Said, Terms
from sealwire.protocol.approval import Shown

_OPERATOR, _HERE = "operator", "local"


def terms_of(settings: Settings) -> Terms:
    """What the settings say of factors."""
    policy, pages = policy_version(settings.path), settings.pages
    return Terms(policy=policy) if pages is None else Terms(pages.totp_grace_seconds, pages.factor_cooldown, policy)


def provisioning_uri(seed: NewSeed, user: str, issuer: str) -> str:
    """What authenticator apps read from a QR code: `otpauth://totp/…`, with the secret in it."""
    label = f"{quote(issuer, safe='')}:{quote(user, safe='')}"
    asked = {"secret": seed.base32(), "issuer": issuer, "algorithm": seed.algorithm, "digits": str(seed.digits)}
    return f"otpauth://{seed.kind}/{label}?{urlencode(asked)}"


class People:
    """Over the ports of one deployment. Faults: store-unavailable, custody-unavailable."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        origin = settings.pages.origin if settings.pages is not None else settings.public_origins[0]
        self.issuer = origin.partition("://")[2]
        self._ports = ports
        self._desk = Desk(ports.approvals, ports.keyring, ports.entropy, ports.notices, origin)
        self.presence = Presence(
            ports.approvals, ports.factors, ports.keyring, ports.clock, ports.entropy, ports.notices, terms_of(settings)
        )

    async def approvals(self, user: str | None = None, limit: int = 50) -> list[Approval]:
        """A user's, or everybody's, the newest first, each in its state of now."""
        now = self._ports.clock.now()
        every = await self._ports.approvals.approvals(user, limit)
        return [approval._replace(state=approval.state_at(now)) for approval in every]

    async def approval(self, approval_id: str) -> Approval | None:
        """The approval of this id, in its state of now."""
        found = await self._ports.approvals.approval(approval_id)
        return None if found is None else found._replace(state=found.state_at(self._ports.clock.now()))

    def shown(self, approval: Approval) -> Shown:
        """What its person is shown."""
        return self._desk.shown(approval)

    async def approve(self, approval: Approval, code: str) -> Said:
        """Its person's yes, by that person's own code, given here."""
        return await self.presence.approve(approval, code, _HERE)

    async def deny(self, approval: Approval) -> bool:
        """An operator's no; False if it no longer waits."""
        return await self.presence.deny(approval, _OPERATOR, _HERE)

    async def factors(self, user: str) -> list[Factor]:
        """The user's factors, oldest first."""
        return await self._ports.factors.factors(user)

    async def add_factor(self, user: str, seed: NewSeed) -> Factor:
        """Gives a user a factor; nothing is approved until the cool-down is over. Raises: ValueError."""
        return await self.presence.add_seed(user, seed, _OPERATOR, _HERE, reset=True)

    async def remove_factor(self, user: str, factor_id: str) -> bool:
        """Takes a factor; nothing is approved until the cool-down is over. False if the user has none of this id."""
        held = {factor.id: factor for factor in await self.factors(user)}
        if factor_id not in held:
            return False
        return await self.presence.remove(user, held[factor_id], _OPERATOR, _HERE, reset=True)

    async def thaw(self, client: str) -> int:
        """Lets the frozen keys of a client sign again; how many there were. Its old sessions stay over."""
        return await self.presence.thaw(client, _HERE)
