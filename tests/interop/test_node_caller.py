"""Two callers in Node, with no line of ours in them, over real TLS: one on a library of others, one on no package."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving
from tests.signed_exchange import make_signed

pytestmark = pytest.mark.xdist_group("server")
CALLERS = Path(__file__).with_name("node")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """The exchange, all of it signed, running; this and the invitation are all that is ours."""
    state = DemoState(tmp_path_factory.mktemp("node"), free_port())
    make_signed(state)
    with serving(state):
        yield state


def told(demo: DemoState, caller: str, user: str) -> object:
    """What a caller says that happened, with an invitation for a user of its own."""
    demo.add_user(user)
    with Admin(demo.config) as admin:
        invitation = admin.invite(f"{user}-bot", user=user)
    given = json.dumps({"origin": demo.origin, "ca": str(demo.ca.absolute()), "invitation": invitation})
    ended = subprocess.run(
        ["node", caller], input=given, capture_output=True, text=True, timeout=60, check=False, cwd=CALLERS
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_whole_life_of_a_key(demo: DemoState) -> None:
    """By invitation in, a signed GET, a signed order, a rotation; each reply verified under the pinned key."""
    assert told(demo, "caller.mjs", "carol") == {
        "enrolled": 201,
        "balances": {"BTC": "10", "EUR": "100000"},
        "balancesVerified": True,
        "ordered": 201,
        "orderVerified": True,
        "again": "replay-detected",
        "rotated": 201,
        "withNewKey": 200,
    }


def test_a_client_made_from_the_page_alone(demo: DemoState) -> None:
    """
    What docs/protocol.md says is enough: enrolled an hour late, ordered an hour early, a problem proven, each changed
    reply refused and its reason named, the key rotated and revoked.
    """
    assert told(demo, "plain.mjs", "dora") == {
        "otherPin": "its key is not trusted",
        "enrolled": 201,
        "discovery": True,
        "signed": ["/v1/balances", "/v1/quotes", "/v1/orders", "/v1/orders/{id}", "/v1/withdrawals"],
        "keySet": 1,
        "balances": {"status": 200, "json": {"BTC": "10", "EUR": "100000"}},
        "ordered": [201, 201, True],
        "problem": [422, "idempotency-conflict"],
        "early": [[201, 2], [201, 1]],
        "earlyWithoutKey": "it is not signed (clock-skew)",
        "lies": {
            "body": "its body is not what was signed",
            "noBody": "its body is not what was signed",
            "status": "its signature does not verify",
            "fieldAdded": '"x-more" is not covered',
            "fieldGone": '"x-request-id" is covered and was not received',
            "unsigned": "it is not signed",
            "otherBytes": "its signature does not verify",
            "otherKey": "its key is not trusted",
            "earlier": "its signature does not verify",
            "oldKeySet": "it repeats another nonce",
        },
        "rotated": [201, True],
        "withNewKey": 200,
        "rotatedByTheOld": "approval-required",
        "revoked": 204,
        "afterwards": "it is not signed (key-unknown)",
    }
