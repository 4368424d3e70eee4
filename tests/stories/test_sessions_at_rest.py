"""
Where a session's secret lies, and what of it is drawn twice: nowhere that is kept, and nothing.

The attacker has copies of files, of this start and of earlier ones, and waits for two processes to draw the same bytes.
"""

import asyncio
import json
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import ValidationError

from sealwire.config import Sessions
from sealwire.demo.state import DemoState
from sealwire.errors import Misuse
from sealwire.sessions import SessionTerms
from sealwire.stores.sqlite_sessions import SqliteSessions
from tests.stories.markers import leaks
from tests.stories.sealing import (
    SEALED_RULES,
    Opened,
    SealedWorld,
    Stores,
    by_mac,
    make_fast,
    open_session,
    sealed,
    taken_apart,
    turned_away,
)
from tests.stories.world import START

MESSAGES = 60
#: NIST SP 800-38D section 8.3: how likely a random IV may come again under one key.
ALLOWED = 2.0**-32


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SealedWorld]:
    made = SealedWorld(tmp_path, stores=Stores(make_fast(tmp_path), tmp_path / "durable.db"))
    yield made
    made.close()


def keys_of(session: Opened) -> list[bytes]:
    """The secret and each key made of it."""
    salt = session.terms.context()
    labels = (b"c2s key", b"s2c key", b"c2s mac", b"s2c mac")
    digest = hashes.Hash(hashes.SHA256())
    digest.update(salt)
    salt = digest.finalize()
    return [session.secret] + [
        HKDF(hashes.SHA256(), 32, salt, b"sealwire " + label).derive(session.secret) for label in labels
    ]


async def test_no_iv_comes_twice(tmp_path: Path) -> None:
    """
    F11: one session on two workers, twice its messages at once: as many are opened as it may carry, each reply has one
    IV of its own drawing, and their number is bounded.

    Stopped by: unseal
    """
    stores = Stores(make_fast(tmp_path))
    workers = [SealedWorld(tmp_path, SEALED_RULES, SessionTerms(900, MESSAGES), stores) for _ in range(2)]
    for worker in workers:
        worker.add_key(workers[0].signer, "alice")
    session = await open_session(workers[0])
    for worker in workers:
        worker.drawn.clear()
    wires = [sealed(session).sign(workers[0].signer) for _ in range(2 * MESSAGES)]
    replies = await asyncio.gather(*(workers[at % 2].send(wire) for at, wire in enumerate(wires)))
    answered = [reply for reply in replies if reply.headers["content-type"] == "application/jose"]
    assert [reply.status_code for reply in answered] == [200] * MESSAGES
    assert {reply.json()["code"] for reply in replies if reply not in answered} == {"session-expired"}
    ivs = [taken_apart(reply.content)[2] for reply in answered]
    drawn = [one for worker in workers for one in worker.drawn if len(one) == 12]
    assert sorted(ivs) == sorted(drawn)
    assert len(set(ivs)) == MESSAGES
    assert all(worker.entered for worker in workers)
    for worker in workers:
        worker.close()
    # A message is answered once, or twice where the first answer could not be signed. Nobody may configure more:
    most = 1_048_576
    assert Sessions.model_validate({"max_requests": most}).max_requests == most
    with pytest.raises(ValidationError):
        Sessions.model_validate({"max_requests": most + 1})
    assert (2 * most) ** 2 / 2 / 2**96 < ALLOWED


def modes_in(folder: Path) -> dict[str, int]:
    """The mode of each file."""
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


def backup(database: Path, to: Path) -> None:
    """A backup as SQLite makes one, while the database is in use."""
    with closing(sqlite3.connect(database)) as live, closing(sqlite3.connect(to)) as copy:
        live.backup(copy)


