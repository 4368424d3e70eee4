"""A real browser before a real deployment: the demo over TLS, its users, and what they are asked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import sealwire.client
from sealwire.admin import Admin
from sealwire.build import Ports, open_ports
from sealwire.clients import Clients, Who
from sealwire.config import load
from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port, serving
from sealwire.keys.file import FileKeyring
from sealwire.ports import Decision
from sealwire.ports.apikeys import Client, Use
from sealwire.presence import NewSeed, Presence, Terms
from sealwire.protocol.otp import STEP_SECONDS, Seed
from tests.house.tree import ROOT
from tests.pages.visiting import SECRET, VALUES, asking

AXE = ROOT / "tests/interop/node/node_modules/axe-core/axe.min.js"
PHONE, DESKTOP = (390, 844), (1280, 800)
_ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-lcd-text",
]  # fmt: skip
# What the policy of a page stopped is said by the page's own events; a script that ran leaves a mark.
_LISTEN = """
document.addEventListener(
  "securitypolicyviolation", e => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`));
"""
_FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at), box = at.getBoundingClientRect();
  return {
    what: at.id || at.innerText.trim(), width: parseFloat(style.outlineWidth), line: style.outlineStyle,
    inside: box.top >= 0 && box.bottom <= innerHeight,
  };
}"""
MARKUP = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'><b>\"&amp;"
Scheme = Literal["light", "dark"]
_Result = TypeVar("_Result")


class Looking:
    """The deployment and the browser. `heard` is all that any page said on its console, which should be nothing."""

    def __init__(self, state: DemoState, ports: Ports, browser: Browser) -> None:
        self.state = state
        self.pages = state.pages
        self.ports = ports
        self.clients = Clients(load(state.config), ports)
        self.browser = browser
        self.heard: list[str] = []
        self._passwords: dict[str, str] = {}
        self._cookies: dict[str, Any] = {}
        assert isinstance(ports.keyring, FileKeyring)
        self.keyring = ports.keyring
        self._presence = Presence(
            ports.approvals, ports.factors, ports.keyring, ports.clock, os.urandom, ports.notices, Terms()
        )

    def user(self, name: str, *, phone: bool = True) -> str:
        """A user of the exchange, with a phone: their password."""
        if name in self._passwords:
            return self._passwords[name]
        self._passwords[name] = self.state.add_user(name)
        if phone:
            done(self._presence.add_seed(name, NewSeed("totp", "Phone", SECRET), "user", "192.0.2.9"))
        return self._passwords[name]

    def token(self, name: str) -> Iterator[str]:
        """A user with a token that shows one code after the other, without a wait: its codes."""
        self.user(name, phone=False)
        done(self._presence.add_seed(name, NewSeed("hotp", "Token", SECRET), "user", "192.0.2.9"))
        return map(Seed(SECRET).code, itertools.count())

    def bot(self, user: str) -> httpx2.Client:
        """A client of the user's own, enrolled."""
        invitation = apart(lambda: self._invite(user))
        credential = sealwire.client.enroll(self.state.origin, invitation, name="bot", ca=self.state.ca)
        return httpx2.Client(transport=sealwire.client.Transport(credential), base_url=self.state.origin)

    def _invite(self, user: str) -> str:
        with Admin(self.state.config) as admin:
            return admin.invite(f"{user}-bot", user=user)

    def ask(
        self, user: str, values: tuple[tuple[str, str], ...] = VALUES, client: str = "TradeBot", ago: float = 0
    ) -> str:
        """A question that waits, asked some seconds ago: its address."""
        approval = asking(self.keyring, time.time() - ago, user, values, client)
        return f"{self.pages}/approve/{done(self.ports.approvals.ask(approval)).id}"

    def dashboard(self, user: str, name: str = "dashboard") -> Client:
        """A client of the user's with an API key that was used, refused, and rotated."""
        who = Who("user", "192.0.2.9")
        terms = self.clients.read_terms(["read", "trade"], ["192.0.2.0/24", "2001:db8::/48"], ["60/min", "5000/day"])
        done(self.clients.make_client(name, user, terms, 90, who))
        made = next(one for one in done(self.clients.clients(user)) if one.name == name)
        done(self.clients.make_apikey(made, "wall", self.clients.read_terms(["read"]), 365, who))
        apikey, _ = done(self.clients.apikeys(made.id))
        done(self.clients.rotate(apikey, 90, who))
        now = time.time()
        self.used(Use(made.id, apikey.id, "ok", 0, 4000, now - 60, "192.0.2.7"))
        self.used(Use(made.id, apikey.id, "rate-limited", 0, 12, now - 90, "192.0.2.7"))
        self.used(Use(made.id, apikey.id, "address-not-allowed", 0, 1, now - 7000, "203.0.113.77"))
        self.used(Use(made.id, apikey.id, "near key-60 /v1/ticker", 0, 31, now - 90, "192.0.2.7"))
        return made

    def used(self, use: Use) -> None:
        """Counts on the day of its moment."""
        done(self.ports.uses.add_uses((use._replace(day=int(use.at // 86_400)),)))

    def forget(self, address: str, user: str) -> None:
        """The question waits no more."""
        approval_id = address.rpartition("/")[2]
        decision = Decision(approval_id, time.time(), "denied", "operator", "", user, "", "", "", "", "")
        assert done(self.ports.approvals.deny(approval_id, decision))

    @contextlib.contextmanager
    def page(self, user: str = "", size: tuple[int, int] = PHONE, scheme: Scheme = "light") -> Iterator[Page]:
        """A page of a browser of its own: nobody's, or of a user who has signed in."""
        with self.browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, locale="en-GB", reduced_motion="reduce"
        ) as context:
            context.set_default_timeout(10_000)
            context.add_init_script(_LISTEN)
            page = context.new_page()
            page.on("console", lambda message: self.heard.append(f"{page.url}: {message.text}"))
            page.on("pageerror", lambda error: self.heard.append(f"{page.url}: {error}"))
            if user:
                self._sign_in(context, page, user)
            yield page

    def _sign_in(self, context: BrowserContext, page: Page, user: str) -> None:
        """Once for each user: more would be turned away."""
        if user not in self._cookies:
            page.goto(f"{self.pages}/sign-in")
            sign_in(page, user, self._passwords[user])
            self._cookies[user] = context.cookies()
        context.add_cookies(self._cookies[user])


def apart(work: Callable[[], _Result]) -> _Result:
    """On a thread of its own, since the browser's loop runs on this one."""
    with ThreadPoolExecutor(1) as one:
        return one.submit(work).result()


def done(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What a store answers."""
    return apart(lambda: asyncio.run(work))


def press(page: Page, name: str) -> None:
    """Presses a button and waits for the page that comes of it."""
    with page.expect_navigation():
        page.get_by_role("button", name=name, exact=True).click()


def sign_in(page: Page, user: str, password: str) -> None:
    """Fills in the form."""
    page.fill("#name", user)
    page.fill("#password", password)
    press(page, "Sign in")


def code(seed: Seed | None = None, steps: int = 0) -> str:
    """What the phone shows now."""
    return (seed or Seed(SECRET)).code(int(time.time() // STEP_SECONDS) + steps)


def reach(page: Page, what: str, most: int = 20) -> None:
    """With Tab alone, seeing at each step where the focus is."""
    for _ in range(most):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        assert focused["line"] == "solid", focused
        assert focused["width"] >= 2, focused
        assert focused["inside"], focused
        if focused["what"] == what:
            return
    pytest.fail(f"{what} is not reached")


def findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical, in the light and in the dark."""
    page.evaluate(f"{AXE.read_text('utf-8')}; 0")
    return _findings(page, "light") + _findings(page, "dark")


def _findings(page: Page, scheme: Scheme) -> list[str]:
    """In one light."""
    page.emulate_media(color_scheme=scheme)
    judged = {"resultTypes": ["violations"]}
    if scheme == "dark":  # nothing but the colours is another
        judged["runOnly"] = ["color-contrast"]
    found = page.evaluate("judged => axe.run(document, judged)", judged)
    return [
        f"{page.title()}, {scheme}: {one['id']} {[node['html'][:120] for node in one['nodes']]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def inert(page: Page) -> None:
    """Nothing of what somebody else wrote became an element or ran."""
    assert page.evaluate("window.ran") is None
    assert page.evaluate("document.querySelectorAll('script, img, iframe, b, [onerror]').length") == 0


@contextlib.contextmanager
def looking(folder: Path) -> Iterator[Looking]:
    """All of it, until the block ends."""
    state = DemoState(folder / "state", free_port(), free_port())
    state.make()
    certificate = x509.load_pem_x509_certificate((folder / "state/tls/cert.pem").read_bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # This one certificate and no other is trusted without its CA.
    pin = base64.b64encode(hashlib.sha256(key).digest()).decode()
    arguments = [*_ARGUMENTS, f"--ignore-certificate-errors-spki-list={pin}"]
    with serving(state), sync_playwright() as playwright:
        ports = open_ports(load(state.config))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        try:
            yield Looking(state, ports, browser)
        finally:
            browser.close()
            ports.close()
