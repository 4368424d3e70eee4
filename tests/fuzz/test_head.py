"""Reading the fields of a head: fields or a Refusal, nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.message import HEAD_BYTES, read_head
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

NAMES = damaged(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Sealwire-Session", b"x_y", b"accept", b"signature"]
)
VALUES = damaged([b"api.example.com", b"12", b"chunked", b" a\tb ", b"99999999999999999999999", b"v" * 12_290])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_head(received: list[tuple[bytes, bytes]]) -> None:
    """What is accepted has plain names, no control bytes and a bounded size."""
    try:
        headers, fields = read_head(received)
    except Refusal as refusal:
        only(refusal, "header-malformed")
        return
    assert sum(len(name) + len(value) for name, value in headers) <= HEAD_BYTES
    assert set(fields) == {name for name, _ in headers}
    for name, value in headers:
        assert name == name.lower()
        assert b"_" not in name
        assert not set(value) & {*range(9), *range(10, 32), 127}
        assert value == value.strip(b" \t")
    assert not {b"content-length", b"transfer-encoding"} <= fields.keys()
