"""How a session's keys come about: what is sealed to, what the keys are bound to, what nobody sees."""

import copy
import hashlib
import pickle
from collections.abc import Callable
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa, x448
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwire.errors import Refusal
from sealwire.protocol import handshake
from sealwire.protocol.handshake import KEMS, SECRET_BYTES, KeyPair, Keys, Offer, Terms
from sealwire.protocol.jwk import b64url, unb64url
from tests.protocol.hkdf import hkdf_sha256

P = 2**255 - 19
#: Every 32 bytes that stand for a point whose order divides 8: RFC 7748 section 5 masks the top bit and takes u mod p.
LOW_ORDER = [
    (u + top).to_bytes(32, "little")
    for u in (
        0,
        1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
        P - 1,
        P,
        P + 1,
    )
    for top in (0, 2**255)
]
SECRET = bytes(range(32))
TERMS = Terms("api.example", "K" * 43, "X25519", "ses_1", hashlib.sha256(b"{}").digest(), "n" * 22, 1790000900, 65536)
CONTEXT = TERMS.context()


@cache
def pair(kem: str) -> KeyPair:
    """One pair a kem for the whole run."""
    return KeyPair(kem)


def refused(kem: str, raw: bytes | str, pointer: str = "/public_key") -> str:
    """The key is refused, pointed at where it must be; what is said of it."""
    with pytest.raises(Refusal) as raised:
        Offer(kem, raw if isinstance(raw, str) else b64url(raw))
    assert (raised.value.code, raised.value.failed, raised.value.status) == ("request-invalid/session", "policy", 422)
    errors = raised.value.members["errors"]
    assert isinstance(errors, list)
    (error,) = errors
    assert error["pointer"] == pointer
    return str(error["detail"])


def test_the_context_by_hand() -> None:
    """Nine lines, joined by line feeds, without a last one."""
    body = "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o"
    lines = b"sealwire session 1\napi.example\n%s\nX25519\nses_1\n%s\n%s\n1790000900\n65536"
    assert lines % (b"K" * 43, body.encode(), b"n" * 22) == CONTEXT


@pytest.mark.parametrize(
    "other",
    [
        TERMS._replace(authority="api.example:8443"),
        TERMS._replace(keyid="L" * 43),
        TERMS._replace(kem="P-256"),
        TERMS._replace(session="ses_2"),
        TERMS._replace(body_sha256=bytes(32)),
        TERMS._replace(nonce="m" * 22),
        TERMS._replace(expires_at=1790000901),
        TERMS._replace(max_requests=65537),
    ],
)
def test_each_term_binds(other: Terms) -> None:
    """Another term is another context, under which nothing opens and no key is the same."""
    assert other.context() != CONTEXT
    assert not Keys(SECRET, other.context()).fits(Keys(SECRET, CONTEXT).commitment)
    sealed = Offer("X25519", pair("X25519").public_key).seal(SECRET, CONTEXT)
    with pytest.raises(ValueError, match="not sealed to this key pair and request"):
        pair("X25519").open(sealed, other.context())


def test_the_key_schedule() -> None:
    """Five keys from one secret, each by its own label, as HKDF written out has them."""
    salt = hashlib.sha256(CONTEXT).digest()
    keys = Keys(SECRET, CONTEXT)

    def expected(label: bytes) -> bytes:
        return hkdf_sha256(SECRET, salt, b"sealwire " + label, 32)

    for cipher, label in ((keys.c2s, b"c2s key"), (keys.s2c, b"s2c key")):
        sealed = cipher.encrypt(bytes(12), b"x", None)
        assert AESGCM(expected(label)).decrypt(bytes(12), sealed, None) == b"x"
    assert (keys.c2s_mac, keys.s2c_mac) == (expected(b"c2s mac"), expected(b"s2c mac"))
    assert keys.commitment == expected(b"commitment")


def test_the_commitment() -> None:
    """Only the very commitment fits; a shorter one does not."""
    keys = Keys(SECRET, CONTEXT)
    assert keys.fits(Keys(SECRET, CONTEXT).commitment)
    assert not keys.fits(Keys(bytes(32), CONTEXT).commitment)
    assert not keys.fits(keys.commitment[:-1])
    assert not keys.fits(b"")


@pytest.mark.parametrize("kem", KEMS)
def test_sealed_and_opened(kem: str) -> None:
    """What is sealed to the offered key its pair opens; sealed again it looks otherwise; nothing shows it."""
    offer = Offer(kem, pair(kem).public_key)
    assert offer.kem == pair(kem).kem == kem
    first, second = (offer.seal(SECRET, CONTEXT) for _ in range(2))
    assert first != second
    assert SECRET not in first
    assert pair(kem).open(first, CONTEXT) == pair(kem).open(second, CONTEXT) == SECRET


@pytest.mark.parametrize(("kem", "size"), [("MLKEM768-X25519", 1120), ("X25519", 32), ("P-256", 65)])
def test_sealed_lengths(kem: str, size: int) -> None:
    """`enc`, the secret, a tag of 16 bytes."""
    assert len(Offer(kem, pair(kem).public_key).seal(SECRET, CONTEXT)) == size + 32 + 16


