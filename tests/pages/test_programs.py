"""A user's own programs: made and given more behind a code, held closer and ended at once, seen by nobody else."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import time
from html import unescape
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.clients import MOST_APIKEYS, MOST_CLIENTS, Terms, Who
from sealwire.credentials import digest_of
from sealwire.errors import Refusal
from sealwire.pages.visits import MOST_FORMS
from sealwire.ports import Decision, Invitation
from sealwire.ports.apikeys import Client, Use
from sealwire.ports.people import USER_TRIES
from sealwire.protocol import apikey as form
from sealwire.protocol.jwk import verifier_of
from sealwire.protocol.otp import STEP_SECONDS
from sealwire.protocol.ratelimit import Limit
from sealwire.records import ApiKeyRecord, Bounds
from sealwire.stores.sqlite_apikeys import SqliteApiKeys
from sealwire.stores.sqlite_directory import SqliteDirectory
from sealwire.stores.sqlite_file import SqliteFile
from tests.pages.visiting import API, HOME, PagesWorld, Visitor, once, said, shown_once

DAY = 86_400
BOT = {"name": "bot", "kind": "signs", "scope:read": "yes", "scope:trade": "yes", "days": "90"}
DASHBOARD = {"name": "wall.1", "kind": "apikey", "scope:read": "yes", "days": "30"}
RESET = "Your factors were reset a short while ago; until that time is over, nothing is made or given more."
TWICE = "That form was sent before: what it made is here, and its secret is not shown again."
NEEDED = "This lets more through than before: a code of yours is needed."
FROZEN = "This program is frozen, and only the operator can let it go on."
TERMS = Terms(frozenset(("read", "trade")), ("192.0.2.0/24", "2001:db8::/48"), (Limit(60, 60, "own"),))


@pytest.fixture
async def world(tmp_path: Path) -> PagesWorld:
    """Alice has a phone."""
    made = PagesWorld(tmp_path)
    await made.give_phone()
    return made


def later(world: PagesWorld) -> str:
    """The phone's next code."""
    world.clock.at += STEP_SECONDS
    return world.code()


async def sent(visitor: Visitor, page: str, path: str, **fields: str) -> httpx2.Response:
    """A form of a page that was just opened."""
    return await visitor.post(path, once=once(await visitor.get(page)), **fields)


async def new(visitor: Visitor, **fields: str) -> httpx2.Response:
    """The form of a new program."""
    return await sent(visitor, "/programs/new", "/programs/new", **fields)


async def given(world: PagesWorld, user: str = "alice", terms: Terms = TERMS) -> tuple[Client, ApiKeyRecord]:
    """A program that is there already, with one API key."""
    await world.clients.make_client("wall", user, terms, 90, Who("user", HOME))
    (client,) = await world.clients.clients(user)
    (apikey,) = await world.clients.apikeys(client.id)
    return client, apikey


async def only(world: PagesWorld, user: str = "alice") -> Client:
    """The one program of a user."""
    (client,) = await world.clients.clients(user)
    return client


def bound(client: Client, **changed: str) -> dict[str, str]:
    """The form that says what the program has, but for what is changed; an empty value takes a scope away."""
    fields = {f"scope:{scope}": "yes" for scope in client.scopes}
    fields |= {"addresses": "\r\n".join(client.bounds.addresses), "limits": "60/min"} | changed
    return {name: value for name, value in fields.items() if value or not name.startswith("scope:")}


async def good(world: PagesWorld, secret: str) -> str:
    """Why an API key opens nothing now; empty where it does."""
    found = await world.apikeys.apikey(digest_of(world.keyring, secret.encode()))
    assert found is not None
    return found.why_not(world.clock.at)


def told(answer: httpx2.Response) -> str:
    """What the next page says of what was done."""
    found = re.search(r'class="told" role="status">([^<]*)<', answer.text)
    return unescape(found[1]) if found else ""


def last_decision(world: PagesWorld) -> Decision:
    """The last one that was recorded."""
    return world.ledger.decisions[-1]


# --- a new program ---------------------------------------------------------------------------------------------------


async def test_a_bot_is_invited(world: PagesWorld) -> None:
    """Its user's, with what was asked for, for a day; the page says what to run, and the user is told."""
    alice = await world.signed_in()
    answer = await new(alice, **BOT, addresses="192.0.2.7\r\n 2001:db8::/48", limits="60/min, 9/s", behind=later(world))
    assert answer.status_code == 200
    invitation_id = shown_once(answer).removeprefix("sw_live_inv_").partition(".")[0]
    kept = await world.directory.invitation(invitation_id)
    assert kept is not None
    assert (kept.name, kept.user, kept.client, kept.scopes) == ("bot", "alice", "", frozenset(("read", "trade")))
    assert kept.addresses == ("192.0.2.7/32", "2001:db8::/48")
    assert [(limit.quota, limit.period_seconds) for limit in kept.limits] == [(60, 60), (9, 1)]
    assert kept.expires_at == world.clock.at + DAY
    assert f"sealwire enroll {API}<" in answer.text
    made = last_decision(world)
    assert (made.outcome, made.code, made.user, made.address) == ("invited", "user", "alice", HOME)
    assert [(notice.user, notice.about) for notice in world.notices[1:]] == [("alice", "invited")]


async def test_a_dashboard_gets_an_api_key(world: PagesWorld) -> None:
    """Of its user, for the days that were said; it opens what it should from then on."""
    alice = await world.signed_in()
    answer = await new(alice, **DASHBOARD, addresses="192.0.2.0/24", limits="60/min", behind=later(world))
    secret, client = shown_once(answer), await only(world)
    assert form.is_whole(secret.encode())
    assert secret.startswith("sw_live_sk_")
    assert await good(world, secret) == ""
    assert (client.name, client.user, client.scopes) == ("wall.1", "alice", frozenset(("read",)))
    assert client.bounds == Bounds(client.id, ("192.0.2.0/24",), (Limit(60, 60, "own"),))
    (apikey,) = await world.clients.apikeys(client.id)
    assert (apikey.name, apikey.scopes) == ("wall.1", frozenset(("read",)))
    assert apikey.expires_at == world.clock.at + 30 * DAY
    assert f"curl --header @FILE {API}/PATH" in answer.text
    made = last_decision(world)
    assert (made.outcome, made.code, made.user, made.key, made.address) == (
        "apikey-made", "user", "alice", apikey.id, HOME,
    )  # fmt: skip
    assert [(notice.user, notice.about) for notice in world.notices[1:]] == [("alice", "apikey-made")]


