"""
Files that hold a private key.

Owns: their safety: mode 0600 or refused, written whole or not at all; and bytes that do not show themselves.
Refuses to know: what is in them. The two functions that have the content at hand return a failure and do not raise it.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import NoReturn

from sealwire.client.errors import CredentialError

_MAX_BYTES = 1 << 18


class Secret:
    """Bytes that are not shown, copied into a pickle, or compared by accident."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._content

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled or copied")


def write_secret(path: Path, secret: Secret) -> None:
    """A new file of mode 0600. Raises: CredentialError if it exists or cannot be written."""
    failure = write_file(path, secret, overwrite=False)
    if failure:
        raise CredentialError(f"{path}: {failure}")


def read_secret(path: Path) -> Secret:
    """The content of a file of mode 0600. Raises: CredentialError if it cannot be read, or others can read it."""
    found = read_file(path)
    if isinstance(found, str):
        raise CredentialError(f"{path}: {found}")
    return found


def read_file(path: Path) -> Secret | str:
    """The content of a file that its owner alone can read, or why there is none."""
    try:
        with path.open("rb") as file:
            # Judged on the open file: between a look at the name and the reading it could be another.
            status = os.fstat(file.fileno())
            if os.name == "posix" and stat.S_IMODE(status.st_mode) & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                return (
                    f"others may use this file (mode {mode:04o}), and it holds a private key: chmod 600, or a new key"
                )
            content = file.read(_MAX_BYTES + 1)
    except OSError as why:
        return f"cannot be read ({why.strerror})"
    return Secret(content) if len(content) <= _MAX_BYTES else "too large to be a credential"


def write_file(path: Path, content: Secret, *, overwrite: bool) -> str:
    """Why it could not be written, or nothing. The name appears only once the whole content is on the disk."""
    made = ""
    try:
        number, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600, and a name of its own
        with os.fdopen(number, "wb") as file:
            file.write(content.reveal())
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            Path(made).replace(path)
        else:
            path.hardlink_to(made)  # unlike a rename this fails if the name is taken
    except FileExistsError:
        return "exists already, and a credential is not written over"
    except OSError as why:
        return f"cannot be written ({why.strerror})"
    finally:
        if made:
            Path(made).unlink(missing_ok=True)
    return ""
