"""The way in and out of the pages: whose form it is, who is signed in, for how long, and what every answer carries."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import MutableMapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from sealwire.pages.app import Guarded
from sealwire.pages.visits import IDLE_SECONDS, MOST_OF_A_USER, WHOLE_SECONDS, Visit
from sealwire.presence import NewSeed
from sealwire.protocol.forwarded import Proxies
from tests.pages.visiting import ELSEWHERE, FORM, HOME, SECRET, PagesWorld, known, said, secret_on
from tests.stories.world import PAGES


@pytest.fixture
def world(tmp_path: Path) -> PagesWorld:
    return PagesWorld(tmp_path)


# --- whose form it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": None},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"origin": "http://pages.example"},
        {"origin": "https://pages.example:8443"},
        {"origin": "https://pages.example.evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json"},
    ],
    ids=str,
)
async def test_a_form_from_elsewhere_does_nothing(world: PagesWorld, headers: dict[str, str | None]) -> None:
    """Neither denies, nor signs in, nor signs out, even with the right token."""
    path = await world.ask()
    alice = await world.signed_in()
    answer = await alice.post(path, headers, answer="deny")
    assert (answer.status_code, await world.state(path)) == (403, "pending")
    assert (await alice.post("/sign-out", headers)).status_code == 403
    assert (await alice.get("/")).status_code == 200
    fresh = world.visitor()
    assert (await fresh.post("/sign-in", headers, name="alice", password="correct horse")).status_code == 403
    assert dict(fresh.http.cookies) == {}


async def test_a_form_needs_the_token_of_its_own_visit(world: PagesWorld) -> None:
    """None, an empty one, one of another visit of the same user, and one of another user."""
    path = await world.ask()
    alice, again, bob = await world.signed_in(), await world.signed_in(), await world.signed_in("bob")
    own = alice.csrf
    assert len({own, again.csrf, bob.csrf}) == 3
    for csrf in ("", own[:-1], own + "A", again.csrf, bob.csrf, "é"):
        assert (await alice.post(path, csrf=csrf, answer="deny")).status_code == 403
    body = urlencode({"answer": "deny"})
    headers = {"origin": PAGES, "content-type": FORM}
    assert (await alice.http.post(path, content=body, headers=headers)).status_code == 403
    assert await world.state(path) == "pending"
    # A browser of before Sec-Fetch-Site is still one.
    assert (await alice.post(path, {"sec-fetch-site": None}, csrf=own, answer="deny")).status_code == 303
    assert await world.state(path) == "denied"


@pytest.mark.parametrize(
    "body",
    [
        b"csrf=%s&answer=deny&answer=approve",
        b"csrf=%s&csrf=%s&answer=deny",
        b"csrf=%s&answer=deny&" + b"&".join(b"a%d=1" % number for number in range(100)),
        b"csrf=%s&answer=deny&code=" + b"1" * 8192,
        b"csrf=%s&answer=deny&code=\xff",
        b"csrf=%s&answer=deny&code",
        b"",
        b"\0",
    ],
    ids=["twice", "token twice", "many", "large", "bytes", "no value", "empty", "nul"],
)
async def test_a_form_that_is_none_does_nothing(world: PagesWorld, body: bytes) -> None:
    """Too large, a field twice, too many, not urlencoded."""
    path = await world.ask()
    alice = await world.signed_in()
    headers = {"origin": PAGES, "content-type": FORM}
    answer = await alice.http.post(path, content=body.replace(b"%s", alice.csrf.encode()), headers=headers)
    assert (answer.status_code, await world.state(path)) == (403, "pending")


async def test_a_form_is_not_read_past_its_bound(world: PagesWorld) -> None:
    """Whoever pours is cut off, not stored."""
    read = 0

    async def receive() -> MutableMapping[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"a" * 1024, "more_body": True}

    statuses = []

    async def send(message: MutableMapping[str, Any]) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http", "method": "POST", "path": "/sign-in", "raw_path": b"/sign-in", "query_string": b"",
        "root_path": "", "scheme": "https", "http_version": "1.1", "client": (HOME, 1),
        "server": ("pages.example", 443),
        "headers": [(b"host", b"pages.example"), (b"origin", PAGES.encode()), (b"content-type", FORM.encode())],
    }  # fmt: skip
    await world.app(scope, receive, send)
    assert statuses[0] == 403
    assert read <= 10


# --- whose page it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["api.example", "evil.example", "pages.example.evil.example", "pages.example:8443", ""]
)
async def test_another_authority_has_no_pages(world: PagesWorld, host: str) -> None:
    """Whatever name leads here, a link's page is shown at its own alone."""
    for path in ("/", "/sign-in", "/style.css", "/nothing"):
        answer = await world.visitor().http.get(path, headers={"host": host})
        assert (answer.status_code, answer.text) == (421, "This is another host's page.\n")
        assert answer.headers["cache-control"] == "no-store"
    for same in ("PAGES.example", "pages.example:443"):
        assert (await world.visitor().http.get("/sign-in", headers={"host": same})).status_code == 200


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "https://evil.example", "https:evil.example",
        "javascript:alert(1)", "/\t/evil.example", "/\r\nSet-Cookie: a=b", "\0/", " //evil.example", "evil.example", "",
        "/" + "a" * 4000, "/é", "/\u202e",
    ],
)  # fmt: skip
async def test_signing_in_leads_to_no_other_place(world: PagesWorld, back: str) -> None:
    """Neither as it stands in the link nor as the form sends it."""
    visitor = world.visitor()
    shown = await visitor.http.get("/sign-in", params={"back": back})
    assert '<input type="hidden" name="back" value="/">' in shown.text
    answer = await visitor.sign_in("alice", back=back)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


