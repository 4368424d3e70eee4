"""
Settings to a wired Guard: the only file that knows rooms and adapters.

Owns: which adapter stands behind which port, and that every one of them works before the first call is taken.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sealwire.call import Rule
from sealwire.clock import SystemClock, synchronised
from sealwire.config import NoticeTable, Settings, policy_version
from sealwire.desk import Desk
from sealwire.endpoints import BASE, Endpoints, Published, endpoint_rules
from sealwire.errors import Misuse
from sealwire.guard import Deployment, Guard
from sealwire.keys.file import FileKeyring, is_development, read_private
from sealwire.named import find
from sealwire.observers.notice import LoggedNotices, MailedNotices
from sealwire.observers.tally import Tally
from sealwire.observers.together import Together
from sealwire.observers.usage import Usage
from sealwire.pipeline import Failures, build_pipeline
from sealwire.ports import BucketStore, Clock, Directory, Entropy, Keyring, Ledger, NonceStore, Observer, SessionStore
from sealwire.ports.apikeys import ApiKeys, Uses
from sealwire.ports.people import Approvals, Factors, Notices
from sealwire.protocol import servernonce
from sealwire.protocol.message import normal_authority
from sealwire.protocol.ratelimit import parse_own
from sealwire.routes import Routes
from sealwire.sessions import DEFAULT_TERMS, SessionEndpoints, SessionTerms, session_rules
from sealwire.stores.memory import MemoryBuckets, MemoryNonces, MemorySessions
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_approvals import SqliteApprovals
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_fast import SqliteFast
from sealwire.stores.sqlite_file import SqliteFile
from sealwire.stores.sqlite_sessions import SqliteSessions

_LOG = logging.getLogger("sealwire.build")
_FAILURES = Failures()


class Ports(NamedTuple):
    """
    Everything a guard asks of the world, open. `close` writes what waits and closes it; the guard's own does so too,
    and a second time nothing happens.
    """

    directory: Directory
    ledger: Ledger
    nonces: NonceStore
    sessions: SessionStore
    buckets: BucketStore
    keyring: Keyring
    clock: Clock
    entropy: Entropy
    close: Callable[[], None]
    approvals: Approvals
    factors: Factors
    notices: Notices
    apikeys: ApiKeys
    uses: Uses


def open_ports(settings: Settings, fast_file: Path | None = None) -> Ports:
    """
    The adapters that the settings name. `fast_file` is the fast store that the parent of several workers made.

    Raises: Misuse.
    """
    if settings.environment == "production":
        _refuse_development_keys(settings)
    clock, entropy = SystemClock(), os.urandom
    keyring = FileKeyring(settings.resolve(settings.keys.signing), settings.resolve(settings.keys.wrapping), entropy)
    file = SqliteFile(settings.resolve(settings.store.durable))
    nonces: NonceStore
    sessions: SessionStore
    buckets: BucketStore
    closers = [file.close]
    if fast_file is None:
        nonces, buckets = MemoryNonces(clock, entropy, settings.live_nonces), MemoryBuckets(clock)
        sessions = MemorySessions(clock)
    else:
        nonces = buckets = fast = SqliteFast(fast_file, clock, settings.live_nonces)
        sessions = SqliteSessions(fast_file, clock, entropy)
        closers += (fast.close, sessions.close)

    def close() -> None:
        for closer in closers:
            closer()

    directory, ledger, people = SqliteDirectory(file), SqliteLedger(file, clock), SqliteApprovals(file, clock)
    apikeys = SqliteApiKeys(file)
    notices: Notices = LoggedNotices()
    if settings.notice is not None:
        notices = mailed = _mailed(settings, settings.notice)
        closers.insert(0, mailed.close)
    return Ports(
        directory, ledger, nonces, sessions, buckets, keyring, clock, entropy, close, people, people, notices,
        apikeys, apikeys,
    )  # fmt: skip


def _mailed(settings: Settings, notice: NoticeTable) -> MailedNotices:
    """Raises: Misuse for a password that cannot be read."""
    login = None
    if notice.password:
        try:
            login = (notice.user, read_private(settings.resolve(notice.password)).decode("utf-8").strip())
        except (Misuse, UnicodeDecodeError) as why:
            raise Misuse(f"notice.password: {why}") from None
    scheme, _, place = notice.smtp.partition("://")
    host, _, port = place.rpartition(":")

    def address(user: str) -> str | None:
        found = find(settings.path.parent, "notice.address", notice.address)(user)
        return None if found is None else str(found)

    return MailedNotices((host.strip("[]"), int(port), scheme == "smtps"), notice.sender, address, login)


def build_guard(settings: Settings, ports: Ports, observers: tuple[Observer, ...] = ()) -> Guard:
    """The guard of these settings over these ports. Raises: Misuse."""
    judge_clock(settings, synchronised=synchronised())
    return wire(
        settings.rules_compiled(),
        Deployment(
            origin=settings.public_origins[0],
            authorities=frozenset(authority(origin) for origin in settings.public_origins),
            policy=policy_version(settings.path),
            external_prefix=settings.external_prefix.encode("ascii"),
            health=settings.health,
            most_calls=settings.limits.calls,
        ),
        ports,
        failures=Failures(
            parse_own(settings.limits.failures_per_address, "address"),
            parse_own(settings.limits.failures_per_key, "key"),
        ),
        rotation_overlap_seconds=settings.rotation_overlap,
        session_terms=SessionTerms(settings.sessions.lifetime, settings.sessions.max_requests),
        line_fingerprints=settings.line_fingerprints,
        pages=settings.pages.origin if settings.pages is not None else "",
        observers=observers,
    )


def judge_clock(settings: Settings, *, synchronised: bool | None) -> None:
    """Production serves with a clock that something keeps. Raises: Misuse."""
    if settings.environment != "production" or settings.clock_kept_by or synchronised:
        return
    if synchronised is None:
        _LOG.warning("cannot tell whether anything keeps this host's clock: the kernel does not answer")
        return
    raise Misuse(
        "clock_kept_by: the kernel says that nothing keeps this host's clock; run a time service (chrony,"
        " systemd-timesyncd), or name what keeps it"
    )


def _refuse_development_keys(settings: Settings) -> None:
    uris = {"keys.signing": settings.keys.signing, "keys.wrapping": settings.keys.wrapping}
    if settings.tls is not None:
        uris["tls.key"] = settings.tls.key
    for key, uri in uris.items():
        if is_development(file := settings.resolve(uri)):
            raise Misuse(f'{key}: "{file.name}" is a development key; production needs one of its own')


def wire(
    rules: tuple[Rule, ...],
    deployment: Deployment,
    ports: Ports,
    *,
    rotation_overlap_seconds: int = 86_400,
    session_terms: SessionTerms = DEFAULT_TERMS,
    line_fingerprints: bool = True,
    failures: Failures = _FAILURES,
    pages: str = "",
    observers: tuple[Observer, ...] = (),
) -> Guard:
    """A guard from its parts. Raises: Misuse for rules that cannot stand together."""
    for rule in rules:
        if rule.template.startswith(BASE):
            raise Misuse(f'rules: path = "{rule.template}" is below {BASE}, which the guard serves itself')
        whole = rule.approve is not None and rule.idempotency_required and not (rule.observe or rule.session_mac)
        if rule.profile == "critical" and not whole:
            raise Misuse(
                f'rules: path = "{rule.template}" is critical: it has terms of approval, its calls have an idempotency'
                " key, and it is neither observed nor signed by a session"
            )
    published = Published(
        deployment.origin, rules, rotation_overlap_seconds, deployment.external_prefix.decode("ascii")
    )
    endpoints = Endpoints(published, ports.directory, ports.keyring, ports.clock, ports.entropy)
    table, own = endpoints.table(), endpoint_rules()
    if published.seals():
        # Sessions are offered where some rule takes them, and are not there otherwise.
        table |= SessionEndpoints(session_terms, ports.sessions, ports.clock, ports.entropy).table()
        own += session_rules()
    desk = Desk(ports.approvals, ports.keyring, ports.entropy, ports.notices, pages)
    pipeline = build_pipeline(
        directory=ports.directory,
        nonces=ports.nonces,
        sessions=ports.sessions,
        buckets=ports.buckets,
        ledger=ports.ledger,
        keyring=ports.keyring,
        entropy=ports.entropy,
        desk=desk,
        apikeys=ports.apikeys,
        failures=failures,
        line_fingerprints=line_fingerprints,
    )
    tally, usage = Tally(ports.ledger), Usage(ports.uses)
    together = Together((*observers, tally, usage))

    def issue_nonce(keyid: str) -> str:
        random = ports.entropy(servernonce.RANDOM_BYTES)
        return servernonce.issue(ports.nonces.secret, int(ports.clock.now() * 1000), random, keyid)

    async def closing() -> None:
        try:
            together.flush()
            await tally.flush()
            await usage.flush()
        finally:
            ports.close()

    return Guard(
        deployment,
        Routes((*rules, *own)),
        pipeline,
        table,
        ledger=ports.ledger,
        keyring=ports.keyring,
        clock=ports.clock,
        entropy=ports.entropy,
        issue_nonce=issue_nonce,
        observer=together,
        desk=desk,
        closing=closing,
    )


def authority(origin: str) -> str:
    """The authority of an origin, as Host is compared with it."""
    return normal_authority(origin.partition("://")[2])
