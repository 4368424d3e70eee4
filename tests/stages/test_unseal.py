"""Unseal: the session that a call names, and what its sealed body says."""

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from sealwire.call import Allowed, Body, Call, Plain, Proof, Session
from sealwire.errors import Refusal
from sealwire.ports import LATE_SECONDS, SessionStore
from sealwire.protocol import envelope, profile
from sealwire.protocol.handshake import Keys
from sealwire.stages.session import JoinSession
from sealwire.stages.unseal import Unseal
from tests.stages.made import (
    BODY,
    KEYS,
    NEW,
    NOW,
    OWNER,
    SEALED,
    SESSION,
    Stores,
    call,
    head,
    record,
    refused,
    seal,
    sign,
)

JOSE = b"application/jose"
OTHERS = SESSION._replace(id="ses_2", keyid=NEW.keyid, keys=Keys(b"o" * 32, b"context"))
SECOND = SESSION._replace(id="ses_3")


class Opening:
    """The two stages in turn, as the page has them."""

    def __init__(self, sessions: SessionStore) -> None:
        self._headers = envelope.Headers()
        self._join = JoinSession(sessions, self._headers)
        self._unseal = Unseal(self._headers)

    async def __call__(self, made: Call) -> Plain:
        joined = await self._join(made)
        return await self._unseal(call(made.request, made.rule, *made.held.values(), joined, now=made.now))


async def _ready() -> Stores:
    stores = Stores()
    for session in (SESSION, OTHERS, SECOND):
        await stores.sessions.keep(session, b"s" * 32, b"context")
    return stores


def _call(body: bytes | None = None, *, target: bytes = b"/v1/orders", **more: Any) -> Call:
    """A proven and allowed call with a body, sealed unless said otherwise: `field`, `signed`, `kind`, `rule`, `now`."""
    body = seal() if body is None else body
    fields: dict[bytes, bytes | None] = {b"content-type": more.get("kind", JOSE) if body else None}
    if "field" in more:
        fields[b"sealwire-session"] = more["field"]
    session: Session | None = more.get("signed")
    if session is None:
        request = sign(head("POST" if body else "GET", target, body, fields))
    else:
        request = sign(head("POST" if body else "GET", target, body, fields), keyid=session.id, secret=KEYS.c2s_mac)
    key = more.get("key", record())
    proof = Proof(profile.claim(request, "sealwire", profile.Plans()), key, NOW + 60, 20, session=session)
    held = (proof, Body(body), more.get("caller", OWNER), Allowed())
    return call(request, more.get("rule", SEALED), *held, now=more.get("now", NOW))


async def _used(stores: Stores, session: Session = SESSION) -> int:
    """How many messages were counted in it."""
    left = 0
    while await stores.sessions.count(session.id) == "counted":
        left += 1
    return session.max_requests - left


async def test_opened() -> None:
    """Content and media type as they were sealed, in the session, counted once."""
    stores = await _ready()
    stage = Opening(stores.sessions)
    assert await stage(_call()) == Plain(BODY, b"application/json")
    assert await stage(_call(seal(b"", "application/json; charset=utf-8"))) == (
        Plain(b"", b"application/json; charset=utf-8")
    )
    assert await _used(stores) == 2


@pytest.mark.parametrize("more", [{"field": b"ses_1"}, {"signed": SESSION}, {"field": b"ses_1", "signed": SESSION}])
async def test_all_names_agree(more: dict[str, Any]) -> None:
    """Envelope, field and signature may each name the session; without a body one of the latter two does."""
    stage = Opening((await _ready()).sessions)
    assert await stage(_call(**more)) == Plain(BODY, b"application/json")
    assert await stage(_call(b"", **more)) == Plain(b"", b"")


@pytest.mark.parametrize(
    "made",
    [
        {"field": b"ses_3"},
        {"field": b""},
        {"field": b"SES_1"},
        {"signed": SECOND},
        {"body": b"", "field": b"ses_1", "signed": SECOND},
        {"field": b"ses_3", "signed": SECOND},
    ],
)
async def test_two_sessions(made: dict[str, Any]) -> None:
    """Names that differ, though both sessions are the caller's own: no choice is made between them, nothing counted."""
    stores = await _ready()
    with refused("envelope-malformed/two-sessions", "policy") as caught:
        await Opening(stores.sessions)(_call(**made))
    assert caught.value.status == 400
    assert await _used(stores) == await _used(stores, SECOND) == 0


