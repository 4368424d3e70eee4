"""The pictures: small, readable in the light and in the dark, with text that is text, and true to the rooms."""

import re
import tomllib

from tests.house.tree import ROOT

PICTURES = ("architecture.svg", "signed-call.svg", "sealed-call.svg", "approval.svg")


def test_pictures_are_small_and_plain() -> None:
    for name in PICTURES:
        picture = (ROOT / "docs" / name).read_text("utf-8")
        assert len(picture) < 20_000
        assert "prefers-color-scheme: dark" in picture
        assert picture.count("</text>") > 20
        assert re.findall(r"<(?:script|image|foreignObject)|href", picture) == []
        for page in ("README.md", "ARCHITECTURE.md"):
            assert f"docs/{name}" in (ROOT / page).read_text("utf-8"), page


def test_the_picture_has_every_room_in_order() -> None:
    picture = (ROOT / "docs/architecture.svg").read_text("utf-8")
    shown = [name for row in re.findall(r'class="mono strong">([^<]+)<', picture) for name in re.findall(r"\w+", row)]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["id"] == "layers")
    rooms = [name for row in layers for name in re.findall(r"\w+", row)]
    there = [name for name in rooms if list((ROOT / "src/sealwire").glob(f"{name}*"))]
    assert shown[: len(there)] == there
