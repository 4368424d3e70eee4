"""
The two transports for httpx2: every request signed, every reply proven before anyone sees it.

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
from typing import Any, Generic, NamedTuple, TypeVar

import httpx2

from sealwire.client.conversation import Conversation
from sealwire.client.credential import Credential
from sealwire.client.errors import CredentialError, ForeignOrigin, SealwireError
from sealwire.client.exchange import Call, Proven
from sealwire.client.origin import KeySet, Origin, origin_of
from sealwire.client.rules import RuleBook
from sealwire.client.sealing import DEFAULT_KEMS, Ends, carry_out, leave
from sealwire.client.sending import default_extensions, drive, drive_async, send, send_async
from sealwire.client.session import Sessions
from sealwire.client.signing import by_key

Verify = ssl.SSLContext | str | Path | None
Inner = TypeVar("Inner")


class Receipt(NamedTuple):
    """
    What `response.extensions["sealwire"]` holds: proof of the reply, for keeping.

    `signature` over `base` is by the server's key `keyid`. `sends` counts the requests this answer took. `outcome` is
    "answered", or of a refusal by the guard "not done" or "unknown" (an earlier send may have been carried out).
    """

    keyid: str
    created: int
    base: bytes
    signature: bytes
    sends: int
    outcome: str


class _Process(NamedTuple, Generic[Inner]):
    """What one process keeps between calls."""

    pid: int
    inner: Inner
    origin: Origin
    rules: RuleBook
    sessions: Sessions


class _Signing(Generic[Inner]):
    """
    What both transports share.

    `credential` is a Credential or its file; newer key sets are written back to the file where that is possible.
    `verify` is an SSL context, or a file of CA certificates; by default the credential's `ca`, else the system's.
    """

    _make: Callable[[ssl.SSLContext], Inner]

    def __init__(
        self,
        credential: Credential | str | os.PathLike[str],
        verify: Verify = None,
        inner: Inner | None = None,
        clock: Callable[[], float] = time.time,
        entropy: Callable[[int], bytes] = os.urandom,
        kems: tuple[str, ...] = DEFAULT_KEMS,
    ) -> None:
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
        self._process = _Process(os.getpid(), self._fresh_inner(), origin, RuleBook(), Sessions())
        self._left_behind: list[Inner] = []

    def _fresh_inner(self) -> Inner:
        if self._injected is not None:
            return self._injected
        assert self._context is not None  # noqa: S101 - one of the two is always there
        return self._make(self._context)

    def _here(self) -> _Process[Inner]:
        """
        This process's own. After a fork the connections are the parent's: two processes that write on one would garble
        it, so the child opens its own and keeps the others unused: to close them would end them for the parent too.
        """
        process = self._process
        if process.pid != os.getpid():
            self._left_behind.append(process.inner)
            origin = process.origin.copy()
            process = self._process = _Process(os.getpid(), self._fresh_inner(), origin, RuleBook(), Sessions())
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

    def _open(self, request: httpx2.Request, here: _Process[Inner], body: bytes) -> Conversation:
        stream = (request.extensions.get("sealwire") or {}).get("stream") is True
        call = Call(request.method, request.url.raw_path, tuple(request.headers.raw), body, stream)
        return carry_out(call, self._ends(here))

    def _ends(self, here: _Process[Inner]) -> Ends:
        return Ends(here.origin, self._signatures, here.rules, here.sessions, self._kems, self._clock, self._entropy)

    def _judge_origin(self, request: httpx2.Request, origin: Origin) -> None:
        found = origin_of(request.url)
        if found != origin.name:
            raise ForeignOrigin(
                f"this credential is for {origin.name}, and the request is for {found}: nothing was sent"
            )


class Transport(_Signing[httpx2.BaseTransport], httpx2.BaseTransport):
    """
    `httpx2.Client(transport=Transport(credential="alice-bot.json"))`: signs, sends, proves. One credential, one origin.

    A body is read whole before it is signed. A proven refusal is a response like any other. Redirects are returned, not
    followed; a Client that follows one has it signed anew, within the origin only. Content of a route that streams is
    handed out, unverified, only to a request with the extension `{"sealwire": {"stream": True}}`.

    Raises: ForeignOrigin, NotSignable before anything is sent; ReplyUnproven, Refused, OutcomeUnknown; httpx2's own
    errors if no connection came about.
    """

    _make = staticmethod(lambda context: httpx2.HTTPTransport(verify=context))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See the class."""
        here = self._here()
        self._judge_origin(request, here.origin)
        talk = self._open(request, here, request.read())
        return _respond(drive(talk, lambda out: send(here.inner, here.origin.name, out, _extensions(request))))

    def close(self) -> None:
        """Ends this process's session, where the server can be reached, and closes its connections."""
        here = self._here()
        with contextlib.suppress(SealwireError, httpx2.TransportError):
            drive(leave(self._ends(here)), lambda out: send(here.inner, here.origin.name, out, default_extensions()))
        here.inner.close()


class AsyncTransport(_Signing[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport):
    """`Transport`, for `httpx2.AsyncClient`."""

    _make = staticmethod(lambda context: httpx2.AsyncHTTPTransport(verify=context))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """See `Transport`."""
        here = self._here()
        self._judge_origin(request, here.origin)
        talk = self._open(request, here, await request.aread())
        return _respond(
            await drive_async(talk, lambda out: send_async(here.inner, here.origin.name, out, _extensions(request)))
        )

    async def aclose(self) -> None:
        """See `Transport`."""
        here = self._here()
        with contextlib.suppress(SealwireError, httpx2.TransportError):
            await drive_async(
                leave(self._ends(here)),
                lambda out: send_async(here.inner, here.origin.name, out, default_extensions()),
            )
        await here.inner.aclose()


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


def _extensions(request: httpx2.Request) -> dict[str, Any]:
    return {name: value for name, value in request.extensions.items() if name != "sealwire"}


def _respond(proven: Proven) -> httpx2.Response:
    """The proven part of a reply, and nothing else of it."""
    receipt = Receipt(proven.keyid, proven.created, proven.base, proven.signature, proven.sends, proven.outcome)
    unread = proven.stream
    stream = unread.stream if isinstance(unread, httpx2.Response) else httpx2.ByteStream(proven.body)
    return httpx2.Response(proven.status, headers=list(proven.headers), stream=stream, extensions={"sealwire": receipt})
