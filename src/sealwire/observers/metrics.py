"""
Prometheus metrics of the outcomes.

Owns: their names and labels. Labels come from the rules and the table of errors, so there is a bounded number of
series.
"""

from __future__ import annotations

import functools

from prometheus_client import CollectorRegistry, Counter, Histogram

from sealwire.call import Outcome

#: Seconds. The library's own end at 10, and a signature may be a minute old and more.
_SKEW_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Observer that counts into `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = Counter(
            "sealwire_decisions", "Calls by what became of them.", ("decision", "reason", "route"), registry=registry
        )
        self._duration = Histogram(
            "sealwire_call_duration_seconds", "From the head of a call to its reply.", ("route",), registry=registry
        )
        self._replays = Counter("sealwire_replay_rejections", "Messages refused as seen before.", registry=registry)
        self._tries = Counter(
            "sealwire_failed_tries_limited",
            "Calls refused since too many failed credentials came from their address, or named their key.",
            ("by",),
            registry=registry,
        )
        self._cut = Counter(
            "sealwire_connections_cut", "Connections that were closed, by why.", ("reason",), registry=registry
        )
        self._steps = Counter("sealwire_clock_steps", "Times that the wall clock was set.", registry=registry)
        self._skew = Histogram(
            "sealwire_clock_skew_seconds",
            "Distance of created from this clock.",
            registry=registry,
            buckets=_SKEW_BUCKETS,
        )
        # The library looks a child up anew, under a lock, at each call; there are as many as it has itself.
        self._decided = functools.cache(self._decisions.labels)
        self._taking = functools.cache(self._duration.labels)

    def tries_limited(self, by: str) -> None:
        """A failed credential past its limit, by `address` or by `key`."""
        self._tries.labels(by).inc()

    def connection_cut(self, reason: str) -> None:
        """A connection was closed for want of room, or since its peer let us wait."""
        self._cut.labels(reason).inc()

    def clock_stepped(self) -> None:
        """The wall clock was set while this process ran."""
        self._steps.inc()

    def heard(self, outcome: Outcome) -> None:
        """As the port says."""
        reason, route = outcome.code.partition("/")[0], outcome.template or "none"
        self._decided(outcome.decision, reason, route).inc()
        self._taking(route).observe(outcome.duration_seconds)
        if reason == "replay-detected":
            self._replays.inc()
        if outcome.skew_seconds is not None:
            self._skew.observe(abs(outcome.skew_seconds))
