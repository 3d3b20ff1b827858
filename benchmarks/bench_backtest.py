"""Our backtest against hftbacktest's, on the real recordings: feed by strategy by depth.

Run with ``python -m benchmarks.bench_backtest`` from the project's root. An operation is an event of the
recording. Everything is timed from events in memory to results, setting up and checking included.

``hbt`` cases run one strategy, the market maker of ``peers/hftbacktest_mm.py`` compiled with Numba, on
hftbacktest and on ``engine.backtest.hbt`` with nothing changed but the package, and both with the depth
that is named. Ours checks every row and keeps every fill and the last million order messages; theirs does
neither. ``runner`` cases run our own market maker in ``BacktestRunner`` against theirs.

Each case runs on one thread, as theirs does, and with a second one that prepares the recording ahead.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import hftbacktest

from benchmarks.harness import arguments, compare, report
from benchmarks.peers.hftbacktest_mm import run_market_maker
from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.capture import convert

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROI = (50_000.0, 70_000.0)
FEEDS = {
    "USD-M": (
        "binance_usdm_btcusdt_20240808.gz",
        AssetConfig(
            symbol="BTCUSDT",
            tick_size=0.1,
            lot_size=0.001,
            maker_fee=-0.00005,
            taker_fee=0.0007,
            queue_model="power_prob_queue_model3",
        ),
        {},
    ),
    "COIN-M": (
        "binance_cm_btcusd_perp_20240808.gz",
        AssetConfig(
            symbol="BTCUSD_PERP",
            tick_size=0.1,
            lot_size=1.0,
            contract_size=100.0,
            asset="inverse",
            maker_fee=-0.00005,
            taker_fee=0.0007,
            queue_model="power_prob_queue_model3",
        ),
        {"order_qty": 1.0, "max_position": 10.0},
    ),
}
POLLS_MS = (100, 10)
DEPTHS = {"vector": ROI, "hash map": None}
GRID = {"grid_num": 5, "grid_interval": 4, "half_spread": 1.0}


THREADS = {"1 thread": 1, "2 threads": 2}


def polled(package, asset, events, roi, params, threads=1) -> int:
    """Runs the compiled market maker in a polled backtest; returns the number of events."""
    run_market_maker(asset, events, roi, record=False, package=package, threads=threads, **params)
    return len(events)


def runner(asset, events, params, threads=1) -> int:
    """Runs our market maker in our runner; returns the number of events."""
    strategy = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=params)
    config = BacktestConfig(assets=[asset], strategies=[strategy])
    return BacktestRunner(threads=threads).run(config, {asset.symbol: events}).events


def cases(feed: str, asset: AssetConfig, events, sizes: dict):
    """The comparisons on one feed: name, ours, theirs."""
    for poll in POLLS_MS:
        params = {"interval_ns": poll * 1_000_000} | sizes
        for depth, roi in DEPTHS.items():
            theirs = partial(polled, hftbacktest, asset, events, roi, params)
            ours = partial(polled, hbt, asset, events, roi, params)
            yield f"hbt, {feed}, poll {poll} ms, {depth}", ours, theirs
            if roi is not None:
                yield (
                    f"runner, {feed}, poll {poll} ms, {depth}",
                    partial(runner, asset, events, params),
                    theirs,
                )
    params |= GRID
    theirs = partial(polled, hftbacktest, asset, events, ROI, params)
    ours = partial(polled, hbt, asset, events, ROI, params)
    yield f"hbt, {feed}, poll 10 ms, 10 orders, vector", ours, theirs


def main() -> None:
    """Runs all cases and prints them."""
    args = arguments("Backtest of a market maker: Ringbook against hftbacktest.", cases=True)
    results = []
    for feed, (capture, asset, sizes) in FEEDS.items():
        if not (DATA / capture).is_file():
            sys.exit(f"the recording is not there: {DATA / capture}")
        events = convert(DATA / capture).events
        for name, ours, theirs in cases(feed, asset, events, sizes):
            for how, threads in THREADS.items():
                case = f"{name}, {how}"
                if all(text in case for text in args.case):
                    run = partial(ours, threads=threads)
                    results.append(compare(case, ("ringbook", run), ("hftbacktest", theirs), args.rounds))
    report("backtest", results, as_json=args.json)


if __name__ == "__main__":
    main()
