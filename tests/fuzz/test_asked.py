"""Reading what a caller asks of the reply, a server nonce and a limit: a value or the one stated answer."""

from dataclasses import replace

from hypothesis import given

from sealwire.protocol.profile import NONCE
from sealwire.protocol.ratelimit import parse_limit
from sealwire.protocol.reply import wanted_nonce
from sealwire.protocol.servernonce import issue, issued_at
from tests.fuzz.inputs import damaged
from tests.protocol.made import request

MADE = issue(b"secret", 1_790_000_000_000, b"r" * 8, "key")
ASKED = b'sig=("@status");nonce="abcdefghijklmnopqrstuv";tag="sealwire-response"'


@given(damaged([ASKED, b"a=1, " + ASKED]))
def test_wanted_nonce(field: bytes) -> None:
    """A nonce in its form or none; never an error."""
    made = request()
    nonce = wanted_nonce(replace(made, fields=made.fields | {b"accept-signature": field}))
    assert not nonce or NONCE.fullmatch(nonce.decode("ascii"))


@given(damaged([MADE.encode()]))
def test_server_nonce(nonce: bytes) -> None:
    """Only what was issued has an issue time."""
    found = issued_at(b"secret", nonce.decode("latin-1"), "key")
    assert (found is not None) == (nonce == MADE.encode())


@given(damaged([b"6000/min per key", b"1/s"]))
def test_limit(text: bytes) -> None:
    """A limit that counts something, or a ValueError."""
    try:
        limit = parse_limit(text.decode("latin-1"))
    except ValueError:
        return
    assert limit.quota > 0
    assert limit.period_seconds > 0
