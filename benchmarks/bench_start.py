"""From the command to its result: ``ringbook backtest`` on half a million events, interpreter start included.

Run with ``python -m benchmarks.bench_start`` from the project's root. The market is simulated; the files are
what ``ringbook convert`` writes, and the same compressed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.backtest.data import save_events
from engine.feeds.simulated import SimulatedMarket

ROOT = Path(__file__).resolve().parents[1]
EVENTS = 500_000
STRATEGIES = {
    "compiled": "engine.strategy.native:MarketMaker",
    "Python": "examples/strategies/market_maker.py:MarketMaker",
}


def once(path: Path, strategy: str) -> float:
    """Runs the command; returns the seconds until it has ended, its result printed."""
    command = [sys.executable, "-m", "engine.cli.main", "backtest", "--data", str(path)]
    command += ["--tick-size", "0.1", "--lot-size", "0.001", "--strategy", strategy, "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    if json.loads(done.stdout)["events"] != EVENTS:
        raise SystemExit(f"{path.name}: not all events were replayed")
    return seconds


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description="Seconds from `ringbook backtest` to its result.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds to measure (default 7)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory(prefix="ringbook-start-") as folder:
        events = SimulatedMarket("BTCUSDT", seed=7).generate(500.0)[:EVENTS]
        for kind in ("npz", "compressed npz"):
            path = Path(folder) / f"{kind.replace(' ', '-')}.npz"
            save_events(path, events, compress=kind != "npz")
            for name, strategy in STRATEGIES.items():
                once(path, strategy)
                times = [once(path, strategy) for _ in range(args.rounds)]
                figures[f"{kind}, {name}"] = (statistics.median(times), min(times), max(times))
    if args.json:
        print(json.dumps(figures))
        return
    for case, (median, low, high) in figures.items():
        print(f"{case:26} {median:.2f} s  ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
