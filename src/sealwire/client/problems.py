"""
What a reply that turns a call away says: its problem document (RFC 9457), and the nonce it offers (RFC 9421 section 5).

Owns: the reading of both into values and errors. Of an unsigned reply all this is a stranger's word: it is shown,
marked as unproven, and changes nothing of what is signed but the nonce.
Refuses to know: whether the reply was proven, unless told.
"""

from __future__ import annotations

import json
import re

from sealwire.client import mismatch
from sealwire.client.errors import BY_SLUG, ClockSkew, Refused, SignatureMismatch
from sealwire.client.exchange import Proven, Signed
from sealwire.client.signing import base_of
from sealwire.protocol import profile
from sealwire.protocol.fields import FieldError, InnerList, parse_dictionary
from sealwire.protocol.message import Headers
from sealwire.protocol.problem import PATH

_SLUG = re.compile(r"[a-z][a-z0-9-]{0,39}")
_SHOWN_CHARACTERS = 300


def plain(text: object, most: int = _SHOWN_CHARACTERS) -> str:
    """Foreign text for a terminal or a log: one line, printable, not longer than `most` characters."""
    return "".join(c if c.isprintable() else "�" for c in text[:most]) if isinstance(text, str) else ""


def read_problem(status: int, headers: Headers, body: bytes) -> dict[str, object] | None:
    """The problem document of a 4xx or 5xx reply (RFC 9457 section 3), or None if it is none of the guard's form."""
    kind = dict(headers).get(b"content-type", b"").partition(b";")[0].strip().lower()
    if status < 400 or kind != b"application/problem+json":
        return None
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not _SLUG.fullmatch(str(document.get("code", ""))):
        return None
    return document


def read_refusal(proven: Proven, origin: str) -> dict[str, object] | None:
    """The problem document of a proven reply if it is of the guard at `origin`, and not of the app behind it."""
    document = read_problem(proven.status, proven.headers, proven.body)
    return document if document and document.get("type") == f"{origin}{PATH}{document['code']}" else None


def refusal(status: int, headers: Headers, document: dict[str, object], *, proven: bool) -> Refused:
    """The Refused that a problem document stands for; of one without proof the outcome is unknown."""
    slug = str(document["code"])
    made = BY_SLUG.get(slug, Refused)()
    made.slug = slug
    made.status = status
    made.detail = plain(document.get("detail"))
    made.request_id = plain(document.get("request_id"), 60)
    made.proven = proven
    made.members = document
    wait = dict(headers).get(b"retry-after", b"")
    made.retry_after = int(wait) if wait.isdigit() and len(wait) < 10 else None
    made.outcome = "not done" if proven and is_final(status, document) else "unknown"
    clock = document.get("clock")
    if isinstance(made, ClockSkew) and isinstance(clock, dict) and isinstance(clock.get("skew_ms"), int):
        made.skew_ms = clock["skew_ms"]
    return made


def is_final(status: int, document: dict[str, object]) -> bool:
    """True if a proven refusal says that nothing was done: not from 500 on, nor where the server itself cannot say."""
    return status < 500 and document.get("outcome") != "unknown" and document["code"] != "idempotency-in-progress"


def outcome_of(answer: Proven, origin: str, *, alone: bool) -> str:
    """
    What a proven answer says of its call: "answered", or of a refusal by the guard at `origin` "not done" or "unknown".

    `alone` says that the call was sent once: a refusal of a repeat says nothing of the first send.
    """
    document = read_refusal(answer, origin)
    if document is None:
        return "answered"
    return "not done" if alone and is_final(answer.status, document) else "unknown"


def offered_nonce(accept_signature: bytes, tag: str) -> str:
    """
    The nonce that an Accept-Signature offers for signatures with `tag` (RFC 9421 section 5.1), or empty.

    Nothing else of it is looked at: it cannot make a request cover less.
    """
    try:
        members = parse_dictionary(accept_signature)
    except FieldError:
        return ""
    for member in members.values():
        nonce = member.params.get("nonce")
        if isinstance(member, InnerList) and member.params.get("tag") == tag and type(nonce) is str:
            return nonce if profile.NONCE.fullmatch(nonce) else ""
    return ""


def explain(refused: Refused, signed: Signed) -> None:
    """Adds to a SignatureMismatch which lines of `signed` the server built otherwise, if it says so."""
    if isinstance(refused, SignatureMismatch):
        found = mismatch.compare(refused.members.get("base_lines"), signed.claims[-1], base_of(signed))
        if found is not None:
            refused.differences, refused.same = found
