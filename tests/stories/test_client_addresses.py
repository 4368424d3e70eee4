"""
Who would be somebody else by a header, behind proxies and without them.

The attacker wants to call from an address that is not theirs: to be counted as another, to be on a client's list, to
have another's address in the ledger.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import httpx2
import pytest

from sealwire.call import Rule
from sealwire.client import Transport
from sealwire.demo.state import DemoState
from sealwire.entry import Arrival, Enter
from sealwire.fronts.asgi import GuardedApp
from sealwire.fronts.cli.demo import free_port
from sealwire.fronts.server import tls_context
from sealwire.protocol.forwarded import Proxies
from sealwire.protocol.message import Reply
from sealwire.protocol.ratelimit import parse_limit
from tests.reliability.serving import Served
from tests.stories.terminator import Terminator
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.world import Wire, World

NETWORKS = (ip_network("10.0.0.0/8"),)
PROXY, STRANGER = "10.0.0.1", "192.0.2.66"
CLIENT, VICTIM = "198.51.100.7", "203.0.113.9"
LIMITED = Rule("/v1/time", frozenset(("GET",)), "open", limits=(parse_limit("1/min per address"),))
ORDERS = Rule("/v1/orders", frozenset(("POST",)), "signed", headers=frozenset((b"x-custom",)))
BY_NETWORK = {header: Proxies(header, NETWORKS) for header in (b"forwarded", b"x-forwarded-for")}
BY_HOPS = {header: Proxies(header, hops=1) for header in (b"forwarded", b"x-forwarded-for")}
HEADERS = pytest.mark.parametrize("header", list(BY_NETWORK))


class Behind(World):
    """A world behind proxies, or none; what each call was taken to come from is kept."""

    def __init__(self, folder: Path, proxies: Proxies | None) -> None:
        super().__init__(folder, (LIMITED, ORDERS))
        self.arrived: list[str] = []
        handle = self.guard.handle

        async def handled(arrival: Arrival, enter: Enter) -> Reply | None:
            self.arrived.append(arrival.address)
            return await handle(arrival, enter)

        self.guard.handle = handled  # type: ignore[method-assign]
        self.app = GuardedApp(self._app, self.guard, proxies=proxies)

    def bind(self, network: str) -> None:
        """From now on the client may call from there only."""
        record = self.directory._keys[self.signer.keyid]
        self.directory._keys[self.signer.keyid] = record._replace(addresses=(network,))

    def order(self, *fields: tuple[bytes, bytes]) -> Wire:
        """An honest order, to which these fields were added on its way."""
        request = Wire("POST", b"/v1/orders", BODY).sign(self.signer)
        request.headers += fields
        return request

    async def times(self, *values: bytes, header: bytes) -> list[int]:
        """What calls of the limited rule are answered, one with each of these values."""
        answers = []
        for value in values:
            request = Wire("GET", b"/v1/time")
            request.headers.append((header, value))
            answers.append((await self.send(request)).status_code)
        return answers


def said(header: bytes, *addresses: str) -> bytes:
    """A list of addresses as the header has it."""
    before = "for=" if header == b"forwarded" else ""
    return ", ".join(before + address for address in addresses).encode()


@HEADERS
@pytest.mark.parametrize("trusting", [False, True])
async def test_a_stranger_says_where_it_comes_from(tmp_path: Path, header: bytes, trusting: bool) -> None:
    """
    E4: whoever connects by itself sends `Forwarded` or `X-Forwarded-For`: limits, address list and ledger see the peer.

    Stopped by: fronts
    """
    world = Behind(tmp_path, BY_NETWORK[header] if trusting else None)
    world.address = STRANGER
    spoofed = [said(header, address) for address in (VICTIM, CLIENT, PROXY)]
    assert await world.times(*spoofed, header=header) == [200, 429, 429]
    world.address = VICTIM
    assert await world.times(b"unknown", header=header) == [200]
    world.address = STRANGER
    assert (await world.send(world.order((header, spoofed[0])))).status_code == 200
    world.bind("198.51.100.0/24")
    await refused(world, world.order((header, said(header, CLIENT))), 403, "address-not-allowed")
    assert set(world.arrived) == {STRANGER, VICTIM}
    assert {one.address for one in world.ledger.decisions if one.template == ORDERS.template} == {STRANGER}


@HEADERS
@pytest.mark.parametrize("how", [BY_NETWORK, BY_HOPS])
async def test_behind_a_proxy_each_client_is_itself(tmp_path: Path, header: bytes, how: dict[bytes, Proxies]) -> None:
    """
    E4: one client spends its limit behind a proxy that others come through: it spends nobody else's, and is itself to
    the address list and in the ledger.

    Stopped by: fronts
    """
    world = Behind(tmp_path, how[header])
    world.address = PROXY
    told = [said(header, address) for address in (CLIENT, CLIENT, VICTIM, VICTIM)]
    assert await world.times(*told, header=header) == [200, 429, 200, 429]
    world.bind("198.51.100.0/24")
    assert (await world.send(world.order((header, said(header, CLIENT))))).status_code == 200
    await refused(world, world.order((header, said(header, VICTIM))), 403, "address-not-allowed")
    rows = [(one.outcome, one.address) for one in world.ledger.decisions if one.template == ORDERS.template]
    assert rows == [("entered", CLIENT), ("refused", VICTIM)]
    assert set(world.arrived) == {CLIENT, VICTIM}


@HEADERS
@pytest.mark.parametrize("how", [BY_NETWORK, BY_HOPS])
async def test_what_a_client_puts_before_the_proxy_s_word(
    tmp_path: Path, header: bytes, how: dict[bytes, Proxies]
) -> None:
    """
    E4: a client behind a trusted proxy sends a list of its own, to which the proxy adds: on the same line, or below.

    Stopped by: fronts
    """
    world = Behind(tmp_path, how[header])
    world.address = PROXY
    world.bind("203.0.113.0/24")
    own = said(header, CLIENT)
    spoofs = [
        said(header, VICTIM),
        said(header, VICTIM, PROXY),
        b"",
        b"unknown",
        b'for="',
        b'"',
        b"\\",
        b",,,",
        b"\xff",
    ]
    for spoof in spoofs:
        for fields in ([(header, spoof + b", " + own)], [(header, spoof), (header, own)]):
            await refused(world, world.order(*fields), 403, "address-not-allowed")
    answers = await world.times(*(spoof + b"," + own for spoof in spoofs), header=header)
    assert answers == [200, *[429] * (len(spoofs) - 1)]
    assert set(world.arrived) == {CLIENT}


@HEADERS
@pytest.mark.parametrize("how", [BY_NETWORK, BY_HOPS])
async def test_a_proxy_that_does_not_say(tmp_path: Path, header: bytes, how: dict[bytes, Proxies]) -> None:
    """
    E4: a trusted proxy leaves out where a call comes from, or hides it: it is not known, and never the proxy's own.

    Stopped by: fronts
    """
    world = Behind(tmp_path, how[header])
    world.address = PROXY
    for value in (None, b"", said(header, "unknown"), said(header, "_hidden"), said(header, CLIENT, "fe80::1%eth0")):
        fields = [] if value is None else [(header, value)]
        await world.send(world.order(*fields))
    # An address list is held against what is known.
    world.bind("10.0.0.0/8")
    await refused(world, world.order(), 403, "address-not-allowed")
    assert set(world.arrived) == {""}


@HEADERS
@pytest.mark.parametrize("how", [BY_NETWORK, BY_HOPS])
async def test_the_other_header_is_not_read(tmp_path: Path, header: bytes, how: dict[bytes, Proxies]) -> None:
    """
    E4: a client sends the header that its proxy does not write, beside the one that it writes, and others like them.

    Stopped by: fronts
    """
    world = Behind(tmp_path, how[header])
    world.address = PROXY
    (other,) = set(BY_NETWORK) - {header}
    spoofed = [(other, said(other, VICTIM)), (b"x-real-ip", VICTIM.encode()), (b"x_forwarded_for", VICTIM.encode())]
    honest = (header, said(header, CLIENT))
    for fields in ([*spoofed, honest], [honest, *spoofed]):
        assert (await world.send(world.order(*fields))).status_code == 200
    await world.send(world.order(*spoofed))
    assert world.arrived == [CLIENT, CLIENT, ""]


@HEADERS
async def test_the_app_never_sees_them(tmp_path: Path, header: bytes) -> None:
    """
    E4: an app that believes such headers: it gets those that its rule lists, and never these.

    Stopped by: fronts
    """
    for proxies in (None, BY_NETWORK[header]):
        world = Behind(tmp_path, proxies)
        world.address = PROXY
        sent = [(name, said(name, CLIENT)) for name in BY_NETWORK]
        sent += [(b"x-forwarded-host", b"evil.example"), (b"x-forwarded-proto", b"http"), (b"x-custom", b"1")]
        assert (await world.send(world.order(*sent))).status_code == 200
        names = [name for name, _ in world.entered[0]["headers"]]
        assert b"x-custom" in names
        assert [name for name in names if b"forwarded" in name] == []


_POLICY = """
[proxies]
header = "x-forwarded-for"
networks = ["127.0.0.1"]

