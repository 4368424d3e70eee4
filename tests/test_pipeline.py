"""The page: each profile's column, its order, and that what is earned is what is demanded."""

from types import MethodType
from typing import cast, get_type_hints

import pytest

from sealwire.desk import Desk
from sealwire.errors import Misuse
from sealwire.pipeline import (
    DEMANDS,
    OBSERVED,
    PROFILES,
    REPLY_ROWS,
    ROWS,
    Failures,
    Pipeline,
    build_pipeline,
    check_order,
    column,
)
from tests.stages.made import KeptNotices, Stores, entropy


def built() -> Pipeline:
    """The page on fresh stores."""
    stores = Stores()
    return build_pipeline(
        directory=stores.directory,
        nonces=stores.nonces,
        sessions=stores.sessions,
        buckets=stores.buckets,
        ledger=stores.ledger,
        keyring=stores.keyring,
        entropy=entropy,
        desk=Desk(stores.approvals, stores.keyring, entropy, KeptNotices(), "https://pages.example"),
        apikeys=stores.apikeys,
        failures=Failures(),
        line_fingerprints=True,
    )


_UNSIGNED = ("throttle address", "admit", "body", "validate")


@pytest.mark.parametrize(
    ("profile", "names", "replies"),
    [
        ("open", _UNSIGNED, ("harden",)),
        ("published", _UNSIGNED, ("harden", "sign")),
        (
            "keyed",
            ("look at limits", "admit", "bearer", "throttle caller", "authorize", "body", "still good", "validate"),
            ("harden",),
        ),
        (
            "signed",
            ("look at limits", "admit", "verify", "body", "nonce", "authenticate", "throttle caller", "authorize",
             "validate", "idempotency"),
            ("harden", "sign"),
        ),
        (
            "sealed",
            ("look at limits", "admit", "verify", "body", "nonce", "authenticate", "throttle caller", "authorize",
             "session", "unseal", "validate", "idempotency"),
            ("harden", "seal", "sign"),
        ),
        (
            "critical",
            ("look at limits", "admit", "verify", "body", "nonce", "authenticate", "throttle caller", "authorize",
             "session", "unseal", "validate", "idempotency", "step up"),
            ("harden", "seal", "sign"),
        ),
        (
            "enrolment",
            ("throttle address", "admit", "permit", "body", "possess", "nonce", "validate"),
            ("harden", "sign"),
        ),
    ],
)  # fmt: skip
def test_columns(profile: str, names: tuple[str, ...], replies: tuple[str, ...]) -> None:
    """Each profile goes through these checks in this order."""
    assert column(ROWS, profile) == names
    assert column(REPLY_ROWS, profile) == replies
    page = built()
    assert tuple(name for name, _ in page.stages[profile]) == names
    assert [type(cast(MethodType, stage).__self__).__name__.lower() for stage in page.replies[profile]] == list(replies)


@pytest.mark.parametrize("profile", PROFILES)
def test_all_that_is_demanded_is_earned(profile: str) -> None:
    """The stages of a column make exactly the evidence that its profile demands, each kind once."""
    earned = [get_type_hints(stage)["return"] for _, stage in built().stages[profile]]
    assert len(set(earned)) == len(earned)
    assert frozenset(earned) == DEMANDS[profile]


def test_observed_stages_are_of_the_columns_of_rules() -> None:
    """Observe mode forgives only checks that a call of a rule goes through, and no limit before proof."""
    all_of_them = {name for profile in ("keyed", "signed", "sealed") for name in column(ROWS, profile)}
    assert all_of_them - {"look at limits", "admit"} == OBSERVED
    assert "step up" not in OBSERVED, "nobody's yes is done without"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("nonce", "body"), "body must come before nonce"),
        (("body", "verify"), "verify must come before body"),
        (("still good", "body"), "body must come before still good"),
        (("sign", "harden"), "harden must come before sign"),
        (("sign", "seal"), "seal must come before sign"),
        (("seal", "harden"), "harden must come before seal"),
        (("session", "authorize"), "authorize must come before session"),
        (("unseal", "session"), "session must come before unseal"),
        (("validate", "unseal"), "unseal must come before validate"),
        (("step up", "unseal"), "unseal must come before step up"),
        (("step up", "validate"), "validate must come before step up"),
        (("step up", "idempotency"), "idempotency must come before step up"),
        (("body", "body"), "twice"),
    ],
)
def test_a_broken_order_stops_the_start(names: tuple[str, ...], said: str) -> None:
    """A column whose order is broken, or in which a stage stands twice, is the developer's mistake."""
    with pytest.raises(Misuse, match=said):
        check_order(names)
