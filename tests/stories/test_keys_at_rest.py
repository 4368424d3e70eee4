"""
Somebody who reads all that is written down, but the keys themselves

Keys are made, rotated and used, well and badly, against a real server at its most talkative. The attacker has its log
at every level, its streams, its files, a copy of its database, its metrics, what its commands print to people, and the
list of processes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sqlite3
import ssl
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from sealwire.admin import Admin
from sealwire.call import Call
from sealwire.client import Transport
from sealwire.credentials import Credentials
from sealwire.errors import Problem
from sealwire.fronts.cli.demo import free_port
from sealwire.protocol import apikey
from tests.fronts.command import Ran, sealwire
from tests.reliability.serving import Served
from tests.stories.keyed import BY_OPERATOR, KEYED_RULES, KeyedWorld, bearing, beside
from tests.stories.markers import files, leaks, marker, told
from tests.stories.test_coverage_and_binding import BODY
from tests.stories.test_enrolment import fresh
from tests.stories.world import Wire

_RULES = """
[metrics]
port = {metrics}

[[rules]]
path = "/v1/time"
methods = ["GET"]
profile = "open"
headers = ["authorization"]

[[rules]]
path = "/v1/ticker"
methods = ["GET", "POST"]
profile = "keyed"
scopes = ["read"]

[[rules]]
path = "/v1/orders"
methods = ["POST"]
scopes = ["trade"]
headers = ["authorization"]
"""
_PRINTING = (("apikey", "create"), ("apikey", "rotate"))
_SCHEMES = ("Bearer ", "bearer  ", "Token ", "", "Basic ")


class Talking(Served):
    """Two workers whose app logs all that it is shown, every logger at its lowest level."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "tests.stories.talkative:made_of_heads", workers=2)
        self._metrics = free_port()
        policy = self.state.config.read_text().partition("[[rules]]")[0]
        self.state.config.write_text(policy + _RULES.format(metrics=self._metrics))
        self._environment |= {"PYTHONASYNCIODEBUG": "1"}
        #: What its commands said to people, and the secrets that are looked for.
        self.said: list[str] = []
        self.secrets: dict[str, str | bytes] = {}

    def command(self, *args: str) -> Ran:
        """A command of the operator's. A key is all that one prints, and that alone is not kept."""
        done = sealwire(self.state.folder, "--config", str(self.state.config), *args)
        assert done.code in ((0, 5) if args == ("status",) else (0,)), done.err
        self.said += [done.err, "" if args[:2] in _PRINTING else done.out]
        return done

    def made(self, name: str, written: str) -> str:
        """Remembers a key by the part of it that is secret."""
        self.secrets[name] = written.strip().removeprefix("sw_test_sk_")
        return written.strip()

    def places(self) -> dict[str, bytes]:
        """All that is written down, and all that any process of this machine shows of itself."""
        scraped = httpx2.get(f"http://127.0.0.1:{self._metrics}/metrics").content
        shown = {"metrics": scraped, "said": "\n".join(self.said).encode()}
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    shown[f"{process.name}/{name}"] = (process / name).read_bytes()
                except OSError:  # it has ended meanwhile, or is somebody else's
                    continue
        with closing(sqlite3.connect(self.ledger)) as live, closing(sqlite3.connect(self.backup)) as copy:
            live.backup(copy)
        fast = {f"fast/{name}": held for name, held in files(self.fast.parent).items()}
        return files(self.state.folder) | fast | shown

    @property
    def backup(self) -> Path:
        """A copy of the database, as whoever gets at it makes one."""
        return self.state.folder / "backup.db"


