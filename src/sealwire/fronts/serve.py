"""
`sealwire serve`: the app of a policy file behind its guard, on our own runner, in one process.

Owns: how an app is found by name, and that what was refused is written down before the process ends.
Refuses to know: what the app does.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import functools
import gc
import ipaddress
import logging
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from sealwire.build import Ports, build_guard, open_ports
from sealwire.clock import ClockWatch
from sealwire.config import Settings, load
from sealwire.errors import Misuse
from sealwire.fronts.asgi import App, GuardedApp
from sealwire.fronts.connections import ConnectionLimits, Connections
from sealwire.fronts.pages import pages_served
from sealwire.fronts.server import server, tls_context
from sealwire.named import find
from sealwire.observers.alarms import FailedTries
from sealwire.observers.log import JsonFormatter, JsonLog
from sealwire.observers.metrics import Metrics
from sealwire.ports import Observer


def serve_forever(config: Path) -> None:
    """Serves until a signal says stop. Raises: Misuse before the first call is taken."""
    settings = load(config)
    log_to_stderr()
    running, ports = prepare(settings, write_line)
    try:
        settle()
        with exposed(settings, REGISTRY), pages_served(settings, server_context(settings)):
            running.run()
    finally:
        ports.close()


def settle() -> None:
    """What was imported and wired stays: the collector does not look through it again and again, nor often at calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


@contextlib.contextmanager
def exposed(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """The metrics of `registry` can be read where the settings say, on this machine only. Raises: Misuse."""
    port = settings.metrics.port
    if port is None:
        yield
        return
    try:
        listening, thread = start_http_server(port, "127.0.0.1", registry)
    except OSError as why:
        raise Misuse(f"metrics.port = {port}: cannot be listened on: {why.strerror}") from None
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def prepare(settings: Settings, write: Callable[[str], object]) -> tuple[uvicorn.Server, Ports]:
    """
    A server that was not started yet, its outcomes going to `write`, and the ports to be closed after it.

    Raises: Misuse.
    """
    ports = open_alone(settings)
    app, context = guarded(settings, ports, write), server_context(settings)
    limits, listen = connection_limits(settings), settings.listen
    return server(app, host=listen.host, port=listen.port, context=context, limits=limits, watch=watch), ports


def connection_limits(settings: Settings) -> ConnectionLimits:
    """The caps of the settings. Behind proxies that are known by their number alone every peer is one."""
    proxies, limits = settings.proxies_compiled(), settings.limits
    exempt = () if proxies is None else proxies.networks or _EVERYWHERE
    return ConnectionLimits(limits.connections_per_address, limits.connections, exempt)


def watch(connections: Connections) -> None:
    """What is cut counts in the metrics of this process."""
    connections.on_cut = _metrics().connection_cut


def open_alone(settings: Settings) -> Ports:
    """
    The ports of a process that serves with its nonces in its own memory, the only one over its database: two would
    accept a captured message once each. Raises: Misuse.
    """
    _hold_alone(settings)
    return open_ports(settings)


_EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
# By database, for as long as this process lives.
_HELD: dict[Path, int] = {}


def _hold_alone(settings: Settings) -> None:
    database = settings.resolve(settings.store.durable).absolute()
    if database in _HELD:
        return
    lock = -1
    try:
        lock = os.open(database.with_name(f"{database.name}-serving"), os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise Misuse(
            f'store.fast = "{settings.store.fast}": another process serves over {database.name} with its own nonces; '
            'several share them under serve --workers with "sqlite:"'
        ) from None
    except OSError as why:
        raise Misuse(f'store.durable = "{settings.store.durable}": {why.strerror}') from None
    _HELD[database] = lock


def guarded(settings: Settings, ports: Ports, write: Callable[[str], object]) -> GuardedApp:
    """The app of the settings behind its guard. Raises: Misuse."""
    guard = build_guard(settings, ports, _observers(ports, write))
    proxies = settings.proxies_compiled()
    return GuardedApp(find_app(settings), guard, front_end=settings.front_end, proxies=proxies)


class Sealwire(GuardedApp):
    """
    The guard of a policy file around any ASGI app: `app = Sealwire(app, config="sealwire.toml")`.

    Under another server than ours `front_end` must name what refuses absolute forms and fragments. Raises: Misuse.
    """

    def __init__(self, app: App, *, config: Path | str) -> None:
        settings = load(Path(config))
        ports = open_alone(settings)
        atexit.register(ports.close)
        guard = build_guard(settings, ports, _observers(ports, write_line))
        super().__init__(app, guard, front_end=settings.front_end, proxies=settings.proxies_compiled())
        # Where no lifespan says that it is over: mounted inside another app, or under a server that knows none.
        atexit.register(self._end)

    def _end(self) -> None:
        asyncio.run(self.close())


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context of the settings, None for plain HTTP. Raises: Misuse."""
    if settings.tls is None:
        return None
    try:
        return tls_context(settings.resolve(settings.tls.certificate), settings.resolve(settings.tls.key))
    except (OSError, ssl.SSLError) as why:
        raise Misuse(f"tls: certificate and key do not load: {why}") from None


def _observers(ports: Ports, write: Callable[[str], object]) -> tuple[Observer, ...]:
    metrics = _metrics()
    watch = ClockWatch(ports.clock, metrics.clock_stepped)
    return (JsonLog(write), metrics, watch, FailedTries(metrics.tries_limited))


@functools.cache
def _metrics() -> Metrics:
    """The one set of metrics of this process."""
    return Metrics(REGISTRY)


def find_app(settings: Settings) -> App:
    """The app that `app` names. Raises: Misuse."""
    named = find_named(settings)
    app: App = named() if settings.app_factory else named
    return app


def find_named(settings: Settings) -> Any:
    """What `app` names, from the folder of the policy file or the installed packages, not called. Raises: Misuse."""
    if not settings.app:
        raise Misuse('app: serve needs app = "module:name"')
    return find(settings.path.parent, "app", settings.app)


def write_line(line: str) -> None:
    """One line to stderr."""
    sys.stderr.write(f"{line}\n")


def log_to_stderr() -> None:
    """What the guard and its libraries have to say goes to stderr as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    # All that it has to say, below DEBUG, is path and query of each message: none where an app lowers the root logger.
    logging.getLogger("uvicorn.asgi").setLevel(logging.INFO)
