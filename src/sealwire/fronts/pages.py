"""
The pages on a port of their own, on a thread of their own, beside whatever else the process does.

Owns: that they are there before the first call that could send anybody to them, and gone with the process. Refuses to
know: what is on them.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import cast

from sealwire.build import open_ports
from sealwire.clients import Clients
from sealwire.config import Settings
from sealwire.errors import Misuse
from sealwire.fronts.connections import ConnectionLimits
from sealwire.fronts.server import server
from sealwire.named import find
from sealwire.pages.app import build_pages
from sealwire.pages.door import SignIn
from sealwire.people import terms_of

_BACKLOG = 128
# People, not programs; both are within what the API leaves of the process's descriptors.
_LIMITS = ConnectionLimits(per_address=128, whole=256)


@contextlib.contextmanager
def pages_served(settings: Settings, context: ssl.SSLContext | None) -> Iterator[None]:
    """The pages, where the settings have some, until the block ends. Raises: Misuse before anything is served."""
    pages = settings.pages
    if pages is None:
        yield
        return
    sign_in = cast("SignIn", find(settings.path.parent, "pages.sign_in", pages.sign_in))
    if not callable(sign_in):
        raise Misuse(f'pages.sign_in = "{pages.sign_in}": it is no function')
    listening = _listen(pages.host, pages.port)
    ports = open_ports(settings)
    development = settings.environment == "development"
    app = build_pages(
        pages.origin,
        ports,
        terms_of(settings),
        sign_in,
        Clients(settings, ports),
        api=settings.public_origins[0],
        development=development,
        proxies=settings.proxies_compiled(),
    )
    running = server(app, host=pages.host, port=pages.port, context=context, limits=_LIMITS)
    thread = threading.Thread(target=running.run, args=([listening],), name="sealwire-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        running.should_exit = True
        thread.join()
        listening.close()
        ports.close()


def _listen(host: str, port: int) -> socket.socket:
    """Listens before the thread begins, so that a port that is taken is a mistake of the settings."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as why:
        raise Misuse(f"pages.port = {port}: cannot be listened on: {why.strerror}") from None
