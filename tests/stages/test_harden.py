"""Harden: the fields every reply goes out with."""

import pytest

from sealwire.call import AddressSpent, CallerSpent
from sealwire.protocol.message import Reply
from sealwire.protocol.ratelimit import Limit, Spent, fields
from sealwire.stages.harden import Harden
from tests.stages.made import RULE, call, refused


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


SPENT = (Spent(Limit(5, 60, "key"), fits=True, remaining=3, wait_seconds=0.0, reset_seconds=24.0),)
OURS = {b"ratelimit-policy": b'"key-60";q=5;w=60', b"ratelimit": b'"key-60";r=3;t=24'}
THEIRS = ((b"RateLimit", b"the app's"), (b"ratelimit-policy", b"the app's"), (b"Retry-After", b"9"))


def limits_in(reply: Reply) -> dict[bytes, bytes]:
    """What a reply says of limits, each of it once."""
    said = [(name, value) for name, value in reply.headers if name in OURS or name == b"retry-after"]
    assert len(said) == len({name for name, _ in said})
    return dict(said)


@pytest.mark.parametrize("status", [200, 201, 304, 401, 403, 404, 500])
async def test_what_is_left_is_told(status: int) -> None:
    """Whatever comes of a call that its limits took, its caller hears what is left; what the app says of it goes."""
    charged = call(None, RULE, AddressSpent((), later=True), CallerSpent(SPENT))
    assert limits_in(await Harden()(charged, Reply(status, (), b""))) == OURS
    assert limits_in(await Harden()(charged, Reply(status, THEIRS, b""))) == {**OURS, b"retry-after": b"9"}


async def test_a_refusal_by_a_limit_says_it_itself() -> None:
    """On a 429 stand the fields of the limit that refused, once, or those of an app with limits of its own."""
    spent = SPENT[0]._replace(fits=False, remaining=0, wait_seconds=12.0)
    for held in (CallerSpent(SPENT), AddressSpent(SPENT)):
        reply = await Harden()(call(None, RULE, held), Reply(429, fields((spent,)), b""))
        assert limits_in(reply) == {
            b"ratelimit-policy": b'"key-60";q=5;w=60', b"ratelimit": b'"key-60";r=0;t=24', b"retry-after": b"12"
        }  # fmt: skip


async def test_the_limits_of_strangers() -> None:
    """Under a rule that proves nothing they are told on replies that went through, and not with what was refused."""
    paid = call(None, RULE, AddressSpent(SPENT))
    for status in (200, 302):
        assert limits_in(await Harden()(paid, Reply(status, (), b""))) == OURS
    for status in (400, 404, 500):
        assert limits_in(await Harden()(paid, Reply(status, (), b""))) == {}


async def test_a_look_is_not_told() -> None:
    """What was looked at and not charged is not what is left; neither is what has no limits."""
    for held in ((AddressSpent(SPENT, later=True),), (CallerSpent(()),), ()):
        reply = await Harden()(call(None, RULE, *held), Reply(200, THEIRS[:2], b""))
        assert limits_in(reply) == {b"ratelimit": b"the app's", b"ratelimit-policy": b"the app's"}
