"""How many commands the agents of the simulated market send through the matcher a second of processor time.

    python -m benchmarks.bench_market [--seconds 400] [--rounds 5]

One core; rows of all trades and changed levels are written to a buffer. Prints the median of some rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from engine.core.types import event_dtype
from engine.feeds.market import AgentMarket


def measure(seconds: float) -> tuple[int, int, float]:
    """Commands, rows and processor time of one market, from its opening on."""
    source = AgentMarket("BENCH")
    market = source.population()
    rows = np.empty(4096, event_dtype)
    end = source.start_ts + int(seconds * 1e9)
    written = 0
    start = time.process_time()
    while (n := market.fill(rows, end)) == len(rows):
        written += n
    return market.commands, written + n, time.process_time() - start


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=400.0, help="of market time (default 400)")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rounds = [measure(args.seconds) for _ in range(args.rounds)]
    commands, rows, _ = rounds[0]
    took = statistics.median(seconds for _, _, seconds in rounds)
    print(f"{commands:,} commands, {rows:,} rows of {args.seconds:g} s of market in {took:.3f} s")
    print(f"{commands / took / 1e6:.2f} M commands/s, {args.seconds / took:,.0f} times as fast as time")


if __name__ == "__main__":
    main()
