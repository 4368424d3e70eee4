"""The signature of a reply: what it covers, and what binds it to its request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.protocol import signature
from sealwire.protocol.digest import content_digest
from sealwire.protocol.message import Reply, Request, Response, combine
from sealwire.protocol.profile import Claim
from sealwire.protocol.reply import (
    LABEL,
    attach,
    in_progress,
    is_uncovered,
    pack,
    reply_base,
    request_lines,
    unpack,
    wanted_nonce,
)
from tests.protocol.made import FOUR, NONCE, fields_of, member, read, request, signed_lines, signer, verifier, with_body

CONTENT = (*FOUR, "content-type", "content-digest")
JSON = ((b"content-type", b"application/json"), (b"etag", b'"1"'), (b"server", b"s"))
REPLY = Reply(200, JSON, b"{}")


def signed_reply(reply: Reply, made: Request, claims: list[Claim], **stream: bool) -> tuple[Reply, signature.Signed]:
    """The reply signed and read again, its base held against the engine's own over the message as it goes out."""
    base = reply_base(reply, made, claims, 1000, "server-key", **stream)
    out = attach(reply, base, signer("ed25519").sign(base.base))
    fields = combine(out.headers)
    (found,) = signature.parse(fields[b"signature-input"], fields[b"signature"])
    rebuilt = signature.base(found.components, found.covered, Response(out.status, out.headers, fields), made)
    assert rebuilt == base.base
    signature.check(verifier("ed25519"), rebuilt, found.signature)
    assert signature.canonical(found, b":" + fields[b"signature"].split(b":", 1)[1])
    assert found.label == LABEL.decode()
    return out, found


def names(signed: signature.Signed) -> list[str]:
    """The component identifiers."""
    return [component.identifier().decode() for component in signed.components]


def test_a_reply_to_a_signed_call() -> None:
    """Status, every field that must not stand uncovered, the digest, and the request's components with ;req."""
    made = with_body(signed_lines(CONTENT))
    out, found = signed_reply(REPLY, made, [read(made)])
    assert names(found) == [
        '"@status"',
        '"content-type"',
        '"etag"',
        '"content-digest"',
        '"@method";req',
        '"@authority";req',
        '"@path";req',
        '"@query";req',
        '"content-type";req',
        '"content-digest";req',
        '"signature";req;key="sig1"',
        '"signature-input";req;key="sig1"',
    ]
    assert found.params == {"created": 1000, "keyid": "server-key", "tag": "sealwire-response"}
    assert dict(out.headers)[b"content-digest"] == content_digest(b"{}")
    assert (out.status, out.body) == (200, b"{}")


def test_credentials_are_not_repeated() -> None:
    """authorization and dpop are covered by the request's signature alone."""
    lines = [(b"authorization", b"x"), (b"dpop", b"y"), (b"idempotency-key", b"k")]
    made = request([*lines, *signed_lines((*FOUR, "authorization", "dpop", "idempotency-key"))])
    _, found = signed_reply(REPLY, made, [read(made)])
    assert '"idempotency-key";req' in names(found)
    assert not {'"authorization";req', '"dpop";req'} & set(names(found))


@pytest.mark.parametrize(
    ("method", "status", "body"), [("HEAD", 200, b"{}"), ("GET", 204, b"{}"), ("GET", 304, b"{}"), ("GET", 200, b"")]
)
def test_no_content_no_digest(method: str, status: int, body: bytes) -> None:
    """HEAD, 204, 304 and empty replies cover status, type and the request's part."""
    made = request(signed_lines(), method=method)
    out, found = signed_reply(Reply(status, JSON, body), made, [read(made)])
    assert b"content-digest" not in dict(out.headers)
    assert names(found)[:3] == ['"@status"', '"content-type"', '"etag"']


def test_stream() -> None:
    """A stream says so, under the signature, and has no digest."""
    made = request(signed_lines())
    out, found = signed_reply(REPLY, made, [read(made)], stream=True)
    assert dict(out.headers)[b"sealwire-stream"] == b"?1"
    assert '"sealwire-stream"' in names(found)
    assert '"content-digest"' not in names(found)


