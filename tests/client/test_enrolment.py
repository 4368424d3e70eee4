"""How a client comes to have a key, and what someone on the way can make of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import httpx2
import pytest

from sealwire.client import (
    Credential,
    CredentialError,
    InvitationInvalid,
    OutcomeUnknown,
    Refused,
    ReplyUnproven,
    Transport,
    enroll,
    revoke,
    rotate,
)
from sealwire.client.enrolment import Invitation
from sealwire.client.keypair import ALGORITHMS
from sealwire.protocol.message import Reply
from tests.client.server_double import JWKS, KEYS, NOW, ORIGIN, Clock, Server, Way, changed, new_signer


def joined(server: Server, way: Way, **more: object) -> Credential:
    return enroll(ORIGIN, server.invite(), name="alice", inner=way, clock=Clock(), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_invitation_becomes_a_credential(server: Server, way: Way, algorithm: str) -> None:
    credential = joined(server, way, algorithm=algorithm)
    assert credential.signer.algorithm == algorithm
    assert server.clients[credential.signer.keyid][0] == credential.client
    assert [request.url.path for request in way.sent] == [JWKS, KEYS]
    with httpx2.Client(transport=Transport(credential, inner=way, clock=Clock())) as http:
        assert http.post(f"{ORIGIN}/v1/orders", content=b"x").json()["client"] == credential.client


@pytest.mark.parametrize("client", ["", "cli_", "alice", "cli_a\x1b]0;owned\x07", "cli_a\n", "cli_" + "a" * 200])
def test_a_name_that_could_control_a_terminal(server: Server, way: Way, client: str) -> None:
    """A server that signs as it should names the client in a form of its own: no credential comes of it."""
    sign = server.sign

    def other(reply: Reply, request: object, claims: object) -> Reply:
        if reply.status == 201:
            reply = reply._replace(body=json.dumps({**json.loads(reply.body), "client": client}).encode())
        return sign(reply, request, claims)  # type: ignore[arg-type]

    server.sign = other  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="does not name"):
        joined(server, way)


def test_neither_the_secret_nor_the_key_travels(server: Server, way: Way) -> None:
    """G12: what is signed with the secret is seen, the secret is not."""
    invitation = server.invite()
    credential = enroll(ORIGIN, invitation, name="alice", inner=way, clock=Clock())
    sent = b"".join(request.content + repr(request.headers.raw).encode() + request.url.raw_path for request in way.sent)
    assert invitation.split(".")[1].encode() not in sent
    assert [line for line in credential.key.reveal().splitlines()[1:-1] if line in sent] == []
    assert json.loads(way.sent[1].content) == {"key": credential.signer.jwk, "name": "alice"}
    assert "idempotency-key" not in way.sent[1].headers


def test_another_server_gets_nothing_but_a_question(server: Server, way: Way) -> None:
    """G12: the server's key is not the one of the invitation: the client stops before its first call."""
    invitation = server.invite()
    server.signer = new_signer()
    with pytest.raises(ReplyUnproven, match="pinned") as caught:
        enroll(ORIGIN, invitation, name="alice", inner=way, clock=Clock())
    assert caught.value.outcome == "not done"
    assert [request.url.path for request in way.sent] == [JWKS]
    assert "signature" not in way.sent[0].headers


def test_a_key_set_with_the_pinned_key_signed_by_another_is_refused(server: Server, way: Way) -> None:
    """G12: the middleman serves the true key in a set of its own."""
    invitation = server.invite()
    pinned, mallory = server.signer, new_signer()
    server.signer, server.next_signers = mallory, [pinned]
    with pytest.raises(ReplyUnproven, match="not trusted"):
        enroll(ORIGIN, invitation, name="alice", inner=way, clock=Clock())
    assert len(way.sent) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda r: changed(r, drop=("signature", "signature-input")),
        lambda r: changed(r, body=r.read().replace(b'"version": 1', b'"version": 9')),
    ],
)
def test_a_changed_key_set_stops_it(server: Server, way: Way, change: object) -> None:
    """G12, H1."""
    way.on_reply = change  # type: ignore[assignment]
    with pytest.raises(ReplyUnproven):
        joined(server, way)
    assert len(way.sent) == 1


def test_the_middleman_cannot_enrol_its_own_key(server: Server, way: Way) -> None:
    """G12: the key in the body exchanged: the invitation's signature covers the digest and the possession signature."""
    mallory = new_signer()

    def swap(request: httpx2.Request) -> httpx2.Request:
        if request.method != "POST":
            return request
        body = json.dumps({"key": mallory.jwk, "name": "alice"}).encode()
        headers = {**request.headers, "content-length": str(len(body))}
        return httpx2.Request("POST", request.url, headers=headers, content=body)

    way.on_request = swap
    with pytest.raises(Refused) as caught:
        joined(server, way)
    assert caught.value.slug == "digest-mismatch"
    assert server.clients == {}


def test_an_answer_for_another_key_is_refused(server: Server, way: Way) -> None:
    """G12: proven to be the server's, and not about the key that was offered."""
    sign = Server.sign

    def other(reply: Reply, request: object, claims: object) -> Reply:
        if reply.status == 201:
            told = {"client": "cli_X", "key": {"kid": "A" * 43, "state": "active", "expires_at": None}}
            reply = reply._replace(body=json.dumps(told).encode())
        return sign(server, reply, request, claims)  # type: ignore[arg-type]

    server.sign = other  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="this key"):
        joined(server, way)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"client": 7, "key": {}}'])
