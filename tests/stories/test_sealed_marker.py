"""
A word that only the two ends may know is put into every sealed field, and looked for everywhere else.

The real client calls a real server through someone who terminates TLS. The attacker has all that passed there, what the
server writes to its streams with every logger at its lowest level, its metrics, its files and its fast store, and what
the client logs, raises and prints.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import NamedTuple

import httpx2
import pytest

from sealwire.client import ForeignOrigin, NotSignable, OutcomeUnknown, Refused, ReplyUnproven, SealwireError
from sealwire.keys.file import FileKeyring
from sealwire.observers.log import JsonFormatter
from tests.stories.markers import files, leaks, marker, told
from tests.stories.passage import Passage, passing
from tests.stories.talkative import answer_to

pytestmark = pytest.mark.xdist_group("server")
JSON = {"content-type": "application/json"}
NO = b'{"code": "encryption-unexpected", "status": 400}'
UNSIGNED = b"HTTP/1.1 400 No\r\nContent-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s" % (len(NO), NO)
#: Where a leak is planted, and found.
PLACES = (
    "stdout.txt", "stderr.txt", "crash.txt", "sealwire.db-wal", "metrics", "fast/fast.db-wal", "fast/left.txt",
    "capture", "client log", "client shown",
)  # fmt: skip


class Listening(logging.Handler):
    """All that is logged in this process, as a format without care and as our own would write it."""

    def __init__(self) -> None:
        super().__init__(1)
        self.lines: list[str] = []
        self._formats = (logging.Formatter("%(message)s %(args)s"), JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [one.format(record) for one in self._formats]


class Told:
    """
    What is said in a client's calls: `sealed` is for the two ends alone, `typed` are media types, which a protected
    header shows to whoever holds the connection, `key` is an Idempotency-Key, `name` the last part of a path.
    """

    def __init__(self, passage: Passage, listening: Listening) -> None:
        self.passage = passage
        self.listening = listening
        self.sealed: dict[str, str | bytes] = {}
        self.typed: dict[str, str] = {}
        self.key = marker()
        self.name = marker()
        self.shown: list[str] = []

    def outside(self) -> dict[str, str]:
        """What is not sealed, and still stands in nothing of the server's."""
        return {**self.typed, "the key": self.key, "the path": self.name}

    def word(self, name: str) -> str:
        """A new word, whose answer is looked for, too."""
        word = marker()
        self.sealed |= {name: word, f"the answer to {name}": answer_to(word)}
        return word

    def order(self, http: httpx2.Client, name: str, status: int, do: str = "", path: str = "/v1/orders") -> None:
        """A sealed call about a new word."""
        self.post(http, {"word": self.word(name), "do": do}, status, path=path)

    def post(
        self, http: httpx2.Client, said: object, status: int, more: Mapping[str, str] = JSON, path: str = "/v1/orders"
    ) -> httpx2.Response:
        """A sealed call, whose reply is shown."""
        content = said if isinstance(said, bytes) else json.dumps(said).encode()
        reply = http.post(path, content=content, headers=dict(more))
        assert reply.status_code == status, reply.text
        self.shown.append(f"{reply!r} {reply} {reply.request!r} {reply.headers!r} {reply.extensions!r}")
        return reply

    def fails(
        self, http: httpx2.Client, name: str, kind: type[SealwireError], change: Callable[[str], httpx2.Request] | None
    ) -> None:
        """A call that ends in an exception: for the request itself, or for what the terminator does to the answer."""
        word = self.word(name)
        ordered = http.build_request("POST", "/v1/orders", json={"word": word})
        with pytest.raises(kind) as caught:
            http.send(change(word) if change else ordered)
        self.shown.append(told(caught.value) + repr(vars(caught.value)))

    def places(self) -> dict[str, bytes]:
        """All that was said and kept but in the two ends themselves."""
        return self.passage.places() | {
            "capture": self.passage.terminator.captured(),
            "client log": "\n".join(self.listening.lines).encode(),
            "client shown": "\n".join(self.shown).encode(),
        }


