"""What is wrong with a deployment, found by damaging a good one."""

import asyncio
import datetime
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwire.admin import Admin
from sealwire.demo.state import DemoState
from sealwire.ports import Decision
from sealwire.ports.apikeys import Use
from sealwire.protocol.jwk import verifier_of
from sealwire.status import Finding, examine

DAY = 86_400


@pytest.fixture
def state(tmp_path: Path) -> DemoState:
    """The demo's folder, as good as new."""
    made = DemoState(tmp_path, 8443)
    made.make()
    Admin(made.config).close()
    return made


def found(state: DemoState, now: float | None = None, *, synchronised: bool | None = True) -> list[Finding]:
    """All that is found."""
    return examine(state.config, now or time.time(), synchronised=synchronised)


def wrong(state: DemoState, now: float | None = None, *, synchronised: bool | None = True) -> list[Finding]:
    """What is found wrong."""
    return [each for each in found(state, now, synchronised=synchronised) if each.level == "wrong"]


def edited(state: DemoState, old: str, new: str) -> None:
    """Another policy file."""
    before = state.config.read_text()
    assert old in before
    state.config.write_text(before.replace(old, new))


def test_nothing_is_wrong_with_a_good_one(state: DemoState) -> None:
    """Open rules are notes, with their reason; so is development. Looking makes no file."""
    (state.folder / "sealwire.db").unlink()
    before = sorted(state.folder.rglob("*"))
    every = found(state)
    assert {each.level for each in every} == {"note"}
    assert sorted(state.folder.rglob("*")) == before
    notes = {each.about: each.says for each in every}
    assert "not for production" in notes["environment"]
    assert notes["rules[0]"] == "POST /v1/login is open to whoever calls, because: sign-in form"
    assert notes["rules[1]"] == "GET /v1/markets is open to whoever calls"
    assert "does not exist yet" in notes["store.durable"]


def test_settings(state: DemoState) -> None:
    """A file that does not hold, and none."""
    edited(state, "[listen]", "[lisen]")
    (only,) = wrong(state)
    assert (only.about, only.mend) == ("settings", f"edit {state.config}")
    assert 'did you mean "listen"?' in only.says
    state.config.unlink()
    (only,) = wrong(state)
    assert "--config FILE" in only.mend


@pytest.mark.parametrize(
    ("key", "file"),
    [("keys.signing", "keys/signing.pem"), ("keys.wrapping", "keys/wrapping.key"), ("tls.key", "tls/key.pem")],
)
def test_key_files(state: DemoState, key: str, file: str) -> None:
    """Readable by others, then gone, then of another form; the command that is named mends the first."""
    path = state.folder / file
    path.chmod(0o640)
    (only,) = wrong(state)
    assert only == Finding("wrong", key, f'"{path}" can be read by others', f"chmod 600 {path}")
    path.chmod(0o600)
    path.write_text("garbage")
    assert [each.about for each in wrong(state)] == [key]
    path.unlink()
    (only,) = wrong(state)
    assert (only.about, only.mend) == (key, f"put the file back at {path}")


def test_certificate(state: DemoState) -> None:
    """It is told 30, 7 and 1 days before the end, and after it."""
    certificate = state.folder / "tls" / "cert.pem"
    end = x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    assert wrong(state, end - 30 * DAY - 1) == []
    for before, words in [
        (29 * DAY + 5, "expires within 30 days, in 29 d"),
        (6 * DAY + 5, "expires within 7 days, in 6 d"),
        (2 * 3600 + 5, "expires within 1 day, in 2 h"),
        (0, "has expired"),
    ]:
        (only,) = wrong(state, end - before)
        assert (only.about, only.says) == ("tls.certificate", f"the certificate {words}")
    certificate.write_text("garbage")
    (only,) = wrong(state)
    assert "it is no PEM certificate" in only.says


