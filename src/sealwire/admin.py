"""
Every administrative act as a Python method; the command line only words them.

Owns: invitations, and what an operator may do to clients and keys. Refuses to know: terminals, HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from sealwire.build import Ports, open_ports
from sealwire.call import Approval, KeyRecord
from sealwire.config import Settings, load
from sealwire.errors import Misuse
from sealwire.people import People, terms_of
from sealwire.ports import Invitation
from sealwire.ports.people import Factor
from sealwire.presence import NewSeed, Said
from sealwire.protocol.approval import Shown
from sealwire.protocol.jwk import b64url

T = TypeVar("T")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID_BYTES, _SECRET_BYTES = 12, 32


class ClientRecord(NamedTuple):
    """A program that calls, with all its keys, oldest first."""

    id: str
    name: str
    user: str | None
    scopes: frozenset[str]
    keys: tuple[KeyRecord, ...]


class Admin:
    """
    An operator's hands on one deployment, by its configuration file. Each method is one durable act.

    Raises at construction: Misuse. Use it as a context manager, or `close` it.
    """

    def __init__(self, config: Path | str) -> None:
        self.settings: Settings = load(Path(config))
        self._ports: Ports = open_ports(self.settings)
        self._people = People(self.settings, self._ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self._ports.close()

    def invite(
        self, name: str, *, user: str | None = None, scopes: frozenset[str] | None = None, hours: int = 24
    ) -> str:
        """
        An invitation for a new client called `name`, good for `hours` and one key. It is shown once and kept nowhere
        in clear.

        Without `scopes` it has, in development, all scopes that the rules name. Raises: Misuse in production.
        """
        if not _NAME.fullmatch(name):
            raise Misuse(f'"{name}" is no client name: 1 to 100 of letters, digits, dot, dash, underscore')
        every = frozenset[str]().union(*(rule.scopes for rule in self.settings.rules_compiled()))
        if scopes is None:
            if self.settings.environment == "production":
                raise Misuse("client invite: --scopes is required in production")
            scopes = every
        unknown = scopes - every
        if unknown:
            raise Misuse(
                f"client invite: no rule names the scope {min(unknown)}; rules name {', '.join(sorted(every))}"
            )
        ports = self._ports
        invitation_id, secret = b64url(ports.entropy(_ID_BYTES)), b64url(ports.entropy(_SECRET_BYTES))
        hmac_key = hashlib.sha256(secret.encode("ascii")).digest()
        wrapped = ports.keyring.wrap(hmac_key, b"invitation " + invitation_id.encode("ascii"))
        expires_at = ports.clock.now() + hours * 3600
        _run(ports.directory.add_invitation(Invitation(invitation_id, name, "", user, scopes, (), wrapped, expires_at)))
        mode = "live" if self.settings.environment == "production" else "test"
        return f"sw_{mode}_inv_{invitation_id}.{secret}.{ports.keyring.verifier.keyid}"

    def keys(self, client: str | None = None) -> list[KeyRecord]:
        """All keys, or one client's, oldest first."""
        return _run(self._ports.directory.keys(client))

    def clients(self) -> list[ClientRecord]:
        """All clients that enrolled a key, oldest first."""
        keys: dict[str, list[KeyRecord]] = {}
        for key in self.keys():
            keys.setdefault(key.client, []).append(key)
        return [
            ClientRecord(client, own[0].client_name, own[0].user, own[0].scopes, tuple(own))
            for client, own in keys.items()
        ]

    def client(self, name: str) -> ClientRecord | None:
        """The client of this id, or the only one of this name. Raises: Misuse if several have the name."""
        every = self.clients()
        found = [each for each in every if each.id == name] or [each for each in every if each.name == name]
        if len(found) > 1:
            raise Misuse(f"{len(found)} clients are called {name}: give the id, {' or '.join(c.id for c in found)}")
        return found[0] if found else None

    def invitations(self) -> list[Invitation]:
        """All invitations, spent or not."""
        return _run(self._ports.directory.invitations())

    def revoke_key(self, keyid: str) -> bool:
        """Ends a key for ever, at once; False if there is none."""
        return _run(self._ports.directory.revoke(keyid))

    def revoke_client(self, client: str) -> int:
        """Ends every key of a client; how many were not ended before."""
        return _run(self._ports.directory.revoke_client(client))

    def approvals(self, user: str | None = None, limit: int = 50) -> list[tuple[Approval, Shown]]:
        """What a user, or everybody, was asked, the newest first, with the sentence that is shown."""
        return [(approval, self._people.shown(approval)) for approval in _run(self._people.approvals(user, limit))]

    def approval(self, approval_id: str) -> tuple[Approval, Shown] | None:
        """One of them."""
        found = _run(self._people.approval(approval_id))
        return None if found is None else (found, self._people.shown(found))

    def approve(self, approval: Approval, code: str) -> Said:
        """Its person says yes, by a code of that person's own: nobody else's will do."""
        return _run(self._people.approve(approval, code))

    def deny(self, approval: Approval) -> bool:
        """No; False if it no longer waits."""
        return _run(self._people.deny(approval))

    def factors(self, user: str) -> list[Factor]:
        """What the user approves with."""
        return _run(self._people.factors(user))

    def add_factor(self, user: str, seed: NewSeed) -> Factor:
        """Gives a user a factor, which starts the cool-down. Raises: Misuse for a seed or a name that cannot be."""
        try:
            return _run(self._people.add_factor(user, seed))
        except ValueError as why:
            raise Misuse(f"factor add: {why}") from None

    def remove_factor(self, user: str, factor_id: str) -> bool:
        """Takes a factor, which starts the cool-down; False if the user has none of this id."""
        return _run(self._people.remove_factor(user, factor_id))

    def thaw_client(self, client: str) -> int:
        """Lets the keys of a client sign again that its user disowned; how many there were."""
        return _run(self._people.thaw(client))

    def draw(self, size: int) -> bytes:
        """Fresh secret bytes."""
        return self._ports.entropy(size)

    @property
    def cooldown_seconds(self) -> int:
        """How long a user whose factors the operator changed approves nothing."""
        return terms_of(self.settings).cooldown_seconds

    @property
    def issuer(self) -> str:
        """What an authenticator app calls this deployment."""
        return self._people.issuer


def _run(act: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(act)
