"""A caller on other libraries, with no line of ours in it, over real TLS: enrols, signs, orders, rotates, verifies."""

import ast
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving
from tests.interop.signed import (
    BOUND,
    COVERED,
    ENDPOINTS,
    WITH_BODY,
    Key,
    built,
    enrolment,
    now,
    parts,
    server_key,
    sign,
    verified,
)
from tests.signed_exchange import make_signed

pytestmark = pytest.mark.xdist_group("server")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoState]:
    """The exchange, all of it signed, running; this and the invitation are all that is ours."""
    state = DemoState(tmp_path_factory.mktemp("foreign"), free_port())
    make_signed(state)
    with serving(state):
        yield state


@pytest.mark.parametrize("caller", ["signed.py", "sealed.py"])
def test_no_line_of_ours(caller: str) -> None:
    """The callers stand on the packages of others, and on each other."""
    tree = ast.parse(Path(__file__).with_name(caller).read_text("utf-8"))
    named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert named
    assert [name for name in named if name is None or name.split(".")[0] == "sealwire"] == []


def test_the_whole_life_of_a_key(demo: DemoState) -> None:
    """By invitation in, a signed GET, a signed order, a rotation; each reply verified under the pinned key."""
    demo.add_user("bob")
    with Admin(demo.config) as admin:
        invitation = parts(admin.invite("bob-bot", user="bob"))
    origin, key = demo.origin, Key()
    with httpx2.Client(verify=ssl.create_default_context(cafile=str(demo.ca))) as http:
        server = server_key(http, origin, invitation.pin)
        reply = http.send(enrolment(origin, key, invitation))
        assert reply.status_code == 201, reply.text
        client = reply.json()["client"]
        assert reply.json()["key"]["kid"] == key.keyid

        request = built(origin, "GET", "/v1/balances")
        sign(request, key.keyid, key.pem(), covered=COVERED, created=now())
        reply = http.send(request)
        assert reply.json() == {"BTC": "10", "EUR": "100000"}
        assert verified(reply, request, server)

        order = {"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}
        request = built(origin, "POST", "/v1/orders", json.dumps(order).encode())
        sign(request, key.keyid, key.pem(), covered=WITH_BODY, created=now())
        reply = http.send(request)
        assert reply.status_code == 201
        assert verified(reply, request, server)
        assert http.send(request).json()["code"] == "replay-detected"

        newer, created = Key(), now()
        body = {"key": newer.jwk, "name": "foreign", "client": client, "by": key.keyid}
        request = built(origin, "POST", f"{ENDPOINTS}/keys", json.dumps(body).encode())
        sign(
            request,
            newer.keyid,
            newer.pem(),
            covered=WITH_BODY,
            created=created,
            tag="sealwire-possession",
            label="pos",
        )
        sign(request, key.keyid, key.pem(), covered=BOUND, created=created, more=True)
        reply = http.send(request)
        assert reply.status_code == 201, reply.text
        request = built(origin, "GET", "/v1/balances")
        sign(request, newer.keyid, newer.pem(), covered=COVERED, created=now())
        assert http.send(request).status_code == 200
