"""The table of connections: its caps hold, those at work stay, the longest waiting goes, and what is counted is so."""

from __future__ import annotations

import ipaddress
import logging
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.fronts.connections import (
    RESERVE,
    ConnectionLimits,
    Connections,
    Seat,
    raise_descriptors,
    within_descriptors,
)

_ADDRESSES = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "10.0.0.1", "")
_LIMITS = ConnectionLimits(5, 9, (ipaddress.ip_network("10.0.0.0/8"),))


def _network(address: str) -> str:
    return "2001:db8::/64" if address.startswith("2001:db8::") else address


class _Model:
    """The same connections as plain lists, beside the table. What it knows of each: network, state, since when."""

    def __init__(self, limits: ConnectionLimits = _LIMITS) -> None:
        self.limits = limits
        self.table = Connections(limits)
        self.seats: dict[int, Seat] = {}
        self.known: dict[int, tuple[str, str, int]] = {}
        self.answered: set[int] = set()
        self.step = 0
        self.cut: list[int] = []

    def take(self, address: str) -> int | None:
        """A new one. Whoever was cut for it was waiting, the longest of its kind, and its cap was reached."""
        number, before = self.step, dict(self.known)
        self.cut.clear()
        seat = self.table.take(address, lambda: self.cut.append(number))
        for gone in self.cut:
            self._judge(gone, before, _network(address))
        if seat is None:
            group = [state for network, state, _ in before.values() if network == _network(address)]
            full = group if len(group) >= self.limits.per_address else [state for _, state, _ in before.values()]
            assert set(full) == {"works"}, "turned away though somebody waited"
            return None
        self.seats[number], self.known[number] = seat, (_network(address), "silent", self.step)
        return number

    def _judge(self, gone: int, before: dict[int, tuple[str, str, int]], network: str) -> None:
        of, state, since = before[gone]
        assert state != "works", "one at work was cut"
        same = [s for n, s, _ in before.values() if n == network]
        by_address = of == network and len(same) >= self.limits.per_address and network not in ("", "10.0.0.1")
        assert by_address or len(before) >= self.limits.whole
        rivals = [t for n, s, t in before.values() if s == state and (n == network or not by_address)]
        assert since == min(rivals)
        del self.known[gone], self.seats[gone]

    def move(self, number: int, event: str) -> None:
        """One event of a connection, as the runner tells it."""
        seat, (network, state, since) = self.seats[number], self.known[number]
        getattr(self.table, event)(seat)
        waits = "answered" if number in self.answered else "fresh"
        if event == "secured" and state == "silent":
            self.known[number] = (network, "fresh", self.step)
        elif event == "works":
            self.known[number] = (network, "works", since)
        elif event == "waits" and state == "works":
            self.known[number] = (network, waits, self.step)
        elif event == "body_begins" and state != "works":
            self.known[number] = (network, state, self.step)
        elif event == "leave":
            self.table.leave(seat)
            del self.known[number], self.seats[number]

    def check(self) -> None:
        """The caps hold and the counts are right."""
        networks = [network for network, _, _ in self.known.values()]
        assert self.table.open == len(self.known) <= self.limits.whole
        assert self.table.waiting() == sum(state != "works" for _, state, _ in self.known.values())
        for network in set(networks) - {"", "10.0.0.1"}:
            assert networks.count(network) <= self.limits.per_address


@given(st.data())
def test_random_events(data: st.DataObject) -> None:
    """Whatever happens in whichever order."""
    model = _Model()
    for model.step in range(data.draw(st.integers(1, 60))):
        event = data.draw(st.sampled_from(("take", "take", "secured", "works", "waits", "body_begins", "leave")))
        if event == "take":
            model.take(data.draw(st.sampled_from(_ADDRESSES)))
        elif model.known:
            number = data.draw(st.sampled_from(sorted(model.known)))
            if event == "waits":
                model.answered.add(number)
                model.table.answered(model.seats[number])
            if event != "secured" or model.known[number][1] == "silent":
                model.move(number, event)
        model.check()
    for number in list(model.known):
        model.move(number, "leave")
    assert (model.table.open, model.table.waiting(), model.table._groups) == (0, 0, {})


