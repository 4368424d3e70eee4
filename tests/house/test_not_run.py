"""The vectors that are left out are listed, each with its reason, and their number changes only on purpose."""

import tomllib

from tests.house.tree import ROOT

VECTORS = ROOT / "tests" / "vectors"
LEFT_OUT = 480


def test_the_number_left_out_is_the_one_agreed() -> None:
    listed = tomllib.loads((VECTORS / "NOT_RUN.toml").read_text(encoding="utf-8"))
    assert set(listed) <= {"left_out"}
    assert sum(entry.get("count", 1) for entry in listed.get("left_out", [])) == LEFT_OUT


def test_each_has_its_name_and_its_reason() -> None:
    entries = tomllib.loads((VECTORS / "NOT_RUN.toml").read_text(encoding="utf-8")).get("left_out", [])
    assert [entry for entry in entries if set(entry) - {"count"} != {"id", "reason"}] == []
    assert [entry for entry in entries if not (entry["id"].strip() and entry["reason"].strip())] == []
    assert len({entry["id"] for entry in entries}) == len(entries)


def test_each_file_named_is_there() -> None:
    entries = tomllib.loads((VECTORS / "NOT_RUN.toml").read_text(encoding="utf-8")).get("left_out", [])
    assert [entry["id"] for entry in entries if not (VECTORS / entry["id"].split("#")[0]).exists()] == []
