"""Sign: a reply bound to the request it answers."""

from base64 import b64decode

import pytest

from sealwire.call import InSession, Possession, Proof, Session
from sealwire.protocol import profile
from sealwire.protocol.jwk import load_verifier
from sealwire.protocol.message import Reply
from sealwire.protocol.signature import check, check_hmac
from sealwire.stages.sign import Sign
from tests.stages.made import (
    BODY,
    CLIENT,
    KEYS,
    NEW,
    NOW,
    OTHER,
    RULE,
    SEALED,
    SERVER,
    SESSION,
    MadeKeyring,
    call,
    digest_of,
    head,
    record,
    sign,
)

REPLY = Reply(201, ((b"content-type", b"a/b"), (b"set-cookie", b"c=1"), (b"x-request-id", b"req_1")), b"made")


def _verify(reply: Reply, lines: list[bytes]) -> None:
    """The server's key signed exactly these lines."""
    fields = dict(reply.headers)
    covered = fields[b"signature-input"].removeprefix(b"reply=")
    base = b"\n".join([*lines, b'"@signature-params": ' + covered])
    check(load_verifier(SERVER.jwk), base, b64decode(fields[b"signature"][7:-1]))
    names = [line.partition(b": ")[0] for line in lines]
    params = f';created={NOW};keyid="{SERVER.keyid}";tag="sealwire-response"'.encode()
    assert covered == b"(" + b" ".join(names) + b")" + params


_OWN = [b'"@status": 201', b'"content-type": a/b', b'"x-request-id": req_1']


async def test_to_nobody() -> None:
    """A reply to an unsigned request covers itself: status, fields but the cookies, digest."""
    reply = await Sign(MadeKeyring())(call(now=NOW + 0.9), REPLY)
    assert (reply.status, reply.body) == (201, b"made")
    _verify(reply, [*_OWN, b'"content-digest": ' + digest_of(b"made")])


async def test_a_stream() -> None:
    """The head of a stream covers Sealwire-Stream and has no digest; a whole answer of such a rule has its digest."""
    head_alone = await Sign(MadeKeyring())(call(None, RULE._replace(stream=True)), REPLY._replace(body=b""))
    _verify(head_alone, [*_OWN, b'"sealwire-stream": ?1'])
    whole = await Sign(MadeKeyring())(call(None, RULE._replace(stream=True)), REPLY)
    _verify(whole, [*_OWN, b'"content-digest": ' + digest_of(b"made")])


async def test_bound_to_the_request() -> None:
    """What the request's signature covered, and that signature, stand in the reply's, all but the credentials."""
    request = sign(head(more={b"authorization": b"Bearer x"}))
    claim = profile.claim(request, "sealwire", profile.Plans())
    reply = await Sign(MadeKeyring())(call(request, RULE, Proof(claim, record(), NOW + 60, 20)), REPLY)
    fields = request.fields
    _verify(
        reply,
        [
            *_OWN,
            b'"content-digest": ' + digest_of(b"made"),
            b'"@method";req: POST',
            b'"@authority";req: api.example',
            b'"@path";req: /v1/orders',
            b'"@query";req: ?',
            b'"signature";req;key="sig": ' + fields[b"signature"][4:],
            b'"signature-input";req;key="sig": ' + fields[b"signature-input"][4:],
        ],
    )


async def test_both_signatures_of_an_enrolment() -> None:
    """At enrolment the reply covers both labels, each component once."""
    offered = sign(head(body=BODY), NEW, tag="sealwire-possession", label="pos")
    request = sign(offered, CLIENT, label="by", nonce=OTHER, bind="pos")
    possession = Possession(profile.claim(request, "sealwire-possession", profile.Plans()), load_verifier(NEW.jwk))
    claim = profile.claim(request, "sealwire", profile.Plans(), possession="pos")
    proof = Proof(claim, record(), NOW + 60, 20)
    reply = await Sign(MadeKeyring())(call(request, RULE, proof, possession), REPLY)
    covered = dict(reply.headers)[b"signature-input"]
    for label in (b"pos", b"by"):
        for field in (b"signature", b"signature-input"):
            assert covered.count(b'"%s";req;key="%s"' % (field, label)) == 1
    for name in (b"@method", b"@path", b"content-digest", b"content-type"):
        assert covered.count(b'"%s";req' % name) == 1


async def test_by_the_session_s_key() -> None:
    """Asked under the session's key it answers under s2c mac, named by the session: fast, and no receipt."""
    request = sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac)
    claim = profile.claim(request, "sealwire", profile.Plans())
    proof = Proof(claim, record(), NOW + 60, 20, session=SESSION)
    reply = await Sign(MadeKeyring())(call(request, SEALED, proof, InSession(SESSION, None)), REPLY)
    fields = dict(reply.headers)
    covered = fields[b"signature-input"].removeprefix(b"reply=")
    assert covered.endswith(f';created={NOW};keyid="ses_1";tag="sealwire-response"'.encode())
    lines = [
        *_OWN,
        b'"content-digest": ' + digest_of(b"made"),
        b'"@method";req: POST',
        b'"@authority";req: api.example',
        b'"@path";req: /v1/orders',
        b'"@query";req: ?',
        b'"signature";req;key="sig": ' + request.fields[b"signature"][4:],
        b'"signature-input";req;key="sig": ' + request.fields[b"signature-input"][4:],
        b'"@signature-params": ' + covered,
    ]
    check_hmac(KEYS.s2c_mac, b"\n".join(lines), b64decode(fields[b"signature"][7:-1]))


@pytest.mark.parametrize(("session", "opened"), [(None, True), (SESSION, False), (None, False)])
async def test_by_the_server_s_key(session: Session | None, opened: bool) -> None:
    """Asked under the client's key, or not opened, it is a receipt by the server's own key."""
    request = sign(head()) if session is None else sign(head(), keyid=session.id, secret=KEYS.c2s_mac)
    claim = profile.claim(request, "sealwire", profile.Plans())
    held = [InSession(SESSION, None)] if opened else []
    proof = Proof(claim, record(), NOW + 60, 20, session=session)
    reply = await Sign(MadeKeyring())(call(request, SEALED, proof, *held), REPLY)
    assert f'keyid="{SERVER.keyid}"'.encode() in dict(reply.headers)[b"signature-input"]
