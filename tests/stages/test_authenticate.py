"""Authenticate: the proven key makes the caller."""

from typing import Any, cast

import pytest

from sealwire.call import Caller, FirstSeen, Proof
from sealwire.credentials import Credentials
from sealwire.stages.authenticate import Authenticate
from tests.stages.made import CLIENT, RULE, Stores, call, head, record, refused


def authenticate(stores: Stores) -> Authenticate:
    """The stage over these stores."""
    return Authenticate(stores.directory, Credentials(stores.apikeys, stores.keyring))


_NO_CLAIM = cast(Any, None)


async def test_the_key_makes_the_caller() -> None:
    """Client with its name, user and scopes are those of the key's record."""
    proof = Proof(_NO_CLAIM, record(user="usr_1"), 0, 20)
    caller = await authenticate(Stores())(call(None, *_evidence(proof)))
    assert caller == Caller("cli_a", "usr_1", frozenset(("orders",)), CLIENT.keyid, "signature", "Acme")


async def test_an_invitation_is_nobody() -> None:
    """A proof without a key makes nobody a caller."""
    with refused("internal/evidence"):
        await authenticate(Stores())(call(None, *_evidence(Proof(_NO_CLAIM, None, 0, 20, "inv"))))


async def test_not_before_the_nonce() -> None:
    """Without a claimed nonce there is no caller, whoever signed."""
    with pytest.raises(KeyError):
        await authenticate(Stores())(call(None, *_evidence(Proof(_NO_CLAIM, record(), 0, 20))[:2]))


async def test_a_key_that_ends_while_its_body_comes() -> None:
    """With a body the key is asked for again: revoked by then, it makes nobody; without one it is as verified."""
    stores = Stores()
    proof = Proof(_NO_CLAIM, await stores.enrol(), 0, 20)
    judged, with_body = authenticate(stores), head(body=b"{}")
    assert (await judged(call(with_body, *_evidence(proof)))).key == CLIENT.keyid
    await stores.directory.revoke(CLIENT.keyid)
    with refused("key-unknown/revoked", "key"):
        await judged(call(with_body, *_evidence(proof)))
    assert (await judged(call(None, *_evidence(proof)))).key == CLIENT.keyid


def _evidence(proof: Proof) -> tuple[Any, ...]:
    return RULE, proof, FirstSeen()
