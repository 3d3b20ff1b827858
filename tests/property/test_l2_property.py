"""The L2 book against its oracle: any sequence of events, any window, gives the same book."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book.l2 import L2
from engine.book.naive import NaiveL2
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

BOTH = EXCH_EVENT | LOCAL_EVENT
KINDS = [DEPTH_EVENT] * 12 + [DEPTH_SNAPSHOT_EVENT, DEPTH_CLEAR_EVENT, DEPTH_BBO_EVENT, TRADE_EVENT]
WINDOW = 512


def event(kind, flags, px, qty, ts):
    row = np.zeros(1, event_dtype)
    row["ev"], row["px"], row["qty"], row["exch_ts"], row["local_ts"] = kind | flags, px, qty, ts, ts + 1
    return row


def assert_same(book, oracle, ticks=()):
    book.check_invariants()
    oracle.check_invariants()
    assert (book.best_bid_tick, book.best_ask_tick) == (oracle.best_bid_tick, oracle.best_ask_tick)
    assert (book.best_bid_qty, book.best_ask_qty) == (oracle.best_bid_qty, oracle.best_ask_qty)
    assert book.ts == oracle.ts
    for tick in ticks:
        assert book.bid_qty_at_tick(tick) == oracle.bid_qty_at_tick(tick)
        assert book.ask_qty_at_tick(tick) == oracle.ask_qty_at_tick(tick)


def assert_same_depth(book, oracle):
    for n in (0, 1, 3, None):
        np.testing.assert_array_equal(book.bids(n), oracle.bids(n))
        np.testing.assert_array_equal(book.asks(n), oracle.asks(n))
    assert book.hash() == oracle.hash()
    assert book.snapshot().tobytes() == oracle.snapshot().tobytes()


# Ticks near a centre, at the edges of bitmap words, of the window and of its upper quarter, and far away.
near = st.integers(-5, 5)
edges = st.sampled_from(
    [k * unit + d for unit in (64, 384, 448, 512) for k in (-3, -2, -1, 1, 2, 3) for d in (-1, 0, 1)]
)
far = st.integers(-100_000, 100_000)
hostile_far = st.sampled_from([-(2**61), -(2**40), 2**40, 2**61])
ticks = st.one_of(near, near, near, edges, far, hostile_far)
steps = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from([BUY_EVENT, SELL_EVENT, BUY_EVENT, SELL_EVENT, 0, BUY_EVENT | SELL_EVENT]),
    ticks,
    st.sampled_from([0.0, 0.0, 1.0, 2.0, 0.3, 0.5, 7.25]),
    st.sampled_from([BOTH, BOTH, EXCH_EVENT, LOCAL_EVENT]),
    st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(steps, max_size=60), st.sampled_from([0, 1000, -77, 2**33]))
def test_any_sequence_of_events_gives_the_oracles_book(sequence, centre):
    book, oracle = L2(1.0, 1.0, window=WINDOW), NaiveL2(1.0, 1.0)
    for ts, (kind, side, tick, qty, sees, whole) in enumerate(sequence):
        px = math.inf if kind == DEPTH_CLEAR_EVENT and whole else float(centre + tick)
        row = event(kind, side | sees, px, qty, ts)
        assert book.apply(row, view="local") == oracle.apply(row, view="local")
        assert_same(book, oracle, [centre + tick])
    assert_same_depth(book, oracle)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), ticks, st.sampled_from([0.0, 1.0, 2.0])), max_size=80))
def test_updates_report_the_oracles_change(sequence):
    book, oracle = L2(0.5, 1.0, window=WINDOW), NaiveL2(0.5, 1.0)
    for is_bid, tick, qty in sequence:
        if is_bid:
            assert book.update_bid(tick * 0.5, qty) == oracle.update_bid(tick * 0.5, qty)
        else:
            assert book.update_ask(tick * 0.5, qty) == oracle.update_ask(tick * 0.5, qty)
    assert_same_depth(book, oracle)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("step", "spread"), [(3, 40), (40, 400), (400, 30_000)])
def test_a_walking_market_gives_the_oracles_book(seed, step, spread):
    """Long walks make the window move often and the spill grow, shift back and come home."""
    rng = np.random.default_rng(seed)
    n = 4000
    centre = np.cumsum(rng.integers(-step, step + 1, n))
    is_bid = rng.random(n) < 0.5
    offset = np.abs(rng.normal(0, spread, n)).astype(np.int64) - 2
    rows = np.zeros(n, event_dtype)
    rows["ev"] = np.where(is_bid, BUY_EVENT, SELL_EVENT) | DEPTH_EVENT | BOTH
    rows["px"] = (centre + np.where(is_bid, -offset, offset)) * 0.1
    rows["qty"] = rng.choice([0.0, 0.001, 0.0004, 0.0005, 1.5], n)
    reuse = rng.random(n) < 0.4
    rows["px"][reuse] = rows["px"][rng.integers(0, n, n)][reuse]
    rows["exch_ts"] = np.arange(n)
    rows["ev"][rng.random(n) < 0.001] = DEPTH_CLEAR_EVENT | BOTH | BUY_EVENT
    book, oracle = L2(0.1, 0.001, window=WINDOW), NaiveL2(0.1, 0.001)
    for start in range(0, n, 50):
        chunk = rows[start : start + 50]
        book.apply(chunk)
        oracle.apply(chunk)
        assert_same(book, oracle)
    assert_same_depth(book, oracle)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), ticks, st.sampled_from([0.0, 1.0, 3.0])), max_size=80),
    st.integers(-10_000, 10_000),
)
def test_the_hash_does_not_depend_on_how_the_book_came_about(sequence, detour):
    """A detour of the market moves the windows; the same levels hash the same."""
    straight, moved = L2(1.0, 1.0, window=WINDOW), L2(1.0, 1.0, window=4096)
    moved.update_bid(detour, 1.0)
    moved.clear()
    for is_bid, tick, qty in sequence:
        for book in (straight, moved):
            (book.update_bid if is_bid else book.update_ask)(float(tick), qty)
    assert straight.hash() == moved.hash()
    again = L2(1.0, 1.0, window=WINDOW)
    again.apply(straight.snapshot())
    assert again.hash() == straight.hash()


@settings(max_examples=200, deadline=None)
@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT, DEPTH_BBO_EVENT, DEPTH_CLEAR_EVENT]),
    st.sampled_from([BUY_EVENT, SELL_EVENT]),
)
def test_hostile_values_are_refused_by_both_or_by_none(px, qty, kind, side):
    book, oracle = L2(0.1, 0.001, window=WINDOW), NaiveL2(0.1, 0.001)
    row = event(kind, side | BOTH, px, qty, 5)
    outcomes = []
    for one in (book, oracle):
        one.update_bid(10.0, 1.0)
        one.update_ask(10.1, 1.0)
        try:
            one.apply(row)
            outcomes.append("applied")
        except Exception as error:
            outcomes.append((type(error), error.row, error.field))
    assert outcomes[0] == outcomes[1]
    assert_same(book, oracle)
    assert_same_depth(book, oracle)