@pytest.mark.parametrize("kem", KEMS)
def test_what_does_not_open(kem: str) -> None:
    """Any byte changed, cut off or added, another pair, or a secret of another length: a ValueError in one wording."""
    offer = Offer(kem, pair(kem).public_key)
    sealed = offer.seal(SECRET, CONTEXT)
    places = range(0, len(sealed), 7)
    wrong = [sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :] for at in places]
    for one in (*wrong, sealed[:-1], sealed + b"\0", b""):
        with pytest.raises(ValueError, match="not sealed to this key pair and request"):
            pair(kem).open(one, CONTEXT)
    with pytest.raises(ValueError, match="not sealed to this key pair and request"):
        KeyPair(kem).open(sealed, CONTEXT)
    for secret in (SECRET[:-1], SECRET + b"x"):
        with pytest.raises(ValueError, match="another length"):
            pair(kem).open(offer.seal(secret, CONTEXT), CONTEXT)


@pytest.mark.parametrize("kem", KEMS[:3])
def test_hpke_binds_the_context(kem: str) -> None:
    """The context is HPKE's info: under another one it does not open."""
    sealed = Offer(kem, pair(kem).public_key).seal(SECRET, CONTEXT)
    with pytest.raises(ValueError, match="not sealed"):
        pair(kem).open(sealed, CONTEXT + b"\n")


def test_pairs_are_fresh() -> None:
    """Each session has a pair of its own."""
    assert all(KeyPair(kem).public_key != KeyPair(kem).public_key for kem in KEMS[:3])


def test_repr_shows_nothing() -> None:
    """Neither a secret nor a key is in what is printed of these."""
    keys, one = Keys(SECRET, CONTEXT), pair("X25519")
    said = f"{keys!r} {keys!s} {one!r} {Offer('X25519', one.public_key)!r}"
    for octets in (SECRET, keys.c2s_mac, keys.s2c_mac, keys.commitment):
        assert all(form not in said for form in (octets.hex(), b64url(octets), repr(octets)))
    assert not hasattr(keys, "__dict__")
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("kem", ["", *KEMS])
def test_no_copies(kem: str, copied: Callable[[object], object]) -> None:
    """A key that is dropped is gone: nobody made a second one by the way, in memory, a file or another process."""
    with pytest.raises(TypeError, match="not pickled or copied"):
        copied(pair(kem) if kem else Keys(SECRET, CONTEXT))


@pytest.mark.parametrize("kem", ["", "x25519", "MLKEM768", "P-384", "RSA-OAEP", "X25519\n"])
def test_unknown_kems(kem: str) -> None:
    """Only the four, spelt so; the refusal names them, and not what was sent."""
    said = refused(kem, pair("X25519").public_key, "/kem")
    assert said == "The kem is one of MLKEM768-X25519, X25519, P-256, RSA-OAEP-256."
    with pytest.raises(KeyError):
        KeyPair(kem)


@pytest.mark.parametrize("kem", KEMS)
def test_keys_of_another_length_or_writing(kem: str) -> None:
    """A byte more, a byte less, nothing, padding, other alphabets: none is a key."""
    raw, text = unb64url(pair(kem).public_key), pair(kem).public_key
    for wrong in (raw[:-1], raw + b"\0", b"", text + "=", text[:-1] + "+", text + "\n", text + "\u00e9", " " + text):
        assert refused(kem, wrong) == f"Not a public key of {kem}."


@pytest.mark.parametrize("kem", KEMS)
def test_keys_of_another_kem(kem: str) -> None:
    """A key of one kem is none of another."""
    for other in set(KEMS) - {kem}:
        refused(kem, pair(other).public_key)


@pytest.mark.parametrize("point", LOW_ORDER, ids=bytes.hex)
def test_low_order_points(point: bytes) -> None:
    """None of them contributes, alone or as half of the hybrid key."""
    refused("X25519", point)
    refused("MLKEM768-X25519", unb64url(pair("MLKEM768-X25519").public_key)[:1184] + point)


def test_points_that_contribute() -> None:
    """Other points are taken, the base point among them, with the top bit set or not."""
    for point in ((9).to_bytes(32, "little"), (9 + 2**255).to_bytes(32, "little")):
        assert Offer("X25519", b64url(point)).seal(SECRET, CONTEXT)


@pytest.mark.parametrize("value", [3329, 3330, 4095])
@pytest.mark.parametrize("at", [0, 1, 767])
def test_mlkem_out_of_range(value: int, at: int) -> None:
    """A coefficient from 3329 on is refused (FIPS 203 section 7.2), wherever it stands; one below is taken."""
    raw = unb64url(pair("MLKEM768-X25519").public_key)

    def with_first(first: int) -> bytes:
        start = at // 2 * 3
        word = int.from_bytes(raw[start : start + 3], "little")
        shift = 12 * (at % 2)
        word = word & ~(0xFFF << shift) | first << shift
        return raw[:start] + word.to_bytes(3, "little") + raw[start + 3 :]

    refused("MLKEM768-X25519", with_first(value))
    assert Offer("MLKEM768-X25519", b64url(with_first(3328))).kem == "MLKEM768-X25519"


