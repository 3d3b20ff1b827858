"""The backtest against hftbacktest on the real BTCUSDT recording: the same fills, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.hftbacktest_mm import run_crosser, run_market_maker
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.recorder import Recorder
from engine.backtest.runner import BacktestRunner
from engine.core.types import Reason
from engine.feeds.merge import Merger
from engine.feeds.replay import NpzSource
from engine.gateways.paper import Paper, PaperDriver
from engine.kernel import Kernel
from engine.strategy.loader import load
from tests.kit.compare import assert_same, fill_rows
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

NATIVE = "engine.strategy.native:MarketMaker"
PYTHON = "examples/strategies/market_maker.py:MarketMaker"
CROSSER = "tests/kit/crosser.py:Crosser"
MS = 1_000_000


def asset(name: str = "usdm", **changes) -> AssetConfig:
    values = {
        "symbol": "BTCUSDT",
        "tick_size": TICK_SIZE[name],
        "lot_size": LOT_SIZE[name],
        "maker_fee": -0.00005,
        "taker_fee": 0.0007,
    }
    return AssetConfig(**(values | changes))


def run(cls: str, market: AssetConfig, data, params: dict, **options):
    strategy = StrategyConfig(id="s", cls=cls, params=params)
    config = BacktestConfig(assets=[market], strategies=[strategy])
    return BacktestRunner(**options).run(config, {market.symbol: data})


POWER3 = {"queue_model": "power_prob_queue_model3", "queue_n": 3.0}
GRID = {
    "defaults": ({}, {}),
    "fast polls": ({}, {"interval_ns": 10 * MS}),
    "power 3, fast polls": (POWER3, {"interval_ns": 10 * MS}),
    "power 2": ({"queue_model": "power_prob_queue_model2", "queue_n": 2.0}, {"half_spread": 1.0}),
    "power 1": ({"queue_model": "power_prob_queue_model", "queue_n": 1.5}, {"half_spread": 0.0}),
    "log": ({"queue_model": "log_prob_queue_model"}, {"half_spread": 0.0}),
    "log 2": ({"queue_model": "log_prob_queue_model2"}, {"half_spread": 0.0, "interval_ns": 10 * MS}),
    "fee a unit": ({"fee_model": "trading_qty_fee_model", "maker_fee": 2.25}, {"half_spread": 1.0}),
    "fee a fill": ({"fee_model": "flat_per_trade_fee_model", "maker_fee": -0.5}, {"half_spread": 1.0}),
    "at the best, post-only rejects": ({}, {"half_spread": 0.0, "skew": 0.0, "interval_ns": 10 * MS}),
    "no latency": (
        {"entry_latency_ns": 0, "response_latency_ns": 0},
        {"half_spread": 2.0, "interval_ns": 10 * MS},
    ),
    "no entry latency": ({"entry_latency_ns": 0, "response_latency_ns": 3 * MS}, {"half_spread": 3.0}),
    "no response latency": ({"entry_latency_ns": 3 * MS, "response_latency_ns": 0}, {"half_spread": 3.0}),
    "latency beyond the poll": (
        {"entry_latency_ns": 35 * MS, "response_latency_ns": 27 * MS, **POWER3},
        {"half_spread": 4.0, "interval_ns": 10 * MS},
    ),
    "wide": ({}, {"half_spread": 40.0, "skew": 10.0}),
    "relative spread": (POWER3, {"half_spread": 0.0, "relative_half_spread": 0.00002}),
    "grid of 5": (
        POWER3,
        {"half_spread": 1.0, "grid_num": 5, "grid_interval": 4, "interval_ns": 10 * MS, "skew": 1.0},
    ),
    "dense grid of 20": (
        {},
        {"half_spread": 0.0, "grid_num": 20, "grid_interval": 1, "max_position": 1.0},
    ),
    "big orders": (POWER3, {"order_qty": 0.5, "max_position": 1.5, "half_spread": 1.0}),
    "odd poll": (POWER3, {"interval_ns": 7_777_777, "half_spread": 1.0}),
}


@pytest.mark.recording
@pytest.mark.parametrize("name", GRID)
def test_the_market_maker_has_hftbacktests_fills(name):
    changes, params = GRID[name]
    data = events("usdm")
    result = run(NATIVE, asset(**changes), data, params)
    assert_same(result, run_market_maker(asset(**changes), data, **params))
    assert len(result.fills) > 5


@pytest.mark.recording
@pytest.mark.parametrize("name", ["defaults", "grid of 5"])
def test_the_market_maker_in_python_is_the_same(name):
    changes, params = GRID[name]
    data = events("usdm")
    assert fill_rows(run(PYTHON, asset(**changes), data, params)) == fill_rows(
        run(NATIVE, asset(**changes), data, params)
    )


@pytest.mark.recording
@pytest.mark.parametrize(
    ("interval", "changes"),
    [
        (100 * MS, {}),
        (20 * MS, POWER3),
        (50 * MS, {"entry_latency_ns": 0, "response_latency_ns": 0}),
        (30 * MS, {"entry_latency_ns": 7 * MS, "response_latency_ns": 11 * MS}),
    ],
)
def test_takers_rejects_modifies_and_cancels(interval, changes):
    data = events("usdm")
    market = asset(**changes)
    result = run(CROSSER, market, data, {"interval_ns": interval})
    assert_same(result, run_crosser(market, data, interval, 0.003))
    assert {Reason.TAKER, Reason.BEST_CROSSED} <= {Reason(reason) for reason in result.fills["reason"]}
    ends = {Reason(reason) for reason in result.orders["order"]["reason"]}
    assert {Reason.POST_ONLY_CROSSED, Reason.UNFILLED_IOC_FOK, Reason.CANCEL_REQUESTED} <= ends


@pytest.mark.recording
def test_an_inverse_asset():
    market = asset("cm", asset="inverse", contract_size=100.0)
    params = {"order_qty": 5.0, "max_position": 50.0, "half_spread": 1.0, "interval_ns": 10 * MS}
    data = events("cm")
    assert_same(run(NATIVE, market, data, params), run_market_maker(market, data, **params))


@pytest.mark.recording
@pytest.mark.parametrize("name", ["fast polls", "no latency", "latency beyond the poll"])
def test_batches_are_the_same_as_steps(name):
    changes, params = GRID[name]
    data = events("usdm")[:150_000]
    batched = run(NATIVE, asset(**changes), data, params, check_invariants=True)
    stepped = run(NATIVE, asset(**changes), data, params, stepwise=True)
    assert batched.fills.tobytes() == stepped.fills.tobytes()
    assert batched.orders.tobytes() == stepped.orders.tobytes()
    assert batched.states == stepped.states


@pytest.mark.recording
@pytest.mark.parametrize("name", ["fast polls", "latency beyond the poll"])
def test_paper_on_the_merged_stream_has_the_backtests_fills(name):
    changes, params = GRID[name]
    market, data = asset(**changes), events("usdm")
    kernel = Kernel([market])
    kernel.add_strategy("s", load(NATIVE)(**params))
    recorder = Recorder()
    driver = PaperDriver(kernel, Paper([market]), recorder)
    merger = Merger([NpzSource(market.symbol, data)])
    kernel.start(merger.next_ts)
    while len(items := merger.read()):
        driver.push(*(np.ascontiguousarray(items[c]) for c in ("event", "ts", "instrument", "flags")))
    driver.finish()
    result = run(NATIVE, market, data, params)
    assert recorder.fill_array().tobytes() == result.fills.tobytes()
    assert kernel.state("s", market.symbol) == result.states[0].values
