"""
The tour: an attacker and an honest bot against a running exchange, over real TLS, with the real client.

Owns: its steps, each with the answer it must get; one that gets another fails the tour.
Refuses to know: how the exchange is run.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2

from sealwire.client import Credential, SignatureMismatch, Transport, enroll
from sealwire.client.errors import BY_SLUG
from sealwire.client.explain import signed_headers
from sealwire.demo.middlemen import Recorder, Stripper

_ORDER = {"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}


class Step(NamedTuple):
    """One line of the tour: what was tried, the status, what was said, and whether it came out as it must."""

    tried: str
    status: str
    said: str
    held: bool


class Tour:
    """Plays against `origin`, trusting `ca`, as a client that `invite` lets in on `user`'s account."""

    def __init__(
        self, origin: str, ca: Path, user: str, password: str, invite: Callable[[str], str], folder: Path
    ) -> None:
        self._origin = origin
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._ca = ca
        self._user = user
        self._password = password
        self._invite = invite
        self._folder = folder

    def play(self) -> Iterator[Step]:
        """Each step as it happens."""
        with httpx2.Client(verify=self._tls, base_url=self._origin) as plain:
            yield self._stolen_token(plain)
            path = self._folder / f"{self._user}-bot.credential.json"
            if not path.exists():
                invitation = self._invite(f"{self._user}-bot")
                enroll(self._origin, invitation, name="tour", path=path, ca=self._ca)
            credential = Credential.load(path)
            yield Step(f"enrolled {self._user}-bot: its key was made here and never left", "", "", held=True)
            way = Recorder(self._tls)
            with httpx2.Client(transport=Transport(credential=credential, inner=way), base_url=self._origin) as http:
                yield from self._order(http, way)
                yield self._quote(http, way)
                yield self._seen(way)
                yield self._replayed(plain, way)
                yield self._digit_changed(http, way)
            yield self._late(plain, credential)
            yield self._prefix_stripped(credential)
            yield self._host_rewritten(plain, credential)

    def _stolen_token(self, plain: httpx2.Client) -> Step:
        answer = plain.post("/v1/login", json={"user": self._user, "password": self._password})
        token = answer.json().get("token", "")
        reply = plain.get("/v1/balances", headers={"authorization": f"Bearer {token}"})
        tried = f"attacker holds {self._user}'s session token"
        step = _refused(reply, tried, "signature-missing", "a token alone moves nothing")
        return step._replace(held=step.held and bool(token))

    def _order(self, http: httpx2.Client, way: Recorder) -> Iterator[Step]:
        reply = http.post("/v1/orders", json=_ORDER)
        # The last one: a server that has only just started again asks for a nonce of its own first.
        opened = way.last("/.well-known/sealwire/sessions")
        session, kem = json.loads(opened.reply)["session"], json.loads(opened.request)["kem"]
        said = f"{kem}   {opened.seconds * 1000:.1f} ms"
        tried = f"session {session[:8]}…: our ephemeral key out, a symmetric key sealed to it back"
        yield Step(tried, "", said, held=True)
        proven = "sealwire" in reply.extensions
        held = reply.status_code == 201 and proven and way.last("/v1/orders").sealed()
        said = "receipt verified" if proven else "no receipt"
        yield Step("POST /v1/orders        signed and sealed", str(reply.status_code), said, held)

    def _quote(self, http: httpx2.Client, way: Recorder) -> Step:
        reply = http.post("/v1/quotes", json={name: _ORDER[name] for name in ("market", "side", "amount")})
        held = reply.status_code == 200 and way.last("/v1/quotes").sealed() and "price" in reply.json()
        said = "under the session's key: fast, and no receipt"
        return Step("POST /v1/quotes        sealed, session_mac", str(reply.status_code), said, held)

    def _seen(self, way: Recorder) -> Step:
        seen = way.last("/v1/orders").request
        held = not any(value.encode() in seen for value in _ORDER.values())
        return Step("whoever terminates TLS saw of that order", "", f"{seen[:24].decode()}…: nothing of it", held)

    def _replayed(self, plain: httpx2.Client, way: Recorder) -> Step:
        order = way.last("/v1/orders")
        again = plain.post("/v1/orders", headers=order.fields, content=order.request)
        return _refused(again, "the same bytes again", "replay-detected", "this message was accepted before")

    def _digit_changed(self, http: httpx2.Client, way: Recorder) -> Step:
        way.changing = True
        try:
            http.post("/v1/orders", json=_ORDER)
        except BY_SLUG["digest-mismatch"] as error:
            said = f"{error.slug}: the body differs from what was signed"
            return Step("one digit changed on the way", str(error.status), said, held=True)
        finally:
            way.changing = False
        return Step("one digit changed on the way", "", "it was let through", held=False)

    def _late(self, plain: httpx2.Client, credential: Credential) -> Step:
        headers = self._signed(credential, clock=lambda: time.time() - 600)
        reply = plain.get("/v1/balances", headers=headers)
        return _refused(reply, "sent 10 minutes late", "clock-skew", reply.json().get("detail", ""))

    def _prefix_stripped(self, credential: Credential) -> Step:
        tried = "a proxy stripped a prefix"
        with httpx2.Client(transport=Transport(credential=credential, inner=Stripper(self._tls))) as http:
            try:
                reply = http.get(f"{self._origin}/api/v1/balances")
            except SignatureMismatch as error:
                named = '"@path"' in str(error) and "external_prefix" in str(error)
                said = 'signature-mismatch: "@path" differs; external_prefix would mend it' if named else str(error)
                return Step(tried, str(error.status), said, named)
        return Step(tried, str(reply.status_code), "it was let through", held=False)

    def _host_rewritten(self, plain: httpx2.Client, credential: Credential) -> Step:
        headers = [*self._signed(credential), ("host", "backend:8000")]
        reply = plain.get("/v1/balances", headers=headers)
        return _refused(reply, "a proxy rewrote Host", "authority-unknown", reply.json().get("detail", ""))

    def _signed(self, credential: Credential, clock: Callable[[], float] = time.time) -> list[tuple[str, str]]:
        signed = signed_headers(credential, "GET", f"{self._origin}/v1/balances", clock=clock)
        return [(name, value) for name, value in signed if name != "host"]


def _refused(reply: httpx2.Response, tried: str, slug: str, said: str) -> Step:
    code = reply.json().get("code", "") if "json" in reply.headers.get("content-type", "") else ""
    return Step(tried, str(reply.status_code), f"{code}: {said}", reply.is_error and code == slug)
