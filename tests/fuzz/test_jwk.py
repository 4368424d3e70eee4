"""Reading a JWK: a key or a Refusal, nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from sealwire.errors import Refusal
from sealwire.protocol.jwk import KEYID, b64url, read_jwk
from tests.fuzz.inputs import damaged
from tests.protocol.made import ALGORITHMS, only, signer

TEXTS = st.one_of(
    damaged([value.encode() for name in ALGORITHMS for value in signer(name).jwk.values()]).map(
        lambda raw: raw.decode("latin-1")
    ),
    st.binary(min_size=32, max_size=32).map(b64url),
    st.sampled_from(
        ["OKP", "EC", "RSA", "AKP", "Ed25519", "P-256", "P-384", "ML-DSA-65", "sig", "enc", "EdDSA", "AQAB"]
    ),
    st.text(max_size=5),
)
NAMES = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "pub", "use", "kid", "d"]) | st.text(max_size=5)
ANYTHING = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2)


@st.composite
def offered(draw: st.DrawFn) -> object:
    """A good key with some members replaced, or a value of another kind."""
    if draw(st.integers(0, 9)) == 0:
        return draw(ANYTHING | st.dictionaries(NAMES, ANYTHING, max_size=4))
    good = signer(draw(st.sampled_from(ALGORITHMS))).jwk
    return good | draw(st.dictionaries(NAMES | st.sampled_from(sorted(good)), TEXTS, max_size=2))


@given(offered())
def test_jwk(members: object) -> None:
    """What is accepted has its thumbprint for a name; what is refused is pointed at."""
    try:
        verifier = read_jwk(members)
    except Refusal as refusal:
        only(refusal, "request-invalid")
        said = str(refusal.members["errors"])
    else:
        said = ""
        assert KEYID.fullmatch(verifier.keyid)
        assert read_jwk(verifier.jwk) == verifier
        assert "d" not in verifier.jwk
    assert said.isascii()
