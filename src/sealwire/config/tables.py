"""
What every table of the file is made of, and how a nearest right one is told.

Owns: strictness (no unknown key, no conversion), spans of time. Refuses to know: any setting.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

_SPAN = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _span(value: object) -> object:
    """`60s`, `10m`, `24h`, `7d` or a number of seconds, as seconds."""
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * _UNITS[found[2]] if found else value


Seconds = Annotated[int, BeforeValidator(_span)]


class Table(BaseModel):
    """A table of the file: every key is known, of its own type, and nothing changes it later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def nearest(given: str, choices: list[str]) -> str:
    """The choice that was probably meant, or all of them."""
    near = difflib.get_close_matches(given, choices, 1)
    return f'did you mean "{near[0]}"?' if near else "it is " + " or ".join(f'"{choice}"' for choice in choices)
