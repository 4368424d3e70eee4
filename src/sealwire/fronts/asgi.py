"""
The guard around any ASGI application (ASGI 3.0, HTTP).

Owns: what the app sees of a call (the allow-listed fields, the path decoded once, the body that was judged, once) and
what of the app's messages becomes the reply. The exact request target comes from our own runner in a scope extension,
since common parsers drop parts of it; another server must be named as one that refuses absolute forms and fragments.
Refuses to know: rules and checks.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from sealwire.call import Caller, ClientGone
from sealwire.entry import Arrival, Begin, Entry, Gate, no_body
from sealwire.errors import Fault
from sealwire.fronts.lifespan import pass_lifespan
from sealwire.guard import Guard
from sealwire.protocol.apikey import is_ours, presented
from sealwire.protocol.forwarded import Proxies, client_address
from sealwire.protocol.message import Headers, Reply
from sealwire.stages.body import BODY_TAKEN
from sealwire.trace import place

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Where our runner puts the request target as it was received and says that no body comes, is told of a caller that has
#: proven who it is, and takes a whole reply.
TARGET_EXTENSION = "sealwire.target"
_OF_THE_BODY = frozenset((b"content-type", b"content-digest"))
MAX_REPLY_BYTES = 16 * 1024 * 1024
_ALWAYS_SEEN = frozenset(
    b"content-type content-digest idempotency-key accept accept-language user-agent traceparent".split()
)
_LOG = logging.getLogger("sealwire.fronts")


class Seen(NamedTuple):
    """`scope["sealwire"]` as the app finds it: who calls, None where the call proved nothing, and the call's id."""

    caller: Caller | None
    request_id: str
    gate: Gate | None = None

    async def need_approval(self, sentence: str) -> None:
        """
        Returns if a person approved this very sentence for this call, on a `critical` rule. To be awaited before any
        effect: otherwise the call ends here, whatever the app or its framework answers, and the caller hears
        `approval-required` with a link for its user.

        Raises: ApprovalNeeded, for the app to let through; RuntimeError on a rule of another profile.
        """
        if self.gate is None:
            raise RuntimeError("need_approval: the rule of this path is not of profile critical")
        self.gate.need_approval(sentence)


