"""The file that holds a private key, and the many places where the key must not show."""

from __future__ import annotations

import copy
import json
import os
import pickle
import ssl
import stat
import traceback
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from sealwire.client import Credential, CredentialError, Transport, enroll
from sealwire.client.errors import BY_SLUG, OutcomeUnknown, ReplyUnproven, SignatureMismatch
from sealwire.client.keypair import ALGORITHMS, new_key
from sealwire.client.secretfile import Secret, read_secret
from sealwire.client.shared import tls_context
from tests.client.conftest import enrolled
from tests.client.server_double import ORIGIN, Clock, Server, Way


def marks(credential: Credential) -> list[str]:
    """What would show that the key has leaked: any line of its PEM."""
    lines = credential.key.reveal().decode().splitlines()
    return [line for line in lines if line and not line.startswith("-----")]


@pytest.fixture
def file(credential: Credential, tmp_path: Path) -> Path:
    path = tmp_path / "alice.json"
    credential.save(path)
    return path


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_saved_is_loaded(server: Server, tmp_path: Path, algorithm: str) -> None:
    credential = enrolled(server, algorithm)
    credential.save(tmp_path / "c.json")
    loaded = Credential.load(tmp_path / "c.json")
    assert loaded.key.reveal() == credential.key.reveal()
    assert loaded.signer.keyid == credential.signer.keyid
    assert (loaded.origin, loaded.client, loaded.name) == (ORIGIN, "cli_ALICE", "alice")
    assert loaded.server_keys == credential.server_keys


def test_the_file_is_its_owners_alone(file: Path) -> None:
    """P4: mode 0600, and nothing else is left beside it."""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["alice.json"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_file_that_others_may_use_is_refused(file: Path, mode: int) -> None:
    """P4: before anything in it is used, and the words name the command that mends it."""
    file.chmod(mode)
    with pytest.raises(CredentialError, match="chmod 600"):
        Credential.load(file)
    with pytest.raises(CredentialError, match="chmod 600"):
        Transport(file)


def test_a_file_is_not_written_over_unasked(file: Path, credential: Credential) -> None:
    before = file.read_bytes()
    with pytest.raises(CredentialError, match="exists already"):
        credential.save(file)
    credential.save(file, overwrite=True)
    assert file.read_bytes() == before


def test_a_file_is_written_whole_or_not_at_all(
    file: Path, credential: Credential, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file.read_bytes()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialError, match="No space left"):
        credential.save(file, overwrite=True)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["alice.json"]


def test_a_missing_folder_or_file_is_said(tmp_path: Path, credential: Credential) -> None:
    with pytest.raises(CredentialError, match="cannot be read"):
        Credential.load(tmp_path / "none.json")
    with pytest.raises(CredentialError, match="cannot be written"):
        credential.save(tmp_path / "none" / "c.json")


@pytest.mark.parametrize(
    "change",
    [
        {"sealwire_credential": 2},
        {"origin": "http://api.example.com"},
        {"origin": 7},
        {"client": None},
        {"private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        {"private_key": "…"},
        {"server_keys": {"version": 1, "keys": []}},
        {"server_keys": None},
    ],
)
def test_a_file_of_another_form_is_refused_without_its_content(file: Path, change: dict[str, object]) -> None:
    members = json.loads(file.read_text())
    file.write_text(json.dumps({**members, **change}))
    with pytest.raises(CredentialError) as caught:
        Credential.load(file)
    assert_nothing_shows(caught.value, members["private_key"].splitlines()[1:-1])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b"1" * (1 << 18) + b"1"])
def test_what_is_no_credential_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(CredentialError):
        Credential.load(file)


def test_the_ca_file_moves_with_the_credential(credential: Credential, tmp_path: Path) -> None:
    replace(credential, ca=tmp_path / "ca.pem").save(tmp_path / "c.json")
    assert Credential.load(tmp_path / "c.json").ca == tmp_path / "ca.pem"
    members = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(json.dumps({**members, "ca": "ca.pem"}))
    assert Credential.load(tmp_path / "c.json").ca == tmp_path / "ca.pem"


