"""Whatever is noted and whenever batches are taken: a reader that applies them has the book."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book.l2 import L2
from engine.core.types import (
    BUY_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)
from engine.runtime.conflate import DepthConflator


def event(kind, side, tick, qty, ts=1):
    row = np.zeros(1, event_dtype)
    row["ev"] = kind | side | LOCAL_EVENT
    row["exch_ts"] = row["local_ts"] = ts
    row["px"], row["qty"] = tick * 0.5, qty
    return row


class Reader:
    """Keeps a book from batches, as the bridge's clients do."""

    def __init__(self):
        self.bids, self.asks = {}, {}

    def apply(self, batch):
        bids, asks, snapshot, _ = batch
        if snapshot:
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for px, qty in levels:
                if qty == 0:
                    side.pop(px, None)
                else:
                    side[px] = qty


def visible(book):
    """The levels of a book at or beyond its best prices."""
    bids, asks = book.bids(5000), book.asks(5000)
    return {float(p): float(q) for p, q in bids}, {float(p): float(q) for p, q in asks}


class Market:
    def __init__(self):
        self.book = L2(0.5, 0.001)
        self.changes = DepthConflator(self.book)
        self.reader = Reader()

    def apply(self, row):
        self.book.apply(row)
        self.changes.note(row)

    def publish(self):
        batch = self.changes.take()
        if batch is not None:
            self.reader.apply(batch)
        return batch


ROW = st.one_of(
    st.tuples(
        st.just(DEPTH_EVENT),
        st.sampled_from([BUY_EVENT, SELL_EVENT]),
        st.integers(1, 60),
        st.sampled_from([0.0, 0.5, 1.0, 2.5]),
    ),
    st.tuples(
        st.just(DEPTH_BBO_EVENT),
        st.sampled_from([BUY_EVENT, SELL_EVENT]),
        st.integers(1, 60),
        st.sampled_from([0.0, 1.0]),
    ),
    st.tuples(
        st.just(DEPTH_CLEAR_EVENT), st.sampled_from([BUY_EVENT, SELL_EVENT]), st.integers(1, 60), st.just(0.0)
    ),
    st.none(),
)


@settings(max_examples=300)
@given(st.lists(ROW, max_size=120))
def test_a_reader_of_the_batches_has_the_book(rows):
    market = Market()
    for row in rows:
        if row is None:
            market.publish()
        else:
            market.apply(event(*row))
    market.publish()
    assert (market.reader.bids, market.reader.asks) == visible(market.book)
    assert market.publish() is None


def test_the_first_batch_is_a_snapshot_and_later_ones_only_have_changes():
    market = Market()
    assert market.publish() is None
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 10, 1.0))
    market.apply(event(DEPTH_EVENT, SELL_EVENT, 12, 2.0))
    assert market.publish() == ([(5.0, 1.0)], [(6.0, 2.0)], True, False)
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 9, 3.0))
    assert market.publish() == ([(4.5, 3.0)], [], False, False)
    market.apply(event(TRADE_EVENT, BUY_EVENT, 9, 3.0))
    assert market.publish() is None


def test_a_level_that_changed_twice_marks_the_batch_as_conflated():
    market = Market()
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 10, 1.0))
    market.publish()
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 10, 2.0))
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 10, 3.0))
    assert market.publish() == ([(5.0, 3.0)], [], False, True)
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 10, 4.0))
    market.changes.delay()
    assert market.publish() == ([(5.0, 4.0)], [], False, True)


def test_more_changes_than_the_set_holds_become_a_snapshot():
    market = Market()
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 1, 1.0))
    market.publish()
    for tick in range(2, 3000):
        market.apply(event(DEPTH_EVENT, BUY_EVENT, tick, 1.0))
    bids, asks, snapshot, conflated = market.publish()
    assert (len(bids), asks, snapshot, conflated) == (1000, [], True, True)
    assert bids[0] == (2999 * 0.5, 1.0)


@pytest.mark.parametrize("jump", [100, 100_000])
def test_a_crossed_level_is_removed_and_a_jump_of_the_best_price_loses_none(jump):
    market = Market()
    for tick in (10, 11, 12):
        market.apply(event(DEPTH_EVENT, SELL_EVENT, tick, 1.0))
    market.apply(event(DEPTH_EVENT, SELL_EVENT, 12 + jump, 1.0))
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 9, 1.0))
    market.publish()
    market.apply(event(DEPTH_EVENT, BUY_EVENT, 11 + jump, 1.0))
    _, _, snapshot, _ = market.publish()
    assert snapshot == (jump == 100_000)
    assert visible(market.book) == (market.reader.bids, market.reader.asks)
    assert market.reader.asks == {(12 + jump) * 0.5: 1.0}