class _Peers:
    """Connections of one address, by name."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.now = 0.0
        self.table = Connections(limits, lambda: self.now)
        self.gone: list[str] = []
        self.seats: dict[str, Seat] = {}

    def come(self, name: str, state: str = "silent", address: str = "192.0.2.1") -> bool:
        """One that gets as far as `state`; whether it was let in."""
        seat = self.table.take(address, lambda: self.gone.append(name))
        if seat is None:
            return False
        self.seats[name] = seat
        if state != "silent":
            self.table.secured(seat)
        if state not in ("silent", "fresh"):
            self.table.works(seat)
        if state == "known":
            self.table.known(seat)
        if state in ("answered", "known"):
            self.table.answered(seat)
            self.table.waits(seat)
        return True


def test_who_never_had_an_answer_goes_first() -> None:
    """And of those the one that waits longest, whether or not it came through its handshake."""
    peers = _Peers(ConnectionLimits(4))
    for name, state in (("served", "answered"), ("first", "silent"), ("second", "silent"), ("third", "fresh")):
        peers.come(name, state)
    peers.come("fourth")
    peers.come("fifth")
    assert peers.gone == ["first", "second"]


def test_silent_ones_do_not_push_out_who_came_through_the_handshake() -> None:
    """The longer of the two queues pays, in both directions."""
    peers = _Peers(ConnectionLimits(8))
    peers.come("honest", "fresh")
    for number in range(20):
        peers.come(f"flood {number}")
    assert "honest" not in peers.gone
    peers.come("new")
    for number in range(20, 40):
        peers.come(f"flood {number}", "fresh")
    assert "new" not in peers.gone


def test_a_newcomer_gets_its_turn_where_all_others_were_answered() -> None:
    """Calls that anybody may make buy nobody all the seats: of the answered ones the one that idles longest goes."""
    peers = _Peers(ConnectionLimits(8))
    for number in range(8):
        peers.come(f"answered {number}", "answered")
    peers.come("new")
    peers.come("newer")
    peers.come("newest")
    peers.come("last")
    assert peers.gone == ["answered 0", "answered 1", "answered 2", "new"]


def test_who_has_proven_who_it_is_goes_last() -> None:
    """However long it is idle, and however many strangers call where anybody may."""
    peers = _Peers(ConnectionLimits(8))
    peers.come("known", "known")
    for number in range(100):
        peers.come(f"stranger {number}", ("answered", "silent", "fresh")[number % 3])
    assert "known" not in peers.gone
    for number in range(8):
        peers.come(f"also {number}", "known")
    assert "known" in peers.gone


def test_a_body_that_begins_is_waited_for_anew() -> None:
    """Who sends a call after a long pause is not the one that has waited longest."""
    peers = _Peers(ConnectionLimits(2))
    peers.come("idle", "answered")
    peers.come("other", "answered")
    peers.table.body_begins(peers.seats["idle"])
    peers.come("new", "answered")
    assert peers.gone == ["other"]


def test_those_at_work_stay_and_the_new_one_goes() -> None:
    """There is nobody whom we wait for."""
    peers = _Peers(ConnectionLimits(3))
    for name in "abc":
        assert peers.come(name, "works")
    assert not peers.come("d")
    assert peers.come("d", address="192.0.2.2")
    peers.table.waits(peers.seats["b"])
    assert peers.come("e")
    assert peers.gone == ["b"]
    assert (peers.table.open, dict(peers.table.cut)) == (4, {"busy": 1, "address": 1})


def test_what_counts_as_one_address(caplog: pytest.LogCaptureFixture) -> None:
    """An IPv6 /64 does; a trusted proxy is not counted, nor is a local socket, but for all there is one cap."""
    trusted = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    peers = _Peers(ConnectionLimits(2, 10, trusted))
    for number in range(4):
        peers.come(f"{number}", address=f"2001:db8::{number}")
    assert peers.gone == ["0", "1"]
    for number, address in enumerate(("10.0.0.1", "fd00::1", "", "fe80::1%eth0") * 2, 4):
        peers.come(f"{number}", address=address)
    assert peers.gone == ["0", "1"]
    peers.come("one more", address="10.0.0.1")
    assert peers.gone == ["0", "1", "2"]
    assert dict(peers.table.cut) == {"address": 2, "whole": 1}


def test_what_is_said_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """One line a minute for each reason: who has most, and how many went."""
    peers = _Peers(ConnectionLimits(3))
    peers.come("other", address="192.0.2.9")
    for number in range(1_000):
        peers.come(f"{number}")
    peers.now = 61.0
    peers.come("last")
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.name for record in caplog.records] == ["sealwire.fronts"] * 2
    assert said == [
        f"no room for connections (address): {cut} cut since this was last said; "
        "4 are open, most of them, 3, from 192.0.2.1"
        for cut in (1, 997)
    ]


def test_never_above_what_the_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The soft limit goes up to the hard one, and the cap of all stays below it by what everything else needs."""
    granted = [(256, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: granted[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: granted.append(limits))
    raise_descriptors()
    assert granted[-1] == (1024, 1024)
    assert within_descriptors(ConnectionLimits()).whole == 1024 - RESERVE
    assert within_descriptors(ConnectionLimits(whole=100)).whole == 100
    raise_descriptors()
    assert len(granted) == 2
    granted.append((resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert within_descriptors(ConnectionLimits()) == ConnectionLimits()
