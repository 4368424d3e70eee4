"""Verify: a signature over this very message, by an active key, within its window."""

import hashlib
from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from sealwire.call import Proof
from sealwire.errors import Problem
from sealwire.protocol import servernonce
from sealwire.protocol.jwk import load_verifier
from sealwire.stages.verify import Verify
from tests.stages.made import (
    BODY,
    CLIENT,
    COVERED,
    KEYS,
    NEW,
    NOW,
    RULE,
    SEALED,
    SESSION,
    Stores,
    call,
    change,
    entropy,
    head,
    refused,
    sign,
)


def _stage(stores: Stores, *, lines: bool = True) -> Verify:
    return Verify(stores.directory, stores.nonces, stores.sessions, stores.buckets if lines else None, entropy)


async def _ready(age: float = 1000) -> Stores:
    stores = Stores(age)
    await stores.enrol()
    return stores


def _asked(problem: Problem) -> str:
    return dict(problem.fields)[b"accept-signature"].decode()


@pytest.mark.parametrize("alg", ["", "ed25519"])
async def test_proven(alg: str) -> None:
    """A fitting signature is proof of its key, with or without the key's own algorithm named; so is the next one."""
    stores = await _ready()
    stage = _stage(stores)
    for _ in range(2):
        proof = await stage(call(sign(head(body=BODY), alg=alg)))
        assert isinstance(proof, Proof)
        assert (proof.keyid, proof.last_valid, proof.remember_seconds) == (CLIENT.keyid, NOW + 60, 20)
        assert proof.key == await stores.directory.key(CLIENT.keyid)


@pytest.mark.parametrize(
    ("created", "expires", "cause"),
    [
        (NOW - 59, NOW + 200, ""),
        (NOW - 60, NOW + 200, "late"),
        (NOW - 61, NOW + 200, "late"),
        (NOW + 9, NOW + 200, ""),
        (NOW + 10, NOW + 200, ""),
        (NOW + 11, NOW + 200, "early"),
        (NOW - 5, NOW + 1, ""),
        (NOW - 5, NOW, "late"),
    ],
)
async def test_the_window(created: int, expires: int, cause: str) -> None:
    """Valid iff created - 10 <= now < min(expires, created + 60)."""
    stage = _stage(await _ready())
    sent = call(sign(head(), created=created, expires=expires))
    if not cause:
        await stage(sent)
        return
    with refused(f"clock-skew/{cause}", "created") as caught:
        await stage(sent)
    clock = {"server_time": NOW, "skew_ms": (created - NOW) * 1000, "window": 60}
    assert caught.value.members == {"clock": clock}
    nonce = servernonce.issue(entropy(32), NOW * 1000, entropy(8), CLIENT.keyid)
    assert f';nonce="{nonce}";tag="sealwire"' in _asked(caught.value)


@pytest.mark.parametrize(("created", "late"), [(NOW - 299, False), (NOW - 300, True)])
async def test_the_rule_sets_the_age(created: int, late: bool) -> None:
    """max_age of the rule takes the place of the 60 s."""
    sent = call(sign(head(), created=created, expires=created + 300), RULE._replace(max_age_seconds=300))
    stage = _stage(await _ready())
    if late:
        with refused("clock-skew/late", "created"):
            await stage(sent)
    else:
        await stage(sent)


@pytest.mark.parametrize(("life", "cause"), [(0, "expires-order"), (300, ""), (301, "lifetime")])
async def test_the_lifetime(life: int, cause: str) -> None:
    """expires is later than created, by 300 s at the most; what is malformed is told nothing of what to sign."""
    stage = _stage(await _ready())
    sent = call(sign(head(), expires=NOW + life))
    if not cause:
        await stage(sent)
        return
    with refused(f"signature-malformed/{cause}", "parse") as caught:
        await stage(sent)
    assert caught.value.fields == ()


