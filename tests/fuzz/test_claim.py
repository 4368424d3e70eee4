"""Reading our signature out of a message: a claim or a Refusal, nothing else."""

from dataclasses import replace

from hypothesis import given

from sealwire.errors import Refusal
from sealwire.protocol.profile import NONCE, Plans, build_base, claim, find_label, has_tag
from tests.fuzz.inputs import damaged
from tests.protocol.made import fields_of, member, only, request

EXTRA = (*["@method", "@authority", "@path", "@query", "accept", "x-1"],)
(_, ONE), (_, VALUE) = fields_of({"a": member(EXTRA, {"alg": '"ed25519"'})})
(_, TWO), (_, VALUES) = fields_of(
    {"p": member(params={"tag": '"x"'}), "a": member().replace(")", ' "signature";key="p")', 1)}
)


@given(damaged([ONE, TWO]), damaged([VALUE, VALUES]))
def test_claim(inputs: bytes, octets: bytes) -> None:
    """What is accepted is inside every bound, and its base is one line a component."""
    plans, made = Plans(), request([(b"accept", b"a")])
    fields = {b"signature-input": inputs, b"signature": octets}
    made = replace(made, fields=made.fields | fields)
    for read in (has_tag, find_label):
        try:
            read(made, "sealwire")
        except Refusal as refusal:
            only(refusal, "signature-missing", "signature-malformed")
    for possession in ("", "p"):
        try:
            found = claim(made, "sealwire", plans, possession=possession)
            base = build_base(found, made)
        except Refusal as refusal:
            only(refusal, "signature-missing", "signature-malformed", "components-insufficient")
            continue
        assert 0 <= found.created < found.expires < 2**40
        assert found.expires - found.created <= 300
        assert NONCE.fullmatch(found.nonce)
        assert found.covered in inputs
        assert base.count(b"\n") == len(found.plan.steps)
        plans.keep(found)
        assert not possession or claim(made, "sealwire", plans, possession=possession) == found
