"""Reading and opening a sealed body: its plaintext or a Refusal, nothing else."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.envelope import Headers, open_sealed, protect, read, seal
from sealwire.protocol.jwk import b64url
from tests.fuzz.inputs import damaged
from tests.protocol.made import only

KEY = AESGCM(b"k" * 32)
TEXTS = (b"", b'{"amount":"1.50"}', bytes(range(256)))
BODIES = [seal(KEY, protect("ses_1", "application/json"), b"i" * 12, text) for text in TEXTS]
HEADERS = damaged(
    [
        b'{"alg":"dir","enc":"A256GCM","kid":"ses_1","cty":"a/b"}',
        b'{"cty":"a/b","kid":"\\u0073es_1","enc":"A256GCM","alg":"dir","zip":"DEF"}',
    ]
)


@given(damaged(BODIES))
def test_envelope(body: bytes) -> None:
    """What opens is the very body that was sealed: there is one writing of it."""
    headers = Headers()
    try:
        found = read(body, headers)
        plaintext = open_sealed(found, KEY)
    except Refusal as refusal:
        only(refusal, "envelope-malformed", "decrypt-failed")
        return
    assert plaintext in TEXTS
    assert seal(KEY, found.aad, found.iv, plaintext) == body
    headers.keep(found)
    assert read(body, headers) == found


@given(HEADERS, st.binary(max_size=40))
def test_header(text: bytes, plaintext: bytes) -> None:
    """Under a header that is accepted a body opens to what was sealed, and it says what its text says."""
    protected = b64url(text).encode()
    try:
        found = read(seal(KEY, protected, b"i" * 12, plaintext), Headers())
    except Refusal as refusal:
        only(refusal, "envelope-malformed")
        return
    assert open_sealed(found, KEY) == plaintext
    assert text.count(b'"') >= 16
    assert all(isinstance(said, str) for said in found.header)
