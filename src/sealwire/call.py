"""
A call on its way through the house: the request, the moment, and the evidence so far.

Owns: the evidence types. Each is made by exactly one stage when its check passed, and is handed on read-only; the guard
compares the evidence held with the evidence demanded just before the app runs.
Refuses to know: how any evidence is earned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol, TypeVar

from sealwire.errors import Refusal
from sealwire.protocol.approval import Sentence, Shown
from sealwire.protocol.envelope import Envelope
from sealwire.protocol.handshake import Keys
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.message import Reply, Request
from sealwire.protocol.profile import Claim
from sealwire.protocol.ratelimit import Limit, Spent
from sealwire.records import Bounds, KeyRecord

E = TypeVar("E")


class Get(Protocol):
    """The evidence of one kind. Raises: KeyError if the stage that earns it has not run: a wiring mistake."""

    def __call__(self, kind: type[E], /) -> E:
        """As above."""


#: Reads the next part of the body: its bytes, and whether more follow. Raises ClientGone.
Receive = Callable[[], Awaitable[tuple[bytes, bool]]]


#: Waits for the peer, and holds no place meanwhile that another call could use.
Outside = Callable[[Awaitable[None]], Awaitable[None]]


class ClientGone(Exception):
    """The connection closed before the body was whole: there is nobody to answer."""


class Session(NamedTuple):
    """
    A session as the store knows it: the signing key that opened it, when it was opened and its end in Unix seconds, how
    many messages it may carry, and its keys, which `repr` does not show.
    """

    id: str
    keyid: str
    expires_at: int
    max_requests: int
    keys: Keys
    opened_at: float = 0


class Approval(NamedTuple):
    """
    One person's yes or no to one call. `binding` are keyed digests of what it is bound to (`protocol/approval.PARTS`),
    `shown` the sentence, wrapped by the key home, `factors` the kinds that may approve it, `address` where the call
    came from. Times are Unix seconds.
    """

    id: str
    client: str
    client_name: str
    user: str
    key: str
    binding: tuple[bytes, ...]
    shown: bytes
    template: str
    factors: tuple[str, ...]
    address: str
    asked_at: float
    expires_at: float
    state: str = "pending"
    decided_at: float = 0
    how: str = ""  # the kind of factor that approved it

    def state_at(self, now: float) -> str:
        """Its state, where one that can still change counts as expired once its time is over."""
        return "expired" if self.state in ("pending", "approved") and now >= self.expires_at else self.state

    def __repr__(self) -> str:
        return f"Approval({self.id}, {self.state})"


class Approve(NamedTuple):
    """
    What a critical rule wants approved: the sentence that is shown (None: the app asks, call by call), the kinds of
    factors that count, and for how long a question stands.
    """

    show: Sentence | None = None
    factors: tuple[str, ...] = ("totp", "hotp")
    within_seconds: int = 600


class Rule(NamedTuple):
    """
    One rule of the policy, as the stages see it. `template` is its name everywhere; paths themselves are never logged.

    `max_age_seconds` is how old a signature may be, `max_body_bytes` what a body may weigh, `fresh` demands a server
    nonce, `session_mac` lets a session's key sign in place of the client's, `clear_query` are the parameters that a
    sealed call may show, `fast_replay` gives up the durable claim of unsafe methods, `exact` opts out of the check
    against lax upstreams.
    """

    template: str
    methods: frozenset[str]
    profile: str
    observe: bool = False
    scopes: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()
    content_types: frozenset[str] = frozenset(("application/json",))
    headers: frozenset[bytes] = frozenset()
    max_age_seconds: int = 60
    max_body_bytes: int = 1_048_576
    fresh: bool = False
    fast_replay: bool = False
    idempotency_required: bool = False
    stream: bool = False
    exact: bool = False
    slash_ok: str = ""
    session_mac: bool = False
    clear_query: frozenset[str] = frozenset()
    because: str = ""
    approve: Approve | None = None

    @property
    def seals(self) -> bool:
        """True if its calls are sealed, under a session."""
        return self.profile in ("sealed", "critical")

    def takes(self, content_type: bytes) -> bool:
        """True for a media type of `content_types`, bare or with `charset=utf-8` alone (RFC 9110 section 8.3.1)."""
        text = content_type.decode("latin-1")
        if text in self.content_types:
            return True
        text = text.lower()
        kind, semicolon, parameter = text.partition(";")
        if semicolon and parameter.strip().replace('"', "") != "charset=utf-8":
            return text in self.content_types
        return kind.strip() in self.content_types


def may_sign(session: Session | None, rule: Rule) -> Session:
    """The session, if its key may sign under this rule. Raises: key-unknown, algorithm-not-allowed."""
    if session is None:
        raise Refusal("key-unknown", "session", failed="key")
    if not rule.session_mac:
        raise Refusal("algorithm-not-allowed", "session-mac", failed="algorithm")
    return session


class AddressSpent(NamedTuple):
    """
    The limits that need no proof, by address and of the whole rule, have room for this call. They took it where nothing
    is proven later; else (`later`) they are charged with the caller's, in one step.
    """

    spent: tuple[Spent, ...]
    later: bool = False


class Admitted(NamedTuple):
    """The head alone is acceptable to the rule: method, media type, declared size."""


class Proof(NamedTuple):
    """
    A signature verified: this key signed these components within its window. `last_valid` is the instant from which the
    message is no longer valid, `remember_seconds` how much longer its nonce is kept.
    """

    claim: Claim
    key: KeyRecord | None  # None: the authorising signature was an invitation's
    last_valid: float
    remember_seconds: int
    invitation: str = ""
    session: Session | None = None  # its key signed, in place of the client's

    @property
    def keyid(self) -> str:
        """Who signed: the thumbprint, the session's id, or the invitation's."""
        return self.claim.keyid


class Body(NamedTuple):
    """The whole body, within its cap; under a signature its digest held. `repr` shows its size alone."""

    content: bytes

    def __repr__(self) -> str:
        return f"Body({len(self.content)} bytes)"


class Possession(NamedTuple):
    """The new key signed the very message that offers it."""

    claim: Claim
    verifier: Verifier


class FirstSeen(NamedTuple):
    """The nonce was claimed: no other message with it is accepted."""


class Caller(NamedTuple):
    """
    Who calls. `user` is whose account is acted on, where there is one. `assurance` says how it is known: by a
    `signature`, or by an `api-key` alone, which whoever reads it can send. `key` is what proved it, `apikey` the id of
    the API key that came with the call.
    """

    client: str
    user: str | None
    scopes: frozenset[str]
    key: str
    assurance: str
    client_name: str = ""
    bounds: tuple[Bounds, ...] = ()
    apikey: str = ""


class CallerSpent(NamedTuple):
    """All limits took this call: of address, rule, key, client and user, and the client's own, in one step."""

    spent: tuple[Spent, ...]


