"""One durable file opened several times: by the guard, by `Admin` in the same process, by the command line."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sealwire.errors import Misuse
from sealwire.stores.sqlite_file import SqliteFile, schema_versions

_ELSEWHERE = """
import pathlib, sys
from sealwire.stores.sqlite_file import SqliteFile
file = SqliteFile(pathlib.Path(sys.argv[1]))
print(len(file.read("SELECT 1 FROM clients")))
file.close()
"""


def seen_elsewhere(path: Path) -> int:
    """How many clients another process sees that opens the file and closes it."""
    done = subprocess.run([sys.executable, "-c", _ELSEWHERE, str(path)], check=True, capture_output=True, text=True)
    return int(done.stdout)


def test_a_second_opening_does_not_take_the_locks_of_the_first(tmp_path: Path) -> None:
    """
    Closing any descriptor of a file drops all POSIX locks that the process holds on it; another process would then take
    itself for the last one and remove the log that the first goes on to write into.
    """
    path = tmp_path / "sealwire.db"
    first = SqliteFile(path)
    SqliteFile(path).close()
    assert seen_elsewhere(path) == 0
    sql = "INSERT INTO clients (id, name, scopes, addresses, created) VALUES ('cli_1', 'bot', '', '', 0)"
    asyncio.run(first.write(lambda connection: connection.execute(sql).rowcount, ("store-unavailable", "directory")))
    assert seen_elsewhere(path) == 1
    first.close()


def test_a_file_is_private_from_its_first_moment(tmp_path: Path) -> None:
    """Mode 0600; a folder that is not there is named."""
    SqliteFile(tmp_path / "sealwire.db").close()
    assert (tmp_path / "sealwire.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Misuse, match="No such file"):
        SqliteFile(tmp_path / "none" / "sealwire.db")
    with pytest.raises(Misuse, match="cannot be opened"):
        SqliteFile(tmp_path)


def test_its_schema_is_read_without_a_change(tmp_path: Path) -> None:
    """The versions are those of a file and of this code; what is not there is not made."""
    SqliteFile(tmp_path / "sealwire.db").close()
    found, known = schema_versions(tmp_path / "sealwire.db")
    assert found == known > 0
    with pytest.raises(Misuse, match="cannot be opened"):
        schema_versions(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
