"""The folder of one start in memory-backed storage: private, and gone with it, also when it was killed."""

import subprocess
import sys
from pathlib import Path

from sealwire.fronts.workers import start_folder

KILLED = """
import os, signal, sys
from pathlib import Path
from sealwire.fronts.workers import start_folder
with start_folder(Path(sys.argv[1])) as folder:
    (folder / "fast.db").touch()
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_start_left_is_taken_away(tmp_path: Path) -> None:
    """F26: its secrets are not there for the next; those of a start that lives are not touched."""
    with start_folder(tmp_path) as living:
        assert living.stat().st_mode & 0o777 == 0o700
        killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, check=False)
        left = Path(killed.stdout.decode().strip())
        assert killed.returncode == -9
        assert (left / "fast.db").exists()
        with start_folder(tmp_path) as other:
            assert not left.exists()
            assert living.exists()
        assert not other.exists()
    assert list(tmp_path.iterdir()) == []


def test_another_users_folder_stays(tmp_path: Path) -> None:
    """What cannot be opened, or has no lock, is nobody's business here."""
    (tmp_path / "sealwire-other").mkdir()
    (tmp_path / "sealwire-none" / "lock").mkdir(parents=True)
    with start_folder(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sealwire-none", "sealwire-other"]
