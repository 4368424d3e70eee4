"""Figures as ratios: ours and the other in turns, in one run, medians of several."""

import statistics
import time
from collections.abc import Callable
from typing import Any

RUNS, CALLS = 9, 400

Figures = dict[str, dict[str, Any]]


def interleaved(ours: Callable[[], object], other: Callable[[], object], calls: int = CALLS) -> dict[str, Any]:
    """Medians in µs of each, run in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(RUNS):
        for work, kept in ((ours, times[0]), (other, times[1])):
            begun = time.perf_counter()
            for _ in range(calls):
                work()
            kept.append((time.perf_counter() - begun) / calls * 1e6)
    return ratio(statistics.median(times[0]), statistics.median(times[1]))


def ratio(ours: float, other: float, unit: str = "us") -> dict[str, Any]:
    """One figure with both raw values."""
    return {"ratio": round(ours / other, 3), f"ours_{unit}": round(ours, 2), f"other_{unit}": round(other, 2)}