@pytest.mark.parametrize("fields", [BOT, DASHBOARD], ids=["bot", "dashboard"])
async def test_a_secret_is_on_one_answer_alone(
    world: PagesWorld, fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """On no other page, in no address, cookie, log, record or notice; the answer is kept by no cache."""
    caplog.set_level(logging.DEBUG)
    alice = await world.signed_in()
    answer = await new(alice, **fields, behind=later(world))
    secret = shown_once(answer)
    hidden = secret.split(".")[1] if "." in secret else secret
    assert len(hidden) >= 40
    assert answer.text.count(hidden) == 1
    assert answer.headers["cache-control"] == "no-store"
    assert "location" not in answer.headers
    assert "set-cookie" not in answer.headers
    paths = ["/", "/programs/new", *(f"/programs/{client.id}" for client in await world.clients.clients("alice"))]
    kept = [(await alice.get(path)).text for path in paths]
    kept += [repr(world.ledger.decisions), repr(list(world.notices)), caplog.text, repr(alice.http.cookies)]
    assert [hidden in text for text in kept] == [False] * len(kept)


@pytest.mark.parametrize("fields", [BOT, DASHBOARD], ids=["bot", "dashboard"])
async def test_a_form_that_was_sent_twice_makes_one(world: PagesWorld, fields: dict[str, str]) -> None:
    """Though the second comes with a fresh code: that one is not used up, and no secret is shown again."""
    alice = await world.signed_in()
    ticket = once(await alice.get("/programs/new"))
    assert shown_once(await alice.post("/programs/new", **fields, once=ticket, behind=later(world)))
    made = len(world.ledger.decisions)
    for again in (ticket, "", "other"):
        code = later(world)
        answer = await alice.post("/programs/new", **fields, once=again, behind=code)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert shown_once(answer) == ""
        assert told(await alice.get("/")) == TWICE
        assert told(await alice.get("/")) == ""
    assert len(world.ledger.decisions) == made
    assert shown_once(await new(alice, **fields, behind=code))


async def test_sent_four_times_at_once_it_makes_one(tmp_path: Path) -> None:
    """As a double click sends it."""
    file = SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, file=file)
    await world.give_phone()
    alice = await world.signed_in()
    fields = DASHBOARD | {"once": once(await alice.get("/programs/new")), "behind": later(world)}
    answers = await asyncio.gather(*(alice.post("/programs/new", **fields) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 303, 303, 303]
    assert len(await world.clients.clients("alice")) == 1
    file.close()


async def test_forms_of_a_visit_are_bounded(world: PagesWorld) -> None:
    """The oldest that is open can be sent no more; the others can."""
    alice = await world.signed_in()
    first = once(await alice.get("/programs/new"))
    second = once(await alice.get("/programs/new"))
    for _ in range(MOST_FORMS - 1):
        await alice.get("/programs/new")
    assert (await alice.post("/programs/new", **BOT, once=first, behind=later(world))).status_code == 303
    assert shown_once(await alice.post("/programs/new", **BOT, once=second, behind=world.code()))


async def test_a_form_of_another_visit_makes_nothing(world: PagesWorld) -> None:
    """Its token is of the visit that it was shown in."""
    alice, elsewhere = await world.signed_in(), await world.signed_in()
    ticket = once(await alice.get("/programs/new"))
    answer = await elsewhere.post("/programs/new", **DASHBOARD, once=ticket, behind=later(world))
    assert answer.status_code == 303
    assert await world.clients.clients("alice") == []


@pytest.mark.parametrize("fields", [BOT, DASHBOARD], ids=["bot", "dashboard"])
async def test_nothing_is_made_without_a_code(world: PagesWorld, fields: dict[str, str]) -> None:
    """None, a wrong one, one that was used; an empty field spends no try, each other one does, to the last."""
    alice = await world.signed_in()
    made = len(world.ledger.decisions)
    assert said(await new(alice, **fields)) == NEEDED
    assert said(await new(alice, **fields, behind="  ")) == NEEDED
    answer = await new(alice, **fields, behind="000000")
    assert said(answer) == f"The code that allows this is wrong. {USER_TRIES - 1} more tries."
    for _ in range(USER_TRIES - 2):
        answer = await new(alice, **fields, behind="000000")
    assert said(answer) == "The code that allows this is wrong. 1 more try."
    for code in ("000000", later(world)):
        assert said(await new(alice, **fields, behind=code)) == "Too many wrong codes; no more are taken for an hour."
    assert len(world.ledger.decisions) == made
    assert await world.clients.clients("alice") == []


async def test_a_code_makes_one_thing(world: PagesWorld) -> None:
    """The same code is no code for the next, nor is another user's."""
    alice = await world.signed_in()
    code = later(world)
    assert shown_once(await new(alice, **DASHBOARD, behind=code))
    assert said(await new(alice, **DASHBOARD, behind=code)).startswith("The code that allows this is wrong.")
    client, _ = await given(world, "bob")
    bob = await world.signed_in("bob")
    assert "Add a phone</a> first." in (await bob.get("/programs/new")).text
    answer = await bob.post(f"/programs/{client.id}", **bound(client, addresses=""), behind=later(world))
    assert said(answer) == "Add a phone first: this needs a code of yours."
    assert "Add a phone</a> first." in answer.text
    assert await only(world, "bob") == client
    assert len(await world.clients.clients("alice")) == 1


async def test_while_factors_cool_down_nothing_is_made_or_given_more(world: PagesWorld) -> None:
    """To the second; taking away and ending need no factor, so they go on."""
    client, apikey = await given(world)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    tickets = [once(await alice.get("/programs/new")) for _ in range(5)]
    over = world.clock.at + 60
    await world.factors.cool("alice", over, last_decision(world))
    world.clock.at = over - 1
    pages = [(await alice.get(page)).text for page in ("/programs/new", here)]
    assert ["Nothing is made or given more until" in page for page in pages] == [True, True]
    code, made = world.code(), len(world.ledger.decisions)
    # Of forms that were open before: the pages have none now.
    for path, fields in (
        ("/programs/new", DASHBOARD),
        ("/programs/new", BOT),
        (here, bound(client, addresses="")),
        (f"{here}/apikeys", {"name": "x", "days": "1"}),
        (f"{here}/apikeys/{apikey.id}/rotate", {"days": "1"}),
    ):
        assert said(await alice.post(path, **fields, once=tickets.pop(), behind=code)) == RESET
    assert len(world.ledger.decisions) == made
    assert (await sent(alice, here, here, **bound(client, addresses="192.0.2.1"))).status_code == 303
    assert (await only(world)).bounds.addresses == ("192.0.2.1/32",)
    world.clock.at = over
    assert shown_once(await new(alice, **DASHBOARD, behind=world.code()))


async def test_a_recovery_code_makes_one_thing_and_starts_the_cool_down(world: PagesWorld) -> None:
    """Whoever finds the paper gets no second thing, and no approval of what the first asks; its owner is told."""
    codes = await world.presence.add_recovery("alice", "user", HOME)
    alice = await world.signed_in()
    tickets = [once(await alice.get("/programs/new")) for _ in range(2)]
    assert shown_once(await new(alice, **DASHBOARD, behind=codes[0]))
    assert await world.factors.cooling_until("alice") == world.clock.at + DAY
    assert [one for one in world.recorded() if one[0] == "factors-reset"] == [
        ("factors-reset", "recovery/user", "alice")
    ]
    assert [notice.about for notice in world.notices][-2:] == ["factors-reset", "apikey-made"]
    for ticket, code in zip(tickets, (codes[1], later(world)), strict=True):
        assert said(await alice.post("/programs/new", **BOT, once=ticket, behind=code)) == RESET
    path = await world.ask()
    assert said(await alice.post(path, answer="approve", code=world.code())).startswith("Your factors were reset")


@pytest.mark.parametrize("scope", ["admin", "withdraw", "reed", "<b>", "\u202e", ""])
@pytest.mark.parametrize("fields", [BOT, DASHBOARD], ids=["bot", "dashboard"])
async def test_no_scope_beyond_what_users_may_give(world: PagesWorld, fields: dict[str, str], scope: str) -> None:
    """Though the form was forged: the page offers `pages.scopes` alone, and the code is not used up."""
    alice = await world.signed_in()
    page = await alice.get("/programs/new")
    assert re.findall(r'name="(scope:[^"]*)"', page.text) == ["scope:read", "scope:trade"]
    code = later(world)
    answer = await new(alice, **fields, **{f"scope:{scope}": "yes"}, behind=code)
    assert re.search(r'role="alert">The scope .*is not yours to give\.</p>', answer.text)
    assert "<b>" not in answer.text
    assert await world.clients.clients("alice") == []
    assert shown_once(await new(alice, **fields, behind=code))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": "My Wall"}, '"My Wall" is no name: 1 to 100 of letters, digits, dot, dash, underscore.'),
        ({"name": ""}, '"" is no name: 1 to 100 of letters, digits, dot, dash, underscore.'),
        ({"kind": "other"}, "Say what it is: a program that signs, or one with an API key."),
        ({"days": "0"}, "An API key lives for 1 to 365 days."),
        ({"days": "366"}, "An API key lives for 1 to 365 days."),
        ({"days": "-1"}, "An API key lives for 1 to 365 days."),
        ({"days": "\u0663"}, "An API key lives for 1 to 365 days."),
        ({"days": "x"}, "An API key lives for 1 to 365 days."),
        ({"days": ""}, "An API key lives for 1 to 365 days."),
        (
            {"addresses": "192.0.2.0/24\nhome"},
            '"home" is no address and no network; it is one as in 192.0.2.7 or 2001:db8::/48.',
        ),
        ({"limits": "60 a minute"}, "'60 a minute' is not of the form N/period, as in 60/min."),
        ({"limits": "60/min\n30/min"}, "Two limits count over the same time; say the smaller one."),
        (
            {"addresses": "\n".join(f"192.0.2.{number}" for number in range(21))},
            "At most 20 addresses and 20 limits can be given.",
        ),
    ],
)
async def test_what_cannot_be_is_said_and_costs_no_code(
    world: PagesWorld, changed: dict[str, str], sentence: str
) -> None:
    """In a sentence beside the form, with all that was typed, but never the code."""
    alice = await world.signed_in()
    code, typed = later(world), DASHBOARD | {"addresses": "192.0.2.0/24", "limits": "60/min"} | changed
    answer = await new(alice, **typed, behind=code)
    assert (answer.status_code, said(answer)) == (200, sentence)
    assert f'name="name" value="{typed["name"]}"' in answer.text
    assert f'name="days" inputmode="numeric" maxlength="4" value="{typed["days"]}"' in answer.text
    for name in ("addresses", "limits"):
        found = re.search(rf'<textarea id="{name}"[^>]*>\n([^<]*)</textarea>', answer.text)
        assert found is not None
        assert unescape(found[1]) == typed[name]
    assert re.findall(r'name="scope:(\w+)" value="yes" checked', answer.text) == ["read"]
    assert re.findall(r'name="kind" value="(\w+)" checked', answer.text) == (
        ["apikey"] if "kind" not in changed else []
    )
    assert code not in answer.text
    assert await world.clients.clients("alice") == []
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