def test_an_answer_of_another_form_is_refused(server: Server, way: Way, body: bytes) -> None:
    sign = Server.sign

    def other(reply: Reply, request: object, claims: object) -> Reply:
        reply = reply._replace(body=body) if reply.status == 201 else reply
        return sign(server, reply, request, claims)  # type: ignore[arg-type]

    server.sign = other  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="this key"):
        joined(server, way)


def test_the_answer_is_bound_to_both_signatures(server: Server, way: Way) -> None:
    """G11: a reply that covers only one of the two is not the answer to this."""
    sign = Server.sign
    server.sign = lambda reply, request, claims: sign(server, reply, request, claims[1:])  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="possession"):
        joined(server, way)


@pytest.mark.parametrize("off", [-3600, 3600])
def test_a_client_without_a_clock_can_enrol(server: Server, way: Way, off: int) -> None:
    """C15: the server's nonce is the authorising signature's; both signatures keep the same times."""
    credential = enroll(ORIGIN, server.invite(), name="alice", inner=way, clock=Clock(NOW + off))
    assert credential.signer.keyid in server.clients
    assert len(way.sent) == 3


def test_a_spent_invitation_opens_nothing(server: Server, way: Way) -> None:
    """G4, G10."""
    invitation = server.invite()
    enroll(ORIGIN, invitation, name="alice", inner=way, clock=Clock())
    with pytest.raises(InvitationInvalid) as caught:
        enroll(ORIGIN, invitation, name="mallory", inner=way, clock=Clock())
    assert "Ask the operator" in str(caught.value)


def test_a_lost_answer_strands_nobody(server: Server, way: Way, tmp_path: Path) -> None:
    """G4, C25: the same call again ends with the key that the first had made."""
    file = tmp_path / "alice.json"
    invitation = server.invite()
    way.script = ["pass", "cut", "cut"]
    with pytest.raises(OutcomeUnknown):
        enroll(ORIGIN, invitation, name="alice", path=file, inner=way, clock=Clock())
    pending = tmp_path / "alice.json.pending"
    assert stat.S_IMODE(pending.stat().st_mode) == 0o600
    assert not file.exists()
    credential = enroll(ORIGIN, invitation, name="alice", path=file, inner=way, clock=Clock())
    assert list(server.clients) == [credential.signer.keyid]
    assert Credential.load(file).signer.keyid == credential.signer.keyid
    assert [path.name for path in tmp_path.iterdir()] == ["alice.json"]


def test_a_credential_in_the_way_stops_it_before_anything_is_sent(server: Server, way: Way, tmp_path: Path) -> None:
    (tmp_path / "alice.json").touch()
    with pytest.raises(CredentialError, match="exists already"):
        joined(server, way, path=tmp_path / "alice.json")
    assert way.sent == []


@pytest.mark.parametrize("text", ["", "sw_live_inv_a.b.c", "sw_live_sk_x", "sw_test_inv_" + "a" * 200])
def test_what_is_no_invitation_is_refused(way: Way, text: str) -> None:
    assert Invitation.read(text) is None
    with pytest.raises(CredentialError, match="not an invitation"):
        enroll(ORIGIN, text, name="alice", inner=way)


def test_an_origin_without_tls_is_refused(server: Server, way: Way) -> None:
    with pytest.raises(CredentialError, match="https"):
        enroll("http://api.example.com", server.invite(), name="alice", inner=way)
    assert way.sent == []


def test_a_key_is_rotated_by_the_active_one(server: Server, way: Way, tmp_path: Path) -> None:
    """G8, G11: both keys sign; the file is written over once the new key is proven to be enrolled."""
    file = tmp_path / "alice.json"
    old = joined(server, way, path=file)
    way.script = ["cut"]
    new = rotate(old, path=file, inner=way, clock=Clock())
    assert new.signer.keyid != old.signer.keyid
    assert (new.client, new.origin, new.name) == (old.client, old.origin, old.name)
    assert Credential.load(file).signer.keyid == new.signer.keyid
    body = json.loads(way.sent[-1].content)
    assert (body["client"], body["by"]) == (old.client, old.signer.keyid)
    for credential in (old, new):
        with httpx2.Client(transport=Transport(credential, inner=way, clock=Clock())) as http:
            assert http.get(f"{ORIGIN}/v1/x").status_code == 200


def test_a_rotation_for_another_client_is_refused(server: Server, way: Way) -> None:
    """G11."""
    credential = joined(server, way)
    server.clients[credential.signer.keyid] = ("cli_OTHER", server.clients[credential.signer.keyid][1])
    with pytest.raises(Refused) as caught:
        rotate(credential, inner=way, clock=Clock())
    assert caught.value.slug == "request-invalid"


def test_a_key_revokes_itself_and_no_other(server: Server, way: Way) -> None:
    """G13: another of one's own needs an operator, another client's is not there; both refusals are proven."""
    credential = joined(server, way)
    second = rotate(credential, inner=way, clock=Clock())
    for keyid, slug in ((second.signer.keyid, "approval-required"), ("A" * 43, "not-found")):
        with pytest.raises(Refused) as caught:
            revoke(credential, keyid, inner=way, clock=Clock())
        assert (caught.value.slug, caught.value.proven, caught.value.outcome) == (slug, True, "not done")
        assert "not signed" not in str(caught.value)
    revoke(credential, inner=way, clock=Clock())
    assert list(server.clients) == [second.signer.keyid]
    with pytest.raises(Refused):
        revoke(credential, inner=way, clock=Clock())


def test_a_proven_answer_of_another_kind_is_not_taken_for_done(server: Server, way: Way) -> None:
    credential = joined(server, way)
    server._revoke = lambda keyid, client, by: Reply(200, (), b"")  # type: ignore[method-assign]
    with pytest.raises(ReplyUnproven, match="status 200"):
        revoke(credential, inner=way, clock=Clock())
