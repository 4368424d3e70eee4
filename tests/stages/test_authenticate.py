"""Authenticate: the proven key makes the caller."""

from typing import Any, cast

import pytest

from sealwire.call import Caller, FirstSeen, Proof
from sealwire.credentials import Credentials, digest_of
from sealwire.errors import Refusal
from sealwire.ports import Decision
from sealwire.ports.apikeys import Client, NewApiKey
from sealwire.protocol import apikey
from sealwire.protocol.ratelimit import Limit
from sealwire.records import ApiKeyRecord, Bounds
from sealwire.stages.authenticate import Authenticate, AuthenticateBearer
from tests.stages.made import CLIENT, NOW, RULE, Stores, call, head, record, refused


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


# --- API keys ---------------------------------------------------------------------------------------------------------

KEYED = RULE._replace(profile="keyed")
DECISION = Decision("req_1", NOW, "entered", "apikey", "", "", "", "", "", "", "")
KEY, BESIDE = apikey.write("live", b"k" * 32), apikey.write("live", b"b" * 32)
AROUND = Bounds("cli_a", ("192.0.2.0/24",), (Limit(9, 60, "client-own"),))
OWN = Bounds("apk_1", (), (Limit(5, 60, "key-own"),))


async def given(stores: Stores, credential: str, client: str = "cli_a", name: str = "apk_1", **changes: Any) -> None:
    """An API key that reads and orders, of a client that may read and trade."""
    owner = Client("Acme", "usr_1", frozenset(("read", "orders", "trade")), Bounds(client, (), ()), NOW)
    if client == "cli_a":
        owner = owner._replace(bounds=AROUND)
    new = NewApiKey(
        client, "screen", frozenset(("read", "orders", "other")), OWN._replace(owner=name),
        digest_of(stores.keyring, credential.encode()), NOW, NOW + 900,
    )._replace(**changes)  # fmt: skip
    await stores.apikeys.add_apikey(new, owner, DECISION)


def sent(credential: str | bytes, scheme: bytes = b"Bearer ") -> Any:
    """A call's head with this in Authorization."""
    said = credential if isinstance(credential, bytes) else credential.encode()
    return head("GET", more={b"authorization": scheme + said})


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER  "])
async def test_an_api_key_makes_the_caller(scheme: bytes) -> None:
    """Client, user, what both may, and what holds both closer: known by an API key, which is named by its id."""
    stores = Stores()
    await given(stores, KEY)
    caller = await AuthenticateBearer(Credentials(stores.apikeys, stores.keyring))(call(sent(KEY, scheme), KEYED))
    assert caller == Caller(
        "cli_a", "usr_1", frozenset(("read", "orders")), "apk_1", "api-key", "Acme", (OWN, AROUND), "apk_1"
    )
    assert KEY not in repr(caller)


async def broken(stores: Stores) -> dict[str, tuple[bytes, str]]:
    """Keys that open nothing, each with its cause and the id that the log tells."""
    names = ("revoked", "frozen", "expired", "retired")
    keys = {name: apikey.write("live", name.encode().ljust(32)) for name in names}
    for name, key in keys.items():
        ends = NOW if name == "expired" else NOW + 900
        await given(stores, key, f"cli_{name}", f"apk_{name}", expires_at=ends)
    await stores.apikeys.revoke_apikey("apk_revoked", DECISION)
    await stores.apikeys.rotate_apikey("apk_retired", b"n" * 32, 0, NOW + 900, DECISION)
    await stores.approvals.freeze("cli_frozen", "usr_1", DECISION)
    return {
        **{name: (key.encode(), f"apk_{name}") for name, key in keys.items()},
        "unknown": (BESIDE.encode(), ""),
        "form": (KEY.encode()[:-1] + b"_", ""),
    }


CAUSES = ("revoked", "frozen", "expired", "retired", "unknown", "form")


@pytest.mark.parametrize("cause", CAUSES)
async def test_one_that_opens_nothing(cause: str) -> None:
    """The ledger hears why, and of which key where that is known; the caller hears the same whatever the cause."""
    stores = Stores()
    credential, claimed = (await broken(stores))[cause]
    credentials = Credentials(stores.apikeys, stores.keyring)
    with refused(f"token-invalid/{cause}") as alone:
        await AuthenticateBearer(credentials)(call(sent(credential), KEYED))
    with refused(f"token-invalid/{cause}") as beside:
        await Authenticate(stores.directory, credentials)(
            call(sent(credential), *_evidence(Proof(_NO_CLAIM, record(), 0, 20)))
        )
    told = Refusal("token-invalid", "unknown")
    for caught in (alone.value, beside.value):
        assert (caught.detail, caught.status, caught.members, caught.fields) == (told.detail, 401, {}, ())
        assert caught.claimed == claimed