async def test_a_bot_needs_no_days(world: PagesWorld) -> None:
    """They are of an API key; what stands there is not looked at."""
    alice = await world.signed_in()
    assert shown_once(await new(alice, **(BOT | {"days": "never"}), behind=later(world)))


async def test_no_more_programs_than_there_is_room_for(world: PagesWorld) -> None:
    """It is said before a code is used up."""
    for number in range(MOST_CLIENTS):
        await world.clients.make_client(f"wall-{number}", "alice", Terms(frozenset()), 1, Who("user", HOME))
    alice = await world.signed_in()
    code = later(world)
    for fields in (BOT, DASHBOARD):
        told = said(await new(alice, **fields, behind=code))
        assert told == f"A user has at most {MOST_CLIENTS} clients; end one first."
    bob = await world.signed_in("bob")
    await world.give_phone("bob")
    assert shown_once(await new(bob, **DASHBOARD, behind=code))
    first = (await world.clients.clients("alice"))[0]
    assert await world.clients.end(first, Who("user", HOME)) == 1
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


# --- more and less ---------------------------------------------------------------------------------------------------

LESS = [
    {"scope:trade": ""},
    {"scope:trade": "", "scope:read": ""},
    {"addresses": "192.0.2.64/26"},
    {"limits": "59/min"},
    {"limits": "60/min, 1000/day"},
]
MORE = [
    {"addresses": ""},
    {"addresses": "192.0.2.0/23"},
    {"addresses": "192.0.2.0/24\n198.51.100.1", "scope:trade": ""},
    {"addresses": "0.0.0.0/0"},
    {"limits": ""},
    {"limits": "61/min"},
    {"limits": "60/hour"},
    {"limits": "1000/day"},
]


@pytest.mark.parametrize("changed", LESS)
async def test_less_needs_no_code(world: PagesWorld, changed: dict[str, str]) -> None:
    """It holds at once, is recorded with who and from where, and nobody is told."""
    client, _ = await given(world)
    alice = await world.signed_in()
    before = len(world.notices)
    answer = await sent(alice, f"/programs/{client.id}", f"/programs/{client.id}", **bound(client, **changed))
    assert (answer.status_code, answer.headers["location"]) == (303, f"/programs/{client.id}")
    assert told(await alice.get(f"/programs/{client.id}")) == "Changed. It holds from the next call on."
    assert told(await alice.get(f"/programs/{client.id}")) == ""
    now = await only(world)
    assert now.scopes == {scope for scope in ("read", "trade") if changed.get(f"scope:{scope}", "yes")}
    if "addresses" in changed:
        assert now.bounds.addresses == (changed["addresses"],)
    if "limits" in changed:
        assert len(now.bounds.limits) == changed["limits"].count("/")
    change = last_decision(world)
    assert (change.outcome, change.code, change.client, change.address) == ("client-bound", "user", client.id, HOME)
    assert len(world.notices) == before


