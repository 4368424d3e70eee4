"""
What is done about the programs that call: invited, given API keys, held closer, ended. For the operator and for their
own user alike; who may do what behind which factor, the pages and the operator's tools decide.

Owns: how invitations and API keys are made, what may be asked of one, and what counts as giving more. Refuses to know:
terminals, pages.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from sealwire.build import Ports
from sealwire.config import Settings, policy_version
from sealwire.credentials import digest_of
from sealwire.ports import Decision, Invitation
from sealwire.ports.apikeys import APIKEY_PREFIX, Client, NewApiKey, Use
from sealwire.ports.people import Notice
from sealwire.protocol import apikey
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.jwk import b64url
from sealwire.protocol.ratelimit import Limit, parse_own
from sealwire.records import ApiKeyRecord, Bounds

#: How long an API key lives unless its maker says otherwise, and at most.
DEFAULT_DAYS, MOST_DAYS = 90, 365
#: Live API keys of one client, and clients of one user.
MOST_APIKEYS, MOST_CLIENTS = 20, 100
_DAY = 86_400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ID_BYTES, _SECRET_BYTES = 12, 32
_MOST_ENTRIES = 20
#: Why an API key is not rotated.
ENDED = "an API key that has ended is not rotated; make a new one"
_FROZEN = "its user froze this client; only the operator can let it go on: sealwire client thaw"


class Who(NamedTuple):
    """Who does it and from where, for the record: `operator` or `user`."""

    by: str
    address: str


OPERATOR = Who("operator", "local")


class Terms(NamedTuple):
    """What a credential may do: scopes, the networks it calls from, limits of its own; each may be empty."""

    scopes: frozenset[str]
    addresses: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()

    def bounds(self, owner: str) -> Bounds:
        """The part of it that is no scope."""
        return Bounds(owner, self.addresses, self.limits)

    def widens(self, before: Terms) -> bool:
        """Whether it lets anything through that `before` did not."""
        return not (
            self.scopes <= before.scopes
            and _inside(self.addresses, before.addresses)
            and all(any(_tighter(mine, one) for mine in self.limits) for one in before.limits)
        )


class Clients:
    """
    Over the ports of one deployment. Each act is one durable write with its decision, and its user is told of new
    credentials. Raises: ValueError, in one sentence for whoever asked. Faults: store-unavailable, custody-unavailable.
    """

    def __init__(self, settings: Settings, ports: Ports) -> None:
        self._ports = ports
        self._mode = "live" if settings.environment == "production" else "test"
        self._policy = policy_version(settings.path)
        self._overlap_seconds = settings.rotation_overlap
        self.scopes = frozenset[str]().union(*(rule.scopes for rule in settings.rules_compiled()))
        offered = None if settings.pages is None else settings.pages.scopes
        every = self.scopes if settings.environment == "development" else frozenset[str]()
        #: What users may give their own programs.
        self.offered = every if offered is None else frozenset(offered)

    def read_terms(self, scopes: Iterable[str], addresses: Iterable[str] = (), limits: Iterable[str] = ()) -> Terms:
        """Terms from what was typed. Raises: ValueError, naming the nearest right one."""
        wanted, found = frozenset(scopes), tuple(dict.fromkeys(map(_network, addresses)))
        for scope in sorted(wanted - self.scopes):
            near = difflib.get_close_matches(scope, self.scopes, 1)
            known = f'did you mean "{near[0]}"?' if near else f"rules name {', '.join(sorted(self.scopes)) or 'none'}"
            raise ValueError(f"no rule names the scope {scope}; {known}")
        own = tuple(dict.fromkeys(parse_own(limit, "own") for limit in limits))
        if len({limit.period_seconds for limit in own}) < len(own):
            raise ValueError("two limits count over the same time; say the smaller one")
        if max(len(found), len(own)) > _MOST_ENTRIES:
            raise ValueError(f"at most {_MOST_ENTRIES} addresses and {_MOST_ENTRIES} limits can be given")
        return Terms(wanted, found, own)

    async def clients(self, user: str | None = None) -> list[Client]:
        """A user's clients, or everybody's, oldest first."""
        return await self._ports.apikeys.clients(user)

    async def apikeys(self, client: str | None = None) -> list[ApiKeyRecord]:
        """A client's API keys, or everybody's, oldest first."""
        return await self._ports.apikeys.apikeys(client)

    async def find(self, secret: str) -> ApiKeyRecord | None:
        """The API key that has or had this secret, in whatever state."""
        return await self._ports.apikeys.apikey(digest_of(self._ports.keyring, secret.encode("utf-8")))

    async def uses(self, client: str | None = None) -> list[Use]:
        """How credentials were used in the last 30 days."""
        return await self._ports.uses.uses(client)

    async def invite(self, name: str, user: str | None, terms: Terms, hours: int, who: Who = OPERATOR) -> str:
        """An invitation for a new client. It is kept nowhere in clear."""
        _judge_name(name)
        await self._judge_room(user)
        ports, now = self._ports, self._ports.clock.now()
        invitation_id, secret = b64url(ports.entropy(_ID_BYTES)), b64url(ports.entropy(_SECRET_BYTES))
        hmac_key = hashlib.sha256(secret.encode("ascii")).digest()
        wrapped = ports.keyring.wrap(hmac_key, b"invitation " + invitation_id.encode("ascii"))
        invitation = Invitation(
            invitation_id, name, "", user, terms.scopes, terms.addresses, wrapped, now + hours * 3600,
            limits=terms.limits,
        )  # fmt: skip
        await ports.directory.add_invitation(invitation, self._decision("invited", who, "", user or "", ""))
        self._tell(
            user,
            "invited",
            f"An invitation of “{name}” was made: whoever has it can enrol one key, which your page shows.",
        )
        return f"sw_{self._mode}_inv_{invitation_id}.{secret}.{ports.keyring.verifier.keyid}"

    async def invitations(self, user: str | None = None) -> list[Invitation]:
        """A user's invitations that wait, or everybody's, those that end first at the head."""
        now = self._ports.clock.now()
        return [one for one in await self._ports.directory.invitations(user) if one.waits_at(now)]

    async def end_invitation(self, invitation_id: str, user: str | None = None, who: Who = OPERATOR) -> bool:
        """Ends an invitation that waits, of this user or of anybody, at once; False if there is none such."""
        found = await self._ports.directory.invitation(invitation_id)
        if found is None or user not in (None, found.user):
            return False
        decision = self._decision("invitation-ended", who, found.client, found.user or "", found.id)
        return await self._ports.directory.end_invitation(found.id, decision)

    async def room_for(self, name: str, user: str | None, days: int, client: Client | None = None) -> None:
        """Asked before a code is used up for a new client or an API key of `client`. Raises: ValueError."""
        _judge_name(name)
        judge_days(days)
        if client is None:
            await self._judge_room(user)
        elif await self._is_frozen(client.id):
            raise ValueError(_FROZEN)
        elif await self._live(client) >= MOST_APIKEYS:
            raise ValueError(f"a client has at most {MOST_APIKEYS} API keys; end one first")

    async def make_client(self, name: str, user: str | None, terms: Terms, days: int, who: Who = OPERATOR) -> str:
        """A new client with nothing but an API key, which is shown once."""
        await self.room_for(name, user, days)
        now = self._ports.clock.now()
        client_id = identifier("cli", int(now * 1000), self._ports.entropy(RANDOM_BYTES))
        client = Client(name, user, terms.scopes, terms.bounds(client_id), now)
        return await self._make(client, name, Terms(terms.scopes), days, who, new=True)

    async def make_apikey(self, client: Client, name: str, terms: Terms, days: int, who: Who = OPERATOR) -> str:
        """One more API key of a client, with scopes of the client's alone; it is shown once."""
        await self.room_for(name, client.user, days, client)
        if beyond := terms.scopes - client.scopes:
            raise ValueError(f"the client itself has no scope {min(beyond)}")
        return await self._make(client, name, terms, days, who, new=False)

    async def rotate(
        self, found: ApiKeyRecord, days: int, who: Who = OPERATOR, overlap_seconds: int | None = None
    ) -> str:
        """A new secret, shown once; the one so far goes on for the overlap. Raises: ValueError if it has ended."""
        judge_days(days)
        overlap = self._overlap_seconds if overlap_seconds is None else overlap_seconds
        written, digest = self._draw()
        decision = self._decision("apikey-rotated", who, found.client, found.user or "", found.id)
        expires_at = decision.at + days * _DAY
        if not await self._ports.apikeys.rotate_apikey(found.id, digest, overlap, expires_at, decision):
            raise ValueError(ENDED)
        self._tell(found.user, "apikey-rotated", f"The API key “{found.name}” got a new secret.")
        return written

    async def revoke(self, found: ApiKeyRecord, who: Who = OPERATOR) -> bool:
        """Ends an API key at once and for ever."""
        decision = self._decision("apikey-revoked", who, found.client, found.user or "", found.id)
        return await self._ports.apikeys.revoke_apikey(found.id, decision)

    async def bind(self, client: Client, terms: Terms, who: Who = OPERATOR) -> bool:
        """
        Other scopes, addresses and limits for a client, from its next call on; False if there is none. Raises:
        ValueError if it was changed since it was read: what was judged then is not what this would replace.
        """
        decision = self._decision("client-bound", who, client.id, client.user or "", "")
        if not await self._ports.apikeys.bind_client(terms.scopes, terms.bounds(client.id), decision, client):
            if any(one.id == client.id for one in await self.clients(client.user)):
                raise ValueError("it was changed meanwhile, and nothing was changed now; look at it again")
            return False
        if terms.widens(terms_of(client.scopes, client.bounds)):
            self._tell(client.user, "client-widened", f"Your client “{client.name}” may do more than before.")
        return True

    async def end_key(self, keyid: str, client: Client, who: Who = OPERATOR) -> bool:
        """Ends one public key of a client at once and for ever."""
        decision = self._decision("key-revoked", who, client.id, client.user or "", keyid)
        return await self._ports.directory.revoke(keyid, decision)

    async def end(self, client: Client, who: Who = OPERATOR) -> int:
        """Ends every key and API key of a client; how many there were."""
        return await self._ports.directory.revoke_client(
            client.id, self._decision("client-ended", who, client.id, client.user or "", "")
        )

    async def _make(self, client: Client, name: str, terms: Terms, days: int, who: Who, *, new: bool) -> str:
        written, digest = self._draw()
        now = self._ports.clock.now()
        apikey_id = identifier(APIKEY_PREFIX, int(now * 1000), self._ports.entropy(RANDOM_BYTES))
        made = NewApiKey(client.id, name, terms.scopes, terms.bounds(apikey_id), digest, now, now + days * _DAY)
        decision = self._decision("apikey-made", who, client.id, client.user or "", apikey_id)
        if not await self._ports.apikeys.add_apikey(made, client if new else None, decision):
            raise ValueError(_FROZEN)
        self._tell(client.user, "apikey-made", f"The API key “{name}” of “{client.name}” was made.")
        return written

    def _draw(self) -> tuple[str, bytes]:
        written = apikey.write(self._mode, self._ports.entropy(apikey.SECRET_BYTES))
        return written, digest_of(self._ports.keyring, written.encode("ascii"))

    async def _live(self, client: Client) -> int:
        now = self._ports.clock.now()
        return sum(one.state_at(now) == "active" for one in await self.apikeys(client.id))

    async def _is_frozen(self, client: str) -> bool:
        """Whether its user disowned it: a new key would be a way around that."""
        keys, apikeys = await self._ports.directory.keys(client), await self.apikeys(client)
        return "frozen" in {*(key.state for key in keys), *(one.state for one in apikeys)}

    async def _judge_room(self, user: str | None) -> None:
        if user is None:
            return
        living = [one for one in await self.clients(user) if await self._lives(one.id)]
        if len(living) >= MOST_CLIENTS:
            raise ValueError(f"a user has at most {MOST_CLIENTS} clients; end one first")

    async def _lives(self, client: str) -> bool:
        """Whether anything of it is good, or could be again."""
        if any(key.state != "revoked" for key in await self._ports.directory.keys(client)):
            return True
        now = self._ports.clock.now()
        return any(one.state_at(now) in ("active", "frozen") for one in await self.apikeys(client))

    def _tell(self, user: str | None, about: str, text: str) -> None:
        if user is not None:
            text += " If that was not you, end it on your account page, and tell us."
            self._ports.notices.tell(Notice(user, about, "What may call in your name", text))

    def _decision(self, outcome: str, who: Who, client: str, user: str, key: str) -> Decision:
        now = self._ports.clock.now()
        request_id = identifier("req", int(now * 1000), self._ports.entropy(RANDOM_BYTES))
        return Decision(request_id, now, outcome, who.by, client, user, key, who.address, "", "", self._policy)