def test_rules(state: DemoState) -> None:
    """A rule in observe mode, an open rule that writes for no reason; a rule that gave up durable nonces is a note."""
    edited(state, 'because = "sign-in form"\n', "")
    edited(state, 'path = "/v1/orders"', 'path = "/v1/orders"\nmode = "observe"')
    edited(state, 'path = "/v1/quotes"', 'path = "/v1/quotes"\nreplay = "fast"')
    unexplained, observed = wrong(state)
    assert (unexplained.about, "because" in unexplained.mend) == ("rules[0]", True)
    assert (observed.about, "observe mode" in observed.says) == ("rules[6]", True)
    assert [each.level for each in found(state) if each.about == "rules[5]"] == ["note"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b"no database" * 100), "cannot be opened"),
        (lambda path: _schema(path, 99), "has schema 99, this version knows"),
    ],
)
def test_store(state: DemoState, damage: Callable[[Path], object], said: str) -> None:
    """What is no database, and what a newer version made."""
    damage(state.folder / "sealwire.db")
    (only,) = wrong(state)
    assert (only.about, said in only.says) == ("store.durable", True)


def test_an_older_schema_is_a_note(state: DemoState) -> None:
    """The next start moves it; looking does not."""
    _schema(state.folder / "sealwire.db", 0)
    assert wrong(state) == []
    (note,) = [each for each in found(state) if each.about == "store.durable"]
    assert "the next start moves it" in note.says
    assert _schema(state.folder / "sealwire.db") == 0


def test_a_client_whose_last_key_ends(state: DemoState) -> None:
    """A key that ends soon is told, unless its client has another that follows it."""
    with Admin(state.config) as admin:
        invitation = admin.invite("bot").partition("_inv_")[2].partition(".")[0]
        first, second = (verifier_of(Ed25519PrivateKey.generate().public_key()) for _ in range(2))
        directory, now = admin._ports.directory, time.time()
        asyncio.run(directory.enrol(invitation, first, "cli_1", "k", now))
        asyncio.run(directory.rotate(first.keyid, second, "k", now, 3600))
        assert wrong(state) == []
        admin.revoke_key(second.keyid)
    (only,) = wrong(state)
    assert only.says.startswith("the last key of bot (cli_1) expires within 1 day, in 0 h")
    assert "key rotate" in only.mend


def test_production_is_stricter(state: DemoState) -> None:
    """There a clock that nothing keeps is wrong, and so is each development key; a keeper that is named will do."""
    assert wrong(state, synchronised=False) == []
    assert [each.about for each in found(state, synchronised=False)][:2] == ["environment", "clock"]
    assert "clock" not in [each.about for each in found(state, synchronised=None)]
    edited(state, '"development"', '"production"')
    keys = ["keys.signing", "keys.wrapping", "tls.key"]
    assert [each.about for each in wrong(state, synchronised=False)] == ["clock", *keys]
    edited(state, 'environment = "production"', 'environment = "production"\nclock_kept_by = "the hypervisor"')
    assert [each.about for each in wrong(state, synchronised=False)] == keys
    marked = [state.folder / name for name in ("keys/signing.pem", "keys/wrapping.key", "tls/key.pem")]
    for path in marked:
        path.write_bytes(b"".join(line for line in path.read_bytes().splitlines(keepends=True) if line[:1] != b"#"))
    assert wrong(state, synchronised=None) == []


def test_the_demo_renews_what_ran_out(state: DemoState) -> None:
    """Certificates that end, and a start that was broken off, are made anew; what holds is kept."""
    kept = state.ca.read_bytes()
    state.make()
    assert state.ca.read_bytes() == kept
    state.ca.unlink()
    state.make()
    ends = x509.load_pem_x509_certificate(state.ca.read_bytes()).not_valid_after_utc
    assert ends > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=80)
    assert wrong(state) == []


def _schema(path: Path, version: int | None = None) -> int:
    connection = sqlite3.connect(path)
    if version is not None:
        connection.execute(f"PRAGMA user_version = {version}")
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    connection.close()
    return found


def test_a_client_that_its_user_disowned(state: DemoState) -> None:
    """It stands there until somebody has talked to its user."""
    with Admin(state.config) as admin:
        invitation = admin.invite("bot", user="alice").partition("_inv_")[2].partition(".")[0]
        verifier, now = verifier_of(Ed25519PrivateKey.generate().public_key()), time.time()
        asyncio.run(admin._ports.directory.enrol(invitation, verifier, "cli_1", "k", now))
        disowned = Decision("apr_1", now, "frozen", "user", "cli_1", "alice", "", "192.0.2.9", "", "", "p")
        assert asyncio.run(admin._ports.approvals.freeze("cli_1", "alice", disowned)) == 1
    (only,) = wrong(state)
    assert (only.about, only.says[:30]) == ("clients", "bot (cli_1) signs nothing: ali")
    assert "sealwire client thaw cli_1" in only.mend
    with Admin(state.config) as admin:
        assert admin.thaw_client("cli_1") == 1
    assert wrong(state) == []


