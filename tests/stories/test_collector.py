"""
A collector keeps all traffic now and gets hold of files and keys later.

It terminates TLS, so it has each byte of each message; it has the database, its WAL and a backup; in the end it has the
signing keys of both ends. `collecting.opened` is what it does with them.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealwire.protocol.handshake import KEMS
from sealwire.protocol.jwk import Signer
from sealwire.protocol.message import Reply
from sealwire.protocol.signature import signer_of
from tests.stories.collecting import Hoard, opened
from tests.stories.sealing import (
    JSON_TYPE,
    Opened,
    SealedWorld,
    Stores,
    by_mac,
    make_fast,
    open_session,
    sealed,
)
from tests.stories.test_sessions_at_rest import backup, keys_of
from tests.stories.world import START

ASKED, ANSWERED = b'{"send": "1042 to me"}', b'{"left": "7391"}'
#: Of each session: a call and its answer by the client's key, and both again by the session's own.
OF_A_SESSION = 4
KEMS_OF_THE_CLIENTS = ("X25519", "P-256", "RSA-OAEP-256", "MLKEM768-X25519")
SIGNED = b"signature-input"


class Collected:
    """A world after its calls, its clients' keys, and what the collector has of all that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.world = SealedWorld(folder, stores=Stores(make_fast(folder), folder / "durable.db"))
        self.world.answer = Reply(200, (JSON_TYPE,), ANSWERED)
        private = (
            Ed25519PrivateKey.generate(),
            generate_ec_key(SECP256R1()),
            rsa.generate_private_key(65537, 3072),
            Ed25519PrivateKey.generate(),
        )
        self.pems = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) for key in private]
        self.sessions: list[Opened] = []
        self.signers: list[Signer] = [signer_of(key) for key in private]

    async def run(self) -> None:
        """A client on each kem: the curve's, the RSA and the Ed25519 key each meet a kem of their own kind."""
        for at, (signer, kem) in enumerate(zip(self.signers, KEMS_OF_THE_CLIENTS, strict=True)):
            await self.world.enrol(signer, f"client{at}")
            session = await open_session(self.world, kem, signer)
            self.sessions.append(session)
            wire = sealed(session, ASKED).change(b"idempotency-key", os.urandom(9).hex().encode())
            assert (await self.world.send(wire.sign(signer))).status_code == 200
            mac = by_mac(sealed(session, ASKED, b"/v1/ticks"), session, int(START))
            assert (await self.world.send(mac)).status_code == 200
        backup(self.folder / "durable.db", self.folder / "backup.db")

    def hoard(self, *keys: bytes) -> Hoard:
        """All traffic, the database as it is, its WAL, a backup, and these keys."""
        wal = (self.folder / "durable.db-wal").read_bytes()
        whole = (self.folder / "durable.db").read_bytes()
        return Hoard(self.world.seen, (self.folder / "backup.db",), (wal, whole), keys)

    def of_one(self, at: int) -> Hoard:
        """The traffic of one client alone, so that the searches that must find something are quick."""
        return Hoard(self.world.seen[3 * at : 3 * at + 3])


@pytest.fixture
async def collected(tmp_path: Path) -> AsyncIterator[Collected]:
    made = Collected(tmp_path)
    await made.run()
    yield made
    made.world.close()


async def test_what_was_collected_opens_nothing(collected: Collected) -> None:
    """
    F22: all traffic, database, WAL and backup, and later the signing keys of both ends, each in every role: nothing.

    Stopped by: sessions
    """
    hoard = collected.hoard(*collected.pems, (collected.folder / "signing.pem").read_bytes())
    assert len(hoard.exchanges) == 12
    assert opened(hoard) == []


async def test_the_sessions_secret_opens_it(collected: Collected) -> None:
    """
    F22: the same search, handed the secret of one session: all of that session opens, and its calls could be forged.

    Stopped by: nothing
    """
    for at, session in enumerate(collected.sessions):
        found = opened(collected.of_one(at)._replace(keys=(session.secret,)))
        assert sorted(one for one in found if not one.startswith(b"forged")) == sorted([ASKED, ANSWERED] * 2)
        assert len([one for one in found if session.id.encode() in one]) == 1


async def test_each_role_is_tried(collected: Collected) -> None:
    """
    F22: the same search, handed one key of each kind: it opens what that key opens.

    Stopped by: nothing
    """
    session = collected.sessions[0]
    bare = collected.of_one(0)
    _, c2s, s2c, c2s_mac, _ = keys_of(session)
    assert opened(bare._replace(keys=(c2s,))) == [ASKED] * 2
    assert opened(bare._replace(keys=(s2c,))) == [ANSWERED] * 2
    (forged,) = opened(bare._replace(keys=(c2s_mac,)))
    assert forged.startswith(b'forged "@method": POST')
    assert sorted(opened(bare._replace(files=(b"core dump" + session.secret + b"more",)))) == sorted([ASKED, ANSWERED])
    for at, one in enumerate(collected.sessions):
        assert one.pair.kem == KEMS_OF_THE_CLIENTS[at]
        assert len(opened(collected.of_one(at)._replace(pairs=(one.pair,)))) == OF_A_SESSION + 1


async def test_the_wrapping_key_opens_what_is_kept_for_repeats(collected: Collected) -> None:
    """
    F22: the same search, handed the key home's wrapping key and the backup: the answers of 24 hours, and no traffic.

    Stopped by: sessions
    """
    assert sorted(KEMS_OF_THE_CLIENTS) == sorted(KEMS)
    found = opened(collected.hoard((collected.folder / "wrapping.key").read_bytes())._replace(files=()))
    assert len(found) == len(collected.sessions)
    assert all(one.endswith(b"\n" + ANSWERED) and one.startswith(b"[200, ") for one in found)


async def test_one_clients_keys_against_anothers_traffic(collected: Collected) -> None:
    """
    F22: a client with all its own keys, secrets and pairs, and the others' traffic: nothing.

    Stopped by: handshake
    """
    for at, own in enumerate(collected.sessions):
        names = (own.id.encode(), collected.signers[at].keyid.encode())
        theirs = [one for one in collected.world.seen if not any(name in one[0].header(SIGNED) for name in names)]
        keys = (collected.pems[at], *keys_of(own))
        hoard = Hoard(theirs, keys=keys, pairs=(own.pair,))
        assert len(hoard.exchanges) == 9
        assert opened(hoard) == []
        assert len(opened(hoard._replace(exchanges=collected.of_one(at).exchanges))) > OF_A_SESSION
