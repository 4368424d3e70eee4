"""What a person is shown of a signature is what is signed."""

from __future__ import annotations

import shlex

import httpx2
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealwire.client import Credential, ForeignOrigin, NotSignable, Transport
from sealwire.client.explain import Watched, as_curl, envelope_of, signed_headers, signed_lines
from sealwire.protocol import envelope
from tests.client.server_double import ORIGIN, Clock, Server

URL = f"{ORIGIN}/v1/orders?a=1"
JSON = [("Content-Type", "application/json")]


class Told(list[httpx2.Request]):
    """What a client sent, as it was told of it."""


def sent(credential: Credential, server: Server, *requests: httpx2.Request) -> Told:
    """What goes out of a client for these."""
    told = Told()
    way = Watched(httpx2.MockTransport(server.handle), told.append)
    with httpx2.Client(transport=Transport(credential=credential, inner=way, clock=Clock())) as http:
        for request in requests:
            http.send(request)
    return told


def test_each_line_is_shown_with_its_reason(credential: Credential, server: Server) -> None:
    """Of the very request that was sent: the server's own reading of it has the same lines."""
    order = httpx2.Request("POST", URL, headers=JSON, content=b"{}")
    (request,) = [each for each in sent(credential, server, order) if each.method == "POST"]
    lines = signed_lines(request)
    assert [line.component for line in lines] == [
        '"@method"',
        '"@authority"',
        '"@path"',
        '"@query"',
        '"content-type"',
        '"content-digest"',
        '"idempotency-key"',
        '"@signature-params"',
    ]
    assert [line.value for line in lines[:5]] == ["POST", "api.example.com", "/v1/orders", "?a=1", "application/json"]
    assert request.headers["signature-input"] == f"sig={lines[-1].value}"
    assert all(line.why for line in lines)
    assert envelope_of(request) is None


def test_what_is_not_signed_has_no_lines() -> None:
    assert signed_lines(httpx2.Request("GET", URL)) == []


def test_a_sealed_body_shows_its_type_and_length_alone() -> None:
    """Made by the envelope's own code, with a key that nobody needs for this."""
    protected = envelope.protect("ses_01", "application/json")
    body = envelope.seal(AESGCM(bytes(32)), protected, bytes(12), b'{"a": "MARKER"}')
    request = httpx2.Request("POST", URL, headers={"content-type": envelope.MEDIA_TYPE.decode()}, content=body)
    shown = envelope_of(request)
    assert shown == ("ses_01", "application/json", 15, len(body))


def test_the_fields_of_a_single_use_are_taken_by_the_server(credential: Credential, server: Server) -> None:
    headers = signed_headers(credential, "POST", URL, JSON, b"{}", clock=Clock())
    request = httpx2.Request("POST", URL, headers=headers, stream=httpx2.ByteStream(b"{}"))
    assert server.handle(request).status_code == 201
    assert server.handle(request).status_code == 401


def test_the_command_sends_what_was_signed(credential: Credential, server: Server) -> None:
    words = shlex.split(as_curl(credential, "POST", URL, JSON, b"{}", clock=Clock()))
    fields = [words[i + 1].partition(": ") for i, word in enumerate(words) if word == "--header"]
    headers = [(name, value) for name, _, value in fields]
    assert words[0] == "curl"
    assert words[-3:] == ["--data-binary", "@-", URL]
    request = httpx2.Request(
        "POST",
        URL,
        headers=[("host", "api.example.com"), ("content-length", "2"), *headers],
        stream=httpx2.ByteStream(b"{}"),
    )
    assert server.handle(request).status_code == 201
    assert "--head" in as_curl(credential, "HEAD", URL, clock=Clock())


def test_a_shell_is_given_nothing_to_run(credential: Credential) -> None:
    command = as_curl(credential, "GET", URL, [("X-A", "$(touch /tmp/x) `id` '; id")], clock=Clock())
    assert "X-A: $(touch /tmp/x) `id` '; id".lower() in [word.lower() for word in shlex.split(command)]


def test_nothing_is_signed_for_others(credential: Credential) -> None:
    with pytest.raises(ForeignOrigin):
        signed_headers(credential, "GET", "https://evil.example/")
    with pytest.raises(NotSignable):
        signed_headers(credential, "GET", f"{ORIGIN}/a//b")
