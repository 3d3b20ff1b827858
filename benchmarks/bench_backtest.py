"""Our backtest against hftbacktest's: the same market maker, compiled in both, on the real recording.

Run with ``python -m benchmarks.bench_backtest`` from the project's root. An operation is an event of the
recording. Both sides are timed from events in memory to results, setting up and checking included; ours
keeps every fill and order update on top, theirs keeps nothing. hftbacktest runs with its vector book, the
faster one, and with its default hash map book.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.harness import arguments, compare, report
from benchmarks.peers.hftbacktest_mm import run_market_maker
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.capture import convert

CAPTURE = Path(__file__).resolve().parents[2] / "shared" / "data" / "binance_usdm_btcusdt_20240808.gz"
ROI = (50_000.0, 70_000.0)
ASSET = AssetConfig(
    symbol="BTCUSDT",
    tick_size=0.1,
    lot_size=0.001,
    maker_fee=-0.00005,
    taker_fee=0.0007,
    queue_model="power_prob_queue_model3",
)
GRID = {"grid_num": 5, "grid_interval": 4, "half_spread": 1.0}
CASES = {
    "poll 10 ms, vector book": ({"interval_ns": 10_000_000}, ROI),
    "poll 100 ms, vector book": ({"interval_ns": 100_000_000}, ROI),
    "poll 10 ms, 10 orders, vector book": ({"interval_ns": 10_000_000} | GRID, ROI),
    "poll 10 ms, hash map book": ({"interval_ns": 10_000_000}, None),
}


def ours(events, params) -> int:
    """Runs our backtest; returns the number of events."""
    strategy = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=params)
    config = BacktestConfig(assets=[ASSET], strategies=[strategy])
    return BacktestRunner().run(config, {ASSET.symbol: events}).events


def theirs(events, params, roi) -> int:
    """Runs hftbacktest; returns the number of events."""
    run_market_maker(ASSET, events, roi, record=False, **params)
    return len(events)


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Backtest of a market maker: Ringbook against hftbacktest.")
    if not CAPTURE.is_file():
        sys.exit(f"the recording is not there: {CAPTURE}")
    events = convert(CAPTURE).events
    results = [
        compare(
            case,
            ("ringbook", partial(ours, events, params)),
            ("hftbacktest", partial(theirs, events, params, roi)),
            args.rounds,
        )
        for case, (params, roi) in CASES.items()
    ]
    report("backtest", results, as_json=args.json)


if __name__ == "__main__":
    main()
