"""Reading an authority: one that is listed or a Refusal, nothing else."""

from hypothesis import given

from sealwire.errors import Refusal
from sealwire.protocol.message import read_authority
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

LISTED = frozenset(("api.example.com", "[::1]:8443"))


@given(
    damaged([b"api.example.com", b"API.example.com:443", b"[::1]:8443", b"user@api.example.com", b"api.example.com."])
)
def test_authority(host: bytes) -> None:
    """What is accepted is listed, and differs from what came by case and :443 alone."""
    try:
        authority = read_authority(host, LISTED)
    except Refusal as refusal:
        only(refusal, "authority-unknown")
        said = refusal.detail
    else:
        said = ""
        assert authority in LISTED
        assert host.lower() in (authority.encode(), authority.encode() + b":443")
    assert said.isascii()
    assert said.isprintable()
