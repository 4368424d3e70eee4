"""
The tour: an attacker and an honest bot against a running exchange, over real TLS, with the real client.

Owns: its steps, each with the answer it must get; one that gets another fails the tour.
Refuses to know: how the exchange is run.
"""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2

from sealwire.client import ApprovalRequired, Credential, SignatureMismatch, Transport, enroll
from sealwire.client.errors import BY_SLUG
from sealwire.client.explain import signed_headers
from sealwire.demo.dashboard import Dashboard
from sealwire.demo.middlemen import Recorder, Stripper
from sealwire.demo.person import Person

_PAYEE = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
_THIEF = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdc"
_WITHDRAWAL = {"asset": "BTC", "amount": "0.25", "address": _PAYEE}
_ORDER = {"market": "BTC-EUR", "side": "buy", "price": "100.00", "amount": "0.01"}


class Step(NamedTuple):
    """One line of the tour: what was tried, the status, what was said, and whether it came out as it must."""

    tried: str
    status: str
    said: str
    held: bool


class Operator(NamedTuple):
    """
    What the tour asks the operator for: an invitation by name, a user's phone by its secret, a client's thaw; an API
    key that only reads, a new secret for it, and its end.
    """

    invite: Callable[[str], str]
    give_phone: Callable[[str, bytes], None]
    thaw: Callable[[str], None]
    make_apikey: Callable[[str], str]
    rotate_apikey: Callable[[str], str]
    revoke_apikey: Callable[[str], None]


