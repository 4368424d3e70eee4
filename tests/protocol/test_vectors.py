"""The folder of vectors: every file has its source, and a test that counts its cases."""

from tests.protocol.vectors import FOLDER

#: The test that runs each file, or a whole folder, and counts what it runs.
RUN_BY = {
    "c2sp": "test_c2sp_ml_dsa.py",
    "rfc9421": "test_rfc9421.py",
    "rfc9530": "test_rfc9530.py",
    "structured-field-tests": "test_structured_fields.py",
    "wycheproof": "test_wycheproof.py",
}


def test_every_folder_has_its_source() -> None:
    """Beside each folder's vectors stand where they come from, in which version, under which licence."""
    folders = {path.name: path for path in FOLDER.iterdir() if path.is_dir()}
    for name, folder in folders.items():
        stated = {line.split(":")[0] for line in (folder / "SOURCE").read_text().splitlines() if line[:1].isalpha()}
        assert stated == {"what", "source", "version", "licence"}, name
    assert RUN_BY.keys() <= folders.keys()


def test_every_file_is_read_by_its_test() -> None:
    """No file of these folders lies there unread."""
    for folder, test in RUN_BY.items():
        text = (FOLDER.parent / "protocol" / test).read_text()
        for path in (FOLDER / folder).rglob("*.json"):
            named = path.relative_to(FOLDER).as_posix()
            assert named in text or f'"{folder}"' in text, f"{named} is not read by {test}"
