"""Reading a Content-Digest: digests or a Refusal, nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.digest import content_digest, expect
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

GOOD = content_digest(b"body")


@given(damaged([GOOD, GOOD + b", md5=:YQ==:", b"sha-512=:" + b"A" * 86 + b"==:, " + GOOD]), st.binary(max_size=4))
def test_digest(field: bytes, body: bytes) -> None:
    """A body that is accepted has its own digest in the field."""
    try:
        expected = expect(field)
        expected.update(body)
        expected.judge()
    except Refusal as refusal:
        only(refusal, "digest-mismatch")
        return
    assert content_digest(body) in field
