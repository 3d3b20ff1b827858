"""A live order's place in its queue: against the formulas by themselves, and against queues kept as lists."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest import hbt
from engine.backtest.config import AssetConfig
from engine.backtest.queue import follow_queue
from engine.core.types import (
    ADD_ORDER_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    MODIFY_ORDER_EVENT,
    event_dtype,
)
from tests.kit import order_markets
from tests.kit.markets import START

STEP = 1_000
LOT = 0.001
FLAGS = hbt.EXCH_EVENT | hbt.LOCAL_EVENT | hbt.BUY_EVENT

MODELS = {
    "risk_adverse_queue_model": (),
    "log_prob_queue_model": (),
    "log_prob_queue_model2": (),
    "power_prob_queue_model": (2.0,),
    "power_prob_queue_model2": (2.0,),
    "power_prob_queue_model3": (3.0,),
}
LOTS = st.integers(1, 2_000)
STEPS = st.lists(st.tuples(st.booleans(), LOTS), min_size=1, max_size=25)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=40, deadline=None)
@given(level=LOTS, steps=STEPS)
def test_the_place_shown_is_the_models(model, level, steps):
    qty = level * LOT
    events = np.zeros(len(steps) + 1, event_dtype)
    events["ev"], events["px"] = FLAGS | hbt.DEPTH_EVENT, 100.0
    events["qty"][0] = qty
    followed, levels = [], []
    for event, (is_trade, lots) in zip(events[1:], steps, strict=True):
        event["qty"] = lots * LOT
        if is_trade:
            event["ev"] = FLAGS ^ hbt.BUY_EVENT | hbt.SELL_EVENT | hbt.TRADE_EVENT
            followed.append(("trade", event["qty"]))
        else:
            followed.append(("depth", qty, event["qty"]))
            qty = event["qty"]
        levels.append(qty)
    events["exch_ts"] = START + np.arange(len(events)) * STEP
    # Our side of the market is far behind, which the venue's is not to feel.
    events["local_ts"] = events["exch_ts"] + 100 * STEP
    asset = hbt.BacktestAsset().data(events).tick_size(0.1).lot_size(LOT).constant_order_latency(1, 50)
    getattr(asset, model)(*MODELS[model])
    run = hbt.HashMapMarketDepthBacktest([asset])
    run.elapse(STEP // 2)
    run.submit_buy_order(0, 1, 100.0, LOT, hbt.GTX, hbt.LIMIT, True)
    assert (run.queue_ahead(0, 1), run.queue_total(0, 1)) == (level * LOT, level * LOT)
    n = MODELS[model][0] if MODELS[model] else 3.0
    config = AssetConfig(symbol="X", tick_size=0.1, lot_size=LOT, queue_model=model, queue_n=n)
    places = follow_queue(config, level * LOT, followed)
    for (front, reached), total, (is_trade, _) in zip(places, levels, steps, strict=True):
        run.elapse(STEP)
        # An order fills by trades, even where the estimate comes to nothing before.
        if reached and is_trade:
            assert math.isnan(run.queue_ahead(0, 1))
            assert math.isnan(run.queue_total(0, 1))
            return
        assert run.queue_ahead(0, 1) == max(front, 0.0)
        assert run.queue_total(0, 1) == total


class _Queues:
    """The venue's queues as lists of (order, quantity); own orders have negative numbers."""

    def __init__(self) -> None:
        self.queues: dict[tuple[int, int], list[tuple[int, float]]] = {}

    def _remove(self, order_id: int) -> None:
        for queue in self.queues.values():
            queue[:] = [order for order in queue if order[0] != order_id]

    def join(self, side: int, tick: int, order_id: int, qty: float) -> None:
        self.queues.setdefault((side, tick), []).append((order_id, qty))

    def row(self, event: np.void) -> None:
        kind, order_id = int(event["ev"]) & 0xFF, int(event["order_id"])
        side = 1 if int(event["ev"]) & hbt.BUY_EVENT else -1
        tick = round(event["px"] / order_markets.TICK_SIZE)
        if kind == ADD_ORDER_EVENT:
            self.join(side, tick, order_id, event["qty"])
        elif kind == CANCEL_ORDER_EVENT:
            self._remove(order_id)
        elif kind == DEPTH_CLEAR_EVENT:
            either = not int(event["ev"]) & (hbt.BUY_EVENT | hbt.SELL_EVENT)
            self.queues = {key: q for key, q in self.queues.items() if not either and key[0] != side}
        elif kind == MODIFY_ORDER_EVENT:
            queue = self.queues.get((side, tick), [])
            at = next((i for i, order in enumerate(queue) if order[0] == order_id), None)
            if at is not None and event["qty"] <= queue[at][1]:
                queue[at] = (order_id, event["qty"])
            else:
                self._remove(order_id)
                self.join(side, tick, order_id, event["qty"])

    def place(self, own_id: int) -> tuple[float, float] | None:
        for queue in self.queues.values():
            for i, (order_id, _) in enumerate(queue):
                if order_id == own_id:
                    return sum(q for o, q in queue[:i] if o > 0), sum(q for o, q in queue if o > 0)
        return None


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_place_among_orders_is_that_of_lists(seed):
    events = order_markets.random_orders(seed, 300)
    asset = hbt.BacktestAsset().data(events).tick_size(order_markets.TICK_SIZE).lot_size(1.0)
    run = hbt.HashMapMarketDepthBacktest([asset.l3_fifo_queue_model().constant_order_latency(1, 3_000)])
    rows = iter(events[(events["ev"] & np.uint64(hbt.EXCH_EVENT)) != 0])
    rng = np.random.default_rng(seed)
    queues, following, ended, shown = _Queues(), next(rows), set(), 0
    sent = 0
    # Times are whole steps and we act between them, so that nothing coincides.
    wait = STEP // 2
    while run.elapse(wait) == 0:
        wait = int(rng.integers(1, 8)) * STEP
        while following is not None and following["exch_ts"] <= run.current_timestamp:
            queues.row(following)
            following = next(rows, None)
        for own_id in range(1, sent + 1):
            ahead, total = run.queue_ahead(0, own_id), run.queue_total(0, own_id)
            if math.isnan(ahead):
                assert math.isnan(total)
                ended.add(own_id)
                continue
            # What has gone from the venue does not come back.
            assert own_id not in ended
            assert (ahead, total) == queues.place(-own_id)
            shown += 1
        if sent < 40:
            side = int(rng.choice([-1, 1]))
            best = run.depth(0).best_bid_tick if side > 0 else run.depth(0).best_ask_tick
            tick = best - side * int(rng.integers(0, 4))
            if abs(best) > 1 << 40:
                continue
            sent += 1
            send = run.submit_buy_order if side > 0 else run.submit_sell_order
            send(0, sent, tick * order_markets.TICK_SIZE, 1.0, hbt.GTX, hbt.LIMIT, False)
            queues.join(side, tick, -sent, 1.0)
    assert shown > 0
    # Every order that has left the venue was answered with its end.
    for own_id in ended:
        assert run.orders(0).get(own_id).status in (hbt.FILLED, hbt.EXPIRED)
