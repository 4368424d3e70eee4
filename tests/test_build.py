"""What the settings come to when they are wired."""

from pathlib import Path

import pytest

from sealwire.build import open_ports
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.errors import Misuse
from sealwire.stores import memory, sqlite_fast, sqlite_sessions


@pytest.mark.parametrize("shared", [False, True])
async def test_live_nonces_is_the_bound_of_one_key(tmp_path: Path, *, shared: bool) -> None:
    """C13: what the setting says is what a key may hold, in either fast store."""
    state = DemoState(tmp_path, 8443)
    state.make()
    assert load(state.config).live_nonces == memory.LIVE_NONCES == sqlite_fast.LIVE_NONCES
    state.config.write_text("live_nonces = 2\n" + state.config.read_text())
    settings = load(state.config)
    alone = open_ports(settings)
    sqlite_fast.make(tmp_path / "fast.db", alone.clock, alone.entropy)
    sqlite_sessions.make(tmp_path / "fast.db", alone.entropy)
    ports = open_ports(settings, tmp_path / "fast.db") if shared else alone
    last_valid = ports.clock.now() + 60
    claims = [await ports.nonces.claim("k", f"n{i}", last_valid, 20) for i in range(3)]
    assert claims == ["first", "first", "full"]
    for opened in {id(ports): ports, id(alone): alone}.values():
        opened.close()


async def test_keys_of_the_demo_are_keys(tmp_path: Path) -> None:
    """The mark at their head is not part of them."""
    state = DemoState(tmp_path, 8443)
    state.make()
    ports = open_ports(load(state.config))
    assert ports.keyring.unwrap(ports.keyring.wrap(b"x", b"c"), b"c") == b"x"
    assert len(await ports.keyring.sign(b"base")) == 64
    ports.close()


async def test_a_mail_server_s_password_is_read_from_a_private_file(tmp_path: Path) -> None:
    """As every secret: one that others can read stops the start, and so does one that is not there."""
    state = DemoState(tmp_path, 8443)
    state.make()
    notice = (
        '\n[notice]\nsmtp = "smtp://localhost:25"\nsender = "api@example"\naddress = "people:address"\nuser = "api"\n'
        'password = "file:smtp.txt"\n'
    )
    state.config.write_text(state.config.read_text() + notice)
    settings, file = load(state.config), tmp_path / "smtp.txt"
    with pytest.raises(Misuse, match=r'notice\.password: ".*smtp\.txt" cannot be read'):
        open_ports(settings)
    file.write_text("a secret\n")
    file.chmod(0o644)
    with pytest.raises(Misuse, match=r'notice\.password: ".*smtp\.txt" can be read by others: chmod 600'):
        open_ports(settings)
    file.chmod(0o600)
    open_ports(settings).close()
