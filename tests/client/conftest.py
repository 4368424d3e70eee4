"""What every story of the client begins with: a server, an enrolled client, and the way between them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import httpx2
import pytest

from sealwire.client import Credential, Transport
from sealwire.client.credential import read_key
from sealwire.client.keypair import new_key
from sealwire.client.library import default_extensions
from sealwire.client.origin import read_key_set
from sealwire.client.sending import drive, send
from sealwire.protocol.jwk import load_verifier
from tests.client.callers import KINDS, Caller, Kind
from tests.client.server_double import Clock, Server, Way

Open = Callable[..., httpx2.Client]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Server:
    return Server(clock=Clock(clock.now))


@pytest.fixture
def way(server: Server) -> Way:
    return Way(server)


def enrolled(server: Server, algorithm: str = "ed25519") -> Credential:
    key = new_key(algorithm)
    signer = read_key(key)
    server.clients[signer.keyid] = ("cli_ALICE", load_verifier(signer.jwk))
    return Credential(server.origin, "cli_ALICE", "alice", key, signer, read_key_set(server.key_set()))


@pytest.fixture
def credential(server: Server) -> Credential:
    return enrolled(server)


@pytest.fixture
def http(credential: Credential, way: Way, clock: Clock) -> httpx2.Client:
    transport = primed(Transport(credential, inner=way, clock=clock))
    return httpx2.Client(transport=transport, base_url=credential.origin)


@pytest.fixture
def kind() -> Kind:
    """The first; a test that is for all of them says so."""
    return KINDS[0]


@pytest.fixture
def caller(kind: Kind, server: Server, credential: Credential, clock: Clock) -> Iterator[Caller]:
    made = Caller(kind, credential, server, clock)
    yield made
    made.end()


def primed(transport: Transport) -> Transport:
    """The transport after it has asked for the rules, as each does before its first call."""
    here = transport._here()
    drive(
        here.rules.ask(here.origin, transport._clock, os.urandom),
        lambda out: send(here.inner, here.origin.name, out, default_extensions()),
    )
    return transport