[pages]
origin = "https://localhost:{pages}"
port = {pages}
sign_in = "people:nobody"

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"
limits = ["1/hour per address"]

[[rules]]
path = "/v1/orders"
methods = ["POST"]
"""
_OWN = re.compile(rb"\r\nx-forwarded-for: *([^\r]*)", re.IGNORECASE)


def adding(chunk: bytes, peer: str) -> bytes:
    """A head as a reverse proxy passes it on: the peer's address behind what the head says already, if it does."""
    head, end, body = chunk.partition(b"\r\n\r\n")
    if not end or not re.search(rb" HTTP/1\.1\r\n", head):
        return chunk
    said = b"".join(one + b", " for one in _OWN.findall(head)) + peer.encode()
    return _OWN.sub(b"", head) + b"\r\nX-Forwarded-For: " + said + end + body


class Proxied(Served):
    """A real `sealwire serve`, and before it a real proxy that has the origin's port."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "state")
        self.behind, pages = free_port(), free_port()
        self.pages = f"https://localhost:{pages}"
        (self.state.folder / "people.py").write_text("def nobody(name, password):\n    return None\n")
        policy = self.state.config.read_text().partition("[[rules]]")[0]
        policy = policy.replace(f"\nport = {self.state.port}\n", f"\nport = {self.behind}\n")
        self.state.config.write_text(policy + _POLICY.format(pages=pages))
        self.url = f"https://localhost:{self.behind}"
        front = DemoState(folder / "proxy", self.state.port)
        front.make()
        self.ca = front.ca
        context = tls_context(front.folder / "tls" / "cert.pem", front.folder / "tls" / "key.pem")
        self.proxy = Terminator(self.state.port, context, self.behind, self.trust())
        self.proxy.on_ask = adding

    def times(self, address: str, *, direct: bool = False, **fields: str) -> int:
        """What a client at this address of the machine is answered, through the proxy or past it."""
        trust = self.trust() if direct else ssl.create_default_context(cafile=str(self.ca))
        with httpx2.Client(transport=httpx2.HTTPTransport(verify=trust, local_address=address)) as http:
            names = {name.replace("_", "-"): value for name, value in fields.items()}
            origin = self.url if direct else self.state.origin
            return http.get(f"{origin}/v1/time", headers={"host": f"localhost:{self.state.port}"} | names).status_code

    def signing_in(self, peer: str, **fields: str) -> int:
        """What the pages answer to a wrong password that comes from this address of the machine."""
        names = {name.replace("_", "-"): value for name, value in fields.items()} | {"origin": self.pages}
        with httpx2.Client(transport=httpx2.HTTPTransport(verify=self.trust(), local_address=peer)) as http:
            form = {"name": "alice", "password": "guessed"}
            return http.post(f"{self.pages}/sign-in", data=form, headers=names).status_code


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Served and proxied, from its first start to its end."""
    made = Proxied(tmp_path_factory.mktemp("proxied"))
    with made.proxy.running():
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.mark.xdist_group("server")
def test_clients_behind_a_real_proxy(proxied: Proxied) -> None:
    """
    E4: real connections from several addresses, through a real proxy to `sealwire serve` and past it, with lists of
    their own: each has the limit of its own address, once.

    Stopped by: fronts
    """
    assert [proxied.times("127.0.0.2") for _ in range(2)] == [200, 429]
    assert proxied.times("127.0.0.2", x_forwarded_for="127.0.0.9") == 429
    assert proxied.times("127.0.0.2", forwarded="for=127.0.0.9") == 429
    assert proxied.times("127.0.0.3", x_forwarded_for="127.0.0.2") == 200
    assert proxied.times("127.0.0.4", direct=True, x_forwarded_for="127.0.0.9") == 200
    assert proxied.times("127.0.0.4", direct=True, x_forwarded_for="127.0.0.8") == 429
    assert proxied.times("127.0.0.9") == 200


