"""Rows that both sides see go to both books at once: only where that is all that they do to either."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backtest import hbt

MIDDLE = 100_000
BOTH = hbt.EXCH_EVENT | hbt.LOCAL_EVENT
DEPTH, CLEAR = hbt.DEPTH_EVENT, hbt.DEPTH_CLEAR_EVENT


def recording(rows: list[tuple[int, int, int, float]]) -> np.ndarray:
    """Rows of (kind and side, who sees it, tick from the middle, quantity), a microsecond apart."""
    events = np.zeros(len(rows), hbt.event_dtype)
    for i, (what, seen, tick, qty) in enumerate(rows):
        events["ev"][i] = what | seen
        events["exch_ts"][i], events["local_ts"][i] = 1_000 * (i + 1), 1_000 * (i + 1) + 100
        events["px"][i], events["qty"][i] = MIDDLE + tick, qty
    return events


@pytest.mark.parametrize("seen", [hbt.EXCH_EVENT, hbt.LOCAL_EVENT], ids=["venue", "local"])
@pytest.mark.parametrize(("side", "sign"), [(hbt.BUY_EVENT, -1), (hbt.SELL_EVENT, 1)], ids=["bids", "asks"])
def test_a_level_beyond_all_others_of_one_book_only_is_found_when_it_is_the_best(seen, side, sign):
    """One side alone is told that its levels end: those that come after are beyond all others for it only."""
    other = hbt.SELL_EVENT if side == hbt.BUY_EVENT else hbt.BUY_EVENT
    events = recording(
        [
            (DEPTH | other, BOTH, -sign * 5, 9.0),
            (DEPTH | side, BOTH, sign * 10, 1.0),
            (DEPTH | side, BOTH, sign * 90, 1.0),
            (CLEAR | side, seen, sign * 200, 0.0),
            (DEPTH | side, BOTH, sign * 10, 1.0),
            (DEPTH | side, BOTH, sign * 20, 1.0),
            (DEPTH | side, BOTH, sign * 10, 0.0),
            (DEPTH | other, BOTH, -sign * 5, 8.0),
        ]
    )
    asset = hbt.BacktestAsset().data(events).tick_size(1.0).lot_size(0.01).constant_order_latency(10, 10)
    run = hbt.HashMapMarketDepthBacktest([asset])
    # A row that the venue alone sees lets it run ahead of us, up to where we look.
    run.elapse(3_500)
    run.elapse(100_000)
    depth = run.depth(0)
    assert (depth.best_bid_tick if sign < 0 else depth.best_ask_tick) == MIDDLE + sign * 20
    submit = run.submit_sell_order if sign < 0 else run.submit_buy_order
    submit(0, 1, MIDDLE + sign * 20, 0.5, hbt.GTC, hbt.LIMIT, False)
    run.elapse(1_000)
    assert run.position(0) == 0.5 * sign, "the venue has the level, too"
    run.check_invariants()
    run.close()
