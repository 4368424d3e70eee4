"""What a stranger can learn from refusals, and what can be had signed or opened by asking."""

import asyncio
import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Callable

import pytest

from sealwire.observers.log import JsonLog
from sealwire.protocol import servernonce
from sealwire.protocol.signature import sign_hmac
from tests.stories.markers import leaks
from tests.stories.test_coverage_and_binding import BODY, refused
from tests.stories.test_enrolment import HMAC_KEY, KEYS, by_invitation, fresh, invited, offer
from tests.stories.world import ORIGIN, START, Wire, World

#: The members that every problem document has, and those that one slug or the other adds (docs/protocol.md).
ALWAYS = {"type", "title", "status", "detail", "code", "request_id", "retryable"}
MORE = {
    "clock-skew": {"stages", "clock"},
    "signature-mismatch": {"stages", "base_lines"},
    "request-invalid": {"stages", "errors"},
    "idempotency-in-progress": {"stages", "outcome"},
}
BARE = {"not-found", "method-not-allowed", "header-malformed", "authority-unknown", "internal", "media-type"}
Case = Callable[[World], Wire]


def unsigned(world: World) -> Wire:
    return Wire()


def unknown(world: World) -> Wire:
    return Wire().sign(fresh())


def revoked(world: World) -> Wire:
    signer = fresh()
    world.add_key(signer, "bob", "revoked")
    return Wire().sign(signer)


def expired(world: World) -> Wire:
    signer = fresh()
    world.add_key(signer, "bob", "retiring", START)
    return Wire().sign(signer)


def other_algorithm(world: World) -> Wire:
    return Wire().sign(world.signer, alg="hmac-sha256")


def late(world: World) -> Wire:
    return Wire().sign(world.signer, int(START) - 60)


def early(world: World) -> Wire:
    return Wire().sign(world.signer, int(START) + 11)


def forged(world: World) -> Wire:
    return Wire().sign(world.signer, secret=lambda _: b"x" * 64)


def other_body(world: World) -> Wire:
    request = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    request.body = BODY.replace(b"1", b"9")
    return request


def replayed(world: World) -> Wire:
    request = Wire().sign(world.signer)
    asyncio.run(world.send(request))
    return request


def uncovered(world: World) -> Wire:
    return Wire().sign(world.signer, covered=["@method"])


def malformed(world: World) -> Wire:
    return Wire().change(b"signature-input", b"((").change(b"signature", b"((")


def invitation(world: World, **more: object) -> Wire:
    return offer(world, fresh(), **{"sign": by_invitation, **more})  # type: ignore[arg-type]


def spent(world: World) -> Wire:
    invited(world)
    asyncio.run(world.send(invitation(world)))
    return invitation(world)


def ended(world: World) -> Wire:
    invited(world, hours=0)
    return invitation(world)


def long_spent(world: World) -> Wire:
    request = spent(world)
    kept = world.directory._invitations
    kept["bob"] = kept["bob"]._replace(used_at=START - 24 * 3600)
    return request


def guessed(world: World) -> Wire:
    invited(world)
    return invitation(world, sign=lambda _: b"x" * 32)


def scopeless(world: World) -> Wire:
    record = world.directory._keys[world.signer.keyid]
    world.directory._keys[world.signer.keyid] = record._replace(scopes=frozenset())
    return Wire("POST", b"/v1/orders", BODY).sign(world.signer)


#: What a caller does, what it is told, and the cause that only the log and the ledger have.
TABLE: list[tuple[Case, int, str, str]] = [
    (unsigned, 401, "signature-missing", "absent"),
    (malformed, 400, "signature-malformed", "fields"),
    (uncovered, 401, "components-insufficient", "not-covered"),
    (unknown, 401, "key-unknown", "unknown"),
    (revoked, 401, "key-unknown", "revoked"),
    (expired, 401, "key-unknown", "expired"),
    (other_algorithm, 401, "algorithm-not-allowed", "other-than-key"),
    (late, 401, "clock-skew", "late"),
    (early, 401, "clock-skew", "early"),
    (forged, 401, "signature-mismatch", "does-not-verify"),
    (other_body, 401, "digest-mismatch", "differs"),
    (replayed, 401, "replay-detected", "nonce"),
    (invitation, 401, "invitation-invalid", "unknown"),
    (spent, 401, "invitation-invalid", "spent"),
    (long_spent, 401, "invitation-invalid", "spent"),
    (ended, 401, "invitation-invalid", "expired"),
    (guessed, 401, "signature-mismatch", "does-not-verify"),
    (scopeless, 403, "scope-insufficient", "missing"),
]


@pytest.fixture
def log(world: World) -> list[str]:
    """What the guard's log says."""
    lines: list[str] = []
    world.observers._observers = (JsonLog(lines.append), *world.observers._observers)
    return lines


