"""One strategy, four homes: in Python, compiled by Numba, in Cython and polling it is the same backtest."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from benchmarks.peers.hftbacktest_mm import MARKET_MAKER_DEFAULTS, build, fill_dtype, market_maker
from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.types import Reason, Status
from engine.feeds.simulated import SimulatedMarket
from engine.strategy.jit_core import HANDLERS
from engine.strategy.status import StrategyWarning
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market
from tests.kit.recordings import events as recorded

HOMES = {
    "python": "examples.strategies.market_maker:MarketMaker",
    "numba": "examples.strategies.market_maker_jit:MarketMaker",
    "cython": "engine.strategy.native:MarketMaker",
}
CASES = {
    "one order a side": {"interval_ns": 20_000_000, "half_spread": 1.0},
    "a grid": {"interval_ns": 20_000_000, "grid_num": 5, "grid_interval": 4, "half_spread": 0.0},
    "a relative spread": {"interval_ns": 50_000_000, "relative_half_spread": 2e-5, "skew": 2.0},
}
ENDED = (Status.CANCELED, Status.FILLED, Status.EXPIRED, Status.REJECTED)
PLACES = {
    "on_start": 1,
    "on_book": 150,
    "on_trade": 40,
    "on_order": 9,
    "on_fill": 4,
    "on_timer": 30,
    "on_stop": 1,
}


def run(events, cls, params, **sizes):
    asset = AssetConfig(symbol="X", maker_fee=-0.00005, taker_fee=0.0007, **sizes)
    config = BacktestConfig(assets=[asset], strategies=[StrategyConfig(id="s", cls=cls, params=params)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StrategyWarning)
        return BacktestRunner().run(config, {"X": events})


def polled(events, params):
    """The market maker as a loop over ``elapse``: its requests and fills."""
    asset = AssetConfig(symbol="X", maker_fee=-0.00005, taker_fee=0.0007, tick_size=0.1, lot_size=0.001)
    backtest = build(asset, events, package=hbt)
    market_maker(backtest, *(MARKET_MAKER_DEFAULTS | params).values(), np.zeros(1, fill_dtype), False)
    return backtest.order_log(0), backtest.fills(0)


def requests(result):
    """What a run's order updates say was sent: time, side, tick, lots, and what was asked.

    Without the cancels of a strategy that is stopped at the end; a loop is not.
    """
    orders = result.orders[result.orders["ts"] < result.last_ts]
    sent = orders[(orders["order"]["req"] != 0) & (orders["order"]["local_ts"] == orders["ts"])]["order"]
    return [
        tuple(order[name].item() for name in ("local_ts", "side", "price_tick", "qty", "req"))
        for order in sent
    ]


def compare_polled(events, params, first):
    log, fills = polled(events, params)
    sent = log[~log["answer"]]
    lots = np.round(sent["qty"] / 0.001).astype(int)
    columns = (sent["ts"], sent["side"], sent["price_tick"], lots, sent["req"])
    assert sorted(zip(*(column.tolist() for column in columns), strict=True)) == sorted(requests(first))
    for ours, theirs in (
        ("exch_ts", "exch_ts"),
        ("price_tick", "price_tick"),
        ("side", "side"),
        ("px", "px"),
    ):
        assert fills[ours].tolist() == first.fills[theirs].tolist()
    assert fills["reason"].tolist() == first.fills["reason"].tolist()
    assert fills["fee"] == pytest.approx(first.fills["fee"], rel=1e-9)


def compare(events, params, least):
    first, *others = (run(events, cls, params, tick_size=0.1, lot_size=0.001) for cls in HOMES.values())
    assert first.failures == []
    assert len(first.fills) >= least
    for other in others:
        assert other.orders.tobytes() == first.orders.tobytes()
        assert other.fills.tobytes() == first.fills.tobytes()
        assert str(other.states) == str(first.states)
    compare_polled(events, params, first)


@pytest.fixture(scope="module")
def market():
    return SimulatedMarket("X", seed=11, tick_size=0.1, lot_size=0.001).generate(60)


@pytest.mark.parametrize("case", CASES)
def test_a_market_maker_sends_the_same_orders_from_every_home(market, case):
    compare(market, CASES[case], 20)


@pytest.mark.recording
def test_a_market_maker_sends_the_same_orders_on_a_recording():
    compare(recorded("usdm"), {"interval_ns": 100_000_000, "half_spread": 1.0}, 5)


@pytest.fixture(scope="module")
def nonsense():
    return random_market(3, 600)


@pytest.mark.parametrize("where", PLACES)
def test_a_compiled_handler_that_raises_is_told_as_one_in_python(nonsense, where):
    params = {"where": HANDLERS.index(where), "nth": PLACES[where]}
    sizes = {
        "tick_size": TICK_SIZE,
        "lot_size": LOT_SIZE,
        "entry_latency_ns": 1000,
        "response_latency_ns": 1000,
    }
    fast, slow = (
        run(nonsense, f"tests.kit.jitted:{name}", params, **sizes) for name in ("Raiser", "PlainRaiser")
    )
    (failure,), (plain,) = fast.failures, slow.failures
    assert failure.message == "engine.core.errors.OrderNotFound: no order of that id: order 987654321"
    assert failure._replace(traceback="") == plain._replace(traceback="")
    assert (
        failure.traceback.splitlines()[-3:-1]
        == [line for line in plain.traceback.splitlines() if "_here" in line or "987654321)" in line][-2:]
    )
    assert f"in {where}\n" in failure.traceback
    assert fast.orders.tobytes() == slow.orders.tobytes()
    assert fast.logs[-1][2:4] == ("s", "error")
    last = {int(order["order_id"]): order for order in fast.orders["order"]}
    if where != "on_stop":
        assert {Status(order["status"]) for order in last.values()} <= set(ENDED)
        assert Reason.STRATEGY_ERROR in {Reason(order["reason"]) for order in last.values()}