def play(told: Told, http: httpx2.Client) -> None:
    """Calls that end in every way there is."""
    told.order(http, "an order", 200)
    told.order(http, "a quote by the session's key", 200, path="/v1/quotes")
    told.sealed["the answer to a call without a body"] = answer_to(told.name)
    assert http.get(f"/v1/orders/{told.name}").json()["detail"] == answer_to(told.name)
    told.order(http, "a refusal of the app", 409, "refuse")
    kept = {"word": told.word("an order that is kept")}
    replies = [told.post(http, kept, 200, JSON | {"idempotency-key": told.key}) for _ in range(2)]
    assert replies[0].content == replies[1].content
    other = {"word": told.word("another order under the key")}
    told.post(http, other, 422, JSON | {"idempotency-key": told.key})
    twice = told.word("a member that stands twice")
    assert "stands twice" in told.post(http, f'{{"{twice}": 1, "{twice}": 2}}'.encode(), 422).text
    told.sealed["the guard's own words"] = "a member stands twice"
    told.post(http, f'"{told.word("a body that is not JSON")}'.encode(), 422)
    typed = {"content-type": f"text/{told.typed.setdefault('a media type that is not taken', marker())}"}
    told.post(http, {"word": told.word("a body of another type")}, 415, typed)
    word = marker()
    told.typed["the media type of an answer"] = answer_to(word)
    told.sealed["an order with an answer of its own type"] = word
    reply = told.post(http, {"word": word, "do": "type"}, 200)
    assert answer_to(word) in reply.headers["content-type"]
    for do in ("odd type", "fail", "fault"):
        told.order(http, f"an app that does {do}", 500, do)


def fail(told: Told, http: httpx2.Client) -> None:
    """Calls that the client does not send, and calls whose answers it does not take."""
    build = http.build_request
    told.fails(http, "no rule", NotSignable, lambda word: build("POST", "/v1/nowhere", json={"word": word}))
    told.fails(http, "a query", NotSignable, lambda word: build("POST", f"/v1/orders?word={word}", content=b"{}"))
    odd = {"content-type": "text/" + "x" * 200}
    told.fails(http, "a type", NotSignable, lambda w: build("POST", "/v1/orders", content=w.encode(), headers=odd))
    elsewhere = "https://localhost:1/v1/orders"
    told.fails(http, "elsewhere", ForeignOrigin, lambda word: build("POST", elsewhere, json={"word": word}))
    terminator = told.passage.terminator
    ways: tuple[tuple[type[SealwireError], Callable[[bytes], bytes | None]], ...] = (
        (ReplyUnproven, lambda chunk: chunk.replace(b"HTTP/1.1 200", b"HTTP/1.1 202")),
        (Refused, lambda chunk: UNSIGNED if chunk.startswith(b"HTTP/1.1") else b""),
        (OutcomeUnknown, lambda chunk: None),
    )
    for kind, terminator.on_reply in ways:
        told.fails(http, kind.__name__, kind, None)
    terminator.on_reply = lambda chunk: chunk


def spelt(word: str) -> dict[str, str]:
    """The word as it may be found in a text."""
    raw = word.encode()
    return {
        "clear": word.upper(),
        "backwards": word[::-1],
        "hex": raw.hex().upper(),
        "JSON": "".join(f"\\u{byte:04x}" for byte in raw),
        "repr": "".join(f"\\x{byte:02x}" for byte in raw),
        "percent": "".join(f"%{byte:02X}" for byte in raw),
        "UTF-16": word.encode("utf-16-le").decode("latin-1"),
        "UTF-16 the other way": word.encode("utf-16-be").decode("latin-1"),
        **{f"base64 at {at}": b64encode(b"?" * at + raw + b"more").decode() for at in range(3)},
        "base64url": urlsafe_b64encode(b'{"word":"' + raw + b'"}').decode().rstrip("="),
    }


def plant(told: Told, http: httpx2.Client, texts: list[str]) -> None:
    """Leaves the texts in each place."""
    passage = told.passage
    told.order(http, "what is planted", 200)
    told.post(http, {"word": marker(), "do": "plant", "texts": texts}, 200)
    told.post(http, {"word": marker(), "texts": texts}, 200, path="/v1/notes")
    whole = "\n".join(texts).encode("latin-1")
    (passage.state.folder / "crash.txt").write_bytes(whole)
    (passage.fast.parent / "left.txt").write_bytes(whole)
    for database in (passage.ledger, passage.fast.parent / "fast.db"):
        with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
            connection.execute("CREATE TABLE planted (text TEXT)")
            connection.executemany("INSERT INTO planted VALUES (?)", [(text,) for text in texts])
    for text in texts:
        logging.getLogger("httpcore2").debug("sent %s", text)
        told_of = ValueError(text)
        told.shown += [repr(told_of), str(told_of)]


class Story(NamedTuple):
    """What was said, what was then found, and what was found when leaks were planted and when the server had ended."""

    told: Told
    places: dict[str, bytes]
    kept: list[bytes]
    planted: dict[str, str]
    after: dict[str, bytes]
    left: dict[str, bytes]


