"""The pages in a real browser before a real deployment: what a person can do there, and what they get to see."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Page

from sealwire.client.errors import ApprovalRequired, KeyUnknown
from sealwire.pages.text import pieces
from sealwire.protocol.otp import Seed
from tests.pages.looking import DESKTOP, MARKUP, PHONE, Looking, code, findings, inert, looking, press, reach, sign_in

pytestmark = pytest.mark.xdist_group("browser")

WITHDRAWAL = {"asset": "BTC", "amount": "0.25", "address": "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7k2f"}
HOSTILE = {
    "markup": MARKUP,
    "turned around": "bc1q\u202efk2\u2066wx5c0y\u2069\u202c\u200f",
    "zero width": "0\u200b.\u200d2\u20605\ufeff",
    "combining": "0.25\u0301\u0336\u20e3",
    "look-alike": "bc1qw508d6qejxtdg4y5r3z\u0430rv\u0430ry0c5xw7k2f",
    "emoji": "0.25\U0001f600\U0001f468\u200d\U0001f469",
    "another script": "\u05d0\u05d1\u05d2 \u0661\u0662 0.25",
    "blanks": "  0.25   \t\n\u00a0\u2800 ",
    "10 kB": "9" * 10_240,
    "10 kB of words": "one more " * 1138,
    "10 kB of markup": (MARKUP * 160)[:10_240],
    "look-alikes": "\u0430" * 1000,
}
_BOXES = """() => Object.fromEntries([...document.querySelectorAll("dd")].map(
  box => { const r = box.getBoundingClientRect(); return [box.dataset.value, [r.left, r.top, r.right, r.bottom]]; }))"""
# The last character of a value, after its box was scrolled to its end, as far as it lies inside of the box.
_LAST = """box => {
  box.scrollTop = box.scrollHeight;
  const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
  let last = null;
  while (walker.nextNode()) if (walker.currentNode.textContent.trim()) last = walker.currentNode;
  const range = document.createRange();
  range.setStart(last, last.length - 1); range.setEnd(last, last.length);
  const drawn = range.getBoundingClientRect(), whole = box.getBoundingClientRect();
  return drawn.top >= whole.top - 1 && drawn.bottom <= whole.bottom + 1
    && drawn.left >= whole.left - 1 && drawn.right <= whole.right + 1;
}"""


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looking]:
    with looking(tmp_path_factory.mktemp("looking")) as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_is_said(look: Looking) -> Iterator[None]:
    """No page of any test says anything on the console: no error, and nothing that its policy stopped."""
    look.heard.clear()
    yield
    # Refusals are drawn as pages, and Chromium notes their status; that is not the page's.
    assert [line for line in look.heard if "Failed to load resource: the server responded" not in line] == []


# --- what a person does ----------------------------------------------------------------------------------------------


def asked(bot: httpx2.Client, key: str) -> ApprovalRequired:
    """What the bot hears when it tries to withdraw."""
    with pytest.raises(ApprovalRequired) as heard:
        bot.post("/v1/withdrawals", json=WITHDRAWAL, headers={"Idempotency-Key": key})
    return heard.value


def add_phone(page: Page) -> Seed:
    """On the page of a new factor: types what the entry shows. A code of the step before leaves this one's."""
    for _ in range(2):  # the step may end meanwhile
        page.get_by_text("Type it in instead").click()
        seed = Seed(base64.b32decode(re.sub(r"\s", "", page.locator(".secret").inner_text())))
        page.fill("#code", code(seed, -1))
        press(page, "Add")
        if page.url.endswith("/"):
            break
    return seed


def test_a_person_approves(look: Looking) -> None:
    """The bot asks; its user signs in, adds a phone, reads, approves; the bot's call goes through, once."""
    password = look.user("alice", phone=False)
    with look.bot("alice") as bot, look.page() as page:
        told = asked(bot, "a-1")
        page.goto(told.link)
        assert page.title() == "Sign in"
        sign_in(page, "alice", "wrong")
        assert page.get_by_role("alert").inner_text() == "Name and password do not fit together."
        assert page.input_value("#name") == "alice"
        sign_in(page, "alice", password)
        assert page.url == told.link
        assert page.locator("#code").count() == 0
        with page.expect_navigation():
            page.get_by_role("link", name="Add a factor").click()
        seed = add_phone(page)
        assert page.locator("ul.factors").inner_text().startswith("Phone\ncodes from an app, added")
        with page.expect_navigation():
            page.locator("ul.approvals a").click()
        for name, value in WITHDRAWAL.items():
            assert page.locator(f"[data-value={name}]").inner_text() == value
        assert page.locator(".sentence").inner_text() == told.sentence
        assert "Asked by alice-bot from 127.0.0.1" in page.locator(".asked").inner_text()
        page.fill("#code", "000000")
        press(page, "Approve")
        assert page.get_by_role("alert").inner_text() == "That is not the code. 4 more tries."
        page.fill("#code", code(seed))
        press(page, "Approve")
        assert page.locator("h1").inner_text() == "You approved this"
        again = {"Idempotency-Key": "a-1", "Sealwire-Approval": told.approval}
        done = bot.post("/v1/withdrawals", json=WITHDRAWAL, headers=again)
        assert done.status_code == 201, done.text
        page.reload()
        assert page.locator("h1").inner_text() == "You approved this, and it was done"


