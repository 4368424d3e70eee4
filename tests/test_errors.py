"""The table of errors, against what the protocol says of it."""

import pytest

from sealwire.errors import JUDGEMENTS, TABLE, Fault, Misuse, Problem, Refusal

STATUS = {
    401: "signature-missing components-insufficient algorithm-not-allowed key-unknown clock-skew digest-mismatch "
    "token-invalid signature-mismatch replay-detected invitation-invalid session-unknown session-expired",
    400: "signature-malformed target-not-canonical idempotency-missing header-malformed encryption-required "
    "encryption-unexpected envelope-malformed decrypt-failed query-in-clear",
    403: "scope-insufficient address-not-allowed approval-required approval-pending approval-denied approval-expired",
    404: "not-found",
    405: "method-not-allowed",
    409: "idempotency-in-progress",
    413: "body-too-large",
    415: "media-type",
    421: "authority-unknown",
    422: "request-invalid idempotency-conflict",
    429: "rate-limited",
    500: "internal",
    503: "store-unavailable audit-unavailable custody-unavailable",
}
RETRYABLE = (
    "clock-skew session-unknown session-expired rate-limited idempotency-in-progress approval-pending"
    " store-unavailable audit-unavailable custody-unavailable"
)


def test_status_of_each_slug() -> None:
    """Every slug has the status that the protocol gives it."""
    assert {slug: row.status for slug, row in TABLE.items()} == {
        slug: status for status, slugs in STATUS.items() for slug in slugs.split()
    }


def test_what_may_be_repeated() -> None:
    """Of what a caller meets without an idempotency key, these may be tried again."""
    assert {slug for slug, row in TABLE.items() if row.retryable} == set(RETRYABLE.split())


def test_judgements() -> None:
    """A signature is judged in this order."""
    assert JUDGEMENTS == (
        "parse",
        "components",
        "key",
        "algorithm",
        "created",
        "signature",
        "digest",
        "replay",
        "policy",
    )


@pytest.mark.parametrize("slug", TABLE)
def test_rows(slug: str) -> None:
    """Each row says what it means and what to do, and has causes that tell the ledger more than the slug."""
    row = TABLE[slug]
    assert row.title
    assert row.meaning.endswith(".")
    assert row.remedy.endswith(".")
    assert not row.title.endswith(".")
    assert row.causes


def test_a_problem() -> None:
    """Slug, cause, detail and what else it was made with; what is left out is the row's own or empty."""
    refusal = Refusal("clock-skew", "late", "sentence", failed="created", members={"a": 1}, fields=((b"b", b"c"),))
    assert (refusal.slug, refusal.cause, refusal.code, refusal.status) == ("clock-skew", "late", "clock-skew/late", 401)
    assert (refusal.detail, refusal.failed) == ("sentence", "created")
    assert (refusal.members, refusal.fields) == ({"a": 1}, ((b"b", b"c"),))
    assert str(refusal) == "clock-skew/late"
    plain = Fault("internal", "bug")
    assert (plain.detail, plain.failed, plain.members, plain.fields) == (TABLE["internal"].meaning, "", {}, ())


def test_members_are_its_own() -> None:
    """What is added to one problem is not in the next."""
    Refusal("not-found", "no-rule").members["x"] = 1
    assert Refusal("not-found", "no-rule").members == {}


@pytest.mark.parametrize(("slug", "cause"), [("clock-skew", "bug"), ("clock-skew", ""), ("teapot", "late"), ("", "")])
def test_only_what_is_in_the_table(slug: str, cause: str) -> None:
    """No slug and no cause is invented on the way."""
    with pytest.raises(KeyError):
        Refusal(slug, cause)


def test_three_kinds_of_no() -> None:
    """Theirs and ours are problems that a caller may see; the developer's mistake is none."""
    assert issubclass(Refusal, Problem)
    assert issubclass(Fault, Problem)
    assert not issubclass(Fault, Refusal)
    assert not issubclass(Refusal, Fault)
    assert not issubclass(Misuse, Problem)
