"""
A dashboard of the tour: it reads the ticker with an API key, as any plain HTTP client does.

Owns: calls at once, and from another address of this machine. Refuses to know: what is done to its key meanwhile.
"""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import httpx2

TICKER = "/v1/ticker?market=BTC-EUR"
# Half of what one address may: a slow disk makes the act take long, and that limit is another step of the tour.
_MOST_CALLS = 150
_SECONDS = 10
_OTHER_ADDRESS = "127.0.0.2"


class Counted(NamedTuple):
    """How many calls had which status."""

    by_status: Counter[int]

    def all_were(self, status: int) -> bool:
        """Whether there were some, and each ended so."""
        return set(self.by_status) == {status}

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.by_status.total()


class Dashboard:
    """At one origin."""

    def __init__(self, origin: str, tls: ssl.SSLContext) -> None:
        self._origin = origin
        self._tls = tls

    def reads(self, key: str, path: str = TICKER) -> httpx2.Response:
        """One call."""
        with self._client(key) as http:
            return http.get(path)

    def reads_during(self, act: Callable[[], None], keys: Callable[[], str]) -> Counted:
        """Calls without a pause, before, while and after something is done, each with the key of that moment."""
        counts: Counter[int] = Counter()
        begun, done = threading.Event(), threading.Event()

        def call() -> None:
            with httpx2.Client(verify=self._tls, base_url=self._origin) as http:
                left = 20
                while left:
                    counts[http.get(TICKER, headers=_bearing(keys())).status_code] += 1
                    left -= done.is_set()
                    if counts.total() == left:
                        begun.set()
                    if counts.total() == _MOST_CALLS:
                        done.wait(_SECONDS)

        thread = threading.Thread(target=call, name="dashboard", daemon=True)
        thread.start()
        try:
            begun.wait(_SECONDS)
            act()
        finally:
            done.set()
            thread.join()
        return Counted(counts)

    def floods(self, key: str, most: int) -> Counted:
        """Calls until one is refused, and a few more."""
        counts: Counter[int] = Counter()
        with self._client(key) as http:
            while counts.total() < most and counts[429] < 20:
                counts[http.get(TICKER).status_code] += 1
        return Counted(counts)

    def reads_elsewhere(self, key: str, calls: int) -> Counted:
        """Calls from another address of this machine."""
        way = httpx2.HTTPTransport(verify=self._tls, local_address=_OTHER_ADDRESS)
        with httpx2.Client(transport=way, base_url=self._origin, headers=_bearing(key)) as http:
            return Counted(Counter(http.get(TICKER).status_code for _ in range(calls)))

    def _client(self, key: str) -> httpx2.Client:
        return httpx2.Client(verify=self._tls, base_url=self._origin, headers=_bearing(key))


def _bearing(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