@pytest.mark.parametrize(("case", "status", "code", "cause"), TABLE, ids=[row[0].__name__ for row in TABLE])
def test_what_is_told_and_what_is_logged(
    world: World, log: list[str], case: Case, status: int, code: str, cause: str
) -> None:
    """
    I1: each way to be refused: the slug of the table and its members and no more; the log has the precise cause.

    Stopped by: guard
    """
    request = case(world)
    entered = len(world.entered)
    reply = asyncio.run(world.send(request))
    problem = json.loads(reply.content)
    assert (reply.status_code, problem["code"]) == (status, code)
    assert set(problem) - ALWAYS <= MORE.get(code, {"stages"})
    assert problem["type"] == f"{ORIGIN}/.well-known/sealwire/problems/{code}"
    assert f"{code}/{cause}" not in reply.text + str(reply.headers)
    assert len(world.entered) == entered
    assert json.loads(log[-1])["sealwire.code"] == f"{code}/{cause}"


@pytest.mark.parametrize("together", [(unknown, revoked, expired), (invitation, long_spent, ended)])
def test_the_same_bytes(world: World, together: tuple[Case, ...]) -> None:
    """
    I1: what shares a slug, keys that are none and invitations that open nothing, is the same bytes but for the id.

    Stopped by: guard
    """
    answers = set()
    for case in together:
        reply = asyncio.run(world.send(case(world)))
        request_id = json.loads(reply.content)["request_id"].encode()
        head = tuple((name, value.replace(request_id, b"")) for name, value in reply.headers.raw)
        answers.add((reply.status_code, head, reply.content.replace(request_id, b"")))
    assert len(answers) == 1
    assert {status for status, _, _ in answers} == {401}


def test_what_no_refusal_holds(world: World) -> None:
    """
    I2: keys, the right MAC, what is signed and where it failed are in no refusal, head or body, in any form.

    Stopped by: guard
    """
    folder = world.keyring
    secrets = {
        "digest key": folder._digest_key,
        "nonce key": world.nonces.secret,
        "invitation's key": HMAC_KEY,
        "invitation's id": b"bob-of-the-invitation",
    }
    wrong = guessed(world)
    expected = sign_hmac(HMAC_KEY, base_of(wrong))
    secrets["right MAC"] = expected
    places = {"the wrong MAC": asyncio.run(world.send(wrong)).content}
    assert asyncio.run(world.send(right(wrong, expected))).status_code == 201
    for number, (case, *_) in enumerate(TABLE):
        world.directory._invitations.pop("bob", None)
        reply = asyncio.run(world.send(case(world)))
        places[f"{number} {case.__name__}"] = b"%r %s" % (reply.headers.raw, reply.content)
    assert leaks(secrets, places) == []
    words = ("Traceback", ".py", "sealwire.", "Refusal", "0x7f", "PRIVATE", '"@signature-params": (')
    assert [(word, place) for word in words for place, text in places.items() if word.encode() in text] == []


def right(request: Wire, mac: bytes) -> Wire:
    """The request with this MAC for its authorising signature."""
    changed = Wire(request.method, request.target, request.body)
    changed.headers = [*request.headers[:-1], (b"signature", b"sig=:" + b64encode(mac) + b":")]
    return changed


def base_of(request: Wire) -> bytes:
    """The base of the authorising signature of an enrolment."""
    possession = {name: value.partition(b"=")[2] for name, value in request.headers[-4:-2]}
    params = request.headers[-2][1].partition(b"=")[2]
    fields = dict(request.headers)
    lines = [b'"@method": POST', b'"@authority": api.example', b'"@path": ' + KEYS, b'"@query": ?']
    lines += [b'"%s": %s' % (name, fields[name]) for name in (b"content-type", b"content-digest")]
    lines += [b'"%s";key="pos": %s' % (name, possession[name]) for name in (b"signature", b"signature-input")]
    return b"\n".join([*lines, b'"@signature-params": ' + params])


