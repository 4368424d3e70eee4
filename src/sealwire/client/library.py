"""
What is needed of an HTTP library. httpx2 and httpx have the same shapes and not the same types, so everything of theirs
is named through here.

Owns: which of their errors say that no byte was sent. Refuses to know: what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

import httpx2

DEFAULT_TIMEOUT_SECONDS = 30.0

Extensions = Mapping[str, Any]

# Of these errors the libraries say that there was no connection: the request never left.
_UNSENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError", "UnsupportedProtocol")


class Library:
    """What is needed of an HTTP library: httpx2, or another module of its shape."""

    def __init__(self, module: ModuleType) -> None:
        self.url = module.URL
        self.request = module.Request
        self.response = module.Response
        self.byte_stream = module.ByteStream
        self.lost: type[Exception] = module.TransportError
        self.unsent: tuple[type[Exception], ...] = tuple(getattr(module, name) for name in _UNSENT)


HTTPX2 = Library(httpx2)


def default_extensions(timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> dict[str, Any]:
    """What the library is told of a request that no caller of ours made."""
    return {"timeout": httpx2.Timeout(timeout_seconds).as_dict()}