def _call(served: Talking) -> list[int]:
    """Keys made, rotated and ended, and calls with them that end in every way there is."""
    answers = []
    board = served.made("made by command", served.command("apikey", "create", "board", "--scopes", "read,trade").out)
    with Admin(served.state.config) as admin:
        made = {name: served.made(name, admin.make_apikey(name.replace(" ", "-"))) for name in ("by Admin", "expired")}
        poor = served.made("without a scope", admin.make_apikey("poor", scopes=frozenset(("trade",))))
        far = served.made("of another network", admin.make_apikey("far", addresses=("192.0.2.0/24",)))
        bot = served.enrolled("bot")
        client = admin.client("bot")
        own = served.made("beside a signature", admin.make_apikey("own", client=client))
        found = next(one for one in admin.apikeys() if one.name == "by-Admin")
        new = served.made("rotated by Admin", admin.rotate_apikey(found, overlap_seconds=0))
        served.said += [repr((admin, vars(admin), admin.apikeys(), admin.clients(), found))]
    late = served.made("rotated by command", served.command("apikey", "rotate", "board").out)
    with closing(sqlite3.connect(served.ledger, timeout=10, isolation_level=None)) as connection:
        connection.execute("UPDATE apikeys SET expires = 1 WHERE name = 'expired'")
    with Admin(served.state.config) as admin:
        ended = served.made("revoked", admin.make_apikey("ended"))
    served.command("apikey", "revoke", "ended", "--confirm=ended")
    guess = served.made("never made", apikey.write("test", os.urandom(32)))
    live = served.made("of the other mode", apikey.write("live", os.urandom(32)).replace("live", "test"))
    token = marker()
    served.secrets["a token of the app's"] = token

    with httpx2.Client(verify=served.trust(), base_url=served.url, timeout=20) as http:
        for key in (board, late, *made.values(), poor, far, own, new, ended, guess, live, late[:-1], token):
            for scheme in _SCHEMES if key in (late, guess) else _SCHEMES[:1]:
                fields = {"authorization": scheme + key}
                answers.append(http.get("/v1/ticker", headers=fields).status_code)
                answers.append(http.get("/v1/time", headers=fields).status_code)
            paths = (f"/v1/ticker?api_key={key}", f"/v1/time?api_key={key}", f"/v1/{key}", "/v1//ticker")
            elsewhere = {"x-api-key": key, "cookie": f"k={key}"}
            answers += [http.get(path, headers=elsewhere).status_code for path in paths]
        bodies = [{"word": "w", "do": do} for do in ("refuse", "fail", "fault", "odd type")]
        answers += [http.post("/v1/ticker", json=body, headers=bearer(late)).status_code for body in bodies]
        repeated = [("authorization", f"Bearer {late}")] * 2
        answers.append(http.get("/v1/ticker", headers=repeated).status_code)
        answers.append(http.post("/v1/ticker", content=b"{", headers=bearer(late)).status_code)
        _odd(served, late)
    with httpx2.Client(transport=Transport(bot), base_url=served.url) as http:
        for key in (own, late):
            reply = http.post("/v1/orders", json={"word": "w"}, headers=bearer(key))
            answers.append(reply.status_code)
            served.said.append(f"{reply!r} {reply.request!r} {reply.extensions!r} {http._transport!r}")
    for args in (("apikey", "list"), ("apikey", "list", "--json"), ("client", "show", "bot"), ("status",)):
        served.command(*args)
    return answers


def bearer(key: str) -> dict[str, str]:
    """The field that presents a key."""
    return {"authorization": f"Bearer {key}"}


def _odd(served: Talking, key: str) -> None:
    """Heads with a key that no parser takes, and one that is cut off in the midst of it."""
    for head in (
        f"GET /v1/ticker HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\x00\r\n\r\n",
        f"GET /v1/ticker HTTP/9.9\r\nAuthorization: Bearer {key}\r\n\r\n",
        f"{key} / HTTP/1.1\r\n\r\n",
        f"GET /v1/ticker HTTP/1.1\r\nAuthorization: Bearer {key}",
    ):
        context = ssl.create_default_context(cafile=str(served.state.ca))
        with httpx2.Client(verify=context) as http:
            stream = http._transport._pool._network_backend.connect_tcp("localhost", served.state.port)  # type: ignore[attr-defined]
            secured = stream.start_tls(context, "localhost")
            secured.write(head.encode("latin-1"))
            secured.close()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Talking, list[int], dict[str, bytes]]]:
    """The server, what the calls were answered, and all that was written down by then."""
    served = Talking(tmp_path_factory.mktemp("talking"))
    try:
        served.start()
        answers = _call(served)
        yield served, answers, served.places()
    finally:
        served.stop()


Story = tuple[Talking, list[int], dict[str, bytes]]


@pytest.mark.xdist_group("server")
def test_no_key_is_written_down(story: Story) -> None:
    """
    N2: API keys that are good, expired, revoked, guessed, cut and in the wrong place, with an app that logs its heads
    and raises: in no log, stream, file, database, WAL, backup, fast store, metric, process or command's words.

    Stopped by: trace
    """
    served, answers, places = story
    assert {200, 400, 401, 403, 404, 409, 415, 500} <= set(answers)
    assert {"sealwire.db", "sealwire.db-wal", "backup.db", "stderr.txt", "metrics", "said"} <= places.keys()
    assert len([name for name in places if name.endswith("/environ")]) > 3
    log = places["stderr.txt"]
    assert all(said in log for said in (b'"log.level":"level 1"', b"ValueError", b"heads: ", b"token-invalid/expired"))
    assert len(served.secrets) == 12
    app_own = served.secrets["a token of the app's"]
    assert leaks({name: held for name, held in served.secrets.items() if held != app_own}, places) == []
    # An app that logs what is its own is found by the same search: what it is shown of our keys, it would have shown.
    assert {one.rpartition(" in ")[2] for one in leaks({"token": app_own}, places)} == {"stderr.txt"}


