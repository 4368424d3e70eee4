"""The judge judged: a sound history has no finding, and each damage to it has its own."""

from __future__ import annotations

import pytest

from tests.reliability.damage import Damage, damages
from tests.reliability.history import Answer, Copy, Effect, Entry, History, Sent, judge
from tests.reliability.sessions import Opening, Under

A, B, C, D, E = (("cli_1", name) for name in "abcde")
DONE = Answer("done", "req_a", b"done")
SOUND = History(
    # One that went well and was asked for again, one that died before the claim and one after it, one that died
    # behind the effect, and one that was answered while the answer was lost on the way. The first was sealed, and the
    # server started anew between its two askings.
    answers={
        A: (DONE, Answer("done", "req_a2", b"done")),
        B: (Answer("none"), Answer("done", "req_b2", b"b")),
        C: (Answer("none"), Answer("unknown", "req_c2")),
        D: (Answer("unknown", "req_d2"),),
        E: (Answer("none"), Answer("done", "req_e2", b"e")),
    },
    sent=(
        Sent(A, "k", "a1", 200, 1, Under(0, "ses_1", 0)),
        Sent(A, "k", "a0", 401, 2, Under(0, "ses_1", 1, code="clock-skew")),
        Sent(A, "k", "a2", 401, 2, Under(0, "ses_1", 1, code="session-unknown")),
        Sent(A, "k", "a3", 200, 2, Under(0, "ses_2", 1)),
        Sent(B, "k", "b1", 0, 1, Under(1, "ses_4", 1, answered=False)),
        Sent(B, "k", "b2", 200),
        Sent(C, "k", "c1", 0),
        Sent(C, "k", "c2", 409),
        Sent(D, "k", "d1", 503),
        Sent(D, "k", "d2", 409),
        Sent(E, "k", "e1", 0),
        Sent(E, "k", "e2", 200),
    ),
    copies=(Copy("k", "a1", 401), Copy("k", "b1", 200), Copy("k", "c1", 401)),
    entries=(
        Entry("req_a", A, "a1", decided=True),
        Entry("req_b2", B, "b2", decided=True),
        Entry("req_d", D, "d1", decided=True),
        Entry("req_e", E, "e1", decided=True),
    ),
    effects=(Effect("req_a", A), Effect("req_b2", B), Effect("req_d", D), Effect("req_e", E)),
    decisions={
        "req_a": "entered",
        "req_a2": "repeated",
        "req_b2": "entered",
        "req_c": "entered",
        "req_c2": "refused",
        "req_d": "entered",
        "req_e": "entered",
        "req_e2": "repeated",
    },
    claims={A: True, B: True, C: False, D: False, E: True},
    claims_in_all=5,
    burnt=frozenset(("k", nonce) for nonce in ("a1", "a3", "b2", "c1", "d1", "e1", "e2")),
    forgot=False,
    openings=(Opening(0, "ses_1", 0), Opening(0, "ses_2", 1), Opening(1, "ses_3", 1), Opening(1, "ses_4", 0)),
)


def test_a_sound_history() -> None:
    """Every lawful end of a call, and a copy that was the first of its message to arrive: nothing to say."""
    assert judge(SOUND) == []


@pytest.mark.parametrize("damage", list(damages(SOUND)), ids=lambda damage: damage.what)
def test_a_damage_is_found(damage: Damage) -> None:
    """One thing wrong, and the finding that says so."""
    assert [finding for finding in judge(damage.history) if damage.finding in finding]
