"""Both sides in one loop come to what they come to one by one: quantity arrays and kept trades force that."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest import hbt
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

FAR = 40_000
"""Ticks that are outside the window of a book around the middle."""
WAITS = ((0, 300, 2_000, 7_000, 60_000, 400_000), (10_000, 20_000))
"""Nanoseconds between two looks; a row comes each 1,300 or so."""


def market(seed: int, rows: int, reach: int, thin: bool) -> np.ndarray:
    """Random rows, some of them far away; in a few markets prices wander so far that windows follow.

    In a thin one levels are few and often removed, and now and then one side alone sees that all are.
    """
    rng = np.random.default_rng(seed)
    events = random_market(seed, rows, middle=100_000)
    drift = np.cumsum(rng.integers(-reach, reach + 1, len(events)))
    far = rng.choice([0, 0, 0, 0, 0, 0, -FAR, FAR], len(events))
    # Both sides of the book far away on their own side: otherwise everything crosses.
    buy = events["ev"] & np.uint64(hbt.BUY_EVENT) != 0
    depth = events["ev"] & np.uint64(0xFF) == np.uint64(hbt.DEPTH_EVENT)
    moved = np.where(depth, np.where(buy, -np.abs(far), np.abs(far)), 0) + drift
    events["px"] += moved * TICK_SIZE
    if thin:
        depth = events["ev"] & np.uint64(0xFF) != np.uint64(hbt.TRADE_EVENT)
        events["ev"] |= np.uint64(hbt.EXCH_EVENT | hbt.LOCAL_EVENT)
        away = rng.choice([1, 2, 3, 40], len(events))
        events["px"][depth] = (100_000 + np.where(buy, -away, away))[depth] * TICK_SIZE
        events["qty"][depth & (rng.random(len(events)) < 0.4)] = 0.0
        cleared = depth & (rng.random(len(events)) < 0.1)
        events["ev"][cleared] &= np.uint64(hbt.BUY_EVENT | hbt.SELL_EVENT)
        seen = rng.choice(np.array([hbt.EXCH_EVENT, hbt.LOCAL_EVENT], np.uint64), cleared.sum())
        events["ev"][cleared] |= seen | np.uint64(hbt.DEPTH_CLEAR_EVENT)
        events["px"][cleared] = np.where(buy, 0.8, 1.2)[cleared] * 100_000 * TICK_SIZE
    return events


class Looker:
    """Polls, trades at random, and writes down all that can be seen."""

    def __init__(
        self, events: np.ndarray, seed: int, apart: bool, partial: bool, waits: tuple[int, ...]
    ) -> None:
        asset = hbt.BacktestAsset().data(events).tick_size(TICK_SIZE).lot_size(LOT_SIZE)
        asset.constant_order_latency(3_000, 1_000).log_prob_queue_model2().roi_lb(49_000).roi_ub(51_000)
        if partial:
            asset.partial_fill_exchange()
        self.run = hbt.ROIVectorMarketDepthBacktest([asset])
        self.rng, self.waits = random.Random(seed), waits
        if apart:
            # A book that keeps quantity arrays is brought up to date by itself.
            assert self.run.depth(0).bid_depth is not None
        self.told: list[object] = []

    def step(self, number: int) -> int:
        run, rng = self.run, self.rng
        ended = run.elapse(rng.choice(self.waits))
        if rng.random() < 0.2:
            ended = run.wait_next_feed(rng.random() < 0.5, 50_000)
        depth = run.depth(0)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        self.told.append((ended, run.current_timestamp, bid, ask, run.position(0), run.feed_latency(0)))
        self.told.append(depth.snapshot().tobytes())
        self.told.append([depth.bid_qty_at_tick(bid - i) for i in range(4)] if 0 < bid < 10**9 else None)
        if 0 < bid < ask < 10**9 and rng.random() < 0.7:
            tick = rng.choice([bid, ask]) + rng.randint(-2, 2)
            submit = run.submit_buy_order if rng.random() < 0.5 else run.submit_sell_order
            wait = rng.random() < 0.2
            self.told.append(submit(0, number, tick * TICK_SIZE, 2 * LOT_SIZE, hbt.GTC, hbt.LIMIT, wait))
        return ended

    def outcome(self, steps: int) -> list[object]:
        number = 1
        while number <= steps and self.step(number) != 1:
            number += 1
        self.run.check_invariants()
        self.told += [self.run.fills(0).tobytes(), self.run.order_log(0).tobytes()]
        self.run.close()
        return [repr(one) for one in self.told]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.integers(1, 6000),
    st.sampled_from([0, 1, 60]),
    st.booleans(),
    st.integers(0, 2**32),
    st.booleans(),
    st.sampled_from(WAITS),
    st.sampled_from([5, 60, 10_000]),
)
def test_one_loop_comes_to_what_two_come_to(seed, rows, reach, thin, choices, partial, waits, steps):
    events = market(seed, rows, reach, thin)
    one, two = (Looker(events, choices, apart, partial, waits).outcome(steps) for apart in (False, True))
    assert one == two