@pytest.mark.parametrize(
    ("age", "cause"), [(-11, "early"), (-10, ""), (59, ""), (60, "server-nonce-late"), (61, "server-nonce-late")]
)
async def test_a_server_nonce(age: int, cause: str) -> None:
    """Who uses a server nonce is judged by its issue time and not by created, and satisfies a rule that demands one."""
    stores = await _ready()
    nonce = servernonce.issue(stores.nonces.secret, (NOW - age) * 1000, b"r" * 8, CLIENT.keyid)
    sent = call(sign(head(), created=5, nonce=nonce), RULE._replace(fresh=True))
    if cause:
        with refused(f"clock-skew/{cause}", "created"):
            await _stage(stores)(sent)
    else:
        proof = await _stage(stores)(sent)
        assert (proof.last_valid, proof.remember_seconds) == (NOW - age + 60, 20)


async def test_a_server_nonce_of_another_start_or_key() -> None:
    """It may have been accepted with any created, so nothing that is dated now makes it the client's own."""
    stores = await _ready()
    for secret, keyid in ((b"t" * 32, CLIENT.keyid), (stores.nonces.secret, NEW.keyid)):
        nonce = servernonce.issue(secret, NOW * 1000, b"r" * 8, keyid)
        with refused("clock-skew/restart", "created"):
            await _stage(stores)(call(sign(head(), nonce=nonce)))


async def test_fresh_demands_a_server_nonce() -> None:
    """A rule with fresh takes no nonce of the client's own, nor one made for another key."""
    stores = await _ready()
    for nonce in ("A" * 22, servernonce.issue(stores.nonces.secret, NOW * 1000, b"r" * 8, NEW.keyid)):
        with refused("clock-skew/fresh-demanded", "created"):
            await _stage(stores)(call(sign(head(), nonce=nonce), RULE._replace(fresh=True)))


@pytest.mark.parametrize(("started", "restarted"), [(0, True), (9, True), (10, False), (11, False)])
async def test_after_a_restart(started: int, restarted: bool) -> None:
    """A message dated before the start plus 10 s is refused, with a server nonce that serves at once."""
    stores = await _ready(started)
    if not restarted:
        await _stage(stores)(call(sign(head())))
        return
    with refused("clock-skew/restart", "created") as caught:
        await _stage(stores)(call(sign(head())))
    nonce = _asked(caught.value).split(';nonce="')[1].split('"')[0]
    await _stage(stores)(call(sign(head(), nonce=nonce)))


async def test_keys_enrolled_after_the_start() -> None:
    """No earlier message of a key enrolled since the start can be missing from the memory."""
    stores = Stores(0)
    await stores.enrol(at=NOW)
    await _stage(stores)(call(sign(head())))


async def test_keys_that_may_not_sign() -> None:
    """Unknown, revoked and expired keys, and what is no thumbprint, get one answer; the ledger knows the cause."""
    stores = await _ready()
    words = set()

    async def refusal(cause: str, keyid: str) -> None:
        with refused(f"key-unknown/{cause}", "key") as caught:
            await _stage(stores)(call(sign(head(), keyid=keyid)))
        words.add((caught.value.detail, _asked(caught.value), caught.value.status))
        assert caught.value.members == {}

    await refusal("unknown", NEW.keyid)
    await refusal("unknown", "../" + CLIENT.keyid)
    await stores.directory.rotate(CLIENT.keyid, load_verifier(NEW.jwk), "k", NOW - 10, 11)
    await _stage(stores)(call(sign(head())))
    stores = await _ready()
    await stores.directory.rotate(CLIENT.keyid, load_verifier(NEW.jwk), "k", NOW - 10, 10)
    await refusal("expired", CLIENT.keyid)
    await stores.directory.revoke(CLIENT.keyid)
    await refusal("revoked", CLIENT.keyid)
    assert len(words) == 1


async def test_the_key_fixes_the_algorithm() -> None:
    """alg names the key's own algorithm or the call is refused, before time is judged."""
    with refused("algorithm-not-allowed/other-than-key", "algorithm"):
        await _stage(await _ready())(call(sign(head(), alg="hmac-sha256", created=5)))


