"""What the README quotes from the command line is what the command line prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.house.tree import ROOT

# A fenced block whose first line is a prompt and a call for help; the lines below it are what is printed.
QUOTED = re.compile(
    r"^```\w*\n\$ (?:\S*/)?sealwire(?P<args>(?: [\w-]+)* --help)\n(?P<printed>.*?)^```$", re.MULTILINE | re.DOTALL
)
WIDTH = "100"


def quoted(text: str) -> list[tuple[list[str], str]]:
    return [(match["args"].split(), tidy(match["printed"])) for match in QUOTED.finditer(text)]


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip()


def printed(args: list[str]) -> str:
    plain = {"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH, "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}
    command = Path(sys.executable).parent / "sealwire"
    done = subprocess.run([command, *args], check=True, capture_output=True, text=True, env={**os.environ, **plain})
    return tidy(done.stdout)


def test_help_in_the_readme_is_the_help_that_is_printed() -> None:
    for args, shown in quoted((ROOT / "README.md").read_text(encoding="utf-8")):
        assert shown == printed(args), f"sealwire {' '.join(args)}, {WIDTH} columns wide"


def test_nothing_is_left_to_fill_in() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TODO|TBD|FIXME|XXX|lorem ipsum)\b", text, re.IGNORECASE) == []


def test_a_quoted_help_is_found() -> None:
    text = "a\n```text\n$ .venv/bin/sealwire key list --help\nUsage: x \n\n```\n```\n$ sealwire demo\nhello\n```\n"
    assert quoted(text) == [(["key", "list", "--help"], "Usage: x")]
