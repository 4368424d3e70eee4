"""
The connections of one server, and which of them goes when there is no room: the one whose peer keeps us waiting.

One costs 1.2 KiB as long as it sent nothing, 57 KiB in its handshake, 35 KiB behind it, and what of a reply is unread.

Owns: the caps, who waits and for how long, what was cut and why. Refuses to know: what travels on a connection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import resource
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple

from sealwire.protocol.ratelimit import network

#: Descriptors that are left to everything else: files, the stores, and the pages with their own few connections.
RESERVE = 512
_LEAST = 64  # a server is no use with fewer, whatever the system grants
_BETWEEN_LINES = 60.0
_LOG = logging.getLogger("sealwire.fronts")

#: Why a connection ended: no room for its address, or at all; no room and nobody to cut; a deadline that passed.
Reason = Literal["address", "whole", "busy", "handshake", "head", "body", "reading"]
# Where a connection is. Before _AT_WORK its peer is waited for, and it may be cut.
_SILENT, _FRESH, _ANSWERED, _KNOWN, _AT_WORK, _GONE = range(6)


class ConnectionLimits(NamedTuple):
    """How many connections may be open: for each address, in all, and whose address is not counted (proxies)."""

    per_address: int = 512
    whole: int = 8192
    exempt: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()


class Seat:
    """One connection in the table."""

    __slots__ = ("end", "groups", "standing", "where")

    def __init__(self, groups: tuple[_Group, ...], end: Callable[[], object]) -> None:
        self.groups = groups
        self.end = end
        self.where = _SILENT
        #: Where it will wait: what its calls have earned so far.
        self.standing = _FRESH


class _Group:
    """What counts towards one cap, and those of it that wait for their peers, the longest first."""

    __slots__ = ("cap", "count", "name", "waiting")

    def __init__(self, name: str, cap: int) -> None:
        self.name = name
        self.cap = cap
        self.count = 0
        self.waiting: tuple[OrderedDict[Seat, None], ...] = tuple(OrderedDict() for _ in range(_AT_WORK))

    def first_to_go(self) -> Seat | None:
        """
        Of those that never had a call answered the one that waits longest: from the longer of their two queues, so that
        silent ones in any number do not push out who came through the handshake, nor the other way round. They go first
        as long as they hold more than a quarter, which is left to newcomers even where all others were answered once;
        then goes who was answered, and last who has proven once who calls, which a flood of strangers cannot.
        """
        silent, fresh, answered, known = self.waiting
        queue, rest = silent if len(silent) >= len(fresh) else fresh, answered or known
        if not queue or (rest and len(silent) + len(fresh) <= self.cap // 4):
            queue = rest
        return next(iter(queue), None)


class Connections:
    """
    The table. Every event is a move between ordered dicts: O(1), and some 500 bytes for each connection. No cap is ever
    exceeded, and a connection for which we are at work is never cut.
    """

    def __init__(self, limits: ConnectionLimits, now: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._now = now
        self._whole = _Group("", limits.whole)
        self._groups: dict[str, _Group] = {}
        #: How many were cut, by reason.
        self.cut: Counter[Reason] = Counter()
        #: Hears of each one.
        self.on_cut: Callable[[Reason], object] = _nothing
        self._told: dict[Reason, tuple[float, int]] = {}

    @property
    def open(self) -> int:
        """How many there are."""
        return self._whole.count

    def waiting(self) -> int:
        """How many of them wait for their peers."""
        return sum(map(len, self._whole.waiting))

    def take(self, address: str, end: Callable[[], object]) -> Seat | None:
        """A connection was accepted, and `end` cuts it. Another one may be cut for it; None: it must go itself."""
        groups = (self._whole,) if self._exempt(address) else (self._whole, self._group(network(address)))
        cut: Reason | None = None
        for group in reversed(groups):
            if group.count < group.cap:
                continue
            longest = group.first_to_go()
            if longest is None:
                self.count("busy")
                self._tell("busy")
                return None
            self.leave(longest)
            longest.end()
            cut = "whole" if group is self._whole else "address"
            self.count(cut)
        seat = Seat(groups, end)
        for group in groups:
            if group is not self._whole:  # the last of its address may have been the one that went
                self._groups[group.name] = group
            group.count += 1
            group.waiting[_SILENT][seat] = None
        if cut is not None:
            self._tell(cut)
        return seat

    def secured(self, seat: Seat) -> None:
        """Its handshake is done, or it needs none: now it waits for a call, behind all that do."""
        self._move(seat, _FRESH)

    def body_begins(self, seat: Seat) -> None:
        """A head is whole and its body is not: it waits anew."""
        if seat.where < _AT_WORK:
            self._move(seat, seat.where)

    def works(self, seat: Seat) -> None:
        """Its call is whole, or its peer reads on: now it is our turn."""
        where = seat.where
        if where < _AT_WORK:
            seat.where = _AT_WORK
            for group in seat.groups:
                del group.waiting[where][seat]

    def waits(self, seat: Seat) -> None:
        """It is its peer's turn: to send, or to read."""
        if seat.where == _AT_WORK:
            seat.where = to = seat.standing
            for group in seat.groups:
                group.waiting[to][seat] = None

    def answered(self, seat: Seat) -> None:
        """A call of it was."""
        if seat.standing == _FRESH:
            seat.standing = _ANSWERED

    def known(self, seat: Seat) -> None:
        """Its caller has proven who it is, and may call."""
        seat.standing = _KNOWN

    def leave(self, seat: Seat) -> None:
        """It is gone; to say so twice does no harm."""
        if seat.where == _GONE:
            return
        self._move(seat, _GONE)
        for group in seat.groups:
            group.count -= 1
            self._drop_empty(group)

    def count(self, reason: Reason) -> None:
        """One was cut."""
        self.cut[reason] += 1
        self.on_cut(reason)

    def _move(self, seat: Seat, to: int) -> None:
        where = seat.where
        if where == _GONE:
            return
        seat.where = to
        for group in seat.groups:
            if where < _AT_WORK:
                del group.waiting[where][seat]
            if to < _AT_WORK:
                group.waiting[to][seat] = None

    def _exempt(self, address: str) -> bool:
        if not address:
            return True  # a local socket has no address: one bucket for all of them would be the cap of all
        return bool(self._limits.exempt) and any(
            ipaddress.ip_address(address.partition("%")[0]) in trusted for trusted in self._limits.exempt
        )

    def _group(self, name: str) -> _Group:
        return self._groups.get(name) or _Group(name, self._limits.per_address)

    def _drop_empty(self, group: _Group) -> None:
        if not group.count and group is not self._whole:
            self._groups.pop(group.name, None)

    def _tell(self, reason: Reason) -> None:
        """One line a minute for each reason, whatever comes."""
        now, sum_now = self._now(), self.cut[reason]
        at, told = self._told.get(reason, (now - _BETWEEN_LINES, 0))
        if now - at < _BETWEEN_LINES:
            return
        self._told[reason] = (now, sum_now)
        most = max(self._groups.values(), key=lambda group: group.count, default=self._whole)
        _LOG.warning(
            "no room for connections (%s): %d cut since this was last said; %d are open, most of them, %d, from %s",
            reason, sum_now - told, self.open, most.count, most.name or "trusted proxies",
        )  # fmt: skip


def _nothing(_: Reason) -> None:
    return


def raise_descriptors() -> None:
    """The process may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # what it has is enough to serve, and the cap follows it
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def within_descriptors(limits: ConnectionLimits) -> ConnectionLimits:
    """The same limits, in all no higher than this process may have sockets."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    return limits._replace(whole=min(limits.whole, max(soft - RESERVE, _LEAST)))