class Tour:
    """Plays against `origin` and its `pages`, trusting `ca`, on the account of `user`."""

    def __init__(
        self, origin: str, pages: str, ca: Path, user: str, password: str, operator: Operator, folder: Path
    ) -> None:
        self._origin = origin
        self._pages = pages
        self._tls = ssl.create_default_context(cafile=str(ca))
        self._ca = ca
        self._user = user
        self._password = password
        self._operator = operator
        self._folder = folder
        self._phone = secrets.token_bytes(20)

    def play(self) -> Iterator[Step]:
        """Each step as it happens."""
        with httpx2.Client(verify=self._tls, base_url=self._origin) as plain:
            yield self._stolen_token(plain)
            path = self._folder / f"{self._user}-bot.credential.json"
            if not path.exists():
                invitation = self._operator.invite(f"{self._user}-bot")
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
        yield from self._dashboard()
        yield from self._approvals(credential)

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

    def _dashboard(self) -> Iterator[Step]:
        """What a key can do that whoever reads it can send: read, be rotated and ended, and never starve others."""
        name, dashboard = f"{self._user}-dashboard", Dashboard(self._origin, self._tls)
        keys = [self._operator.make_apikey(name)]
        status = dashboard.reads(keys[0]).status_code
        yield Step("GET  /v1/ticker        with an API key", str(status), "it may read, and no more", status == 200)
        alone = dashboard.reads(keys[0], "/v1/balances")
        yield _refused(alone, "the same key at /v1/balances", "signature-missing", "an API key moves nothing")
        during = dashboard.reads_during(lambda: keys.append(self._operator.rotate_apikey(name)), lambda: keys[-1])
        old = dashboard.reads(keys[0]).status_code
        said = f"{during.calls} calls, none failed; the old secret goes on for a day"
        yield Step("its key is rotated under calls", "200", said, during.all_were(200) and old == 200)
        self._operator.revoke_apikey(name)
        over = dashboard.reads(keys[-1])
        yield _refused(over, "its key is revoked", "token-invalid", "from the very next call on")
        key = self._operator.make_apikey(name)
        flood = dashboard.floods(key, 1200)
        served = dashboard.reads_elsewhere(key, 20)
        said = f"rate-limited after {flood.by_status[200]}; {served.by_status[200]} of 20 from elsewhere were answered"
        held = flood.by_status[429] > 0 and set(flood.by_status) == {200, 429} and served.all_were(200)
        yield Step("a flood from one address", "429", said, held)

    def _approvals(self, credential: Credential) -> Iterator[Step]:
        """Scenes one and two of the product: what moves money waits for a person who sees exactly that."""
        self._operator.give_phone(self._user, self._phone)
        person = Person(self._pages, self._tls, self._user, self._password, self._phone)
        with person, httpx2.Client(transport=Transport(credential=credential), base_url=self._origin) as http:
            asked = _asked(http, _WITHDRAWAL)
            sentence = f'"{asked.sentence[: -len(_PAYEE)]}{_short(_PAYEE)}"'
            yield Step("POST /v1/withdrawals   signed and sealed", "403", f"approval-required: {sentence}", held=True)
            said = person.approves(asked.link)
            other = _PAYEE[:-1] + ("e" if _PAYEE[-1] != "e" else "f")
            named = {"sealwire-approval": asked.approval}
            changed = http.post("/v1/withdrawals", json={**_WITHDRAWAL, "address": other}, headers=named)
            tried = "one character of the address changed"
            yield _refused(changed, tried, "approval-required", f"this approval was for address {_short(_PAYEE)}")
            sent = asked.wait_for_approval()
            held = sent.status_code == 201 and said == "You approved this"
            yield Step(
                "approved with a one-time code", str(sent.status_code), "that amount to that address, once", held
            )
            again = http.post("/v1/withdrawals", json=_WITHDRAWAL, headers=named)
            yield _refused(again, "the same approval again", "approval-required", "it was used")
            yield self._denied(http, person)
            yield from self._disowned(http, person)

    def _denied(self, http: httpx2.Client, person: Person) -> Step:
        asked = _asked(http, {**_WITHDRAWAL, "amount": "1"})
        person.denies(asked.link)
        try:
            asked.wait_for_approval()
        except BY_SLUG["approval-denied"] as no:
            return Step(f"{self._user} denies another", str(no.status), "approval-denied: a person said no", held=True)
        return Step(f"{self._user} denies another", "", "it was let through", held=False)

    def _disowned(self, http: httpx2.Client, person: Person) -> Iterator[Step]:
        asked = _asked(http, {**_WITHDRAWAL, "amount": "10", "address": _THIEF})
        named = {"sealwire-approval": asked.approval}
        waits = http.post("/v1/withdrawals", json={**_WITHDRAWAL, "amount": "10", "address": _THIEF}, headers=named)
        tried = "attacker holds the bot's signing key too"
        yield _refused(waits, tried, "approval-pending", f"{self._user} has to say yes first")
        person.disowns(asked.link)
        tried = f"{self._user}: this was not me"
        try:
            http.get("/v1/balances")
        except BY_SLUG["key-unknown"] as over:
            yield Step(tried, str(over.status), "key-unknown: the key is frozen, and its sessions are over", held=True)
        else:
            yield Step(tried, "", "its key goes on", held=False)
        self._operator.thaw(f"{self._user}-bot")
        reply = http.get("/v1/balances")
        held = reply.status_code == 200
        yield Step("sealwire client thaw", str(reply.status_code), "the operator talked to her: it goes on", held)

    def _signed(self, credential: Credential, clock: Callable[[], float] = time.time) -> list[tuple[str, str]]:
        signed = signed_headers(credential, "GET", f"{self._origin}/v1/balances", clock=clock)
        return [(name, value) for name, value in signed if name != "host"]


def _asked(http: httpx2.Client, withdrawal: dict[str, str]) -> ApprovalRequired:
    """The question that a withdrawal ends in."""
    try:
        reply = http.post("/v1/withdrawals", json=withdrawal)
    except ApprovalRequired as asked:
        return asked
    raise AssertionError(f"a withdrawal went through without a person: {reply.status_code}")


def _short(address: str) -> str:
    return f"{address[:4]}…{address[-4:]}"


def _refused(reply: httpx2.Response, tried: str, slug: str, said: str) -> Step:
    code = reply.json().get("code", "") if "json" in reply.headers.get("content-type", "") else ""
    return Step(tried, str(reply.status_code), f"{code}: {said}", reply.is_error and code == slug)