@pytest.mark.xdist_group("server")
def test_the_ledger_behind_a_real_proxy(proxied: Proxied) -> None:
    """
    E4: a signed call through a real proxy, with a list of its own: the ledger has where it came from.

    Stopped by: fronts
    """
    credential = proxied.enrolled("bot")
    trust = ssl.create_default_context(cafile=str(proxied.ca))
    inner = httpx2.HTTPTransport(verify=trust, local_address="127.0.0.5")
    with httpx2.Client(transport=Transport(credential, inner=inner), base_url=proxied.state.origin) as http:
        spoofed = {"x-forwarded-for": "127.0.0.9", "x-message": "m"}
        assert http.post("/v1/orders", json={"id": "1"}, headers=spoofed).status_code == 200
    rows = proxied.rows(proxied.ledger, "SELECT DISTINCT address FROM decisions WHERE rule = '/v1/orders'")
    assert rows == [("127.0.0.5",)]


@pytest.mark.xdist_group("server")
def test_the_pages_behind_a_real_proxy(proxied: Proxied) -> None:
    """
    E4: guesses at a password on the real pages, through a proxy and past it, with lists of their own: whoever guesses
    is told apart from everybody else, and whoever is from nowhere does not get to guess.

    Stopped by: pages
    """
    proxy, guesser = "127.0.0.1", "127.0.0.6"
    lists = [f"127.0.0.{number}, {guesser}" for number in range(100, 106)]
    assert [proxied.signing_in(proxy, x_forwarded_for=one) for one in lists] == [*[200] * 5, 429]
    assert proxied.signing_in(guesser, x_forwarded_for="127.0.0.7") == 429
    assert proxied.signing_in(proxy, x_forwarded_for="127.0.0.7") == 200
    assert proxied.signing_in("127.0.0.8", x_forwarded_for=guesser) == 200
    assert proxied.signing_in(proxy, forwarded="for=127.0.0.7") == 503
