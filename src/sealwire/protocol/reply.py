"""
The signature of a reply (RFC 9421 section 2.4; docs/protocol.md, "Replies"): what it covers, its base, its fields.

Owns: the list of fields that may stand uncovered, and the binding of a reply to the request it answers.
Refuses to know: who signs, and when.
"""

from __future__ import annotations

import functools
import json
from binascii import b2a_base64
from collections.abc import Sequence
from typing import NamedTuple

from sealwire.errors import Refusal
from sealwire.protocol import profile
from sealwire.protocol.digest import content_digest
from sealwire.protocol.fields import FieldError, InnerList, parse_dictionary
from sealwire.protocol.message import Headers, Reply, Request, combine

_RUNNING_SECONDS = 30
LABEL = b"reply"
#: Fields of a reply that its signature does not cover; every other one that goes out is covered.
UNCOVERED = frozenset(
    b"signature signature-input set-cookie date server connection keep-alive transfer-encoding content-length via "
    b"alt-svc vary".split()
)
_CORS = b"access-control-"
#: Names of reply fields whose identifiers are held ready, none of them longer than so many bytes.
HELD_NAMES, HELD_NAME_BYTES = 1024, 64
_TAG = b';tag="' + profile.TAG_RESPONSE.encode("ascii") + b'"'


class ReplyBase(NamedTuple):
    """A reply's signature base, the text behind its label, and the fields of the reply with those that signing adds."""

    base: bytes
    covered: bytes
    headers: Headers


def is_uncovered(name: bytes) -> bool:
    """True for a reply field that may stand outside the signature."""
    return name in UNCOVERED or name.startswith(_CORS)


def _covered(name: bytes) -> bytes:
    """The identifier of a reply field that the signature covers; empty for another."""
    return b"" if is_uncovered(name) else b'"' + name + b'"'


_held = functools.lru_cache(maxsize=HELD_NAMES)(_covered)


def reply_base(
    reply: Reply,
    request: Request,
    claims: Sequence[profile.Claim],
    created: int,
    keyid: str,
    *,
    stream: bool = False,
) -> ReplyBase:
    """
    The base of a reply to `request`, whose signatures read so are `claims` (none: nobody signed it).

    With content Content-Digest is added; of a stream, whose content is not known yet, `Sealwire-Stream: ?1` instead.
    """
    headers = reply.headers
    if stream:
        headers += ((b"sealwire-stream", b"?1"),)
    elif reply.body and request.method != "HEAD" and reply.status not in (204, 304):
        headers += ((b"content-digest", content_digest(reply.body)),)
    names, lines = [b'"@status"'], [b'"@status": %d' % reply.status]
    for name, content in combine(headers).items():
        identifier = _held(name) if len(name) <= HELD_NAME_BYTES else _covered(name)
        if identifier:
            names.append(identifier)
            lines.append(identifier + b": " + content)
    repeated, said = _repeated(claims)
    if said:
        names.append(said)
        lines += profile.build_lines(repeated, request)
    for identifier, content in _signatures(claims):
        names.append(identifier)
        lines.append(identifier + b": " + content)
    nonce = wanted_nonce(request)
    asked = b';nonce="' + nonce + b'"' if nonce else b""
    # Of parts, since that takes half as long as a format.
    parts = (b"(", b" ".join(names), b");created=%d" % created, b';keyid="', keyid.encode("ascii"), b'"', asked)
    covered = b"".join(parts) + _TAG
    lines.append(b'"@signature-params": ' + covered)
    return ReplyBase(b"\n".join(lines), covered, headers)


def request_lines(request: Request, claims: Sequence[profile.Claim]) -> list[tuple[bytes, bytes]]:
    """
    Identifier and value of each `;req` component: all that the request's signatures covered, then those signatures.
    """
    repeated, _ = _repeated(claims)
    lines = [(head.removesuffix(b": "), profile.component_value(name, request)) for head, name in repeated]
    return [*lines, *_signatures(claims)]


def _repeated(claims: Sequence[profile.Claim]) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """The lines of all that the signatures covered, each once, and their identifiers as they are listed."""
    if len(claims) == 1:
        plan = claims[0].plan
        return plan.repeated, plan.said
    repeated = tuple(dict.fromkeys(step for claim in claims for step in claim.plan.repeated))
    return repeated, profile.identifiers(repeated)


def _signatures(claims: Sequence[profile.Claim]) -> list[tuple[bytes, bytes]]:
    lines = []
    for claim in claims:
        named = b';req;key="' + claim.label.encode("ascii") + b'"'
        octets = b":" + b2a_base64(claim.signature, newline=False) + b":"
        lines += [(b'"signature"' + named, octets), (b'"signature-input"' + named, claim.covered)]
    return lines


def wanted_nonce(request: Request) -> bytes:
    """
    The nonce that the request asks its reply's signature to repeat (Accept-Signature, RFC 9421 section 5.1), or empty.
    """
    asked = request.fields.get(b"accept-signature")
    if asked is None:
        return b""
    try:
        members = parse_dictionary(asked)
    except FieldError:
        return b""
    for member in members.values():
        if isinstance(member, InnerList) and member.params.get("tag") == profile.TAG_RESPONSE:
            nonce = member.params.get("nonce")
            if type(nonce) is str and profile.NONCE.fullmatch(nonce):
                return nonce.encode("ascii")
    return b""


def attach(reply: Reply, base: ReplyBase, signature: bytes) -> Reply:
    """The reply with Signature-Input and Signature."""
    octets = b2a_base64(signature, newline=False)
    signed = (
        (b"signature-input", LABEL + b"=" + base.covered),
        (b"signature", LABEL + b"=:" + octets + b":"),
    )
    return Reply(reply.status, base.headers + signed, reply.body)


def in_progress(age_seconds: float) -> Refusal:
    """The call behind an idempotency key has no recorded end: it is running, or nobody will ever know from us."""
    cause = "running" if age_seconds < _RUNNING_SECONDS else "unknown"
    members: dict[str, object] = {"outcome": "unknown"}
    fields = ((b"retry-after", b"1"),)
    return Refusal("idempotency-in-progress", cause, failed="policy", members=members, fields=fields)


def pack(reply: Reply) -> bytes:
    """A reply as bytes for keeping."""
    head = [reply.status, [[name.decode("latin-1"), value.decode("latin-1")] for name, value in reply.headers]]
    return json.dumps(head).encode("ascii") + b"\n" + reply.body


def unpack(packed: bytes) -> Reply:
    """The reply that was packed."""
    head, _, body = packed.partition(b"\n")
    status, headers = json.loads(head)
    return Reply(status, tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers), body)
