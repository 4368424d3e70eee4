"""
A Problem as a problem document (RFC 9457) and the fields that go with it (docs/protocol.md, "Saying no").

Owns: the members and their order, `WWW-Authenticate`, `retryable`.
Refuses to know: why it was refused; that is the Problem's own.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from sealwire.errors import JUDGEMENTS, TABLE, Problem

PATH = "/.well-known/sealwire/problems/"
MEDIA_TYPE = b"application/problem+json"


class Answer(NamedTuple):
    """A refusal as it goes out: status, fields, body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def stages(failed: str) -> dict[str, str]:
    """Each judgement of a signature as ok, failed or skipped, in their order."""
    at = JUDGEMENTS.index(failed)
    return {name: "ok" if i < at else "failed" if i == at else "skipped" for i, name in enumerate(JUDGEMENTS)}


def answer(problem: Problem, origin: str, request_id: str, *, idempotent: bool = False, sealed: bool = False) -> Answer:
    """
    The problem document of `problem`; `idempotent` says that the request carried an idempotency key, `sealed` that the
    document goes out sealed, so that nothing of it may stand in the fields.
    """
    row = TABLE[problem.slug]
    document: dict[str, object] = {
        "type": f"{origin}{PATH}{problem.slug}",
        "title": row.title,
        "status": row.status,
        "detail": problem.detail,
        "code": problem.slug,
        "request_id": request_id,
        "retryable": row.retryable or (problem.slug == "replay-detected" and idempotent),
    }
    if problem.failed:
        document["stages"] = stages(problem.failed)
    document |= problem.members
    headers = [(b"content-type", MEDIA_TYPE), *problem.fields]
    if row.status == 401:
        headers.append((b"www-authenticate", _challenge(problem, origin, sealed=sealed)))
    if row.status == 503 and not any(name == b"retry-after" for name, _ in headers):
        headers.append((b"retry-after", b"2"))
    return Answer(row.status, tuple(headers), json.dumps(document, ensure_ascii=True).encode("ascii"))


def _challenge(problem: Problem, origin: str, *, sealed: bool) -> bytes:
    """What would be taken: a signature (RFC 9421), or a bearer (RFC 6750 section 3, no error where none was sent)."""
    scheme, error = "Signature", problem.slug
    if problem.slug == "token-invalid":
        scheme, error = "Bearer", "" if problem.cause == "absent" else "invalid_token"
    told = f', error="{error}"' if error and not sealed else ""
    return f'{scheme} realm="{origin}"{told}'.encode("ascii")