async def test_the_key_comes_before_the_algorithm() -> None:
    """An unknown key is refused as such, whatever algorithm is named."""
    with refused("key-unknown/unknown", "key"):
        await _stage(await _ready())(call(sign(head(), NEW, alg="hmac-sha256")))


async def test_time_comes_before_the_signature() -> None:
    """A message outside its window is refused as such, though its signature does not verify."""
    with refused("clock-skew/late", "created"):
        await _stage(await _ready())(call(sign(head(), NEW, keyid=CLIENT.keyid, created=NOW - 60)))


@pytest.mark.parametrize("missing", COVERED)
async def test_the_four_are_covered(missing: str) -> None:
    """Without one of the four components that are always covered the signature is not enough."""
    covered = [name for name in COVERED if name != missing]
    with refused("components-insufficient/not-covered", "components") as caught:
        await _stage(await _ready())(call(sign(head(), covered=covered)))
    assert caught.value.detail == f'Not covered: "{missing}".'


async def test_unsigned() -> None:
    """A call that nobody signed learns what to sign, and no nonce."""
    with refused("signature-missing/absent", "parse") as caught:
        await _stage(await _ready())(call(head(body=BODY)))
    assert _asked(caught.value) == (
        'sig=("@method" "@authority" "@path" "@query" "content-type" "content-digest");created;expires;keyid;nonce'
        ';tag="sealwire"'
    )


def _moved() -> Any:
    """A call whose path differs from what was signed."""
    request = sign(head())
    return call(change(replace(request, target=b"/v1/other"), {}))


async def test_a_changed_message() -> None:
    """A mismatch tells for each line its fingerprint, by which the caller finds the one that differs."""
    sent = _moved()
    with refused("signature-mismatch/does-not-verify", "signature") as caught:
        await _stage(await _ready())(sent)
    lines: Any = caught.value.members["base_lines"]
    octets = b64decode(sent.request.fields[b"signature"][5:-1])
    path = hashlib.sha256(octets + b'"@path": /v1/other').hexdigest()[:8]
    assert {"component": '"@path"', "sha256": path} in lines
    assert [line["component"] for line in lines] == [f'"{name}"' for name in (*COVERED, "@signature-params")]


async def test_fingerprints_can_be_off() -> None:
    """With the setting off no line is told."""
    with refused("signature-mismatch/does-not-verify", "signature") as caught:
        await _stage(await _ready(), lines=False)(_moved())
    assert caught.value.members == {}


async def test_fingerprints_are_limited() -> None:
    """One address is told its lines 30 times in a minute, as is the /64 of one IPv6 subscriber; another its own."""
    stage = _stage(await _ready())
    told = []
    for address in ["192.0.2.1"] * 31 + [f"2001:db8:0:1::{i}" for i in range(31)] + ["192.0.2.2"]:
        sent = _moved()
        sent.address = address
        with refused("signature-mismatch/does-not-verify", "signature") as caught:
            await stage(sent)
        told.append("base_lines" in caught.value.members)
    assert told == ([True] * 30 + [False]) * 2 + [True]


async def _with_session(age: float = 1000) -> Stores:
    stores = await _ready(age)
    await stores.sessions.keep(SESSION, b"s" * 32, b"context")
    return stores


@pytest.mark.parametrize("alg", ["", "hmac-sha256"])
async def test_by_the_session_s_key(alg: str) -> None:
    """Where the rule lets it, a session's key is proof of the client's key that opened it."""
    stores = await _with_session()
    sent = sign(head(body=BODY), keyid=SESSION.id, secret=KEYS.c2s_mac, alg=alg)
    proof = await _stage(stores)(call(sent, SEALED))
    assert proof == Proof(proof.claim, await stores.directory.key(CLIENT.keyid), NOW + 60, 20, session=SESSION)
    assert proof.keyid == SESSION.id


async def test_the_client_s_key_on_a_sealed_rule() -> None:
    """The client's own key signs there as well, and no session is proven by it."""
    proof = await _stage(await _with_session())(call(sign(head()), SEALED))
    assert (proof.keyid, proof.session) == (CLIENT.keyid, None)


