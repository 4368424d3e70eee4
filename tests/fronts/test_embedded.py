"""The guard around one's own app, by its public name."""

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from prometheus_client import REGISTRY

import sealwire
from sealwire.call import Outcome
from sealwire.clock import ClockWatch
from sealwire.demo.state import DemoState
from sealwire.fronts.asgi import Receive, Scope, Send
from tests.stories.world import together


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Says hello."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class Heard(list[str]):
    """Where calls came from, as observers hear it."""

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        self.append(outcome.address)


async def test_around_ones_own_app(tmp_path: Path) -> None:
    """An open route answers, a signed one asks for a signature, an unnamed front end is a misuse."""
    state = DemoState(tmp_path, 8443)
    state.make()
    unnamed = sealwire.Sealwire(app, config=state.config)
    state.config.write_text('front_end = "nginx"\n' + state.config.read_text())
    guarded = sealwire.Sealwire(app, config=state.config)
    answers = []
    for wrapped, path in ((guarded, "/v1/time"), (guarded, "/v1/balances"), (unnamed, "/v1/time")):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(wrapped), base_url=state.origin) as http:
            answers.append((await http.get(path)).status_code)
    assert answers == [200, 401, 500]


@pytest.mark.parametrize("proxied", [False, True])
async def test_behind_proxies(tmp_path: Path, *, proxied: bool) -> None:
    """The proxies of the policy file are believed around one's own app as they are by our runner, and no others."""
    state = DemoState(tmp_path, 8443)
    state.make()
    policy = state.config.read_text().replace("[listen]", '[proxies]\nheader = "forwarded"\nhops = 1\n\n[listen]')
    state.config.write_text('front_end = "nginx"\n' + (policy if proxied else state.config.read_text()))
    guarded = sealwire.Sealwire(app, config=state.config)
    heard = Heard()
    observers = together(guarded._guard)
    observers._observers = (heard,)
    transport = httpx2.ASGITransport(guarded, client=("192.0.2.1", 1))
    async with httpx2.AsyncClient(transport=transport, base_url=state.origin) as http:
        await http.get("/v1/time", headers={"forwarded": "for=6.6.6.6, for=198.51.100.7"})
    observers.flush()
    assert heard == ["198.51.100.7" if proxied else "192.0.2.1"]


def test_two_processes_do_not_share_a_memory(tmp_path: Path) -> None:
    """C4: a second process over one database would accept a captured message once more, so it does not start."""
    state = DemoState(tmp_path, 8443)
    state.make()
    begin = "import sys, sealwire; sealwire.Sealwire(None, config=sys.argv[1])"
    alone = subprocess.run([sys.executable, "-c", begin, state.config], check=False)
    assert alone.returncode == 0
    for _ in range(2):
        sealwire.Sealwire(app, config=state.config)  # one process may have several
    second = subprocess.run([sys.executable, "-c", begin, state.config], capture_output=True, check=False)
    assert second.returncode == 1
    assert b"another process serves over sealwire.db with its own nonces" in second.stderr


async def test_a_clock_that_is_set_is_counted(tmp_path: Path) -> None:
    """The guard is wired with what watches the clock, and its count is a metric of this process."""
    state = DemoState(tmp_path, 8443)
    state.make()
    state.config.write_text('front_end = "nginx"\n' + state.config.read_text())
    guarded = sealwire.Sealwire(app, config=state.config)
    observers = together(guarded._guard)
    (watch,) = (one for one in observers._observers if isinstance(one, ClockWatch))
    before = REGISTRY.get_sample_value("sealwire_clock_steps_total") or 0
    watch._distance -= 3600  # as if the clock had been an hour behind until now
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(guarded), base_url=state.origin) as http:
        await http.get("/v1/time")
        await http.get("/v1/time")
    observers.flush()
    assert REGISTRY.get_sample_value("sealwire_clock_steps_total") == before + 1


def test_an_operator_from_code(tmp_path: Path) -> None:
    """Every administrative act is a method; other names are none."""
    state = DemoState(tmp_path, 8443)
    state.make()
    with sealwire.Admin(state.config) as admin:
        assert admin.invite("bot").startswith("sw_test_inv_")
        assert [invitation.name for invitation in admin.invitations()] == ["bot"]
    with pytest.raises(AttributeError, match="nothing"):
        _ = sealwire.nothing
