"""
Keys in files of mode 0600, named by `file:` URIs.

Owns: the server's signing key, and a wrapping key from which the keys for wrapping and for digests are derived (RFC
5869). A file that others can read stops the start. Nothing of a key is in any message.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealwire.errors import Fault, Misuse
from sealwire.ports import Entropy
from sealwire.protocol.jwk import Verifier, b64url, load_verifier, unb64url
from sealwire.protocol.signature import load_signer

_IV_BYTES = 12
#: Heads a key file that the demo made. PEM has room for words before its first line (RFC 7468 section 2).
_DEVELOPMENT = b"# DEVELOPMENT: throw-away key, not for production\n"


class FileKeyring:
    """Keyring of two files. Raises at construction: Misuse, naming the file."""

    def __init__(self, signing: Path, wrapping: Path, entropy: Entropy) -> None:
        content = _read("keys.signing", signing)
        try:
            signer = load_signer(content)
        except Misuse as why:
            raise Misuse(f'keys.signing: "{signing.name}": {why}') from None
        content = _read("keys.wrapping", wrapping)
        try:
            secret = unb64url(content.removeprefix(_DEVELOPMENT).decode("ascii").strip())
        except ValueError:
            secret = b""
        if len(secret) != 32:
            raise Misuse(f'keys.wrapping: "{wrapping.name}" is not 32 bytes in base64url')
        self.verifier: Verifier = load_verifier(signer.jwk)
        self._sign = signer.sign
        self._aead = AESGCM(_derive(secret, b"sealwire wrap"))
        self._digest_key = _derive(secret, b"sealwire digest")
        self._entropy = entropy

    def __repr__(self) -> str:
        return f"FileKeyring({self.verifier.keyid})"

    async def sign(self, base: bytes) -> bytes:
        """As the port says."""
        return self._sign(base)

    def wrap(self, plaintext: bytes, context: bytes) -> bytes:
        """As the port says: AES-256-GCM under a random 96-bit IV (NIST SP 800-38D section 8.2.2)."""
        iv = self._entropy(_IV_BYTES)
        return iv + self._aead.encrypt(iv, plaintext, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """As the port says."""
        try:
            return self._aead.decrypt(wrapped[:_IV_BYTES], wrapped[_IV_BYTES:], context)
        except (InvalidTag, ValueError):
            raise Fault("custody-unavailable", "wrap") from None

    def digest(self, data: bytes) -> bytes:
        """As the port says: HMAC-SHA-256."""
        return hmac.digest(self._digest_key, data, hashlib.sha256)


def _derive(secret: bytes, label: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, None, label).derive(secret)


def _read(setting: str, path: Path) -> bytes:
    try:
        return read_private(path)
    except Misuse as why:
        raise Misuse(f"{setting}: {why}") from None


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner can read. Raises: Misuse."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise Misuse(f'"{path}" can be read by others: chmod 600 {path}')
            return file.read()
    except OSError as why:
        raise Misuse(f'"{path}" cannot be read: {why.strerror}') from None


def is_development(path: Path) -> bool:
    """Whether the file is marked as a throw-away key; one that cannot be read is not, and stops whoever needs it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_DEVELOPMENT)) == _DEVELOPMENT
    except OSError:
        return False


def make_signing_key(path: Path, *, development: bool = False) -> None:
    """A new Ed25519 key in a new file of mode 0600. Raises: FileExistsError."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_private(path, pem, development=development)


def make_wrapping_key(path: Path, entropy: Entropy, *, development: bool = False) -> None:
    """A new wrapping key in a new file of mode 0600. Raises: FileExistsError."""
    write_private(path, b64url(entropy(32)).encode("ascii") + b"\n", development=development)


def write_private(path: Path, content: bytes, *, development: bool = False) -> None:
    """A new file of mode 0600, marked if production must not take it. Raises: FileExistsError."""
    content = _DEVELOPMENT + content if development else content
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
