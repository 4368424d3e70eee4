"""Permit: who allows a new key, an operator by invitation or the client by its active key."""

from typing import Any

import pytest

from sealwire.protocol import servernonce
from sealwire.protocol.jwk import load_verifier
from sealwire.protocol.message import Request
from sealwire.stages.permit import Permit
from tests.stages.made import BODY, CLIENT, NEW, NOW, OTHER, Stores, call, entropy, head, refused, sign

SECRET = b"i" * 32


def _offer(created: int = NOW) -> Request:
    return sign(head(body=BODY), NEW, tag="sealwire-possession", label="pos", created=created)


def _invited(keyid: str = "inv1", created: int = NOW, **more: Any) -> Request:
    said = {"tag": "sealwire-invitation", "bind": "pos", "secret": SECRET, "nonce": OTHER, "label": "by", **more}
    return sign(_offer(created), keyid=keyid, created=created, **said)


def _rotated(created: int = NOW, **more: Any) -> Request:
    return sign(_offer(created), created=created, **{"bind": "pos", "nonce": OTHER, "label": "by", **more})


async def _ready(age: float = 1000) -> Stores:
    stores = Stores(age)
    await stores.enrol()
    await stores.invite("inv1", SECRET)
    return stores


def _stage(stores: Stores) -> Permit:
    return Permit(stores.directory, stores.nonces, stores.keyring, entropy)


@pytest.mark.parametrize("alg", ["", "hmac-sha256"])
async def test_by_invitation(alg: str) -> None:
    """An unspent invitation's HMAC permits, and names no key."""
    proof = await _stage(await _ready())(call(_invited(alg=alg)))
    assert (proof.key, proof.keyid, proof.invitation) == (None, "inv1", "inv1")
    assert (proof.last_valid, proof.remember_seconds) == (NOW + 60, 20)


@pytest.mark.parametrize("alg", ["", "ed25519"])
async def test_by_the_active_key(alg: str) -> None:
    """The client's active key permits its successor."""
    stores = await _ready()
    proof = await _stage(stores)(call(_rotated(alg=alg)))
    assert (proof.key, proof.invitation) == (await stores.directory.key(CLIENT.keyid), "")


@pytest.mark.parametrize("request_", [_invited(alg="ed25519"), _rotated(alg="hmac-sha256")])
async def test_the_algorithm_is_fixed(request_: Request) -> None:
    """An invitation is hmac-sha256, a key its own algorithm."""
    with refused("algorithm-not-allowed/other-than-key", "algorithm"):
        await _stage(await _ready())(call(request_))


@pytest.mark.parametrize(
    "request_",
    [_invited(secret=b"x" * 32), sign(_offer(), NEW, keyid=CLIENT.keyid, bind="pos", label="by", nonce=OTHER)],
)
async def test_another_secret_or_key(request_: Request) -> None:
    """What was made under another secret or key does not verify."""
    with refused("signature-mismatch/does-not-verify", "signature"):
        await _stage(await _ready())(call(request_))


async def test_an_unbound_possession() -> None:
    """The permit covers the possession signature, so that neither goes with another message."""
    for request in (_invited(bind=""), _rotated(bind="")):
        with refused("components-insufficient/binding-missing", "components"):
            await _stage(await _ready())(call(request))


async def test_signatures_that_are_missing() -> None:
    """Possession and permit are both needed."""
    for request in (head(body=BODY), _offer(), sign(head(body=BODY))):
        with refused(f"signature-missing/{'no-tag' if b'signature' in request.fields else 'absent'}", "parse"):
            await _stage(await _ready())(call(request))


async def test_invitations_that_open_nothing() -> None:
    """An unknown invitation, or one past its time, is refused at the very second."""
    stores = await _ready()
    with refused("invitation-invalid/unknown", "key"):
        await _stage(stores)(call(_invited("inv2")))
    await stores.invite("inv3", SECRET, NOW + 1)
    await _stage(stores)(call(_invited("inv3")))
    await stores.invite("inv3", SECRET, NOW)
    with refused("invitation-invalid/expired", "key"):
        await _stage(stores)(call(_invited("inv3")))


