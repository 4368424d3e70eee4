"""A refusal as a problem document."""

import json
from typing import Any

import pytest

from sealwire.errors import JUDGEMENTS, TABLE, Fault, Problem, Refusal
from sealwire.protocol.problem import MEDIA_TYPE, answer, stages

ORIGIN = "https://api.example.com"


def document(problem: Problem, *, idempotent: bool = False) -> tuple[int, dict[bytes, bytes], dict[str, Any]]:
    """Status, fields and document of the answer."""
    made = answer(problem, ORIGIN, "req_1", idempotent=idempotent)
    return made.status, dict(made.headers), json.loads(made.body)


def test_members() -> None:
    """The members of RFC 9457 and ours; the cause stays inside."""
    status, headers, members = document(Refusal("request-invalid", "json", 'The "body" is ü.', members={"errors": [1]}))
    assert status == 422
    assert headers == {b"content-type": b"application/problem+json"}
    assert MEDIA_TYPE == b"application/problem+json"
    assert members == {
        "type": "https://api.example.com/.well-known/sealwire/problems/request-invalid",
        "title": TABLE["request-invalid"].title,
        "status": 422,
        "detail": 'The "body" is ü.',
        "code": "request-invalid",
        "request_id": "req_1",
        "retryable": False,
        "errors": [1],
    }


@pytest.mark.parametrize("slug", TABLE)
def test_every_slug(slug: str) -> None:
    """Status as in the table, ASCII only, and no cause on the wire."""
    for cause in TABLE[slug].causes:
        made = answer(Refusal(slug, cause), ORIGIN, "req_1")
        members = json.loads(made.body)
        assert made.body.isascii()
        assert (made.status, members["status"], members["code"]) == (TABLE[slug].status, TABLE[slug].status, slug)
        assert "cause" not in members
        # That nothing was sent is no secret to its sender, and no error (RFC 6750 section 3.1).
        other = cause if cause == "absent" else min(TABLE[slug].causes - {"absent"}, default=cause)
        assert made == answer(Refusal(slug, other), ORIGIN, "req_1")


def test_www_authenticate() -> None:
    """With every 401, and with nothing else."""
    for slug, row in TABLE.items():
        _, headers, _ = document(Refusal(slug, min(row.causes)))
        wanted = f'Signature realm="{ORIGIN}", error="{slug}"'.encode() if row.status == 401 else None
        if slug == "token-invalid":
            continue
        assert headers.get(b"www-authenticate") == wanted
    for cause in TABLE["token-invalid"].causes:
        _, headers, _ = document(Refusal("token-invalid", cause))
        error = "" if cause == "absent" else ', error="invalid_token"'
        assert headers[b"www-authenticate"] == f'Bearer realm="{ORIGIN}"{error}'.encode()


def test_retry_after() -> None:
    """A 503 says when to come again, unless the problem says it; other fields of the problem go out as they are."""
    _, headers, _ = document(Fault("store-unavailable", "nonces"))
    assert headers[b"retry-after"] == b"2"
    made = answer(Fault("store-unavailable", "nonces", fields=((b"retry-after", b"9"),)), ORIGIN, "r")
    assert [value for name, value in made.headers if name == b"retry-after"] == [b"9"]
    _, headers, _ = document(Refusal("method-not-allowed", "method", fields=((b"allow", b"GET"),)))
    assert headers[b"allow"] == b"GET"
    assert b"retry-after" not in headers


def test_retryable() -> None:
    """A replay may be repeated if an idempotency key makes that safe; nothing else hangs on the key."""
    assert not json.loads(answer(Refusal("replay-detected", "nonce"), ORIGIN, "r").body)["retryable"]
    assert document(Refusal("replay-detected", "nonce"), idempotent=True)[2]["retryable"]
    assert document(Refusal("clock-skew", "late"))[2]["retryable"]
    assert not document(Refusal("digest-mismatch", "differs"), idempotent=True)[2]["retryable"]


def test_stages() -> None:
    """All before the failed one are ok, all behind it are skipped; without a failed one nothing is said."""
    _, _, members = document(Refusal("signature-mismatch", "does-not-verify", failed="signature"))
    assert members["stages"] == {
        "parse": "ok",
        "components": "ok",
        "key": "ok",
        "algorithm": "ok",
        "created": "ok",
        "signature": "failed",
        "digest": "skipped",
        "replay": "skipped",
        "policy": "skipped",
    }
    assert list(members["stages"]) == list(JUDGEMENTS)
    assert "stages" not in document(Refusal("not-found", "no-rule"))[2]
    assert set(stages("parse").values()) == {"failed", "skipped"}
    assert set(stages("policy").values()) == {"ok", "failed"}
