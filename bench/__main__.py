"""`make bench`: each figure a ratio measured side by side, in turns, medians of several runs; bench/results.json."""

import json
import tempfile
from pathlib import Path

from bench.calls import guard
from bench.flooded import flooded
from bench.limits import buckets, credentials
from bench.sealed import envelopes, sealed_calls
from bench.served import served
from bench.signatures import signatures
from bench.stores import audit, nonces
from bench.timing import Figures


def main() -> None:
    """Runs everything, prints a table, writes bench/results.json."""
    results: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (
            signatures,
            lambda: guard(folder),
            nonces,
            lambda: audit(folder),
            buckets,
            lambda: credentials(folder / "limits"),
            envelopes,
            lambda: sealed_calls(folder / "sealed"),
            lambda: served(folder / "served"),
            lambda: flooded(folder / "flooded"),
        ):
            for key, figures in part().items():
                results[key] = figures
                raw = "   ".join(f"{what} {figure}" for what, figure in figures.items() if what != "ratio")
                print(f"{key:<30}{figures['ratio']:>9}   {raw}", flush=True)
    Path(__file__).with_name("results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
