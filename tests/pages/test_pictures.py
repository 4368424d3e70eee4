"""The pictures of the documents: those that `make pictures` takes, small, of the screens that they name."""

from __future__ import annotations

import struct

from tests.house.tree import ROOT
from tests.pages.pictures import PICTURES, TAKEN


def test_the_pictures_are_there() -> None:
    """Each that is taken and no other, with a picture's head, its screen's size, and under 60 kB."""
    assert sorted(file.name for file in PICTURES.iterdir()) == sorted(TAKEN)
    for name, (_, size, scheme) in TAKEN.items():
        picture = (PICTURES / name).read_bytes()
        assert picture.startswith(b"\x89PNG\r\n\x1a\n"), name
        assert struct.unpack(">II", picture[16:24]) == size, name
        assert len(picture) < 60_000, name
        assert scheme in name


def test_approving_is_shown_on_both_screens_in_both_lights() -> None:
    """What the documents promise to show."""
    shown = {(size, scheme) for what, size, scheme in TAKEN.values() if what == "approve"}
    assert len({size for size, _ in shown}) == len({scheme for _, scheme in shown}) == 2


def test_make_takes_them() -> None:
    """By the name that the module's first line says."""
    assert "-m tests.pages.pictures" in (ROOT / "Makefile").read_text("utf-8")