def test_nobody_signed() -> None:
    """A reply to an unsigned request covers its own parts, and repeats the nonce that was asked for."""
    _, found = signed_reply(REPLY, request(), [])
    assert names(found) == ['"@status"', '"content-type"', '"etag"', '"content-digest"']
    asked = request([(b"accept-signature", b'sig=();nonce="' + NONCE.encode() + b'";tag="sealwire-response"')])
    _, found = signed_reply(REPLY, asked, [])
    assert list(found.params) == ["created", "keyid", "nonce", "tag"]
    assert found.params["nonce"] == NONCE


def test_enrolment_covers_both() -> None:
    """The union of both signatures' components, each once, and both labels."""
    possession = member((*FOUR, "accept"), {"tag": '"sealwire-possession"'})
    binding = ' "signature";key="p" "signature-input";key="p")'
    ours = member().replace(")", binding, 1)
    made = request([(b"accept", b"a"), *fields_of({"p": possession, "a": ours})])
    claims = [read(made, "sealwire-possession"), read(made, possession="p")]
    _, found = signed_reply(REPLY, made, claims)
    listed = names(found)
    assert len(set(listed)) == len(listed)
    assert listed[4:] == [
        *(f'"{name}";req' for name in (*FOUR, "accept")),
        '"signature";req;key="p"',
        '"signature-input";req;key="p"',
        '"signature";req;key="a"',
        '"signature-input";req;key="a"',
    ]
    assert [head.decode() for head, _ in request_lines(made, claims)] == listed[4:]


UNCOVERED = (
    "signature signature-input set-cookie date server connection keep-alive transfer-encoding content-length via "
    "alt-svc vary access-control-allow-origin access-control-max-age"
)


def test_what_may_stand_uncovered() -> None:
    """These fields and no others."""
    assert all(is_uncovered(name.encode()) for name in UNCOVERED.split())
    for name in (
        b"location",
        b"link",
        b"retry-after",
        b"ratelimit",
        b"x-access-control-a",
        b"content-type",
        b"access-control",
    ):
        assert not is_uncovered(name)


@pytest.mark.parametrize(
    ("asked", "nonce"),
    [
        (b'sig=();nonce="%s";tag="sealwire-response"', NONCE),
        (b'a=();tag="other", b=("@status");tag="sealwire-response";nonce="%s"', NONCE),
        (b'sig=();nonce="%s"', ""),
        (b'sig=();nonce="%s";tag="sealwire"', ""),
        (b'sig=();nonce;tag="sealwire-response"', ""),
        (b'sig=();nonce=%s;tag="sealwire-response"', ""),
        (b'sig=();nonce="short";tag="sealwire-response"', ""),
        (b'sig=();nonce="%s,%s";tag="sealwire-response"', ""),
        (b'sig=1;nonce="%s";tag="sealwire-response"', ""),
        (b'sig=();tag="sealwire-response"', ""),
        (b'sig=();nonce="%s', ""),
        (b"", ""),
    ],
)
def test_wanted_nonce(asked: bytes, nonce: str) -> None:
    """A nonce in its form, asked for with the tag of replies; anything else is no wish."""
    assert wanted_nonce(request([(b"accept-signature", asked.replace(b"%s", NONCE.encode()))])) == nonce.encode()
    assert wanted_nonce(request()) == b""


@given(
    st.integers(100, 599),
    st.lists(st.tuples(st.binary(max_size=8), st.binary(max_size=8)), max_size=4).map(tuple),
    st.binary(max_size=40),
)
def test_pack(status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
    """What is kept comes back to the byte."""
    reply = Reply(status, headers, body)
    assert unpack(pack(reply)) == reply


@pytest.mark.parametrize(("age", "cause"), [(0, "running"), (29.9, "running"), (30, "unknown"), (1e6, "unknown")])
def test_in_progress(age: float, cause: str) -> None:
    """Without a recorded end the outcome is unknown, and the caller may come again."""
    refusal = in_progress(age)
    assert refusal.code == f"idempotency-in-progress/{cause}"
    assert (refusal.failed, refusal.members, refusal.fields) == (
        "policy",
        {"outcome": "unknown"},
        ((b"retry-after", b"1"),),
    )
