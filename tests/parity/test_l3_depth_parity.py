"""The L3 book on the real recording: hftbacktest's best after every event, and its depth at intervals."""

import numpy as np
import pytest
from hftbacktest import BacktestAsset, HashMapMarketDepthBacktest, ROIVectorMarketDepthBacktest
from numba import njit

from engine.book.l2 import best_dtype
from engine.book.l3 import L3
from engine.core.types import EXCH_EVENT, FILL_EVENT, LOCAL_EVENT
from engine.feeds.nasdaq import convert_itch
from tests.kit import itch
from tests.kit.recordings import LOT_SIZE, TICK_SIZE, events

pytestmark = pytest.mark.recording

EVERY = 251
FIRST = 19_180  # of the ticks looked at: the market is between
REACH = 100
LIMIT = 2**62


@njit
def reference_bests(hbt, best):
    depth = hbt.depth(0)
    for i in range(len(best)):
        hbt.wait_next_feed(False, 10**18)
        best[i].bid_tick = depth.best_bid_tick
        best[i].ask_tick = depth.best_ask_tick
        # Its best_bid_qty is the price in the vector depth.
        if depth.best_bid_tick > 0:
            best[i].bid_qty = depth.bid_qty_at_tick(depth.best_bid_tick)
        if depth.best_ask_tick < LIMIT:
            best[i].ask_qty = depth.ask_qty_at_tick(depth.best_ask_tick)


@njit
def reference_levels(hbt, bids, asks, every):
    depth = hbt.depth(0)
    for i in range(len(bids)):
        for _ in range(every):
            hbt.wait_next_feed(False, 10**18)
        for k in range(bids.shape[1]):
            bids[i, k] = depth.bid_qty_at_tick(FIRST + k)
            asks[i, k] = depth.ask_qty_at_tick(FIRST + k)


@pytest.fixture(scope="module")
def rows():
    """The recording with a nanosecond between any two rows: a step of the reference is then one row."""
    rows = events("cme").copy()
    rows["ev"] |= np.uint64(EXCH_EVENT | LOCAL_EVENT)
    rows["exch_ts"] = rows["local_ts"] = np.arange(1, len(rows) + 1)
    return rows


def reference(make, rows, tick_size=TICK_SIZE["cme"], lot_size=LOT_SIZE["cme"]):
    asset = (
        BacktestAsset()
        .data([rows])
        .linear_asset(50.0)
        .constant_order_latency(0, 0)
        .l3_fifo_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tick_size)
        .lot_size(lot_size)
    )
    if make is ROIVectorMarketDepthBacktest:
        # Its vector forgets what is outside; the recording's prices go from 85 to 5792.5.
        asset.roi_lb(50.0).roi_ub(7000.0)
    return make([asset])


@pytest.mark.parametrize("make", [HashMapMarketDepthBacktest, ROIVectorMarketDepthBacktest])
def test_the_best_after_every_event_is_hftbacktests(rows, make):
    expected = np.zeros(len(rows), best_dtype)
    hbt = reference(make, rows)
    reference_bests(hbt, expected)
    hbt.close()
    assert np.count_nonzero(np.diff(expected["bid_tick"])) > 500
    # A small window moves and spills all the time, the default hardly does.
    for window in (512, 65536):
        book = L3(TICK_SIZE["cme"], LOT_SIZE["cme"], window=window)
        found = book.replay(rows)
        wrong = np.flatnonzero(found != expected)
        assert len(wrong) == 0, f"row {wrong[0]}: {found[wrong[0]]} instead of {expected[wrong[0]]}"
        book.check_invariants()


def test_rows_of_an_itch_file_are_what_hftbacktest_understands(tmp_path):
    messages, _ = itch.random_flow(1, 6_000, {"AAPL": 13}, widest=400)
    path = itch.write(tmp_path / "01302019.NASDAQ_ITCH50", messages)
    rows = convert_itch(path, symbol="AAPL").events.copy()
    rows["exch_ts"] = rows["local_ts"] = np.arange(1, len(rows) + 1)
    expected = np.zeros(len(rows), best_dtype)
    hbt = reference(HashMapMarketDepthBacktest, rows, 0.01, 1.0)
    reference_bests(hbt, expected)
    hbt.close()
    assert np.count_nonzero(np.diff(expected["bid_tick"])) > 100
    assert np.array_equal(L3(0.01, 1.0).replay(rows), expected)


@pytest.mark.parametrize("make", [HashMapMarketDepthBacktest, ROIVectorMarketDepthBacktest])
def test_the_levels_at_intervals_are_hftbacktests(rows, make):
    n = len(rows) // EVERY
    bids, asks = np.zeros((n, REACH)), np.zeros((n, REACH))
    hbt = reference(make, rows)
    reference_levels(hbt, bids, asks, EVERY)
    hbt.close()
    assert np.count_nonzero(bids[-1]) + np.count_nonzero(asks[-1]) == REACH
    book = L3(TICK_SIZE["cme"], LOT_SIZE["cme"])
    for i in range(n):
        book.apply(rows[i * EVERY : (i + 1) * EVERY], "local")
        found = [[book.qty_at_tick(side, FIRST + k) for k in range(REACH)] for side in (1, -1)]
        assert found == [bids[i].tolist(), asks[i].tolist()], f"after {(i + 1) * EVERY} rows"


def test_every_queue_is_what_its_events_say(rows):
    """Orders in the order of their arrival, those that lost their place behind: told from the raw rows."""
    rows = rows[(rows["ev"] & 0xFF) != FILL_EVENT]
    book = L3(TICK_SIZE["cme"], LOT_SIZE["cme"])
    book.apply(rows)
    queues: dict[tuple[int, float], dict[int, float]] = {}
    places: dict[int, tuple[int, float]] = {}
    for ev, px, qty, order_id in rows[["ev", "px", "qty", "order_id"]].tolist():
        kind, place = ev & 0xFF, (1 if ev & 1 << 29 else -1, px)
        if kind in (11, 12) and (kind == 11 or places[order_id] != place or qty > queues[place][order_id]):
            del queues[places.pop(order_id)][order_id]
        if kind in (10, 12):
            queues.setdefault(place, {})[order_id] = qty
            places[order_id] = place
    assert len(book) == len(places) > 10_000
    for (side, px), queue in queues.items():
        found = book.queue(side, round(px / TICK_SIZE["cme"]))
        assert dict(zip(found["order_id"].tolist(), found["qty"].tolist(), strict=True)) == queue
        assert found["order_id"].tolist() == list(queue)
