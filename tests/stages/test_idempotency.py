"""Idempotency: what the key of a call says."""

from typing import Any

import pytest

from sealwire.call import Body, Call, Idempotent, Plain
from sealwire.ports import Decision, IdempotencyClaim
from sealwire.protocol.message import Reply
from sealwire.protocol.reply import pack
from sealwire.stages.idempotency import Idempotency
from tests.stages.made import BODY, CALLER, NOW, RULE, SEALED, SESSION, Stores, call, head, refused, seal

KEY = b'"k-1"'
DECISION = Decision("req_0", NOW, "entered", "ok", "cli_a", "", "key", "192.0.2.1", "POST", "/v1/orders", "p")
REPLY = Reply(201, ((b"content-type", b"text/plain"),), b"made")


def _call(sent: bytes | None = KEY, *, caller: Any = CALLER, body: bytes = BODY, **more: Any) -> Call:
    request = head(more.get("method", "POST"), more.get("target", b"/v1/orders"), BODY, {b"idempotency-key": sent})
    if "kind" in more:
        request = head(body=BODY, more={b"idempotency-key": sent, b"content-type": more["kind"]})
    return call(request, more.get("rule", RULE), caller, Body(body))


async def _claimed(stores: Stores) -> Idempotent:
    found = await Idempotency(stores.ledger, stores.keyring)(_call())
    await stores.ledger.record(DECISION, None, IdempotencyClaim(found.scope, found.key, found.fingerprint))
    return found


async def test_no_key() -> None:
    """Without a key nothing is remembered, and a rule that demands one refuses."""
    stores = Stores()
    stage = Idempotency(stores.ledger, stores.keyring)
    assert await stage(_call(None)) == Idempotent("", b"", b"", None)
    with refused("idempotency-missing/absent", "policy") as caught:
        await stage(_call(None, rule=RULE._replace(idempotency_required=True)))
    assert caught.value.status == 400


@pytest.mark.parametrize("sent", [b"", b"a b", b"\xe9", b"a\x7f", b"a" * 256])
async def test_keys_of_another_form(sent: bytes) -> None:
    """A key is 1 to 255 visible ASCII characters."""
    stores = Stores()
    with refused("request-invalid/idempotency-key", "policy"):
        await Idempotency(stores.ledger, stores.keyring)(_call(sent))


async def test_a_fresh_key() -> None:
    """A fresh key of 255 characters stores nothing yet; neither key nor content stands in what is kept."""
    stores = Stores()
    found = await Idempotency(stores.ledger, stores.keyring)(_call(b"~" * 255))
    assert (found.scope, found.stored) == ("cli_a ", None)
    assert len(found.key) == len(found.fingerprint) == 32


async def test_the_answer_is_given_again() -> None:
    """The same request gets the answer stored for it, until 24 hours are over."""
    stores = Stores()
    stage = Idempotency(stores.ledger, stores.keyring)
    found = await _claimed(stores)
    await stores.ledger.finish(found.scope, found.key, stores.keyring.wrap(pack(REPLY), found.scope.encode()))
    stores.clock.at = NOW + 86399
    assert (await stage(_call())).stored == REPLY
    stores.clock.at = NOW + 86400
    assert (await stage(_call())).stored is None


@pytest.mark.parametrize(("age", "cause"), [(0, "running"), (29, "running"), (30, "unknown")])
async def test_no_recorded_end(age: int, cause: str) -> None:
    """A key without a recorded end answers that the outcome is unknown, and is not entered again."""
    stores = Stores()
    await _claimed(stores)
    again = _call()
    again.now = NOW + age
    with refused(f"idempotency-in-progress/{cause}", "policy") as caught:
        await Idempotency(stores.ledger, stores.keyring)(again)
    assert caught.value.members == {"outcome": "unknown"}


@pytest.mark.parametrize(
    "other",
    [
        {"method": "PUT"},
        {"target": b"/v1/other"},
        {"target": b"/v1/orders?a=1"},
        {"kind": b"application/x+json"},
        {"body": b'{"amount":"2"}'},
    ],
)
async def test_another_request_under_the_key(other: dict[str, Any]) -> None:
    """Method, path, query, content type and content each make another request of it."""
    stores = Stores()
    await _claimed(stores)
    with refused("idempotency-conflict/fingerprint", "policy"):
        await Idempotency(stores.ledger, stores.keyring)(_call(**other))


async def test_the_scope() -> None:
    """Another client or another user never meets this key's answer."""
    stores = Stores()
    stage = Idempotency(stores.ledger, stores.keyring)
    found = await _claimed(stores)
    for caller in (CALLER._replace(client="cli_b"), CALLER._replace(user="usr_1")):
        other = await stage(_call(caller=caller))
        assert other.stored is None
        assert other.key != found.key


async def test_of_a_sealed_call_the_plaintext_counts() -> None:
    """The same plaintext sealed again, in another session too, is the same request; another one or its type is not."""
    stores = Stores()
    stage = Idempotency(stores.ledger, stores.keyring)

    async def read(session: str, content: bytes, kind: bytes) -> Idempotent:
        body = seal(content, kind.decode(), SESSION._replace(id=session))
        request = head(body=body, more={b"idempotency-key": KEY, b"content-type": b"application/jose"})
        plain = Plain(content, kind)
        return await stage(call(request, SEALED, CALLER, Body(body), plain))

    first = await read("ses_1", BODY, b"application/json")
    await stores.ledger.record(DECISION, None, IdempotencyClaim(first.scope, first.key, first.fingerprint))
    with refused("idempotency-in-progress/running", "policy"):
        await read("ses_2", BODY, b"application/json")
    for content, kind in ((b"{}", b"application/json"), (BODY, b"application/json; charset=utf-8")):
        with refused("idempotency-conflict/fingerprint", "policy"):
            await read("ses_1", content, kind)