def test_keyed_rules(state: DemoState) -> None:
    """What an API key opens is said with what it falls short of, and why it may write."""
    (ticker,) = [each for each in found(state) if "/v1/ticker" in each.says]
    assert ticker.level == "note"
    assert "ASVS 5.0: 7.2.2 and 13.2.1 are not met there" in ticker.says
    writes = 'path = "/v1/ticker"\nmethods = ["GET", "POST"]'
    edited(state, 'path = "/v1/ticker"\nmethods = ["GET"]', writes)
    (only,) = wrong(state)
    assert "takes API keys" in only.says
    assert "nothing says why" in only.says
    assert "because = " in only.mend
    edited(state, writes, writes + '\nbecause = "an old machine"')
    assert wrong(state) == []
    assert any(each.says.endswith("because: an old machine") for each in found(state))


def test_api_keys_that_end(state: DemoState) -> None:
    """In 30, 7 and 1 days, with the command that gives a new secret; a key made for days only is not late at once."""
    with Admin(state.config) as admin:
        admin.make_apikey("dash", user="alice", scopes=frozenset(("read",)))
        admin.make_apikey("short", user="alice", scopes=frozenset(("read",)), days=6)
        one = next(each for each in admin.apikeys() if each.name == "dash")
    start = time.time()
    assert wrong(state) == []
    for days, said in ((61, "expires within 30 days"), (84, "expires within 7 days"), (89.5, "expires within 1 day")):
        (late,) = [each for each in wrong(state, start + days * DAY) if "dash" in each.says and each.about == "apikeys"]
        assert said in late.says
        assert late.mend.startswith(f"sealwire apikey rotate {one.id}")
    after = start + 91 * DAY
    assert [each for each in found(state, after) if each.about == "apikeys"] == []
    with Admin(state.config) as admin:
        day = int(after // DAY)
        used = Use("", one.id, "token-invalid", day, 3, after - 60, "192.0.2.1")
        asyncio.run(admin._ports.uses.add_uses((used,)))
    (sent,) = [each for each in wrong(state, after) if each.about == "apikeys"]
    assert "has expired, and is still sent" in sent.says
    with Admin(state.config) as admin:
        admin.revoke_apikey(one)
    assert [each for each in wrong(state, after) if each.about == "apikeys"] == []


def test_an_old_secret_that_ends(state: DemoState) -> None:
    """Until when the secret before the last rotation goes on is a note."""
    with Admin(state.config) as admin:
        admin.make_apikey("dash", user="alice", scopes=frozenset(("read",)))
        admin.rotate_apikey(admin.apikeys()[0])
    (note,) = [each for each in found(state) if each.about == "apikeys"]
    assert (note.level, "before its last rotation expires within 1 day" in note.says) == ("note", True)
    assert [each for each in found(state, time.time() + 2 * DAY) if each.about == "apikeys"] == []


@pytest.mark.parametrize(
    ("limit", "mend"),
    [
        ("key-60", "raise it in "),
        ("client-own-60", "sealwire client bind cli_"),
        ("key-own-60", "sealwire apikey create --client=cli_"),
    ],
)
def test_limits_near_their_end(state: DemoState, limit: str, mend: str) -> None:
    """Who had little left of a limit today, and how often it was refused; yesterday's is no news."""
    with Admin(state.config) as admin:
        admin.make_apikey("dash", user="alice", scopes=frozenset(("read",)))
        (one,) = admin.apikeys()
        now = admin.now()
        uses = [
            Use(one.client, one.id, reason, int(now // DAY), 7, now, "192.0.2.1")
            for reason in (f"near {limit} /v1/ticker", "rate-limited", "ok")
        ]
        asyncio.run(admin._ports.uses.add_uses(tuple(uses)))
    (near,) = [each for each in found(state) if each.about == "limits"]
    assert f"had less than a tenth left of {limit} at /v1/ticker; 7 calls were refused that day" in near.says
    assert near.mend.startswith(mend)
    assert [each for each in found(state, now + 2 * DAY) if each.about == "limits"] == []