@pytest.mark.parametrize("changed", MORE)
async def test_more_needs_a_code(world: PagesWorld, changed: dict[str, str]) -> None:
    """None and a wrong one change nothing, and what was typed is there again; of a right one its user is told."""
    client, _ = await given(world)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    fields = bound(client, **changed)
    answer = await sent(alice, here, here, **fields)
    assert (answer.status_code, said(answer)) == (200, NEEDED)
    answer = await sent(alice, here, here, **fields, behind="000000")
    assert said(answer) == f"The code that allows this is wrong. {USER_TRIES - 1} more tries."
    for name in ("addresses", "limits"):
        found = re.search(rf'<textarea id="{name}"[^>]*>\n([^<]*)</textarea>', answer.text)
        assert found is not None
        assert found[1] == fields[name]
    assert '<details id="bind" open>' in answer.text
    assert await only(world) == client
    assert (await sent(alice, here, here, **fields, behind=later(world))).status_code == 303
    assert await only(world) != client
    assert (world.notices[-1].user, world.notices[-1].about) == ("alice", "client-widened")


async def test_a_scope_that_was_taken_comes_back_behind_a_code(world: PagesWorld) -> None:
    """Where users may give it. It is judged by what is stored when the form comes, not when it was opened."""
    client, _ = await given(world)
    here = f"/programs/{client.id}"
    alice, stale = await world.signed_in(), await world.signed_in()
    await stale.get(here)
    await alice.post(here, **bound(client, **{"scope:trade": ""}))
    assert said(await stale.post(here, **bound(client))) == NEEDED
    assert (await only(world)).scopes == {"read"}
    assert (await stale.post(here, **bound(client), behind=later(world))).status_code == 303
    assert (await only(world)).scopes == {"read", "trade"}


async def test_a_scope_of_the_operators_stays_or_goes_for_good(world: PagesWorld) -> None:
    """What the operator gave beyond what users may give can be kept and taken away, and not be given back."""
    client, _ = await given(world, terms=TERMS._replace(scopes=frozenset(("admin", "read"))))
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    assert re.findall(r'name="(scope:\w+)"', (await alice.get(here)).text)[:3] == [
        "scope:admin", "scope:read", "scope:trade",
    ]  # fmt: skip
    assert (await alice.post(here, **bound(client, **{"scope:read": ""}))).status_code == 303
    assert (await only(world)).scopes == {"admin"}
    assert (await alice.post(here, **bound(client, **{"scope:admin": "", "scope:read": ""}))).status_code == 303
    code = later(world)
    answer = await alice.post(here, **bound(client), behind=code)
    assert said(answer) == "The scope admin is not yours to give."
    assert (await only(world)).scopes == frozenset()


async def test_a_scope_that_no_rule_names_any_more_stands_in_no_ones_way(world: PagesWorld) -> None:
    """The program had it when the rules were others: it can be held closer all the same, and lose it."""
    client, _ = await given(world, terms=TERMS._replace(scopes=frozenset(("old", "read"))))
    alice = await world.signed_in()
    here = f"/programs/{client.id}"
    assert (await alice.post(here, **bound(client, limits="5/min"))).status_code == 303
    assert (await only(world)).scopes == {"old", "read"}
    assert (await alice.post(here, **bound(client, limits="5/min", **{"scope:old": ""}))).status_code == 303
    assert (await only(world)).scopes == {"read"}


async def test_taking_one_thing_away_gives_no_other_back(tmp_path: Path) -> None:
    """Two forms at once, each less than what was there: the later is judged by what the earlier left."""
    file = SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, file=file)
    await world.give_phone()
    client, _ = await given(world)
    alice, thief = await world.signed_in(), await world.signed_in()
    here = f"/programs/{client.id}"
    answers = await asyncio.gather(
        alice.post(here, **bound(client, **{"scope:trade": ""})),
        *(thief.post(here, **bound(client, limits=f"{59 - number}/min")) for number in range(3)),
    )
    assert answers[0].status_code == 303
    assert (await only(world)).scopes == {"read"}
    file.close()


@pytest.mark.parametrize("changed", [{}, {"addresses": "2001:db8::/48\n192.0.2.0/24\n192.0.2.1"}])
async def test_a_form_that_changes_nothing_is_not_recorded(world: PagesWorld, changed: dict[str, str]) -> None:
    """It needs no code, so it could be sent for ever."""
    client, _ = await given(world)
    alice = await world.signed_in()
    before = len(world.ledger.decisions)
    assert (await alice.post(f"/programs/{client.id}", **bound(client, **changed))).status_code == 303
    assert told(await alice.get(f"/programs/{client.id}")) == "Nothing was changed."
    assert await only(world) == client
    assert len(world.ledger.decisions) == before


async def test_what_the_operator_takes_meanwhile_stays_taken(tmp_path: Path) -> None:
    """By the command line, in another process, while a browser asks for a little less than the program had."""
    file, elsewhere = SqliteFile(tmp_path / "durable.db"), SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, file=file)
    await world.give_phone()
    client, _ = await given(world)
    thief = await world.signed_in()
    begun, taken = asyncio.Event(), asyncio.Event()
    quotas = itertools.count(-59)

    async def insist() -> None:
        while not taken.is_set():
            await thief.post(f"/programs/{client.id}", **bound(client, limits=f"{max(1, -next(quotas))}/min"))
            begun.set()

    insisting = [asyncio.create_task(insist()) for _ in range(4)]
    await begun.wait()
    await SqliteApiKeys(elsewhere).bind_client(frozenset(("read",)), client.bounds, last_decision(world))
    taken.set()
    await asyncio.gather(*insisting)
    assert (await only(world)).scopes == {"read"}
    file.close()
    elsewhere.close()


async def test_what_cannot_be_changed_is_said(world: PagesWorld) -> None:
    """Beside the form, with what was typed."""
    client, _ = await given(world)
    alice = await world.signed_in()
    answer = await alice.post(f"/programs/{client.id}", **bound(client, addresses="192.0.2.1\nhome", limits="9/min"))
    assert said(answer) == '"home" is no address and no network; it is one as in 192.0.2.7 or 2001:db8::/48.'
    assert "192.0.2.1\nhome</textarea>" in answer.text.replace("\r\n", "\n")
    assert await only(world) == client


ZONES = [
    "2001:db8::1%0 203.0.113.5 2001:db8::2",  # kept with spaces between, it would be three
    "2001:db8::1%eth0",
    "2001:db8::%1/64",
]


@pytest.mark.parametrize("typed", ZONES)
async def test_no_network_comes_in_the_name_of_a_link(tmp_path: Path, typed: str) -> None:
    """An address with a zone is refused: behind the percent sign anything could stand, and go in without a code."""
    file = SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, file=file)
    client, _ = await given(world, terms=Terms(frozenset(("read",)), ("2001:db8::/32",), TERMS.limits))
    alice = await world.signed_in()
    answer = await alice.post(f"/programs/{client.id}", **bound(client, addresses=typed))
    assert said(answer).startswith(f'"{typed}" is no address and no network')
    assert await only(world) == client
    file.close()


