"""Reading signatures and building their base: signatures and bytes, or a FieldError or Refusal, nothing else."""

from dataclasses import replace

from hypothesis import given

from sealwire.errors import Refusal
from sealwire.protocol import signature
from sealwire.protocol.fields import FieldError
from sealwire.protocol.message import Response
from tests.fuzz.inputs import damaged
from tests.protocol.made import ALGORITHMS, only, request, verifier

INPUTS = damaged(
    [
        b'a=("@path" "x";sf "x";key="a" "x";bs "@query-param";name="b" "y";tr);created=1;keyid="k"',
        b'a=("@status" "@method";req "signature";req;key="a" "x";key="q";req);x=@1;y=%"%c3%bc";z=1.5, b=()',
    ]
)
OCTETS = damaged([b"a=:YQ==:", b"a=:YQ==:, b=:Yg==:"])
MESSAGE = replace(request([(b"x", b"a=1, q=(2 3)"), (b"signature", b"a=:YQ==:")]), trailers=((b"y", b"1"),))
RESPONSE = Response(200, MESSAGE.headers, MESSAGE.fields)


@given(INPUTS, OCTETS)
def test_signature(inputs: bytes, octets: bytes) -> None:
    """A base is one line a component and one for the parameters; no damaged signature verifies."""
    try:
        every = signature.parse(inputs, octets)
    except FieldError:
        return
    for signed in every:
        signature.canonical(signed, octets)
        for message, related in ((MESSAGE, None), (RESPONSE, MESSAGE)):
            try:
                base = signature.base(signed.components, signed.covered, message, related, {b"x": "dictionary"})
            except Refusal as refusal:
                only(refusal, "signature-malformed", "components-insufficient")
                continue
            assert base.count(b"\n") == len(signed.components)
            for algorithm in ALGORITHMS:
                try:
                    signature.check(verifier(algorithm), base, signed.signature)
                except Refusal as refusal:
                    only(refusal, "signature-mismatch")
                    continue
                raise AssertionError("a signature that nobody made")