async def test_signing_in_leads_back_to_the_link(world: PagesWorld) -> None:
    """The way of everybody who follows a notice."""
    path = await world.ask()
    visitor = world.visitor()
    sent_on = await visitor.get(path)
    assert (sent_on.status_code, sent_on.headers["location"]) == (303, f"/sign-in?back={path}")
    assert f'name="back" value="{path}"' in (await visitor.get(sent_on.headers["location"])).text
    assert (await visitor.sign_in("alice", back=path)).headers["location"] == path


async def test_whoever_sent_a_form_too_late_comes_back_to_a_page(world: PagesWorld) -> None:
    """After fifteen minutes at the phone the answer leads to a page that can be opened, not to a form's address."""
    path = await world.ask()
    alice = await world.signed_in()
    world.clock.at += IDLE_SECONDS
    for sent, back in ((path, path), ("/sign-out", "/"), ("/recovery", "/"), ("/factors/fac_1/remove", "/")):
        assert (await alice.post(sent)).headers["location"] == f"/sign-in?back={back}"


# --- who is signed in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("origin", "name"), [(PAGES, "__Host-sealwire"), ("http://localhost:8444", "sealwire")])
async def test_the_cookie(tmp_path: Path, origin: str, name: str) -> None:
    """Out of reach of scripts and of other sites' forms; over TLS bound to this host."""
    world = PagesWorld(tmp_path, origin=origin)
    answer = await world.visitor().sign_in("alice")
    first, *flags = answer.headers["set-cookie"].split("; ")
    assert first.partition("=")[0] == name
    assert len(first.partition("=")[2]) == 43
    expected = {"HttpOnly", "Path=/", "SameSite=lax", f"Max-Age={WHOLE_SECONDS}"}
    assert set(flags) == expected | ({"Secure"} if origin.startswith("https") else set())


async def test_a_visit_ends_when_nobody_is_there(world: PagesWorld) -> None:
    """Fifteen idle minutes, to the second; each page that is opened begins them anew."""
    alice = await world.signed_in()
    world.clock.at += IDLE_SECONDS - 1
    assert (await alice.get("/")).status_code == 200
    world.clock.at += IDLE_SECONDS - 1
    assert (await alice.get("/")).status_code == 200
    world.clock.at += IDLE_SECONDS
    assert (await alice.get("/")).status_code == 303
    world.clock.at -= IDLE_SECONDS  # and stays ended
    assert (await alice.get("/")).status_code == 303


