"""
The page: which checks a call of each profile goes through, in which order, and what it must hold before the app runs.

Why this order: cheap and anonymous before cryptography and before a byte of body; the nonce after signature and
digest, so strangers cannot burn nonces; limits are looked at before everything, so a spent one costs nothing, and
charged after the nonce, so a replay spends nothing of the victim's; idempotency last, when everything it is scoped by
is proven. What is earned (ROWS) and what is demanded (DEMANDS) are written apart on purpose: a row deleted by mistake
cannot delete the demand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from sealwire.call import (
    AddressSpent,
    Admitted,
    Allowed,
    Assured,
    Body,
    Call,
    Caller,
    CallerSpent,
    Evidence,
    FirstSeen,
    Idempotent,
    InSession,
    Plain,
    Possession,
    Proof,
    StillGood,
    Valid,
)
from sealwire.credentials import Credentials
from sealwire.desk import Desk
from sealwire.errors import Misuse, Problem
from sealwire.ports import BucketStore, Directory, Entropy, Keyring, Ledger, NonceStore, SessionStore
from sealwire.ports.apikeys import ApiKeys
from sealwire.protocol.envelope import Headers
from sealwire.protocol.message import Reply
from sealwire.protocol.ratelimit import Limit
from sealwire.stages.admit import Admit
from sealwire.stages.authenticate import Authenticate, AuthenticateBearer
from sealwire.stages.authorize import Authorize
from sealwire.stages.body import ReadBody
from sealwire.stages.harden import Harden
from sealwire.stages.idempotency import Idempotency
from sealwire.stages.nonce import ClaimNonce
from sealwire.stages.permit import Permit
from sealwire.stages.possess import Possess
from sealwire.stages.refused import CountRefused
from sealwire.stages.seal import Seal
from sealwire.stages.session import JoinSession
from sealwire.stages.sign import Sign
from sealwire.stages.step_up import StepUp
from sealwire.stages.still import Still
from sealwire.stages.throttle import ThrottleAddress, ThrottleCaller
from sealwire.stages.unseal import Unseal
from sealwire.stages.validate import Validate
from sealwire.stages.verify import Verify


class Stage(Protocol):
    """Earns one piece of evidence for a call. Raises: Problem."""

    async def __call__(self, call: Call) -> Evidence:
        """As above."""


class ReplyStage(Protocol):
    """Makes a reply into the one that goes on. Raises: Problem."""

    async def __call__(self, call: Call, reply: Reply) -> Reply:
        """As above."""


PROFILES = ("open", "keyed", "signed", "sealed", "critical", "published", "enrolment")

#: What a rule of a policy may name; `published` and `enrolment` are the guard's own well-known endpoints.
RULE_PROFILES = ("open", "keyed", "signed", "sealed", "critical")

# fmt: off
ROWS: tuple[tuple[str, str], ...] = (
    #                      open keyed signed sealed critical published enrolment
    ("throttle address",   "x    -     -      -      -        x         x"),
    ("look at limits",     "-    x     x      x      x        -         -"),
    ("admit",              "x    x     x      x      x        x         x"),
    ("verify",             "-    -     x      x      x        -         -"),
    ("permit",             "-    -     -      -      -        -         x"),
    ("body",               "-    -     x      x      x        -         x"),
    ("possess",            "-    -     -      -      -        -         x"),
    ("nonce",              "-    -     x      x      x        -         x"),
    ("authenticate",       "-    -     x      x      x        -         -"),
    ("bearer",             "-    x     -      -      -        -         -"),
    ("throttle caller",    "-    x     x      x      x        -         -"),
    ("authorize",          "-    x     x      x      x        -         -"),
    ("body",               "x    x     -      -      -        x         -"),
    ("still good",         "-    x     -      -      -        -         -"),
    ("session",            "-    -     -      x      x        -         -"),
    ("unseal",             "-    -     -      x      x        -         -"),
    ("validate",           "x    x     x      x      x        x         x"),
    ("idempotency",        "-    -     x      x      x        -         -"),
    ("step up",            "-    -     -      -      x        -         -"),
    # the decision is recorded, then the app runs
)
REPLY_ROWS: tuple[tuple[str, str], ...] = (
    ("harden",             "x    x     x      x      x        x         x"),
    ("seal",               "-    -     -      x      x        -         -"),
    ("sign",               "-    -     x      x      x        x         x"),
)
# fmt: on

_OPEN = frozenset((AddressSpent, Admitted, Body, Valid))
_KEYED = _OPEN | {Caller, CallerSpent, Allowed}
_SIGNED = _KEYED | {Proof, FirstSeen, Idempotent}
_SEALED = _SIGNED | {InSession, Plain}

DEMANDS: Mapping[str, frozenset[type]] = {
    "open": _OPEN,
    "keyed": _KEYED | {StillGood},
    "signed": _SIGNED,
    "sealed": _SEALED,
    "critical": _SEALED | {Assured},
    "published": _OPEN,
    "enrolment": _OPEN | {Proof, Possession, FirstSeen},
}

#: What must stand earlier in a column wherever both stand in it; checked when the page is built.
_BEFORE = (
    ("throttle address", "admit"),
    ("look at limits", "admit"),
    ("admit", "bearer"),
    ("admit", "verify"),
    ("admit", "permit"),
    ("verify", "body"),
    ("permit", "body"),
    ("body", "possess"),
    ("body", "nonce"),
    ("possess", "nonce"),
    ("nonce", "authenticate"),
    ("authenticate", "throttle caller"),
    ("bearer", "throttle caller"),
    ("throttle caller", "authorize"),
    ("bearer", "body"),
    ("body", "still good"),
    ("still good", "validate"),
    ("authorize", "session"),
    ("session", "unseal"),
    ("unseal", "validate"),
    ("body", "validate"),
    ("validate", "idempotency"),
    ("authorize", "idempotency"),
    ("unseal", "step up"),
    ("validate", "step up"),
    ("idempotency", "step up"),
    ("harden", "seal"),
    ("seal", "sign"),
    ("harden", "sign"),
)

#: In observe mode a refusal by one of these is logged, and the app is entered without a caller.
OBSERVED = frozenset(
    (
        "verify",
        "body",
        "nonce",
        "authenticate",
        "bearer",
        "still good",
        "throttle caller",
        "authorize",
        "session",
        "unseal",
        "validate",
        "idempotency",
    )
)


class Failures(NamedTuple):
    """How many failed credentials an address, and how many that named one key, are told more than rate-limited."""

    per_address: Limit = Limit(300, 60, "address")
    per_key: Limit = Limit(300, 60, "key")


class Pipeline(NamedTuple):
    """The page, wired: by profile the stages with their names, the reply stages, and what counts refused calls."""

    stages: Mapping[str, tuple[tuple[str, Callable[[Call], Awaitable[Evidence]]], ...]]
    replies: Mapping[str, tuple[Callable[[Call, Reply], Awaitable[Reply]], ...]]
    count_refused: Callable[[Call, Problem | None], Awaitable[None]]


def build_pipeline(
    *,
    directory: Directory,
    nonces: NonceStore,
    sessions: SessionStore,
    buckets: BucketStore,
    ledger: Ledger,
    keyring: Keyring,
    entropy: Entropy,
    desk: Desk,
    apikeys: ApiKeys,
    failures: Failures,
    line_fingerprints: bool,
) -> Pipeline:
    """The page with its ports. Raises: Misuse if a column's order is broken."""
    headers, credentials = Headers(), Credentials(apikeys, keyring)
    made: dict[str, Stage] = {
        "throttle address": ThrottleAddress(buckets, later=False),
        "look at limits": ThrottleAddress(buckets, later=True),
        "admit": Admit(),
        "verify": Verify(directory, nonces, sessions, buckets if line_fingerprints else None, entropy),
        "permit": Permit(directory, nonces, keyring, entropy),
        "body": ReadBody(),
        "possess": Possess(),
        "nonce": ClaimNonce(nonces),
        "authenticate": Authenticate(directory, credentials),
        "bearer": AuthenticateBearer(credentials),
        "still good": Still(credentials),
        "throttle caller": ThrottleCaller(buckets),
        "authorize": Authorize(),
        "session": JoinSession(sessions, headers),
        "unseal": Unseal(headers),
        "validate": Validate(),
        "idempotency": Idempotency(ledger, keyring),
        "step up": StepUp(desk),
    }
    replies: dict[str, ReplyStage] = {"harden": Harden(), "seal": Seal(entropy), "sign": Sign(keyring)}
    columns = {profile: column(ROWS, profile) for profile in PROFILES}
    reply_columns = {profile: column(REPLY_ROWS, profile) for profile in PROFILES}
    for profile in PROFILES:
        check_order(columns[profile] + reply_columns[profile])
    # Bound ahead: what is called by its class costs more each time.
    return Pipeline(
        {profile: tuple((name, made[name].__call__) for name in names) for profile, names in columns.items()},
        {profile: tuple(replies[name].__call__ for name in names) for profile, names in reply_columns.items()},
        CountRefused(buckets, *failures),
    )


def column(rows: tuple[tuple[str, str], ...], profile: str) -> tuple[str, ...]:
    """The names of one profile's column, top to bottom."""
    at = PROFILES.index(profile)
    return tuple(name for name, marks in rows if marks.split()[at] == "x")


def check_order(names: tuple[str, ...]) -> None:
    """Raises: Misuse if two stages of a column stand in the wrong order, or one stands twice."""
    if len(set(names)) != len(names):
        raise Misuse("pipeline: a stage stands twice in one column")
    for first, second in _BEFORE:
        if first in names and second in names and names.index(first) > names.index(second):
            raise Misuse(f"pipeline: {first} must come before {second}")
