"""Our L2 book against hftbacktest's depth, over the same rows.

What each does in a run: ours applies every row to an empty `L2` (`L2.apply`, no sampling). hftbacktest, which
has no way to update a depth alone, replays the rows through a backtest of one asset without orders
(`elapse` to the end); the rows are flagged for the local side only, so that it updates one depth, as ours.
Its replay loop is part of its figure, its construction is not; the construction of our book is.

The rows are the real recordings beside the project where they are, and the simulated market. Run with
`python -m benchmarks.bench_book` from the project's root.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from engine.book.l2 import L2
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from engine.feeds.capture import convert
from engine.feeds.simulated import SimulatedMarket

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
RECORDINGS = [
    ("BTCUSDT perpetual", "binance_usdm_btcusdt_20240808.gz", 0.1, 0.001),
    ("BTCUSD perpetual, inverse", "binance_cm_btcusd_perp_20240808.gz", 0.1, 1.0),
    ("BTCUSDT spot", "binance_spot_btcusdt_20240808.gz", 0.01, 0.00001),
]


def local_only(rows: np.ndarray) -> np.ndarray:
    """The rows that the local side sees, hidden from the exchange's."""
    rows = rows[(rows["ev"] & np.uint64(LOCAL_EVENT)) != 0].copy()
    rows["ev"] &= ~np.uint64(EXCH_EVENT)
    return rows


def our_run(rows: np.ndarray, tick_size: float, lot_size: float) -> Callable[[], int]:
    """Applies all rows to an empty book."""

    def run() -> int:
        return L2(tick_size, lot_size).apply(rows)

    return run


def their_run(rows: np.ndarray, tick_size: float, lot_size: float, runs: int) -> Callable[[], int]:
    """Replays all rows through one of the backtests made beforehand."""
    ready = []
    for _ in range(runs):
        asset = (
            BacktestAsset()
            .data([rows])
            .linear_asset(1.0)
            .constant_order_latency(0, 0)
            .risk_adverse_queue_model()
            .no_partial_fill_exchange()
            .trading_value_fee_model(0.0, 0.0)
            .tick_size(tick_size)
            .lot_size(lot_size)
        )
        ready.append(HashMapMarketDepthBacktest([asset]))

    def run() -> int:
        if ready.pop().elapse(2**61) != 1:
            raise RuntimeError("the reference did not reach the end of the data")
        return len(rows)

    return run


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("L2 book against hftbacktest's depth; an operation is one row.")
    cases = []
    for name, file, tick_size, lot_size in RECORDINGS:
        path = DATA / file
        if path.is_file():
            cases.append((name, local_only(convert(path).events), tick_size, lot_size))
        else:
            print(f"skipped: {name}, {path} is absent", file=sys.stderr)
    cases.append(("simulated market", local_only(SimulatedMarket("BTCUSDT").generate(400)), 0.1, 0.001))
    results = []
    for name, rows, tick_size, lot_size in cases:
        ours = our_run(rows, tick_size, lot_size)
        theirs = their_run(rows, tick_size, lot_size, args.rounds + 1)
        results.append(compare(name, ("L2.apply", ours), ("hftbacktest elapse", theirs), args.rounds))
    report("book", results, as_json=args.json)


if __name__ == "__main__":
    main()