def test_a_person_says_no_and_then_stops_the_bot(look: Looking) -> None:
    """Denied, the bot hears so; frozen, it is a stranger."""
    look.user("dora", phone=False)
    with look.bot("dora") as bot, look.page("dora") as page:
        for key, button, told in (("d-1", "Deny", "This was denied"), ("d-2", "This was not me", "This was denied")):
            fields = {"Idempotency-Key": key}
            approval = asked(bot, key)
            page.goto(approval.link)
            press(page, button)
            assert page.locator("h1").inner_text() == told
            fields |= {"Sealwire-Approval": approval.approval}
            if button == "Deny":
                heard = bot.post("/v1/withdrawals", json=WITHDRAWAL, headers=fields)
                assert (heard.status_code, heard.json()["code"]) == (403, "approval-denied")
            else:
                with pytest.raises(KeyUnknown):
                    bot.post("/v1/withdrawals", json=WITHDRAWAL, headers=fields)
        assert page.get_by_role("alert").inner_text().startswith("The keys of dora-bot are frozen")


def test_by_keyboard_alone(look: Looking) -> None:
    """Every control can be reached with Tab, is seen to have the focus, and answers Enter."""
    password = look.user("kay", phone=False)
    links = [look.ask("kay"), look.ask("kay", client="DenyBot"), look.ask("kay", client="FreezeBot")]
    with look.page() as page:

        def to(what: str) -> None:
            reach(page, what)

        def enter() -> None:
            with page.expect_navigation():
                page.keyboard.press("Enter")

        page.goto(links[0])
        to("name")
        page.keyboard.type("kay")
        to("password")
        page.keyboard.type(password)
        to("Sign in")
        enter()
        to("Add a factor")
        enter()
        to("Type it in instead")
        page.keyboard.press("Enter")
        seed = Seed(base64.b32decode(re.sub(r"\s", "", page.locator(".secret").inner_text())))
        to("code")
        for steps in (-1, 0):  # the step may end meanwhile
            page.keyboard.type(code(seed, steps))
            enter()
            if page.url.endswith("/"):
                break
            to("code")
        page.goto(links[0])
        to("code")
        page.keyboard.type(code(seed))
        to("Approve")
        enter()
        assert page.locator("h1").inner_text() == "You approved this"
        for link, button in zip(links[1:], ("Deny", "This was not me"), strict=True):
            page.goto(link)
            to(button)
            enter()
            assert page.locator("h1").inner_text() == "This was denied"
        page.goto(f"{look.pages}/")
        to("Remove Phone")
        page.keyboard.press("Enter")
        assert page.get_by_role("button", name="Remove", exact=True).is_visible()
        page.goto(f"{look.pages}/")
        to("Sign out")
        enter()
        assert page.title() == "Sign in"


# --- what everybody can see ------------------------------------------------------------------------------------------


def test_no_page_keeps_anybody_out(look: Looking) -> None:
    """axe-core finds nothing serious on any page, in the light and in the dark."""
    look.user("vera")
    look.user("fred", phone=False)
    values = (("amount", HOSTILE["look-alike"]), ("asset", MARKUP), ("address", "9" * 999))
    waiting, odd = look.ask("vera"), look.ask("vera", values)
    late = look.ask("vera", client="LateBot", ago=900)
    seen = []

    def judge(page: Page) -> list[str]:
        seen.append(page.title())
        return findings(page)

    found = []
    with look.page("vera") as page:
        for address in (
            waiting,
            odd,
            late,
            f"{look.pages}/",
            f"{look.pages}/factors/new",
            f"{look.pages}/approve/none",
        ):
            page.goto(address)
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            found += judge(page)
        page.goto(waiting)
        page.fill("#code", "0")
        press(page, "Approve")
        found += judge(page)
        press(page, "Deny")
        found += judge(page)
        page.goto(f"{look.pages}/")
        page.get_by_text("Make recovery codes").first.click()
        page.fill("#behind-recovery", code())
        press(page, "Make recovery codes")
        found += judge(page)
        page.goto(odd)
        page.evaluate("document.querySelector('[name=csrf]').value = 'old'")
        page.evaluate("document.querySelector('.no [name=csrf]').value = 'old'")
        press(page, "Deny")
        found += judge(page)
    with look.page("fred") as page:
        for address in (look.ask("fred"), f"{look.pages}/"):
            page.goto(address)
            found += judge(page)
    with look.page() as page:
        page.goto(f"{look.pages}/sign-in")
        sign_in(page, "nobody", "wrong")
        found += judge(page)
    assert found == []
    assert set(seen) == {
        "A question for you", "A question you had", "Your approvals", "Add a phone", "Nothing here", "Recovery codes",
        "That form is too old", "Sign in",
    }  # fmt: skip


