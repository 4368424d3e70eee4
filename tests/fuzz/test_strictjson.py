"""Reading strict JSON: a value or NotStrict, nothing else."""

import json

from hypothesis import given

from sealwire.protocol.strictjson import NotStrict, read
from tests.fuzz.inputs import damaged

BODIES = damaged(
    [
        b'{"amount":"1.50","n":[1,2.5e3,-0,true,null],"o":{"a":{}}}',
        b'"\\ud83d\\ude00\\u0000\xc3\xbc"',
        b'{"a":1,"a":2}',
        b"[" * 66 + b"]" * 66,
        b"[9007199254740993, 1e309, NaN]",
    ]
)


@given(BODIES)
def test_strictjson(body: bytes) -> None:
    """What is accepted a common parser reads the same, and can be written as UTF-8."""
    try:
        value = read(body)
    except NotStrict:
        return
    assert json.loads(body) == value
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
