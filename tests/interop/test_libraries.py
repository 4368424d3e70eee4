"""Each transport of the client, of httpx2 and of httpx, for threads and for tasks, at the real server over real TLS."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

import sealwire.client
import sealwire.client.httpx
from sealwire.admin import Admin
from sealwire.client import Credential, Receipt, enroll
from sealwire.demo.state import DemoState

ORDER = {"market": "BTC-EUR", "amount": "0.01"}
pytestmark = pytest.mark.xdist_group("desk")

LIBRARIES: tuple[tuple[ModuleType, ModuleType], ...] = (
    (httpx2, sealwire.client),
    (httpx, sealwire.client.httpx),
)


@pytest.fixture(scope="module")
def credential(desk: DemoState, tmp_path_factory: pytest.TempPathFactory) -> Credential:
    """A client of the desk."""
    path: Path = tmp_path_factory.mktemp("libraries") / "bot.json"
    with Admin(desk.config) as admin:
        enroll(desk.origin, admin.invite("libraries"), name="libraries", path=path, ca=desk.ca)
    return Credential.load(path)


def judged(reply: Any, receipt: Receipt) -> None:
    """The app's own answer, opened and proven."""
    assert (reply.status_code, reply.headers["content-type"], reply.json()["said"]) == (201, "application/json", ORDER)
    assert (receipt.sends, receipt.outcome) == (1, "answered")


@pytest.mark.parametrize(("library", "ours"), LIBRARIES)
def test_threads(desk: DemoState, credential: Credential, library: ModuleType, ours: ModuleType) -> None:
    """Twenty at once with one transport, sealed and in clear, from one session: each is answered once."""
    with library.Client(transport=ours.Transport(credential=credential), base_url=desk.origin) as http:

        def call(_: int) -> Any:
            return http.post("/orders", json=ORDER)

        with ThreadPoolExecutor(20) as pool:
            for reply in pool.map(call, range(20)):
                assert isinstance(reply, library.Response)
                judged(reply, reply.extensions["sealwire"])


@pytest.mark.parametrize(("library", "ours"), LIBRARIES)
async def test_tasks(desk: DemoState, credential: Credential, library: ModuleType, ours: ModuleType) -> None:
    """The same for tasks."""
    transport = ours.AsyncTransport(credential=credential)
    async with library.AsyncClient(transport=transport, base_url=desk.origin) as http:
        for reply in await asyncio.gather(*(http.post("/orders", json=ORDER) for _ in range(20))):
            assert isinstance(reply, library.Response)
            judged(reply, reply.extensions["sealwire"])


@pytest.mark.parametrize(("library", "ours"), LIBRARIES)
def test_a_server_that_is_gone(credential: Credential, library: ModuleType, ours: ModuleType, desk: DemoState) -> None:
    """Each library's own error where nothing was sent, and no error at the end."""
    gone = Credential(
        "https://localhost:1", credential.client, "gone", credential.key, credential.signer, credential.server_keys,
        desk.ca,
    )  # fmt: skip
    http = library.Client(transport=ours.Transport(credential=gone), base_url=gone.origin)
    with http, pytest.raises(library.ConnectError):
        http.post("/orders", json=ORDER)