async def test_a_visit_ends_after_an_hour(world: PagesWorld) -> None:
    """However busy it was, to the second."""
    alice = await world.signed_in()
    for _ in range(5):
        world.clock.at += 700
        assert (await alice.get("/")).status_code == 200
    world.clock.at += WHOLE_SECONDS - 5 * 700 - 1
    assert (await alice.get("/")).status_code == 200
    world.clock.at += 1
    assert (await alice.get("/")).status_code == 303


async def test_signing_out_ends_it_here(world: PagesWorld) -> None:
    """The cookie is worth nothing to whoever copied it before."""
    alice = await world.signed_in()
    token = alice.cookie()
    answer = await alice.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert dict(alice.http.cookies) == {}
    thief = world.visitor()
    thief.http.cookies.set("__Host-sealwire", token, domain="pages.example")
    assert (await thief.get("/")).status_code == 303


async def test_signing_in_makes_a_new_token(world: PagesWorld) -> None:
    """A token that somebody put into the browser beforehand is not the one that counts, and the one before it ends."""
    visitor = world.visitor()
    visitor.http.cookies.set("__Host-sealwire", "planted", domain="pages.example")
    await visitor.sign_in("alice")
    tokens = {cookie.value for cookie in visitor.http.cookies.jar}
    assert tokens != {"planted"}
    planted = world.visitor()
    planted.http.cookies.set("__Host-sealwire", "planted", domain="pages.example")
    assert (await planted.get("/")).status_code == 303
    alice = await world.signed_in()
    before = alice.cookie()
    await alice.sign_in("bob")
    assert alice.cookie() != before
    old = world.visitor()
    old.http.cookies.set("__Host-sealwire", before, domain="pages.example")
    assert (await old.get("/")).status_code == 303


async def test_ten_visits_of_one_user(world: PagesWorld) -> None:
    """The eleventh ends the one that was seen least lately, and nobody else's."""
    bob = await world.signed_in("bob")
    visitors = []
    for _ in range(MOST_OF_A_USER):
        visitors.append(await world.signed_in())
        world.clock.at += 20  # the sign-in limit is another test's
    assert (await visitors[0].get("/")).status_code == 200  # now the second is the oldest
    await world.signed_in()
    assert [(await one.get("/")).status_code for one in (*visitors, bob)] == [200, 303, *[200] * 9]


# --- signing in and its limits ---------------------------------------------------------------------------------------


async def test_a_wrong_name_and_a_wrong_password_look_alike(world: PagesWorld) -> None:
    """To the byte, but for the name that was typed."""
    answers = [await world.visitor().sign_in(name, "wrong") for name in ("alice", "mallory")]
    assert answers[0].content == answers[1].content.replace(b"mallory", b"alice")
    assert answers[0].status_code == answers[1].status_code == 200
    assert said(answers[0]) == "Name and password do not fit together."
    assert "set-cookie" not in answers[0].headers
    lengths = [answer.headers.pop("content-length") for answer in answers]
    assert int(lengths[1]) - int(lengths[0]) == len("mallory") - len("alice")
    assert answers[0].headers == answers[1].headers


async def test_five_tries_a_minute_at_one_name_from_one_network(world: PagesWorld) -> None:
    """Then not even the right password counts, until a fifth of a minute has passed."""
    visitor = world.visitor()
    for _ in range(5):
        assert (await visitor.sign_in("alice", "wrong")).status_code == 200
    refused = await visitor.sign_in("alice")
    assert (refused.status_code, dict(visitor.http.cookies)) == (429, {})
    assert (await visitor.sign_in("bob")).status_code == 303
    world.clock.at += 12
    assert (await visitor.sign_in("alice")).status_code == 303


