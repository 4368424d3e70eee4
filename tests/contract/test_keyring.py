"""What Keyring promises, held against every adapter."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealwire.errors import Fault, Misuse
from sealwire.keys.file import FileKeyring, make_signing_key, make_wrapping_key
from sealwire.ports import Keyring


def file_keyring(folder: Path) -> FileKeyring:
    """A keyring of two files, made where there are none."""
    if not (folder / "signing.pem").exists():
        make_signing_key(folder / "signing.pem")
        make_wrapping_key(folder / "wrapping.key", os.urandom)
    return FileKeyring(folder / "signing.pem", folder / "wrapping.key", os.urandom)


@pytest.fixture(params=[file_keyring])
def keyring(request: pytest.FixtureRequest, tmp_path: Path) -> Keyring:
    """Each key home."""
    made: Keyring = request.param(tmp_path)
    return made


def test_what_is_wrapped_comes_back(keyring: Keyring) -> None:
    """The plaintext comes back under its context; two wrappings of it differ and do not show it."""
    one, two = keyring.wrap(b"secret", b"here"), keyring.wrap(b"secret", b"here")
    assert one != two
    assert b"secret" not in one
    assert keyring.unwrap(one, b"here") == keyring.unwrap(two, b"here") == b"secret"


def test_nothing_else_opens(keyring: Keyring) -> None:
    """Another context, a changed byte, a cut one, none at all: a Fault."""
    wrapped = keyring.wrap(b"secret", b"here")
    changed = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for offered, context in ((wrapped, b"there"), (wrapped, b""), (changed, b"here"), (wrapped[:5], b"here")):
        with pytest.raises(Fault, match="custody-unavailable/wrap"):
            keyring.unwrap(offered, context)
    with pytest.raises(Fault, match="custody-unavailable/wrap"):
        keyring.unwrap(b"", b"here")


async def test_it_signs_with_the_key_it_shows(keyring: Keyring) -> None:
    """A signature verifies under the verifier."""
    assert isinstance(keyring.verifier.key, Ed25519PublicKey)
    keyring.verifier.key.verify(await keyring.sign(b"base"), b"base")


def test_digests(keyring: Keyring) -> None:
    """32 bytes, the same for the same, other for other."""
    assert keyring.digest(b"a") == keyring.digest(b"a")
    assert keyring.digest(b"a") != keyring.digest(b"b")
    assert len(keyring.digest(b"a")) == 32


def test_repr_shows_no_secret(tmp_path: Path) -> None:
    """Only the thumbprint of the public key is shown."""
    keyring = file_keyring(tmp_path)
    assert repr(keyring) == str(keyring) == f"FileKeyring({keyring.verifier.keyid})"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620, 0o601])
@pytest.mark.parametrize("name", ["signing.pem", "wrapping.key"])
def test_a_file_that_others_reach_stops_the_start(tmp_path: Path, name: str, mode: int) -> None:
    """Any mode that gives others something is a Misuse that names the file and none of its content."""
    file_keyring(tmp_path)
    (tmp_path / name).chmod(mode)
    with pytest.raises(Misuse, match=f"chmod 600 .*{name}") as raised:
        file_keyring(tmp_path)
    assert (tmp_path / "wrapping.key").read_text().strip() not in str(raised.value)


def test_reopened_it_is_the_same(tmp_path: Path) -> None:
    """What was wrapped opens after a restart; new files have mode 0600."""
    wrapped = file_keyring(tmp_path).wrap(b"secret", b"here")
    assert file_keyring(tmp_path).unwrap(wrapped, b"here") == b"secret"
    assert {part.stat().st_mode & 0o777 for part in tmp_path.iterdir()} == {0o600}