@pytest.mark.xdist_group("server")
def test_a_copy_of_the_database_opens_nothing(story: Story) -> None:
    """
    N2: every value that the database has of an API key, in each form that a key or a token has, and under its
    checksum; and whether a key could be guessed at by the values alone.

    Stopped by: authenticate
    """
    served, _, places = story
    with closing(sqlite3.connect(served.backup)) as copy:
        kept = [digest for (digest,) in copy.execute("SELECT digest FROM apikey_secrets")]
        names = [name for row in copy.execute("SELECT id, client, name FROM apikeys") for name in row]
    # But for the one that was never made, the one of the other mode, and the app's token.
    assert len(kept) == len(served.secrets) - 3
    forms = [form for one in kept for form in (one.hex(), b64encode(one).decode(), apikey.write("test", one))]
    with httpx2.Client(verify=served.trust(), base_url=served.url, timeout=20) as http:
        for presented in (*forms, *names):
            reply = http.get("/v1/ticker", headers=bearer(presented))
            assert (reply.status_code, reply.json()["code"]) == (401, "token-invalid")
    plain: dict[str, str | bytes] = {}
    for name, secret in served.secrets.items():
        key = b"sw_test_sk_" + str(secret).encode()
        plain |= {f"SHA-256 of {name}": hashlib.sha256(key).digest()}
        plain |= {f"HMAC of {name}": hmac.digest(b"", b"apikey\0" + key, "sha256")}
    assert leaks(plain, {name: places[name] for name in ("sealwire.db", "sealwire.db-wal", "backup.db")}) == []


@pytest.mark.xdist_group("server")
def test_nothing_is_left_behind(story: Story) -> None:
    """
    N2: the same search over the files when the server has ended and its WAL is in the database.

    Stopped by: trace
    """
    served, _, _ = story
    served.stop()
    left = files(served.state.folder)
    assert "sealwire.db-wal" not in left
    ours = {name: held for name, held in served.secrets.items() if name != "a token of the app's"}
    assert leaks(ours, left) == []


async def test_values_that_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    N2: each value on the way of a call with an API key, good, bad and beside a signature, printed with all that it is
    made of; each problem with all that led to it: no key, and nothing that one is found by.

    Stopped by: trace
    """
    world = KeyedWorld(tmp_path, KEYED_RULES)
    caught: list[object] = []
    count, find, handle = world.guard._pipeline.count_refused, Credentials.find, world.guard.handle

    async def counted(call: Call, problem: Problem | None) -> None:
        caught.extend((call, call.held, call.request, told(problem) if problem else "", vars(problem)))
        await count(call, problem)

    async def found(credentials: Credentials, credential: bytes, now: float) -> object:
        caught.extend((credentials, vars(credentials)))
        record = await find(credentials, credential, now)
        caught.append(record)
        return record

    async def handled(arrival: object, enter: object) -> object:
        caught.append(arrival)
        return await handle(arrival, enter)  # type: ignore[arg-type]

    monkeypatch.setattr(Credentials, "find", found)
    monkeypatch.setattr(world.guard, "handle", handled)
    world.guard._pipeline = world.guard._pipeline._replace(count_refused=counted)
    good, which = await world.make()
    poor, _ = await world.make(scopes=frozenset())
    other, _ = await world.make("mallory")
    ended, gone = await world.make()
    await world.apikeys.revoke_apikey(gone, BY_OPERATOR)
    signed = Wire("POST", b"/v1/orders", BODY)
    for request, status in (
        (bearing(good), 200),
        (beside(world, good, signed), 200),
        (bearing(poor), 403),
        (bearing(ended), 401),
        (bearing(good[:-1]), 401),
        (bearing(good, scheme=b"Token "), 401),
        (beside(world, other), 401),
        (Wire().change(b"authorization", b"Bearer " + good.encode()).sign(fresh()), 401),
    ):
        assert (await world.send(request)).status_code == status
    caught += [scope["sealwire"] for scope in world.entered]
    caught += [await world.record(good), await world.apikeys.apikeys(), await world.apikeys.clients()]
    caught += [world.guard, world.app, world.keyring, world.buckets, world.lines, world.ledger.decisions]
    said = "".join(f"{value!r} {value!s}" for value in caught).encode()
    assert which.encode() in said
    secrets = {name: key[11:] for name, key in (("good", good), ("poor", poor), ("other", other), ("ended", ended))}
    digests: dict[str, str | bytes] = {
        f"digest of {name}": world.digest("sw_test_sk_" + s) for name, s in secrets.items()
    }
    assert leaks(secrets | digests, {"said": said, "lines": json.dumps(world.lines).encode()}) == []
