"""Reading a structured item: a value or a FieldError, nothing else."""

from hypothesis import given

from sealwire.protocol.fields import FieldError, parse_item, serialize_item
from tests.fuzz.inputs import FIELDS, damaged


@given(damaged(FIELDS))
def test_item(data: bytes) -> None:
    """What is read can be written, and what is written reads the same."""
    try:
        found = parse_item(data)
    except FieldError:
        return

    written = serialize_item(found)
    assert parse_item(written) == found
    assert serialize_item(parse_item(written)) == written
