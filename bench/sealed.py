"""What sealing costs: a body beside joserfc, a sealed call and a session's opening beside the cryptography in them."""

import asyncio
import hashlib
import hmac
import json
import os
import statistics
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc import jwe
from joserfc.jwk import OctKey

from bench.timing import CALLS, RUNS, Figures, interleaved, ratio
from sealwire.entry import Arrival, Begin, Entry
from sealwire.protocol import envelope
from sealwire.protocol.handshake import KeyPair, Keys, Offer, Terms
from sealwire.protocol.message import Reply
from tests.stories.sealing import SESSIONS, Opened, SealedWorld, by_mac, open_session, sealed
from tests.stories.world import START, Wire

_CONTENT = os.urandom(512).hex().encode()
_ANSWER = Reply(200, ((b"content-type", b"application/json"),), b'{"time": "2026-01-01T00:00:00Z"}')


def envelopes() -> Figures:
    """jwe_open_vs_joserfc, jwe_seal_vs_joserfc: 1 KiB under a held session, joserfc with its key held."""
    secret = os.urandom(32)
    key, theirs = AESGCM(secret), OctKey.import_key(secret)
    protected = envelope.protect("ses_01M8AG816NJZW4SCDQ4WV9V6A8", "application/json")
    header = {"alg": "dir", "enc": "A256GCM", "kid": "ses_01M8AG816NJZW4SCDQ4WV9V6A8", "cty": "application/json"}
    body, kept = envelope.seal(key, protected, os.urandom(12), _CONTENT), envelope.Headers()
    kept.keep(envelope.read(body, kept))
    allowed = ["dir", "A256GCM"]
    return {
        "jwe_open_vs_joserfc": interleaved(
            lambda: envelope.open_sealed(envelope.read(body, kept), key),
            lambda: jwe.decrypt_compact(body, theirs, algorithms=allowed),
        ),
        "jwe_seal_vs_joserfc": interleaved(
            lambda: envelope.seal(key, protected, os.urandom(12), _CONTENT),
            lambda: jwe.encrypt_compact(header, _CONTENT, theirs, algorithms=allowed),
        ),
    }


async def _enter(_entry: Entry, _begin: Begin) -> Reply | None:
    return _ANSWER


def _arrival(wire: Wire) -> Arrival:
    async def receive() -> tuple[bytes, bool]:
        return wire.body, False

    return Arrival(wire.method, wire.target, wire.headers, "192.0.2.1", receive)


def _measured(make: Callable[[], list[Arrival]], world: SealedWorld, floor: Callable[[], object]) -> dict[str, Any]:
    """CPU of each call in process over that of the floor, in turns."""

    async def calls(arrivals: list[Arrival]) -> None:
        for arrival in arrivals:
            reply = await world.guard.handle(arrival, _enter)
            assert reply is not None
            assert reply.status in (200, 201), reply.body

    times: tuple[list[float], list[float]] = ([], [])
    with asyncio.Runner() as runner:
        for _ in range(RUNS):
            arrivals = make()
            begun = time.process_time()
            runner.run(calls(arrivals))
            times[0].append((time.process_time() - begun) / len(arrivals) * 1e6)
            begun = time.process_time()
            for _ in arrivals:
                floor()
            times[1].append((time.process_time() - begun) / len(arrivals) * 1e6)
    return ratio(statistics.median(times[0]), statistics.median(times[1]))


def sealed_calls(folder: Path) -> Figures:
    """
    guard_sealed_mac_over_floor: a sealed call under the session's key over its two HMACs, one opening and one sealing.
    handshake_over_floor: a session's opening at the server over its cryptography.
    """
    folder.mkdir()
    world = SealedWorld(folder)
    sessions: list[Opened] = [_run(open_session(world))]
    base, iv = b"x" * 900, os.urandom(12)
    key, mac = AESGCM(os.urandom(32)), os.urandom(32)
    box = key.encrypt(iv, b"y" * 40, b"z" * 120)

    def call_floor() -> None:
        hmac.digest(mac, base, hashlib.sha256)
        key.decrypt(iv, box, b"z" * 120)
        key.encrypt(iv, b"y" * 40, b"z" * 120)
        hmac.digest(mac, base, hashlib.sha256)

    def calls() -> list[Arrival]:
        wires = [sealed(sessions[0], b'{"amount": "0.01"}', b"/v1/ticks") for _ in range(CALLS)]
        return [_arrival(by_mac(wire, sessions[0], int(START))) for wire in wires]

    private = Ed25519PrivateKey.generate()
    public, signature = private.public_key(), private.sign(base)
    pair = KeyPair("MLKEM768-X25519")
    context = Terms("a", "k", pair.kem, "ses_1", bytes(32), "n", 1, 1).context()

    def opening_floor() -> None:
        public.verify(signature, base)
        secret = os.urandom(32)
        Keys(secret, context)
        Offer(pair.kem, pair.public_key).seal(secret, context)
        private.sign(base)

    asked = json.dumps({"kem": pair.kem, "public_key": pair.public_key}).encode()

    def openings() -> list[Arrival]:
        return [_arrival(Wire("POST", SESSIONS, asked).sign(world.signer)) for _ in range(CALLS // 4)]

    return {
        "guard_sealed_mac_over_floor": _measured(calls, world, call_floor),
        "handshake_over_floor": _measured(openings, world, opening_floor),
    }


def _run(made: Coroutine[Any, Any, Opened]) -> Opened:
    return asyncio.run(made)
