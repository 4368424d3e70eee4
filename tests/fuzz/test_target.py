"""Reading a request target: one reading or a Refusal, nothing else."""

from hypothesis import given

from sealwire.errors import Refusal
from sealwire.protocol.message import read_target
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

TARGETS = damaged(
    b"/v1/orders?b=1 /a/../b /a%2fb/%2e%2e /%25%32%65 /a;x=1/ /%C3%BC%c0%ae https://a/b#c * /a%2f..%2fb /.well-known/x "
    b"/a?//../%2f /%25%25%25%25%25%25%25%25%25".split()
)


@given(TARGETS)
def test_target(target: bytes) -> None:
    """What is accepted is kept to the byte, and no path is one that servers would resolve."""
    try:
        found = read_target(target)
    except Refusal as refusal:
        only(refusal, "target-not-canonical")
        return
    assert target.startswith(b"/")
    assert found.path + (b"?" + found.query if b"?" in target else b"") == target
    segments = found.decoded[1:].split("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]
