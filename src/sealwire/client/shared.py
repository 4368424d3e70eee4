"""
What every transport is made of: every request signed, every reply proven before anyone sees it.

Owns: what is kept between calls (the inner transport, what is known of the origin), and that threads, tasks and forked
processes do not get into each other's way with it.
Refuses to know: how a call is signed, proven or repeated; that is `conversation`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, cast

import anyio
import httpx2

from sealwire.client.approving import Steps, Way, carry, carry_async
from sealwire.client.credential import Credential
from sealwire.client.errors import ApprovalRequired, CredentialError, ForeignOrigin, SealwireError
from sealwire.client.exchange import Call
from sealwire.client.library import Library, default_extensions
from sealwire.client.origin import KeySet, Origin, origin_of
from sealwire.client.receipt import respond
from sealwire.client.rulebook import RuleBook
from sealwire.client.sealing import DEFAULT_KEMS, Ends, leave
from sealwire.client.sending import drive, drive_async, send, send_async
from sealwire.client.session import Sessions
from sealwire.client.signing import by_key
from sealwire.client.turns import Turns

Verify = ssl.SSLContext | str | Path | None
Inner = TypeVar("Inner")
Response = TypeVar("Response")
#: Closing waits no longer than this for each step of its one request.
_CLOSING_SECONDS = 5.0


class _Process(NamedTuple, Generic[Inner]):
    """What one process keeps between calls."""

    pid: int
    inner: Inner
    origin: Origin
    rules: RuleBook
    sessions: Sessions
    turns: Turns
    heirs: dict[int, _Process[Inner]]


class Signing(Generic[Inner, Response]):
    """
    What the transports share, whatever their HTTP library; each gives it the library's names and its own methods.

    `credential` is a Credential or its file; newer key sets are written back to the file where that is possible.
    `verify` is an SSL context, or a file of CA certificates; by default the credential's `ca`, else the system's.
    `on_approval` is told of each call that a person has to approve, which is then waited for; without it such a call
    raises ApprovalRequired. For tasks it, and `sleep`, may be async.
    """

    _library: Library
    _make: Callable[[ssl.SSLContext], Any]

    def __init__(
        self,
        credential: Credential | str | os.PathLike[str],
        verify: Verify = None,
        inner: Inner | None = None,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        kems: tuple[str, ...] = DEFAULT_KEMS,
        on_approval: Callable[[ApprovalRequired], object] | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self._on_approval = on_approval
        self._sleep = sleep
        self._kems = kems
        self._path = None if isinstance(credential, Credential) else Path(credential)
        self.credential = credential if isinstance(credential, Credential) else Credential.load(Path(credential))
        self._context = None if inner is not None else tls_context(verify, self.credential.ca)
        self._injected = inner
        self._clock = clock
        self._entropy = entropy
        self._signatures = by_key(self.credential.signer)
        known = self.credential.to_origin()
        origin = Origin(known.name, known.keys, changed=self._keep)
        self._process = self._fresh(origin)
        self._left_behind: list[Inner] = []

    def _fresh(self, origin: Origin) -> _Process[Inner]:
        inner = self._injected
        if inner is None:
            assert self._context is not None  # noqa: S101 - one of the two is always there
            inner = cast("Inner", self._make(self._context))
        return _Process(os.getpid(), inner, origin, RuleBook(), Sessions(), Turns(), {})

    def _here(self) -> _Process[Inner]:
        """
        This process's own. After a fork the connections are the parent's: two processes that write on one would garble
        it, so the child opens its own and keeps the others unused: to close them would end them for the parent too.
        """
        process = self._process
        if process.pid != os.getpid():
            self._left_behind.append(process.inner)
            # One for all threads that come here at once, without a lock: a thread that is gone might hold it.
            process = self._process = process.heirs.setdefault(os.getpid(), self._fresh(process.origin.copy()))
        return process

    def _keep(self, keys: KeySet) -> None:
        self.credential = self.credential.with_server_keys(keys)
        if self._path is None:
            return
        # A file system that cannot be written to is a lawful place for a credential; the set is then fetched again.
        with contextlib.suppress(CredentialError):
            on_disk = Credential.load(self._path)
            if on_disk.signer.keyid == self.credential.signer.keyid and on_disk.server_keys.version <= keys.version:
                on_disk.with_server_keys(keys).save(self._path, overwrite=True)

    def _carry(self, request: Any) -> Response:
        self._for(request)
        call = _call(request, request.read())
        way = Way(lambda steps: self._run(request, steps), tasks=False)
        return cast("Response", carry(call, way, self._on_approval))

    def _run(self, request: Any, steps: Callable[[Ends], Steps]) -> Any:
        here, extensions, library = self._for(request), _extensions(request), self._library
        name, sleep = here.origin.name, self._sleep or time.sleep
        talk = steps(self._ends(here))
        proven = drive(talk, lambda out: send(here.inner, name, out, extensions, library), here.turns, sleep)
        return respond(proven, library, request)

    async def _carry_async(self, request: Any) -> Response:
        self._for(request)
        call = _call(request, await request.aread())
        way = Way(lambda steps: self._run_async(request, steps), tasks=True)
        return cast("Response", await carry_async(call, way, self._on_approval))

    async def _run_async(self, request: Any, steps: Callable[[Ends], Steps]) -> Any:
        here, extensions, library = self._for(request), _extensions(request), self._library
        name, sleep = here.origin.name, self._sleep or anyio.sleep
        talk = steps(self._ends(here))
        proven = await drive_async(
            talk, lambda out: send_async(here.inner, name, out, extensions, library), here.turns, sleep
        )
        return respond(proven, library, request)

    def _leave(self, here: _Process[Inner]) -> None:
        extensions, library = default_extensions(_CLOSING_SECONDS), self._library
        with contextlib.suppress(SealwireError):
            drive(leave(self._ends(here)), lambda out: send(here.inner, here.origin.name, out, extensions, library))

    async def _leave_async(self, here: _Process[Inner]) -> None:
        extensions, library = default_extensions(_CLOSING_SECONDS), self._library
        with contextlib.suppress(SealwireError):
            await drive_async(
                leave(self._ends(here)),
                lambda out: send_async(here.inner, here.origin.name, out, extensions, library),
            )

    def _for(self, request: Any) -> _Process[Inner]:
        here = self._here()
        found = origin_of(request.url)
        if found != here.origin.name:
            raise ForeignOrigin(
                f"this credential is for {here.origin.name}, and the request is for {found}: nothing was sent"
            )
        return here

    def _ends(self, here: _Process[Inner]) -> Ends:
        return Ends(here.origin, self._signatures, here.rules, here.sessions, self._kems, self._clock, self._entropy)


def tls_context(verify: Verify, ca: Path | None) -> ssl.SSLContext:
    """
    The context given, or one for TLS 1.3 that trusts the given CA file, else `ca`, else what the system trusts.

    Raises: CredentialError if a CA file cannot be used.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    file = verify if verify is not None else ca
    try:
        context = httpx2.create_ssl_context() if file is None else ssl.create_default_context(cafile=str(file))
    except OSError as why:
        raise CredentialError(f"{file}: the CA certificates cannot be used ({why})") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _extensions(request: Any) -> dict[str, Any]:
    return {name: value for name, value in request.extensions.items() if name != "sealwire"}


def _call(request: Any, body: bytes) -> Call:
    stream = (request.extensions.get("sealwire") or {}).get("stream") is True
    return Call(request.method, request.url.raw_path, tuple(request.headers.raw), body, stream)
