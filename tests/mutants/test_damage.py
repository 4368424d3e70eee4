"""The damages are what they are called, and the draw is the same each time."""

import pytest

from tests.mutants.damage import Mutant, damaged, draw, mutants_of

SOURCE = '''
"""A docstring with a "string" in it."""

__all__ = ["f"]
Kind = Literal["a", "b"]

@cache(size=3)
def f(x: int, y: "int" = 1) -> bool:
    """Another."""
    if x < y and not x:
        raise ValueError("small", "It is too small.", f"{x} is too small.")
    return x == y
'''


def outcome(mutant: Mutant) -> set[str]:
    """The lines that only the damaged source has."""
    return set(damaged(SOURCE, mutant).splitlines()) - set(damaged(SOURCE, None).splitlines())


def test_each_damage_is_small_and_named() -> None:
    assert {(m.line, m.operator): outcome(m) for m in mutants_of("f.py", SOURCE)} == {
        (8, "plus-one"): {"def f(x: int, y: 'int'=2) -> bool:"},
        (8, "minus-one"): {"def f(x: int, y: 'int'=0) -> bool:"},
        (10, "negate"): {"    if x < y and x:"},
        (10, "and-or"): {"    if x < y or not x:"},
        (10, "swap"): {"    if x >= y and (not x):"},
        (10, "boundary"): {"    if x <= y and (not x):"},
        (11, "no-raise"): {"        pass"},
        (11, "string"): {"        raise ValueError('small~', 'It is too small.', f'{x} is too small.')"},
        (12, "none"): {"    return None"},
        (12, "swap"): {"    return x != y"},
    }


def test_the_draw_is_the_same_each_time_and_mixes_the_operators() -> None:
    every = mutants_of("f.py", SOURCE)
    drawn = draw(every, 8, seed=1)
    assert drawn == draw(every, 8, seed=1)
    assert len({m.operator for m in drawn}) == 8


def test_lines_added_elsewhere_draw_no_others() -> None:
    moved = "import os\n\n\n" + SOURCE
    assert [m.key for m in draw(mutants_of("f.py", moved), 5, seed=7)] == [
        m.key for m in draw(mutants_of("f.py", SOURCE), 5, seed=7)
    ]


@pytest.mark.parametrize("source", ["while x:\n    pass\n", "y = 1 if x else 2\n", "if x:\n    pass\n"])
def test_a_bare_condition_is_negated(source: str) -> None:
    assert any("not x" in damaged(source, m) for m in mutants_of("f.py", source) if m.operator == "negate")


def test_a_chain_of_comparisons_is_damaged_link_by_link() -> None:
    source = "r = a < b <= c\n"
    assert {m.operator: damaged(source, m) for m in mutants_of("f.py", source)} == {
        "swap1": "r = a >= b <= c\n",
        "swap2": "r = a < b > c\n",
        "boundary1": "r = a <= b <= c\n",
        "boundary2": "r = a < b < c\n",
    }


def test_two_damages_of_a_kind_that_begin_at_one_place_have_two_ids() -> None:
    ids = [m.id for m in mutants_of("f.py", "r = (a == b) is c\n")]
    assert sorted(ids) == ["f.py:1:5:swap", "f.py:1:6:swap"]
    ids = [m.id for m in mutants_of("f.py", "r = a and b or c\n")]
    assert sorted(ids) == ["f.py:1:5:and-or", "f.py:1:5:and-or:2"]
