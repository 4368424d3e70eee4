"""Naming the lines of a base: for any field values, lines that may be named and nothing else."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.message import read_head
from sealwire.protocol.profile import NAMED_IN_REFUSALS, build_base, fingerprints
from tests.fuzz.inputs import damaged
from tests.protocol.made import FOUR, read, request, signed_lines

NAMES = (*FOUR, "idempotency-key", "x-origin-verify", "accept")
FOUND = read(request([(b"idempotency-key", b"k"), *signed_lines(NAMES)]))


@given(st.lists(damaged([b"a", b'x\t"@path": y', b'"dpop": z', b"\xfc"]), min_size=3, max_size=3))
def test_fingerprints(values: list[bytes]) -> None:
    """No value of a field makes a line of its own, and only the agreed components are named."""
    try:
        _, fields = read_head([(name.encode(), value) for name, value in zip(NAMES[4:], values, strict=True)])
    except Refusal:
        return
    made = replace(request(), fields=fields)
    shown = fingerprints(FOUND, build_base(FOUND, made))
    named = [line["component"] for line in shown]
    assert named == [f'"{name}"' for name in (*NAMES[:5], "@signature-params")]
    assert {name.strip('"').encode() for name in named} <= NAMED_IN_REFUSALS
    assert all(len(line["sha256"]) == 8 for line in shown)