class StillGood(NamedTuple):
    """The API key was good when the body was whole, too."""


class Allowed(NamedTuple):
    """The client has the rule's scopes, and the address is one of its own."""


class InSession(NamedTuple):
    """The session that the call names is its caller's and not over; this message is counted. `sealed` is its body."""

    session: Session
    sealed: Envelope | None


class Plain(NamedTuple):
    """A sealed call opened: the content, and its media type as the sender sealed it; both empty without a body."""

    content: bytes
    content_type: bytes

    def __repr__(self) -> str:
        return f"Plain({len(self.content)} bytes)"


class Valid(NamedTuple):
    """The content is acceptable: strict JSON where JSON was announced."""


class Idempotent(NamedTuple):
    """
    What the idempotency key says: none was sent (`key` is empty), it is fresh, or `stored` holds the answer given
    before.

    `key` and `fingerprint` are keyed digests: neither the key nor the content is kept.
    """

    scope: str
    key: bytes
    fingerprint: bytes
    stored: Reply | None


class Assured(NamedTuple):
    """
    What a person has to say to this call was said: `approval` fits it and is approved, `shown` is its sentence. None
    where the rule asks for none, or the call was answered before. It is used up in the decision's transaction.
    """

    approval: Approval | None = None
    shown: Shown | None = None


Evidence = (
    AddressSpent
    | Admitted
    | Proof
    | Body
    | Possession
    | FirstSeen
    | Caller
    | CallerSpent
    | Allowed
    | StillGood
    | InSession
    | Plain
    | Valid
    | Idempotent
    | Assured
)


class Call:
    """
    One call: its request, its rule, the one reading of the clock (`now`, Unix seconds) and the evidence so far.

    `held` is a read-only view of it, and `get` reads from it; only the guard adds to what is behind them.
    """

    __slots__ = ("address", "get", "held", "now", "outside", "receive", "request", "request_id", "rule")
    get: Get

    def __init__(
        self,
        request: Request,
        rule: Rule,
        now: float,
        request_id: str,
        address: str,
        receive: Receive,
        held: dict[type, Evidence],
        outside: Outside | None = None,
    ) -> None:
        self.request = request
        self.rule = rule
        self.now = now
        self.request_id = request_id
        self.address = address
        self.receive = receive
        self.held: Mapping[type, Evidence] = MappingProxyType(held)
        self.get = held.__getitem__  # type: ignore[assignment]  # the guard holds evidence under its own type
        self.outside = outside

    def content(self) -> bytes:
        """What the caller says, in clear: opened if it was sealed."""
        return self.get(Plain).content if Plain in self.held else self.get(Body).content

    def content_type(self) -> bytes | None:
        """The media type of `content`, None where nothing was said of it."""
        return self.get(Plain).content_type if Plain in self.held else self.request.fields.get(b"content-type")


class Outcome(NamedTuple):
    """
    What became of one call, for those who observe. `code` is `ok` or the ledger's code of the problem; `recorded` says
    that it has a row of its own in the ledger.
    """

    request_id: str
    at: float
    template: str
    method: str
    status: int
    code: str
    decision: str  # entered, repeated, refused, failed, observed
    client: str
    user: str
    key: str
    address: str
    duration_seconds: float
    skew_seconds: float | None
    recorded: bool
    apikey: str = ""  # the API key that came with it, its own or beside a signature
    claimed: str = ""  # the key of ours that a refused call named and did not prove
    near: str = ""  # a limit of the caller's of which less than a tenth is left
