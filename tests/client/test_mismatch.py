"""A signature that does not verify is told as the line that was changed, not as a riddle."""

from __future__ import annotations

import httpx2
import pytest

from sealwire.client import SignatureMismatch
from sealwire.client.mismatch import compare
from sealwire.protocol.jwk import load_verifier
from tests.client.server_double import ORIGIN, Server, Way, new_signer, problem_response


def moved(way: Way, url: str | None = None, method: str | None = None, **headers: str) -> None:
    def change(request: httpx2.Request) -> httpx2.Request:
        fields = {**request.headers, **headers}
        return httpx2.Request(
            method or request.method, url or request.url, headers=fields, stream=httpx2.ByteStream(request.content)
        )

    way.on_request = change


def told(http: httpx2.Client, **more: object) -> SignatureMismatch:
    with pytest.raises(SignatureMismatch) as caught:
        http.post("/api/v1/orders?a=1", content=b"x", **more)  # type: ignore[arg-type]
    return caught.value


def test_a_prefix_that_was_stripped_is_named(http: httpx2.Client, way: Way) -> None:
    """E3: the client says which line, what it signed, and what to ask the API's owner for."""
    moved(way, url=f"{ORIGIN}/v1/orders?a=1")
    error = told(http)
    assert str(error).splitlines() == [
        "signature-mismatch (req_TEST)",
        '  you signed    "@path": /api/v1/orders',
        '  the server received something else for "@path"; the other 7 lines are the same',
        "  usual cause: a proxy strips or adds a prefix. Ask the API's owner to set external_prefix to that prefix.",
        "  this refusal is not signed: it proves nothing, and anyone on the way could have written it",
        f"  outcome: unknown. To ask again, repeat with Idempotency-Key: {error.idempotency_key}",
    ]


@pytest.mark.parametrize(
    ("change", "component", "cause"),
    [
        ({"url": f"{ORIGIN}/api/v1/orders?a=2"}, '"@query"', "query"),
        ({"method": "PUT"}, '"@method"', "method"),
        ({"content-type": "text/plain"}, '"content-type"', "charset"),
        ({"idempotency-key": "other"}, '"idempotency-key"', "library"),
    ],
)
def test_each_line_has_its_usual_cause(
    http: httpx2.Client, way: Way, change: dict[str, str], component: str, cause: str
) -> None:
    moved(way, **change)
    error = told(http)
    assert [difference.component for difference in error.differences] == [component]
    assert cause in str(error)


def test_a_token_is_named_and_not_shown(http: httpx2.Client, way: Way) -> None:
    """I2: an error is pasted into tickets."""
    moved(way, authorization="Bearer other")
    error = told(http, headers={"Authorization": "Bearer very-secret"})
    assert '"authorization": (not shown)' in str(error)
    assert "very-secret" not in str(error) + repr(error) + repr(error.differences)


def test_all_lines_alike_means_another_key(http: httpx2.Client, server: Server) -> None:
    """The server holds another public key under this thumbprint: no line differs, and the words say so."""
    keyid = next(iter(server.clients))
    server.clients[keyid] = ("cli_ALICE", load_verifier(new_signer().jwk))
    error = told(http)
    assert (error.differences, error.same) == ((), 8)
    assert "another key" in str(error)


@pytest.mark.parametrize(
    "base_lines", [None, [], {}, "x", [1], [{"component": 1, "sha256": "00000000"}], [{"component": '"@path"'}]]
)
def test_fingerprints_that_are_none_are_passed_over(http: httpx2.Client, way: Way, base_lines: object) -> None:
    way.script = [problem_response("signature-mismatch", 401, base_lines=base_lines)]
    error = told(http)
    assert error.differences == ()
    assert "not signed" in str(error)


def test_what_was_not_signed_is_not_named(http: httpx2.Client, way: Way) -> None:
    """I5: a stranger's refusal cannot put words into the client's mouth."""
    lines = [{"component": "\x1b[31m", "sha256": "00000000"}, {"component": '"x-origin-verify"', "sha256": "00000000"}]
    way.script = [problem_response("signature-mismatch", 401, base_lines=lines)]
    error = told(http)
    assert (error.differences, error.same) == ((), 0)
    assert "x-origin" not in str(error)
    assert "\x1b" not in str(error)


def test_nothing_to_compare_is_none() -> None:
    assert compare(None, None, b"") is None  # type: ignore[arg-type]
