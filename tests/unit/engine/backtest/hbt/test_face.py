"""The polled backtest from Python: time, orders, views, logs, and what the default does right."""

from __future__ import annotations

import gc

import hftbacktest
import numpy as np
import pytest
from hftbacktest.types import order_dtype, state_values_dtype

from engine.backtest import hbt
from engine.core.errors import ConfigError, DataError, InvalidOrder, RingbookError
from engine.core.types import event_dtype

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
BOTH = hbt.EXCH_EVENT | hbt.LOCAL_EVENT


def rows(*described) -> np.ndarray:
    """Events of (seconds after the start, kind, side, price, quantity); feed latency is a millisecond."""
    events = np.zeros(len(described), event_dtype)
    for event, (at, kind, side, px, qty) in zip(events, described, strict=True):
        event["ev"] = BOTH | kind | (hbt.BUY_EVENT if side > 0 else hbt.SELL_EVENT)
        event["exch_ts"] = START + int(at * SECOND)
        event["local_ts"] = event["exch_ts"] + SECOND // 1000
        event["px"], event["qty"] = px, qty
    return events


def market(*more) -> np.ndarray:
    """A bid of 5 at 100 and an ask of 5 at 101, then other events, the last a depth event at 60 s."""
    return rows(
        (0, hbt.DEPTH_EVENT, 1, 100.0, 5.0),
        (0, hbt.DEPTH_EVENT, -1, 101.0, 5.0),
        *more,
        (60, hbt.DEPTH_EVENT, 1, 90.0, 1.0),
    )


def asset(events, **settings):
    made = hbt.BacktestAsset().data(events).tick_size(1.0).lot_size(0.1).last_trades_capacity(1)
    for name, arguments in {"risk_adverse_queue_model": (), "constant_order_latency": (10, 20)}.items():
        getattr(made, name)(*arguments)
    for name, arguments in settings.items():
        getattr(made, name)(*arguments)
    return made


def backtest(events, *, compat=None, depth=hbt.HashMapMarketDepthBacktest, **settings):
    return depth([asset(events, **settings)], compat)


def test_names_and_constants_are_hftbacktests():
    for name in set(hftbacktest.__all__) - {"LiveInstrument", "HashMapMarketDepthLiveBot"}:
        if name == "ROIVectorMarketDepthLiveBot":
            continue
        assert hasattr(hbt, name), name
        if isinstance(getattr(hftbacktest, name), int):
            assert getattr(hbt, name) == getattr(hftbacktest, name), name


def test_records_are_laid_out_as_hftbacktests():
    assert hbt.order_dtype == order_dtype
    assert hbt.state_values_dtype == state_values_dtype
    run = backtest(market())
    run.elapse(SECOND)
    run.submit_buy_order(0, 7, 99.0, 0.3, hbt.GTX, hbt.LIMIT, True)
    order = run.orders(0).get(7)
    record = order.arr[0]
    for name in order_dtype.names[:9]:
        assert record[name] == getattr(order, name), name
    for name in ("maker", "order_type", "req", "status", "side", "time_in_force"):
        assert record[name] == getattr(order, name), name
    assert run.state_values(0).arr[0]["position"] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        order.arr[0]["qty"] = 1.0


