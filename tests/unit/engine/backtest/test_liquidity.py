"""Levels consumed by own orders: single situations, worked out by hand, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backtest import hbt
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.core.errors import ConfigError
from engine.core.types import Reason, event_dtype
from tests.kit.markets import START

SECOND = 1_000_000_000
BOTH = hbt.EXCH_EVENT | hbt.LOCAL_EVENT
KINDS = {"depth": hbt.DEPTH_EVENT, "trade": hbt.TRADE_EVENT, "clear": hbt.DEPTH_CLEAR_EVENT}
BOOK = [(0, "depth", 1, 99, 5), (0, "depth", -1, 101, 5), (0, "depth", -1, 102, 5), (0, "depth", -1, 104, 5)]


def backtest(*more, on=True):
    """A bid of 5 at 99, asks of 5 at 101, 102 and 104; rows of (second, kind, side, price, quantity)."""
    described = [*BOOK, *more, (90, "depth", 1, 50, 1)]
    events = np.zeros(len(described), event_dtype)
    for event, (second, kind, side, px, qty) in zip(events, described, strict=True):
        event["ev"] = BOTH | KINDS[kind] | (hbt.BUY_EVENT if side > 0 else hbt.SELL_EVENT)
        event["exch_ts"] = event["local_ts"] = START + second * SECOND
        event["px"], event["qty"] = px, qty
    asset = hbt.BacktestAsset().data(events).tick_size(1.0).lot_size(1.0).risk_adverse_queue_model()
    run = hbt.HashMapMarketDepthBacktest([asset.partial_fill_exchange().liquidity_consumption(on)])
    run.elapse(SECOND // 2)
    return run


def buy(run, order_id, px, qty, tif=hbt.IOC, kind=hbt.LIMIT):
    """Sends the order; what it has executed so far, as (price, quantity)."""
    run.submit_buy_order(0, order_id, px, qty, tif, kind, True)
    return executed(run, order_id)


def executed(run, order_id):
    fills = run.fills(0)
    return [(fill["px"], fill["qty"]) for fill in fills[fills["order_id"] == order_id]]


def test_what_was_taken_is_gone_and_the_next_level_is_next():
    run = backtest()
    assert buy(run, 1, 101, 3) == [(101, 3)]
    assert buy(run, 2, 102, 4) == [(101, 2), (102, 2)]
    assert buy(run, 3, 102, 9) == [(102, 3)]
    assert run.orders(0).get(3).status == hbt.EXPIRED
    assert buy(run, 4, 102, 1) == []
    assert buy(run, 5, 0, 2, hbt.GTC, hbt.MARKET) == [(104, 2)]
    # The other side has been left alone.
    run.submit_sell_order(0, 6, 99, 5, hbt.FOK, hbt.LIMIT, True)
    assert executed(run, 6) == [(99, 5)]


def test_without_it_every_order_finds_the_recorded_levels():
    run = backtest(on=False)
    assert [buy(run, i, 101, 5, hbt.FOK) for i in range(3)] == [[(101, 5)]] * 3


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([], 1),
        ([("depth", 5)], 1),
        ([("depth", 7)], 3),
        ([("depth", 3)], 1),
        ([("depth", 3), ("depth", 6)], 4),
        ([("depth", 1), ("depth", 5)], 5),
        ([("depth", 0), ("depth", 5)], 5),
        ([("depth", 6), ("depth", 5), ("depth", 6), ("depth", 5)], 3),
        ([("clear", 0), ("depth", 5)], 5),
    ],
)
def test_a_level_that_shrinks_gives_back_and_one_that_grows_has_more(rows, left):
    run = backtest(*((1 + i, kind, -1, 101, qty) for i, (kind, qty) in enumerate(rows)))
    assert buy(run, 1, 101, 4) == [(101, 4)]
    run.elapse(10 * SECOND)
    assert buy(run, 2, 101, 100) == [(101, left)]


def test_fill_or_kill_counts_what_is_left():
    run = backtest()
    buy(run, 1, 101, 3)
    assert buy(run, 2, 102, 8, hbt.FOK) == []
    assert buy(run, 3, 102, 7, hbt.FOK) == [(101, 2), (102, 5)]


def test_post_only_does_not_cross_what_is_gone():
    run = backtest()
    assert buy(run, 1, 101, 1, hbt.GTX) == []
    assert run.orders(0).get(1).status == hbt.EXPIRED
    buy(run, 2, 101, 5)
    buy(run, 3, 101, 1, hbt.GTX)
    assert run.orders(0).get(3).status == hbt.NEW


def test_the_rest_rests_and_new_liquidity_fills_it_at_its_price():
    run = backtest((2, "depth", -1, 101, 7), (3, "depth", -1, 102, 6), (4, "depth", -1, 100, 4))
    assert buy(run, 1, 102, 20, hbt.GTC) == [(101, 5), (102, 5)]
    order = run.orders(0).get(1)
    assert (order.status, order.leaves_qty, order.cancellable) == (hbt.PARTIALLY_FILLED, 10, True)
    for second, more in ((2, (102, 2)), (3, (102, 1)), (4, (102, 4))):
        before = executed(run, 1)
        run.elapse(START + second * SECOND - run.current_timestamp)
        assert executed(run, 1) == [*before, more]
    assert run.position(0) == 17
    assert run.orders(0).get(1).leaves_qty == 3
    rested = run.fills(0)[2:]
    assert rested["maker"].all()
    assert (rested["reason"] == Reason.BEST_CROSSED).all()
    # What filled it is consumed too.
    assert buy(run, 2, 102, 5) == []


def test_trades_fill_what_rests_beyond_the_best():
    run = backtest((2, "trade", -1, 102, 2), (3, "trade", -1, 101, 1))
    buy(run, 1, 102, 13, hbt.GTC)
    run.elapse(2 * SECOND)
    assert executed(run, 1)[2:] == [(102, 2)]
    run.elapse(SECOND)
    assert executed(run, 1)[3:] == [(102, 1)]
    assert run.fills(0)["reason"].tolist()[2:] == [Reason.QUEUE_FRONT, Reason.TRADE_THROUGH]


def test_a_modification_takes_what_is_left():
    run = backtest()
    buy(run, 1, 101, 4)
    buy(run, 2, 98, 2, hbt.GTC)
    run.modify(0, 2, 101, 3, True)
    assert executed(run, 2) == [(101, 1)]
    assert run.orders(0).get(2).leaves_qty == 2


def test_it_goes_with_partial_fills_and_todays_rules_only():
    asset = hbt.BacktestAsset().data(np.zeros(1, event_dtype))
    asset.tick_size(1.0).lot_size(1.0).liquidity_consumption()
    with pytest.raises(ConfigError, match="asset 0: liquidity_consumption goes with partial"):
        hbt.HashMapMarketDepthBacktest([asset])
    with pytest.raises(ConfigError, match=r"hftbacktest 2\.4 has no liquidity_consumption"):
        hbt.HashMapMarketDepthBacktest([asset.partial_fill_exchange()], compat="2.4")
    with pytest.raises(ConfigError, match="neither True nor False"):
        asset.liquidity_consumption(1)


@pytest.mark.parametrize("queue", ["risk_adverse_queue_model", "l3_fifo_queue_model"])
def test_a_configuration_refuses_it_with_whole_fills(queue):
    asset = AssetConfig(
        symbol="A", tick_size=1.0, lot_size=1.0, queue_model=queue, liquidity_consumption=True, data=["x.npz"]
    )
    strategy = StrategyConfig(id="s", cls="engine.strategy.native:MarketMaker")
    with pytest.raises(ConfigError, match=r"\$\.assets\[0\]\.liquidity_consumption: goes with partial"):
        check(BacktestConfig(assets=[asset], strategies=[strategy]))
