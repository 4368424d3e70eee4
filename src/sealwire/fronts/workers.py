"""
Several worker processes behind one socket, sharing one fast store made afresh at each start.

Owns: the fast store's file and the folder of the workers' counts, which the parent makes in memory-backed storage and
takes away, what a worker is told of them, and that the parent shows all counts together. Refuses to know: what a
worker serves.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from uvicorn.supervisors import Multiprocess

from sealwire.build import build_guard, open_ports
from sealwire.clock import SystemClock
from sealwire.config import Settings, load
from sealwire.errors import Misuse
from sealwire.fronts.asgi import GuardedApp
from sealwire.fronts.pages import pages_served
from sealwire.fronts.serve import (
    connection_limits,
    exposed,
    find_named,
    guarded,
    log_to_stderr,
    server_context,
    settle,
    watch,
    write_line,
)
from sealwire.fronts.server import configuration
from sealwire.stores import sqlite_fast, sqlite_sessions

_CONFIG, _FAST = "SEALWIRE_WORKER_CONFIG", "SEALWIRE_WORKER_FAST"
# The metrics library reads it as it is imported: a worker then counts into files there.
_COUNTS = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX, _LOCK = "sealwire-", "lock"
_TMPFS = Path("/dev/shm")  # noqa: S108  # the folder made below it is private (mkdtemp, 0700)


def run_workers(settings: Settings, count: int) -> None:
    """
    Serves with `count` processes until a signal says stop; one that dies is started again and rejoins the fast store.

    Raises: Misuse if the settings keep nonces in each process's own memory.
    """
    if settings.store.fast == "memory:":
        raise Misuse(f'store.fast = "memory:": {count} workers need one store; nearest is "sqlite:"')
    # Opened and wired once before the workers do: the schema is made by one process, and what is wrong is said here.
    log_to_stderr()
    find_named(settings)
    ports = open_ports(settings)
    try:
        build_guard(settings, ports)
    finally:
        ports.close()
    with start_folder(_TMPFS if _TMPFS.is_dir() else Path(tempfile.gettempdir())) as folder:
        fast = folder / "fast.db"
        sqlite_fast.make(fast, SystemClock(), os.urandom)
        sqlite_sessions.make(fast, os.urandom)
        counts = folder / "counts"
        counts.mkdir(mode=0o700)
        os.environ[_CONFIG], os.environ[_FAST] = str(settings.path.absolute()), str(fast)
        os.environ[_COUNTS] = str(counts)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(counts))  # type: ignore[no-untyped-call]
        config = configuration(
            "sealwire.fronts.workers:worker_app",
            host=settings.listen.host,
            port=settings.listen.port,
            context=None if settings.tls is None else worker_context,
            workers=count,
            limits=connection_limits(settings),
            watch=watch,
        )
        pages = pages_served(settings, server_context(settings))
        with exposed(settings, registry), pages, config.bind_socket() as listening:
            Multiprocess(config, sockets=[listening]).run()


@contextmanager
def start_folder(parent: Path) -> Iterator[Path]:
    """
    A private folder for as long as this start lasts. What a start left that was killed is taken away first: it is known
    by its lock, which nobody holds any more.
    """
    for left in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), left.open("rb") as lock:  # another user's, or gone meanwhile
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left.parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (folder / "making").open("wb") as lock:
            # Locked before it has the name that others look for.
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "making").rename(folder / _LOCK)
            yield folder
    finally:
        shutil.rmtree(folder)


def worker_app() -> GuardedApp:
    """The guarded app of one worker, over the fast store of this start."""
    log_to_stderr()
    settings = load(Path(os.environ[_CONFIG]))
    ports = open_ports(settings, Path(os.environ[_FAST]))
    atexit.register(ports.close)
    app = guarded(settings, ports, write_line)
    settle()
    return app


def worker_context(_config: uvicorn.Config, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The TLS context of one worker."""
    context = server_context(load(Path(os.environ[_CONFIG])))
    if context is None:
        raise Misuse("tls: a worker was started without it")
    return context
