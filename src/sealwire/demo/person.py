"""
The tour's person: a user at the pages, with a browser and a phone, over real TLS.

Owns: how a page's form is filled in and sent. Refuses to know: what is asked.
"""

from __future__ import annotations

import re
import ssl
import time
from typing import Self

import httpx2

from sealwire.protocol.otp import STEP_SECONDS, Seed

_CSRF = re.compile(r'name="csrf" value="([^"]+)"')
_HEADING = re.compile(r"<h1>([^<]+)</h1>")


class Person:
    """Signed in at `pages` for as long as the block lasts. `secret` is what the phone holds."""

    def __init__(self, pages: str, tls: ssl.SSLContext, name: str, password: str, secret: bytes) -> None:
        self._browser = httpx2.Client(verify=tls, base_url=pages, headers={"origin": pages}, follow_redirects=True)
        self._name = name
        self._password = password
        self._phone = Seed(secret)

    def __enter__(self) -> Self:
        self._browser.post("/sign-in", data={"name": self._name, "password": self._password}).raise_for_status()
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()

    def approves(self, link: str) -> str:
        """Reads the page behind the link, and approves with the code that the phone shows. What the page says then."""
        return self._answer(link, answer="approve", code=self._phone.code(int(time.time() // STEP_SECONDS)))

    def denies(self, link: str) -> str:
        """Reads it, and says no."""
        return self._answer(link, answer="deny")

    def disowns(self, link: str) -> str:
        """Reads it: this was not me."""
        return self._answer(link, answer="disown")

    def _answer(self, link: str, **fields: str) -> str:
        token = _CSRF.search(self._browser.get(link).raise_for_status().text)
        sent = self._browser.post(link, data={"csrf": token[1] if token else "", **fields})
        heading = _HEADING.search(sent.raise_for_status().text)
        return heading[1] if heading else ""
