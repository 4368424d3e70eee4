"""Admit: declared size and media type."""

import pytest

from sealwire.call import Admitted
from sealwire.stages.admit import Admit
from tests.stages.made import BODY, RULE, SEALED, call, head, refused


@pytest.mark.parametrize("length", [None, b"0"])
async def test_no_content_needs_no_type(length: bytes | None) -> None:
    """Without content the type is not judged."""
    request = head(more={b"content-length": length, b"content-type": b"text/html"})
    assert await Admit()(call(request)) == Admitted()


async def test_declared_size_at_the_cap() -> None:
    """As many bytes as the rule takes are admitted, one more is not."""
    request = head(body=BODY)
    assert await Admit()(call(request, RULE._replace(max_body_bytes=len(BODY)))) == Admitted()
    with refused("body-too-large/declared"):
        await Admit()(call(request, RULE._replace(max_body_bytes=len(BODY) - 1)))


async def test_a_type_outside_the_list() -> None:
    """A type that the rule does not list is refused, and the listed ones are told, sorted."""
    rule = RULE._replace(content_types=frozenset(("b/b", "a/a")))
    with refused("media-type/content-type") as caught:
        await Admit()(call(head(body=BODY), rule))
    assert caught.value.detail == "This route takes a/a, b/b."
    assert caught.value.status == 415


async def test_chunked_without_a_type() -> None:
    """A body without a declared size is admitted, and an absent type is left to the later checks."""
    chunked: dict[bytes, bytes | None] = {b"transfer-encoding": b"chunked"}
    assert await Admit()(call(head(more=chunked))) == Admitted()
    with refused("media-type/content-type"):
        await Admit()(call(head(more={**chunked, b"content-type": b"text/html"})))


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        (b"application/json", True),
        (b"Application/JSON", True),
        (b"application/json; charset=utf-8", True),
        (b'application/json ;charset="UTF-8"', True),
        (b"application/json; charset=utf-16", False),
        (b"application/json;", False),
        (b"application/json; charset=utf-8; x=1", False),
        (b"text/html", False),
        (b"a/b; version=1", True),
        (b"a/b", False),
    ],
)
def test_listed_types(content_type: bytes, taken: bool) -> None:
    """A listed type counts bare or with charset=utf-8 alone; other parameters only where they are listed."""
    rule = RULE._replace(content_types=frozenset(("application/json", "a/b; version=1")))
    assert rule.takes(content_type) is taken


JOSE: dict[bytes, bytes | None] = {b"content-type": b"application/jose"}


@pytest.mark.parametrize("profile", ["open", "signed", "published", "enrolment"])
@pytest.mark.parametrize("more", [JOSE, {b"sealwire-session": b"ses_1"}, {b"sealwire-session": b""}])
async def test_sealed_where_nothing_is_sealed(profile: str, more: dict[bytes, bytes | None]) -> None:
    """A sealed body, or the name of a session, on a rule that is not sealed; with a body or without."""
    for rule in (RULE, RULE._replace(content_types=frozenset(("application/jose",)))):
        for body in (b"", BODY):
            with refused("encryption-unexpected/clear-route") as caught:
                await Admit()(call(head(body=body, more=more), rule._replace(profile=profile)))
            assert caught.value.status == 400


async def test_what_a_sealed_rule_takes() -> None:
    """Sealed bodies, and those of its own types: that they are in clear is told once the caller is proven."""
    for more in (JOSE, {}, JOSE | {b"sealwire-session": b"ses_1"}):
        assert await Admit()(call(head(body=BODY, more=more), SEALED)) == Admitted()
    assert await Admit()(call(head("GET", more={b"sealwire-session": b"ses_1"}), SEALED)) == Admitted()
    for kind in (b"application/jose; a=b", b"Application/JOSE", b"application/jose+json", b"text/html"):
        with refused("media-type/content-type"):
            await Admit()(call(head(body=BODY, more={b"content-type": kind}), SEALED))
    with refused("body-too-large/declared"):
        await Admit()(call(head(body=BODY, more=JOSE), SEALED._replace(max_body_bytes=3)))
