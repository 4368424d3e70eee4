"""Text that somebody else chose: every character is there, and what an eye would miss is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.pages.text import Piece, groups, pieces


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0.25 BTC", [Piece("plain", "0.25 BTC")]),
        ("<b>&\"'", [Piece("plain", "<b>&\"'")]),
        ("b\u0430d", [Piece("plain", "b"), Piece("odd", "\u0430"), Piece("plain", "d")]),
        ("\u0430\u0430", [Piece("odd", "\u0430"), Piece("odd", "\u0430")]),
        ("1\u202e2", [Piece("plain", "1"), Piece("hidden", "\u202e"), Piece("plain", "2")]),
        ("\u2066\u2069", [Piece("hidden", "\u2066"), Piece("hidden", "\u2069")]),
        ("1\u200b", [Piece("plain", "1"), Piece("hidden", "\u200b")]),
        ("1\u0301", [Piece("plain", "1"), Piece("hidden", "\u0301")]),
        ("\u00a0\t\n\0\x7f\u3164"[:5], [Piece("hidden", one) for one in "\u00a0\t\n\0\x7f"]),
        ("\U0001f600", [Piece("odd", "\U0001f600")]),
        ("1 ", [Piece("plain", "1"), Piece("hidden", " ")]),
        (" 1", [Piece("hidden", " "), Piece("plain", "1")]),
        ("1  2", [Piece("plain", "1 "), Piece("hidden", " "), Piece("plain", "2")]),
        ("", []),
    ],
)
def test_pieces(text: str, shown: list[Piece]) -> None:
    assert pieces(text) == shown


@pytest.mark.parametrize(
    "character",
    ["\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u180e", "\u200d", "\u2060", "\u2800", "\u3164",
     "\ufe0f", "\ufeff", "\uffa0", "\U000e0041", "\ue000", "\u0378"],
)  # fmt: skip
def test_what_draws_nothing_is_named_alone(character: str) -> None:
    """Fillers, joiners, selectors, blanks that count as letters, and what no font has."""
    assert pieces(character) == [Piece("hidden", character)]


def test_code_points() -> None:
    """As Unicode writes them."""
    assert [piece.codes for piece in pieces("\u202e\U0001f600")] == ["U+202E", "U+1F600"]


def test_groups_of_four() -> None:
    """For what has no space and is long; nobody counts letters in anything else."""
    address = "bc1qw508d6qejxtdg4y5"
    assert [part[0].text for part in groups(address)] == ["bc1q", "w508", "d6qe", "jxtd", "g4y5"]
    assert groups(address[:19]) == [pieces(address[:19])]
    assert groups(f"{address} {address}") == [pieces(f"{address} {address}")]


@given(st.text(max_size=60))
def test_nothing_is_left_out(text: str) -> None:
    """In order, and no piece is empty; plain is printable ASCII alone."""
    assert "".join(piece.text for piece in pieces(text)) == text
    assert "".join(piece.text for part in groups(text) for piece in part) == text
    for piece in pieces(text):
        assert piece.text
        assert piece.kind != "plain" or (piece.text.isascii() and piece.text.isprintable())
        assert piece.kind == "plain" or len(piece.text) == 1
