"""Market by order: our backtest against hftbacktest's L3 FIFO model, on the real CME recording.

Run with ``python -m benchmarks.bench_l3`` from the project's root. An operation is one event.
Both run the market maker at the best, one contract a side, from events in memory to results, setting up and
(ours) checking included: through ``engine.backtest.hbt`` the same Numba function, else our own. The
snapshot, hours old, is moved to just before the first other event, since both would poll all that time.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.harness import arguments, compare, report
from benchmarks.peers.hftbacktest_mm import run_market_maker
from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.databento import convert

RECORDING = Path(__file__).resolve().parents[2] / "shared" / "data" / "cme_esh4_20231225.mbo.dbn.zst"
SNAPSHOT = 0x20
ROI = (50.0, 7_000.0)
DEPTHS = {"hash map": None, "vector": ROI}
POLLS_MS = (1_000, 100, 10)
ASSET = AssetConfig(
    symbol="ESH4",
    tick_size=0.25,
    lot_size=1.0,
    contract_size=50.0,
    fee_model="trading_qty_fee_model",
    maker_fee=0.85,
    taker_fee=1.38,
    queue_model="l3_fifo_queue_model",
)
PARAMS = {"half_spread": 0.0, "skew": 0.5, "order_qty": 1.0, "max_position": 5.0}


def session() -> np.ndarray:
    """The recording with its snapshot just before the first other event."""
    events = convert(RECORDING).events
    snapshot = (events["ival"] & SNAPSHOT) != 0
    events["exch_ts"][snapshot] = events["local_ts"][snapshot] = events["exch_ts"][~snapshot][0] - 1
    return events


def ours(events: np.ndarray, params: dict, threads: int = 1) -> int:
    """Runs our market maker; returns the number of events."""
    strategy = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=params)
    config = BacktestConfig(assets=[ASSET], strategies=[strategy])
    return BacktestRunner(threads=threads).run(config, {ASSET.symbol: events}).events


def polled(events: np.ndarray, roi: tuple[float, float] | None, params: dict, threads: int = 1) -> int:
    """Runs hftbacktest's strategy with ours in its place; returns the number of events."""
    run_market_maker(ASSET, events, roi, record=False, package=hbt, threads=threads, **params)
    return len(events)


def theirs(events: np.ndarray, roi: tuple[float, float] | None, params: dict) -> int:
    """Runs the same in hftbacktest; returns the number of events."""
    run_market_maker(ASSET, events, roi, record=False, **params)
    return len(events)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Market by order: Ringbook against hftbacktest.", cases=True)
    if not RECORDING.is_file():
        sys.exit(f"the recording is not there: {RECORDING}")
    events = session()
    results = []
    for poll in POLLS_MS:
        params = PARAMS | {"interval_ns": poll * 1_000_000}
        for depth, roi in DEPTHS.items():
            other = ("hftbacktest", partial(theirs, events, roi, params))
            for face, run in (
                ("hbt", partial(polled, events, roi, params)),
                ("runner", partial(ours, events, params)),
            ):
                for how, threads in {"1 thread": 1, "2 threads": 2}.items():
                    case = f"{face}, CME, poll {poll} ms, {depth}, {how}"
                    if all(text in case for text in args.case):
                        contender = ("ringbook", partial(run, threads=threads))
                        results.append(compare(case, contender, other, args.rounds))
    report("l3", results, as_json=args.json)


if __name__ == "__main__":
    main()