@pytest.mark.parametrize(("ago", "spent"), [(0, False), (86399, False), (86400, True)])
async def test_a_spent_invitation(ago: int, spent: bool) -> None:
    """For 24 hours the same enrolment may be asked for again, though the invitation is spent and late."""
    stores = await _ready()
    await stores.invite("inv4", SECRET, NOW - ago + 1)
    await stores.directory.enrol("inv4", load_verifier(NEW.jwk), "cli_b", "n", NOW - ago)
    if spent:
        with refused("invitation-invalid/spent", "key"):
            await _stage(stores)(call(_invited("inv4")))
    else:
        await _stage(stores)(call(_invited("inv4")))


async def test_keys_that_may_not_permit() -> None:
    """Unknown keys, what is no thumbprint, and revoked keys permit nothing."""
    stores = await _ready()
    for keyid in (NEW.keyid, "short"):
        with refused("key-unknown/unknown", "key"):
            await _stage(stores)(call(_rotated(keyid=keyid)))
    await stores.directory.revoke(CLIENT.keyid)
    with refused("key-unknown/revoked", "key"):
        await _stage(stores)(call(_rotated()))


@pytest.mark.parametrize(("shift", "cause"), [(-59, ""), (-60, "late"), (-61, "late"), (10, ""), (11, "early")])
@pytest.mark.parametrize("tag", ["sealwire-invitation", "sealwire"])
async def test_the_window(shift: int, cause: str, tag: str) -> None:
    """The window is that of any signature; who is outside gets a server nonce, which serves at once."""
    stores = await _ready()
    make = _rotated if tag == "sealwire" else _invited
    if not cause:
        await _stage(stores)(call(make(created=NOW + shift)))
        return
    with refused(f"clock-skew/{cause}", "created") as caught:
        await _stage(stores)(call(make(created=NOW + shift)))
    clock = {"server_time": NOW, "skew_ms": shift * 1000, "window": 60}
    assert caught.value.members == {"clock": clock}
    asked = dict(caught.value.fields)[b"accept-signature"].decode()
    assert asked.endswith(f';tag="{tag}"')
    nonce = asked.split(';nonce="')[1].split('"')[0]
    proof = await _stage(stores)(call(make(created=NOW + shift, nonce=nonce)))
    assert proof.last_valid == NOW + servernonce.VALID_SECONDS


@pytest.mark.parametrize(("started", "restarted"), [(9, True), (10, False)])
async def test_after_a_restart(started: int, restarted: bool) -> None:
    """A rotation dated before the start plus 10 s is refused; an invitation opens once and needs no memory."""
    stores = await _ready(started)
    await _stage(stores)(call(_invited()))
    if restarted:
        with refused("clock-skew/restart", "created"):
            await _stage(stores)(call(_rotated()))
    else:
        await _stage(stores)(call(_rotated()))


async def test_only_the_clock_is_told_apart() -> None:
    """What was refused for another reason has no word of the clock."""
    with refused("signature-mismatch/does-not-verify", "signature") as caught:
        await _stage(await _ready())(call(_invited(secret=b"x" * 32)))
    assert "clock" not in caught.value.members


async def test_a_key_of_the_very_start() -> None:
    """A key that was enrolled at the instant of the start has had no message before it."""
    stores = await _ready(5)
    stores.nonces.epoch = (await stores.enrol(NEW, NOW - 5)).enrolled_at
    request = sign(sign(head(body=BODY), CLIENT, tag="sealwire-possession", label="pos"), NEW, bind="pos", label="by",
                   nonce=OTHER)  # fmt: skip
    assert (await _stage(stores)(call(request))).keyid == NEW.keyid
