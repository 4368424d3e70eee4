"""Splitting a dictionary into members: members or a FieldError, nothing else."""

from hypothesis import given

from sealwire.protocol.fields import FieldError, split_dictionary
from tests.fuzz.inputs import FIELDS, damaged


@given(damaged(FIELDS))
def test_split_dictionary(data: bytes) -> None:
    """Every member is a stretch of the bytes that came, in their order."""
    try:
        members = split_dictionary(data)
    except FieldError:
        return
    position = 0
    for key, text in members:
        position = data.index(key.encode(), position) + len(key)
        position = data.index(text, position) + len(text)
    assert len(members) <= data.count(b",") + 1
