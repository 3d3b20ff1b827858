"""The venue of market-by-order recordings, one situation at a time."""

import json

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.backtest.runner import BacktestRunner
from engine.book.l3 import L3
from engine.core.errors import ConfigError, DataError
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    Reason,
    Status,
    event_dtype,
)
from engine.gateways.paper import Paper
from tests.kit.markets import START, random_market
from tests.kit.order_markets import random_orders

BOTH = EXCH_EVENT | LOCAL_EVENT
SCRIPTED = "tests/kit/scripted.py:Scripted"
WATCHING = "tests/kit/scripted.py:Watching"
BID, ASK = BUY_EVENT, SELL_EVENT
ADD, CANCEL, MODIFY, FILL = ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT, FILL_EVENT

# Bids 99 and 98, asks 101 and 102, from the start; the strategy polls every 1,000 ns, rows come between.
MARKET = [
    (0, ADD | BID, 99, 5, 1),
    (0, ADD | BID, 98, 5, 2),
    (0, ADD | ASK, 101, 5, 3),
    (0, ADD | ASK, 102, 5, 4),
]


def recording(rows, end=20_000):
    """Rows of (time, kind and side, tick, quantity, order) behind MARKET; a trade without a side ends it."""
    rows = [*MARKET, *rows, (end, TRADE_EVENT, 100, 1, 0)]
    times = [START + row[0] for row in rows]
    return np.array(
        [
            (ev | BOTH, ts, ts, float(tick), qty, order, 0, 0.0)
            for ts, (_, ev, tick, qty, order) in zip(times, rows, strict=True)
        ],
        event_dtype,
    )


def asset(**changes):
    values = {"symbol": "A", "tick_size": 1.0, "lot_size": 1.0, "entry_latency_ns": 0}
    values |= {"response_latency_ns": 0, "queue_model": "l3_fifo_queue_model"}
    return AssetConfig(**(values | changes))


def play(script, rows, cls=SCRIPTED, end=20_000, **changes):
    strategy = StrategyConfig(id="s", cls=cls, params={"script": json.dumps(script)})
    config = BacktestConfig(assets=[asset(**changes)], strategies=[strategy])
    return BacktestRunner(check_invariants=True).run(config, {"A": recording(rows, end)})


def fills(result):
    return [
        (int(fill["exch_ts"]) - START, int(fill["price_tick"]), int(fill["qty"]), Reason(fill["reason"]).name)
        for fill in result.fills
    ]


def ends(result):
    return [
        (Status(order["status"]).name, Reason(order["reason"]).name)
        for order in result.orders["order"]
        if Status(order["status"]) not in (Status.NONE, Status.NEW)
    ]


def test_an_order_fills_when_the_one_behind_it_does_and_not_before():
    rows = [
        (1_500, ADD | BID, 99, 1, 10),
        (2_500, FILL | BID, 99, 5, 1),
        (2_500, CANCEL | BID, 99, 5, 1),
        (3_500, FILL | BID, 99, 1, 10),
    ]
    assert fills(play([[1, "buy", 99, 2]], rows)) == [(3_500, 99, 2, "QUEUE_FRONT")]


def test_an_order_at_a_better_price_fills_first():
    rows = [(1_500, FILL | BID, 98, 1, 2)]
    assert fills(play([[1, "buy", 99, 2], [1, "buy", 98, 2]], rows)) == [(1_500, 99, 2, "TRADE_THROUGH")]
    rows = [(1_500, FILL | ASK, 102, 1, 4)]
    assert fills(play([[1, "sell", 101, 2], [1, "sell", 102, 2]], rows)) == [(1_500, 101, 2, "TRADE_THROUGH")]