async def test_twenty_tries_a_minute_from_one_network(world: PagesWorld) -> None:
    """Whatever the names, and from anywhere in one subscriber's IPv6 network; another network is none the worse."""
    for number in range(20):
        answer = await world.visitor(f"2001:db8:1:1::{number:x}").sign_in(f"name-{number}", "wrong")
        assert answer.status_code == 200
    assert (await world.visitor("2001:db8:1:1:ffff::1").sign_in("alice")).status_code == 429
    assert (await world.visitor("2001:db8:1:2::1").sign_in("alice")).status_code == 303


async def test_whoever_tries_a_name_from_elsewhere_keeps_nobody_out(world: PagesWorld) -> None:
    """One network tries all it may for an hour, then a hundred do: the victim's own still gets in."""
    await world.signed_in("alice", HOME)
    attacker = world.visitor(ELSEWHERE)
    got = 0
    for _ in range(300):
        got += (await attacker.sign_in("alice", "wrong")).status_code == 200
        world.clock.at += 12
    assert got >= 100
    assert (await world.visitor(HOME).sign_in("alice")).status_code == 303
    for number in range(200):
        await world.visitor(f"198.51.{number}.7").sign_in("alice", "wrong")
    assert (await world.visitor(HOME).sign_in("alice")).status_code == 303


async def test_a_name_is_not_guessed_from_many_networks(world: PagesWorld) -> None:
    """A hundred tries an hour at one name, however many networks they come from; other names are none the worse."""
    answers = [await world.visitor(f"198.51.{number}.7").sign_in("alice", "wrong") for number in range(101)]
    assert [answer.status_code for answer in answers] == [*[200] * 100, 429]
    assert (await world.visitor("198.51.200.7").sign_in("alice")).status_code == 429
    assert (await world.visitor("198.51.200.7").sign_in("bob")).status_code == 303


async def test_a_name_in_another_spelling_is_no_other_name(world: PagesWorld) -> None:
    """An app may take them for one: whoever guesses gets no more tries by that."""
    spelled = ("alice", "Alice", " alice", "alice ", "ＡＬＩＣＥ")
    for name in spelled:
        assert (await world.visitor(ELSEWHERE).sign_in(name, "wrong")).status_code == 200
    assert (await world.visitor(ELSEWHERE).sign_in("aLiCe", "wrong")).status_code == 429


async def test_a_long_name_is_not_kept(world: PagesWorld) -> None:
    """Anybody may type one, and what is counted stays in memory: it is no longer for an 8 kB name than for a short."""
    kept = []
    for name in ("mallory", "m" * 8000):
        await world.visitor(ELSEWHERE).sign_in(name, "wrong")
        held = [name for arrivals in world.buckets._arrivals.values() for name in arrivals]
        kept.append(max(len(bucket) for bucket, _, _ in held))
    assert kept[0] == kept[1] < 200


async def test_a_name_cannot_spend_what_another_has(world: PagesWorld) -> None:
    """Names that spell a network, or a network and a name."""
    for name in (HOME, f"{HOME} alice", f"sign-in {HOME} alice"):
        for number in range(30):
            await world.visitor(f"198.51.{number}.7").sign_in(name, "wrong")
    assert (await world.visitor(HOME).sign_in("alice")).status_code == 303


async def test_sign_in_may_wait_for_something(tmp_path: Path) -> None:
    """An app whose users are in a database of its own answers with an awaitable."""

    async def looked_up(name: str, password: str) -> str | None:
        await asyncio.sleep(0)
        return known(name, password)

    world = PagesWorld(tmp_path, sign_in=looked_up)
    assert (await world.visitor().sign_in("alice", "wrong")).status_code == 200
    assert (await world.visitor().sign_in("alice")).status_code == 303


async def test_strangers_who_sign_in_keep_no_code_waiting(tmp_path: Path) -> None:
    """However many passwords an app is still looking at, somebody who is in is told of their recovery code."""
    go = threading.Event()

    def slow(name: str, password: str) -> str | None:
        if password == "slow":
            go.wait(60)
        return known(name, password)

    world = PagesWorld(tmp_path, sign_in=slow)
    alice = await world.signed_in()
    path = await world.ask()
    (code, *_) = await world.presence.add_recovery("alice", "user", HOME)
    strangers = [
        asyncio.create_task(world.visitor(f"198.51.{number}.7").sign_in(f"name-{number}", "slow"))
        for number in range(40)
    ]
    answering = asyncio.create_task(alice.post(path, answer="approve", code=code))
    done, _ = await asyncio.wait([answering], timeout=20)
    go.set()
    await asyncio.gather(answering, *strangers)
    assert done == {answering}
    assert await world.state(path) == "approved"


