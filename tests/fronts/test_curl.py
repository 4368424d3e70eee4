"""`sealwire sign --as-curl`: a command for those who want to see it, sent by a real curl to a real server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sealwire.admin import Admin
from sealwire.client import enroll
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving
from tests.fronts.command import sealwire
from tests.signed_exchange import make_signed

pytestmark = pytest.mark.xdist_group("server")
ORDER = '{"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}'


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """An exchange whose orders are signed, and a client of it with its own file."""
    state = DemoState(tmp_path_factory.mktemp("curl"), free_port())
    make_signed(state)
    state.add_user("alice")
    with serving(state):
        with Admin(state.config) as admin:
            invitation = admin.invite("curl", user="alice")
        enroll(state.origin, invitation, name="curl", path=state.folder / "c.json", ca=state.ca)
        yield state


@pytest.mark.parametrize("body", [None, ORDER, "@order.json"])
def test_the_curl_command_works_once(signed: DemoState, body: str | None) -> None:
    """What `sign --as-curl` prints is sent by a real curl as it stands, and taken a single time."""
    here: Path = signed.folder
    (here / "order.json").write_text(ORDER + "\n")
    what: tuple[str, ...] = ("GET", f"{signed.origin}/v1/balances")
    if body is not None:
        what = ("POST", f"{signed.origin}/v1/orders", "--json", body)
    command = sealwire(here, "sign", *what, "--credential", "c.json", "--as-curl").out
    for status in (200 if body is None else 201, 401):
        script = command.strip() + " --silent --show-error --write-out '\\n%{http_code}'"
        done = subprocess.run(["sh", "-c", script], cwd=here, check=True, capture_output=True, text=True)
        answer, _, code = done.stdout.rpartition("\n")
        assert int(code) == status, done.stdout
        if status == 401:
            assert json.loads(answer)["code"] == "replay-detected"
