"""Random words that are put into calls, and the one search that finds them wherever they were not to go."""

from __future__ import annotations

import re
import secrets
import traceback
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

_CODE = re.compile(rb"\\+(?:u00|x)([0-9a-fA-F]{2})|%([0-9a-fA-F]{2})")


def marker() -> str:
    """A word that stands nowhere else, of characters that every field, path and nonce may hold."""
    return "mk" + secrets.token_hex(12)


class Marked(defaultdict[str, str]):
    """A marker for each place, made when it is asked for."""

    def __init__(self) -> None:
        super().__init__(marker)


def forms(secret: bytes) -> dict[str, bytes]:
    """
    How a secret may be written: in clear, backwards, in hex, in UTF-16, and in base64 at any offset of a longer text.
    Percent codes and the escapes of JSON and of `repr` are undone by `leaks`.
    """
    found = {
        "clear": secret.lower(),
        "backwards": secret[::-1].lower(),
        "hex": secret.hex().encode(),
        "utf-16": secret.lower().decode("latin-1").encode("utf-16-le"),
        "utf-16 the other way": secret.lower().decode("latin-1").encode("utf-16-be"),
    }
    found["repr"] = repr(secret)[2:-1].lower().encode()
    for offset, first in ((0, 0), (1, 2), (2, 3)):
        # Only the characters that nothing before or behind the secret has a part in.
        written = b64encode(bytes(offset) + secret)[first : 8 * (offset + len(secret)) // 6]
        found[f"base64 at {offset}"] = written
        found[f"base64url at {offset}"] = written.replace(b"+", b"-").replace(b"/", b"_")
    return found


def leaks(planted: Mapping[str, str | bytes], places: Mapping[str, bytes]) -> list[str]:
    """Each marker that stands in a place, with its form there. Case counts only where the form makes it."""
    found = []
    read = {place: (content, _unescaped(content)) for place, content in places.items()}
    lowered = {place: tuple(one.lower() for one in both) for place, both in read.items()}
    for name, secret in planted.items():
        for form, written in forms(secret.encode() if isinstance(secret, str) else secret).items():
            where = read if form.startswith("base64") else lowered
            found += [
                f"{name} in {form} in {place}" for place, both in where.items() if any(written in o for o in both)
            ]
    return found


def _unescaped(content: bytes) -> bytes:
    """With each byte in place of its code, however often its backslash was escaped."""
    return _CODE.sub(lambda code: bytes.fromhex((code[1] or code[2]).decode()), content)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(error: BaseException) -> str:
    """An exception as any handler would write it down: its repr, its message, its traceback with all that led to it."""
    return f"{error!r} {error} {error.args!r} " + "".join(traceback.TracebackException.from_exception(error).format())
