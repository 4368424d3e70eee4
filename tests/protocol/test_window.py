"""The time of a signature, to the second."""

import pytest

from sealwire.errors import Refusal
from sealwire.protocol.fields import InnerList, parse_dictionary
from sealwire.protocol.window import REMEMBER_SECONDS, SKEW_SECONDS, Window, accept_signature, clock, judge, late
from tests.protocol.made import CREATED, FOUR, code, only, read, request, signed_lines, with_body

CLAIM = read(request(signed_lines(params={"expires": str(CREATED + 300)})))


def verdict(window: Window, now: float, *, restarted: bool = False, fresh: bool = False) -> str:
    """The cause of the refusal, or nothing."""
    try:
        judge(window, now, restarted=restarted, demand_server_nonce=fresh)
    except Refusal as refusal:
        only(refusal, "clock-skew")
        return refusal.cause
    return ""


@pytest.mark.parametrize(
    ("offset", "cause"),
    [
        (-11, "early"),
        (-10.001, "early"),
        (-10, ""),
        (-9, ""),
        (0, ""),
        (59, ""),
        (59.999, ""),
        (60, "late"),
        (61, "late"),
    ],
)
def test_of_created(offset: float, cause: str) -> None:
    """Valid from ten seconds before created to just before created + max_age."""
    assert SKEW_SECONDS == 10
    assert verdict(Window.of(CLAIM, None, 60), CREATED + offset) == cause


@pytest.mark.parametrize(
    ("max_age", "expires", "last"), [(60, 300, 60), (300, 300, 300), (300, 30, 30), (5, 300, 5), (5, 1, 1)]
)
def test_the_earlier_end(max_age: int, expires: int, last: int) -> None:
    """The window ends at expires or at created + max_age, whichever comes first."""
    window = Window.of(CLAIM._replace(expires=CREATED + expires), None, max_age)
    assert window == Window(CREATED, CREATED + last, 20, by_server_nonce=False)
    assert verdict(window, CREATED + last - 0.001) == ""
    assert verdict(window, CREATED + last) == "late"


@pytest.mark.parametrize(
    ("offset", "cause"),
    [(-10.5, "early"), (-10, ""), (59.9, ""), (60, "server-nonce-late"), (900, "server-nonce-late")],
)
def test_of_a_server_nonce(offset: float, cause: str) -> None:
    """Judged by its issue time instead of created and expires, for a minute, and remembered for 20 s more."""
    issued = CREATED + 5000.25
    window = Window.of(CLAIM, issued, 300)
    assert window == Window(issued, issued + 60, 20, by_server_nonce=True)
    assert verdict(window, issued + offset) == cause
    assert verdict(window, issued, fresh=True) == ""


def test_remembered_for_twice_the_skew() -> None:
    """A nonce outlives its message by twice the skew."""
    assert REMEMBER_SECONDS == 20
    assert Window.of(CLAIM, None, 60).remember_seconds == 20


def test_what_is_demanded_beside_the_time() -> None:
    """A rule may demand a server nonce; after a restart only a server nonce will do; the time is judged first."""
    window = Window.of(CLAIM, None, 60)
    assert verdict(window, CREATED, fresh=True) == "fresh-demanded"
    assert verdict(window, CREATED, restarted=True) == "restart"
    assert verdict(window, CREATED, restarted=True, fresh=True) == "fresh-demanded"
    assert verdict(window, CREATED + 60, restarted=True, fresh=True) == "late"
    assert verdict(window, CREATED - 11, restarted=True, fresh=True) == "early"


def test_details() -> None:
    """The caller is told by how much, and in which direction."""
    for now, said in ((CREATED - 100, "100 s ahead; at most 10 s"), (CREATED + 100, "100 s behind; window 60 s")):
        with pytest.raises(Refusal) as raised:
            judge(Window.of(CLAIM, None, 60), now, restarted=False, demand_server_nonce=False)
        assert raised.value.detail == said
    with pytest.raises(Refusal) as raised:
        judge(Window.of(CLAIM, CREATED, 60), CREATED + 70, restarted=False, demand_server_nonce=False)
    assert raised.value.detail == "the server nonce is 70 s old; window 60 s"


def test_late() -> None:
    """A message that ran out before its nonce could be claimed is outside its window."""
    assert (late().code, late().failed) == ("clock-skew/claim-late", "created")


def test_clock() -> None:
    """Server time in seconds, created - now in milliseconds, the window in seconds."""
    assert clock(CLAIM, CREATED + 2.5, 60) == {"server_time": CREATED + 2, "skew_ms": -2500, "window": 60}
    assert clock(CLAIM, CREATED - 2.5, 5) == {"server_time": CREATED - 3, "skew_ms": 2500, "window": 5}


def asked(value: bytes) -> tuple[list[object], dict[str, object]]:
    """Components and parameters that an Accept-Signature asks for."""
    (member,) = parse_dictionary(value).values()
    assert isinstance(member, InnerList)
    return [item.value for item in member.items], dict(member.params)


def test_accept_signature() -> None:
    """What this request has to cover, with a server nonce where one is given."""
    name, value = accept_signature(request())
    assert name == b"accept-signature"
    names, params = asked(value)
    assert names == list(FOUR)
    assert params["tag"] == "sealwire"
    assert params["created"] is params["expires"] is True
    names, params = asked(accept_signature(with_body([(b"dpop", b"x"), (b"authorization", b"y")]), "n" * 43, "t")[1])
    assert names == [*FOUR, "content-type", "content-digest", "authorization", "dpop"]
    assert (params["nonce"], params["tag"]) == ("n" * 43, "t")


def test_a_call_as_asked_is_read() -> None:
    """A signature over what Accept-Signature lists passes."""
    made = with_body([(b"authorization", b"y")])
    names, _ = asked(accept_signature(made)[1])
    assert read(with_body([(b"authorization", b"y"), *signed_lines([str(name) for name in names])]))


def test_refusals_carry_their_code() -> None:
    """The code is slug and cause."""
    with pytest.raises(Refusal) as raised:
        judge(Window.of(CLAIM, None, 60), CREATED - 11, restarted=False, demand_server_nonce=False)
    assert (code(raised), raised.value.failed) == ("clock-skew/early", "created")
