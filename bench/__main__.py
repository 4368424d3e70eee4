"""`make bench`: each figure a ratio measured side by side, in turns, medians of several runs; bench/results.json."""

import asyncio
import datetime
import gc
import json
import os
import secrets
import sqlite3
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, HTTPSignatureKeyResolver, algorithms

from sealwire.client.exchange import Call as ClientCall
from sealwire.client.signing import by_key, compose, nonce_of
from sealwire.ports import Decision, DurableNonce
from sealwire.protocol import profile
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.message import Request, read_head, read_target
from sealwire.protocol.signature import check, signer_of
from sealwire.stores.memory import MemoryNonces
from sealwire.stores.sqlite import SqliteLedger
from sealwire.stores.sqlite_file import SqliteFile
from tests.stories.world import START, SetClock, Wire, World

RUNS, CALLS = 9, 400


def interleaved(ours: Callable[[], object], other: Callable[[], object], calls: int = CALLS) -> dict[str, float]:
    """Medians in µs of each, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for work, kept in ((ours, times[0]), (other, times[1])):
            begun = time.perf_counter()
            for _ in range(calls):
                work()
            kept.append((time.perf_counter() - begun) / calls * 1e6)
    ours_us, other_us = (statistics.median(kept) for kept in times)
    return {"ratio": round(ours_us / other_us, 3), "ours_us": round(ours_us, 2), "other_us": round(other_us, 2)}


class Resolver(HTTPSignatureKeyResolver):
    """One key, for the peer."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = private.public_key()
        self._public = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def resolve_private_key(self, key_id: str) -> bytes:  # noqa: ARG002  # the peer's own form
        return self._private

    def resolve_public_key(self, key_id: str) -> bytes:  # noqa: ARG002  # the peer's own form
        return self._public


def signatures() -> dict[str, dict[str, float]]:
    """verify_over_floor, verify_vs_peer, sign_vs_peer."""
    private = Ed25519PrivateKey.generate()
    signer, public = signer_of(private), private.public_key()
    verifier, plans = verifier_of(public), profile.Plans()
    wire = Wire("POST", b"/v1/orders", b'{"amount": "0.01"}').sign(signer)

    def verify() -> None:
        headers, fields = read_head(wire.headers)
        target = read_target(wire.target)
        request = Request("POST", wire.target, "api.example", target.path, b"", target.decoded, headers, fields)
        claim = profile.claim(request, profile.TAG, plans)
        check(verifier, profile.build_base(claim, request), claim.signature)
        plans.keep(claim)

    headers, fields = read_head(wire.headers)
    request = Request("POST", wire.target, "api.example", wire.target, b"", "/v1/orders", headers, fields)
    claim = profile.claim(request, profile.TAG, plans)
    base = profile.build_base(claim, request)
    resolver = Resolver(private)
    covered = ("@method", "@authority", "@path", "@query", "content-type", "content-digest")

    def peer_sign() -> httpx2.Request:
        plain = {name.decode(): value.decode() for name, value in wire.headers if not name.startswith(b"signature")}
        made = httpx2.Request("POST", "https://api.example/v1/orders", headers=plain, content=wire.body)
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=resolver).sign(
            made,
            key_id="k",
            created=now,
            expires=now + datetime.timedelta(seconds=60),
            nonce=secrets.token_urlsafe(18),
            tag="sealwire",
            include_alg=False,
            covered_component_ids=covered,
            use_existing_digest=True,
            body=wire.body,
        )
        return made

    signed = peer_sign()

    def peer_verify() -> None:
        checking = HTTPMessageVerifier(signature_algorithm=algorithms.ED25519, key_resolver=resolver)
        checking.verify(signed, expect_tag="sealwire", require_components=covered, body=wire.body)

    call = ClientCall("POST", b"/v1/orders", ((b"content-type", b"application/json"),), wire.body)

    def sign() -> None:
        head = compose(call, "api.example", nonce_of(os.urandom(18)))
        by_key(signer).put_on(head, int(START), nonce_of(os.urandom(18)))

    return {
        "verify_over_floor": interleaved(verify, lambda: public.verify(claim.signature, base)),
        "verify_vs_peer": interleaved(verify, peer_verify),
        "sign_vs_peer": interleaved(sign, peer_sign),
    }


