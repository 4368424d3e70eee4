"""
`sealwire.toml` to frozen settings.

Owns: the one line that a mistake gets: key, value, and the nearest right one. Secrets are URIs only. Refuses to know:
what any setting is used for.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import tomllib
from pathlib import Path

from pydantic import BaseModel, ValidationError

from sealwire.config.rules import SAFE_METHODS, ApproveTable, RuleTable
from sealwire.config.settings import (
    Keys,
    Limits,
    Listen,
    MetricsTable,
    NoticeTable,
    Pages,
    ProxiesTable,
    Sessions,
    Settings,
    Store,
    Tls,
    judge,
)
from sealwire.config.tables import nearest
from sealwire.errors import Misuse

__all__ = [
    "SAFE_METHODS",
    "ApproveTable",
    "Keys",
    "Limits",
    "Listen",
    "MetricsTable",
    "NoticeTable",
    "Pages",
    "ProxiesTable",
    "RuleTable",
    "Sessions",
    "Settings",
    "Store",
    "Tls",
    "load",
    "policy_version",
]


def load(path: Path) -> Settings:
    """The settings of a file, judged whole. Raises: Misuse, one line."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as why:
        raise Misuse(f"{path}: {why.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as why:
        raise Misuse(f"{path}: {why}") from None
    if "path" in raw:
        raise Misuse("path: unknown; a path belongs to a rule")
    try:
        settings = Settings.model_validate({**raw, "path": path})
    except ValidationError as why:
        raise Misuse(_line(why)) from None
    judge(settings)
    return settings


def policy_version(path: Path) -> str:
    """12 hex digits that change with the file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _line(why: ValidationError) -> str:
    """The first mistake in one line: key, value, and the nearest right one."""
    # A misspelt key is also a missing one: the spelling is what has to be mended.
    first = min(why.errors(), key=lambda error: error["type"] != "extra_forbidden")
    *parents, last = first["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    if first["type"] == "extra_forbidden":
        known = [name for name in _known(parents) if name != "path" or parents]
        near = difflib.get_close_matches(str(last), known, 1)
        return f"{key}: unknown; " + (f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}")
    if first["type"] == "missing":
        return f"{key}: missing"
    if first["type"] == "literal_error":
        choices = re.findall(r"'([^']+)'", str(first["ctx"]["expected"]))
        return f'{key} = "{first["input"]}": {nearest(str(first["input"]), choices)}'
    given = first["input"] if isinstance(first["input"], str | int | float | bool) else type(first["input"]).__name__
    return f'{key} = "{given}": {first["msg"][0].lower()}{first["msg"][1:]}'


def _known(parents: list[int | str]) -> list[str]:
    tables: dict[str, type[BaseModel]] = {
        "listen": Listen, "tls": Tls, "keys": Keys, "store": Store, "metrics": MetricsTable, "rules": RuleTable,
        "sessions": Sessions, "limits": Limits, "pages": Pages, "notice": NoticeTable, "proxies": ProxiesTable,
    }  # fmt: skip
    if parents and parents[-1] == "approve":
        return [field.alias or name for name, field in ApproveTable.model_fields.items()]
    table = tables[str(parents[0])] if parents else Settings
    return list(table.model_fields)
