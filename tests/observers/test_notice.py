"""Notices by a real mail server: in the clear, behind STARTTLS with a login, and behind TLS from the first byte."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler
from aiosmtpd.smtp import AuthResult, LoginPassword

from sealwire.demo.state import DemoState
from sealwire.fronts.cli.demo import free_port
from sealwire.observers import notice as notices
from sealwire.observers.notice import LoggedNotices, MailedNotices
from sealwire.ports.people import Notice

ASKED = Notice(
    "alice", "asked", "Something waits for your approval", "TradeBot asks.", "https://pages.example/approve/1"
)
TRIED = Notice("alice", "tries", "How your approvals are given", "Wrong codes were tried.")
SENDER = "no-reply@bank.example"
Address = Callable[[str], str | None]


class Inbox(Handler):
    """What came in."""

    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []
        self.logins: list[tuple[bytes, bytes]] = []

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)

    def let_in(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
        """Notes the login, and takes the one password there is."""
        assert isinstance(given, LoginPassword)
        self.logins.append((given.login, given.password))
        return AuthResult(success=given.password == b"right")


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """TLS of a mail server for localhost, and what trusts it."""
    state = DemoState(tmp_path_factory.mktemp("mail"), 8443)
    state.make()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(state.folder / "tls" / "cert.pem", state.folder / "tls" / "key.pem")
    return server, ssl.create_default_context(cafile=str(state.ca))


@contextmanager
def mail_server(inbox: Inbox, **given: Any) -> Iterator[int]:
    """A mail server on a port of this machine."""
    port = free_port()
    running = Controller(inbox, hostname="127.0.0.1", port=port, server_hostname="localhost", **given)
    running.start()
    try:
        yield port
    finally:
        running.stop()


def addressed(user: str) -> str | None:
    return f"{user}@example.com"


def sent(port: int, *told: Notice, tls: bool = False, address: Address = addressed, **more: Any) -> None:
    """Tells, and waits until all of it went out or was given up."""
    mailed = MailedNotices(("localhost", port, tls), SENDER, address, **more)
    for one in told:
        mailed.tell(one)
    mailed.close()


def test_a_notice_is_a_mail() -> None:
    """To its user's address, with its link and nothing of what was asked; in their order."""
    inbox = Inbox()
    with mail_server(inbox) as port:
        sent(port, ASKED, TRIED)
    first, second = inbox.mails
    assert (first["from"], first["to"], first["subject"]) == (SENDER, "alice@example.com", ASKED.subject)
    assert str(first.get_payload()).split() == ["TradeBot", "asks.", ASKED.link]
    assert str(second.get_payload()).strip() == TRIED.text


def test_no_line_of_a_mail_is_the_users(caplog: pytest.LogCaptureFixture) -> None:
    """An address that brings another field is no address: nothing is sent, the next one is."""
    inbox = Inbox()
    hostile = iter(("alice@example.com\nBcc: all@example.com", "alice@example.com"))
    with mail_server(inbox) as port:
        sent(port, ASKED, TRIED, address=lambda _: next(hostile))
    assert [mail["subject"] for mail in inbox.mails] == [TRIED.subject]
    assert "Bcc" not in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_password_goes_behind_starttls_only(certified: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Where a login is asked for TLS is demanded; without a certificate that is trusted nothing is said."""
    server, trusting = certified
    inbox = Inbox()
    given = {"tls_context": server, "require_starttls": True, "auth_required": True, "authenticator": inbox.let_in}
    with mail_server(inbox, **given) as port:
        sent(port, ASKED, login=("bank", "right"), context=trusting)
        assert (len(inbox.mails), inbox.logins) == (1, [(b"bank", b"right")])
        sent(port, ASKED, login=("bank", "right"))
        assert (len(inbox.mails), len(inbox.logins)) == (1, 1), "the system trusts no such server"


def test_a_server_without_tls_gets_no_password(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody on the way who takes STARTTLS out of the greeting gets neither password nor mail."""
    inbox = Inbox()
    with mail_server(inbox, auth_require_tls=False, authenticator=inbox.let_in) as port:
        sent(port, ASKED, login=("bank", "right"))
    assert (inbox.mails, inbox.logins) == ([], [])
    assert "was not sent: SMTPNotSupportedError" in caplog.text


def test_tls_from_the_first_byte(certified: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """smtps: (RFC 8314)."""
    server, trusting = certified
    inbox = Inbox()
    with mail_server(inbox, ssl_context=server) as port:
        sent(port, ASKED, tls=True, context=trusting)
    assert len(inbox.mails) == 1


def test_what_could_not_be_sent_is_said(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A server that is gone, a user without an address, a look-up that fails: an error each, without its words."""
    with mail_server(Inbox()) as port:
        pass
    sent(port, ASKED)
    assert "a notice (asked) was not sent: ConnectionRefusedError" in caplog.text

    def broken(user: str) -> str | None:
        raise LookupError(f"MARKER {user}")

    inbox = Inbox()
    with mail_server(inbox) as port:
        sent(port, ASKED, address=lambda _: None)
        sent(port, ASKED, address=broken)
    assert inbox.mails == []
    assert "its user has no address" in caplog.text
    assert "LookupError" in caplog.text
    assert "MARKER" not in caplog.text


def stalled() -> tuple[MailedNotices, Event]:
    """Notices of which the first is on its way until the event is set."""
    begun, go = Event(), Event()

    def slow(_: str) -> str | None:
        begun.set()
        assert go.wait(20)
        return None

    mailed = MailedNotices(("localhost", 9, False), SENDER, slow)
    mailed.tell(ASKED)
    assert begun.wait(20)
    return mailed, go


def test_nobody_waits_for_a_mail(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """While one is on its way the others queue up to the bound; what is past it is said and not kept."""
    monkeypatch.setattr(notices, "_WAITING", 2)
    mailed, go = stalled()
    for _ in range(4):
        mailed.tell(TRIED)
    assert caplog.text.count("2 wait already") == 2
    go.set()
    mailed.close()
    assert caplog.text.count("its user has no address") == 3


def test_a_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A mail server that answers nothing, and as much before it as may wait: the process ends, and says so."""
    monkeypatch.setattr(notices, "_WAITING", 2)
    monkeypatch.setattr(notices, "_STOP_SECONDS", 0.1)
    mailed, go = stalled()
    sending = mailed._thread
    assert sending is not None
    for _ in range(2):
        mailed.tell(TRIED)
    stopping = Thread(target=mailed.close, daemon=True)
    stopping.start()
    stopping.join(10)
    stopped = not stopping.is_alive()
    go.set()
    sending.join(20)  # what it says is not the next test's
    assert stopped
    assert "3 notices were not sent" in caplog.text


def test_in_development_a_notice_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """With its link, for the one person who sits before it."""
    LoggedNotices().tell(ASKED)
    assert caplog.messages == [f"notice to alice: {ASKED.subject} {ASKED.link}"]