FORKED = """
import json, os, sys
from pathlib import Path
from sealwire.build import open_ports
from sealwire.config import load
from sealwire.protocol.handshake import KeyPair, Offer

ports = open_ports(load(Path(sys.argv[1])))
kems = ("MLKEM768-X25519", "X25519", "P-256", "RSA-OAEP-256")
offers = [Offer(kem, KeyPair(kem).public_key) for kem in kems]

def drawn():
    kept = [ports.entropy(size).hex() for size in (12, 12, 32, 32)]
    kept += [offer.seal(bytes(32), b"context").hex() for offer in offers for _ in range(2)]
    return kept + [KeyPair(kem).public_key for kem in kems[:3]]

print(json.dumps(drawn()), flush=True)
for _ in range(3):
    if os.fork() == 0:
        os.write(1, json.dumps(drawn()).encode() + b"\\n")
        os._exit(0)
for _ in range(3):
    os.wait()
print(json.dumps(drawn()), flush=True)
ports.close()
"""


def test_a_process_that_forks(tmp_path: Path) -> None:
    """
    F21, P3: three forks of a process that has drawn before, and itself: no IV, secret or ephemeral is the same.

    Stopped by: build
    """
    state = DemoState(tmp_path, 8443)
    state.make()
    command = [sys.executable, "-c", FORKED, str(state.config)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # ours
    rows = [json.loads(line) for line in said.splitlines()]
    assert [len(row) for row in rows] == [15] * 5
    # Of a sealed secret the ephemeral comes first: its own beginning is to differ, too.
    begun = [value[:24] for row in rows for value in row]
    assert len(set(begun)) == len(begun)


async def test_no_secret_is_kept(world: SealedWorld, tmp_path: Path) -> None:
    """
    F26: calls in sessions of each kind, then copies of the database, its WAL, a backup and the fast store: no secret.

    Stopped by: sessions
    """
    await world.enrol(world.signer, "alice")
    sessions = [await open_session(world, kem) for kem in ("MLKEM768-X25519", "X25519", "P-256", "RSA-OAEP-256")]
    for session in sessions:
        wire = sealed(session).change(b"idempotency-key", session.id.encode())
        assert (await world.send(wire.sign(world.signer))).status_code == 200
        mac = by_mac(sealed(session, target=b"/v1/ticks"), session, int(START))
        assert (await world.send(mac)).status_code == 200
    backup(tmp_path / "durable.db", tmp_path / "copy")
    names = ("durable.db", "durable.db-wal", "copy", "fast.db", "fast.db-wal", "fast.key")
    kept = {name: (tmp_path / name).read_bytes() for name in names}
    assert sessions[0].id.encode() in kept["fast.db"] + kept["fast.db-wal"]
    assert world.signer.keyid.encode() in kept["copy"]
    secrets = {f"{session.id} {at}": key for session in sessions for at, key in enumerate(keys_of(session))}
    assert leaks(secrets, kept) == []


async def test_files_are_their_owners(world: SealedWorld, tmp_path: Path) -> None:
    """
    P4: the modes of all that a start keeps, the wrapping key of its sessions first.

    Stopped by: stores
    """
    await world.enrol(world.signer, "alice")
    await open_session(world)
    modes = modes_in(tmp_path)
    assert {"fast.key", "fast.db", "fast.db-wal", "durable.db", "durable.db-wal"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_the_fast_store_of_an_earlier_start(tmp_path: Path) -> None:
    """
    F26: the fast store of an earlier start put under this one's: its sessions do not open, and are not opened anew.

    Stopped by: stores
    """
    for name in ("before", "now"):
        (tmp_path / name).mkdir()
    before = SealedWorld(tmp_path, stores=Stores(make_fast(tmp_path / "before")))
    session = await open_session(before)
    before.close()
    fast = make_fast(tmp_path / "now")
    shutil.copy(tmp_path / "before" / "fast.db", fast)
    world = SealedWorld(tmp_path, stores=Stores(fast))
    world.add_key(before.signer, "alice")
    await turned_away(world, sealed(session).sign(before.signer), 503, "store-unavailable")
    world.close()
    (tmp_path / "now" / "fast.key").unlink()
    with pytest.raises(Misuse, match="not the fast store of this start"):
        SqliteSessions(fast, world.clock, world.draw)
