"""A caller in Node, with no line of ours in it, over real TLS."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving

pytestmark = pytest.mark.xdist_group("server")
CALLER = Path(__file__).with_name("node") / "caller.mjs"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """The exchange, running; this and the invitation are all that is ours."""
    state = DemoState(tmp_path_factory.mktemp("node"), free_port())
    state.make()
    with serving(state):
        yield state


def test_the_whole_life_of_a_key(demo: DemoState) -> None:
    """By invitation in, a signed GET, a signed order, a rotation; each reply verified under the pinned key."""
    demo.add_user("carol")
    with Admin(demo.config) as admin:
        invitation = admin.invite("carol-bot", user="carol")
    given = json.dumps({"origin": demo.origin, "ca": str(demo.ca.absolute()), "invitation": invitation})
    ended = subprocess.run(
        ["node", str(CALLER)], input=given, capture_output=True, text=True, timeout=60, check=False, cwd=CALLER.parent
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {
        "enrolled": 201,
        "balances": {"BTC": "10", "EUR": "100000"},
        "balancesVerified": True,
        "ordered": 201,
        "orderVerified": True,
        "again": "replay-detected",
        "rotated": 201,
        "withNewKey": 200,
    }