@pytest.mark.parametrize("cause", [*CAUSES, "good"])
async def test_the_same_steps_for_every_key(cause: str) -> None:
    """Each is looked for once, by a keyed digest that is made of all of it, before anything else is said of it."""
    stores = Stores()
    await given(stores, KEY)
    credential = KEY.encode() if cause == "good" else (await broken(stores))[cause][0]
    asked, digested = [], []
    find, digest = stores.apikeys.apikey, stores.keyring.digest

    async def looked(key: bytes) -> ApiKeyRecord | None:
        asked.append(key)
        return await find(key)

    def made(data: bytes) -> bytes:
        digested.append(data)
        return digest(data)

    stores.apikeys.apikey = looked  # type: ignore[method-assign,assignment]
    stores.keyring.digest = made  # type: ignore[method-assign]
    judged = AuthenticateBearer(Credentials(stores.apikeys, stores.keyring))(call(sent(credential), KEYED))
    if cause == "good":
        await judged
    else:
        with refused(f"token-invalid/{cause}"):
            await judged
    assert (asked, digested) == ([digest(b"apikey\0" + credential)], [b"apikey\0" + credential])


async def test_no_key_at_all() -> None:
    """Who sends none hears that, and is no failed try; who sends another's scheme is looked for as it is."""
    stores = Stores()
    await given(stores, KEY)
    stage = AuthenticateBearer(Credentials(stores.apikeys, stores.keyring))
    with refused("token-invalid/absent") as caught:
        await stage(call(head("GET"), KEYED))
    assert caught.value.detail == "No API key was sent."
    for scheme in (b"Basic ", b"DPoP ", b"Bearer\t"):
        with refused("token-invalid/form"):
            await stage(call(sent(KEY, scheme), KEYED))


async def test_an_api_key_beside_a_signature_narrows() -> None:
    """The signature makes the caller; the API key takes away scopes, adds its bounds, and is named."""
    stores = Stores()
    await given(stores, BESIDE)
    stage = Authenticate(stores.directory, Credentials(stores.apikeys, stores.keyring))
    signing = record(
        user="usr_1", scopes=frozenset(("orders", "trade")), addresses=AROUND.addresses, limits=AROUND.limits
    )
    proof = Proof(_NO_CLAIM, signing, 0, 20)
    alone = await stage(call(head("GET"), *_evidence(proof)))
    assert (alone.scopes, alone.bounds, alone.apikey) == (frozenset(("orders", "trade")), (AROUND,), "")
    caller = await stage(call(sent(BESIDE), *_evidence(proof)))
    assert caller == alone._replace(scopes=frozenset(("orders",)), bounds=(AROUND, OWN), apikey="apk_1")
    assert (caller.key, caller.assurance) == (CLIENT.keyid, "signature")


async def test_another_clients_api_key_beside_a_signature() -> None:
    """It is refused, though it is good, in the words of one that opens nothing."""
    stores = Stores()
    await given(stores, BESIDE, "cli_b", "apk_b")
    stage = Authenticate(stores.directory, Credentials(stores.apikeys, stores.keyring))
    proof = Proof(_NO_CLAIM, record(), 0, 20)
    with refused("token-invalid/other-client") as caught:
        await stage(call(sent(BESIDE), *_evidence(proof)))
    assert caught.value.detail == Refusal("token-invalid", "unknown").detail


@pytest.mark.parametrize("field", [b"Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln", b"Basic YTpi", b"DPoP x", b"Bearer ", b""])
async def test_other_bearers_are_the_apps(field: bytes) -> None:
    """What is not meant to be one of ours is not looked for, and changes nothing."""
    stores = Stores()
    stores.apikeys.apikey = None  # type: ignore[method-assign,assignment]  # whoever asks it fails
    stage = Authenticate(stores.directory, Credentials(stores.apikeys, stores.keyring))
    proof = Proof(_NO_CLAIM, record(), 0, 20)
    plain = await stage(call(head("GET"), *_evidence(proof)))
    assert await stage(call(sent(field, b""), *_evidence(proof))) == plain


async def test_bounds_that_bind_nothing_are_none() -> None:
    """A client without addresses and limits of its own has no bounds."""
    for changes, bounds in (
        ({}, ()),
        ({"addresses": ("192.0.2.0/24",)}, (Bounds("cli_a", ("192.0.2.0/24",), ()),)),
        ({"limits": AROUND.limits}, (Bounds("cli_a", (), AROUND.limits),)),
    ):
        made: Any = changes
        proof = Proof(_NO_CLAIM, record(**made), 0, 20)
        assert (await authenticate(Stores())(call(None, *_evidence(proof)))).bounds == bounds
