"""The package's public names: listed, few, and all of them there."""

import types

import sealwire

MOST = 20


def test_every_listed_name_is_there() -> None:
    assert [name for name in sealwire.__all__ if not hasattr(sealwire, name)] == []


def test_the_list_is_short_and_holds_no_name_twice() -> None:
    assert len(sealwire.__all__) == len(set(sealwire.__all__)) <= MOST


def test_nothing_public_is_missing_from_the_list() -> None:
    public = {
        name
        for name, value in vars(sealwire).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public - set(sealwire.__all__) == set()
