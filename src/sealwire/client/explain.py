"""
What is signed and what is sealed of a request, and why; the fields of one signed request, for people who want to see or
copy it.

Owns: nothing but the way in: what it explains is the request that goes out, what it signs is signed by the same code as
every call. Refuses to know: the network.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import httpx2

from sealwire.client.credential import Credential
from sealwire.client.errors import ForeignOrigin
from sealwire.client.exchange import Call, Signed
from sealwire.client.origin import origin_of
from sealwire.client.signing import NONCE_BYTES, by_key, compose, nonce_of
from sealwire.protocol import envelope, profile
from sealwire.protocol.message import Request, read_head, read_target

Fields = Iterable[tuple[str, str]]
# curl writes these itself, from the URL and the body.
_BY_CURL = frozenset((b"host", b"content-length"))

_WHY = {
    "@method": "so that a read cannot be turned into a write",
    "@authority": "so that the call cannot be taken to another host",
    "@path": "so that it cannot be taken to another resource",
    "@query": "so that no parameter can be added, changed or dropped",
    "content-type": "so that the body cannot be read as something else",
    "content-digest": "the body's hash, so that no byte of it can change",
    "authorization": "so that another's token cannot be put in its place",
    "dpop": "so that the proof stays with this call",
    "idempotency-key": "so that a repeat counts once, and under this key only",
    "sealwire-session": "so that the session stays with this call",
    "sealwire-reply-key": "so that the reply is sealed to this key only",
    "sealwire-approval": "so that the approval stays with this call",
    "@signature-params": "what is covered, when it was made, when it ends, whose key, and a nonce that is good once",
}


class SignedLine(NamedTuple):
    """One line of a signature base: the component, the value that is signed, and why."""

    component: str
    value: str
    why: str


class Envelope(NamedTuple):
    """What whoever terminates TLS sees of a sealed body: its session, its media type, and how much is inside."""

    session: str
    content_type: str
    content_bytes: int
    sealed_bytes: int


class Watched(httpx2.BaseTransport):
    """`Transport(credential=…, inner=Watched(httpx2.HTTPTransport(…), tell))`: `tell` hears of each request, final."""

    def __init__(self, inner: httpx2.BaseTransport, tell: Callable[[httpx2.Request], None]) -> None:
        self._inner = inner
        self._tell = tell

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Tells of it, and passes it on."""
        self._tell(request)
        return self._inner.handle_request(request)

    def close(self) -> None:
        """Closes what is behind."""
        self._inner.close()


def signed_lines(request: httpx2.Request) -> list[SignedLine]:
    """
    Each line of the signature base of a request of this client, in order, with the reason for it; none if unsigned.

    Values stand as they are signed, tokens too. Raises: Refusal if its server would not read it.
    """
    received, fields = read_head([(name.lower(), value) for name, value in request.headers.raw])
    target = read_target(request.url.raw_path)
    authority = fields[b"host"].decode("latin-1")
    read = Request(
        request.method, request.url.raw_path, authority, target.path, target.query, target.decoded, received, fields
    )
    if not profile.has_tag(read, profile.TAG):
        return []
    lines = []
    found = profile.claim(read, profile.TAG, profile.Plans())
    for line in profile.build_base(found, read).decode("latin-1").split("\n"):
        component, _, value = line.partition(": ")
        name = component.split(";")[0].strip('"')
        lines.append(SignedLine(component, value, _WHY.get(name, "so that it cannot be changed")))
    return lines


def envelope_of(request: httpx2.Request) -> Envelope | None:
    """What shows of its sealed body; None if it has none. Raises: Refusal if its server would not read it."""
    if request.headers.get("content-type", "").encode("latin-1") != envelope.MEDIA_TYPE:
        return None
    body = request.read()
    found = envelope.read(body, envelope.Headers())
    return Envelope(found.header.session, found.header.content_type, len(found.ciphertext), len(body))


def signed_headers(
    credential: Credential,
    method: str,
    url: str,
    headers: Fields = (),
    body: bytes = b"",
    *,
    clock: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
) -> list[tuple[str, str]]:
    """
    The fields of one signed request, good once and for 60 s. Whoever sends them must verify the reply by themselves.

    Raises: ForeignOrigin, NotSignable.
    """
    signed = _sign(credential, method, url, headers, body, clock, entropy)
    return [(name.decode("ascii"), value.decode("latin-1")) for name, value in signed.request.headers]


def as_curl(
    credential: Credential,
    method: str,
    url: str,
    headers: Fields = (),
    body: bytes = b"",
    *,
    clock: Callable[[], float] = time.time,
    entropy: Callable[[int], bytes] = os.urandom,
    data: tuple[str, str] = ("--data-binary", "@-"),
) -> str:
    """
    One shell command that sends the signed request, good once and for 60 s. `data` is how curl comes by the body:
    unless it says otherwise, from standard input.

    Raises: ForeignOrigin, NotSignable.
    """
    signed = _sign(credential, method, url, headers, body, clock, entropy)
    words = ["curl", "--path-as-is", "--globoff", "--request", method.upper()]
    words += ["--head"] if method.upper() == "HEAD" else []
    for name, value in signed.request.headers:
        if name not in _BY_CURL:
            words += ["--header", f"{name.decode('ascii')}: {value.decode('latin-1')}"]
    words += ["--cacert", str(credential.ca)] if credential.ca is not None else []
    words += data if body else ()
    words.append(f"{credential.origin}{signed.request.target.decode('ascii')}")
    return shlex.join(words)


def _sign(
    credential: Credential,
    method: str,
    url: str,
    headers: Fields,
    body: bytes,
    clock: Callable[[], float],
    entropy: Callable[[int], bytes],
) -> Signed:
    read = httpx2.URL(url)
    if origin_of(read) != credential.origin:
        raise ForeignOrigin(f"this credential is for {credential.origin}, not for {origin_of(read)}")
    fields = tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers)
    call = Call(method.upper(), read.raw_path, fields, body)
    head = compose(call, credential.to_origin().authority, nonce_of(entropy(NONCE_BYTES)))
    return by_key(credential.signer).put_on(head, int(clock()), nonce_of(entropy(NONCE_BYTES)))