# --- API keys of a program -------------------------------------------------------------------------------------------


async def test_one_more_api_key(world: PagesWorld) -> None:
    """With scopes of the program's own, behind a code, once for each form."""
    client, _ = await given(world)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    fields = {"name": "second", "scope:read": "yes", "days": "7"}
    assert said(await sent(alice, here, f"{here}/apikeys", **fields)) == NEEDED
    assert said(await sent(alice, here, f"{here}/apikeys", **fields, behind="000000")).startswith("The code that")
    ticket = once(await alice.get(here))
    answer = await alice.post(f"{here}/apikeys", **fields, once=ticket, behind=later(world))
    secret = shown_once(answer)
    assert await good(world, secret) == ""
    again = await alice.post(f"{here}/apikeys", **fields, once=ticket, behind=later(world))
    assert (again.status_code, again.headers["location"]) == (303, here)
    page = await alice.get(here)
    assert told(page) == TWICE
    assert secret not in page.text
    _, made = await world.clients.apikeys(client.id)
    assert (made.name, made.scopes, made.expires_at) == (
        "second", frozenset(("read",)), world.clock.at - STEP_SECONDS + 7 * DAY,
    )  # fmt: skip
    assert (last_decision(world).outcome, last_decision(world).address) == ("apikey-made", HOME)
    assert world.notices[-1].about == "apikey-made"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"scope:trade": "yes"}, "The program itself has no scope trade."),
        ({"scope:admin": "yes"}, "The program itself has no scope admin."),
        ({"name": "a b"}, '"a b" is no name: 1 to 100 of letters, digits, dot, dash, underscore.'),
        ({"days": "400"}, "An API key lives for 1 to 365 days."),
    ],
)
async def test_an_api_key_that_cannot_be(world: PagesWorld, changed: dict[str, str], sentence: str) -> None:
    """It costs no code, and what was typed stays."""
    client, _ = await given(world, terms=Terms(frozenset(("read",))))
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    code, fields = later(world), {"name": "second", "scope:read": "yes", "days": "7"}
    answer = await sent(alice, here, f"{here}/apikeys", **(fields | changed), behind=code)
    assert said(answer) == sentence
    assert f'name="name" value="{(fields | changed)["name"]}"' in answer.text
    assert '<details id="new" open>' in answer.text
    assert code not in answer.text
    assert len(await world.clients.apikeys(client.id)) == 1
    assert shown_once(await sent(alice, here, f"{here}/apikeys", **fields, behind=code))


async def test_no_more_api_keys_than_there_is_room_for(world: PagesWorld) -> None:
    """It is said before a code is used up."""
    client, _ = await given(world)
    for number in range(MOST_APIKEYS - 1):
        await world.clients.make_apikey(client, f"key-{number}", Terms(frozenset()), 1)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    code = later(world)
    answer = await sent(alice, here, f"{here}/apikeys", name="more", days="1", behind=code)
    assert said(answer) == f"A client has at most {MOST_APIKEYS} API keys; end one first."
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


async def test_an_api_key_is_rotated(world: PagesWorld) -> None:
    """Behind a code; the old secret goes on until the time that the page says, and is refused from then on."""
    alice = await world.signed_in()
    old = shown_once(await new(alice, **DASHBOARD, behind=later(world)))
    client = await only(world)
    (apikey,) = await world.clients.apikeys(client.id)
    here, path = f"/programs/{client.id}", f"/programs/{client.id}/apikeys/{apikey.id}/rotate"
    assert said(await sent(alice, here, path, days="90")) == NEEDED
    wrong = await sent(alice, here, path, days="90", behind="000000")
    assert said(wrong).startswith("The code that allows this is wrong.")
    assert wrong.text.index("<summary>Rotate wall.1</summary>") < wrong.text.index('role="alert"')
    assert said(await sent(alice, here, path, days="366", behind=later(world))) == "An API key lives for 1 to 365 days."
    ticket = once(await alice.get(here))
    answer = await alice.post(path, days="90", once=ticket, behind=world.code())
    fresh = shown_once(answer)
    assert fresh not in ("", old)
    assert [await good(world, secret) for secret in (old, fresh)] == ["", ""]
    (rotated,) = await world.clients.apikeys(client.id)
    assert (rotated.id, rotated.expires_at) == (apikey.id, world.clock.at + 90 * DAY)
    assert (last_decision(world).outcome, last_decision(world).code) == ("apikey-rotated", "user")
    assert world.notices[-1].about == "apikey-rotated"
    assert (await alice.post(path, days="90", once=ticket, behind=later(world))).status_code == 303
    page = await alice.get(here)
    assert "Its old secret is good until" in page.text
    assert fresh not in page.text
    world.clock.at += DAY
    await alice.sign_in("alice")
    assert "Its old secret is good until" not in (await alice.get(here)).text
    assert [await good(world, secret) for secret in (old, fresh)] == ["retired", ""]


@pytest.mark.parametrize("over", ["ended", "expired"])
async def test_an_api_key_that_is_over_is_not_rotated(world: PagesWorld, over: str) -> None:
    """The page offers it no more; a form that was open costs no code."""
    client, apikey = await given(world)
    here = f"/programs/{client.id}"
    if over == "ended":
        await world.clients.revoke(apikey)
    else:
        world.clock.at = apikey.expires_at
    alice = await world.signed_in()
    page = await alice.get(here)
    assert f"{apikey.id}/rotate" not in page.text
    assert f'<span class="state">{over}</span>' in page.text
    code, path = later(world), f"{here}/apikeys/{apikey.id}/rotate"
    answer = await sent(alice, here, path, days="90", behind=code)
    assert (answer.status_code, shown_once(answer)) == (200, "")
    (still,) = await world.clients.apikeys(client.id)
    assert still.expires_at == apikey.expires_at
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


# --- ending ----------------------------------------------------------------------------------------------------------


async def test_an_api_key_ends_at_once(world: PagesWorld) -> None:
    """Without a code; the others go on, and ending it again records nothing."""
    client, apikey = await given(world)
    await world.clients.make_apikey(client, "other", Terms(frozenset()), 9)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    for _ in range(2):
        answer = await alice.post(f"{here}/apikeys/{apikey.id}/end")
        assert (answer.status_code, answer.headers["location"]) == (303, here)
        assert told(await alice.get(here)) == "The API key wall has ended."
    assert [one.state for one in await world.clients.apikeys(client.id)] == ["revoked", "active"]
    ended = [one for one in world.ledger.decisions if one.outcome == "apikey-revoked"]
    assert [(one.code, one.key, one.address) for one in ended] == [("user", apikey.id, HOME)]


