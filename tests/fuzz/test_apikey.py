"""Reading an Authorization field: a credential comes out of it, ours or not, and nothing else happens."""

import re

from hypothesis import given

from sealwire.protocol.apikey import PATTERN, is_ours, is_whole, presented, write
from tests.fuzz.inputs import damaged

KEYS = tuple(write(mode, bytes(range(seed, seed + 32))).encode() for mode in ("test", "live") for seed in (0, 200))
LINES = (*(b"Bearer " + key for key in KEYS), *KEYS, b"bearer  sw_sk_x", b"Basic YTpi", b"DPoP sw_live_sk_0")


@given(damaged(LINES))
def test_authorization(field: bytes) -> None:
    """A key that is whole is ours and what scanners look for; what was presented is an end of the field."""
    credential = presented(field)
    assert (b" " + field).endswith(credential)
    if is_whole(credential):
        assert is_ours(credential)
        assert re.fullmatch(PATTERN.encode(), credential)
        assert credential.decode("ascii").isprintable()
