"""The market-by-order book by hand: places, totals, own orders, refusals, growth."""

import copy
import math
import pickle

import numpy as np
import pytest

from engine.book.l2 import L2
from engine.book.l3 import L3, queue_dtype
from engine.core.errors import CapacityError, DataError, OrderIdExists, OrderNotFound
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
    event_dtype,
)

NO_BID, NO_ASK = -(2**63), 2**63 - 1
BOTH = EXCH_EVENT | LOCAL_EVENT


@pytest.fixture
def book():
    """Bids of 100 and 99, asks of 102 and 103; tick and lot 1."""
    made = L3(1.0, 1.0)
    for order_id, side, px, qty in [
        (1, 1, 100.0, 5.0),
        (2, 1, 100.0, 3.0),
        (3, 1, 99.0, 4.0),
        (4, -1, 102.0, 2.0),
        (5, -1, 102.0, 6.0),
        (6, -1, 103.0, 1.0),
    ]:
        made.add(order_id, side, px, qty)
    return made


def ids(book, side, tick):
    return book.queue(side, tick)["order_id"].tolist()


def rows(*events):
    out = np.zeros(len(events), event_dtype)
    for i, (ev, order_id, px, qty) in enumerate(events):
        out[i] = (ev, i + 1, i + 2, px, qty, order_id, 0, 0.0)
    return out


def test_an_empty_book_has_no_best():
    book = L3(0.5, 1.0)
    assert (book.best_bid_tick, book.best_ask_tick, len(book), book.ts) == (NO_BID, NO_ASK, 0, 0)
    assert book.levels(1).shape == book.levels(-1).shape == (0, 2)
    assert book.queue(1, 0).dtype == queue_dtype
    assert len(book.queue(1, 0)) == len(book.snapshot()) == 0
    assert book.order(1) is None
    book.check_invariants()


def test_orders_queue_and_add_up(book):
    assert (book.best_bid_tick, book.best_ask_tick) == (100, 102)
    assert ids(book, 1, 100) == [1, 2]
    assert book.queue(1, 100)["qty"].tolist() == [5.0, 3.0]
    assert book.levels(1).tolist() == [[100.0, 8.0], [99.0, 4.0]]
    assert book.levels(-1, 1).tolist() == [[102.0, 8.0]]
    assert book.qty_at_tick(-1, 103) == 1.0
    assert book.order(5) == (-1, 102, 6.0)
    assert len(book) == 6


def test_a_cancel_takes_one_order_and_the_last_one_its_level(book):
    book.cancel(1)
    assert ids(book, 1, 100) == [2]
    assert book.qty_at_tick(1, 100) == 3.0
    book.cancel(2)
    assert (book.best_bid_tick, ids(book, 1, 100)) == (99, [])
    book.cancel(3)
    assert book.best_bid_tick == NO_BID


@pytest.mark.parametrize(
    ("px", "qty", "queue"),
    [
        (100.0, 4.0, [1, 2, 7]),  # less keeps the place
        (100.0, 5.0, [1, 2, 7]),  # as much keeps it too
        (100.0, 6.0, [2, 7, 1]),  # more loses it
        (99.0, 5.0, [2, 7]),  # another price leaves the queue
    ],
)
def test_a_modification_keeps_its_place_only_with_no_more_at_the_same_price(book, px, qty, queue):
    book.add(7, 1, 100.0, 1.0)
    book.modify(1, px, qty)
    assert ids(book, 1, 100) == queue
    assert book.order(1) == (1, int(px), qty)
    assert book.qty_at_tick(1, 100) == (4.0 if px == 99.0 else 4.0 + qty)
    assert ids(book, 1, 99) == ([3, 1] if px == 99.0 else [3])


def test_a_modification_moves_the_best_and_the_opposite_one(book):
    book.modify(3, 102.0, 4.0)
    assert (book.best_bid_tick, book.best_ask_tick) == (102, 103)
    # The crossed asks are stale: found by tick, not listed.
    assert book.qty_at_tick(-1, 102) == 8.0
    assert book.levels(-1).tolist() == [[103.0, 1.0]]
    book.modify(3, 98.0, 4.0)
    assert (book.best_bid_tick, book.best_ask_tick) == (100, 103)


