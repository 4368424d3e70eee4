"""Which server keys a client believes, and that it never goes back."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx2
import pytest

from sealwire.client import Credential, ReplyUnproven, Transport
from sealwire.client.origin import Origin, read_key_set, read_origin
from sealwire.protocol.message import Request
from sealwire.protocol.reply import wanted_nonce
from tests.client.server_double import JWKS, NOW, Clock, Server, Way, changed, new_signer


def turn_over(server: Server) -> None:
    """The server's next key signs calls; the set that names it is still signed by the key known so far."""
    old, new = server.signer, new_signer()
    server.next_signers = [new]
    server.version += 1
    sign = Server.sign

    def by(reply, request, claims):  # type: ignore[no-untyped-def]
        server.signer = old if request.decoded == JWKS else new
        try:
            return sign(server, reply, request, claims)
        finally:
            server.signer = old

    server.sign = by  # type: ignore[method-assign]


def test_a_new_server_key_is_followed_once(http: httpx2.Client, way: Way, server: Server) -> None:
    """F9: an unknown key id makes one fetch of the key set, believed because a known key signed it."""
    turn_over(server)
    assert http.get("/v1/balances").extensions["sealwire"].sends == 1
    assert [request.url.path for request in way.sent] == ["/v1/balances", JWKS]
    assert wanted(way.sent[1])
    assert http.get("/v1/balances").status_code == 200
    assert len(way.sent) == 3


def wanted(request: httpx2.Request) -> bytes:
    fields = {name.lower(): value for name, value in request.headers.raw}
    return wanted_nonce(Request("GET", b"/", "", b"", b"", "", (), fields))


def test_a_key_set_of_the_same_version_is_no_older(http: httpx2.Client, server: Server) -> None:
    turn_over(server)
    server.version -= 1
    assert http.get("/v1/balances").status_code == 200


def test_an_older_key_set_is_refused(http: httpx2.Client, way: Way, server: Server) -> None:
    """F9: signed by a known key, newer than the request, and of an older version than one that was seen."""
    turn_over(server)
    server.version = 0
    with pytest.raises(ReplyUnproven, match="version 0"):
        http.get("/v1/balances")


def test_a_key_set_past_all_bounds(
    http: httpx2.Client, way: Way, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F9: whoever is on the way makes the key set endless: the call's key is told all the same, for asking again."""
    monkeypatch.setattr("sealwire.client.sending.MAX_REPLY_BYTES", 5000)
    turn_over(server)
    way.on_reply = lambda r: changed(r, body=b"x" * 5001) if len(way.sent) == 2 else r
    with pytest.raises(ReplyUnproven, match="the key set could not be fetched: it is larger") as caught:
        http.post("/v1/orders", content=b"{}")
    assert caught.value.idempotency_key == way.sent[0].headers["idempotency-key"]


def test_an_old_key_set_is_not_played_again(http: httpx2.Client, way: Way, server: Server) -> None:
    """F9, H3: a set that was captured repeats another nonce."""
    kept: list[httpx2.Response] = []
    turn_over(server)

    def keep(response: httpx2.Response) -> httpx2.Response:
        if way.sent[-1].url.path == JWKS:
            kept.append(changed(response))
            return changed(kept[0])
        return response

    way.on_reply = keep
    http.get("/v1/balances")
    turn_over(server)
    with pytest.raises(ReplyUnproven, match="nonce"):
        http.get("/v1/balances")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: changed(r, drop=("signature", "signature-input")),
        lambda r: changed(r, status=404),
        lambda r: changed(r, body=r.read() + b" "),
        lambda r: changed(r, add=[("sealwire-stream", "?1")]),
    ],
)
def test_a_changed_key_set_is_not_believed(http: httpx2.Client, way: Way, server: Server, change: object) -> None:
    """F9, H1: and the call whose key it should have told is refused."""
    turn_over(server)
    way.on_reply = lambda r: change(r) if way.sent[-1].url.path == JWKS else r  # type: ignore[operator]
    with pytest.raises(ReplyUnproven) as caught:
        http.post("/v1/orders", content=b"x")
    assert caught.value.idempotency_key == way.sent[0].headers["idempotency-key"]
    assert len(way.sent) == 2