async def test_a_key_ends_at_once(world: PagesWorld) -> None:
    """Without a code, and once."""
    keyid, other = world.enrol_bot(), world.enrol_bot()
    alice = await world.signed_in()
    page = (await alice.get("/programs/cli_bot")).text
    assert [f"{one}</code>" in page for one in (keyid, other)] == [True, True]
    assert "ed25519, since" in page
    for _ in range(2):
        answer = await alice.post(f"/programs/cli_bot/keys/{keyid}/end")
        assert (answer.status_code, answer.headers["location"]) == (303, "/programs/cli_bot")
    assert [one.state for one in await world.directory.keys("cli_bot")] == ["revoked", "active"]
    ended = [one for one in world.ledger.decisions if one.outcome == "key-revoked"]
    assert [(one.code, one.key, one.user, one.address) for one in ended] == [("user", keyid, "alice", HOME)]


@pytest.mark.parametrize("name", ["", "Wall", "wall2", "cli_bot"])
async def test_a_program_ends_by_its_name(world: PagesWorld, name: str) -> None:
    """All that it calls with, at once; another name ends nothing."""
    client, apikey = await given(world)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    answer = await alice.post(f"{here}/end", name=name)
    assert said(answer) == "That is not its name. Nothing was ended."
    assert '<details id="end" open>' in answer.text
    assert (await world.clients.apikeys(client.id))[0].state == "active"
    answer = await alice.post(f"{here}/end", name=" wall ")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await world.clients.apikeys(client.id))[0].state == "revoked"
    page = await alice.get("/")
    assert told(page) == "wall has ended: nothing of it calls any more."
    assert '<span class="state">ended</span>' in page.text
    change = last_decision(world)
    assert (change.outcome, change.code, change.client, change.address) == ("client-ended", "user", client.id, HOME)
    assert apikey.id in (await alice.get(here)).text


async def test_a_frozen_program_is_given_nothing(world: PagesWorld) -> None:
    """Its user said that it was not them; no form of theirs lets it go on beside the freeze. Ending it goes on."""
    client, apikey = await given(world)
    approval = await world.approvals.approval((await world.ask()).rpartition("/")[2])
    assert approval is not None
    await world.presence.disown(approval._replace(client=client.id), HOME)
    here = f"/programs/{client.id}"
    alice = await world.signed_in()
    page = (await alice.get(here)).text
    assert "only the operator can let it go on" in page
    assert f"{here}/apikeys" + '#new"' not in page
    code, made = later(world), len(world.ledger.decisions)
    for path, fields in (
        (f"{here}/apikeys", {"name": "beside", "days": "1"}),
        (here, bound(client, addresses="")),
    ):
        assert said(await sent(alice, "/programs/new", path, **fields, behind=code)) == FROZEN
    answer = await sent(alice, "/programs/new", f"{here}/apikeys/{apikey.id}/rotate", days="9", behind=code)
    assert (answer.status_code, shown_once(answer)) == (200, "")
    assert len(world.ledger.decisions) == made
    assert '<span class="state bad">frozen</span>' in (await alice.get("/")).text
    assert (await alice.post(f"{here}/apikeys/{apikey.id}/end")).status_code == 303
    assert [one.state for one in await world.clients.apikeys(client.id)] == ["revoked"]
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


# --- invitations that wait -------------------------------------------------------------------------------------------


async def invited(world: PagesWorld, name: str, user: str = "alice", hours: int = 24) -> str:
    """An invitation that waits: its id."""
    written = await world.clients.invite(name, user, Terms(frozenset(("trade", "read"))), hours, Who("user", HOME))
    return written.removeprefix("sw_live_inv_").partition(".")[0]


async def enrolled(world: PagesWorld, invitation: str) -> str:
    """Spends it: the new key."""
    verifier = verifier_of(Ed25519PrivateKey.generate().public_key())
    await world.directory.enrol(invitation, verifier, "cli_new", "laptop", world.clock.at)
    return verifier.keyid


def waiting(answer: httpx2.Response) -> list[tuple[str, str]]:
    """Each invitation on the page: its name, and where its form goes."""
    found = re.search(r'<ul class="invitations">(.*?)</ul>', answer.text, re.DOTALL)
    form = r'<strong>([^<]*)</strong>.*?action="/invitations/([^"]+)/end"'
    return re.findall(form, found[1], re.DOTALL) if found else []


async def test_the_invitations_that_wait(world: PagesWorld) -> None:
    """Name, scopes and end, the first to end first; none that was used, ended or is late, and nobody else's."""
    alice = await world.signed_in()
    assert "Invitations that wait" not in (await alice.get("/")).text
    last, first = await invited(world, "last"), await invited(world, "first", hours=1)
    used, ended = await invited(world, "used"), await invited(world, "ended")
    await invited(world, "his", "bob")
    await enrolled(world, used)
    await world.clients.end_invitation(ended)
    page = await alice.get("/")
    assert waiting(page) == [("first", first), ("last", last)]
    until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(world.clock.at + 3600))
    assert re.search(rf'first</strong>\s*<span class="when">may: read, trade; until <time datetime="{until}', page.text)
    world.clock.at += 3600
    assert waiting(await (await world.signed_in()).get("/")) == [("last", last)]


async def test_an_invitation_ends_at_once(world: PagesWorld) -> None:
    """Without a code; it enrols nothing from then on, and ending it again is harmless and records nothing."""
    ending, other = await invited(world, "lost"), await invited(world, "kept")
    alice = await world.signed_in()
    for _ in range(2):
        answer = await alice.post(f"/invitations/{ending}/end")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        page = await alice.get("/")
        assert (told(page), waiting(page)) == ("The invitation of lost has ended.", [("kept", other)])
    with pytest.raises(Refusal, match="invitation-invalid/expired"):
        await enrolled(world, ending)
    made = [one for one in world.ledger.decisions if one.outcome == "invitation-ended"]
    assert [(one.code, one.key, one.user, one.address) for one in made] == [("user", ending, "alice", HOME)]
    await enrolled(world, other)


async def test_an_invitation_that_was_used_is_not_called_ended(world: PagesWorld) -> None:
    """Somebody enrolled while the page was open: its user is told to end the key, which goes on."""
    invitation = await invited(world, "lost")
    alice = await world.signed_in()
    assert waiting(await alice.get("/")) == [("lost", invitation)]
    key, before = await enrolled(world, invitation), len(world.ledger.decisions)
    answer = await alice.post(f"/invitations/{invitation}/end")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = await alice.get("/")
    assert told(page) == "The invitation of lost was used before: end the key that came of it."
    assert waiting(page) == []
    assert '<a href="/programs/cli_new">lost</a>' in page.text
    assert [(one.keyid, one.state) for one in await world.directory.keys("cli_new")] == [(key, "active")]
    assert len(world.ledger.decisions) == before


