"""THREATS.md says what the stories say."""

import pytest

from tests.house.threats import Untold, page, section
from tests.house.tree import ROOT, STORIES, name

STORY = '''
"""
The attacker sends a captured call again.

They hold one whole call, signature and all.
Stopped by: nonce
"""

async def test_twice():
    """C4, C5: the same call | a second time."""

def test_old():
    """
    C1: a call that is
    a minute old.

    Stopped by: verify.
    """
'''


def test_the_page_is_what_the_stories_say() -> None:
    assert (ROOT / "THREATS.md").read_text(encoding="utf-8") == page(), "run make threats"


def test_no_story_is_left_out_by_its_name() -> None:
    modules = [
        p for p in STORIES.glob("*.py") if "\ndef test_" in p.read_text() or "\nasync def test_" in p.read_text()
    ]
    assert [name(p) for p in modules if not p.name.startswith("test_")] == []


def test_a_story_becomes_a_table() -> None:
    assert section("s.py", STORY) == (
        "## The attacker sends a captured call again\n\n"
        "They hold one whole call, signature and all.\n\n"
        "| attack | what is tried | stopped by | proven by |\n|---|---|---|---|\n"
        "| C4, C5 | The same call \\| a second time | nonce | `s.py::test_twice` |\n"
        "| C1 | A call that is a minute old | verify | `s.py::test_old` |\n"
    )


@pytest.mark.parametrize(
    ("source", "gap"),
    [
        ("def test_x(): ...", "no docstring"),
        ('"""Words."""', "no test"),
        ('"""Words."""\ndef test_x():\n    """C1: so."""', "Stopped by"),
        ('"""Words.\n\nStopped by: nonce"""\ndef test_x():\n    """So."""', "ids"),
        ('"""C1: words.\n\nStopped by: nonce"""\ndef test_x(): ...', "an attack"),
    ],
)
def test_a_gap_is_an_error(source: str, gap: str) -> None:
    with pytest.raises(Untold, match=gap):
        section("s.py", source)
