"""The L3 book against its oracle: any stream of orders, own ones between them, gives the same book."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book.l3 import L3
from engine.book.naive_l3 import NaiveL3
from engine.core.errors import DataError, OrderIdExists, OrderNotFound, RingbookError
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
    event_dtype,
)

BOTH = EXCH_EVENT | LOCAL_EVENT
WINDOW = 512
REFUSED = (DataError, OrderIdExists, OrderNotFound)


class Pair:
    """The two books, every call made to both and every answer compared."""

    def __init__(self, tick_size=1.0, lot_size=1.0, **sizes):
        self.fast, self.slow = L3(tick_size, lot_size, **sizes), NaiveL3(tick_size, lot_size)
        self.own = []

    def both(self, name, *args):
        outcomes = []
        for book in (self.fast, self.slow):
            try:
                outcomes.append((getattr(book, name)(*args), None))
            except REFUSED as error:
                outcomes.append((None, type(error)))
        assert outcomes[0] == outcomes[1]

    def insert_own(self, side, tick, qty, tag):
        self.own.append(
            (self.fast.insert_own(side, tick, qty, tag), self.slow.insert_own(side, tick, qty, tag))
        )

    def modify_own(self, which, tick, qty):
        if self.own:
            handle, order = self.own[which % len(self.own)]
            self.fast.modify_own(handle, tick, qty)
            self.slow.modify_own(order, tick, qty)

    def remove_own(self, which):
        if self.own:
            handle, order = self.own.pop(which % len(self.own))
            self.fast.remove_own(handle)
            self.slow.remove_own(order)

    def settle(self):
        """The same own orders were given out, and no handle of one is valid any more."""
        given = self.fast.take_given()
        assert given == self.slow.take_given()
        gone = [(handle, order) for handle, order in self.own if order.order_id in given]
        assert len(gone) == len(given)
        self.own = [pair for pair in self.own if pair not in gone]
        for handle, _ in gone:
            with pytest.raises(OrderNotFound):
                self.fast.ahead_of(handle)

    def assert_same(self, ticks=()):
        fast, slow = self.fast, self.slow
        fast.check_invariants()
        slow.check_invariants()
        assert (fast.best_bid_tick, fast.best_ask_tick) == (slow.best_bid_tick, slow.best_ask_tick)
        assert (len(fast), fast.ts) == (len(slow), slow.ts)
        for tick in ticks:
            for side in (1, -1):
                assert fast.qty_at_tick(side, tick) == slow.qty_at_tick(side, tick)
                assert fast.queue(side, tick).tolist() == slow.queue(side, tick)
        for handle, order in self.own:
            assert fast.ahead_of(handle) == slow.ahead_of(order)

    def assert_same_whole(self):
        assert self.fast.hash() == self.slow.hash()
        for side in (1, -1):
            for n in (0, 2, None):
                np.testing.assert_array_equal(self.fast.levels(side, n), self.slow.levels(side, n))
        for (side, tick), queue in self.slow.queues.items():
            assert self.fast.queue(side, tick).tolist() == [(o.order_id, o.qty, o.own) for o in queue]
        for order_id in self.slow.orders:
            assert self.fast.order(order_id) == self.slow.order(order_id)


# Prices near one another, at edges of bitmap words and windows, in the same bucket of the queues, and far.
near = st.integers(-4, 4)
edges = st.sampled_from([unit + d for unit in (-512, -64, 64, 448, 512) for d in (-1, 0, 1)])
far = st.sampled_from([-(2**61), -(2**40), -65_536, 65_536, 131_072, 2**40, 2**61])
ticks = st.one_of(near, near, near, near, near, edges, far)
sides = st.sampled_from([1, -1])
# Few ids, so that they are used again while they are in the book and afterwards.
ids = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 2**32 + 1, 2**64 - 1])
whole = st.sampled_from([1.0, 2.0, 3.0, 7.0])
odd = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.5])
which = st.integers(0, 5)


def streams(qtys):
    """Calls by name; adds and own orders often enough that something happens."""
    return st.lists(
        st.one_of(
            st.tuples(st.just("add"), ids, sides, ticks, qtys),
            st.tuples(st.just("add"), ids, sides, ticks, qtys),
            st.tuples(st.just("modify"), ids, ticks, qtys),
            st.tuples(st.just("cancel"), ids),
            st.tuples(st.just("fill"), ids, ticks),
            st.tuples(st.just("insert_own"), sides, ticks, qtys),
            st.tuples(st.just("insert_own"), sides, near, qtys),
            st.tuples(st.just("modify_own"), which, ticks, qtys),
            st.tuples(st.just("remove_own"), which),
            st.tuples(st.just("clear"), st.sampled_from([0, 1, -1])),
        ),
        max_size=80,
    )


def run(pair, stream):
    for tag, (name, *args) in enumerate(stream):
        if name == "insert_own":
            pair.insert_own(*args, tag)
        elif name in ("modify_own", "remove_own"):
            getattr(pair, name)(*args)
        else:
            pair.both(name, *args)
        pair.settle()
        pair.assert_same([arg for arg in args if isinstance(arg, int) and abs(arg) < 2**62])
    pair.assert_same_whole()


@settings(max_examples=400, deadline=None)
@given(streams(whole))
def test_any_stream_gives_the_oracles_book(stream):
    run(Pair(window=WINDOW, orders=1), stream)


@settings(max_examples=200, deadline=None)
@given(streams(odd))
def test_quantities_below_a_lot_give_the_oracles_book(stream):
    run(Pair(window=WINDOW, orders=1), stream)


@settings(max_examples=200, deadline=None)
@given(streams(whole))
def test_a_book_without_queues_is_the_same_but_for_them(stream):
    pair = Pair(window=WINDOW, orders=1, queues=False)
    for name, *args in stream:
        if not name.endswith("_own"):
            pair.both(name, *args)
            fast, slow = pair.fast, pair.slow
            fast.check_invariants()
            assert (fast.best_bid_tick, fast.best_ask_tick) == (slow.best_bid_tick, slow.best_ask_tick)
            assert fast.hash() == slow.hash()
    assert len(pair.fast) == len(pair.slow)
    for order_id in pair.slow.orders:
        assert pair.fast.order(order_id) == pair.slow.order(order_id)
    again = L3(1.0, 1.0)
    again.apply(pair.fast.snapshot())
    for side, tick in pair.slow.queues:
        assert pair.fast.queue(side, tick).size == 0
        assert again.queue(side, tick).tolist() == pair.slow.queue(side, tick)
    with pytest.raises(RingbookError):
        pair.fast.insert_own(1, 0, 1.0, 1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [ADD_ORDER_EVENT] * 4
                + [CANCEL_ORDER_EVENT, MODIFY_ORDER_EVENT, FILL_EVENT]
                + [DEPTH_CLEAR_EVENT, DEPTH_EVENT, TRADE_EVENT]
            ),
            st.sampled_from([BUY_EVENT, SELL_EVENT, 0, BUY_EVENT | SELL_EVENT]),
            ids,
            st.one_of(near.map(float), st.sampled_from([float("nan"), float("inf"), 1e300])),
            st.one_of(whole, st.sampled_from([float("nan"), -1.0, 1e301])),
            st.sampled_from([BOTH, BOTH, EXCH_EVENT, LOCAL_EVENT]),
        ),
        max_size=40,
    ),
    st.sampled_from(["all", "local", "exch"]),
)
def test_events_are_applied_or_refused_as_by_the_oracle(rows, view):
    pair = Pair(window=WINDOW)
    for ts, (kind, side, order_id, px, qty, sees) in enumerate(rows):
        row = np.zeros(1, event_dtype)
        row["ev"], row["order_id"], row["px"], row["qty"] = kind | side | sees, order_id, px, qty
        row["exch_ts"] = row["local_ts"] = ts
        outcomes = []
        for book in (pair.fast, pair.slow):
            try:
                outcomes.append(book.apply(row, view))
            except DataError as error:
                outcomes.append((error.row, error.field))
        assert outcomes[0] == outcomes[1]
        pair.assert_same(range(-4, 5))
    pair.assert_same_whole()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("step", "spread"), [(1, 10), (30, 300), (300, 20_000)])
def test_a_walking_market_gives_the_oracles_book(seed, step, spread):
    """Long walks make slab, map and spill grow, the windows move, and buckets hold several queues."""
    rng = np.random.default_rng(seed)
    pair = Pair(0.25, 1.0, window=WINDOW, orders=1)
    live, centre = [], 0
    for order_id in range(1, 3000):
        centre += int(rng.integers(-step, step + 1))
        side = 1 if rng.random() < 0.5 else -1
        away = abs(int(rng.normal(0, spread))) - 1
        px = (centre - side * away) * 0.25
        draw = rng.random()
        if draw < 0.5 or not live:
            pair.both("add", order_id, side, px, float(rng.integers(1, 20)))
            live.append(order_id)
        elif draw < 0.7:
            pair.both("modify", live[int(rng.integers(len(live)))], px, float(rng.integers(1, 20)))
        elif draw < 0.9:
            pair.both("cancel", live.pop(int(rng.integers(len(live)))))
        elif draw < 0.95:
            pair.insert_own(side, centre - side * away, 1.0, order_id)
        else:
            pair.both("fill", live[int(rng.integers(len(live)))], px)
        pair.settle()
        if order_id % 100 == 0:
            pair.assert_same([centre])
    pair.assert_same_whole()
    assert pair.fast.capacity > 64
    again = L3(0.25, 1.0, window=WINDOW)
    again.apply(pair.fast.snapshot())
    for order_id in live:
        assert again.order(order_id) == pair.fast.order(order_id)
        side, tick, _ = again.order(order_id)
        market = pair.fast.queue(side, tick)
        assert again.queue(side, tick).tolist() == market[~market["own"]].tolist()
