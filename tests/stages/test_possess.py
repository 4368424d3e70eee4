"""Possess: the new key signed the very message that offers it."""

import json
from typing import Any

import pytest

from sealwire.call import Body, Call, Proof
from sealwire.protocol import profile
from sealwire.protocol.jwk import load_verifier
from sealwire.stages.possess import Possess
from tests.stages.made import CLIENT, NEW, NOW, OTHER, RULE, call, head, record, refused, sign

OFFER = json.dumps({"key": NEW.jwk, "name": "laptop"}).encode()


def _call(content: bytes = OFFER, signer: Any = NEW, **possession: Any) -> Call:
    said = {"tag": "sealwire-possession", "label": "pos", **possession}
    offered = sign(head(body=OFFER), signer, **said)
    request = sign(offered, CLIENT, label="by", nonce=OTHER, bind="pos")
    claim = profile.claim(request, "sealwire", profile.Plans(), possession="pos")
    return call(request, RULE, Proof(claim, record(), NOW + 60, 20), Body(content))


@pytest.mark.parametrize("alg", ["", "ed25519"])
async def test_possessed(alg: str) -> None:
    """The key that signed and is offered is possessed."""
    possession = await Possess()(_call(alg=alg))
    assert possession.verifier == load_verifier(NEW.jwk)
    assert possession.claim.keyid == NEW.keyid


async def test_json_with_two_readings() -> None:
    """An offer with two readings is refused before any key is read."""
    with refused("request-invalid/json") as caught:
        await Possess()(_call(b'{"key":1,"key":2}'))
    assert caught.value.members["errors"]


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"key":1}'])
async def test_no_key_is_offered(content: bytes) -> None:
    """An offer without a usable key is refused, pointing at it."""
    with refused("request-invalid/enrolment") as caught:
        await Possess()(_call(content))
    errors: Any = caught.value.members["errors"]
    assert errors[0]["pointer"] == "/key"
    assert caught.value.status == 422


@pytest.mark.parametrize("times", [{"created": NOW - 1, "expires": NOW + 60}, {"expires": NOW + 61}])
async def test_other_times(times: dict[str, Any]) -> None:
    """created and expires of both signatures are equal."""
    with refused("signature-malformed/possession-times", "parse"):
        await Possess()(_call(**times))


async def test_another_keyid() -> None:
    """The keyid of the possession signature is the thumbprint of the key offered."""
    with refused("signature-mismatch/possession", "signature"):
        await Possess()(_call(keyid=CLIENT.keyid))


async def test_another_algorithm() -> None:
    """alg names the new key's own algorithm."""
    with refused("algorithm-not-allowed/other-than-key", "algorithm"):
        await Possess()(_call(alg="rsa-pss-sha512"))


async def test_a_key_that_is_not_theirs() -> None:
    """Who does not hold the key cannot enrol it."""
    with refused("signature-mismatch/does-not-verify", "signature"):
        await Possess()(_call(signer=CLIENT, keyid=NEW.keyid))
