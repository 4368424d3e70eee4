"""A reply whose signature verifies, by the right key, and which is refused for what it says or leaves out."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable

import pytest

from sealwire.client.exchange import Call, Incoming, Signed
from sealwire.client.proving import Asked, UnknownKey, Unproven, prove
from sealwire.client.signing import by_key, compose
from sealwire.protocol.digest import content_digest
from sealwire.protocol.fields import parse_inner_list, serialize_item
from sealwire.protocol.jwk import load_verifier
from sealwire.protocol.message import Reply
from sealwire.protocol.reply import attach, reply_base
from tests.client.server_double import NOW, new_signer

CLIENT, SERVER = new_signer(), new_signer()
JSON = Reply(200, ((b"content-type", b"application/json"),), b"{}")
Edit = Callable[[bytes], bytes]


def asked(method: str = "GET") -> Signed:
    return by_key(CLIENT).put_on(compose(Call(method, b"/v1/x"), "api.example.com", "key"), int(NOW), "n" * 32)


def answered(
    to: Signed, reply: Reply = JSON, edit: Edit = lambda covered: covered, *, stream: bool = False
) -> Incoming:
    """The reply with its covered text edited, then signed: what the server's own key could make and must not."""
    built = reply_base(reply, to.request, to.claims, int(NOW), SERVER.keyid, stream=stream)
    covered = edit(built.covered)
    lines = dict(line.split(b": ", 1) for line in built.base.split(b"\n"))
    listed = [serialize_item(item) for item in parse_inner_list(covered).items]
    base = b"\n".join([*(name + b": " + lines.get(name, b"") for name in listed), b'"@signature-params": ' + covered])
    signed = attach(reply, built._replace(covered=covered), SERVER.sign(base))
    return Incoming(signed.status, signed.headers, signed.body)


def judge(reply: Incoming, to: Signed) -> None:
    verifier = load_verifier(SERVER.jwk)
    prove(reply, Asked(to.request, to.claims), lambda keyid, _at: verifier if keyid == verifier.keyid else None)


def test_what_is_whole_is_proven() -> None:
    to = asked()
    judge(answered(to), to)
    judge(answered(to, edit=lambda c: c.replace(b";tag=", b';alg="ed25519";tag=')), to)


EDITS: dict[str, tuple[bytes, bytes]] = {
    "no created": (b";created=%d" % NOW, b""),
    "created as text": (b";created=%d" % NOW, b';created="%d"' % NOW),
    "created before all time": (b";created=%d" % NOW, b";created=-1"),
    "created in 40,000 years": (b";created=%d" % NOW, b";created=1099511627776"),
    "no keyid": (b';keyid="' + SERVER.keyid.encode() + b'"', b""),
    "another key": (SERVER.keyid.encode(), b"A" * 43),
    "a nonce that was not asked for": (b";tag=", b';nonce="AAAAAAAAAAAAAAAAAAAAAA";tag='),
    "expires": (b";tag=", b";expires=1;tag="),
    "the tag of a request": (b"sealwire-response", b"sealwire"),
    "another algorithm": (b";tag=", b';alg="hmac-sha256";tag='),
    "a component twice": (b'("@status" ', b'("@status" "@status" '),
    "@status not covered": (b'("@status" ', b"("),
    "@status of the request": (b'"@status"', b'"@status";req'),
    "the body's digest not covered": (b' "content-digest"', b""),
    "the path not covered": (b' "@path";req', b""),
    "the request's signature not covered": (b' "signature";req;key="sig"', b""),
    "the request's signature input not covered": (b' "signature-input";req;key="sig"', b""),
    "another label": (b'"signature";req;key="sig"', b'"signature";req;key="x"'),
    "parameters in another order": (b'"signature";req;key="sig"', b'"signature";key="sig";req'),
    "a field that is not there": (b'("@status" ', b'("@status" "x-gone" '),
    "not canonical": (b'("@status" ', b'( "@status" '),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_signature_that_says_too_little_or_too_much_is_refused(what: str) -> None:
    """H1, H8: coverage is complete to the last component, and there is one way to write it."""
    to = asked()
    old, new = EDITS[what]
    reply = answered(to, edit=lambda covered: covered.replace(old, new, 1))
    assert new in dict(reply.headers)[b"signature-input"]
    with pytest.raises(Unproven):
        judge(reply, to)


def test_only_a_key_that_is_not_known_is_asked_for() -> None:
    """F9: whatever else is wrong with a reply makes no request for the key set."""
    to, keyid = asked(), SERVER.keyid.encode()
    with pytest.raises(UnknownKey):
        judge(answered(to, edit=lambda covered: covered.replace(keyid, b"A" * 43)), to)
    with pytest.raises(Unproven) as caught:
        judge(answered(asked(), edit=lambda covered: covered.replace(keyid, b"A" * 43)), to._replace(claims=()))
    assert type(caught.value) is Unproven


def test_the_reply_to_one_request_is_not_that_to_the_next() -> None:
    """H3, H8: not even to one that differs by its nonce alone, nor by its method, path or body alone."""
    first = asked()
    other = by_key(CLIENT).put_on(compose(Call("GET", b"/v1/x"), "api.example.com", "key"), int(NOW), "m" * 32)
    with pytest.raises(Unproven, match="does not hold"):
        judge(answered(first), other)


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_a_body_where_there_can_be_none_is_refused(method: str, status: int) -> None:
    to = asked(method)
    reply = answered(to, Reply(status, (), b""))
    judge(reply, to)
    with pytest.raises(Unproven, match="can be none"):
        judge(reply._replace(body=b"x"), to)
    # RFC 9530 section 3: without content the digest may be that of what a GET would have had.
    described = (*JSON.headers, (b"content-digest", content_digest(b"{}")))
    judge(answered(to, Reply(status, described, b"")), to)


def test_a_stream_says_that_it_is_one() -> None:
    to = asked()
    stream = answered(to, stream=True)._replace(body=b"", stream=object())
    judge(stream, to)
    said = answered(to, JSON._replace(headers=(*JSON.headers, (b"sealwire-stream", b"?0"))))
    with pytest.raises(Unproven, match="stream"):
        judge(said._replace(body=b"", stream=object()), to)
    with pytest.raises(Unproven, match="digest"):
        judge(stream._replace(body=b"{}", stream=None), to)


def test_signatures_of_others_beside_it_do_no_harm() -> None:
    to = asked()
    reply = answered(to)
    mark = b2a_base64(b"x" * 64, newline=False)
    others = ((b"signature-input", b'cdn=("@status");tag="cdn"'), (b"signature", b"cdn=:" + mark + b":"))
    judge(reply._replace(headers=(*reply.headers, *others)), to)
    same = tuple((name, value.replace(b"cdn=", b"reply=", 1)) for name, value in others)
    with pytest.raises(Unproven):
        judge(reply._replace(headers=(*reply.headers, *same)), to)
