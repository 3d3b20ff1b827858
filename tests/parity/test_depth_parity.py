"""The L2 book on the real recordings: hftbacktest's best after every event, and its depth at intervals."""

import numpy as np
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest
from numba import njit

from engine.book.l2 import L2, best_dtype
from engine.core.types import EXCH_EVENT, LOCAL_EVENT
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

pytestmark = pytest.mark.recording

EVERY = 251
REACH = 40


@njit
def reference_bests(hbt, best):
    depth = hbt.depth(0)
    for i in range(len(best)):
        hbt.wait_next_feed(False, 10**18)
        best[i].bid_tick = depth.best_bid_tick
        best[i].ask_tick = depth.best_ask_tick
        best[i].bid_qty = depth.best_bid_qty
        best[i].ask_qty = depth.best_ask_qty


@njit
def reference_levels(hbt, bids, asks, every):
    depth = hbt.depth(0)
    for i in range(len(bids)):
        for _ in range(every):
            hbt.wait_next_feed(False, 10**18)
        for k in range(bids.shape[1]):
            bids[i, k] = depth.bid_qty_at_tick(depth.best_bid_tick - k)
            asks[i, k] = depth.ask_qty_at_tick(depth.best_ask_tick + k)


def view_of(name, view):
    """The rows that one side sees, a nanosecond apart for both: a step of the reference is then one row."""
    rows = events(name)
    rows = rows[(rows["ev"] & np.uint64(EXCH_EVENT if view == "exch" else LOCAL_EVENT)) != 0].copy()
    rows["ev"] |= np.uint64(EXCH_EVENT | LOCAL_EVENT)
    rows["exch_ts"] = rows["local_ts"] = np.arange(1, len(rows) + 1)
    return rows


def reference(name, rows):
    asset = (
        BacktestAsset()
        .data([rows])
        .linear_asset(1.0)
        .constant_order_latency(0, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(TICK_SIZE[name])
        .lot_size(LOT_SIZE[name])
    )
    return HashMapMarketDepthBacktest([asset])


@pytest.mark.parametrize("view", ["local", "exch"])
@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_the_best_after_every_event_is_hftbacktests(name, view):
    rows = view_of(name, view)
    expected = np.zeros(len(rows), best_dtype)
    hbt = reference(name, rows)
    reference_bests(hbt, expected)
    hbt.close()
    assert np.count_nonzero(np.diff(expected["bid_tick"])) > 500
    # A small window moves and spills all the time, the default hardly does.
    for window in (512, 65536):
        book = L2(TICK_SIZE[name], LOT_SIZE[name], window=window)
        found = book.replay(rows)
        wrong = np.flatnonzero(found != expected)
        assert len(wrong) == 0, f"row {wrong[0]}: {found[wrong[0]]} instead of {expected[wrong[0]]}"
        book.check_invariants()


@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_the_depth_at_intervals_is_hftbacktests(name):
    rows = view_of(name, "local")
    n = len(rows) // EVERY
    bids, asks = np.zeros((n, REACH)), np.zeros((n, REACH))
    hbt = reference(name, rows)
    reference_levels(hbt, bids, asks, EVERY)
    hbt.close()
    book = L2(TICK_SIZE[name], LOT_SIZE[name])
    for i in range(n):
        book.apply(rows[i * EVERY : (i + 1) * EVERY])
        bid, ask = book.best_bid_tick, book.best_ask_tick
        assert [book.bid_qty_at_tick(bid - k) for k in range(REACH)] == bids[i].tolist()
        assert [book.ask_qty_at_tick(ask + k) for k in range(REACH)] == asks[i].tolist()


@pytest.mark.parametrize("name", ["usdm", "cm", "spot"])
def test_the_whole_book_at_the_end_is_hftbacktests(name):
    rows = view_of(name, "local")
    hbt = reference(name, rows)
    assert hbt.elapse(10 * len(rows)) == 1
    listed = hbt.depth(0).snapshot()
    expected = listed.copy()
    hbt.depth(0).snapshot_free(listed)
    hbt.close()
    book = L2(TICK_SIZE[name], LOT_SIZE[name])
    book.apply(rows)
    found = book.snapshot()
    assert len(found) > 500
    for field in ("ev", "px", "qty"):
        np.testing.assert_array_equal(found[field], expected[field])
