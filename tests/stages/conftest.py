"""The world that each story begins in."""

from pathlib import Path

import pytest

from tests.stories.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A fresh deployment."""
    return World(tmp_path)
