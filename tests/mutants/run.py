"""
Damages the formats and the checks in small ways, one at a time, and asks the fast tests whether they notice.

    python tests/mutants/run.py                  the usual 200, drawn with a fixed seed
    python tests/mutants/run.py --list           what would be drawn, without running anything
    python tests/mutants/run.py --only ID ...    these alone, each shown as a diff

All of it happens in copies below the system's temporary folder; the working tree is only read. A damage that no test
notices is a survivor. Those that cannot be noticed stand in SURVIVORS.toml with the reason; any other ends in exit 1.
"""

import argparse
import difflib
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutants.damage import Mutant, damaged, draw, mutants_of  # noqa: E402 - the path above is for running it as a script

ROOMS = ("protocol", "stages")
LISTED = ROOT / "tests" / "mutants" / "SURVIVORS.toml"
SEED, COUNT, JOBS = 9421, 200, 2

# pytest's exit codes: a test failed, or a file could not even be imported. Anything else is no verdict.
NOTICED = {1, 2, 4}
UNNOTICED = 0


class NoVerdict(Exception):
    """The tests could not be run at all, so nothing can be said."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of the tree in which one damage at a time may be done."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> "Copy":
        unwanted = shutil.ignore_patterns("__pycache__", "node_modules", ".*", "mutants", "fuzz")
        shutil.copytree(ROOT / "src", root / "src", ignore=unwanted)
        shutil.copytree(ROOT / "tests", root / "tests", ignore=unwanted)
        shutil.copy(ROOT / "pyproject.toml", root)
        return cls(root)

    def passes(self, paths: Sequence[str], patience: float) -> bool:
        """Whether the tests at these paths pass; a test that does not end within the patience fails."""
        quiet = ("-x", "-q", "-p", "no:cacheprovider", "-n0", "--no-cov", "--no-header", "--tb=no")
        # No compiled files: two damages of one length within a second would share theirs.
        env = {**os.environ, "PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", *quiet, *paths]
        try:
            done = subprocess.run(
                command, cwd=self.root, env=env, capture_output=True, text=True, timeout=patience, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode not in NOTICED | {UNNOTICED}:
            raise NoVerdict(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.returncode == UNNOTICED

    def imports_itself(self) -> bool:
        """Whether the tests here would import the package from here, and not the one that is installed."""
        env = {**os.environ, "PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        code = "import sealwire; print(sealwire.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=self.root, env=env, capture_output=True, text=True, check=True
        )
        return Path(done.stdout.strip()).is_relative_to(self.root)

    @contextmanager
    def with_damage(self, mutant: Mutant) -> Iterator[None]:
        file = self.root / mutant.file
        sound = file.read_text(encoding="utf-8")
        file.write_text(damaged(sound, mutant), encoding="utf-8")
        try:
            yield
        finally:
            file.write_text(sound, encoding="utf-8")

    def survives(self, mutant: Mutant, suites: Sequence[str], patience: float) -> bool:
        """Whether no test notices; the module's own tests are asked first, because they mostly know."""
        own = mirror(mutant.file)
        with self.with_damage(mutant):
            if (self.root / own).is_file() and not self.passes([own], patience):
                return False
            return self.passes(suites, patience)


def mirror(file: str) -> str:
    """The test file of a source file: src/sealwire/stages/nonce.py has tests/stages/test_nonce.py."""
    path = Path(file).relative_to("src/sealwire")
    return (Path("tests") / path.parent / f"test_{path.name}").as_posix()


