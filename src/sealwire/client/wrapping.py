"""
What a sealed call looks like to whoever terminates TLS, and what its answer says inside (docs/protocol.md, "Sealed
bodies").

Owns: that of a sealed call's answer nothing is handed out that was not sealed, but for refusals of the guard before it
opened the call. Refuses to know: sessions beyond the one that it is given, how a reply is proven.
"""

from __future__ import annotations

from urllib.parse import unquote_plus

from sealwire.client.errors import NotSignable, ReplyUnproven
from sealwire.client.exchange import Call, Proven
from sealwire.client.problems import read_problem
from sealwire.client.rules import Sealed
from sealwire.client.session import Session
from sealwire.errors import Refusal
from sealwire.protocol import envelope


def judge(call: Call, sealed: Sealed) -> None:
    """Raises: NotSignable if it cannot be sealed; asked before a session is opened for it."""
    if call.stream:
        raise NotSignable("the answer of a sealed route is no stream")
    query = call.target.partition(b"?")[2].decode("latin-1")
    shown = {unquote_plus(pair.partition("=")[0]) for pair in query.split("&") if pair} - sealed.clear_query
    if shown:
        raise NotSignable("the route is sealed, and would show a query parameter: put it into the body")
    try:
        envelope.protect("", _content_type(call))
    except Refusal:
        raise NotSignable("the Content-Type cannot be sealed") from None


def seal(call: Call, session: Session, iv: bytes) -> Call:
    """The call as whoever terminates TLS sees it."""
    headers = [
        (name, value) for name, value in call.headers if name.lower() not in (b"content-type", b"content-length")
    ]
    if not call.body:
        return call._replace(headers=(*headers, (b"sealwire-session", session.id.encode("ascii"))))
    protected = envelope.protect(session.id, _content_type(call))
    body = envelope.seal(session.keys.c2s, protected, iv, call.body)
    return call._replace(headers=(*headers, (b"content-type", envelope.MEDIA_TYPE)), body=body)


def unseal(proven: Proven, session: Session, key: str | None) -> Proven:
    """The answer as the app gave it. Raises: ReplyUnproven."""
    types = [value for name, value in proven.headers if name == b"content-type"]
    if not proven.body:
        return proven
    if types != [envelope.MEDIA_TYPE]:
        if proven.keyid == session.id or code_of(proven) is None:
            raise ReplyUnproven("the call was sealed, and its answer is in clear", proven.status, key)
        return proven
    if any(name == b"content-encoding" for name, _ in proven.headers):
        raise ReplyUnproven("it is sealed and compressed", proven.status, key)
    try:
        found = envelope.read(proven.body, envelope.Headers())
        if found.header.session != session.id:
            raise ReplyUnproven("it is sealed under another session", proven.status, key)
        # The type becomes a field: no line break or other control comes in with it.
        envelope.protect(session.id, found.header.content_type)
        plaintext = envelope.open_sealed(found, session.keys.s2c)
    except Refusal:
        raise ReplyUnproven("it does not open", proven.status, key) from None
    headers = [(name, value) for name, value in proven.headers if name not in (b"content-type", b"content-digest")]
    inner = (b"content-type", found.header.content_type.encode("ascii"))
    return proven._replace(headers=(*headers, inner), body=plaintext)


def _content_type(call: Call) -> str:
    found = next((value for name, value in call.headers if name.lower() == b"content-type"), None)
    return found.decode("latin-1") if found is not None else "application/octet-stream"


def key_of(call: Call) -> str | None:
    """The Idempotency-Key that it carries."""
    return next((value.decode("latin-1") for name, value in call.headers if name.lower() == b"idempotency-key"), None)


def code_of(proven: Proven) -> str | None:
    """The slug of a refusal of the guard's form, else None."""
    document = read_problem(proven.status, proven.headers, proven.body)
    return str(document["code"]) if document is not None else None
