"""Seal: what goes back can be read by the caller in the session only."""

import json

import pytest

from sealwire.call import InSession
from sealwire.protocol import envelope
from sealwire.protocol.jwk import unb64url
from sealwire.protocol.message import Reply
from sealwire.stages.seal import Seal
from tests.stages.made import KEYS, SEALED, SESSION, call, entropy, refused

PLAIN = InSession(SESSION, None)
OTHERS = ((b"cache-control", b"no-store"), (b"x-request-id", b"req_1"))


def _reply(*kind: bytes, body: bytes = b"made", status: int = 201) -> Reply:
    return Reply(status, (OTHERS[0], *((b"content-type", one) for one in kind), OTHERS[1]), body)


def _opened(reply: Reply) -> tuple[bytes, str]:
    found = envelope.read(reply.body, envelope.Headers())
    assert found.header.session == SESSION.id
    return envelope.open_sealed(found, KEYS.s2c), found.header.content_type


@pytest.mark.parametrize("kind", [b"application/json", b'text/plain; charset="utf-8"', b"application/problem+json"])
async def test_sealed(kind: bytes) -> None:
    """Content and media type are inside, for the s2c key alone; status and the other fields stay as they were."""
    reply = await Seal(entropy)(call(None, SEALED, PLAIN), _reply(kind))
    assert (reply.status, reply.headers) == (201, (*OTHERS, (b"content-type", b"application/jose")))
    assert _opened(reply) == (b"made", kind.decode())
    assert b"made" not in reply.body
    with refused("decrypt-failed/decryption", "policy"):
        envelope.open_sealed(envelope.read(reply.body, envelope.Headers()), KEYS.c2s)
    header, key, iv, *_ = reply.body.decode().split(".")
    assert json.loads(unb64url(header)) == {"alg": "dir", "enc": "A256GCM", "kid": "ses_1", "cty": kind.decode()}
    assert (key, unb64url(iv)) == ("", entropy(12))


async def test_a_new_iv_each_time() -> None:
    """The same reply twice shares no IV and no ciphertext."""
    drawn = iter((b"a" * 12, b"b" * 12))
    stage = Seal(lambda count: next(drawn)[:count])
    first, second = [await stage(call(None, SEALED, PLAIN), _reply(b"a/b")) for _ in range(2)]
    assert all(one != other for one, other in zip(*(r.body.split(b".")[2:] for r in (first, second)), strict=True))


async def test_content_without_a_type() -> None:
    """It is sealed as bytes of an unknown kind."""
    assert _opened(await Seal(entropy)(call(None, SEALED, PLAIN), _reply())) == (b"made", "application/octet-stream")


async def test_what_was_not_opened_is_answered_in_clear() -> None:
    """Without the evidence that the call was opened nothing is sealed, and nothing drawn."""
    assert await Seal(_nothing)(call(None, SEALED), _reply(b"a/b")) == _reply(b"a/b")


async def test_nothing_to_seal() -> None:
    """An empty reply stays empty, with its type where it has one."""
    for reply in (_reply(body=b"", status=204), _reply(b"a/b", body=b"")):
        assert await Seal(_nothing)(call(None, SEALED, PLAIN), reply) == reply


@pytest.mark.parametrize("kind", [b"a/\xfc", b"a/" + b"b" * 199, b""])
async def test_a_type_that_cannot_be_sealed_under(kind: bytes) -> None:
    """It is a fault of ours and no word to the caller of what it could mend; nothing of the reply goes out."""
    with refused("internal/sealing") as caught:
        await Seal(entropy)(call(None, SEALED, PLAIN), _reply(kind))
    assert caught.value.status == 500


def _nothing(count: int) -> bytes:
    raise AssertionError(count)


@pytest.mark.parametrize("coding", [b"gzip", b"identity", b"content-type"])
async def test_what_was_compressed_is_not_sealed(coding: bytes) -> None:
    """Its length would tell what is in it: nothing of such a reply goes out."""
    reply = _reply(b"a/b")
    with refused("internal/compressed"):
        await Seal(_nothing)(
            call(None, SEALED, PLAIN), reply._replace(headers=(*reply.headers, (b"content-encoding", coding)))
        )