def test_a_key_set_that_does_not_come_changes_nothing(http: httpx2.Client, way: Way, server: Server) -> None:
    turn_over(server)
    way.script = ["pass", "cut"]
    with pytest.raises(ReplyUnproven, match="could not be fetched"):
        http.get("/v1/balances")
    assert http.get("/v1/balances").status_code == 200


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"version": 9, "keys": []}', b'{"version": true, "keys": [{}]}'])
def test_a_key_set_that_is_none_is_refused_though_signed(
    http: httpx2.Client, server: Server, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    turn_over(server)
    made = server._jwks()
    monkeypatch.setattr(server, "_jwks", lambda: made._replace(body=body))
    with pytest.raises(ReplyUnproven, match="cannot be read"):
        http.get("/v1/balances")


def test_a_key_past_its_time_does_not_count(credential: Credential, server: Server, way: Way) -> None:
    """F8: nor one before it; the set is asked for once, and no older word than the clock allows is believed."""
    server.keys_expire = int(NOW) + 60
    credential = credential.with_server_keys(read_key_set(server.key_set()))
    server.clock = Clock(NOW + 60)
    http = httpx2.Client(transport=Transport(credential, inner=way, clock=Clock(NOW + 60)))
    with pytest.raises(ReplyUnproven, match="not trusted"):
        http.get(f"{credential.origin}/v1/x")
    assert len(way.sent) == 1  # for the keys, since the rules were not believed


def test_a_newer_set_is_written_back(credential: Credential, server: Server, way: Way, tmp_path: Path) -> None:
    """F9: what was seen is remembered across restarts, in the file, whose mode stays."""
    file = tmp_path / "alice.json"
    credential.save(file)
    turn_over(server)
    with httpx2.Client(transport=Transport(file, inner=way, clock=Clock())) as http:
        http.get(f"{credential.origin}/v1/x")
    assert Credential.load(file).server_keys.version == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    turn_over(server)
    with httpx2.Client(transport=Transport(credential, inner=way, clock=Clock())) as http:
        assert http.get(f"{credential.origin}/v1/x").status_code == 200
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_no_reason_to_fail(
    credential: Credential, server: Server, way: Way, tmp_path: Path
) -> None:
    file = tmp_path / "alice.json"
    credential.save(file)
    transport = Transport(file, inner=way, clock=Clock())
    file.unlink()
    turn_over(server)
    with httpx2.Client(transport=transport) as http:
        assert http.get(f"{credential.origin}/v1/x").status_code == 200


def test_a_fetch_that_was_overtaken_brings_nothing_back(server: Server) -> None:
    """F8, F9: the older of two sets in flight comes last."""
    server.version = 2
    older = read_key_set(server.key_set())
    server.version = 3
    newer = read_key_set(server.key_set())
    heard: list[int] = []
    origin = Origin(server.origin, older, changed=lambda keys: heard.append(keys.version))
    assert origin.adopt(newer)
    assert not origin.adopt(older)
    assert origin.adopt(newer)
    assert (origin.keys.version, heard) == (3, [3])


def test_keys_of_other_uses_and_kinds_are_left_out(server: Server) -> None:
    document = server.key_set()
    good = dict(document["keys"][0])  # type: ignore[index]
    strange = [
        {**good, "use": "enc"},
        {**good, "kty": "new"},
        {**good, "nbf": "x"},
        {**good, "exp": True},
        {**good, "kid": "other"},
        "x",
        {},
    ]
    keys = read_key_set(json.loads(json.dumps({"version": 1, "keys": [*strange, {**good, "x5c": ["…"]}]})))
    assert [key.verifier.keyid for key in keys.keys] == [server.signer.keyid]
    assert read_key_set({"version": 1, "keys": [key.to_jwk() for key in keys.keys]}) == keys


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://API.Example.com", "https://api.example.com"),
        ("https://api.example.com:443/", "https://api.example.com"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_an_origin_has_one_form(text: str, origin: str) -> None:
    assert read_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    ["", "api.example.com", "http://api.example.com", "ftp://x", "https://a/b", "https://u:p@a", "https://a?x", "https://a#x",
     "https://[", "https://"],
)  # fmt: skip
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_origin(text)
