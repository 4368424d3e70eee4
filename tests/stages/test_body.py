"""Body: read whole, capped, hashed, as long as declared."""

from typing import Any, cast

import pytest

from sealwire.call import Body, Proof
from sealwire.errors import Fault
from sealwire.stages.body import Kept, ReadBody
from tests.stages.made import BODY, RULE, call, digest_of, head, record, refused

PROOF = Proof(cast(Any, None), record(), 0, 20)


@pytest.mark.parametrize("chunks", [(BODY,), (BODY[:3], b"", BODY[3:]), (BODY, b"")])
async def test_chunks_make_one_body(chunks: tuple[bytes, ...]) -> None:
    """However the body is cut, its digest is judged over the whole."""
    assert await ReadBody()(call(head(body=BODY), RULE, PROOF, chunks=chunks)) == Body(BODY)


async def test_unsigned_digests_are_not_judged() -> None:
    """Where nobody signed, Content-Digest proves nothing and decides nothing."""
    request = head(body=BODY, more={b"content-digest": b"what?"})
    assert await ReadBody()(call(request, chunks=(BODY,))) == Body(BODY)


async def test_a_changed_body() -> None:
    """A body that differs from its signed digest is refused."""
    with refused("digest-mismatch/differs", "digest"):
        await ReadBody()(call(head(body=BODY), RULE, PROOF, chunks=(BODY[:-2] + b"2}",)))


@pytest.mark.parametrize(
    ("field", "cause"), [(b"md5=:AAAAAAAAAAAAAAAAAAAAAA==:", "no-algorithm"), (b"sha-256=x", "unreadable")]
)
async def test_digests_that_do_not_count(field: bytes, cause: str) -> None:
    """A digest that is unreadable, or of unknown algorithms only, is refused before the body is read."""
    with refused(f"digest-mismatch/{cause}", "digest"):
        await ReadBody()(call(head(body=BODY, more={b"content-digest": field}), RULE, PROOF, chunks=()))


@pytest.mark.parametrize("length", [None, b"0"])
async def test_a_body_taken_out(length: bytes | None) -> None:
    """A body that was signed and then taken out, its length with it, is missed: the digest that stands must match."""
    request = head(body=BODY, more={b"content-length": length})
    with refused("digest-mismatch/differs", "digest"):
        await ReadBody()(call(request, RULE, PROOF))


async def test_the_digest_of_nothing() -> None:
    """Without content a digest of the empty body matches."""
    request = head(more={b"content-digest": digest_of(b"")})
    assert await ReadBody()(call(request, RULE, PROOF)) == Body(b"")


@pytest.mark.parametrize("digest", [None, digest_of(BODY)])
async def test_a_body_that_the_head_did_not_announce(digest: bytes | None) -> None:
    """Under a signature a body that the head did not announce is refused, with an added digest too."""
    with refused("components-insufficient/body-not-covered", "components"):
        await ReadBody()(call(head(more={b"content-digest": digest}), RULE, PROOF, chunks=(BODY,)))


async def test_an_empty_call() -> None:
    """A call without content has an empty body, signed or not."""
    assert await ReadBody()(call(head(), RULE, PROOF)) == Body(b"")
    assert await ReadBody()(call(head())) == Body(b"")


async def test_the_cap() -> None:
    """As many bytes as the rule takes are read, and at one more reading stops."""
    chunked = head(more={b"transfer-encoding": b"chunked"})
    rule = RULE._replace(max_body_bytes=4)
    assert await ReadBody()(call(chunked, rule, chunks=(b"ab", b"cd"))) == Body(b"abcd")
    with refused("body-too-large/read"):
        await ReadBody()(call(chunked, rule, chunks=(b"ab", b"cde", b"never read")))


async def test_the_declared_length() -> None:
    """A body shorter than declared is our own fault, a longer one is the caller's."""
    with refused("internal/body-taken") as caught:
        await ReadBody()(call(head(more={b"content-length": b"5"}), chunks=(b"abcd",)))
    assert isinstance(caught.value, Fault)
    with refused("header-malformed/length-differs"):
        await ReadBody()(call(head(more={b"content-length": b"3"}), chunks=(b"abcd",)))


async def test_what_is_kept_of_an_observed_body() -> None:
    """What a stage has read is not gone, the rest is read, and the cap holds for both."""
    chunks = [b"a" * 4, b"b" * 4, b"c"]

    async def receive() -> tuple[bytes, bool]:
        return chunks.pop(0), bool(chunks)

    kept = Kept(receive)
    assert await kept() == (b"aaaa", True)
    assert await kept.whole(9) == b"aaaabbbbc"
    assert await kept.whole(9) == b"aaaabbbbc"
    chunks = [b"a" * 4, b"b" * 4, b"c"]
    kept = Kept(receive)
    await kept()
    with refused("body-too-large/read", ""):
        await kept.whole(8)
