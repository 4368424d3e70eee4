"""What the contract suites share."""

import pytest

from tests.contract.adapters import SetClock


@pytest.fixture
def clock() -> SetClock:
    """A clock that stands still until it is moved."""
    return SetClock()
