"""The project's own files, for the house tests."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "sealwire"
STORIES = ROOT / "tests" / "stories"


def project_files() -> list[Path]:
    """Every file that is, or is about to be, part of the project; what .gitignore names is not."""
    if not (ROOT / ".git").exists():  # an unpacked release: everything in it is part of it
        made = {".venv", ".tools", "node_modules", "__pycache__"}
        return [p for p in sorted(ROOT.rglob("*")) if p.is_file() and made.isdisjoint(p.relative_to(ROOT).parts)]
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [path for name in sorted(listed.split("\0")) if name and (path := ROOT / name).is_file()]


def source_files() -> list[Path]:
    """Every Python file of the package."""
    return sorted(SRC.rglob("*.py"))


def name(path: Path) -> str:
    """The file's name from the project's root, as people write it."""
    return path.relative_to(ROOT).as_posix()
