"""
Makes the settings' tables of docs/operating.md from the models. `python tests/house/manual.py --write` writes them,
`make manual` does the same. They stand between the two marks; the rest of the page is written by hand.
"""

import re
import sys
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sealwire import config

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operating.md"
FROM, TO = "<!-- settings: made by make manual -->\n", "<!-- end of settings -->\n"
#: Not in the file: the loader sets it.
_OURS = {"path"}
_WORDS = {str: "text", int: "number", bool: "true or false"}


def tables() -> dict[str, type[BaseModel]]:
    """Each table of the file by its heading, as the models nest, the file itself first and the rules last."""
    return {"The file itself": config.Settings, **nested(config.Settings, "")}


def nested(outer: type[BaseModel], within: str) -> dict[str, type[BaseModel]]:
    """The tables of a table, each before those of its own. TOML names a table of a rule by the list it stands in."""
    found: dict[str, type[BaseModel]] = {}
    for name, field in outer.model_fields.items():
        if (model := model_of(field)) is not None:
            listed = typing.get_origin(field.annotation) is list
            found[f"[[{within}{name}]]" if listed else f"[{within}{name}]"] = model
            found |= nested(model, f"{within}{name}.")
    return found


def model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is a table, or a list of them."""
    for kind in (field.annotation, *typing.get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def kind_of(annotation: object) -> str:
    """The type in words."""
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f'`"{choice}"`' for choice in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        (annotation,) = (one for one in typing.get_args(annotation) if one is not type(None))
    if typing.get_origin(annotation) is list:
        return "list of text"
    return _WORDS[typing.cast("type", annotation)]


def default_of(field: FieldInfo) -> str:
    """The default as TOML has it."""
    value = field.default
    if field.is_required():
        return "required"
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return "`[" + ", ".join(f'"{one}"' for one in value) + "]`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def bounds_of(field: FieldInfo) -> str:
    """From where to where a number may go."""
    low = [one.ge for one in field.metadata if hasattr(one, "ge")]
    high = [one.le for one in field.metadata if hasattr(one, "le")]
    return f", {low[0]} to {high[0]}" if low and high else ""


def section() -> str:
    """All tables, as they stand in the page."""
    parts = []
    for heading, model in tables().items():
        rows = [
            f"| `{field.alias or name}` | {kind_of(field.annotation)}{bounds_of(field)} | {default_of(field)}"
            f" | {field.description} |"
            for name, field in model.model_fields.items()
            if not (model is config.Settings and name in _OURS) and model_of(field) is None
        ]
        title = heading if heading[0] != "[" else f"`{heading}`"
        parts.append(f"### {title}\n\n| setting | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows))
    return "\n" + "\n\n".join(parts) + "\n\n"


def page(text: str) -> str:
    """The page with its tables as the models have them."""
    made, count = re.subn(
        re.escape(FROM) + ".*" + re.escape(TO), lambda _: FROM + section() + TO, text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError("the page has not exactly one pair of marks")
    return made


if __name__ == "__main__":
    made = page(PAGE.read_text(encoding="utf-8"))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(made, encoding="utf-8")
