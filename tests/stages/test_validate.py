"""Validate: the content has one reading."""

import pytest

from sealwire.call import Body, Plain, Valid
from sealwire.stages.validate import Validate
from tests.stages.made import BODY, RULE, SEALED, call, head, refused, seal


@pytest.mark.parametrize("content_type", [None, b"application/json"])
async def test_no_content(content_type: bytes | None) -> None:
    """A call without content is not read as JSON, whatever type it names."""
    assert await Validate()(call(head(more={b"content-type": content_type}), RULE, Body(b""))) == Valid()


async def test_a_body_needs_a_type() -> None:
    """A body without a type is refused."""
    with refused("media-type/absent") as caught:
        await Validate()(call(head(more={b"content-length": b"2"}), RULE, Body(b"{}")))
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"Application/JSON; charset=utf-8", b"application/problem+json"]
)
async def test_strict_json(content_type: bytes) -> None:
    """What is announced as JSON has one reading, also where it is empty."""
    request = head(more={b"content-type": content_type, b"transfer-encoding": b"chunked"})
    assert await Validate()(call(request, RULE, Body(b'{"a":1}'))) == Valid()
    for content in (b"", b'{"a":1,"a":2}'):
        with refused("request-invalid/json", "policy") as caught:
            await Validate()(call(request, RULE, Body(content)))
        assert caught.value.members["errors"]


async def test_unsigned_failures_name_no_judgement() -> None:
    """Where nothing was signed no judgement failed."""
    request = head(body=b"{")
    with refused("request-invalid/json"):
        await Validate()(call(request, RULE._replace(profile="open"), Body(b"{")))


async def test_other_types_pass() -> None:
    """What is not announced as JSON is not read as JSON."""
    request = head(body=b"{", more={b"content-type": b"text/plain"})
    assert await Validate()(call(request, RULE, Body(b"{"))) == Valid()


async def test_of_a_sealed_body_the_plaintext_is_judged() -> None:
    """What was opened has one reading, under the media type that was sealed with it; the envelope is not read."""
    request = head(body=seal(), more={b"content-type": b"application/jose"})
    for content, kind in ((BODY, b"application/json"), (b"{", b"text/plain"), (b"", b"text/plain")):
        assert await Validate()(call(request, SEALED, Body(seal()), Plain(content, kind))) == Valid()
    for content in (b"{", b"", b'{"a":1,"a":2}'):
        opened = Plain(content, b"application/json; charset=utf-8")
        with refused("request-invalid/json", "policy") as caught:
            await Validate()(call(request, SEALED, Body(seal()), opened))
        assert caught.value.members["errors"]


async def test_a_sealed_call_without_a_body() -> None:
    """It says nothing, so there is nothing to judge."""
    request = head("GET", more={b"sealwire-session": b"ses_1"})
    assert await Validate()(call(request, SEALED, Body(b""), Plain(b"", b""))) == Valid()