@pytest.mark.parametrize("nobody", [None, "", False])
async def test_nobody_is_nobody(tmp_path: Path, nobody: str | None) -> None:
    """No user by whatever name."""
    world = PagesWorld(tmp_path, sign_in=lambda _name, _password: nobody)
    assert (await world.visitor().sign_in("alice")).status_code == 200


@pytest.mark.parametrize("waits", [False, True])
async def test_a_sign_in_that_fails_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, waits: bool
) -> None:
    """A page that says so, nobody signed in; the log has the place and the kind, and no password."""

    def fails(name: str, password: str) -> str | None:
        raise LookupError(f"no row for {name} {password}")

    async def fails_later(name: str, password: str) -> str | None:
        await asyncio.sleep(0)
        raise LookupError(f"no row for {name} {password}")

    world = PagesWorld(tmp_path, sign_in=fails_later if waits else fails)
    visitor = world.visitor()
    with caplog.at_level(logging.DEBUG):
        answer = await visitor.post("/sign-in", name="alice", password="correct horse", back="/")
    assert (answer.status_code, dict(visitor.http.cookies)) == (503, {})
    assert "Nothing was approved." in answer.text
    assert "LookupError at test_door.py" in caplog.text
    for text in (answer.text, caplog.text):
        assert "correct horse" not in text
        assert "no row" not in text


# --- what every answer carries ---------------------------------------------------------------------------------------


async def every_answer(world: PagesWorld) -> list[httpx2.Response]:
    """One of each kind."""
    path = await world.ask()
    alice, stranger = await world.signed_in(), world.visitor()
    return [
        await stranger.get("/sign-in"), await stranger.get("/"), await stranger.get("/style.css"),
        await stranger.get("/icon.svg"), await stranger.get("/nothing"), await stranger.post("/", name="x"),
        await stranger.get("//evil.example/"), await stranger.get("/sign-in/"),
        await stranger.post("/sign-in", name="alice", password="wrong"),
        await stranger.post("/sign-in", {"origin": None}),
        await stranger.http.get("/", headers={"host": "evil.example"}),
        await alice.get("/"), await alice.get(path), await alice.get("/approve/apr_1"), await alice.get("/factors/new"),
        await alice.post(path, answer="deny"), await alice.post("/sign-out"),
    ]  # fmt: skip