def test_the_other_sides_best_fills_what_it_reaches():
    rows = [(1_500, CANCEL | BID, 99, 5, 1), (2_500, ADD | ASK, 99, 1, 10)]
    assert fills(play([[1, "buy", 99, 2], [1, "buy", 98, 1]], rows)) == [(2_500, 99, 2, "BEST_CROSSED")]
    rows = [(1_500, MODIFY | ASK, 99, 1, 3)]
    assert fills(play([[1, "buy", 99, 2]], rows)) == [(1_500, 99, 2, "BEST_CROSSED")]


def test_trades_and_fills_of_no_side_fill_nothing():
    rows = [(1_500, TRADE_EVENT | ASK, 90, 100, 0), (1_500, FILL, 99, 5, 1), (1_500, FILL, 99, 5, 77)]
    assert fills(play([[1, "buy", 99, 2]], rows)) == []


@pytest.mark.parametrize(
    ("action", "keeps"),
    [
        (["modify", 0, 99, 1], True),
        (["modify", 0, 99, 2], True),
        (["modify", 0, 99, 3], False),
        (["modify", 0, 98, 2], False),
    ],
)
def test_a_modify_keeps_the_place_only_with_the_price_and_no_more_quantity(action, keeps):
    rows = [(1_500, ADD | BID, 99, 1, 10), (1_500, ADD | BID, 98, 1, 11)]
    rows += [(2_500, FILL | BID, 99, 1, 10), (2_600, FILL | BID, 98, 1, 2), (2_700, CANCEL | BID, 98, 5, 2)]
    found = fills(play([[1, "buy", 99, 2], [2, *action]], rows))
    assert bool(found) is (keeps or action[2] == 99)
    if keeps:
        assert found == [(2_500, 99, action[3], "QUEUE_FRONT")]
    elif found:
        # It was moved behind; only the fill at the worse price reached it.
        assert found == [(2_600, 99, 3, "TRADE_THROUGH")]


def test_a_modify_that_crosses_takes():
    result = play([[1, "buy", 99, 2], [2, "modify", 0, 101, 2]], [])
    assert fills(result) == [(2_000, 101, 2, "TAKER")]


def test_takers_post_only_and_cancels_are_as_by_price():
    script = [[1, "buy", 101, 7], [2, "buy", 101, 1, "GTX"], [3, "buy", 99, 1, "IOC"], [4, "buy", 98, 1]]
    result = play([*script, [5, "cancel", 3]], [])
    assert fills(result) == [(1_000, 101, 7, "TAKER")]
    assert ends(result) == [
        ("FILLED", "TAKER"),
        ("EXPIRED", "POST_ONLY_CROSSED"),
        ("EXPIRED", "UNFILLED_IOC_FOK"),
        ("CANCELED", "CANCEL_REQUESTED"),
    ]


@pytest.mark.parametrize(("side", "ended"), [(0, 3), (BID, 2), (ASK, 1)])
def test_a_clear_ends_the_orders_of_its_side(side, ended):
    rows = [(1_500, DEPTH_CLEAR_EVENT | side, 0, 0, 0)]
    result = play([[1, "buy", 99, 2], [1, "buy", 98, 2], [1, "sell", 102, 2]], rows)
    assert fills(result) == []
    cleared = [end for end in ends(result) if end[1] == "MARKET_CLEARED"]
    assert cleared == [("EXPIRED", "MARKET_CLEARED")] * ended


def test_who_listens_sees_the_book_after_each_message():
    rows = [
        (1_500, CANCEL | BID, 99, 5, 1),
        (1_500, TRADE_EVENT | BID, 101, 5, 0),
        (2_500, DEPTH_EVENT | BID, 100, 5, 0),
        (2_600, DEPTH_CLEAR_EVENT | ASK, 0, 0, 0),
        (2_700, ADD | ASK, 105, 5, 9),
    ]
    result = play([], rows, cls=WATCHING)
    told = [(ts - START, text) for ts, _, _, _, text in result.logs]
    # Rows of levels mean nothing in a book of orders.
    assert told == [
        (0, "book 99 101"),
        (1_500, "trade 101.0 5.0"),
        (1_500, "book 98 101"),
        (2_500, "book 98 101"),
        (2_600, "book 98 None"),
        (2_700, "book 98 105"),
        (20_000, "trade 100.0 1.0"),
        (20_000, "book 98 105"),
    ]


