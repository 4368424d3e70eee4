"""What the import contracts of pyproject.toml cannot say."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.house.tree import ROOT, SRC, name, project_files

# Each pattern is written in two halves, so that this file does not contain what it looks for.
INDEXES = ("py" + r"pi\.org", "python" + r"hosted", "registry" + r"\.npmjs", "registry" + r"\.yarnpkg")
HOMES = ("wo" + "rk", "fa" + "rm", "ro" + "ot", "Us" + "ers")
UNWANTED = {
    "a package index": re.compile("|".join(INDEXES)),
    "a path of one machine": re.compile(rf"(?<![\w.~}}])/(?:{'|'.join(HOMES)})/[\w.-]"),
}


def found(text: str) -> list[str]:
    return [f"{what}: {hit[0]}" for what, pattern in UNWANTED.items() for hit in pattern.finditer(text)]


def parsed(folder: Path) -> list[tuple[Path, ast.Module]]:
    return [(p, ast.parse(p.read_text(encoding="utf-8"))) for p in sorted(folder.rglob("*.py"))]


def test_the_formats_never_wait() -> None:
    waiting = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [
        f"{name(path)}:{node.lineno}"
        for path, tree in parsed(SRC / "protocol")
        for node in ast.walk(tree)
        if isinstance(node, waiting)
    ] == []


def test_the_demo_app_does_not_import_the_package_itself() -> None:
    # The contract names the rooms; the package's root cannot stand in it, because the demo lies inside.
    app = [path for path in (SRC / "demo").glob("exchange*") if path.suffix == ".py" or path.is_dir()]
    files = [file for path in app for file in ([path] if path.is_file() else path.rglob("*.py"))]
    imported = [
        f"{name(file)}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name == "sealwire" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "sealwire")
    ]
    assert imported == []


def test_no_file_names_an_index_or_a_machine() -> None:
    hits = {name(path): found(path.read_bytes().decode("latin-1")) for path in project_files()}
    assert {path: hit for path, hit in hits.items() if hit} == {}


@pytest.mark.parametrize(
    "host", ["https://py" + "pi.org/simple", "https://registry" + ".npmjs.org/x", "python" + "hosted.org"]
)
def test_a_package_index_is_found(host: str) -> None:
    assert len(found(f"from {host} it came")) == 1


@pytest.mark.parametrize("home", HOMES)
def test_a_path_of_one_machine_is_found(home: str) -> None:
    assert len(found(f'in "/{home}/x" it lay, and in /{home}/.cache')) == 2


@pytest.mark.parametrize("text", ["https://example.com/work/1", "docs/root/x", "/var/lib/sealwire", "~/root/x"])
def test_the_patterns_leave_the_rest_alone(text: str) -> None:
    assert found(text) == []


def test_every_dependency_is_locked_with_its_hashes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(each for extra in project["project"]["optional-dependencies"].values() for each in extra),
        *project["dependency-groups"]["dev"],
    ]
    names = {re.split(r"[<>=!~;\[ ]", each)[0] for each in wanted} - {"sealwire"}
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())
    locked = {entry.split("==")[0] for entry in entries if re.match(r"[\w.-]+==\S+", entry)}
    assert names - locked == set(), "run make lock"
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
