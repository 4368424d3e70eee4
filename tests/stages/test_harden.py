"""Harden: the fields every reply goes out with."""

import pytest

from sealwire.protocol.message import Reply
from sealwire.stages.harden import Harden
from tests.stages.made import call, refused


async def test_ours_are_set_and_theirs_dropped() -> None:
    """What the app says of caching, framing, signatures and the request's id is dropped; the rest stays, in order."""
    dropped = (
        b"Cache-Control X-Content-Type-Options X-Request-Id Server Connection Signature Signature-Input Content-Digest "
        b"Transfer-Encoding Content-Length Sealwire-Stream"
    ).split()
    headers = ((b"Content-Type", b"a/b"), *((name, b"x") for name in dropped), (b"location", b"/X"))
    assert await Harden()(call(), Reply(201, headers, b"body")) == Reply(
        201,
        (
            (b"content-type", b"a/b"),
            (b"location", b"/X"),
            (b"cache-control", b"no-store, no-transform"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", b"req_1"),
        ),
        b"body",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"location", b"/a\r\nset-cookie: b"),
        (b"x", b"a\nb"),
        (b"x", b"\0"),
        (b"x: y", b"a"),
        (b"", b"a"),
        (b"a\n", b"b"),
    ],
)
async def test_a_field_is_one_line(name: bytes, value: bytes) -> None:
    """An app that puts a caller's words into a field unchecked lets them write no second one."""
    with refused("internal/reply"):
        await Harden()(call(), Reply(200, ((name, value),), b""))
