"""Consumed liquidity on generated markets: fills are a naive venue's, no level gives more than it had."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest import hbt
from engine.backtest.config import AssetConfig
from engine.backtest.runner import BacktestRunner
from engine.book.naive import NaiveL2
from engine.core.types import EXCH_EVENT
from tests.kit.consuming_venue import BUY, SELL, ConsumingVenue
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market
from tests.property.test_backtest_property import CROSSER, TALKER, configure, push, same

STEP = 1_000

new = st.tuples(
    st.sampled_from(["new", "new", "new", "cancel", "modify"]),
    st.integers(0, 6),
    st.sampled_from([BUY, SELL]),
    st.integers(985, 1015),
    st.sampled_from([1, 2, 3, 10, 30, 200]),
    st.sampled_from([hbt.GTC, hbt.GTC, hbt.GTX, hbt.FOK, hbt.IOC]),
    st.sampled_from([hbt.LIMIT, hbt.LIMIT, hbt.LIMIT, hbt.MARKET]),
)
streams = st.lists(new, min_size=1, max_size=60)
seeds = st.tuples(st.integers(0, 2**32), st.integers(20, 300))


def polled(data):
    asset = hbt.BacktestAsset().data(data).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
    asset.risk_adverse_queue_model().partial_fill_exchange().liquidity_consumption()
    return hbt.HashMapMarketDepthBacktest([asset])


def trade(run, venue, data, stream):
    """Gives both the same rows and requests; the venue's fills are then what they should be."""
    rows = iter(data)
    row = next(rows)
    for number, (what, gap, side, tick, lots, tif, kind) in enumerate(stream):
        if run.elapse(gap * STEP):
            break
        now = run.current_timestamp
        while row is not None and row["exch_ts"] <= now:
            venue.row(row)
            row = next(rows, None)
        qty = lots * LOT_SIZE
        if what == "new":
            submit = run.submit_buy_order if side == BUY else run.submit_sell_order
            submit(0, number, tick * TICK_SIZE, qty, tif, kind, True)
            venue.order(number, side, tick, qty, tif, kind, now)
        elif venue.resting:
            order = venue.resting[tick % len(venue.resting)]
            if what == "cancel":
                run.cancel(0, order.order_id, True)
                venue.cancel(order.order_id)
            else:
                run.modify(0, order.order_id, tick * TICK_SIZE, qty, True)
                venue.modify(order.order_id, tick, qty, now)
    while not run.elapse(STEP):
        pass
    for rest in [row, *rows] if row is not None else []:
        venue.row(rest)


def fills_of(run):
    fills = run.fills(0)
    names = ("exch_ts", "order_id", "price_tick", "qty", "maker", "reason")
    return list(zip(*(fills[name].tolist() for name in names), strict=True))


@settings(max_examples=150, deadline=None)
@given(seeds, streams)
def test_fills_are_the_naive_venues(seed, stream):
    data = random_market(*seed)
    run, venue = polled(data), ConsumingVenue(TICK_SIZE, LOT_SIZE)
    trade(run, venue, data, stream)
    ours = fills_of(run)
    assert [fill[:3] + fill[4:] for fill in ours] == [fill[:3] + fill[4:] for fill in venue.fills]
    assert [fill[3] for fill in ours] == pytest.approx([fill[3] for fill in venue.fills], abs=1e-9)
    open_orders = {o.order_id: o.leaves_qty for o in run.orders(0).values() if o.cancellable}
    assert open_orders == pytest.approx({o.order_id: o.leaves for o in venue.resting}, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seeds, streams)
def test_no_level_gives_more_than_it_was_given(seed, stream):
    data = random_market(*seed)
    run = polled(data)
    trade(run, ConsumingVenue(TICK_SIZE, LOT_SIZE), data, stream)
    book = NaiveL2(TICK_SIZE, LOT_SIZE)
    # Taken since the level's last change, and over its life what was put there and taken.
    since, put, taken = defaultdict(float), defaultdict(float), defaultdict(float)
    rows = iter(data[(data["ev"] & np.uint64(EXCH_EVENT)) != 0])
    row = next(rows, None)
    for ts, order_id, tick, qty, maker, _ in fills_of(run):
        while row is not None and row["exch_ts"] <= ts:
            before = levels(book)
            book._apply_row(row, 0)
            after = levels(book)
            for level in before.keys() | after.keys():
                grown = after.get(level, 0.0) - before.get(level, 0.0)
                put[level] += max(grown, 0.0)
                if grown:
                    since[level] = 0.0
                if level not in after:
                    put[level] = taken[level] = 0.0
            row = next(rows, None)
        if not maker:
            level = -stream[order_id][2], tick
            since[level] += qty
            taken[level] += qty
            assert since[level] <= levels(book)[level] + LOT_SIZE / 2
            assert taken[level] <= put[level] + LOT_SIZE / 2


def levels(book):
    bids = {(BUY, tick): qty for tick, qty in book.bid_depth.items()}
    return bids | {(SELL, tick): qty for tick, qty in book.ask_depth.items()}


@settings(max_examples=30, deadline=None)
@given(seeds, st.sampled_from([CROSSER, TALKER]), st.integers(1, 20), st.sampled_from([0, 1_000, 3_000]))
def test_batches_and_a_pushed_stream_are_the_same(seed, cls, interval, latency):
    asset = AssetConfig(
        symbol="A",
        tick_size=TICK_SIZE,
        lot_size=LOT_SIZE,
        entry_latency_ns=latency,
        response_latency_ns=1_000,
        exchange="partial_fill_exchange",
        liquidity_consumption=True,
    )
    params = {"order_qty": 20 * LOT_SIZE} if cls == CROSSER else {}
    config = configure([asset], cls, interval_ns=interval * 1_000 + latency + 1_000, **params)
    data = {"A": random_market(*seed)}
    result = BacktestRunner(check_invariants=True, chunk_rows=17).run(config, data)
    same(result, BacktestRunner(stepwise=True).run(config, data))
    recorder, _ = push(config, data)
    assert result.fills.tobytes() == recorder.fill_array().tobytes()
