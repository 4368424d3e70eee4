"""
Every administrative act as a Python method; the command line only words them.

Owns: invitations, and what an operator may do to clients and keys. Refuses to know: terminals, HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from sealwire.build import Ports, open_ports
from sealwire.call import Approval
from sealwire.clients import DEFAULT_DAYS, Clients
from sealwire.config import Settings, load
from sealwire.errors import Misuse
from sealwire.people import People, terms_of
from sealwire.ports import Invitation
from sealwire.ports.apikeys import Client, Use, last_uses
from sealwire.ports.people import Factor
from sealwire.presence import NewSeed, Said
from sealwire.protocol.approval import Shown
from sealwire.protocol.ratelimit import written
from sealwire.records import ApiKeyRecord, KeyRecord

T = TypeVar("T")


class ClientRecord(NamedTuple):
    """A program that calls, with all its keys and API keys, oldest first; `stored` is what holds it closer."""

    id: str
    name: str
    user: str | None
    scopes: frozenset[str]
    keys: tuple[KeyRecord, ...]
    apikeys: tuple[ApiKeyRecord, ...]
    stored: Client


class Admin:
    """
    An operator's hands on one deployment, by its configuration file. Each method is one durable act.

    Raises at construction: Misuse. Use it as a context manager, or `close` it.
    """

    def __init__(self, config: Path | str) -> None:
        self.settings: Settings = load(Path(config))
        self._ports: Ports = open_ports(self.settings)
        self._people = People(self.settings, self._ports)
        self._clients = Clients(self.settings, self._ports)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the store."""
        self._ports.close()

    def invite(
        self,
        name: str,
        *,
        user: str | None = None,
        scopes: frozenset[str] | None = None,
        hours: int = 24,
        addresses: tuple[str, ...] = (),
        limits: tuple[str, ...] = (),
    ) -> str:
        """
        An invitation for a new client called `name`, good for `hours` and one key. It is shown once and kept nowhere
        in clear. `addresses` and `limits` (`60/min`) hold the client closer than the rules do.

        Without `scopes` it has, in development, all scopes that the rules name. Raises: Misuse in production.
        """
        with _asked("client invite"):
            terms = self._clients.read_terms(self._given("client invite", scopes), addresses, limits)
            return _run(self._clients.invite(name, user, terms, hours))

    def make_apikey(
        self,
        name: str,
        *,
        client: ClientRecord | None = None,
        user: str | None = None,
        scopes: frozenset[str] | None = None,
        days: int = DEFAULT_DAYS,
        addresses: tuple[str, ...] = (),
        limits: tuple[str, ...] = (),
    ) -> str:
        """
        An API key called `name`, of a client or of a new one of the same name. It is shown once and kept nowhere in
        clear. Raises: Misuse for what it cannot be.
        """
        with _asked("apikey create"):
            given = self._given("apikey create", scopes) if client is None else scopes or frozenset()
            terms = self._clients.read_terms(given, addresses, limits)
            if client is None:
                return _run(self._clients.make_client(name, user, terms, days))
            # What is not said is not judged: the client may have a scope that no rule names any more.
            terms = terms._replace(scopes=client.scopes) if scopes is None else terms
            return _run(self._clients.make_apikey(client.stored, name, terms, days))

    def rotate_apikey(
        self, found: ApiKeyRecord, *, days: int = DEFAULT_DAYS, overlap_seconds: int | None = None
    ) -> str:
        """
        A new secret for an API key; the one so far goes on for the overlap (`rotation_overlap`). Raises: Misuse for
        one that has ended.
        """
        with _asked("apikey rotate"):
            return _run(self._clients.rotate(found, days, overlap_seconds=overlap_seconds))

    def revoke_apikey(self, found: ApiKeyRecord) -> bool:
        """Ends an API key for ever, at once."""
        return _run(self._clients.revoke(found))

    def find_apikey(self, secret: str) -> ApiKeyRecord | None:
        """The API key that has or had this secret, in whatever state."""
        return _run(self._clients.find(secret))

    def apikeys(self, client: str | None = None) -> list[ApiKeyRecord]:
        """All API keys, or one client's, oldest first."""
        return _run(self._clients.apikeys(client))

    def bind_client(
        self,
        client: ClientRecord,
        *,
        scopes: frozenset[str] | None = None,
        addresses: tuple[str, ...] | None = None,
        limits: tuple[str, ...] | None = None,
    ) -> bool:
        """Other scopes, addresses or limits for a client, from its next call on; None leaves them. Raises: Misuse."""
        before = client.stored
        with _asked("client bind"):
            terms = self._clients.read_terms(
                scopes or (),
                before.bounds.addresses if addresses is None else addresses,
                tuple(map(written, before.bounds.limits)) if limits is None else limits,
            )
            terms = terms._replace(scopes=before.scopes) if scopes is None else terms
            return _run(self._clients.bind(before, terms))

    def uses(self, client: str | None = None) -> list[Use]:
        """How credentials were used in the last 30 days."""
        return _run(self._clients.uses(client))

    def last_uses(self) -> dict[str, Use]:
        """By credential, the last call that it was good for."""
        return last_uses(self.uses())

    def now(self) -> float:
        """What the deployment's clock says, in Unix seconds."""
        return self._ports.clock.now()

    def keys(self, client: str | None = None) -> list[KeyRecord]:
        """All keys, or one client's, oldest first."""
        return _run(self._ports.directory.keys(client))

    def clients(self) -> list[ClientRecord]:
        """All clients, oldest first."""
        keys: dict[str, list[KeyRecord]] = {}
        for key in self.keys():
            keys.setdefault(key.client, []).append(key)
        bearers: dict[str, list[ApiKeyRecord]] = {}
        for bearer in self.apikeys():
            bearers.setdefault(bearer.client, []).append(bearer)
        return [
            ClientRecord(
                one.id, one.name, one.user, one.scopes, tuple(keys.get(one.id, ())), tuple(bearers.get(one.id, ())), one
            )
            for one in _run(self._clients.clients())
        ]

    def client(self, name: str) -> ClientRecord | None:
        """The client of this id, or the only one of this name. Raises: Misuse if several have the name."""
        every = self.clients()
        found = [each for each in every if each.id == name] or [each for each in every if each.name == name]
        if len(found) > 1:
            raise Misuse(f"{len(found)} clients are called {name}: give the id, {' or '.join(c.id for c in found)}")
        return found[0] if found else None

    def invitations(self, *, waiting: bool = False) -> list[Invitation]:
        """All invitations, spent or not, or those that wait alone; those that end first at the head."""
        return _run(self._clients.invitations() if waiting else self._ports.directory.invitations())

    def end_invitation(self, invitation_id: str) -> bool:
        """Ends an invitation at once, so that it enrols no key; False if none of this id waits."""
        return _run(self._clients.end_invitation(invitation_id))

    def revoke_key(self, keyid: str) -> bool:
        """Ends a key for ever, at once; False if there is none."""
        found = next((key for key in self.keys() if key.keyid == keyid), None)
        if found is None:
            return False
        owner = next(one for one in _run(self._clients.clients()) if one.id == found.client)
        return _run(self._clients.end_key(keyid, owner))

    def revoke_client(self, client: str) -> int:
        """Ends every key and API key of a client; how many were not ended before."""
        found = next((one for one in _run(self._clients.clients()) if one.id == client), None)
        return 0 if found is None else _run(self._clients.end(found))

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

    def _given(self, act: str, scopes: frozenset[str] | None) -> frozenset[str]:
        """In development whoever says nothing means all that there is."""
        if scopes is None and self.settings.environment == "production":
            raise Misuse(f"{act}: --scopes is required in production")
        return self._clients.scopes if scopes is None else scopes


@contextlib.contextmanager
def _asked(act: str) -> Iterator[None]:
    try:
        yield
    except ValueError as why:
        raise Misuse(f"{act}: {why}") from None


def _run(act: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(act)
