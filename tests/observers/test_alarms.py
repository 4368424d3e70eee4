"""FailedTries: who is warned of, how often, and that a flood of tries is no flood of warnings."""

import logging

import pytest

from sealwire.call import Outcome
from sealwire.observers.alarms import FailedTries
from tests.observers.test_observers import REFUSED
from tests.stories.world import START

OF_ADDRESS = REFUSED._replace(code="rate-limited/failures-address", address="2001:db8::1")
OF_KEY = REFUSED._replace(code="rate-limited/failures-key", claimed="key_1")
MOST = 1000


class Watch:
    """FailedTries, what it counted, and its lines."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.counted: list[str] = []
        self.alarms = FailedTries(self.counted.append)
        self._caplog = caplog

    def hear(self, outcome: Outcome, after: float = 0) -> list[str]:
        """The lines of one outcome."""
        self._caplog.clear()
        self.alarms.heard(outcome._replace(at=START + after))
        lines = [record for record in self._caplog.records if record.name == "sealwire.alarms"]
        assert all(record.levelno == logging.WARNING for record in lines)
        return [record.getMessage() for record in lines]


@pytest.fixture
def watch(caplog: pytest.LogCaptureFixture) -> Watch:
    """A fresh one."""
    return Watch(caplog)


def test_where_from_and_with_which_key(watch: Watch) -> None:
    """A line names the network of whoever tries, or the key that is tried; each call is counted by its kind."""
    (said,) = watch.hear(OF_ADDRESS)
    assert "from 2001:db8::/64: keys are guessed" in said
    (said,) = watch.hear(OF_KEY)
    assert "key key_1, from many places" in said
    assert "192.0.2.1" not in said
    assert watch.counted == ["address", "key"]


def test_once_a_minute(watch: Watch) -> None:
    """Of the same network, or key, once a minute, whatever address of it; every call counts all the same."""
    assert len(watch.hear(OF_ADDRESS)) == 1
    for after in (0, 1, 59.9):
        assert watch.hear(OF_ADDRESS._replace(address=f"2001:db8::{int(after):x}"), after) == []
    assert len(watch.hear(OF_ADDRESS._replace(address="2001:db8:1::1"), 1)) == 1
    assert len(watch.hear(OF_KEY, 1)) == 1
    assert len(watch.hear(OF_KEY._replace(claimed="key_2"), 1)) == 1
    assert watch.hear(OF_KEY, 2) == []
    assert len(watch.hear(OF_ADDRESS, 60)) == 1
    assert watch.hear(OF_ADDRESS, 61) == []
    assert watch.counted == ["address"] * 5 + ["key"] * 3 + ["address"] * 2


def test_with_what_was_never_a_key(watch: Watch) -> None:
    """Nobody's is named, and it is one line all the same."""
    (said,) = watch.hear(OF_KEY._replace(claimed=""))
    assert "with an API key of nobody's, from many places" in said
    assert watch.hear(OF_KEY._replace(claimed=""), 1) == []


def test_a_clock_that_was_set_back(watch: Watch) -> None:
    """It silences nobody for as long as it was set back."""
    assert len(watch.hear(OF_ADDRESS)) == 1
    assert len(watch.hear(OF_ADDRESS, -3600)) == 1
    assert watch.hear(OF_ADDRESS, -3590) == []


def test_as_many_as_the_bound(watch: Watch) -> None:
    """It keeps whom it spoke of last, a thousand of them; one that came again is not the first to be forgotten."""
    for i in range(MOST):
        assert len(watch.hear(OF_KEY._replace(claimed=f"k{i}"), 0)) == 1
    assert len(watch.hear(OF_KEY._replace(claimed="k0"), 70)) == 1
    for i in range(5):
        assert len(watch.hear(OF_KEY._replace(claimed=f"new {i}"), 70)) == 1
    assert watch.hear(OF_KEY._replace(claimed="k0"), 71) == []
    assert len(watch.alarms._told) == MOST
    assert watch.hear(OF_KEY._replace(claimed="k6"), 59) == []
    assert len(watch.hear(OF_KEY._replace(claimed="k1"), 59)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "rate-limited/address",
        "rate-limited/caller",
        "rate-limited/busy",
        "token-invalid/unknown",
        "ok",
        "key-unknown/unknown",
    ],
)
def test_of_nothing_else(watch: Watch, code: str) -> None:
    """Other limits, and single tries, are no alarm."""
    assert watch.hear(REFUSED._replace(code=code, claimed="key_1")) == []
    assert watch.counted == []
