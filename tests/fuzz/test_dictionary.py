"""Reading a structured dictionary: a value or a FieldError, nothing else."""

from hypothesis import given

from sealwire.protocol.fields import FieldError, parse_dictionary, serialize_dictionary
from tests.fuzz.inputs import FIELDS, damaged


@given(damaged(FIELDS))
def test_dictionary(data: bytes) -> None:
    """What is read can be written, and what is written reads the same; an empty one is not written."""
    try:
        found = parse_dictionary(data)
    except FieldError:
        return
    if found:
        written = serialize_dictionary(found)
        assert parse_dictionary(written) == found
        assert serialize_dictionary(parse_dictionary(written)) == written