@pytest.mark.parametrize(
    ("secret", "keyid"),
    [(KEYS.s2c_mac, "ses_1"), (KEYS.commitment, "ses_1"), (b"x" * 32, "ses_1"), (KEYS.c2s_mac, CLIENT.keyid)],
)
async def test_another_key_of_the_session(secret: bytes, keyid: str) -> None:
    """Only c2s mac signs requests, and only under the session's name: the reply's key is no request's."""
    with refused("signature-mismatch/does-not-verify", "signature"):
        await _stage(await _with_session())(call(sign(head(), keyid=keyid, secret=secret), SEALED))


async def test_a_client_s_signature_under_a_session_s_name() -> None:
    """A signature by the client's key under the session's name does not verify, and no other algorithm is tried."""
    stage = _stage(await _with_session())
    with refused("signature-mismatch/does-not-verify", "signature"):
        await stage(call(sign(head(), keyid=SESSION.id), SEALED))
    with refused("algorithm-not-allowed/other-than-key", "algorithm"):
        await stage(call(sign(head(), keyid=SESSION.id, alg="ed25519"), SEALED))


async def test_rules_that_want_the_client_s_key() -> None:
    """Without session_mac a session's signature is not judged at all; an unknown session is an unknown key."""
    stage = _stage(await _with_session())
    for rule in (RULE, SEALED._replace(session_mac=False)):
        with refused("algorithm-not-allowed/session-mac", "algorithm") as caught:
            await stage(call(sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac), rule))
        assert caught.value.status == 401
        with refused("key-unknown/session", "key"):
            await stage(call(sign(head(), keyid="ses_2", secret=KEYS.c2s_mac), rule))


async def test_a_stranger_learns_nothing_of_sessions() -> None:
    """An unknown or ended session is answered as an unknown key is."""
    stores = await _with_session()
    await stores.sessions.end(SESSION.id)
    said = set()
    for keyid, cause in ((SESSION.id, "session"), ("ses_", "session"), (NEW.keyid, "unknown")):
        with refused(f"key-unknown/{cause}", "key") as caught:
            await _stage(stores)(call(sign(head(), keyid=keyid, secret=KEYS.c2s_mac), SEALED))
        said.add((caught.value.slug, caught.value.detail, caught.value.status, _asked(caught.value)))
        assert caught.value.members == {}
    assert len(said) == 1


async def test_a_session_ends_with_its_key() -> None:
    """A session whose key was revoked, or is unknown by now, proves nothing."""
    stores = await _with_session()
    await stores.directory.revoke(CLIENT.keyid)
    with refused("key-unknown/revoked", "key"):
        await _stage(stores)(call(sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac), SEALED))
    stores = Stores()
    await stores.sessions.keep(SESSION, b"s" * 32, b"context")
    with refused("key-unknown/unknown", "key"):
        await _stage(stores)(call(sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac), SEALED))


async def test_a_session_is_younger_than_the_start() -> None:
    """No message of a session is older than the memory of nonces: it is not asked to repeat with a server nonce."""
    stores = await _with_session(0)
    await _stage(stores)(call(sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac), SEALED))
    with refused("clock-skew/restart", "created"):
        await _stage(stores)(call(sign(head()), SEALED))


async def test_time_and_nonces_of_a_session() -> None:
    """The window holds for it too, and the server nonce that is offered is the session's own."""
    stage = _stage(await _with_session())
    late = sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac, created=NOW - 60)
    with refused("clock-skew/late", "created") as caught:
        await stage(call(late, SEALED))
    nonce = _asked(caught.value).split(';nonce="')[1].split('"')[0]
    await stage(call(sign(head(), keyid=SESSION.id, secret=KEYS.c2s_mac, created=5, nonce=nonce), SEALED))
    with refused("clock-skew/late", "created"):
        await stage(call(sign(head(), created=5, nonce=nonce), SEALED))
