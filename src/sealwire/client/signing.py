"""
From a call to the final bytes of its signed request (docs/protocol.md, "The request signature", "Enrolment").

Owns: which fields a request goes out with, what its signature covers and why, and that nothing is signed which the
strict profile would not read back. Refuses to know: clocks, randomness (both are arguments), replies, repeats.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
from typing import NamedTuple

from sealwire.client.errors import NotSignable
from sealwire.client.exchange import Call, Signed
from sealwire.errors import Refusal
from sealwire.protocol import profile
from sealwire.protocol.digest import content_digest
from sealwire.protocol.fields import Params
from sealwire.protocol.jwk import Signer, b64url
from sealwire.protocol.message import Headers, Request, combine, read_head, read_target
from sealwire.protocol.signature import Component, base, params_text

#: Seconds from created to expires of what this client signs.
LIFETIME_SECONDS = 60
#: Methods that change nothing (RFC 9110 section 9.2.1): sent again without an idempotency key.
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
NONCE_BYTES = 24
LABEL = "sig"
_POSSESSION_LABEL = "possession"

# Said by this client alone: framing follows from the whole body, and the rest belongs to the signature.
_OURS = frozenset(
    b"host content-length transfer-encoding accept-encoding content-digest signature signature-input "
    b"accept-signature".split()
)

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


class Signatures(NamedTuple):
    """
    How a request is signed: by whom, under which tag, and whether a new key's possession is bound in (enrolment).

    `repr` shows no secret as long as `sign` is a plain function or a method of a key.
    """

    keyid: str
    sign: Callable[[bytes], bytes]
    tag: str = profile.TAG
    possession: Signer | None = None

    def put_on(self, request: Request, created: int, nonce: str, second_nonce: str = "") -> Signed:
        """
        The request signed at `created` (Unix seconds). `nonce` is the authorising signature's, `second_nonce` that of
        the possession signature, if there is one.

        Raises: NotSignable if the server's own reading of the result would refuse it.
        """
        try:
            if self.possession is None:
                covered = components(request)
                request = _attach(request, [_member(LABEL, covered, self, request, created, nonce)])
                return Signed(request, (profile.claim(request, self.tag, _NO_PLANS),))
            return self._put_on_both(self.possession, request, created, nonce, second_nonce)
        except Refusal as refusal:
            reason = f"{refusal.slug}: {refusal.detail}"
        raise NotSignable(reason)

    def _put_on_both(self, new: Signer, request: Request, created: int, nonce: str, second_nonce: str) -> Signed:
        """The new key signs first; the authorising signature covers that signature, so that neither can be moved."""
        by_new = Signatures(new.keyid, new.sign, profile.TAG_POSSESSION)
        usual = components(request)
        first = _member(_POSSESSION_LABEL, usual, by_new, request, created, second_nonce)
        bound = [Component(name, {"key": _POSSESSION_LABEL}) for name in ("signature", "signature-input")]
        possessed = _attach(request, [first])
        second = _member(LABEL, [*usual, *bound], self, possessed, created, nonce)
        request = _attach(request, [first, second])
        possession = profile.claim(request, profile.TAG_POSSESSION, _NO_PLANS)
        authorising = profile.claim(request, self.tag, _NO_PLANS, possession=_POSSESSION_LABEL)
        return Signed(request, (possession, authorising))


# Nothing is ever kept in it: one's own messages are read back in full each time.
_NO_PLANS = profile.Plans()


def by_key(signer: Signer) -> Signatures:
    """An ordinary call, signed by an enrolled key."""
    return Signatures(signer.keyid, signer.sign)


def compose(call: Call, authority: str, idempotency_key: str = "") -> Request:
    """
    The head that is going to be signed: the caller's fields, with framing, Accept-Encoding and Content-Digest set here.

    `idempotency_key` is added to an unsafe method that has none (empty: to none).

    Raises: NotSignable for a target or field that has no single reading (docs/protocol.md, "The request target").
    """
    headers = [(b"host", authority.encode("ascii"))]
    headers += [(name.lower(), value) for name, value in call.headers if name.lower() not in _OURS]
    present = {name for name, _ in headers}
    headers.append((b"accept-encoding", b"identity"))
    if call.body:
        if b"content-type" not in present:
            # RFC 9110 section 8.3: what a receiver may assume of content without a type; here it must be said.
            headers.append((b"content-type", b"application/octet-stream"))
        headers.append((b"content-digest", content_digest(call.body)))
    if call.body or call.method in ("POST", "PUT", "PATCH"):
        headers.append((b"content-length", b"%d" % len(call.body)))
    if idempotency_key and call.method not in SAFE and b"idempotency-key" not in present:
        headers.append((b"idempotency-key", idempotency_key.encode("ascii")))
    try:
        target = read_target(call.target)
        received, fields = read_head(headers)
        if len(received) != len(headers):
            raise NotSignable("the server drops fields with _ in their names")
        method, path, query = call.method, target.path, target.query
        return Request(method, call.target, authority, path, query, target.decoded, received, fields)
    except Refusal as refusal:
        reason = f"{refusal.slug}: {refusal.detail}"
    raise NotSignable(reason)


def components(request: Request) -> list[Component]:
    """What a request's signature covers: nothing that must be covered is left out, nothing else is added."""
    names = list(profile.ALWAYS)
    if request.has_content():
        names += profile.WITH_CONTENT
    names += sorted(profile.WHEN_PRESENT & request.fields.keys())
    return [Component(name.decode("ascii"), {}) for name in names]


def base_of(signed: Signed) -> bytes:
    """The signature base of the authorising signature, as its receiver builds it."""
    return profile.build_base(signed.claims[-1], signed.request)


def lines_of(signed: Signed) -> list[SignedLine]:
    """Each line of the base with the reason for it, for people to read. Credentials stand in it as they were signed."""
    lines = []
    for line in base_of(signed).decode("latin-1").split("\n"):
        component, _, value = line.partition(": ")
        name = component.split(";")[0].strip('"')
        lines.append(SignedLine(component, value, _WHY.get(name, "so that it cannot be changed")))
    return lines


def nonce_of(entropy: bytes) -> str:
    """A nonce from at least 128 random bits."""
    return b64url(entropy)


def _member(
    label: str, covered: list[Component], by: Signatures, request: Request, created: int, nonce: str
) -> tuple[bytes, bytes, bytes]:
    expires = created + LIFETIME_SECONDS
    params: Params = {"created": created, "expires": expires, "keyid": by.keyid, "nonce": nonce, "tag": by.tag}
    text = params_text(covered, params)
    octets = b2a_base64(by.sign(base(covered, text, request)), newline=False)
    return label.encode("ascii"), text, octets


def _attach(request: Request, members: list[tuple[bytes, bytes, bytes]]) -> Request:
    added: Headers = (
        (b"signature-input", b", ".join(label + b"=" + text for label, text, _ in members)),
        (b"signature", b", ".join(label + b"=:" + octets + b":" for label, _, octets in members)),
    )
    headers = request.headers + added
    return request._replace(headers=headers, fields=combine(headers))