@contextmanager
def all_logged() -> Iterator[Listening]:
    """Every logger of this process at its lowest level."""
    root, listening = logging.getLogger(), Listening()
    level = root.level
    root.setLevel(1)
    root.addHandler(listening)
    try:
        yield listening
    finally:
        root.removeHandler(listening)
        root.setLevel(level)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The whole of it, from the server's start to its end."""
    with passing(tmp_path_factory.mktemp("passage")) as passage, all_logged() as listening:
        told = Told(passage, listening)
        credential = passage.enrolled("alice")
        with passage.client(credential) as http:
            play(told, http)
            fail(told, http)
            transport = http._transport
            held = transport._process.sessions._held  # type: ignore[attr-defined]
            values = (http, transport, vars(transport), held, held.keys, credential, credential.signer)
            told.shown += [f"{value!r} {value}" for value in values]
            told.sealed |= passage.secrets()
            told.sealed |= {"c2s mac": held.keys.c2s_mac, "s2c mac": held.keys.s2c_mac}
            places, kept = told.places(), unwrapped(passage)
            planted = {form: marker() for form in spelt("")}
            plant(told, http, [spelt(word)[form] for form, word in planted.items()])
            after = told.places()
        passage.stop()
        return Story(told, places, kept, planted, after, files(passage.state.folder))


def unwrapped(passage: Passage) -> list[bytes]:
    """The answers that are kept for repeats, as the key home opens them."""
    keys = passage.state.folder / "keys"
    keyring = FileKeyring(keys / "signing.pem", keys / "wrapping.key", os.urandom)
    rows = passage.rows(passage.ledger, "SELECT scope, reply FROM idempotency WHERE reply IS NOT NULL")
    return [keyring.unwrap(reply, scope.encode()) for scope, reply in rows]


def test_the_marker_is_nowhere(story: Story) -> None:
    """
    N2: a marker in each sealed body, answer and problem, and the session's own secrets: not with whoever terminates
    TLS, nor in the server's log at any level, its streams, metrics, files, database, WAL and fast store, nor in the
    client's log, exceptions and reprs.

    Stopped by: trace
    """
    assert len(story.told.sealed) > 40
    assert {*PLACES, "sealwire.db", "fast/fast.key"} - {"crash.txt", "fast/left.txt"} <= story.places.keys()
    assert leaks(story.told.sealed, story.places) == []
    # The log is at its lowest level, and both ends told of what went wrong.
    log = story.places["stderr.txt"]
    assert all(said in log for said in (b'"log.level":"level 1"', b"ValueError", b"entered: "))
    assert b"send_request_headers" in story.places["client log"]
    assert all(said in story.places["client shown"] for said in (b"OutcomeUnknown", b"ReplyUnproven", b"NotSignable"))


def test_what_is_not_sealed_is_seen_on_the_way_alone(story: Story) -> None:
    """
    N2: markers in the media type of what is sealed, in the Idempotency-Key and the path: whoever terminates TLS sees
    them, the first in the protected header; the server writes them nowhere.

    Stopped by: trace
    """
    on_the_server = {name: held for name, held in story.places.items() if not name.startswith(("client", "capture"))}
    outside = story.told.outside()
    assert leaks(outside, on_the_server) == []
    seen = leaks(outside, {"capture": story.places["capture"]})
    assert {found.partition(" in ")[0] for found in seen} == outside.keys()
    assert all("base64" in found for found in seen if found.partition(" in ")[0] in story.told.typed)


def test_kept_answers_are_wrapped(story: Story) -> None:
    """
    N2: the answers that are kept for repeats of each sealed call: under the key home's wrapping key they are all there.

    Stopped by: idempotency
    """
    kept = leaks(story.told.sealed, {"kept": b"\n".join(story.kept)})
    names = {found.partition(" in clear")[0] for found in kept}
    assert {f"the answer to {name}" for name in ("an order", "a refusal of the app", "an order that is kept")} <= names
    assert leaks(story.told.typed, {"kept": b"\n".join(story.kept)}) != []
    assert leaks(story.told.sealed, {name: story.places[name] for name in ("sealwire.db", "sealwire.db-wal")}) == []


def test_nothing_is_left_behind(story: Story) -> None:
    """
    N2: the same search over the files when the server has ended and its WAL is in the database.

    Stopped by: trace
    """
    assert "sealwire.db" in story.left
    assert "sealwire.db-wal" not in story.left
    assert leaks(story.told.sealed | story.told.outside(), story.left) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_leak_is_found(story: Story, place: str) -> None:
    """
    N2: the search itself: words planted in each place, each in another spelling: all are found.

    Stopped by: nothing
    """
    assert leaks(story.planted, {place: story.places.get(place, b"")}) == []
    found = leaks(story.planted, {place: story.after[place]})
    assert {one.partition(" in ")[0] for one in found} == story.planted.keys()