def test_secrets_are_compared_in_constant_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    I3: the MAC of an invitation, the tag of a server nonce and the digest of a body are held against the true ones by
    the one comparison whose time says nothing.

    Stopped by: verify
    """
    compared: list[tuple[bytes, bytes]] = []
    constant_time = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return constant_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    wrong = guessed(world)
    asyncio.run(world.send(wrong))
    assert (sign_hmac(HMAC_KEY, base_of(wrong)), b"x" * 32) in compared
    issued = servernonce.issue(world.nonces.secret, int(START * 1000), b"r" * 8, "another key")
    asyncio.run(world.send(Wire().sign(world.signer, nonce=issued)))
    assert any(len(one) == len(other) == 16 and one != other for one, other in compared)
    asyncio.run(world.send(other_body(world)))
    assert (hashlib.sha256(BODY.replace(b"1", b"9")).digest(), hashlib.sha256(BODY).digest()) in compared


def every_call(world: World) -> list[Wire]:
    """Calls whose replies the server signs, made by somebody who wants something else signed by it."""
    asked = b'sig=();nonce="%s";tag="sealwire-response"' % (b"n" * 22)
    theirs = b'sig=("@method");nonce="%s";tag="sealwire"' % (b"n" * 22)
    calls = [Wire("GET", b"/.well-known/sealwire/jwks.json").change(b"accept-signature", text) for text in
             (asked, theirs, b'"@method": POST', asked + b", " + theirs)]  # fmt: skip
    orders = [Wire("POST", b"/v1/orders", BODY).sign(world.signer, label=label) for label in ("sig", "reply", "x")]
    calls += [order.change(b"accept-signature", asked) for order in orders]
    odd = Wire("POST", b'/v1/orders/"@method":%20DELETE', BODY).change(b"x-odd", b'"@path": /v1/withdrawals')
    covered = ["@method", "@authority", "@path", "@query", "content-type", "content-digest", "x-odd"]
    calls.append(odd.sign(world.signer, covered=covered))
    calls.append(Wire("POST", b"/v1/orders", b"[NaN]").sign(world.signer))
    return calls


def test_the_server_signs_replies_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    I4: whatever is asked, what goes to the server's key begins as a reply's base and ends with a reply's tag; no line
    in it can be read as a request's; and nothing is signed for who proved nothing.

    Stopped by: sign
    """
    bases: list[bytes] = []
    sign = world.keyring.sign

    async def watched(base: bytes) -> bytes:
        bases.append(base)
        return await sign(base)

    monkeypatch.setattr(world.keyring, "sign", watched)
    calls = every_call(world)
    for call in calls:
        asyncio.run(world.send(call))
    assert len(bases) == len(calls)
    for base in bases:
        first, *middle, last = base.split(b"\n")
        assert first in (b'"@status": 200', b'"@status": 422')
        assert [line for line in middle if line.startswith(b'"@') and b";req" not in line.partition(b": ")[0]] == []
        assert last.startswith(b'"@signature-params": ("@status"')
        assert last.endswith(b';tag="sealwire-response"')
    for case in (unsigned, unknown, forged, late, replayed, other_body, guessed):
        before = len(bases) + (case is replayed)
        asyncio.run(world.send(case(world)))
        assert len(bases) == before


async def test_the_servers_signature_is_no_callers(world: World) -> None:
    """
    I4: a reply's signature put on a request, under its own tag and as ours, even if the server's key were a client's.

    Stopped by: verify
    """
    asked = Wire("POST", b"/v1/orders", BODY).sign(world.signer)
    reply = await world.send(asked)
    for known in (False, True):
        if known:
            record = world.directory._keys[world.signer.keyid]
            verifier = world.keyring.verifier
            world.directory._keys[verifier.keyid] = record._replace(keyid=verifier.keyid, verifier=verifier)
        taken = Wire("POST", b"/v1/orders", BODY).change(b"signature", reply.headers["signature"].encode())
        given = reply.headers["signature-input"].encode()
        await refused(world, taken.change(b"signature-input", given), 401, "signature-missing")
        ours = given.replace(b"sealwire-response", b"sealwire")
        await refused(world, taken.change(b"signature-input", ours), 400, "signature-malformed")


def test_what_is_kept_opens_in_its_own_place(world: World) -> None:
    """
    I4: the wrapped secret of one invitation put in the place of another, and a stored answer, are not opened there.

    Stopped by: permit
    """
    invited(world)
    invited(world, "carol")
    kept = world.directory._invitations
    order = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k1").sign(world.signer)
    asyncio.run(world.send(order))
    (answer,) = world.ledger._idempotency.values()
    assert answer.wrapped is not None
    for wrapped in (kept["carol"].wrapped, answer.wrapped):
        kept["bob"] = kept["bob"]._replace(wrapped=wrapped)
        reply = asyncio.run(world.send(invitation(world)))
        assert (reply.status_code, json.loads(reply.content)["code"]) == (503, "custody-unavailable")


@pytest.mark.parametrize("field", ["x-origin-verify", "x-api-key", "cookie", "x-forwarded-for", "via", "client-cert"])
async def test_a_field_that_a_proxy_puts_in(world: World, field: str) -> None:
    """
    I5: a junk signature under an active key that covers a proxy's secret: no fingerprint of that line is given.

    Stopped by: verify
    """
    request = Wire().change(field.encode(), b"the proxy's secret")
    covered = ["@method", "@authority", "@path", "@query", field]
    problem = await refused(
        world, request.sign(world.signer, covered=covered, secret=lambda _: b"x" * 64), 401, "signature-mismatch"
    )
    named = [line["component"] for line in problem["base_lines"]]  # type: ignore[attr-defined]
    assert named == ['"@method"', '"@authority"', '"@path"', '"@query"', '"@signature-params"']
    shown = hashlib.sha256(b"x" * 64 + f'"{field}": the proxy\'s secret'.encode()).hexdigest()[:8]
    assert shown not in json.dumps(problem)


async def test_fingerprints_are_few(world: World) -> None:
    """
    I5: junk signatures by the hundred: past 30 a minute from one address no fingerprint is given.

    Stopped by: verify
    """
    told = [
        "base_lines" in await refused(world, Wire().sign(world.signer, secret=lambda _: b"x" * 64), 401,
                                      "signature-mismatch")
        for _ in range(40)
    ]  # fmt: skip
    assert told == [True] * 30 + [False] * 10
