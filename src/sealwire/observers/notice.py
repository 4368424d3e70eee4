"""
How users hear of what waits for them: a line in the log in development, e-mail by SMTP (RFC 5321) elsewhere.

Keeps: at most 1,000 notices that are on their way, in this process; past that, and where a server takes one not, the
log says so. Nobody waits for a mail: who asks for an approval has its link in the answer.
"""

from __future__ import annotations

import contextlib
import logging
import smtplib
import ssl
import threading
import time
from collections.abc import Callable
from email.message import EmailMessage
from queue import Empty, Full, Queue

from sealwire.ports.people import Notice

_WAITING = 1000
_SECONDS = 20
# As long as calls that are on their way may take to end.
_STOP_SECONDS = 10
_LOG = logging.getLogger("sealwire.notice")


class LoggedNotices:
    """Notices in development: subject and link in the log, for the one person who sits before it."""

    def tell(self, notice: Notice) -> None:
        """As the port says."""
        _LOG.warning("notice to %s: %s", notice.user, f"{notice.subject} {notice.link}".rstrip())


class MailedNotices:
    """
    Notices by e-mail, sent by one thread in their order.

    `address` tells a user's address, None for one who has none. `server` is host, port, and whether TLS is there from
    the first byte (RFC 8314); without it STARTTLS is used, and demanded where there is a password to be sent.
    """

    def __init__(
        self,
        server: tuple[str, int, bool],
        sender: str,
        address: Callable[[str], str | None],
        login: tuple[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._address = address
        self._login = login
        self._context = context or ssl.create_default_context()
        self._waiting: Queue[Notice | None] = Queue(_WAITING)
        self._thread: threading.Thread | None = None

    def tell(self, notice: Notice) -> None:
        """As the port says."""
        if self._thread is None:
            # Most processes that open the ports tell nobody anything.
            self._thread = threading.Thread(target=self._run, name="sealwire-notices", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(notice)
        except Full:
            _LOG.error("a notice (%s) was not sent: %s wait already", notice.about, _WAITING)

    def close(self) -> None:
        """Sends what waits, as far as the server takes it before long, and ends the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        until = time.monotonic() + _STOP_SECONDS
        with contextlib.suppress(Full):
            self._waiting.put(None, timeout=_STOP_SECONDS)
        thread.join(max(until - time.monotonic(), 0))
        if thread.is_alive():
            _LOG.error("%s notices were not sent: the process ends", self._unsent())

    def _unsent(self) -> int:
        """What waits, taken out, and the one on its way."""
        left = 1
        with contextlib.suppress(Empty):
            while True:
                left += self._waiting.get_nowait() is not None
        self._waiting.put_nowait(None)
        return left

    def _run(self) -> None:
        while (notice := self._waiting.get()) is not None:
            try:
                self._send(notice)
            except (OSError, smtplib.SMTPException) as why:
                _LOG.error("a notice (%s) was not sent: %s", notice.about, type(why).__name__)
            except Exception as why:  # noqa: BLE001  # the app's own look-up: the next notice must go out all the same
                _LOG.error("a notice (%s) was not sent: its address: %s", notice.about, type(why).__name__)

    def _send(self, notice: Notice) -> None:
        to = self._address(notice.user)
        if to is None:
            _LOG.warning("a notice (%s) was not sent: its user has no address", notice.about)
            return
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, notice.subject
        message.set_content(f"{notice.text}\n\n{notice.link}\n" if notice.link else f"{notice.text}\n")
        host, port, tls = self._server
        if tls:
            with smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=self._context) as connection:
                self._deliver(connection, message)
            return
        with smtplib.SMTP(host, port, timeout=_SECONDS) as connection:
            connection.ehlo()
            if self._login is not None or connection.has_extn("starttls"):
                connection.starttls(context=self._context)
            self._deliver(connection, message)

    def _deliver(self, connection: smtplib.SMTP, message: EmailMessage) -> None:
        if self._login is not None:
            connection.login(*self._login)
        connection.send_message(message)