def test_a_best_modified_to_nothing_stands_until_its_order_goes(book):
    book.cancel(2)
    book.modify(1, 100.0, 0.0)
    assert (book.best_bid_tick, book.qty_at_tick(1, 100)) == (100, 0.0)
    assert book.levels(1).tolist() == [[99.0, 4.0]]
    book.check_invariants()
    book.cancel(1)
    assert book.best_bid_tick == 99


def test_unknown_and_repeated_ids_are_refused_and_change_nothing(book):
    before = book.hash()
    with pytest.raises(OrderIdExists, match="order 1"):
        book.add(1, -1, 110.0, 1.0)
    for call in (lambda: book.cancel(9), lambda: book.modify(9, 100.0, 1.0), lambda: book.fill(9, 100.0)):
        with pytest.raises(OrderNotFound, match="order 9"):
            call()
    assert (book.hash(), len(book)) == (before, 6)
    book.cancel(1)
    book.add(1, -1, 110.0, 1.0)
    assert book.order(1) == (-1, 110, 1.0)


@pytest.mark.parametrize("px", [math.nan, math.inf, -math.inf, 1e300])
def test_impossible_prices_are_refused(book, px):
    for call in (lambda: book.add(9, 1, px, 1.0), lambda: book.modify(1, px, 1.0), lambda: book.fill(1, px)):
        with pytest.raises(DataError):
            call()
    assert ids(book, 1, 100) == [1, 2]


@pytest.mark.parametrize("qty", [math.nan, math.inf, -1.0, 1e301])
def test_impossible_quantities_are_refused(book, qty):
    with pytest.raises(DataError):
        book.add(9, 1, 100.0, qty)
    with pytest.raises(DataError):
        book.modify(1, 100.0, qty)
    assert book.qty_at_tick(1, 100) == 8.0


@pytest.mark.parametrize("call", ["add", "queue", "qty_at_tick", "levels", "insert_own", "clear"])
def test_a_side_that_is_none_is_refused(book, call):
    args = {"add": (9, 2, 1.0, 1.0), "insert_own": (2, 1, 1.0, 1), "levels": (2,), "clear": (2,)}
    with pytest.raises(ValueError, match="side must be 1"):
        getattr(book, call)(*args.get(call, (2, 100)))


@pytest.mark.parametrize(
    ("tick_size", "lot_size", "sizes"),
    [(0.0, 1.0, {}), (math.nan, 1.0, {}), (1.0, -1.0, {}), (1.0, 1.0, {"orders": 2**28 + 1})],
)
def test_impossible_sizes_are_refused(tick_size, lot_size, sizes):
    with pytest.raises(CapacityError):
        L3(tick_size, lot_size, **sizes)


def test_a_book_is_not_pickled_or_copied(book):
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(book)
    with pytest.raises(TypeError, match="snapshot"):
        copy.copy(book)


# --- own orders ---


def test_own_orders_stand_in_the_queue_and_count_in_no_total(book):
    own = book.insert_own(1, 100, 2.0, 70)
    book.add(7, 1, 100.0, 1.0)
    assert book.queue(1, 100).tolist() == [(1, 5.0, False), (2, 3.0, False), (70, 2.0, True), (7, 1.0, False)]
    assert book.qty_at_tick(1, 100) == 9.0
    assert book.ahead_of(own) == 8.0
    book.cancel(1)
    assert book.ahead_of(own) == 3.0
    book.modify_own(own, 100, 1.0)
    assert ids(book, 1, 100) == [2, 70, 7]
    book.modify_own(own, 100, 5.0)
    assert ids(book, 1, 100) == [2, 7, 70]
    book.modify_own(own, 99, 5.0)
    assert (ids(book, 1, 99), book.ahead_of(own)) == ([3, 70], 4.0)
    book.remove_own(own)
    assert ids(book, 1, 99) == [3]
    assert len(book) == 6


def test_an_own_order_alone_at_its_price_makes_no_level(book):
    book.insert_own(1, 101, 2.0, 70)
    assert (book.best_bid_tick, book.qty_at_tick(1, 101)) == (100, 0.0)
    assert book.levels(1)[0].tolist() == [100.0, 8.0]


