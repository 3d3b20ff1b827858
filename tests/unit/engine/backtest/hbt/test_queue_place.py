"""Where an order stands in its queue, as the venue has it: step by step on markets made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba import njit

from engine.backtest import hbt
from engine.core.errors import RingbookError
from engine.core.types import ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT, event_dtype

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
BOTH = hbt.EXCH_EVENT | hbt.LOCAL_EVENT
DEPTH, TRADE = hbt.DEPTH_EVENT, hbt.TRADE_EVENT


def rows(*described) -> np.ndarray:
    """Events of (seconds after the start, kind, side, price, quantity, order); they reach us after 0.6 s."""
    events = np.zeros(len(described), event_dtype)
    for event, (at, kind, side, px, qty, *order) in zip(events, described, strict=True):
        event["ev"] = BOTH | kind | (hbt.BUY_EVENT if side > 0 else hbt.SELL_EVENT)
        event["exch_ts"] = START + at * SECOND
        event["local_ts"] = event["exch_ts"] + 600_000_000
        event["px"], event["qty"], event["order_id"] = px, qty, order[0] if order else 0
    return events


def backtest(events, **settings):
    made = hbt.BacktestAsset().data(events).tick_size(1.0).lot_size(0.1)
    for name, arguments in {"constant_order_latency": (100_000_000, 300_000_000), **settings}.items():
        getattr(made, name)(*arguments)
    return hbt.HashMapMarketDepthBacktest([made])


@njit
def place(hbt, order_id):
    return hbt.queue_ahead(0, order_id), hbt.queue_total(0, order_id)


def python_place(run, order_id):
    return run.queue_ahead(0, order_id), run.queue_total(0, order_id)


READERS = pytest.mark.parametrize("read", [python_place, place], ids=["python", "compiled"])
NOWHERE = pytest.approx((math.nan, math.nan), nan_ok=True)


@READERS
def test_a_place_is_followed_step_by_step(read):
    run = backtest(
        rows(
            (0, DEPTH, 1, 100.0, 5.0),
            (0, DEPTH, -1, 101.0, 4.0),
            (2, TRADE, -1, 100.0, 2.0),
            (3, DEPTH, 1, 100.0, 3.0),
            (4, DEPTH, 1, 100.0, 7.0),
            (5, DEPTH, 1, 100.0, 2.0),
            (6, TRADE, -1, 100.0, 2.0),
            (7, TRADE, -1, 100.0, 0.04),
            (8, TRADE, -1, 100.0, 0.04),
            (60, DEPTH, 1, 90.0, 1.0),
        ),
        risk_adverse_queue_model=(),
    )
    assert read(run, 1) == NOWHERE
    run.elapse(SECOND)
    run.submit_buy_order(0, 1, 100.0, 1.0, hbt.GTX, hbt.LIMIT, False)
    run.submit_sell_order(0, 2, 101.0, 1.0, hbt.GTX, hbt.LIMIT, False)
    assert read(run, 1) == NOWHERE
    run.elapse(100_000_000)
    # There since just now, which we do not know yet: the answers are on their way.
    assert run.orders(0).get(1).status == hbt.NONE
    assert read(run, 1) == (5.0, 5.0)
    assert read(run, 2) == (4.0, 4.0)
    run.elapse(SECOND)
    assert read(run, 1) == (3.0, 5.0)
    run.elapse(SECOND)
    assert read(run, 1) == (3.0, 3.0)
    # At 3.1 s our own book still has the level of before.
    assert run.depth(0).best_bid_qty == 5.0
    run.elapse(SECOND)
    assert read(run, 1) == (3.0, 7.0)
    run.elapse(SECOND)
    assert read(run, 1) == (2.0, 2.0)
    run.elapse(SECOND)
    assert read(run, 1) == (0.0, 2.0)
    # Less than half a lot beyond the front is no fill: the estimate is below 0, what is shown is not.
    run.elapse(SECOND)
    assert read(run, 1) == (0.0, 2.0)
    run.elapse(SECOND)
    # Filled at the venue at 8 s; the answer has not come.
    assert read(run, 1) == NOWHERE
    assert run.position(0) == 0.0
    run.elapse(SECOND)
    assert run.position(0) == 1.0
    assert read(run, 2) == (4.0, 4.0)


@READERS
def test_a_request_changes_the_place_when_it_arrives(read):
    run = backtest(
        rows(
            (0, DEPTH, 1, 100.0, 5.0),
            (0, DEPTH, 1, 99.0, 8.0),
            (2, TRADE, -1, 100.0, 2.0),
            (60, DEPTH, 1, 90.0, 1.0),
        ),
        power_prob_queue_model=(2.0,),
    )
    run.elapse(SECOND)
    run.submit_buy_order(0, 1, 100.0, 1.0, hbt.GTC, hbt.LIMIT, True)
    run.elapse(SECOND)
    assert read(run, 1) == (3.0, 5.0)
    run.modify(0, 1, 100.0, 0.5, True)
    assert read(run, 1) == (3.0, 5.0)
    run.modify(0, 1, 99.0, 0.5, False)
    assert read(run, 1) == (3.0, 5.0)
    run.elapse(100_000_000)
    assert read(run, 1) == (8.0, 8.0)
    run.wait_order_response(0, 1, SECOND)
    # Two of our own at one level: neither is in front of the other, nor in the level.
    run.submit_buy_order(0, 2, 99.0, 3.0, hbt.GTC, hbt.LIMIT, True)
    assert read(run, 2) == (8.0, 8.0)
    run.cancel(0, 1, False)
    assert read(run, 1) == (8.0, 8.0)
    run.elapse(100_000_000)
    assert read(run, 1) == NOWHERE
    assert read(run, 2) == (8.0, 8.0)


@READERS
def test_market_by_order_the_place_is_the_queues(read):
    run = backtest(
        rows(
            (0, ADD_ORDER_EVENT, 1, 100.0, 2.0, 11),
            (0, ADD_ORDER_EVENT, 1, 100.0, 3.0, 12),
            (0, ADD_ORDER_EVENT, -1, 102.0, 1.0, 13),
            (2, ADD_ORDER_EVENT, 1, 100.0, 4.0, 14),
            (3, CANCEL_ORDER_EVENT, 1, 100.0, 2.0, 11),
            (4, MODIFY_ORDER_EVENT, 1, 100.0, 1.0, 12),
            (5, MODIFY_ORDER_EVENT, 1, 100.0, 6.0, 12),
            (60, ADD_ORDER_EVENT, 1, 90.0, 1.0, 15),
        ),
        l3_fifo_queue_model=(),
    )
    run.elapse(SECOND)
    run.submit_buy_order(0, 1, 100.0, 1.0, hbt.GTC, hbt.LIMIT, True)
    assert read(run, 1) == (5.0, 5.0)
    places = []
    for _ in range(4):
        run.elapse(SECOND)
        places.append(read(run, 1))
    assert places == [(5.0, 9.0), (3.0, 7.0), (1.0, 5.0), (0.0, 10.0)]
    run.submit_buy_order(0, 2, 100.0, 1.0, hbt.GTC, hbt.LIMIT, True)
    assert read(run, 2) == (10.0, 10.0)


@READERS
def test_what_cannot_be_asked_raises(read):
    run = backtest(rows((0, DEPTH, 1, 100.0, 5.0), (1, DEPTH, 1, 99.0, 5.0)))
    for call in (run.queue_ahead, run.queue_total):
        with pytest.raises(IndexError, match="asset number 1"):
            call(1, 1)
        with pytest.raises(OverflowError):
            call(0, -1)
    run.close()
    with pytest.raises(RingbookError, match="closed"):
        read(run, 1)