@pytest.mark.parametrize("cls", [SCRIPTED, WATCHING])
@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ((5_000, CANCEL | BID, 99, 5, 77), "order_id", "77: no such order is in the book"),
        ((5_000, MODIFY | BID, 99, 5, 77), "order_id", "77: no such order is in the book"),
        ((5_000, FILL | BID, 99, 5, 77), "order_id", "77: no such order is in the book"),
        ((5_000, ADD | BID, 99, 5, 3), "order_id", "3: such an order is in the book already"),
        ((5_000, ADD | BID, 99, -1, 77), "qty", "-1.0: negative"),
    ],
)
def test_a_row_that_cannot_be_is_named(cls, row, field, message):
    with pytest.raises(DataError, match=message) as caught:
        play([], [(1_500, ADD | BID, 97, 1, 20), row], cls=cls)
    assert (caught.value.file, caught.value.row, caught.value.field) == ("A[0]", 5, field)


def test_a_fault_that_only_we_see_is_named_too():
    data = recording([(5_000, CANCEL | BID, 99, 5, 77)])
    data["ev"][4] &= ~np.uint64(EXCH_EVENT)
    config = BacktestConfig(assets=[asset()], strategies=[StrategyConfig(id="s", cls=SCRIPTED)])
    for options in ({}, {"stepwise": True}):
        with pytest.raises(DataError, match="row 4, field order_id: 77"):
            BacktestRunner(**options).run(config, {"A": data})


def test_recordings_and_models_have_to_go_together():
    strategies = [StrategyConfig(id="s", cls=SCRIPTED)]
    by_price = asset(queue_model="risk_adverse_queue_model")
    with pytest.raises(DataError, match="holds orders, not levels: its queue_model is l3_fifo_queue_model"):
        BacktestRunner().run(BacktestConfig(assets=[by_price], strategies=strategies), {"A": recording([])})
    with pytest.raises(DataError, match="holds no orders, which l3_fifo_queue_model needs"):
        BacktestRunner().run(
            BacktestConfig(assets=[asset(tick_size=0.5, lot_size=0.01)], strategies=strategies),
            {"A": random_market(1, 100)},
        )
    both = BacktestConfig(assets=[asset(exchange="partial_fill_exchange")], strategies=strategies)
    with pytest.raises(ConfigError, match=r"assets\[0\]\.exchange: l3_fifo_queue_model goes with"):
        check(both)


def test_there_are_no_paper_venues_by_order():
    with pytest.raises(ConfigError, match="A: l3_fifo_queue_model is for recordings market by order"):
        Paper([asset()])


def test_the_book_grows_with_its_orders():
    n = 40_000
    rows = [(10 + i, ADD | BID, 90 - i % 50, 1, 100 + i) for i in range(n)]
    result = play([[1, "buy", 98, 2]], [*rows, (n + 100, FILL | BID, 90, 1, 100)], end=n + 200)
    assert fills(result) == [(n + 100, 98, 2, "TRADE_THROUGH")]


@pytest.mark.parametrize("seed", range(4))
def test_the_kernels_book_is_the_book_of_the_orders(seed):
    data = random_orders(seed, 300)
    book = L3(0.25, 1.0, queues=False)
    book.apply(data, "local")
    book.check_invariants()
    config = BacktestConfig(assets=[asset(tick_size=0.25)], strategies=[StrategyConfig(id="s", cls=WATCHING)])
    last = BacktestRunner().run(config, {"A": data}).logs[-1][4]
    best = [tick if abs(tick) < 1 << 60 else None for tick in (book.best_bid_tick, book.best_ask_tick)]
    assert last == f"book {best[0]} {best[1]}"
