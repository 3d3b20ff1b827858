"""The roll of a market's orders against dicts; sides of a backtest that see different orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest import hbt
from engine.book.l3 import L3
from engine.book.roll import Roll
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from tests.kit.order_markets import LOT_SIZE, TICK_SIZE, random_orders

ADD, CANCEL, MODIFY = ADD_ORDER_EVENT, CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT
NONE, ADDED, CANCELLED, STAYED, MOVED, FILLED, CLEARED, REFUSED = range(8)
FIELDS = ("key", "delta", "to", "place", "op", "side")


class Dicts:
    """The roll, of dicts: id to [side, tick, quantity, place]."""

    def __init__(self) -> None:
        self.orders: dict[int, list] = {}
        self.n = 0

    def apply(self, kind: int, side: int | None, order_id: int, px: float, qty: float) -> tuple:
        """Returns the op, and where known key, delta, to, place and side."""
        self.n += 1
        order = self.orders.get(order_id)
        fits = abs(px) < 2**62
        if kind == ADD and side is not None:
            if order or not fits or not 0 <= qty <= 9e18:
                return (REFUSED,)
            self.orders[order_id] = [side, int(px), qty, 2 * self.n]
            return ADDED, int(px) ^ -side, qty, int(px) ^ -side, 0, side
        if kind in (CANCEL, MODIFY) or (kind == FILL_EVENT and side is not None):
            return self._known(kind, order_id, order, px, qty, fits)
        if kind == DEPTH_CLEAR_EVENT:
            self.orders = {i: o for i, o in self.orders.items() if side is not None and o[0] != side}
            return CLEARED, 2 if side is None else side
        return (NONE,)

    def _known(
        self, kind: int, order_id: int, order: list | None, px: float, qty: float, fits: bool
    ) -> tuple:
        if not order or (kind == MODIFY and not 0 <= qty <= 9e18) or (kind != CANCEL and not fits):
            return (FILLED if kind == FILL_EVENT else REFUSED,)
        side, tick, had, place = order
        key = tick ^ -side
        if kind == CANCEL:
            del self.orders[order_id]
            return CANCELLED, key, -had, None, place, side
        to = int(px) ^ -side
        if kind == FILL_EVENT:
            return FILLED, key, None, to, place, side
        self.orders[order_id] = [side, int(px), qty, place if to == key and qty <= had else 2 * self.n]
        if to == key:
            return STAYED, key, qty - had, to, place, side
        return MOVED, key, -had, to, place, side


kinds = st.sampled_from([ADD] * 5 + [CANCEL, MODIFY, MODIFY, FILL_EVENT, TRADE_EVENT, DEPTH_CLEAR_EVENT])
flags = st.sampled_from([BUY_EVENT, SELL_EVENT, BUY_EVENT, SELL_EVENT, 0])
# Few numbers that collide, and some of the ends.
ids = st.one_of(st.integers(0, 12), st.sampled_from([2**63, 2**64 - 1, 1 << 32]))
prices = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([float("nan"), 1e300]))
qtys = st.one_of(st.integers(0, 4).map(float), st.sampled_from([float("nan"), -1.0, 1e301]))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(kinds, flags, ids, prices, qtys), max_size=60), st.integers(0, 60))
def test_any_stream_is_that_of_dicts(rows, copied_at):
    roll, dicts = Roll(1.0, 1.0, orders=1), Dicts()
    for i, (kind, flag, order_id, px, qty) in enumerate(rows):
        if i == copied_at:
            roll = roll.copy()
        row = np.zeros(1, event_dtype)
        row["ev"], row["order_id"], row["px"], row["qty"] = kind | flag, order_id, px, qty
        found = roll.apply(row)[0]
        expected = dicts.apply(kind, {BUY_EVENT: 0, SELL_EVENT: 1}.get(flag), order_id, px, qty)
        assert found["op"] == expected[0]
        refused = expected in ((REFUSED,), (FILLED,))
        assert (found["code"] != 0) == refused
        if len(expected) == 2:
            assert found["side"] == expected[1]
        elif len(expected) > 2:
            for field, value in zip(("key", "delta", "to", "place", "side"), expected[1:], strict=True):
                assert value is None or found[field] == value
        roll.check_invariants()
    assert roll.orders() == {i: tuple(order) for i, order in dicts.orders.items()}
    assert len(roll) == len(dicts.orders)


@pytest.mark.parametrize("spread", [1, 1 << 40])
def test_it_grows_and_shrinks_with_its_orders(spread):
    rng = np.random.default_rng(5)
    roll, dicts = Roll(1.0, 1.0, orders=1), Dicts()
    for number in range(40):
        n = 200
        rows = np.zeros(n, event_dtype)
        live = list(dicts.orders) or [0]
        for row in rows:
            kind = ADD if rng.random() < (0.7 if number < 20 else 0.2) else CANCEL
            order_id = int(rng.integers(1, 10**6)) * spread if kind == ADD else int(rng.choice(live))
            row["ev"], row["order_id"], row["px"], row["qty"] = kind | BUY_EVENT, order_id, 5.0, 1.0
            dicts.apply(kind, 0, order_id, 5.0, 1.0)
        roll.apply(rows)
        roll.check_invariants()
        assert roll.orders() == {i: tuple(order) for i, order in dicts.orders.items()}


def _partly_seen(seed: int) -> np.ndarray:
    """A market whose orders are partly seen by one side only, with all that happens to them."""
    events = random_orders(seed, 400, clears=False)
    hidden = np.random.default_rng(seed).integers(0, 8, events["order_id"].max() + 1)
    # Not from the start, so that both have seen the same before; trades have no order.
    own = (events["order_id"] > 0) & (events["order_id"] > events["order_id"].max() // 4)
    for flag, which in ((EXCH_EVENT, 0), (LOCAL_EVENT, 1)):
        events["ev"][own & (hidden[events["order_id"]] == which)] &= ~np.uint64(flag)
    return events[(events["ev"] & np.uint64(EXCH_EVENT | LOCAL_EVENT)) != 0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_sides_that_see_different_orders_have_different_books(seed):
    events = _partly_seen(seed)
    asset = hbt.BacktestAsset().data(events).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    run = hbt.HashMapMarketDepthBacktest([asset.l3_fifo_queue_model().constant_order_latency(0, 0)])
    ours, venue = (L3(TICK_SIZE, LOT_SIZE) for _ in range(2))
    seen = dict.fromkeys(("local", "exch"), 0)
    shown = sent = 0
    while run.elapse(7_000) == 0:
        for name, book in (("local", ours), ("exch", venue)):
            flag = np.uint64(LOCAL_EVENT if name == "local" else EXCH_EVENT)
            while seen[name] < len(events):
                row = events[seen[name] : seen[name] + 1]
                if row["ev"][0] & flag and row[f"{name}_ts"][0] > run.current_timestamp:
                    break
                book.apply(row, name)
                seen[name] += 1
        depth = run.depth(0)
        assert (depth.best_bid_tick, depth.best_ask_tick) == (ours.best_bid_tick, ours.best_ask_tick)
        for tick in range(depth.best_bid_tick - 5, depth.best_bid_tick + 5):
            if abs(tick) < 1 << 40:
                assert depth.bid_qty_at_tick(tick) == ours.qty_at_tick(1, tick)
                assert depth.ask_qty_at_tick(tick) == ours.qty_at_tick(-1, tick)
        # A buy far below shows what the venue's book has there; in front of it is all of that.
        if abs(venue.best_bid_tick) < 1 << 40 and sent < 60:
            sent += 1
            tick = venue.best_bid_tick - sent % 4
            run.submit_buy_order(0, sent, tick * TICK_SIZE, 1.0, hbt.GTX, hbt.LIMIT, True)
            if run.orders(0).get(sent).status == hbt.NEW:
                assert run.queue_ahead(0, sent) == run.queue_total(0, sent) == venue.qty_at_tick(1, tick)
                shown += 1
    assert shown > 0