@pytest.mark.parametrize(
    ("frozen_at", "over"),
    [(-1.0, False), (NOW - 10.001, False), (NOW - 10.0, True), (NOW - 9.999, True), (NOW - 1.0, True)],
)
async def test_of_before_the_key_was_frozen(frozen_at: float, *, over: bool) -> None:
    """A session that was open when its key was frozen stays over, thawed or not; nothing is counted in it."""
    stores = Stores()
    await stores.sessions.keep(SESSION._replace(opened_at=NOW - 10.0), b"s" * 32, b"context")
    thawed = _call(key=record(frozen_at=frozen_at))
    if over:
        with refused("session-unknown/unknown", "policy"):
            await Opening(stores.sessions)(thawed)
        assert await _used(stores) == 0
    else:
        assert await Opening(stores.sessions)(thawed) == Plain(BODY, b"application/json")


async def test_of_nobody_s_key() -> None:
    """What an invitation proved is in no session."""
    with refused("session-unknown/unknown", "policy"):
        await Opening((await _ready()).sessions)(_call(key=None))


async def test_no_session() -> None:
    """A call without body, field or session's signature names none."""
    with refused("encryption-required/no-session", "policy") as caught:
        await Opening((await _ready()).sessions)(_call(b""))
    assert caught.value.status == 400


@pytest.mark.parametrize("kind", [b"application/json", b"application/jose; a=b", b"Application/JOSE"])
@pytest.mark.parametrize("body", [BODY, seal()])
async def test_in_clear(kind: bytes, body: bytes) -> None:
    """A body that is not announced as sealed is not opened, whatever it is, and with whatever session beside it."""
    stores = await _ready()
    for more, cause in (({}, "no-session"), ({"field": b"ses_1"}, "plaintext"), ({"signed": SESSION}, "plaintext")):
        with refused(f"encryption-required/{cause}", "policy"):
            await Opening(stores.sessions)(_call(body, kind=kind, **more))


@pytest.mark.parametrize("body", [BODY, b"a.b.c.d.e", seal() + b".", seal()[:-1] + b"="])
async def test_malformed(body: bytes) -> None:
    """What cannot be read is refused before any session is asked for, or counted."""
    stores = await _ready()
    with pytest.raises(Refusal, match="envelope-malformed"):
        await Opening(stores.sessions)(_call(body, field=b"ses_1"))
    assert await _used(stores) == 0


@pytest.mark.parametrize("session", [OTHERS, SESSION._replace(id="ses_9"), SESSION._replace(id="")])
async def test_another_s_session(session: Session) -> None:
    """Another key's session and none at all are one answer; the owner's count is untouched."""
    stores = await _ready()
    for made in (_call(seal(session=session)), _call(b"", field=session.id.encode())):
        with refused("session-unknown/unknown", "policy") as caught:
            await Opening(stores.sessions)(made)
        assert (caught.value.status, caught.value.members) == (401, {})
    assert await _used(stores, OTHERS) == 0


async def test_a_session_of_another_key_of_the_same_client() -> None:
    """A session belongs to the key that opened it, not to its client."""
    stores = await _ready()
    with refused("session-unknown/unknown", "policy"):
        await Opening(stores.sessions)(_call(caller=OWNER._replace(key=NEW.keyid)))


@pytest.mark.parametrize(
    ("late", "code"),
    [(-0.5, ""), (0, "session-expired/time"), (LATE_SECONDS - 1, "session-expired/time"),
     (LATE_SECONDS, "session-unknown/unknown")],
)  # fmt: skip
async def test_its_end(late: float, code: str) -> None:
    """From its last instant on it has expired, for a while said so, and then it is unknown."""
    stores = await _ready()
    stores.clock.at = SESSION.expires_at + late
    made = _call(now=SESSION.expires_at + late)
    if not code:
        assert await Opening(stores.sessions)(made) == Plain(BODY, b"application/json")
        return
    with refused(code, "policy") as caught:
        await Opening(stores.sessions)(made)
    assert caught.value.status == 401


async def test_its_last_message() -> None:
    """As many as it may carry, with bodies and without; then it is spent."""
    stores = await _ready()
    stage = Opening(stores.sessions)
    for i in range(SESSION.max_requests):
        await stage(_call() if i % 2 else _call(b"", field=b"ses_1"))
    for made in (_call(), _call(b"", field=b"ses_1")):
        with refused("session-expired/spent", "policy"):
            await stage(made)


