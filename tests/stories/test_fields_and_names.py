"""Fields that are read twice, speak for a proxy, are named away, or are bombs"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from starlette.requests import Request

from sealwire.call import Rule
from sealwire.protocol.ratelimit import parse_limit
from tests.stories.served import raw, served
from tests.stories.test_coverage_and_binding import BODY, order, refused
from tests.stories.world import RULES, Wire, World


@pytest.mark.parametrize("bad", [b"one\x00two", b"one\rtwo", b"one\ntwo", b"one\r\n two", b"one\x7ftwo", b"\x01"])
@pytest.mark.parametrize("name", [b"x-note", b"content-type", b"idempotency-key"])
async def test_control_bytes_in_covered_fields(world: World, name: bytes, bad: bytes) -> None:
    """
    D4: NUL, bare CR, bare LF, folded lines and other controls in a covered field, rightly signed, under a server that
    lets them through.

    Stopped by: arrive
    """
    request = Wire("POST", b"/v1/orders", BODY).change(name, bad)
    covered = ["@method", "@authority", "@path", "@query", "content-type", "content-digest", "idempotency-key"]
    covered = [one for one in covered if one.startswith("@") or one.encode() in dict(request.headers)]
    covered += [] if name.decode() in covered else [name.decode()]
    await refused(world, request.sign(world.signer, covered=covered), 400, "header-malformed")


@pytest.mark.parametrize("pad", [b" %s", b"%s ", b"\t%s", b"%s\t", b" \t %s \t "])
def test_white_space_around_covered_fields(tmp_path: Path, pad: bytes) -> None:
    """
    D4: space and tab put around every field on the way change nothing of what was signed, nor of what the app sees.

    Stopped by: nothing
    """
    with served(tmp_path, RULES) as server:
        request = Wire("POST", b"/v1/orders", BODY).change(b"idempotency-key", b"k1").sign(server.world.signer)
        plain = request.headers
        request.headers = [(name, pad % value) for name, value in plain]
        assert server.say(raw(request)).said() == "200"
        seen = dict(server.world.entered[0]["headers"])
        kept = (b"content-type", b"content-digest", b"idempotency-key", b"host", b"content-length")
        assert seen == {name: dict(plain)[name] for name in kept}


@pytest.mark.parametrize(
    "name", ["x-note\n@method", 'x-note": a\n"@path', "x note", "x-note\x00", "x-nöte", "X-Note", ""]
)
async def test_a_component_name_of_two_lines(world: World, name: str) -> None:
    """
    D4: a component's name holds a line feed, a quote, a control: the signature base has one line a component.

    Stopped by: verify
    """
    request = Wire()
    request.headers.append((b"x-note", b"1"))
    request.sign(world.signer, covered=["@method", "@authority", "@path", "@query", "x-note"])
    value = request.header(b"signature-input").replace(b'"x-note"', b'"' + name.encode() + b'"')
    reply = await world.send(request.change(b"signature-input", value))
    assert reply.status_code == 400
    assert json.loads(reply.content)["code"] in ("signature-malformed", "header-malformed")
    assert world.entered == []


@pytest.mark.parametrize(
    ("signed", "sent"),
    [
        (b"?a=1&b=2", b"?b=2&a=1"),
        (b"?a=1&a=2", b"?a=2&a=1"),
        (b"?a=1&b=2", b"?a=1;b=2"),
        (b"?a=1", b"?a=1&"),
        (b"?a=1", b"?a=1&a=1"),
        (b"?a=x+y", b"?a=x%20y"),
        (b"?a=x", b"?a=%78"),
        (b"?a=%2f", b"?a=%2F"),
        (b"?a=1", b"?A=1"),
        (b"?a=1", b""),
        (b"", b"?a"),
        (b"?a", b"?a="),
        (b"?a=1", b"??a=1"),
    ],
)
async def test_another_spelling_of_a_query(world: World, signed: bytes, sent: bytes) -> None:
    """
    A5, D20: a query reordered, repeated, spelt otherwise, though many a parser reads it as the same one.

    Stopped by: verify
    """
    request = Wire("GET", b"/v1/balances" + signed).sign(world.signer)
    assert (await world.send(request)).status_code == 200
    assert world.entered[0]["query_string"] == signed.removeprefix(b"?")
    request = Wire("GET", b"/v1/balances" + signed).sign(world.signer)
    request.target = b"/v1/balances" + sent
    await refused(world, request, 401, "signature-mismatch")


MEMBER = b'a%d=("@method");created=1'


@pytest.mark.parametrize(
    "bomb",
    [
        b", ".join(MEMBER % i for i in range(10_000)),
        b"sig=(" + b'"@method" ' * 100_000 + b")",
        b"sig=()" + b";a" * 500_000,
        b'sig=("@method' + b"x" * 1_000_000,
        b"v" * 1_000_000,
        # These fit into the head.
        b", ".join(MEMBER % i for i in range(400)),
        b"sig=(" + b'"@method" ' * 1000 + b');tag="sealwire"',
        b"sig=()" + b";a" * 5000 + b';tag="sealwire"',
        b"sig=()" + b";a=(" * 2500,
        b"sig=" + b"(" * 10_000,
        b'sig=("@method";' + b"a;" * 5000,
        b'sig=("' + b"\\\\" * 5000,
        b'sig=("@method") ' + b"," * 10_000,
        b'sig=("@method");created=' + b"1" * 10_000,
        b"sig=:" + b"A" * 10_000,
        b'sig="unclosed',
    ],
    ids=range(16),
)
@pytest.mark.parametrize("name", [b"signature-input", b"signature", b"both"])
async def test_structured_field_bombs(world: World, name: bytes, bomb: bytes) -> None:
    """
    D10: 10,000 members, a megabyte, deep parameters, quotes and brackets without an end, in one field or both: 400, and
    no key was looked up for it.

    Stopped by: arrive
    """
    request = Wire().sign(world.signer)
    for field in (b"signature-input", b"signature"):
        if name in (field, b"both"):
            request.change(field, bomb)
    world.directory._keys.clear()  # a lookup would find none: 401, and not 400
    reply = await world.send(request)
    assert reply.status_code == 400
    assert json.loads(reply.content)["code"] in ("header-malformed", "signature-malformed")
    assert world.entered == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig", "utf-7"])
async def test_json_in_another_encoding(world: World, encoding: str) -> None:
    """
    D13: JSON that is not UTF-8, rightly signed: the signature holds, the content does not.

    Stopped by: validate
    """
    body = '{"amount": "é"}'.encode(encoding)
    request = Wire("POST", b"/v1/orders", body).sign(world.signer)
    if encoding == "utf-7":
        # Seven bits are UTF-8 too, and that is how they are read: as these very characters.
        assert (await world.send(request)).status_code == 200
        return
    await refused(world, request, 422, "request-invalid")
    assert world.ledger.decisions[-1].code == "request-invalid/json"


async def test_the_bytes_that_were_signed_reach_the_app(world: World) -> None:
    """
    D13: odd white space, escapes, numbers and the order of members: nothing is written anew before or after the check.

    Stopped by: nothing
    """
    body = b' {\t"b" : 1.0e0,\r\n"a":"\\u00e9\\/" , "c":[ ] , "n":-0}\n'
    assert (await world.send(Wire("POST", b"/v1/orders", body).sign(world.signer))).status_code == 200
    assert world.bodies == [body]


@pytest.mark.parametrize("mark", ["/", "?", "#", "@", "\\", "/v1/time?", "%2f"])
@pytest.mark.parametrize("place", ["api.example{}evil.example", "evil.example{}api.example", "api.example{}"])
async def test_a_host_that_ends_in_a_path(world: World, mark: str, place: str) -> None:
    """
    D15: Host holds a path, a query, a fragment or userinfo, on a withdrawal.

    Stopped by: arrive
    """
    request = order(world).change(b"host", place.format(mark).encode())
    await refused(world, request, 421, "authority-unknown")


async def test_what_the_app_reads_as_its_url(world: World) -> None:
    """
    D15, E2: authority, path and query that the app's framework reads are those that were signed, whatever else the
    caller sent.

    Stopped by: guard
    """
    request = Wire("POST", b"/v1/orders?dry=1", BODY).change(b"host", b"API.Example:443")
    for name in (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix", b"forwarded", b"x-original-url"):
        request.headers.append((name, b"evil.example"))
    assert (await world.send(request.sign(world.signer))).status_code == 200
    url = Request(world.entered[0]).url
    assert (url.netloc, url.path, url.query) == ("api.example", "/v1/orders", "dry=1")


HOPS = [
    "signature",
    "signature-input",
    "sealwire-approval",
    "x-forwarded-for",
    "host",
    "content-length",
    "x-request-id",
]


async def test_connection_names_what_the_policy_needs(world: World) -> None:
    """
    D16: `Connection: close, Signature, Sealwire-Approval, X-Forwarded-For, …`: nothing that a check needs is dropped,
    and a covered field so named does not count as covered.

    Stopped by: verify
    """
    request = order(world).change(b"connection", b"close, " + ", ".join(HOPS).title().encode())
    assert (await world.send(request)).status_code == 200
    assert world.entered[0]["sealwire"].caller.client == "cli_alice"
    await refused(
        world, Wire("POST", b"/v1/orders", BODY).change(b"connection", b"Signature"), 401, "signature-missing"
    )
    for name in (b"Content-Digest", b"content-type", b"Idempotency-Key", b"Authorization", b"Sealwire-Approval"):
        named = Wire("POST", b"/v1/orders", BODY).change(b"connection", b"close , " + name)
        if name.lower() not in dict(named.headers):
            named.change(name.lower(), b"k1")
        await refused(world, named.sign(world.signer), 401, "components-insufficient")


OPEN = b"/v1/time"
SPEAKERS = (
    b"x-forwarded-uri", b"x-forwarded-path", b"x-forwarded-prefix", b"x-original-url", b"x-original-uri",
    b"x-rewrite-url", b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-forwarded-method",
)  # fmt: skip


async def test_fields_that_name_an_open_route(tmp_path: Path) -> None:
    """
    D17: X-Forwarded-Uri, X-Original-URL, X-HTTP-Method-Override and their kin name an open route or a method: rule,
    scope and limit stay those of the request line.

    Stopped by: arrive
    """
    limits = (parse_limit("4/min per address"),)
    rules = (*RULES[:2], RULES[2]._replace(limits=limits), *RULES[3:])
    world = World(tmp_path, rules)

    def speaking(request: Wire) -> Wire:
        request.headers += [(name, b"GET" if b"method" in name else OPEN) for name in SPEAKERS]
        return request

    await refused(world, speaking(Wire("POST", b"/v1/orders", BODY)), 401, "signature-missing")
    world.directory._keys[world.signer.keyid] = world.directory._keys[world.signer.keyid]._replace(scopes=frozenset())
    await refused(world, speaking(order(world)), 403, "scope-insufficient")
    await refused(world, speaking(Wire("DELETE", OPEN)), 405, "method-not-allowed")
    world.add_key(world.signer, "alice")
    assert (await world.send(speaking(order(world)))).status_code == 200
    assert world.ledger.decisions[-1].template == "/v1/orders"
    (scope,) = world.entered
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/v1/orders", b"/v1/orders")
    assert not {name for name, _ in scope["headers"]} & set(SPEAKERS)
    assert (await world.send(speaking(order(world)))).status_code == 200
    await refused(world, speaking(order(world)), 429, "rate-limited")


async def test_codes_in_a_query_and_in_a_path(world: World) -> None:
    """
    D20: `?redirect_uri=https%3A%2F%2Fa%2Fb` and `?pair=BTC%2FEUR` are fine; the same codes in the path are 400.

    Stopped by: arrive
    """
    for value in ("https://a/b", "BTC/EUR", "../..", "a\\b"):
        code = quote(value, safe="").replace("..", "%2e%2e").encode()
        assert (await world.send(Wire("GET", b"/v1/balances?x=" + code).sign(world.signer))).status_code == 200
        await refused(world, Wire("GET", b"/v1/orders/" + code).sign(world.signer), 400, "target-not-canonical")


async def test_a_lax_upstream_finds_no_other_rule(tmp_path: Path) -> None:
    """
    D19: `/V1/Withdrawals`, `;x=1`, a trailing slash under `/v1/**` where a stricter rule owns the plain form.

    Stopped by: match
    """
    strict = Rule("/v1/withdrawals", frozenset(("POST",)), "signed", scopes=frozenset(("withdraw",)))
    world = World(tmp_path, (strict, Rule("/v1/**", frozenset(("GET", "POST")), "signed")))
    await refused(world, Wire("POST", b"/v1/withdrawals", BODY).sign(world.signer), 403, "scope-insufficient")
    for target in (
        b"/v1/Withdrawals",
        b"/v1/withdrawals;x=1",
        b"/v1/withdrawals/",
        b"/v1;a/withdrawals",
        b"/v1/%57ithdrawals",
    ):
        await refused(world, Wire("POST", target, BODY).sign(world.signer), 400, "target-not-canonical")
    assert (await world.send(Wire("POST", b"/v1/withdrawals.", BODY).sign(world.signer))).status_code == 200