def test_points_of_p256() -> None:
    """Off the curve, compressed, hybrid, at infinity, coordinates from p on: none is taken."""
    raw = unb64url(pair("P-256").public_key)
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    compressed = bytes((2 + raw[-1] % 2,)) + raw[1:33]
    for wrong in (
        raw[:-1] + bytes((raw[-1] ^ 1,)),
        b"\x04" + bytes(64),
        compressed,
        compressed + bytes(32),
        bytes((6 + raw[-1] % 2,)) + raw[1:],
        b"\0",
        bytes(65),
        b"\x04" + prime.to_bytes(32, "big") + raw[33:],
        b"\x04" + raw[1:33] + b"\xff" * 32,
    ):
        refused("P-256", wrong)
    # The point with x = 0 has a second writing, x = p, that only a reader which reduces would take.
    root = pow(0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B, (prime + 1) // 4, prime)
    assert Offer("P-256", b64url(b"\x04" + bytes(32) + root.to_bytes(32, "big"))).kem == "P-256"
    refused("P-256", b"\x04" + prime.to_bytes(32, "big") + root.to_bytes(32, "big"))


def spki(key: PublicKeyTypes) -> bytes:
    """SubjectPublicKeyInfo in DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def der(tag: int, content: bytes) -> bytes:
    """One value of DER."""
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 + len(length))) + length + content


RSA = bytes.fromhex("06092a864886f70d010101")


def rsa_spki(n: int, e: int, algorithm: bytes = RSA + b"\x05\0") -> bytes:
    """An RSA key of any numbers."""

    def number(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    return der(0x30, der(0x30, algorithm) + der(3, b"\0" + der(0x30, number(n) + number(e))))


@cache
def modulus() -> int:
    """A modulus of 3072 bits."""
    return rsa.generate_private_key(65537, 3072).public_key().public_numbers().n


@pytest.mark.parametrize(
    ("bits", "e", "taken"),
    [
        (3072, 65537, True),
        (8192, 65537, True),
        (3072, 65539, True),
        (3072, 2**63 + 1, True),
        (3071, 65537, False),
        (2048, 65537, False),
        (8193, 65537, False),
        (16384, 65537, False),
        (3072, 1, False),
        (3072, 3, False),
        (3072, 17, False),
        (3072, 65535, False),
        (3072, 65536, False),
        (3072, 65538, False),
        (3072, 2**64 + 1, False),
        (3072, 2**512 + 1, False),
    ],
)
def test_rsa_bounds(bits: int, e: int, taken: bool) -> None:
    """3072 to 8192 bits, and an exponent that is odd, no smaller than 65537 and no longer than 64 bits."""
    n = modulus() if bits == 3072 else 2**bits - 1
    written = rsa_spki(n, e)
    if taken:
        assert Offer("RSA-OAEP-256", b64url(written)).kem == "RSA-OAEP-256"
    else:
        refused("RSA-OAEP-256", written)


def test_other_forms_of_an_rsa_key() -> None:
    """One DER form alone: no parameters left out, no PSS key, no BER, nothing behind it, no PKCS #1, no PEM."""
    good = rsa_spki(modulus(), 65537)
    key = rsa.RSAPublicNumbers(65537, modulus()).public_key()
    assert good == spki(key)
    pss = bytes.fromhex("06092a864886f70d01010a")
    for wrong in (
        rsa_spki(modulus(), 65537, RSA),
        rsa_spki(modulus(), 65537, pss),
        rsa_spki(modulus(), 65537, pss + b"\x05\0"),
        b"\x30\x83\0" + good[2:4] + good[4:],
        b"\x30\x80" + good[4:] + b"\0\0",
        good + b"\0",
        key.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    ):
        refused("RSA-OAEP-256", wrong)


def test_der_that_is_no_rsa_key() -> None:
    """Keys of other kinds, and of algorithms and curves that nobody knows, are refused and never a failure of ours."""
    others: tuple[PublicKeyTypes, ...] = (
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        ed25519.Ed25519PrivateKey.generate().public_key(),
        x448.X448PrivateKey.generate().public_key(),
        dsa.DSAPublicNumbers(4, dsa.DSAParameterNumbers(2**2048 - 1, 2**256 - 189, 2)).public_key(),
    )
    unknown = bytes.fromhex("06032a0304")
    curve = bytes.fromhex("06072a8648ce3d0201") + unknown
    for wrong in (
        *map(spki, others),
        rsa_spki(modulus(), 65537, unknown),
        der(0x30, der(0x30, curve) + der(3, b"\0\x04" + bytes(64))),
        der(0x30, b""),
    ):
        refused("RSA-OAEP-256", wrong)


def test_the_secret_s_length() -> None:
    """32 bytes, as docs/protocol.md has them, and the order of preference."""
    assert SECRET_BYTES == 32
    assert handshake.KEMS[0] == "MLKEM768-X25519"