def expected(text: str) -> str:
    """A text as it must stand on the page: each character, the code points of odd ones beside or instead of them."""
    shown = {"plain": lambda piece: piece.text, "odd": lambda piece: piece.text + piece.codes}
    return "".join(shown.get(piece.kind, lambda piece: piece.codes)(piece) for piece in pieces(text))


def words(text: str) -> str:
    """Without the space between them, which is drawn where lines break."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("kind", HOSTILE)
def test_the_page_shows_what_is_signed_for(look: Looking, kind: str) -> None:
    """Inert, whole and visible in each field; amount and address in a phone's first view, side by side with nothing."""
    look.user("hal")
    text = HOSTILE[kind]
    link = look.ask("hal", (("amount", text), ("asset", text), ("address", text)), text[:1000])
    with look.page("hal") as page:
        page.goto(link)
        for _ in range(2):  # as it is opened, and once more with what is said of a wrong code above it
            inert(page)
            boxes = page.evaluate(_BOXES)
            assert list(boxes) == ["amount", "asset", "address"]
            bottom = 0
            for left, top, right, under in boxes.values():
                assert 0 <= left < right <= PHONE[0]
                assert bottom <= top < under <= PHONE[1]
                assert under - top >= 20
                bottom = under
            page.fill("#code", "000000")
            press(page, "Approve")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE[0]
        for name in boxes:
            value = page.locator(f"dd[data-value={name}]")
            assert words(value.inner_text()) == words(expected(text))
            assert value.evaluate(_LAST)
        sentence = page.locator(".sentence")
        assert words(sentence.inner_text()) == words(expected(f"Send {text} {text} to {text}"))
        assert sentence.evaluate(_LAST)
        assert words(expected(text[:1000])) in words(page.locator(".asked").inner_text())
        page.goto(f"{look.pages}/")
        inert(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE[0]
    look.forget(link, "hal")


def test_an_odd_mark_turns_nothing_around(look: Looking) -> None:
    """What stands behind it is drawn behind it, left to right, in this value and in the next."""
    look.user("rita")
    link = look.ask("rita", (("amount", "12\u202e34\u05d0\u05d156"), ("asset", "BTC"), ("address", "abc")))
    with look.page("rita", DESKTOP) as page:
        page.goto(link)
        at = page.locator("dd[data-value=amount]").evaluate(
            """box => { const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT), found = [];
              while (walker.nextNode()) for (let i = 0; i < walker.currentNode.length; i++) {
                const range = document.createRange();
                range.setStart(walker.currentNode, i); range.setEnd(walker.currentNode, i + 1);
                const r = range.getBoundingClientRect(); if (r.width) found.push(r.left); }
              return found; }"""
        )
        assert at == sorted(at)
        assert page.locator("dd[data-value=amount]").inner_text() == "12U+202E34\u05d0U+05D0\u05d1U+05D156"


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_last_button_is_in_the_first_view(look: Looking, size: tuple[int, int]) -> None:
    """Of an everyday question all of it is seen at once, and nothing lies beside the screen."""
    look.user("eve")
    link = look.ask("eve")
    with look.page("eve", size) as page:
        page.goto(link)
        for button in ("Approve", "Deny", "This was not me"):
            box = page.get_by_role("button", name=button, exact=True).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= size[1]
            assert box["height"] >= 40
        for address in (link, f"{look.pages}/", f"{look.pages}/factors/new"):
            page.goto(address)
            assert page.evaluate("document.scrollingElement.scrollWidth") <= size[0]


def test_a_browser_keeps_nothing(look: Looking, tmp_path: Path) -> None:
    """Signed out, the way back shows no page that was open before."""
    password = look.user("quin")
    link = look.ask("quin")
    with look.page() as page:
        page.goto(link)
        sign_in(page, "quin", password)
        press(page, "Sign out")
        page.go_back()
        page.wait_for_load_state()
        assert "bc1q" not in page.content()
        assert page.title() == "Sign in"