class GuardedApp:
    """
    An ASGI app whose HTTP calls all go through a guard. A websocket is closed; the lifespan is the app's own, and the
    guard is closed at its end. Where a call comes from is told by the peer, or by the `proxies` that it comes through.
    """

    def __init__(self, app: App, guard: Guard, *, front_end: str = "", proxies: Proxies | None = None) -> None:
        self._app = app
        self._guard = guard
        self._front_end = front_end
        self._proxies = proxies
        self._closed = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def close(self) -> None:
        """Counts that wait are written and the stores closed: for after the last call, where no lifespan says so."""
        if not self._closed:
            self._closed = True
            await self._guard.close()

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._closed:
            # As a test client may begin a second one: it would find every store closed, call by call.
            await receive()
            said = "this guard was closed when its first lifespan ended; make a new one"
            await send({"type": "lifespan.startup.failed", "message": said})
        else:
            await pass_lifespan(self._app, self.close, scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        extension = scope.get("extensions", {}).get(TARGET_EXTENSION, {})

        async def read() -> tuple[bytes, bool]:
            if extension.get("taken", _never)():
                raise Fault("internal", "body-taken", BODY_TAKEN)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            return message.get("body", b""), message.get("more_body", False)

        async def enter(entry: Entry, begin: Begin) -> Reply | None:
            _tell_known(extension, entry)
            return await self._enter(scope, entry, begin, receive, sending)

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        target = self._target(scope, extension.get("target"))
        reading = no_body if extension.get("bodiless") and not extension.get("taken", _never)() else read
        arrival = Arrival(scope["method"], target or b"", list(scope["headers"]), self._address(scope), reading)
        try:
            if target is None:
                reply: Reply | None = await self._guard.misuse(arrival)
            else:
                reply = await self._guard.handle(arrival, enter)
        except ClientGone:
            return
        if reply is not None and begun:
            # A stream broke behind its head. Only a server can cut a connection, and does so when an app fails.
            raise Fault("internal", "app")
        if reply is not None:
            await _send_reply(extension, send, reply)

    def _address(self, scope: Scope) -> str:
        """Where the call comes from, empty where that is not known: of whatever needs it, the one place."""
        client = scope.get("client")
        return client_address(self._proxies, str(client[0]) if client else "", scope["headers"])

    def _target(self, scope: Scope, exact: bytes | None) -> bytes | None:
        """The request target; None, a misuse, where it can't be known or a middleware has changed it."""
        if exact is None:
            if not self._front_end:
                _LOG.error("misuse: the server does not hand on the exact target; name the front end that judges it")
                return None
            query = scope.get("query_string", b"")
            exact = (scope.get("raw_path") or b"") + (b"?" + query if query else b"")
        elif not exact.startswith(b"/") or b"#" in exact:
            # The parser has dropped parts of these; the guard refuses them as they came.
            return exact
        if not _unchanged(scope, exact):
            _LOG.error("misuse: a middleware before the guard changed the path or query; the guard must be outermost")
            return None
        return exact

    async def _enter(self, scope: Scope, entry: Entry, begin: Begin, receive: Receive, send: Send) -> Reply | None:
        body, answer = _Body(entry.body, receive), _Answer(entry, begin, send)
        try:
            await self._app(_inner_scope(scope, entry), body.receive, answer.send)
        except Exception as failure:
            if not answer.whole or (entry.gate is not None and entry.gate.wanted is not None):
                raise
            # As Starlette does for the sake of the server's log: what it answered stands.
            _LOG.error("the app answered %s and failed then: %s", entry.request_id, place(failure))
        if body.gone and not answer.whole:
            raise ClientGone  # the app gave up when it heard so, as Django does
        return answer.reply()


def _tell_known(extension: Mapping[str, Callable[[], object]], entry: Entry) -> None:
    if entry.caller is not None:
        extension.get("known", _never)()


def _never(*_: object) -> bool:
    return False


def _unchanged(scope: Scope, exact: bytes) -> bool:
    """
    Whether what the app is routed by is the target as received. A server puts its own root path before it, which is
    where `root_path` begins then; a mount only lengthens that.
    """
    path, _, query = exact.partition(b"?")
    raw = scope.get("raw_path") or b""
    if query != scope.get("query_string", b"") or unquote_to_bytes(raw).decode("utf-8", "replace") != scope["path"]:
        return False
    if raw == path and not scope.get("root_path"):
        return True
    before, root = raw.removesuffix(path), scope.get("root_path", "").encode("utf-8")
    return raw == before + path and (root + b"/").startswith(before + b"/")


def _inner_scope(scope: Scope, entry: Entry) -> Scope:
    """The scope as the app sees it: nothing of the caller's head but what the rule lists."""
    extensions = {name: value for name, value in scope.get("extensions", {}).items() if name == "tls"}
    return {
        **scope,
        "headers": seen_headers(entry),
        "extensions": extensions,
        "sealwire": Seen(entry.caller, entry.request_id, entry.gate),
    }


def seen_headers(entry: Entry) -> list[tuple[bytes, bytes]]:
    """
    The allow-listed fields, with Host and Content-Length as they were proven: our words, not the caller's. Of a sealed
    call the media type is what was sealed, and there is no digest: it was that of the sealed bytes.
    """
    request, rule, sealed = entry.request, entry.rule, entry.sealed_type
    connection = request.fields.get(b"connection")
    hop = {name.strip().lower() for name in connection.split(b",")} if connection else ()
    headers = [(b"host", request.authority.encode("ascii"))]
    for name, value in request.headers:
        seen = (name in _ALWAYS_SEEN or name in rule.headers) and name not in hop
        if seen and name == b"authorization" and is_ours(presented(value)):
            continue  # an API key is for the guard: no app can log it
        if seen and (sealed is None or name not in _OF_THE_BODY):
            headers.append((name, value))
    if sealed:
        headers.append((b"content-type", sealed))
    if entry.body or b"content-length" in request.fields:
        headers.append((b"content-length", b"%d" % len(entry.body)))
    return headers


class _Body:
    """The judged body exactly once, then what the server says next: a disconnect, and the client is `gone`."""

    def __init__(self, content: bytes, receive: Receive) -> None:
        self.gone = False
        self._content: bytes | None = content
        self._receive = receive

    async def receive(self) -> Message:
        """The app's `receive`."""
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        while (message := await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        return message


class _Answer:
    """What the app sends, gathered until it is whole; for a streaming rule passed on behind a signed head."""

    def __init__(self, entry: Entry, begin: Begin, send: Send) -> None:
        self._entry = entry
        self._begin = begin
        self._send = send
        self._status = 0
        self._headers: Headers = ()
        self._chunks: list[bytes] = []
        self._size = 0
        self.whole = False

    async def send(self, message: Message) -> None:
        """The app's `send`."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = tuple([(bytes(name), bytes(value)) for name, value in message.get("headers", ())])
            if self._entry.rule.stream:
                head = await self._begin(self._status, self._headers)
                await self._send({"type": "http.response.start", "status": head.status, "headers": list(head.headers)})
        elif message["type"] == "http.response.body":
            self.whole = not message.get("more_body", False)
            if self._entry.rule.stream:
                sending = self._send(message)
                await (sending if self._entry.outside is None else self._entry.outside(sending))
                return
            chunk = message.get("body", b"")
            self._size += len(chunk)
            if self._size > MAX_REPLY_BYTES:
                raise Fault("internal", "reply-too-large", "The reply is larger than this server signs.")
            self._chunks.append(chunk)

    def reply(self) -> Reply | None:
        """The whole reply, None if it was streamed. Raises: Fault if the app ended without one."""
        if not self._status or not self.whole:
            raise Fault("internal", "reply")
        return None if self._entry.rule.stream else Reply(self._status, self._headers, b"".join(self._chunks))


async def _send_reply(extension: Mapping[str, Callable[..., bool]], send: Send, reply: Reply) -> None:
    if extension.get("reply", _never)(send, reply):
        return
    headers = list(reply.headers)
    if reply.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
