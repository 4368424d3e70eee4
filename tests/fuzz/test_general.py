"""The general reading of our signature: a claim or a Refusal, nothing else; and what the quick one says agrees."""

from hypothesis import given

from sealwire.errors import Refusal
from sealwire.protocol.profile import Plans, general, quick
from tests.fuzz.inputs import damaged
from tests.protocol.made import fields_of, member, only, request

(_, INPUTS), (_, OCTETS) = fields_of({"sig1": member()})
MORE = member(params={"x": "@1", "y": '%"%c3%bc"', "z": "1.5"}).encode()


@given(damaged([INPUTS, b"sig1=" + MORE, INPUTS + b", b=" + MORE]), damaged([OCTETS, OCTETS + b", b=:YQ==:"]))
def test_general(inputs: bytes, octets: bytes) -> None:
    """Where the general reading refuses, the quick one says nothing; where both speak, they say the same."""
    fast = quick(inputs, octets, "sealwire", Plans())
    try:
        slow = general(inputs, octets, "sealwire", request())
    except Refusal as refusal:
        only(refusal, "signature-missing", "signature-malformed")
        assert fast is None
        return
    assert fast is None or fast == slow