async def test_what_does_not_open() -> None:
    """A body under other keys, or sealed as a reply, is decrypt-failed, and counted: it was a proven message."""
    stores = await _ready()
    swapped = Keys(b"x" * 32, b"context")
    swapped.c2s = KEYS.s2c
    for keys in (OTHERS.keys, swapped):
        with refused("decrypt-failed/decryption", "policy") as caught:
            await Opening(stores.sessions)(_call(seal(session=SESSION._replace(keys=keys))))
        assert caught.value.status == 400
    assert await _used(stores) == 2


@pytest.mark.parametrize("kind", ["", "a\u00fcb", "a\r\nb"])
async def test_a_type_that_no_field_could_hold(kind: str) -> None:
    """It would reach the app as a field's value."""
    stores = await _ready()
    with refused("envelope-malformed/cty", "policy"):
        await Opening(stores.sessions)(_call(_odd(kind)))


@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-16", "application/jose"])
async def test_a_type_that_the_rule_does_not_list(kind: str) -> None:
    """What is inside has a type of the rule's own."""
    stores = await _ready()
    with refused("media-type/sealed", "policy") as caught:
        await Opening(stores.sessions)(_call(seal(content_type=kind)))
    assert (caught.value.status, caught.value.detail) == (415, "This route takes application/json.")


def _odd(kind: str) -> bytes:
    """A body under a header that we would not write."""
    members = {"alg": "dir", "enc": "A256GCM", "kid": "ses_1", "cty": kind}
    protected = urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=")
    return envelope.seal(KEYS.c2s, protected, b"i" * 12, BODY)


async def test_a_listed_type() -> None:
    """What the rule lists is taken, and handed on as it was sealed."""
    rule = SEALED._replace(content_types=frozenset(("text/csv", "application/json")))
    with refused("media-type/sealed", "policy") as caught:
        await Opening((await _ready()).sessions)(_call(seal(b"a,b", "text/html"), rule=rule))
    assert caught.value.detail == "This route takes application/json, text/csv."
    made = _call(seal(b"a,b", "text/csv"), rule=rule)
    assert await Opening((await _ready()).sessions)(made) == Plain(b"a,b", b"text/csv")


CLEAR = SEALED._replace(clear_query=frozenset(("page", "a b", "\u00fc")))


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"", True),
        (b"page=1", True),
        (b"page", True),
        (b"page=1&page=2", True),
        (b"&&page=1&", True),
        (b"p%61ge=1", True),
        (b"a+b=1&a%20b=2", True),
        (b"%C3%BC=1", True),
        (b"Page=1", False),
        (b"page=1&amount=2", False),
        (b"amount", False),
        (b"=page", False),
        (b"page;amount=1", False),
        (b"page%26amount=1", False),
        (b"page%3D=1", False),
        (b"page%00=1", False),
        (b"%70age%20=1", False),
        (b"page[]=1", False),
    ],
)
async def test_what_a_query_may_show(query: bytes, shown: bool) -> None:
    """Only parameters that the rule lists stand in clear, by their decoded names; the refusal names none."""
    stores = await _ready()
    target = b"/v1/orders?" + query
    if shown:
        assert await Opening(stores.sessions)(_call(target=target, rule=CLEAR))
        return
    with refused("query-in-clear/parameter", "policy") as caught:
        await Opening(stores.sessions)(_call(target=target, rule=CLEAR))
    assert caught.value.status == 400
    assert "amount" not in caught.value.detail
    assert await _used(stores) == 1


async def test_no_parameter_is_listed_by_default() -> None:
    """A rule that lists none takes none."""
    with refused("query-in-clear/parameter", "policy"):
        await Opening((await _ready()).sessions)(_call(target=b"/v1/orders?page=1"))


async def test_nothing_is_opened_for_who_is_not_allowed() -> None:
    """Without the evidence of authorize it is a wiring mistake, and no session is asked for."""
    stores = await _ready()
    made = _call()
    held = {kind: one for kind, one in made.held.items() if kind is not Allowed}
    made = Call(made.request, made.rule, made.now, made.request_id, made.address, made.receive, held)
    with pytest.raises(KeyError):
        await Opening(stores.sessions)(made)
    assert await _used(stores) == 0


async def test_a_header_is_kept_only_after_it_opened() -> None:
    """What strangers could make up fills no memory: a header is known once a body under it opened."""
    stage = Opening((await _ready()).sessions)
    protected = seal().split(b".")[0]
    with refused("decrypt-failed/decryption", "policy"):
        await stage(_call(seal(session=SESSION._replace(keys=OTHERS.keys))))
    assert stage._headers.find(protected) is None
    await stage(_call())
    assert stage._headers.find(protected) is not None
