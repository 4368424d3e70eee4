"""
What a client needs to call one origin, and the file it is kept in.

Owns: the file's form, and that the private key is in no repr, pickle or traceback. A failure while a key is at hand is
returned, not raised, so that no frame that holds it is ever part of a traceback.
Refuses to know: how it was enrolled, and how calls are made with it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn, Self

from sealwire.client.errors import CredentialError
from sealwire.client.origin import KeySet, Origin, read_key_set, read_origin
from sealwire.client.secretfile import Secret, read_file, write_file
from sealwire.errors import Misuse
from sealwire.protocol.jwk import Signer
from sealwire.protocol.signature import load_signer

_FORM = 1


@dataclass(frozen=True, repr=False, eq=False)
class Credential:
    """
    One client's key for one origin, and the server's keys that it trusts. `repr` shows origin, client and keyid.

    `ca` is a file of CA certificates to trust instead of the system's, for development. It cannot be pickled.
    """

    origin: str
    client: str
    name: str
    key: Secret = field(repr=False)  # an unencrypted PKCS#8 PEM
    signer: Signer
    server_keys: KeySet
    ca: Path | None = None

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Credential:
        """
        The credential in a file.

        Raises: CredentialError if it is missing, of another form, or readable by anyone but its owner.
        """
        found = _load(Path(path))
        if isinstance(found, str):
            raise CredentialError(f"{path}: {found}")
        return found

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """
        Writes the file with mode 0600, whole or not at all.

        Raises: CredentialError if it exists and is not to be overwritten, or cannot be written.
        """
        failure = write_file(Path(path), _document(self), overwrite=overwrite)
        if failure:
            raise CredentialError(f"{path}: {failure}")

    def with_server_keys(self, keys: KeySet) -> Self:
        """The same credential, trusting these keys."""
        return replace(self, server_keys=keys)

    def to_origin(self) -> Origin:
        """The origin as this credential knows it, before the first call."""
        return Origin(self.origin, self.server_keys)

    def __repr__(self) -> str:
        return f"Credential(origin={self.origin!r}, client={self.client!r}, keyid={self.signer.keyid!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Credential holds a private key and is not pickled; load it from its file where it is needed")


def read_key(pem: Secret) -> Signer:
    """The Signer of a private key. Raises: CredentialError, with no frame that holds the key."""
    found = _signer(pem)
    if isinstance(found, str):
        raise CredentialError(found)
    return found


def _signer(pem: Secret) -> Signer | str:
    try:
        return load_signer(pem.reveal())
    except Misuse as why:
        return str(why)


def _load(path: Path) -> Credential | str:
    """The credential, or why there is none, in words without anything from the file."""
    content = read_file(path)
    if isinstance(content, str):
        return content
    try:
        members = json.loads(content.reveal())
        if members["sealwire_credential"] != _FORM:
            return "written by another version of Sealwire"
        texts = {name: members[name] for name in ("origin", "client", "name", "private_key")}
        if not all(isinstance(text, str) for text in texts.values()):
            return "not a credential"
        key = Secret(texts.pop("private_key").encode("ascii"))
        texts["origin"] = read_origin(texts["origin"])
        keys, ca = read_key_set(members["server_keys"]), members.get("ca")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "not a credential"
    signer = _signer(key)
    if isinstance(signer, str):
        return f"its private key cannot be used: {signer}"
    # A relative name is beside the file, so that a folder with both can be moved.
    beside = path.parent / ca if isinstance(ca, str) else None
    return Credential(texts["origin"], texts["client"], texts["name"], key, signer, keys, beside)


def _document(credential: Credential) -> Secret:
    members = {
        "sealwire_credential": _FORM,
        "origin": credential.origin,
        "client": credential.client,
        "name": credential.name,
        "private_key": credential.key.reveal().decode("ascii"),
        "server_keys": {
            "version": credential.server_keys.version,
            "keys": [key.to_jwk() for key in credential.server_keys.keys],
        },
        **({"ca": str(credential.ca.absolute())} if credential.ca is not None else {}),
    }
    return Secret(json.dumps(members, indent=2).encode("utf-8") + b"\n")
