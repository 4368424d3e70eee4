"""What a person is shown of a signature is what is signed."""

from __future__ import annotations

import shlex

import httpx2
import pytest

from sealwire.client import Credential, ForeignOrigin, NotSignable
from sealwire.client.explain import as_curl, signed_headers, signed_lines
from tests.client.server_double import ORIGIN, Clock, Server

URL = f"{ORIGIN}/v1/orders?a=1"
JSON = [("Content-Type", "application/json")]


def test_each_line_is_shown_with_its_reason(credential: Credential) -> None:
    lines = signed_lines(credential, "post", URL, JSON, b"{}", clock=Clock())
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
    assert all(line.why for line in lines)


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
        signed_lines(credential, "GET", "https://evil.example/")
    with pytest.raises(NotSignable):
        signed_headers(credential, "GET", f"{ORIGIN}/a//b")
