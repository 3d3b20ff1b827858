"""The backtest on market-by-order data against hftbacktest's L3 FIFO model: the same fills, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.hftbacktest_mm import run_crosser, run_market_maker
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.types import Reason
from engine.feeds.nasdaq import convert_itch
from tests.kit import itch
from tests.kit.compare import assert_same, fill_rows
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, session

pytestmark = pytest.mark.recording

NATIVE = "engine.strategy.native:MarketMaker"
PYTHON = "examples/strategies/market_maker.py:MarketMaker"
CROSSER = "tests/kit/crosser.py:Crosser"
MS = 1_000_000


def asset(**changes) -> AssetConfig:
    values = {
        "symbol": "ESH4",
        "tick_size": TICK_SIZE["cme"],
        "lot_size": LOT_SIZE["cme"],
        "contract_size": 50.0,
        "fee_model": "trading_qty_fee_model",
        "maker_fee": 0.85,
        "taker_fee": 1.38,
        "queue_model": "l3_fifo_queue_model",
    }
    return AssetConfig(**(values | changes))


def run(cls: str, market: AssetConfig, params: dict, *, events=None, **options):
    strategy = StrategyConfig(id="s", cls=cls, params=params)
    config = BacktestConfig(assets=[market], strategies=[strategy])
    events = session("cme") if events is None else events
    return BacktestRunner(**options).run(config, {market.symbol: events})


MAKER = {"order_qty": 1.0, "max_position": 5.0, "half_spread": 0.0, "skew": 0.5}
GRID = {
    "at the best": ({}, {"interval_ns": 100 * MS}),
    "behind the best": ({}, {"half_spread": 2.0}),
    "no latency": ({"entry_latency_ns": 0, "response_latency_ns": 0}, {"interval_ns": 250 * MS}),
    "latency beyond the poll": (
        {"entry_latency_ns": 350 * MS, "response_latency_ns": 270 * MS},
        {"half_spread": 1.0},
    ),
    "grid of 5": ({}, {"grid_num": 5, "grid_interval": 1, "max_position": 20.0}),
    "big orders": ({}, {"order_qty": 20.0, "max_position": 60.0, "half_spread": 1.0}),
    "no entry latency": ({"entry_latency_ns": 0, "response_latency_ns": 3 * MS}, {"half_spread": 1.0}),
}


@pytest.mark.parametrize("name", GRID)
def test_the_market_maker_has_hftbacktests_fills(name):
    changes, params = GRID[name]
    params = MAKER | params
    result = run(NATIVE, asset(**changes), params, check_invariants=True)
    assert_same(result, run_market_maker(asset(**changes), session("cme"), **params))
    assert len(result.fills) > 5


@pytest.mark.parametrize("latency", [0, 300_000])
def test_on_an_itch_file_the_market_maker_has_hftbacktests_fills(tmp_path, latency):
    messages, _ = itch.random_flow(2, 12_000, {"AAPL": 13}, widest=400)
    path = itch.write(tmp_path / "01302019.NASDAQ_ITCH50", messages)
    events = convert_itch(path, symbol="AAPL", base_latency=latency).events
    market = asset(symbol="AAPL", tick_size=0.01, contract_size=1.0, entry_latency_ns=latency)
    params = MAKER | {"order_qty": 50.0, "max_position": 500.0, "interval_ns": 5 * MS}
    result = run(NATIVE, market, params, events=events, check_invariants=True)
    assert_same(result, run_market_maker(market, events, **params))
    assert len(result.fills) > 5
    assert Reason.QUEUE_FRONT in {Reason(reason) for reason in result.fills["reason"]}


def test_fills_come_from_the_queue_from_beyond_and_from_the_other_side():
    result = run(NATIVE, asset(), MAKER | {"grid_num": 5, "max_position": 20.0})
    reasons = {Reason(reason) for reason in result.fills["reason"]}
    assert {Reason.QUEUE_FRONT, Reason.TRADE_THROUGH, Reason.BEST_CROSSED} <= reasons


def test_the_market_maker_in_python_is_the_same():
    params = MAKER | {"interval_ns": 500 * MS}
    assert fill_rows(run(PYTHON, asset(), params)) == fill_rows(run(NATIVE, asset(), params))


@pytest.mark.parametrize(
    ("interval", "changes"),
    [
        (100 * MS, {}),
        (1_700 * MS, {"entry_latency_ns": 0, "response_latency_ns": 0}),
        (300 * MS, {"entry_latency_ns": 70 * MS, "response_latency_ns": 110 * MS}),
    ],
)
def test_takers_rejects_modifies_and_cancels(interval, changes):
    market = asset(**changes)
    # Away from the market: hftbacktest lets what crosses on a modify rest, ours takes.
    result = run(CROSSER, market, {"interval_ns": interval, "order_qty": 3.0, "modify_ticks": -2})
    assert_same(result, run_crosser(market, session("cme"), interval, 3.0, -2))
    assert {Reason.TAKER, Reason.BEST_CROSSED} <= {Reason(reason) for reason in result.fills["reason"]}
    ends = {Reason(reason) for reason in result.orders["order"]["reason"]}
    assert {Reason.POST_ONLY_CROSSED, Reason.UNFILLED_IOC_FOK, Reason.CANCEL_REQUESTED} <= ends


@pytest.mark.parametrize("name", ["at the best", "no latency", "latency beyond the poll"])
def test_batches_are_the_same_as_steps(name):
    changes, params = GRID[name]
    batched = run(NATIVE, asset(**changes), MAKER | params)
    stepped = run(NATIVE, asset(**changes), MAKER | params, stepwise=True)
    assert batched.fills.tobytes() == stepped.fills.tobytes()
    assert batched.orders.tobytes() == stepped.orders.tobytes()
    assert str(batched.states) == str(stepped.states)
    assert np.array_equal(batched.fills["local_ts"], np.sort(batched.fills["local_ts"]))
