"""
Is this reply the server's, and is it the answer to this very request? (docs/protocol.md, "Replies")

Owns: the judgement of a reply's signature: exactly complete coverage, the binding to the request, digest, key, tag,
time. What is not covered does not leave here.
Refuses to know: clocks, how keys came to be trusted, what to do with a reply that is not proven.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sealwire.client.exchange import Incoming, Proven
from sealwire.errors import Refusal
from sealwire.protocol import profile
from sealwire.protocol.digest import expect
from sealwire.protocol.fields import FieldError, split_dictionary
from sealwire.protocol.jwk import Verifier
from sealwire.protocol.message import Headers, Request, combine
from sealwire.protocol.reply import is_uncovered, request_lines
from sealwire.protocol.signature import Signed, canonical, check, check_hmac, parse

#: How far a reply's created may lie from the own corrected clock, where that clock was good enough to be served by.
SANE_SECONDS = 300
_BODILESS = frozenset((204, 304))


class Unproven(Exception):
    """The reply is not shown to be the server's answer to this request; the message says why, in a few words."""


class UnknownKey(Unproven):
    """The reply names a server key that is not trusted, or not at that time. Nothing else is known of it."""


class Asked(NamedTuple):
    """What a reply must fit: the request, its signatures, the nonce it asked for, when a reply can have been made."""

    request: Request
    claims: Sequence[profile.Claim] = ()
    nonce: str = ""
    earliest: float = 0
    latest: float = profile.MAX_NUMBER


def lower(received: Headers) -> Headers:
    """Field names in lower case, values without surrounding white space."""
    return tuple((name.lower(), value.strip(b" \t")) for name, value in received)


def is_signed(headers: Headers) -> bool:
    """True if a reply carries a signature that claims to be a reply's: then it is held to it."""
    fields = combine(lower(headers))
    return profile.TAG_RESPONSE.encode("ascii") in fields.get(b"signature-input", b"")


def prove(reply: Incoming, asked: Asked, find_key: Callable[[str, int], Verifier | bytes | None]) -> Proven:
    """
    The reply, if the server's key vouches for every part of it that is handed out.

    `find_key` gives the trusted key of a thumbprint at a time, or the secret that a session's replies are under.

    Raises: Unproven; UnknownKey if only the key is not known.
    """
    headers = lower(reply.headers)
    signed = _our_signature(combine(headers))
    created, keyid = _parameters(signed, asked)
    lines = _expected(reply, headers, asked)
    base = _base(signed, lines)
    key = find_key(keyid, created)
    if key is None:
        raise UnknownKey("it is signed by a key that is not trusted")
    algorithm = "hmac-sha256" if isinstance(key, bytes) else key.algorithm
    if signed.params.get("alg", algorithm) != algorithm:
        raise Unproven("its alg is not that of the server's key")
    try:
        if isinstance(key, bytes):
            check_hmac(key, base, signed.signature)
        else:
            check(key, base, signed.signature)
        _judge_content(reply, headers, asked.request)
    except Refusal as refusal:
        reason = "its signature does not hold" if refusal.slug == "signature-mismatch" else "its body was changed"
    else:
        shown = tuple((name, value) for name, value in headers if not is_uncovered(name))
        return Proven(reply.status, shown, reply.body, reply.stream, keyid, created, base, signed.signature)
    raise Unproven(reason)


def _our_signature(fields: dict[bytes, bytes]) -> Signed:
    signature_input, signature = fields.get(b"signature-input"), fields.get(b"signature")
    if not signature_input or not signature:
        raise Unproven("it carries no signature")
    try:
        values = split_dictionary(signature)
        every = parse(signature_input, signature)
    except FieldError:
        raise Unproven("its signature cannot be read") from None
    ours = [signed for signed in every if signed.params.get("tag") == profile.TAG_RESPONSE]
    if len(ours) != 1 or len({signed.label for signed in every}) != len(every) or len(values) != len(every):
        raise Unproven("it does not carry exactly one signature of a reply")
    if not canonical(ours[0], dict(values)[ours[0].label]):
        raise Unproven("its signature is not in canonical form")
    return ours[0]


def _parameters(signed: Signed, asked: Asked) -> tuple[int, str]:
    params = signed.params
    created, keyid = params.get("created"), params.get("keyid")
    wanted = {"created", "keyid", "tag", "nonce"} if asked.nonce else {"created", "keyid", "tag"}
    if type(created) is not int or not 0 <= created < profile.MAX_NUMBER or type(keyid) is not str:
        raise Unproven("its signature lacks created or keyid")
    if set(params) - {"alg"} != wanted:
        raise Unproven("its signature has other parameters than it should")
    if asked.nonce and params["nonce"] != asked.nonce:
        raise Unproven("it repeats another nonce than the one that was sent: it may be an old reply")
    if not asked.earliest <= created <= asked.latest:
        raise Unproven("it was signed at another time than the request")
    return created, keyid


def _expected(reply: Incoming, headers: Headers, asked: Asked) -> dict[bytes, bytes]:
    """Identifier and value of every component that must be covered, no more and no less."""
    lines = {b'"@status"': b"%d" % reply.status}
    for name, content in combine(headers).items():
        if not is_uncovered(name):
            lines[b'"' + name + b'"'] = content
    lines.update(request_lines(asked.request, asked.claims))
    return lines


def _base(signed: Signed, lines: dict[bytes, bytes]) -> bytes:
    identifiers = [component.identifier() for component in signed.components]
    if len(set(identifiers)) != len(identifiers):
        raise Unproven("a component is covered twice")
    missing, extra = lines.keys() - set(identifiers), set(identifiers) - lines.keys()
    if missing:
        raise Unproven(
            f"{_shown(missing)} is not covered: it was added on the way, or the reply answers something else"
        )
    if extra:
        raise Unproven(
            f"{_shown(extra)} is covered and not there: it was taken away, or the reply answers something else"
        )
    built = [identifier + b": " + lines[identifier] for identifier in identifiers]
    return b"\n".join([*built, b'"@signature-params": ' + signed.covered])


def _shown(identifiers: set[bytes]) -> str:
    text = min(identifiers).decode("latin-1")
    return text if text.isprintable() and len(text) <= 80 else "a field"


def _judge_content(reply: Incoming, headers: Headers, request: Request) -> None:
    """Raises: Refusal if the body is not the one whose digest is covered (RFC 9530); Unproven if none is."""
    fields = combine(headers)
    if reply.stream is not None:
        if fields.get(b"sealwire-stream") != b"?1":
            raise Unproven("its body was not read, and it does not say that it is a stream")
        return
    if request.method == "HEAD" or reply.status in _BODILESS:
        if reply.body:
            raise Unproven("it has a body where there can be none")
        return
    if reply.body and not {b"content-type", b"content-digest"} <= fields.keys():
        raise Unproven("its body has no digest that is covered")
    if b"content-digest" in fields:
        digest = expect(fields[b"content-digest"])
        digest.update(reply.body)
        digest.judge()