def all_mutants() -> list[Mutant]:
    """Every damage that could be done, in a fixed order."""
    files = [file for room in ROOMS for file in sorted((ROOT / "src" / "sealwire" / room).rglob("*.py"))]
    return [
        m for file in files for m in mutants_of(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
    ]


def listed() -> dict[str, str]:
    """The survivors that are known, each with its reason."""
    entries = tomllib.loads(LISTED.read_text(encoding="utf-8")).get("survivor", [])
    unexplained = [entry["id"] for entry in entries if not entry.get("reason", "").strip()]
    if unexplained:
        raise NoVerdict(f"listed without a reason: {', '.join(unexplained)}")
    return {entry["id"]: entry["reason"] for entry in entries}


def diff(mutant: Mutant) -> str:
    """What the damage changes, both sides printed from the syntax tree."""
    sound = (ROOT / mutant.file).read_text(encoding="utf-8")
    before, after = damaged(sound, None).splitlines(), damaged(sound, mutant).splitlines()
    return "\n".join(list(difflib.unified_diff(before, after, lineterm="", n=1))[2:])


def survivors_of(drawn: Sequence[Mutant]) -> list[Mutant]:
    """Runs the tests against each, two at a time, and says on one line how far it is."""
    with tempfile.TemporaryDirectory(prefix="sealwire-mutants-") as folder:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        made = [Copy.make(Path(folder) / str(number)) for number in range(JOBS)]
        suites = [f"tests/{room}" for room in ROOMS if (ROOT / "tests" / room).is_dir()]
        patience = baseline(made[0], suites)
        for copy in made:
            copies.put(copy)

        def try_one(mutant: Mutant) -> bool:
            copy = copies.get()
            try:
                return copy.survives(mutant, suites, patience)
            finally:
                copies.put(copy)

        found = []
        with ThreadPoolExecutor(JOBS) as pool:
            futures = {pool.submit(try_one, mutant): mutant for mutant in drawn}
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    if future.result():
                        found.append(futures[future])
                    progress(done, len(drawn), len(found))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        return sorted(found, key=drawn.index)


def baseline(copy: Copy, suites: Sequence[str]) -> float:
    """Runs the tests on sound code, and gives the seconds that a damaged run may take."""
    if not copy.imports_itself():
        raise NoVerdict("the copy would test the package that is installed")
    if not suites:
        raise NoVerdict("there are no tests to ask")
    began = time.monotonic()
    if not copy.passes(suites, patience=1800):
        raise NoVerdict("the tests fail on sound code")
    return 30 + 5 * (time.monotonic() - began)


def progress(done: int, total: int, survivors: int) -> None:
    line = f"{done}/{total} tried, {survivors} survived"
    if sys.stdout.isatty():
        print(f"\r{line}", end="\n" if done == total else "", flush=True)
    elif done % 20 == 0 or done == total:
        print(line, flush=True)


def report(drawn: Sequence[Mutant], survivors: Sequence[Mutant], known: dict[str, str]) -> int:
    """Prints what survived, and gives the exit code."""
    kinds, missed = Counter(m.operator for m in drawn), Counter(m.operator for m in survivors)
    for kind in sorted(kinds):
        print(f"  {kind:<10} {kinds[kind] - missed[kind]:>3} of {kinds[kind]:>3} noticed")
    unlisted = [mutant for mutant in survivors if mutant.id not in known]
    for mutant in survivors:
        print(f"\n{mutant.id}  {known.get(mutant.id, 'NOT LISTED')}\n{diff(mutant)}")
    stale = sorted(set(known) - {mutant.id for mutant in survivors})
    if stale:
        print("\nlisted, but not among the survivors of this run:", *stale, sep="\n  ")
    print(f"\n{len(drawn)} drawn, {len(survivors)} survived, {len(unlisted)} of them unlisted")
    return 1 if unlisted else 0


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Do the tests notice small damages?")
    parser.add_argument("--count", type=int, default=COUNT, help="how many to draw")
    parser.add_argument("--seed", type=int, default=SEED, help="which ones to draw")
    parser.add_argument("--list", action="store_true", help="print the ids and run nothing")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these alone")
    return parser.parse_args()


def main() -> int:
    """Draw, try, report."""
    asked = options()
    every = all_mutants()
    drawn = [m for m in every if m.id in asked.only] if asked.only else draw(every, asked.count, asked.seed)
    if asked.list:
        print(*(mutant.id for mutant in drawn), sep="\n")
        return 0
    if not drawn:
        print("there is nothing to damage", file=sys.stderr)
        return 2
    print(f"{len(drawn)} of {len(every)} possible damages", flush=True)
    try:
        known = listed()
        return report(drawn, survivors_of(drawn), known)
    except NoVerdict as why:
        print(why, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