def test_a_fill_takes_the_own_orders_ahead_of_the_filled_one(book):
    book.insert_own(1, 100, 1.0, 70)
    book.add(7, 1, 100.0, 1.0)
    book.insert_own(1, 100, 1.0, 71)
    book.fill(2, 100.0)
    assert book.take_given() == []
    book.fill(7, 100.0)
    assert book.take_given() == [70]
    assert ids(book, 1, 100) == [1, 2, 7, 71]
    assert book.take_given() == []


@pytest.mark.parametrize(("side", "sign"), [(1, 1), (-1, -1)])
def test_a_fill_takes_the_own_orders_at_better_prices_up_to_the_best(side, sign):
    book = L3(1.0, 1.0)
    for i in range(5):
        book.add(i, side, 100.0 - sign * i, 1.0)
        book.insert_own(side, 100 - sign * i, 1.0, 70 + i)
    book.fill(3, 97.0 if sign > 0 else 103.0)
    # At its own price, only what is ahead of it: nothing.
    assert book.take_given() == [70, 71, 72]


def test_a_better_best_takes_the_opposite_own_orders_it_reaches(book):
    for tag, tick in enumerate([105, 104, 104, 106]):
        book.insert_own(-1, tick, 1.0, tag)
    book.add(7, 1, 104.0, 1.0)
    assert book.take_given() == [1, 2]
    book.modify(7, 105.0, 1.0)
    assert book.take_given() == [0]
    book.modify(7, 101.0, 1.0)
    book.add(8, 1, 103.0, 1.0)
    assert book.take_given() == []
    assert ids(book, -1, 106) == [3]


def test_handles_of_orders_that_are_gone_are_refused(book):
    own = book.insert_own(1, 100, 1.0, 70)
    book.add(7, 1, 100.0, 1.0)
    book.fill(7, 100.0)
    for handle in (0, own, 1, 2**32 - 1):
        for call in (
            lambda handle=handle: book.remove_own(handle),
            lambda handle=handle: book.modify_own(handle, 100, 1.0),
            lambda handle=handle: book.ahead_of(handle),
        ):
            with pytest.raises(OrderNotFound, match="own order of handle"):
                call()


def test_an_own_order_beyond_all_ticks_is_refused(book):
    for tick in (2**62, -(2**62), NO_BID, NO_ASK):
        with pytest.raises(DataError):
            book.insert_own(1, tick, 1.0, 70)
    own = book.insert_own(1, 2**62 - 1, 1.0, 70)
    with pytest.raises(DataError):
        book.modify_own(own, 2**62, 1.0)
    book.check_invariants()


@pytest.mark.parametrize(("side", "given", "left"), [(1, [72, 70], 3), (-1, [71], 3), (0, [72, 70, 71], 0)])
def test_a_clear_gives_out_own_orders_and_takes_all_others(book, side, given, left):
    for tag, (own_side, tick) in enumerate([(1, 99), (-1, 102), (1, 100)], 70):
        book.insert_own(own_side, tick, 1.0, tag)
    book.clear(side)
    assert (book.take_given(), len(book)) == (given, left)
    book.check_invariants()
    for order_id in (1, 2, 3) if side >= 0 else (4, 5, 6):
        book.add(order_id, 1, 90.0, 1.0)
    book.check_invariants()


# --- events ---


def test_events_make_the_book_of_the_calls():
    book = L3(1.0, 1.0)
    events = rows(
        (ADD_ORDER_EVENT | BOTH | BUY_EVENT, 1, 100.0, 5.0),
        (ADD_ORDER_EVENT | BOTH | BUY_EVENT, 2, 100.0, 1.0),
        (ADD_ORDER_EVENT | EXCH_EVENT | SELL_EVENT, 3, 101.0, 1.0),
        (MODIFY_ORDER_EVENT | BOTH, 1, 100.0, 6.0),
        (CANCEL_ORDER_EVENT | EXCH_EVENT, 3, 0.0, 0.0),
        (ADD_ORDER_EVENT | BOTH, 9, 50.0, 1.0),  # of no side
    )
    assert book.apply(events, view="local") == 4
    assert (ids(book, 1, 100), book.best_ask_tick, book.ts) == ([2, 1], NO_ASK, 4)
    book.apply(rows((DEPTH_CLEAR_EVENT | BOTH | SELL_EVENT, 0, 1.0, 0.0)))
    assert len(book) == 2
    book.apply(rows((DEPTH_CLEAR_EVENT | BOTH, 0, 1.0, 0.0)))
    assert len(book) == 0


