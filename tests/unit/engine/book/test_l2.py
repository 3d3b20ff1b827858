"""The L2 book, example by example; both the compiled book and its oracle are held to them."""

import math
import pickle

import numpy as np
import pytest

from engine.book.l2 import L2, best_dtype
from engine.book.naive import NaiveL2, round_half_away
from engine.core.errors import CapacityError, DataError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    event_dtype,
)

MIN, MAX = -(2**63), 2**63 - 1
BOTH = EXCH_EVENT | LOCAL_EVENT


def rows(*events):
    out = np.zeros(len(events), event_dtype)
    for i, (ev, px, qty) in enumerate(events):
        out[i]["ev"], out[i]["px"], out[i]["qty"] = ev, px, qty
        out[i]["exch_ts"] = out[i]["local_ts"] = i + 1
    return out


@pytest.fixture(params=[L2, NaiveL2], ids=["compiled", "oracle"])
def book(request):
    return request.param(0.1, 0.001)


def bests(book):
    return book.best_bid_tick, book.best_ask_tick


def test_an_empty_book_has_no_best(book):
    assert bests(book) == (MIN, MAX)
    assert math.isnan(book.best_bid)
    assert math.isnan(book.best_ask)
    assert (book.best_bid_qty, book.best_ask_qty) == (0.0, 0.0)
    assert book.bids().shape == (0, 2)
    assert len(book.snapshot()) == 0


def test_an_update_reports_the_change_and_keeps_the_raw_quantity(book):
    assert book.update_bid(500.1, 0.0016) == (5001, MIN, 5001, 0.0, 0.0016)
    assert book.update_bid(500.3, 2.0) == (5003, 5001, 5003, 0.0, 2.0)
    assert book.update_bid(500.3, 0.0004) == (5003, 5003, 5001, 2.0, 0.0004)
    assert book.bid_qty_at_tick(5001) == 0.0016
    assert book.bid_qty_at_tick(5003) == 0.0
    assert book.best_bid == 5001 * 0.1


def test_half_a_lot_is_kept_and_less_is_not(book):
    book.update_bid(1.0, 0.0005)
    book.update_ask(2.0, math.nextafter(0.0005, 0.0))
    assert bests(book) == (10, MAX)


def test_a_crossing_bid_moves_the_ask_and_leaves_it_stored(book):
    for px in (10.1, 10.2, 10.4):
        book.update_ask(px, 1.0)
    book.update_bid(10.0, 1.0)
    book.update_bid(10.2, 1.0)
    assert bests(book) == (102, 104)
    assert book.ask_qty_at_tick(101) == 1.0
    assert [px for px, _ in book.asks()] == [104 * 0.1]
    book.update_bid(10.5, 1.0)
    assert bests(book) == (105, MAX)
    book.update_ask(10.6, 1.0)
    assert bests(book) == (105, 106)


def test_a_stale_level_below_the_bound_is_not_looked_for(book):
    book.update_bid(10.0, 1.0)
    book.update_ask(9.9, 1.0)
    assert bests(book) == (MIN, 99)
    book.update_bid(9.8, 1.0)
    book.update_bid(9.8, 0.0)
    book.update_ask(9.9, 0.0)
    book.update_bid(10.1, 1.0)
    book.update_bid(10.1, 0.0)
    assert bests(book) == (MIN, MAX)
    assert book.bid_qty_at_tick(100) == 1.0


@pytest.mark.parametrize("upto", [math.nan, math.inf, -math.inf])
def test_clearing_a_side_without_a_price_empties_it(book, upto):
    book.update_bid(10.0, 1.0)
    book.update_ask(10.1, 1.0)
    book.clear(1, upto)
    assert bests(book) == (MIN, 101)
    book.clear(0, 10.1)
    assert bests(book) == (MIN, MAX)
    assert book.ask_qty_at_tick(101) == 0.0


def test_clearing_up_to_a_price_skips_the_tick_behind_it(book):
    for px in (9.6, 9.7, 9.8, 9.9, 10.0):
        book.update_bid(px, 1.0)
    book.clear(1, 9.8)
    assert book.best_bid_tick == 96
    assert book.bid_qty_at_tick(97) == 1.0
    for px in (10.1, 10.2, 10.3, 10.4):
        book.update_ask(px, 1.0)
    book.clear(-1, 10.1)
    assert book.best_ask_tick == 103
    book.clear(-1, 99.0)
    assert book.best_ask_tick == MAX


