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

from sealwire.client import Credential, SignatureMismatch, Transport, enroll
from sealwire.client.explain import signed_headers

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
            yield self._order(credential)
            yield from self._replayed(plain, credential)
            yield self._digit_changed(plain, credential)
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

    def _order(self, credential: Credential) -> Step:
        with httpx2.Client(transport=Transport(credential=credential)) as http:
            reply = http.post(f"{self._origin}/v1/orders", json=_ORDER)
        proven = "sealwire" in reply.extensions
        said = "receipt verified" if proven else "no receipt"
        return Step("POST /v1/orders        signed", str(reply.status_code), said, reply.status_code == 201 and proven)

    def _replayed(self, plain: httpx2.Client, credential: Credential) -> Iterator[Step]:
        headers, body = self._signed(credential)
        first = plain.post("/v1/orders", headers=headers, content=body)
        again = plain.post("/v1/orders", headers=headers, content=body)
        step = _refused(again, "the same bytes again", "replay-detected", "this message was accepted before")
        yield step._replace(held=step.held and first.status_code == 201)

    def _digit_changed(self, plain: httpx2.Client, credential: Credential) -> Step:
        headers, body = self._signed(credential)
        reply = plain.post("/v1/orders", headers=headers, content=body.replace(b'"0.01"', b'"9.01"'))
        said = "the body differs from what was signed"
        return _refused(reply, "one digit changed on the way", "digest-mismatch", said)

    def _late(self, plain: httpx2.Client, credential: Credential) -> Step:
        headers, body = self._signed(credential, clock=lambda: time.time() - 600)
        reply = plain.post("/v1/orders", headers=headers, content=body)
        return _refused(reply, "sent 10 minutes late", "clock-skew", reply.json().get("detail", ""))

    def _prefix_stripped(self, credential: Credential) -> Step:
        tried = "a proxy stripped a prefix"
        with httpx2.Client(transport=Transport(credential=credential, inner=_Stripping(self._tls))) as http:
            try:
                reply = http.get(f"{self._origin}/api/v1/balances")
            except SignatureMismatch as error:
                named = '"@path"' in str(error) and "external_prefix" in str(error)
                said = 'signature-mismatch: "@path" differs; external_prefix would mend it' if named else str(error)
                return Step(tried, str(error.status), said, named)
        return Step(tried, str(reply.status_code), "it was let through", held=False)

    def _host_rewritten(self, plain: httpx2.Client, credential: Credential) -> Step:
        headers, body = self._signed(credential)
        reply = plain.post("/v1/orders", headers=[*headers, ("host", "backend:8000")], content=body)
        return _refused(reply, "a proxy rewrote Host", "authority-unknown", reply.json().get("detail", ""))

    def _signed(
        self, credential: Credential, clock: Callable[[], float] = time.time
    ) -> tuple[list[tuple[str, str]], bytes]:
        body = json.dumps(_ORDER).encode("ascii")
        fields = [("content-type", "application/json"), ("idempotency-key", secrets.token_urlsafe(16))]
        signed = signed_headers(credential, "POST", f"{self._origin}/v1/orders", fields, body, clock=clock)
        return [(name, value) for name, value in signed if name not in ("host", "content-length")], body


class _Stripping(httpx2.BaseTransport):
    """A proxy on the way that takes `/api` off the path."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._inner = httpx2.HTTPTransport(verify=context)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Passes the request on without its prefix."""
        stripped = request.url.copy_with(raw_path=request.url.raw_path.removeprefix(b"/api"))
        return self._inner.handle_request(
            httpx2.Request(
                request.method, stripped, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
        )

    def close(self) -> None:
        """Closes what is behind."""
        self._inner.close()


def _refused(reply: httpx2.Response, tried: str, slug: str, said: str) -> Step:
    code = reply.json().get("code", "") if "json" in reply.headers.get("content-type", "") else ""
    return Step(tried, str(reply.status_code), f"{code}: {said}", reply.is_error and code == slug)