def test_fills_matter_to_the_venue_only(book):
    book.insert_own(1, 100, 1.0, 70)
    book.add(7, 1, 100.0, 1.0)
    fill = rows((FILL_EVENT | BOTH | BUY_EVENT, 7, 100.0, 1.0))
    book.apply(fill, view="local")
    assert book.take_given() == []
    book.apply(fill, view="exch")
    assert book.take_given() == [70]
    unknown = rows((FILL_EVENT | BOTH | BUY_EVENT, 8, 100.0, 1.0))
    book.apply(unknown, view="local")
    with pytest.raises(DataError, match="no order 8"):
        book.apply(unknown, view="exch")


@pytest.mark.parametrize(
    ("event", "field", "text"),
    [
        ((ADD_ORDER_EVENT | BOTH | BUY_EVENT, 1, 100.0, 1.0), "order_id", "order 1 is in the book already"),
        ((CANCEL_ORDER_EVENT | BOTH, 8, 0.0, 0.0), "order_id", "no order 8 is in the book"),
        ((MODIFY_ORDER_EVENT | BOTH, 8, 1.0, 1.0), "order_id", "no order 8 is in the book"),
        ((ADD_ORDER_EVENT | BOTH | BUY_EVENT, 8, math.nan, 1.0), "px", "nan is not within"),
        ((ADD_ORDER_EVENT | BOTH | BUY_EVENT, 8, 1.0, -2.0), "qty", "-2.0 is not between"),
    ],
)
def test_a_wrong_row_is_named_and_those_before_it_are_applied(book, event, field, text):
    events = rows((ADD_ORDER_EVENT | BOTH | BUY_EVENT, 7, 98.0, 1.0), event)
    with pytest.raises(DataError, match=text) as caught:
        book.apply(events)
    assert (caught.value.row, caught.value.field) == (1, field)
    assert book.order(7) == (1, 98, 1.0)
    book.check_invariants()


def test_replay_tells_the_best_after_each_row():
    best = L3(1.0, 1.0).replay(
        rows(
            (ADD_ORDER_EVENT | LOCAL_EVENT | BUY_EVENT, 1, 100.0, 5.0),
            (ADD_ORDER_EVENT | EXCH_EVENT | BUY_EVENT, 2, 101.0, 5.0),
            (ADD_ORDER_EVENT | LOCAL_EVENT | SELL_EVENT, 3, 102.0, 1.0),
        )
    )
    assert best.tolist() == [(100, NO_ASK, 5.0, 0.0), (100, NO_ASK, 5.0, 0.0), (100, 102, 5.0, 1.0)]


def test_an_unknown_view_is_refused(book):
    with pytest.raises(ValueError, match="view must be"):
        book.apply(rows(), view="venue")


# --- size ---


def test_the_book_doubles_and_loses_nothing():
    book = L3(1.0, 1.0, orders=1)
    assert book.capacity == 64
    own = book.insert_own(1, 500, 1.0, 70)
    for i in range(5000):
        book.add(i, 1 if i % 2 else -1, 500.0 + (-i % 100 if i % 2 else i % 100 + 101), 1.0)
    assert (book.capacity, len(book)) == (8192, 5000)
    assert (book.ahead_of(own), ids(book, 1, 500)[0]) == (0.0, 70)
    book.check_invariants()
    for i in range(5000):
        book.cancel(i)
    assert (book.capacity, len(book), book.best_bid_tick, book.best_ask_tick) == (8192, 0, NO_BID, NO_ASK)
    book.check_invariants()


def test_the_hash_is_that_of_a_book_by_price_with_the_same_levels(book):
    by_price = L2(1.0, 1.0)
    for px, qty in book.levels(1):
        by_price.update_bid(px, qty)
    for px, qty in book.levels(-1):
        by_price.update_ask(px, qty)
    assert book.hash() == by_price.hash()