def test_time_starts_at_the_first_event_and_stops_at_the_end():
    run = backtest(market())
    assert run.current_timestamp == hbt.UNTIL_END_OF_DATA
    assert run.elapse(0) == 0
    assert run.current_timestamp == START
    assert run.feed_latency(0) is None
    assert run.elapse(2 * SECOND) == 0
    assert run.feed_latency(0) == (START, START + SECOND // 1000)
    assert run.elapse(100 * SECOND) == 1
    assert run.current_timestamp == START + 2 * SECOND
    assert run.elapse(hbt.UNTIL_END_OF_DATA) == 1


def test_looking_for_an_interrupt_in_between_changes_nothing():
    run = backtest(market())
    run.elapse(SECOND)
    # More waits than there are between two looks.
    assert {run.wait_order_response(0, 99, 0) for _ in range(70_000)} == {0}
    assert {run.wait_next_feed(True, 0) for _ in range(70_000)} == {0}
    assert run.current_timestamp == START + SECOND


def test_waiting_for_feed_and_answers():
    run = backtest(market((5, hbt.TRADE_EVENT, 1, 101.0, 1.0)))
    assert run.wait_next_feed(False, SECOND) == 2
    assert run.current_timestamp == START + SECOND // 1000
    assert run.wait_next_feed(False, SECOND) == 0
    run.submit_sell_order(0, 1, 105.0, 1.0, hbt.GTX, hbt.LIMIT, False)
    assert run.wait_next_feed(True, 10 * SECOND) == 3
    sent = START + SECOND + SECOND // 1000
    assert run.order_latency(0) == (sent, sent + 10, sent + 30)
    assert run.wait_order_response(0, 99, SECOND) == 0
    assert run.wait_next_feed(True, 10 * SECOND) == 2
    assert run.last_trades(0)["px"].tolist() == [101.0]
    run.clear_last_trades(hbt.ALL_ASSETS)
    assert len(run.last_trades(0)) == 0


def test_results_of_requests_are_hftbacktests_codes():
    run = backtest(market())
    run.elapse(SECOND)
    assert run.submit_buy_order(0, 1, 99.0, 1.0, hbt.GTX, hbt.LIMIT, False) == 0
    assert run.submit_buy_order(0, 1, 98.0, 1.0, hbt.GTX, hbt.LIMIT, False) == 10
    assert run.cancel(0, 1, False) == 11
    assert run.cancel(0, 2, False) == 12
    assert run.modify(0, 2, 99.0, 1.0, False) == 12
    assert run.wait_order_response(0, 1, SECOND) == 0
    assert run.orders(0).get(1).cancellable
    assert run.cancel(0, 1, True) == 0
    assert [order.status for order in run.orders(0).values()] == [hbt.CANCELED]
    run.clear_inactive_orders(0)
    assert len(run.orders(0)) == 0


def test_a_fill_is_logged_with_its_reason():
    run = backtest(market((2, hbt.TRADE_EVENT, -1, 99.0, 1.0)), trading_value_fee_model=(-0.001, 0.002))
    run.elapse(SECOND)
    run.submit_buy_order(0, 1, 100.0, 0.5, hbt.GTX, hbt.LIMIT, False)
    run.submit_sell_order(0, 2, 100.0, 0.2, hbt.GTC, hbt.LIMIT, False)
    run.elapse(5 * SECOND)
    fills = run.fills(0)
    assert fills["order_id"].tolist() == [2, 1]
    assert fills["reason"].tolist() == [4, 2]
    assert fills["maker"].tolist() == [False, True]
    assert fills["fee"] == pytest.approx([0.2 * 100 * 0.002, -0.5 * 100 * 0.001])
    assert fills["position"] == pytest.approx([-0.2, 0.3])
    assert run.position(0) == pytest.approx(0.3)
    log = run.order_log(0)
    assert log["answer"].tolist() == [False, False, True, True, True]
    assert log["order_id"].tolist() == [1, 2, 1, 2, 1]
    assert np.all(np.diff(log["ts"]) >= 0)


def test_partial_fills_reach_the_position_unless_2_4_is_wanted():
    trade = (2, hbt.TRADE_EVENT, -1, 100.0, 6.0)
    for compat, position in ((None, 1.0), ("2.4", 0.0)):
        run = backtest(market(trade), compat=compat, partial_fill_exchange=())
        run.elapse(SECOND)
        run.submit_buy_order(0, 1, 100.0, 3.0, hbt.GTX, hbt.LIMIT, False)
        run.elapse(5 * SECOND)
        order = run.orders(0).get(1)
        assert (order.status, order.exec_qty, order.leaves_qty) == (hbt.PARTIALLY_FILLED, 1.0, 2.0)
        assert run.position(0) == position


def test_a_taker_of_several_levels_gets_all_of_them():
    deeper = (1, hbt.DEPTH_EVENT, -1, 102.0, 4.0)
    for compat, position in ((None, 7.0), ("2.4", 2.0)):
        run = backtest(market(deeper), compat=compat, partial_fill_exchange=())
        run.elapse(2 * SECOND)
        run.submit_buy_order(0, 1, 105.0, 7.0, hbt.IOC, hbt.LIMIT, True)
        run.elapse(SECOND)
        assert run.position(0) == pytest.approx(position)
        assert len(run.fills(0)) == (2 if compat is None else 1)


def test_each_kind_of_request_has_its_latency():
    run = backtest(market(), order_latencies=(100, 200, 300, 7))
    run.elapse(SECOND)
    took = []
    run.submit_buy_order(0, 1, 99.0, 1.0, hbt.GTX, hbt.LIMIT, True)
    took.append(run.order_latency(0))
    run.modify(0, 1, 98.0, 1.0, True)
    took.append(run.order_latency(0))
    run.cancel(0, 1, True)
    took.append(run.order_latency(0))
    assert [(there - sent, back - there) for sent, there, back in took] == [(100, 7), (200, 7), (300, 7)]


def test_the_arrays_of_the_range_follow_the_book():
    run = backtest(
        market((2, hbt.DEPTH_EVENT, 1, 100.0, 0.0), (3, hbt.DEPTH_EVENT, -1, 103.0, 2.0)),
        depth=hbt.ROIVectorMarketDepthBacktest,
        roi_lb=(95.0,),
        roi_ub=(104.0,),
    )
    run.elapse(SECOND)
    depth = run.depth(0)
    assert (depth.roi_lb_tick, depth.roi_ub_tick) == (95, 104)
    bids, asks = depth.bid_depth, depth.ask_depth
    assert bids.tolist() == [0.0] * 5 + [5.0] + [0.0] * 4
    assert asks.tolist() == [0.0] * 6 + [5.0] + [0.0] * 3
    run.elapse(3 * SECOND)
    assert bids.sum() == 0.0
    assert asks[8] == 2.0
    assert np.isnan(depth.best_bid)
    assert depth.best_ask_qty == 5.0


def test_a_snapshot_has_the_levels_best_first():
    run = backtest(market((1, hbt.DEPTH_EVENT, 1, 98.0, 3.0)))
    run.elapse(2 * SECOND)
    levels = run.depth(0).snapshot()
    assert levels["px"].tolist() == [100.0, 98.0, 101.0]
    assert levels["qty"].tolist() == [5.0, 3.0, 5.0]


def test_views_outlive_the_backtest():
    run = backtest(market((1, hbt.TRADE_EVENT, 1, 101.0, 1.0)))
    run.elapse(2 * SECOND)
    run.submit_buy_order(0, 3, 99.0, 1.0, hbt.GTX, hbt.LIMIT, True)
    depth, orders, state, trades = run.depth(0), run.orders(0), run.state_values(0), run.last_trades(0)
    order, record = orders.get(3), orders.get(3).arr
    del run
    gc.collect()
    assert (depth.best_bid, len(orders), state.position, len(trades)) == (100.0, 1, 0.0, 1)
    assert order.order_id == record[0]["order_id"] == 3


def test_a_walk_ends_with_an_error_when_orders_are_cleared():
    run = backtest(market())
    run.elapse(SECOND)
    for order_id in range(3):
        run.submit_buy_order(0, order_id, 99.0, 1.0, hbt.GTX, hbt.LIMIT, True)
    values = run.orders(0).values()
    assert values.has_next()
    assert values.get().order_id == 0
    run.cancel(0, 2, True)
    run.clear_inactive_orders(0)
    with pytest.raises(RingbookError, match="cleared while"):
        values.has_next()
    first = run.orders(0).values()
    for _ in range(16):
        run.orders(0).values()
    with pytest.raises(RingbookError, match="more than 16 walks"):
        first.next()


def test_wrong_arguments_are_named():
    run = backtest(market())
    with pytest.raises(InvalidOrder, match="elapse first"):
        run.submit_buy_order(0, 1, 99.0, 1.0, hbt.GTX, hbt.LIMIT, False)
    run.elapse(SECOND)
    for arguments, message in (
        ((0, 1, np.nan, 1.0, hbt.GTX, hbt.LIMIT), "price of nan"),
        ((0, 1, 99.0, np.inf, hbt.GTX, hbt.LIMIT), "quantity of inf"),
        ((0, 1, 99.0, 0.0, hbt.GTX, hbt.LIMIT), "quantity of 0.0"),
        ((0, 1, 99.0, 1.0, 9, hbt.LIMIT), "time in force 9"),
        ((0, 1, 99.0, 1.0, hbt.GTX, 5), "order type 5"),
    ):
        with pytest.raises(InvalidOrder, match=message):
            run.submit_buy_order(*arguments, False)
    with pytest.raises(IndexError, match="asset number 1"):
        run.depth(1)
    with pytest.raises(ValueError, match="-1 ns"):
        run.elapse(-1)
    run.close()
    with pytest.raises(RingbookError, match="closed"):
        run.elapse(1)


def test_a_wrong_row_is_reached_and_then_named():
    events = market((1, hbt.DEPTH_EVENT, 1, np.nan, 1.0))
    run = backtest(events)
    assert run.elapse(0) == 0
    with pytest.raises(DataError, match=r"data\[0\], row 2, field px"):
        run.elapse(10 * SECOND)
    assert run.depth(0).best_bid == 100.0
    with pytest.raises(DataError):
        run.elapse(1)


def test_assets_are_checked():
    events = market()
    with pytest.raises(ConfigError, match="at least one"):
        hbt.HashMapMarketDepthBacktest([])
    with pytest.raises(ConfigError, match="asset 0: tick_size has not been set"):
        hbt.HashMapMarketDepthBacktest([hbt.BacktestAsset().data(events)])
    with pytest.raises(ConfigError, match="asset 0: no data"):
        hbt.HashMapMarketDepthBacktest([hbt.BacktestAsset().tick_size(1.0).lot_size(1.0)])
    with pytest.raises(ConfigError, match=r"hftbacktest\..* is no engine"):
        hbt.HashMapMarketDepthBacktest([hftbacktest.BacktestAsset()])
    with pytest.raises(ConfigError, match=r"compat '2\.3'"):
        backtest(events, compat="2.3")
    with pytest.raises(ConfigError, match="is no range"):
        backtest(events, depth=hbt.ROIVectorMarketDepthBacktest, roi_lb=(10.0,), roi_ub=(5.0,))
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        hbt.BacktestAsset().data("nowhere.npz")
    with pytest.raises(ConfigError, match="tick_size: nan"):
        hbt.BacktestAsset().tick_size(float("nan"))


def test_the_same_run_gives_the_same_bytes():
    trades = [(at, hbt.TRADE_EVENT, -1, 100.0, 6.0) for at in range(2, 9)]
    logs = []
    for _ in range(2):
        run = backtest(market(*trades), partial_fill_exchange=())
        run.elapse(SECOND)
        for order_id in range(5):
            run.submit_buy_order(0, order_id, 100.0, 0.7, hbt.GTX, hbt.LIMIT, False)
            run.elapse(SECOND)
        logs.append((run.fills(0).tobytes(), run.order_log(0).tobytes()))
    assert logs[0] == logs[1]
    assert len(logs[0][0]) > 0
