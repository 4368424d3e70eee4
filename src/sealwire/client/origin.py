"""
What a client knows of the one origin it calls: the keys it trusts, the newest key set it saw, how far its clock is off.

Owns: the form of an origin, and that a key set never goes back to an older version, whatever runs beside it.
Refuses to know: how any of this was learnt; `proving` and `conversation` decide that it is true.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import NamedTuple

import httpx2

from sealwire.errors import Refusal
from sealwire.protocol.jwk import Verifier, read_jwk

_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_TIMES = ("nbf", "exp")
# RFC 7517 section 5: members that are not understood are left aside, so that a set may say more than this client knows.
_KNOWN = frozenset(("kty", "crv", "x", "y", "n", "e", "pub", "alg", "kid", "use"))
_MAX_KEYS = 64
# RFC 3986 section 3.2.2, narrowed to names that DNS and certificates have, and addresses.
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?|[0-9a-f:.]+")


class ServerKey(NamedTuple):
    """A signing key of the server, and from when (inclusive) to when (exclusive) it signs, in Unix seconds."""

    verifier: Verifier
    not_before: int | None = None
    expires: int | None = None

    def to_jwk(self) -> dict[str, object]:
        """As a member of a key set (RFC 7517 section 5)."""
        times = {"nbf": self.not_before, "exp": self.expires}
        return {**self.verifier.jwk, **{name: at for name, at in times.items() if at is not None}}


class KeySet(NamedTuple):
    """The server's signing keys, as one version of its key set says."""

    version: int
    keys: tuple[ServerKey, ...]

    def find(self, keyid: str, at: int) -> Verifier | None:
        """The key of that thumbprint, if it signs at `at` (Unix seconds)."""
        for verifier, not_before, expires in self.keys:
            if verifier.keyid == keyid and (not_before or 0) <= at and (expires is None or at < expires):
                return verifier
        return None


def read_key_set(document: object) -> KeySet:
    """
    A key set's signing keys; those of other uses and of kinds unknown here are left out.

    Raises: ValueError if it has no version or no usable key.
    """
    version = document.get("version") if isinstance(document, dict) else None
    members = document.get("keys") if isinstance(document, dict) else None
    if type(version) is not int or version < 0 or not isinstance(members, list):
        raise ValueError("a key set has a version and keys")
    keys = [key for key in map(_read_server_key, members[:_MAX_KEYS]) if key is not None]
    if not keys:
        raise ValueError("the key set has no signing key")
    return KeySet(version, tuple(keys))


def _read_server_key(members: object) -> ServerKey | None:
    if not isinstance(members, dict) or members.get("use", "sig") != "sig":
        return None
    not_before, expires = (members.get(name) for name in _TIMES)
    if not all(at is None or type(at) is int for at in (not_before, expires)):
        return None
    try:
        return ServerKey(read_jwk({k: v for k, v in members.items() if k in _KNOWN}), not_before, expires)
    except Refusal:
        return None


def read_origin(text: str) -> str:
    """
    An origin in its one form: scheme and host lower-case, a default port dropped, nothing behind (RFC 6454).

    Raises: ValueError for anything else, and for plain HTTP to another host than this one.
    """
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise ValueError("not a URL") from None
    if url.scheme != "https" and not (url.scheme == "http" and url.host in _LOOPBACK):
        raise ValueError("an origin begins with https:// (http:// on this machine only)")
    if not _HOST.fullmatch(url.raw_host.decode("ascii")) or url.userinfo or url.raw_path != b"/" or url.fragment:
        raise ValueError("an origin is scheme, host and port, as in https://api.example.com")
    return origin_of(url)


def origin_of(url: httpx2.URL) -> str:
    """The origin a URL belongs to."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


class Origin:
    """
    One origin as one process knows it. Safe for threads and tasks; another process takes a `copy` of its own.

    `name` is the origin as text, `authority` the value of `@authority`. `changed` is called with each newer key set.
    """

    def __init__(
        self, name: str, keys: KeySet, offset_seconds: float = 0, changed: Callable[[KeySet], None] | None = None
    ) -> None:
        self.name = name
        self.authority = name.partition("://")[2]
        self._lock = threading.Lock()
        self._keys = keys
        self._changed = changed
        #: What is added to the own clock. Learnt from a verified reply only.
        self.offset_seconds = offset_seconds

    @property
    def keys(self) -> KeySet:
        """The newest key set."""
        return self._keys

    def adopt(self, keys: KeySet) -> bool:
        """Takes a proven key set, unless a newer one is held: a fetch that was overtaken brings nothing back."""
        with self._lock:
            if keys.version < self._keys.version:
                return False
            news = keys != self._keys
            self._keys = keys
        if news and self._changed is not None:
            self._changed(keys)
        return True

    def copy(self) -> Origin:
        """The same knowledge under its own lock: after a fork the old one may be held by a thread that is gone."""
        return Origin(self.name, self._keys, self.offset_seconds, self._changed)
