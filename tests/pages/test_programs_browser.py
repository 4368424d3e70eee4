"""A user's programs in a real browser before a real deployment: what is made there calls, until it is ended there."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Error, Page

import sealwire.client
from sealwire.clients import Terms
from sealwire.ports.apikeys import Use
from tests.pages.looking import (
    DESKTOP,
    MARKUP,
    PHONE,
    Looking,
    apart,
    done,
    findings,
    inert,
    looking,
    press,
    reach,
)

pytestmark = pytest.mark.xdist_group("browser-programs")

TICKER = "/v1/ticker?market=BTC-EUR"
HOSTILE = {
    "markup": MARKUP,
    "turned around": "bot\u202egnp.exe\u2066x\u2069",
    "zero width": "b\u200bo\u200dt\ufeff",
    "look-alike": "dashb\u043eard",
    "one long word": "W" * 100,
    "blanks": "a   b\u00a0\u2800",
    "combining": "b\u0301\u0336\u20e3ot",
    "another script": "\u05d0\u05d1\u05d2 \u0661",
}


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    with looking(tmp_path_factory.mktemp("looking")) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_said(look: Looking) -> Iterator[None]:
    """No page of any test says anything on the console: no error, and nothing that its policy stopped."""
    look.heard.clear()
    yield
    assert [line for line in look.heard if "Failed to load resource: the server responded" not in line] == []


def call(look: Looking, apikey: str) -> int:
    """The status of a call with an API key and nothing else."""
    trusted = ssl.create_default_context(cafile=look.state.ca)
    with httpx2.Client(base_url=look.state.origin, verify=trusted) as http:
        return http.get(TICKER, headers={"authorization": f"Bearer {apikey}"}).status_code


def opened(page: Page, name: str) -> None:
    """Opens what is folded under a name."""
    page.locator("summary", has_text=re.compile(f"^{re.escape(name)}$")).click()


def inside(page: Page, size: tuple[int, int]) -> bool:
    """Nothing lies beside the screen."""
    return bool(page.evaluate("document.scrollingElement.scrollWidth") <= size[0])


def test_a_bot_is_invited_and_calls(look: Looking) -> None:
    """What the page shows enrols one key, which the page shows from then on; ended there, it is a stranger."""
    codes = look.token("ines")
    with look.page("ines") as page:
        page.goto(f"{look.pages}/")
        page.get_by_role("link", name="New program").click()
        page.fill("#label", "ines bot")
        page.check("input[name='scope:read']")
        page.fill("#behind", "000000")
        press(page, "Make it")
        assert page.get_by_role("alert").inner_text().startswith('"ines bot" is no name')
        assert page.input_value("#label") == "ines bot"
        assert page.input_value("#behind") == ""
        assert page.is_checked("input[name='scope:read']")
        page.fill("#label", "ines-bot")
        page.fill("#behind", next(codes))
        press(page, "Make it")
        invitation = page.locator(".once").inner_text()
        assert f"sealwire enroll {look.state.origin}" in page.locator("pre").inner_text()
        assert invitation not in page.url
        credential = apart(
            lambda: sealwire.client.enroll(look.state.origin, invitation, name="laptop", ca=look.state.ca)
        )
        with page.expect_navigation():
            page.get_by_role("link", name="It is copied").click()
        page.get_by_role("link", name="ines-bot").click()
        assert page.locator("h1").inner_text() == "ines-bot"
        assert page.locator("ul.keys").first.inner_text().startswith("laptop active")
        with httpx2.Client(transport=sealwire.client.Transport(credential), base_url=look.state.origin) as bot:
            assert bot.get("/v1/balances").status_code == 200
            opened(page, "End laptop")
            press(page, "End it")
            assert page.get_by_role("status").inner_text() == "The key laptop has ended."
            with pytest.raises(sealwire.client.errors.KeyUnknown):
                bot.get("/v1/balances")


def test_an_invitation_that_waits_is_ended(look: Looking) -> None:
    """One that went astray: its user sees it, ends it without a code, and whoever has it enrols nothing."""
    look.user("olga", phone=False)
    terms = look.clients.read_terms(["read", "trade"])
    lost = done(look.clients.invite("olga-bot", "olga", terms, 24))
    done(look.clients.invite("W" * 100, "olga", look.clients.read_terms([]), 1))
    with look.page("olga") as page:
        page.goto(f"{look.pages}/")
        line = page.locator("ul.invitations li").last
        assert line.inner_text().startswith("olga-bot\nmay: read, trade; until ")
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert findings(page) == []
        assert inside(page, PHONE)
        page.reload()
        reach(page, "End the invitation of olga-bot")
        page.keyboard.press("Enter")
        reach(page, "End it")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert page.get_by_role("status").inner_text() == "The invitation of olga-bot has ended."
        assert page.locator("ul.invitations li").count() == 1
        assert inside(page, PHONE)
    with pytest.raises(sealwire.client.errors.InvitationInvalid):
        apart(lambda: sealwire.client.enroll(look.state.origin, lost, name="laptop", ca=look.state.ca))


def test_a_dashboard_is_made_bound_rotated_and_ended(look: Looking) -> None:
    """Each act holds from the next call on; more than before asks for a code, less does not."""
    codes = look.token("dana")
    with look.page("dana") as page:
        page.goto(f"{look.pages}/programs/new")
        page.fill("#label", "wall")
        page.check("input[value=apikey]")
        page.check("input[name='scope:read']")
        page.fill("#behind", next(codes))
        press(page, "Make it")
        first = page.locator(".once").inner_text()
        assert call(look, first) == 200
        page.reload()  # the form again: nothing is made by it, and nothing shown
        assert page.get_by_role("status").inner_text().startswith("That form was sent before")
        assert page.locator("ul.programs li").count() == 1
        page.get_by_role("link", name="wall").click()
        deadline = time.monotonic() + 30
        while "last call" not in page.locator("ul.keys").inner_text():  # counts are written some seconds later
            assert time.monotonic() < deadline
            page.wait_for_timeout(200)
            page.reload()
        assert "from 127.0.0.1" in page.locator("ul.keys").inner_text()

        opened(page, "Change what it may do")
        page.uncheck("#bind input[name='scope:read']")
        press(page, "Change it")
        assert call(look, first) == 403
        opened(page, "Change what it may do")
        page.check("#bind input[name='scope:read']")
        page.fill("#addresses", "127.0.0.0/8")
        press(page, "Change it")
        assert page.get_by_role("alert").is_visible()
        assert "a code of yours is needed" in page.get_by_role("alert").inner_text()
        assert page.input_value("#addresses").strip() == "127.0.0.0/8"
        assert page.is_checked("#bind input[name='scope:read']")
        assert call(look, first) == 403
        page.fill("#behind-bind", next(codes))
        press(page, "Change it")
        assert page.get_by_role("status").inner_text() == "Changed. It holds from the next call on."
        assert call(look, first) == 200

        opened(page, "Rotate wall")
        page.locator("ul.keys input[name=behind]").fill(next(codes))
        press(page, "Rotate it")
        second = page.locator(".once").inner_text()
        assert [call(look, secret) for secret in (first, second)] == [200, 200]
        with page.expect_navigation():
            page.get_by_role("link", name="It is copied").click()
        assert "Its old secret is good until" in page.locator("ul.keys").inner_text()

        opened(page, "End wall")
        press(page, "End it")
        assert [call(look, secret) for secret in (first, second)] == [401, 401]
        opened(page, "Make an API key")
        page.fill("#label", "again")
        page.check("#new input[name='scope:read']")
        page.fill("#behind-new", next(codes))
        press(page, "Make it")
        third = page.locator(".once").inner_text()
        assert call(look, third) == 200
        with page.expect_navigation():
            page.get_by_role("link", name="It is copied").click()
        opened(page, "End all that it calls with")
        page.fill("#confirm", "other")
        press(page, "End it all")
        assert page.get_by_role("alert").inner_text() == "That is not its name. Nothing was ended."
        assert call(look, third) == 200
        page.fill("#confirm", "wall")
        press(page, "End it all")
        assert page.get_by_role("status").inner_text() == "wall has ended: nothing of it calls any more."
        assert call(look, third) == 401


def test_the_way_back_shows_no_secret(look: Looking) -> None:
    """Nothing of the answer is kept: not for the way back, and not when the form is sent again."""
    codes = look.token("beth")
    with look.page("beth") as page:
        page.goto(f"{look.pages}/programs/new")
        page.fill("#label", "wall")
        page.check("input[value=apikey]")
        page.fill("#behind", next(codes))
        press(page, "Make it")
        secret = page.locator(".once").inner_text()
        with page.expect_navigation():
            page.get_by_role("link", name="It is copied").click()
        with pytest.raises(Error, match="ERR_CACHE_MISS"):
            page.go_back()
        page.wait_for_url("chrome-error://**")  # the browser says that it kept nothing
        assert secret not in page.content()
        assert len(done(look.clients.clients("beth"))) == 1


def test_by_keyboard_alone(look: Looking) -> None:
    """Every control of making, changing, rotating and ending is reached with Tab, and answers the keys it should."""
    codes = look.token("kim")
    with look.page("kim") as page:

        def to(what: str) -> None:
            reach(page, what, 60)

        def enter() -> None:
            with page.expect_navigation():
                page.keyboard.press("Enter")

        page.goto(f"{look.pages}/")
        to("New program")
        enter()
        to("label")
        page.keyboard.type("wall")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        assert page.is_checked("input[value=apikey]")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        assert page.is_checked("input[name='scope:read']")
        to("behind")
        page.keyboard.type(next(codes))
        to("Make it")
        enter()
        to("It is copied")
        enter()
        to("wall")
        enter()
        to("Change what it may do")
        page.keyboard.press("Enter")
        to("limits")
        page.keyboard.type("9/min")
        to("Change it")
        enter()
        assert "9/min" in page.locator("dl.facts").inner_text()
        to("Rotate wall")
        page.keyboard.press("Enter")
        for _ in range(2):  # the days, then the code
            page.keyboard.press("Tab")
        page.keyboard.type(next(codes))
        to("Rotate it")
        enter()
        assert page.locator(".once").count() == 1
        to("It is copied")
        enter()
        to("End wall")
        page.keyboard.press("Enter")
        to("End it")
        enter()
        assert page.get_by_role("status").inner_text() == "The API key wall has ended."
        to("End all that it calls with")
        page.keyboard.press("Enter")
        to("confirm")
        page.keyboard.type("wall")
        to("End it all")
        enter()
        assert page.get_by_role("status").inner_text().startswith("wall has ended")


def test_no_page_keeps_anybody_out(look: Looking) -> None:
    """axe-core finds nothing serious, in the light and in the dark, with everything unfolded, and all of it fits."""
    codes = look.token("vic")
    look.user("finn", phone=False)
    client, theirs = look.dashboard("vic"), look.dashboard("finn")
    with look.bot("vic"):
        pass
    found = []

    def judge(page: Page) -> None:
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found.extend(findings(page))
        assert inside(page, PHONE)
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= 32

    with look.page("vic") as page:
        for address in ("/", "/programs/new", f"/programs/{client.id}", f"/programs/{theirs.id}"):
            page.goto(look.pages + address)
            judge(page)
        page.goto(f"{look.pages}/")
        page.get_by_role("link", name="vic-bot").click()
        judge(page)
        page.goto(f"{look.pages}/programs/new")
        page.fill("#label", "no name")
        page.fill("#behind", "0")
        press(page, "Make it")
        judge(page)
        for kind, name in (("signs", "one"), ("apikey", "two")):
            page.goto(f"{look.pages}/programs/new")
            page.fill("#label", name)
            page.check(f"input[value={kind}]")
            page.fill("#behind", next(codes))
            press(page, "Make it")
            judge(page)
        page.goto(f"{look.pages}/programs/{client.id}")
        opened(page, "End all that it calls with")
        page.fill("#confirm", "x")
        press(page, "End it all")
        judge(page)
        page.fill("#confirm", "dashboard")
        press(page, "End it all")
        judge(page)
        page.goto(f"{look.pages}/programs/{client.id}")
        judge(page)
    with look.page("finn") as page:
        for address in ("/programs/new", f"/programs/{theirs.id}"):
            page.goto(look.pages + address)
            judge(page)
    assert found == []


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_what_a_caller_chose_is_inert(look: Looking, kind: str, size: tuple[int, int]) -> None:
    """The name of a key, and an address as a proxy may tell it: seen whole, turning nothing around, beside nothing."""
    text = HOSTILE[kind]
    user = f"{'p' if size == PHONE else 'd'}{list(HOSTILE).index(kind)}"
    look.user(user)
    client = look.dashboard(user)
    apikey = done(look.clients.apikeys(client.id))[0]
    look.used(Use(client.id, apikey.id, "ok", 0, 1, time.time(), text))
    look.used(Use(client.id, apikey.id, "rate-limited", 0, 1, time.time(), text))
    look.used(Use(client.id, apikey.id, f"near key-60 {text}", 0, 1, time.time(), text))
    invitation = done(look.clients.invite("named", user, Terms(frozenset()), 1))
    name = text if text.isprintable() else "key"  # another is refused at its enrolment
    apart(lambda: sealwire.client.enroll(look.state.origin, invitation, name=name, ca=look.state.ca))
    (named,) = [one for one in done(look.clients.clients(user)) if one.name == "named"]
    with look.page(user, size) as page:
        for path in ("/", f"/programs/{client.id}", f"/programs/{named.id}"):
            page.goto(look.pages + path)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            inert(page)
            assert inside(page, size)
            shown = page.locator("main").inner_text()
            assert re.search("[\u202e\u2066\u2069\u200b\u200d\ufeff\u2800]", shown) is None
            assert kind != "turned around" or "U+202E" in shown or path.endswith(named.id)
        with page.expect_navigation():
            page.get_by_role("button", name="End it", exact=True).click()
        inert(page)
        assert inside(page, size)
        assert "has ended." in page.get_by_role("status").inner_text()
