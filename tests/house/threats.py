"""
Makes THREATS.md from the stories. `python tests/house/threats.py --write` writes it, `make threats` does the same.

A story is a module in `tests/stories`. Its docstring's first line is a heading, the rest says in a few words what the
attacker has and wants. Each of its tests is one row, read from the test's docstring:

    async def test_a_call_sent_twice_is_answered_once() -> None:
        \"\"\"
        C4, C5: a captured call is sent again.

        Stopped by: nonce
        \"\"\"

Before the colon stand the ids of the attacks, behind it the attack, and on the last line the step that stops it. Ids or
a step that all tests of a story share may stand once, in the module's docstring.
"""

import ast
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORIES = ROOT / "tests" / "stories"

HEAD = """\
# Threats

Each row is an attack, the step that stops it, and the test that plays it. This page is made from the docstrings of
`tests/stories` by `make threats`; a test fails when the two differ.
"""
NONE_YET = "No story is told yet."

IDS = re.compile(r"(?P<ids>[A-Z]+\d+(?:,\s*[A-Z]+\d+)*):\s+(?P<text>\S.*)", re.DOTALL)
STEP = re.compile(r"^Stopped by:[ ]*(?P<step>\S.*?)\.?$", re.MULTILINE)


class Untold(Exception):
    """A story that lacks what its row needs."""


@dataclass(frozen=True, slots=True)
class Words:
    """A docstring taken apart."""

    ids: str
    text: str
    step: str

    @classmethod
    def of(cls, docstring: str | None) -> "Words":
        text = inspect.cleandoc(docstring or "")
        step = STEP.search(text)
        text = STEP.sub("", text).strip()
        ids = IDS.match(text)
        return cls(
            ids=re.sub(r"\s+", " ", ids["ids"]) if ids else "",
            text=(ids["text"] if ids else text).strip(),
            step=step["step"] if step else "",
        )


def cell(text: str) -> str:
    """The text on one line, with nothing in it that ends a table's cell."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def sentence(text: str) -> str:
    """The first paragraph, from a capital letter to no full stop, as a table's cell wants it."""
    first = cell(text.split("\n\n", 1)[0]).rstrip(".")
    return first[:1].upper() + first[1:]


def tests_of(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Its test functions in the order of the file, those in classes too."""
    found = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return sorted((n for n in found if n.name.startswith("test_")), key=lambda n: n.lineno)


def section(file: str, source: str) -> str:
    """One story as a heading, its words and a table. Raises Untold where a row would have a gap."""
    tree = ast.parse(source)
    story = Words.of(ast.get_docstring(tree))
    heading, _, prose = story.text.partition("\n")
    if not heading:
        raise Untold(f"{file}: the module has no docstring")
    rows = []
    for test in tests_of(tree):
        told = Words.of(ast.get_docstring(test))
        ids, step = told.ids or story.ids, told.step or story.step
        for what, there in (("an attack in its docstring", told.text), ("ids", ids), ("a 'Stopped by:' line", step)):
            if not there:
                raise Untold(f"{file}:{test.lineno}: {test.name} has no {what}")
        rows.append(f"| {ids} | {sentence(told.text)} | {cell(step)} | `{file}::{test.name}` |")
    if not rows:
        raise Untold(f"{file}: the story has no test")
    table = ["| attack | what is tried | stopped by | proven by |", "|---|---|---|---|", *rows]
    parts = [f"## {heading.strip().rstrip('.')}", prose.strip(), "\n".join(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(stories: Path = STORIES) -> str:
    """The whole of THREATS.md."""
    files = sorted(stories.glob("test_*.py"))
    sections = [section(f"tests/stories/{file.name}", file.read_text(encoding="utf-8")) for file in files]
    return "\n".join([HEAD, *(sections or [NONE_YET + "\n"])])


def main() -> int:
    """Print the page, or write it when asked to."""
    try:
        text = page()
    except Untold as gap:
        print(gap, file=sys.stderr)
        return 1
    if "--write" in sys.argv[1:]:
        (ROOT / "THREATS.md").write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