def guard(world: World) -> dict[str, dict[str, float]]:
    """guard_signed_over_floor: a whole signed call in process over the cryptography in it."""
    calls = RUNS * CALLS
    requests = iter([Wire().sign(world.signer) for _ in range(calls)])
    loop = asyncio.new_event_loop()
    public, private = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    key, data = public.public_key(), b"x" * 600
    signature = public.sign(data)

    def floor() -> None:
        key.verify(signature, data)
        private.sign(data)

    figures = interleaved(lambda: loop.run_until_complete(world.send(next(requests))), floor)
    loop.close()
    return {"guard_signed_over_floor": figures}


def nonces() -> dict[str, dict[str, float]]:
    """nonce_bytes at a million; nonce_growth, claim cost at a million over that at a thousand."""

    async def fill(count: int) -> tuple[float, float, float]:
        clock = SetClock()
        store = MemoryNonces(clock, os.urandom, 10_000_000)
        names = [f"{i:022d}" for i in range(count + 10_000)]
        gc.collect()
        tracemalloc.start()
        for name in names[:count]:
            await store.claim("k", name, START + 60, 20)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        worst, begun = 0.0, time.perf_counter()
        for name in names[count:]:
            at = time.perf_counter()
            await store.claim("k", name, START + 60, 20)
            worst = max(worst, time.perf_counter() - at)
        return held / count, (time.perf_counter() - begun) / 10_000 * 1e6, worst * 1e6

    small, large = asyncio.run(fill(1_000)), asyncio.run(fill(1_000_000))
    growth = {"ratio": round(large[1] / small[1], 3), "ours_us": round(large[1], 2), "other_us": round(small[1], 2)}
    return {
        "nonce_bytes": {"ratio": round(large[0], 1), "ours_bytes": round(large[0], 1)},
        "nonce_growth": {**growth, "worst_us": round(large[2], 1)},
    }


def audit(folder: Path) -> dict[str, dict[str, float]]:
    """audit_append_vs_insert: a durable decision over a bare insert of the same bytes, both in commits of 32."""
    decision = Decision(
        "req_01", START, "entered", "ok", "cli_01", "u", "k" * 43, "192.0.2.1", "POST", "/v1/orders", "p"
    )
    file = SqliteFile(folder / "ours.db")
    ledger, loop = SqliteLedger(file, SetClock()), asyncio.new_event_loop()
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE d (seq INTEGER PRIMARY KEY, a, b, c, d, e, f, g, h, i, j, k)")

    async def ours() -> None:
        claims = [DurableNonce("k" * 43, secrets.token_urlsafe(18), START + 60, 20) for _ in range(32)]
        await asyncio.gather(*(ledger.record(decision, claim) for claim in claims))

    def other() -> None:
        bare.execute("BEGIN IMMEDIATE")
        for _ in range(32):
            bare.execute("INSERT INTO d (a, b, c, d, e, f, g, h, i, j, k) VALUES (?,?,?,?,?,?,?,?,?,?,?)", decision)
        bare.execute("COMMIT")

    figures = interleaved(lambda: loop.run_until_complete(ours()), other, calls=20)
    file.close()
    bare.close()
    loop.close()
    return {"audit_append_vs_insert": figures}


def main() -> None:
    """Runs everything, prints a table, writes bench/results.json."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        for part in (signatures, lambda: guard(world), nonces, lambda: audit(Path(name))):
            for key, figures in part().items():
                results[key] = figures
                print(f"{key:<28}{figures['ratio']:>10}   {figures}")
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
