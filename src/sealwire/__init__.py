"""Sealwire guards HTTP APIs: every call is signed, fresh, bound to its caller, and written down before the app runs."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from sealwire.admin import Admin
    from sealwire.fronts.serve import Sealwire

__version__ = "0.1.0"

__all__ = ["Admin", "Sealwire", "__version__"]


def __getattr__(name: str) -> object:
    """The server's names are loaded when they are asked for: a caller's machine carries no server."""
    if name == "Admin":
        from sealwire.admin import Admin  # noqa: PLC0415

        return Admin
    if name == "Sealwire":
        from sealwire.fronts.serve import Sealwire  # noqa: PLC0415

        return Sealwire
    raise AttributeError(f"module 'sealwire' has no attribute {name!r}")
