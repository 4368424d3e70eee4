"""The folder of vectors: every file has its source, and a test that counts its cases."""

from tests.protocol.vectors import FOLDER

#: The tests that run each file, or a whole folder, and count what they run.
RUN_BY = {
    "c2sp": "test_c2sp_ml_dsa.py",
    "rfc7239": "test_forwarded.py",
    "rfc9421": "test_rfc9421.py",
    "rfc9530": "test_rfc9530.py",
    "structured-field-tests": "test_structured_fields.py",
    "wycheproof": "test_wycheproof.py test_wycheproof_sealing.py",
    "jose-cookbook": "test_wycheproof_sealing.py",
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
    for folder, tests in RUN_BY.items():
        text = "".join((FOLDER.parent / "protocol" / test).read_text() for test in tests.split())
        for path in (FOLDER / folder).rglob("*.json"):
            named = path.relative_to(FOLDER).as_posix()
            assert named in text or f'"{folder}"' in text, f"{named} is not read by {tests}"