def terms_of(scopes: frozenset[str], bounds: Bounds) -> Terms:
    """The terms that a client or an API key has."""
    return Terms(scopes, bounds.addresses, bounds.limits)


def _judge_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f'"{name[:100]}" is no name: 1 to 100 of letters, digits, dot, dash, underscore')


def judge_days(days: int) -> None:
    """Whether an API key may live so long. Raises: ValueError."""
    if not 1 <= days <= MOST_DAYS:
        raise ValueError(f"an API key lives for 1 to {MOST_DAYS} days")


def _network(text: str) -> str:
    """A network or one address, as it is kept."""
    said = f'"{text[:60]}" is no address and no network; it is one as in 192.0.2.7 or 2001:db8::/48'
    if "%" in text:
        # The zone of an IPv6 address may hold anything, spaces and other addresses too, and no caller has one.
        raise ValueError(said)
    try:
        found = ipaddress.ip_network(text.strip(), strict=False)
        given = ipaddress.ip_interface(text.strip()).ip
    except ValueError:
        raise ValueError(said) from None
    if given != found.network_address:
        raise ValueError(f'"{text[:60]}" is an address within a network; did you mean "{found}"?')
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        # As callers are known, whatever socket they come by.
        found = ipaddress.IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return str(found)


def _inside(mine: tuple[str, ...], before: tuple[str, ...]) -> bool:
    if not before:
        return True
    around = [ipaddress.ip_network(each) for each in before]
    return bool(mine) and all(any(_within(ipaddress.ip_network(each), one) for one in around) for each in mine)


def _within(one: ipaddress.IPv4Network | ipaddress.IPv6Network, other: object) -> bool:
    if isinstance(one, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and one.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and one.subnet_of(other)


def _tighter(mine: Limit, before: Limit) -> bool:
    return mine.period_seconds == before.period_seconds and mine.quota <= before.quota
