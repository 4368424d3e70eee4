"""The vectors that others wrote, and which of them are left out."""

import json
import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def load(file: str) -> Any:
    """One file of vectors; numbers with a point are exact."""
    return json.loads((FOLDER / file).read_text(encoding="utf-8"), parse_float=Decimal)


def left_out(file: str) -> set[str]:
    """The numbers or names of the cases of `file` that NOT_RUN.toml lists, with groups written out."""
    listed = tomllib.loads((FOLDER / "NOT_RUN.toml").read_text(encoding="utf-8"))["left_out"]
    cases: set[str] = set()
    for entry in listed:
        name, _, case = entry["id"].partition("#")
        if name == file:
            first, _, last = case.partition("-")
            group = {str(number) for number in range(int(first), int(last or first) + 1)}
            assert len(group) == entry.get("count", 1), f"{entry['id']} stands for {len(group)} cases"
            cases |= group
    return cases
