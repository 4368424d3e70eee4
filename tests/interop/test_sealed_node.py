"""A caller in Node on jose, @hpke and http-message-sig at sealed routes, over real TLS, to `sealwire serve`."""

import json
import subprocess
from pathlib import Path

import pytest

from sealwire.admin import Admin
from sealwire.demo.state import DemoState

pytestmark = pytest.mark.xdist_group("server")
CALLERS = Path(__file__).with_name("node")
ORDER = {"market": "BTC-EUR", "amount": "0.01"}


def heard(path: str, query: str = "", said: object = None) -> dict[str, object]:
    """What the desk says that reached it."""
    return {"path": path, "query": query, "type": "" if said is None else "application/json", "said": said}


def test_a_session_over_each_kem(desk: DemoState) -> None:
    """
    By invitation in; then for each kem a session proven by its commitment, sealed calls with and without a body, a
    refusal that comes sealed, the session's own key, and its end. The caller verified every reply before it read it.
    """
    with Admin(desk.config) as admin:
        invitation = admin.invite("node")
    given = json.dumps({"origin": desk.origin, "ca": str(desk.ca.absolute()), "invitation": invitation})
    ended = subprocess.run(
        ["node", "sealed.mjs"], input=given, capture_output=True, text=True, timeout=60, check=False, cwd=CALLERS
    )
    assert ended.returncode == 0, ended.stderr
    life = {
        "ordered": [201, "sealed", heard("/orders", said=ORDER)],
        "listed": [200, "sealed", heard("/orders")],
        "cancelled": [204, "clear", None],
        "refused": [422, "sealed", "request-invalid"],
        "byMac": [201, "sealed", heard("/quotes", "page=2", ORDER)],
        "listedByMac": [200, "sealed", heard("/quotes", "page=3")],
        "ended": [204, "clear", None],
        "afterwards": [401, "clear", "session-unknown"],
    }
    kems = ("MLKEM768-X25519", "X25519", "P-256", "RSA-OAEP-256")
    assert json.loads(ended.stdout) == {"enrolled": 201} | dict.fromkeys(kems, life)
