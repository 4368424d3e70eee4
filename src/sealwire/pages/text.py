"""
Text that somebody else chose, as a person must see it: inert, whole, and odd characters said by name.

Owns: what counts as plain. A look-alike letter stands with its code point beside it, a mark that would turn the line
around or hide in it stands as its code point alone.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

_GROUP = 4
# From here on a value without a space is read in groups: nobody compares thirty letters at once.
_LONG = 20
# Letters and a symbol by category, drawn as nothing: Hangul fillers, and the empty cell of Braille.
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"


class Piece(NamedTuple):
    """Characters of one kind: `plain`; `odd`, shown with its code points; `hidden`, its code points alone."""

    kind: str
    text: str

    @property
    def codes(self) -> str:
        """The code points, as in U+202E."""
        return " ".join(f"U+{ord(character):04X}" for character in self.text)


def pieces(text: str) -> list[Piece]:
    """The text in its order, nothing left out."""
    found: list[Piece] = []
    for at, character in enumerate(text):
        kind = _kind(character)
        if character == " " and (at in (0, len(text) - 1) or text[at - 1] == " "):
            kind = "hidden"  # where no eye finds it
        if found and found[-1].kind == kind == "plain":
            found[-1] = Piece(kind, found[-1].text + character)
        else:
            found.append(Piece(kind, character))
    return found


def groups(text: str) -> list[list[Piece]]:
    """The text in groups of four characters where it is one long word, else as one group."""
    if len(text) < _LONG or any(character.isspace() for character in text):
        return [pieces(text)]
    return [pieces(text[at : at + _GROUP]) for at in range(0, len(text), _GROUP)]


def _kind(character: str) -> str:
    if " " <= character <= "~":
        return "plain"
    # A mark would sit on what stands before it, or around it.
    marks = unicodedata.category(character).startswith("M")
    return "odd" if character.isprintable() and not marks and character not in _BLANK else "hidden"