async def test_while_it_is_used_an_invitation_is_called_what_it_came_to(tmp_path: Path) -> None:
    """Ended and used at once, in two processes: who reads that it has ended has no key of it, and the other way."""
    file, elsewhere = SqliteFile(tmp_path / "durable.db"), SqliteFile(tmp_path / "durable.db")
    world = PagesWorld(tmp_path, file=file)
    alice = await world.signed_in()
    for number in range(40):
        invitation, verifier = await invited(world, "bot"), verifier_of(Ed25519PrivateKey.generate().public_key())
        enrol = SqliteDirectory(elsewhere).enrol(invitation, verifier, f"cli_{number}", "n", world.clock.at)
        acts = [alice.post(f"/invitations/{invitation}/end"), enrol]
        await asyncio.gather(*(acts if number % 2 else acts[::-1]), return_exceptions=True)
        came = "has ended" if await SqliteDirectory(file).key(verifier.keyid) is None else "was used before"
        assert told(await alice.get("/")).startswith(f"The invitation of bot {came}")
    file.close()
    elsewhere.close()


async def test_an_invitation_of_somebody_else_is_none(world: PagesWorld) -> None:
    """M4: one that waits, was used, or is of no user answers as where there is none, and changes nothing."""
    his, used, nobodys = await invited(world, "his", "bob"), await invited(world, "used", "bob"), "nobodys"
    await enrolled(world, used)
    end = world.clock.at + 60
    await world.directory.add_invitation(Invitation(nobodys, "bot", "", None, frozenset(), (), b"w", end))
    alice = await world.signed_in()
    before = len(world.ledger.decisions)
    none = await alice.post("/invitations/none/end")
    for invitation in (his, used, nobodys):
        answer = await alice.post(f"/invitations/{invitation}/end")
        assert (answer.status_code, answer.content, answer.headers) == (404, none.content, none.headers)
    assert len(world.ledger.decisions) == before
    assert [one.id for one in await world.clients.invitations()] == [nobodys, his]
    assert not await world.clients.end_invitation(his, "alice", Who("user", HOME))
    assert await world.clients.end_invitation(his, "bob", Who("user", HOME))


