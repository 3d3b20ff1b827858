"""The middle price at given moments, against a book that is looked at after each row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.backtest.config import AssetConfig
from engine.backtest.data import Recording
from engine.backtest.mids import NO_ASK, NO_BID, mids_at
from engine.book.l2 import L2
from engine.core.types import LOCAL_EVENT
from tests.kit.reported import backtested
from tests.kit.sessions import market


@pytest.mark.parametrize("offset", [0, 2_000_000])
@pytest.mark.parametrize("rows", [1, 7, 100_000])
def test_as_a_book_says(rows, offset):
    events = market(2.0)[-3000:]
    asset = AssetConfig(symbol="X", tick_size=0.1, lot_size=0.001, latency_offset=offset)
    local = events[(events["ev"] & np.uint64(LOCAL_EVENT)) != 0]
    rng = np.random.default_rng(2)
    times = np.concatenate([rng.choice(local["local_ts"], 40), rng.integers(*local["local_ts"][[0, -1]], 40)])
    times = np.unique(np.concatenate([times, local["local_ts"][[0, -1]] + [-1, 1]])) + offset
    found = mids_at(asset, [Recording(events[:1500]), Recording(events[1500:])], times, rows=rows)
    for at, mid in zip(times.tolist(), found.tolist(), strict=True):
        book = L2(0.1, 0.001)
        book.apply(local[local["local_ts"] + offset <= at])
        bid, ask = book.best_bid_tick, book.best_ask_tick
        there = bid not in (None, NO_BID) and ask not in (None, NO_ASK)
        want = (bid * 0.1 + ask * 0.1) / 2 if there else math.nan
        assert mid == pytest.approx(want, rel=1e-15, nan_ok=True)
    assert math.isnan(found[0])
    assert not np.isnan(found[1:]).all()


def test_as_fills_say():
    """A fill has the price that its strategy saw when it learned of it."""
    session = backtested()
    for number in range(2):
        fills = session.fills[session.fills["instrument"] == number]
        known = session.mids[session.mids["instrument"] == number]
        place = np.searchsorted(known["ts"], fills["local_ts"])
        assert np.array_equal(known["mid"][place], fills["mid_price"])
