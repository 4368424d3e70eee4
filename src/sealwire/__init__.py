"""Sealwire guards HTTP APIs: every call is signed, fresh, bound to its caller, and written down before the app runs."""

__version__ = "0.1.0"

__all__ = ["__version__"]