def test_a_bbo_event_sets_the_best_and_drops_what_was_better(book):
    book.apply(rows((DEPTH_EVENT | BOTH | BUY_EVENT, 10.0, 1.0), (DEPTH_EVENT | BOTH | BUY_EVENT, 9.8, 1.0)))
    book.apply(rows((DEPTH_BBO_EVENT | BOTH | BUY_EVENT, 9.9, 3.0)))
    assert (book.best_bid_tick, book.best_bid_qty, book.bid_qty_at_tick(100)) == (99, 3.0, 0.0)
    book.apply(rows((DEPTH_BBO_EVENT | BOTH | SELL_EVENT, 9.9, 2.0)))
    assert bests(book) == (98, 99)
    book.apply(rows((DEPTH_BBO_EVENT | BOTH | SELL_EVENT, 9.9, 0.0)))
    assert bests(book) == (98, MAX)


@pytest.mark.parametrize("tick", range(1000, 1064))
def test_a_clear_leaves_the_stale_level_next_to_the_best(tick):
    """Wherever in a word of the bitmap the best is."""
    for book in (L2(1.0, 1.0, window=512), NaiveL2(1.0, 1.0)):
        book.update_bid(tick + 1.0, 1.0)
        book.update_ask(tick + 1.0, 1.0)
        book.update_bid(tick + 0.0, 1.0)
        book.update_bid(tick - 5.0, 1.0)
        book.clear(1, tick - 1.0)
        assert book.bid_qty_at_tick(tick + 1) == 1.0
        assert bests(book) == (tick - 5, tick + 1)
        book.check_invariants()


def test_a_bbo_event_drops_stale_levels_beyond_the_window():
    for book in (L2(1.0, 1.0, window=512), NaiveL2(1.0, 1.0)):
        book.update_bid(10_000.0, 1.0)
        book.update_ask(500.0, 1.0)
        book.update_bid(400.0, 1.0)
        assert book.bid_qty_at_tick(10_000) == 1.0
        book.apply(rows((DEPTH_BBO_EVENT | BOTH | BUY_EVENT, 9_936.0, 1.0)))
        assert book.bid_qty_at_tick(10_000) == 0.0
        assert bests(book) == (9_936, MAX)
        book.check_invariants()


def test_only_the_rows_of_the_view_are_applied(book):
    events = rows(
        (DEPTH_EVENT | EXCH_EVENT | BUY_EVENT, 10.0, 1.0),
        (DEPTH_EVENT | LOCAL_EVENT | SELL_EVENT, 10.1, 1.0),
        (TRADE_EVENT | BOTH | SELL_EVENT, 10.1, 1.0),
    )
    assert book.apply(events, view="local") == 2
    assert bests(book) == (MIN, 101)
    assert book.ts == 2
    with pytest.raises((ValueError, KeyError)):
        book.apply(events, view="remote")


@pytest.mark.parametrize(
    ("px", "qty", "field"),
    [
        (math.nan, 1.0, "px"),
        (math.inf, 1.0, "px"),
        (-math.inf, 1.0, "px"),
        (1e300, 1.0, "px"),
        (2.0**62, 1.0, "px"),
        (10.0, math.nan, "qty"),
        (10.0, math.inf, "qty"),
        (10.0, -1.0, "qty"),
        (10.0, 1e17, "qty"),
    ],
)
def test_a_hostile_row_is_named_and_changes_nothing(book, px, qty, field):
    events = rows(
        (DEPTH_EVENT | BOTH | BUY_EVENT, 9.0, 1.0),
        (DEPTH_SNAPSHOT_EVENT | BOTH | BUY_EVENT, px, qty),
        (DEPTH_EVENT | BOTH | BUY_EVENT, 9.5, 1.0),
    )
    with pytest.raises(DataError, match=rf"row 1, field {field}") as caught:
        book.apply(events)
    assert (caught.value.row, caught.value.field) == (1, field)
    assert bests(book) == (90, MAX)
    assert book.ts == 1


def test_a_clear_beyond_the_ticks_is_refused_but_an_infinite_one_is_not(book):
    book.update_bid(10.0, 1.0)
    with pytest.raises(DataError):
        book.apply(rows((DEPTH_CLEAR_EVENT | BOTH | BUY_EVENT, 1e300, 0.0)))
    assert book.best_bid_tick == 100
    book.apply(rows((DEPTH_CLEAR_EVENT | BOTH | BUY_EVENT, math.nan, 0.0)))
    assert book.best_bid_tick == MIN


def test_listings_start_at_the_best(book):
    for px in (10.0, 9.9, 9.5):
        book.update_bid(px, px)
    np.testing.assert_array_equal(book.bids(2), [[100 * 0.1, 10.0], [99 * 0.1, 9.9]])
    assert book.bids().shape == (3, 2)
    assert book.bids(0).shape == (0, 2)


def test_a_snapshot_makes_the_same_visible_book(book):
    for px in (10.0, 9.9, 9.5):
        book.update_bid(px, px)
        book.update_ask(px + 0.2, 1.0)
    snapshot = book.snapshot()
    assert snapshot.dtype == event_dtype
    again = type(book)(0.1, 0.001)
    again.apply(snapshot)
    assert again.hash() == book.hash()
    again.update_ask(10.2, 2.0)
    assert again.hash() != book.hash()