async def test_the_fields_of_every_answer(world: PagesWorld) -> None:
    """Pages, redirects, refusals, the stylesheet: nothing runs, nothing frames, nothing is kept, nothing is told."""
    answers = await every_answer(world)
    assert {answer.status_code for answer in answers} == {200, 303, 307, 403, 404, 405, 421}
    for answer in answers:
        fields = answer.headers
        assert fields["content-security-policy"] == (
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        assert fields["x-content-type-options"] == "nosniff"
        assert fields["x-frame-options"] == "DENY"
        assert fields["referrer-policy"] == "same-origin"
        assert fields["cache-control"] == "no-store"
        assert fields["cross-origin-opener-policy"] == "same-origin"
        assert fields["cross-origin-resource-policy"] == "same-origin"
        assert fields["permissions-policy"] == "camera=(), geolocation=(), microphone=()"
        assert fields["strict-transport-security"] == "max-age=31536000"
        assert "access-control-allow-origin" not in fields
        assert "<script" not in answer.text
        assert " style=" not in answer.text
        assert not answer.headers.get("location", "/").startswith(("//", "https://evil"))


async def test_plain_http_asks_for_no_tls(tmp_path: Path) -> None:
    """On loopback there may be none (RFC 6797 section 7.2)."""
    world = PagesWorld(tmp_path, origin="http://localhost:8444")
    answer = await world.visitor().get("/sign-in")
    assert "strict-transport-security" not in answer.headers
    assert answer.headers["x-frame-options"] == "DENY"


async def test_a_secret_is_in_no_address_log_or_repr(world: PagesWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Password, cookie and token: in their own fields and nowhere else."""
    with caplog.at_level(logging.DEBUG):
        alice = await world.signed_in()
        shown = await alice.get("/factors/new")
        await alice.post("/sign-in", name="alice", password="wrong horse")
    kept = Visit("alice", alice.csrf, 0)
    kept.pending = NewSeed("totp", "Phone", SECRET)
    told = caplog.text + repr(kept) + repr(kept.pending) + repr(shown.request.url)
    for secret in ("correct horse", "wrong horse", alice.cookie(), alice.csrf, secret_on(shown), repr(SECRET)):
        assert secret not in told
    assert alice.cookie() not in shown.text


PROXY = "10.0.0.1"


def behind(world: PagesWorld, header: bytes = b"x-forwarded-for") -> PagesWorld:
    """The same pages, whose visitors come through a proxy."""
    world.app = Guarded(world.app._app, world.origin, Proxies(header, (ip_network("10.0.0.0/8"),)))
    return world


async def tried(world: PagesWorld, peer: str, password: str | None = None, **fields: str) -> int:
    """What alice's sign-in is answered, with these fields from the proxy."""
    visitor = world.visitor(peer)
    visitor.http.headers.update({name.replace("_", "-"): value for name, value in fields.items()})
    return (await visitor.sign_in("alice", password)).status_code


async def test_behind_a_proxy_limits_are_per_person(world: PagesWorld) -> None:
    """Whoever tries a name too often keeps out nobody of the same proxy, and is one whatever they add."""
    behind(world)
    for number in range(5):
        assert await tried(world, PROXY, "wrong", x_forwarded_for=f"6.6.6.{number}, {ELSEWHERE}") == 200
    assert await tried(world, PROXY, "wrong", x_forwarded_for=ELSEWHERE) == 429
    assert await tried(world, PROXY, x_forwarded_for=HOME) == 303


async def test_without_proxies_no_header_is_believed(world: PagesWorld) -> None:
    """Nor, where there are some, that of a visitor who comes past them."""
    for number in range(5):
        assert await tried(world, ELSEWHERE, "wrong", x_forwarded_for=f"6.6.6.{number}", forwarded="for=6.6.6.6") == 200
    assert await tried(behind(world), ELSEWHERE, "wrong", x_forwarded_for=HOME) == 429
    assert await tried(behind(world, b"forwarded"), ELSEWHERE, "wrong", forwarded=f"for={HOME}") == 429


async def test_a_visitor_from_nowhere_does_not_sign_in(world: PagesWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Uncounted they could try for ever, and as one they would keep each other out; the operator is told why."""
    behind(world)
    for fields in ({}, {"x_forwarded_for": "unknown"}, {"forwarded": f"for={HOME}"}):
        assert await tried(world, PROXY, **fields) == 503
    assert caplog.messages == ["a page could not be made: internal/address"] * 3
    assert await tried(world, PROXY, x_forwarded_for=HOME) == 303
    assert (await world.visitor(PROXY).get("/sign-in")).status_code == 200


async def test_a_change_of_factors_is_recorded_with_where_it_came_from(world: PagesWorld) -> None:
    """Behind a proxy as before it."""
    visitor = behind(world).visitor(PROXY)
    visitor.http.headers["x-forwarded-for"] = f"6.6.6.6, {HOME}"
    assert (await visitor.sign_in("alice")).status_code == 303
    await world.give_phone()
    before = len(world.ledger.decisions)
    (phone,) = await world.factors.factors("alice")
    assert (await visitor.post(f"/factors/{phone.id}/remove", behind=world.code())).status_code == 303
    assert [one.address for one in world.ledger.decisions[before:]] == [HOME]
