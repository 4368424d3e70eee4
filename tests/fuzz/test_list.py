"""Reading a structured list: a value or a FieldError, nothing else."""

from hypothesis import given

from sealwire.protocol.fields import FieldError, parse_list, serialize_list
from tests.fuzz.inputs import FIELDS, damaged


@given(damaged(FIELDS))
def test_list(data: bytes) -> None:
    """What is read can be written, and what is written reads the same; an empty one is not written."""
    try:
        found = parse_list(data)
    except FieldError:
        return
    if found:
        written = serialize_list(found)
        assert parse_list(written) == found
        assert serialize_list(parse_list(written)) == written