def test_replay_records_the_best_after_every_row():
    book = L2(0.1, 0.001)
    events = rows(
        (DEPTH_EVENT | BOTH | BUY_EVENT, 10.0, 1.0),
        (DEPTH_EVENT | EXCH_EVENT | BUY_EVENT, 10.5, 1.0),
        (DEPTH_EVENT | BOTH | SELL_EVENT, 10.1, 2.0),
        (DEPTH_EVENT | BOTH | BUY_EVENT, 10.0, 0.0),
    )
    best = book.replay(events, view="local")
    assert best.dtype == best_dtype
    assert best.tolist() == [
        (100, MAX, 1.0, 0.0),
        (100, MAX, 1.0, 0.0),
        (100, 101, 1.0, 2.0),
        (MIN, 101, 0.0, 2.0),
    ]


def test_the_window_follows_the_market_and_far_levels_come_back():
    book = L2(1.0, 1.0, window=512)
    for tick in range(1, 3000, 7):
        book.update_bid(tick, tick)
        book.check_invariants()
    assert book.spilled > 300
    for tick in reversed(range(1, 3000, 7)):
        assert book.best_bid_tick == tick
        assert book.best_bid_qty == tick
        book.update_bid(tick, 0.0)
        book.check_invariants()
    assert (book.best_bid_tick, book.spilled) == (MIN, 0)


def test_a_side_finds_its_next_best_among_far_levels():
    book = L2(1.0, 1.0, window=512)
    for tick in (10, 5_000, 1_000_000):
        book.update_bid(tick, 1.0)
    for best in (5_000, 10, MIN):
        book.update_bid(book.best_bid_tick, 0.0)
        book.check_invariants()
        assert book.best_bid_tick == best


def test_the_spill_survives_churn():
    """Deleting by backward shift leaves nothing behind: the table stays as big as what it holds."""
    book, oracle = L2(1.0, 1.0, window=512), NaiveL2(1.0, 1.0)
    rng = np.random.default_rng(3)
    for one in (book, oracle):
        one.update_bid(10.0**7, 1.0)
    for _ in range(20_000):
        tick, qty = float(rng.integers(1, 2000)), float(rng.integers(0, 2))
        assert book.update_bid(tick, qty) == oracle.update_bid(tick, qty)
    book.check_invariants()
    assert book.hash() == oracle.hash()
    assert book.spilled == len(oracle.bid_depth) - 1


def test_a_full_spill_refuses_the_level_and_keeps_the_book():
    book = L2(1.0, 1.0, window=512)
    book.update_bid(10.0**7, 1.0)
    n = 2**20
    events = np.zeros(n + 1, event_dtype)
    events["ev"] = DEPTH_EVENT | BOTH | BUY_EVENT
    events["px"] = np.arange(1, n + 2)
    events["qty"] = 1.0
    with pytest.raises(CapacityError, match=f"row {n}"):
        book.apply(events)
    assert book.spilled == n
    assert book.best_bid_tick == 10**7
    # An ask crosses the bids; the window cannot follow the best, for want of room for the stale level in it.
    book.update_ask(500.0, 1.0)
    book.check_invariants()
    assert bests(book) == (499, 500)
    assert book.bid_qty_at_tick(10**7) == 1.0
    assert book.update_bid(499.0, 0.0) == (499, 499, 498, 1.0, 0.0)
    np.testing.assert_array_equal(book.bids(3), [[498.0, 1.0], [497.0, 1.0], [496.0, 1.0]])
    book.check_invariants()
    book.clear()
    assert (book.spilled, book.best_bid_tick) == (0, MIN)


@pytest.mark.parametrize(
    ("tick_size", "lot_size", "window"),
    [(0.0, 1.0, 512), (1.0, -1.0, 512), (math.nan, 1.0, 512), (1.0, math.inf, 512), (1.0, 1.0, 2**24 + 1)],
)
def test_impossible_sizes_are_refused(tick_size, lot_size, window):
    with pytest.raises(CapacityError):
        L2(tick_size, lot_size, window=window)


def test_the_window_is_rounded_up_to_a_power_of_two():
    assert [L2(1.0, 1.0, window=w).window for w in (1, 512, 513, 5000)] == [512, 512, 1024, 8192]


def test_a_book_does_not_pickle():
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(L2(1.0, 1.0))


@pytest.mark.parametrize(
    ("px", "tick_size"),
    [
        (0.25, 0.1),
        (0.15, 0.1),
        (2.5, 1.0),
        (-2.5, 1.0),
        (0.49999999999999994, 1.0),
        (4503599627370497.5, 1.0),
    ],
)
def test_prices_round_half_away_from_zero(px, tick_size):
    book = L2(tick_size, 1.0)
    assert book.update_bid(px, 1.0)[0] == round_half_away(px / tick_size)