def assert_nothing_shows(error: BaseException, secrets: list[str]) -> None:
    """Not in the message, nor in a traceback that shows the values of its frames."""
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    here = Path(__file__).name
    frames = [part for part in shown.split('  File "') if here not in part.partition("\n")[0]]
    assert [secret for secret in secrets if any(secret in frame for frame in frames)] == []
    assert [secret for secret in secrets if secret in repr(error) or secret in str(error)] == []


def test_the_key_shows_in_no_repr_and_no_pickle(credential: Credential) -> None:
    """P4."""
    shown = f"{credential!r} {credential} {credential.signer!r} {credential.key!r} {vars(credential)}"
    assert [mark for mark in marks(credential) if mark in shown] == []
    assert repr(credential) == (f"Credential(origin={ORIGIN!r}, client='cli_ALICE', keyid={credential.signer.keyid!r})")
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(credential)
        with pytest.raises(TypeError):
            copying(credential.key)


def test_the_key_shows_in_no_traceback(credential: Credential, way: Way, file: Path) -> None:
    """P4: also in one that shows the values of each frame."""
    with httpx2.Client(transport=Transport(file, inner=way, clock=Clock())) as http:
        way.script = ["cut", "cut", httpx2.Response(200)]
        for error in (OutcomeUnknown, ReplyUnproven):
            with pytest.raises(error) as caught:
                http.get(f"{ORIGIN}/v1/x")
            assert_nothing_shows(caught.value, marks(credential))
    broken = file.read_text().replace("PRIVATE", "PUBLIC")
    file.write_text(broken)
    with pytest.raises(CredentialError) as bad:
        Credential.load(file)
    assert_nothing_shows(bad.value, marks(credential))


def test_an_invitation_shows_in_no_traceback(server: Server, way: Way) -> None:
    """P4, G12: nor does its secret, of a good one and of one with a slip of the pen."""
    invitation = server.invite()
    secret = invitation.split(".")[1]
    way.script = ["cut"]
    with pytest.raises(OutcomeUnknown) as caught:
        enroll(ORIGIN, invitation, name="alice", inner=way, clock=Clock())
    assert caught.value.outcome == "not done"
    assert_nothing_shows(caught.value, [secret])
    with pytest.raises(CredentialError) as bad:
        enroll(ORIGIN, invitation + "x", name="alice", inner=way, clock=Clock())
    assert_nothing_shows(bad.value, [secret])


def test_errors_travel_between_processes(credential: Credential) -> None:
    """A worker's error is pickled on its way to the parent."""
    for made in BY_SLUG.values():
        error = made()
        error.slug, error.detail = "x", "y"
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (type(again), again.slug, again.detail) == (made, "x", "y")
    lost = pickle.loads(pickle.dumps(OutcomeUnknown("timed out", "key")))  # noqa: S301
    assert (lost.reason, lost.idempotency_key) == ("timed out", "key")
    assert BY_SLUG["signature-mismatch"] is SignatureMismatch


def test_a_secret_shows_nothing(tmp_path: Path) -> None:
    assert repr(Secret(b"x")) == "Secret(…)"
    (tmp_path / "s").write_bytes(b"x")
    (tmp_path / "s").chmod(0o644)
    with pytest.raises(CredentialError):
        read_secret(tmp_path / "s")


def test_no_key_of_an_unknown_kind_is_made() -> None:
    with pytest.raises(CredentialError, match="ed25519"):
        new_key("hmac-sha256")


def test_tls_is_1_3_and_the_ca_is_the_one_that_was_said(tmp_path: Path) -> None:
    assert tls_context(None, None).minimum_version is ssl.TLSVersion.TLSv1_3
    own = ssl.create_default_context()
    assert tls_context(own, tmp_path / "none.pem") is own
    with pytest.raises(CredentialError, match=r"none\.pem"):
        tls_context(None, tmp_path / "none.pem")
    with pytest.raises(CredentialError, match=r"other\.pem"):
        tls_context(tmp_path / "other.pem", tmp_path / "none.pem")