async def test_an_invitation_ends_by_a_form_of_ours_alone(world: PagesWorld) -> None:
    """Without its token, from another site, or by nobody who is signed in, nothing ends."""
    path = f"/invitations/{await invited(world, 'bot')}/end"
    alice = await world.signed_in()
    assert (await alice.post(path, csrf="x")).status_code == 403
    assert (await alice.post(path, {"origin": "https://evil.example"})).status_code == 403
    answer = await world.visitor().post(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?back=/")
    assert (await alice.get(path)).status_code == 405
    assert len(await world.clients.invitations("alice")) == 1
    assert (await alice.post(path)).status_code == 303
    assert await world.clients.invitations("alice") == []


# --- whose it is -----------------------------------------------------------------------------------------------------

FORMS = {
    "show": "",
    "bind": "",
    "end": "/end",
    "make": "/apikeys",
    "rotate": "/apikeys/{apikey}/rotate",
    "end apikey": "/apikeys/{apikey}/end",
    "end key": "/keys/{key}/end",
}


@pytest.mark.parametrize("what", FORMS)
async def test_a_program_of_somebody_else_is_none(world: PagesWorld, what: str) -> None:
    """M4: each page and form of it answers as where there is none, byte by byte, changes nothing and spends no code."""
    theirs, apikey = await given(world, "bob")
    key = world.enrol_bot()
    record = world.directory._keys[key]
    world.directory._keys[key] = record._replace(client=theirs.id, user="bob")
    alice = await world.signed_in()
    await alice.get("/programs/new")
    code, before = later(world), len(world.ledger.decisions)
    answers = []
    for client, its, one in ((theirs.id, apikey.id, key), ("cli_none", "apk_none", "none")):
        path = f"/programs/{client}" + FORMS[what].format(apikey=its, key=one)
        fields = bound(theirs) | {"name": "wall", "days": "9", "behind": code}
        ticket = once(await alice.get("/programs/new"))
        answers.append(await (alice.get(path) if what == "show" else alice.post(path, once=ticket, **fields)))
    answer, none = answers
    assert (answer.status_code, answer.content, answer.headers) == (404, none.content, none.headers)
    assert len(world.ledger.decisions) == before
    assert [one.state for one in await world.clients.apikeys(theirs.id)] == ["active"]
    assert await only(world, "bob") == theirs
    assert shown_once(await new(alice, **DASHBOARD, behind=code))


@pytest.mark.parametrize("what", ["rotate", "end apikey", "end key"])
async def test_a_key_of_another_program_is_none(world: PagesWorld, what: str) -> None:
    """M4: under the address of one's own program, too: of another user's, and of another of one's own."""
    mine, _ = await given(world)
    _, apikey = await given(world, "bob")
    key = world.enrol_bot()
    alice = await world.signed_in()
    await world.clients.make_client("second", "alice", Terms(frozenset()), 9)
    second = (await world.clients.clients("alice"))[-1]
    (own,) = await world.clients.apikeys(second.id)
    before = len(world.ledger.decisions)
    for its in (apikey.id, own.id):
        path = f"/programs/{mine.id}" + FORMS[what].format(apikey=its, key=key)
        assert (await sent(alice, f"/programs/{mine.id}", path, days="9", behind=world.code())).status_code == 404
    assert len(world.ledger.decisions) == before
    assert [one.state for one in await world.clients.apikeys()] == ["active"] * 3


@pytest.mark.parametrize("what", list(FORMS)[1:])
async def test_a_form_that_is_not_ours_does_nothing(world: PagesWorld, what: str) -> None:
    """Without its token, or from another site; and nobody who is not signed in gets anywhere."""
    client, apikey = await given(world)
    key = world.enrol_bot()
    path = f"/programs/{client.id if what != 'end key' else 'cli_bot'}" + FORMS[what].format(apikey=apikey.id, key=key)
    alice = await world.signed_in()
    ticket = once(await alice.get(f"/programs/{client.id}"))
    fields = bound(client, limits="5/min") | {"name": "wall", "days": "9", "behind": later(world), "once": ticket}
    before = len(world.ledger.decisions)
    assert (await alice.post(path, **fields, csrf="x")).status_code == 403
    assert (await alice.post(path, {"origin": "https://evil.example"}, **fields)).status_code == 403
    answer = await world.visitor().post(path, **fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?back=/")
    assert len(world.ledger.decisions) == before
    assert (await alice.post(path, **fields)).status_code in (200, 303)
    assert len(world.ledger.decisions) == before + 1


# --- what is told ----------------------------------------------------------------------------------------------------


def used(client: Client, credential: str, reason: str, at: float, calls: int = 1, address: str = "192.0.2.7") -> Use:
    """Counts of the day of their moment."""
    return Use(client.id, credential, reason, int(at // DAY), calls, at, address)


async def test_the_list_is_of_ones_own(world: PagesWorld) -> None:
    """Name, kind, scopes, the last call and where it came from; nobody else's."""
    client, apikey = await given(world)
    await given(world, "bob")
    key = world.enrol_bot()
    now = world.clock.at
    await world.apikeys.add_uses(
        (
            used(client, apikey.id, "ok", now - 5, address="192.0.2.77"),
            used(client, apikey.id, "ok", now - 2 * DAY),
            used(client, apikey.id, "rate-limited", now, address="203.0.113.1"),
        )
    )
    alice = await world.signed_in()
    page = (await alice.get("/")).text
    assert re.findall(r'<a href="/programs/([^"]+)">([^<]+)</a>', page) == [
        ("cli_bot", "TradeBot"),
        (client.id, "wall"),
    ]
    lines = [re.sub(r"<[^>]+>", "", line) for line in re.findall(r'<span class="when">(.*?)</span>\n?', page)]
    assert "signs; may: withdraw" in lines
    assert "API key; may: read, trade" in lines
    assert "no call yet" in lines
    assert [line.endswith("from 192.0.2.77") for line in lines if line.startswith("last call")] == [True]
    await world.clients.make_apikey(
        next(one for one in await world.clients.clients() if one.id == "cli_bot"), "x", Terms(frozenset()), 1
    )
    assert "signs, with an API key; may" in (await alice.get("/")).text
    assert key in (await alice.get("/programs/cli_bot")).text


async def test_ended_programs_stand_last(world: PagesWorld) -> None:
    """Those that can call come first."""
    client, _ = await given(world)
    await world.clients.make_client("second", "alice", Terms(frozenset()), 9)
    await world.clients.end(client)
    alice = await world.signed_in()
    page = (await alice.get("/")).text
    assert re.findall(r'<a href="/programs/cli_[^"]+">([^<]+)</a>', page) == ["second", "wall"]
    assert page.count('<span class="state">ended</span>') == 1


async def test_what_a_program_is(world: PagesWorld) -> None:
    """Its id, scopes, addresses and limits; of each key its name, algorithm, state and last call."""
    client, apikey = await given(world)
    alice = await world.signed_in()
    await world.apikeys.add_uses((used(client, apikey.id, "ok", world.clock.at - 5),))
    text = unescape(re.sub(r"<[^>]+>", " ", (await alice.get(f"/programs/{client.id}")).text))
    words = " ".join(text.split())
    for part in (
        f"Id {client.id}", "How it calls API key", "What it may do read, trade", "From 192.0.2.0/24, 2001:db8::/48",
        "How often 60/min", "wall active", "last call",
    ):  # fmt: skip
        assert part in words, part


async def test_refusals_are_told_in_words(world: PagesWorld) -> None:
    """Of 30 days, by reason over all credentials and days, the most frequent first; what went well is none."""
    client, apikey = await given(world)
    now = world.clock.at
    await world.apikeys.add_uses(
        (
            used(client, "old-key", "scope-insufficient", now - 30 * DAY),
            used(client, apikey.id, "rate-limited", now - 2 * DAY, 7, "192.0.2.1"),
        )
    )
    await world.apikeys.add_uses(
        (
            used(client, apikey.id, "rate-limited", now - 60, 5, "192.0.2.2"),
            used(client, "other-key", "rate-limited", now - 4 * DAY, 1, "192.0.2.3"),
            used(client, apikey.id, "address-not-allowed", now - 30, 2, "\u202e<b>"),
            used(client, apikey.id, "ok", now, 100),
            used(client, apikey.id, "near client-own-60 /v1/ticker", now - 90, 3),
            used(client, apikey.id, "near key-3600 /v1/orders/{id}", now - 90, 4),
        )
    )
    await world.apikeys.add_uses(
        (used(client._replace(bounds=Bounds("", (), ())), apikey.id, "token-invalid", now - 10, 1),)
    )
    alice = await world.signed_in()
    page = (await alice.get(f"/programs/{client.id}")).text
    found = re.findall(r"<li><strong>(.*?)</strong> <span class=\"when\">(.*?)</span></li>", page)
    lines = [(words, re.sub(r"<[^>]+>", "", rest)) for words, rest in found]
    assert [(words, rest.partition(",")[0]) for words, rest in lines] == [
        ("Too many calls", "13 calls"),
        ("Not from this address", "2 calls"),
        ("No key that is good here", "1 call"),
        ("Calls of one key, an hour, on /v1/orders/{id}", "4 calls"),
        ("The program's own limit, a minute, on /v1/ticker".replace("'", "&#39;"), "3 calls"),
    ]
    assert lines[0][1].endswith("from 192.0.2.2")
    assert "<b>" not in page
    assert "\u202e" not in page
    assert "U+202E" in page


async def test_refusals_of_long_ago_are_told_no_more(world: PagesWorld) -> None:
    """Though nothing was counted since, so that the store still keeps them."""
    client, apikey = await given(world)
    await world.apikeys.add_uses((used(client, apikey.id, "rate-limited", world.clock.at),))
    for days, there in ((29, True), (1, False)):
        world.clock.at += days * DAY
        alice = await world.signed_in()
        assert ("Too many calls" in (await alice.get(f"/programs/{client.id}")).text) is there


async def test_the_state_of_a_key_that_signs(world: PagesWorld) -> None:
    """One that retires says until when, and is over from then on."""
    key = world.enrol_bot()
    over = world.clock.at + 60
    world.directory._keys[key] = world.directory._keys[key]._replace(state="retiring", expires_at=over)
    alice = await world.signed_in()
    assert '<span class="state">retiring</span>' in (await alice.get("/programs/cli_bot")).text
    assert ">ended<" not in (await alice.get("/")).text
    world.clock.at = over
    assert '<span class="state">expired</span>' in (await alice.get("/programs/cli_bot")).text
    assert ">ended<" in (await alice.get("/")).text


async def test_a_program_that_was_never_refused(world: PagesWorld) -> None:
    """Nothing is said as plainly."""
    client, _ = await given(world)
    page = (await (await world.signed_in()).get(f"/programs/{client.id}")).text
    assert page.count("<p>Nothing.</p>") == 1
    assert "Limits that were nearly spent" not in page


@pytest.mark.parametrize("name", ["\u202egnp.exe", "<script>window.ran=1</script>", "a" * 100, "\u0430bc", '"&amp;'])
async def test_a_name_that_its_caller_chose_is_inert(world: PagesWorld, name: str) -> None:
    """A key says what it is called at its enrolment."""
    key = world.enrol_bot()
    world.directory._keys[key] = world.directory._keys[key]._replace(name=name, client_name=name)
    alice = await world.signed_in()
    for path in ("/", "/programs/cli_bot"):
        page = (await alice.get(path)).text
        assert "<script" not in page
        assert "\u202e" not in page
    await alice.post(f"/programs/cli_bot/keys/{key}/end")
    page = (await alice.get("/programs/cli_bot")).text
    assert 'class="told"' in page
    assert "<script" not in page
    assert "\u202e" not in page
