"""Market making around a price that follows the imbalance of the order book.

More quantity bid than offered near the market tends to be followed by a higher price. The imbalance is taken
in standard deviations of its own last minutes, so that one setting does for quiet and for busy hours.

Run it on a recording of BTCUSDT (docs/data.md): ``python book_imbalance.py btcusdt.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt

SECOND = 1_000_000_000


@njit
def imbalance(depth, reach):
    """Quantity bid less quantity offered within a fraction of the mid price, as far as the arrays go."""
    mid = (depth.best_bid_tick + depth.best_ask_tick) / 2.0
    first = depth.roi_lb_tick
    best_bid, best_ask = depth.best_bid_tick - first, depth.best_ask_tick - first
    lowest = max(int(np.ceil(mid * (1.0 - reach))) - first, 0)
    highest = min(int(np.floor(mid * (1.0 + reach))) - first, len(depth.ask_depth) - 1)
    return np.sum(depth.bid_depth[lowest : best_bid + 1]) - np.sum(depth.ask_depth[best_ask : highest + 1])


@njit
def book_imbalance(
    hbt, recorder, interval, reach, window, weight, half_spread, skew, levels, qty, max_position
):
    """Requotes again and again until the recording ends.

    Args:
        hbt: A ``ROIVectorMarketDepthBacktest`` of one asset.
        recorder: What ``Recorder.recorder`` gives.
        interval: Nanoseconds between two looks at the market.
        reach: How far from the mid price quantities count, as a fraction of it.
        window: Looks that the imbalance is compared with.
        weight: Ticks by which one standard deviation of imbalance moves the price we think fair.
        half_spread: Ticks from that price to our first order of a side.
        skew: Ticks by which one order's worth of position moves it back.
        levels: Orders a side, a tick apart.
        qty: Of an order.
        max_position: No more orders on the side that would add to a position of it.
    """
    seen = np.full(window, np.nan)
    t = 0
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        if not np.isfinite(depth.best_bid + depth.best_ask):
            continue  # a side of the book is empty
        seen[t % window] = now = imbalance(depth, reach)
        t += 1
        recorder.record(hbt)
        deviation = np.nanstd(seen)
        if deviation == 0.0:
            continue  # nothing to compare with yet
        alpha = weight * (now - np.nanmean(seen)) / deviation
        position = hbt.position(0)
        mid = (depth.best_bid_tick + depth.best_ask_tick) / 2.0
        fair = mid + alpha - skew * position / qty
        bid_tick = min(int(np.floor(fair - half_spread)), depth.best_bid_tick)
        ask_tick = max(int(np.ceil(fair + half_spread)), depth.best_ask_tick)
        bids = levels if position < max_position else 0
        asks = levels if position > -max_position else 0
        requote(hbt, 0, bid_tick, ask_tick, 1, bids, asks, qty)


def main(path):
    """Runs it on a recording and prints the statistics."""
    asset = (
        hbt.BacktestAsset()
        .data(path)
        .linear_asset(1.0)
        .constant_order_latency(10_000_000, 10_000_000)
        .power_prob_queue_model(3.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(0.1)
        .lot_size(0.001)
        .roi_lb(40_000.0)
        .roi_ub(80_000.0)
    )
    backtest = hbt.ROIVectorMarketDepthBacktest([asset])
    recorder = hbt.Recorder(1, 1_000_000)
    book_imbalance(backtest, recorder.recorder, SECOND // 2, 0.001, 1200, 20.0, 10.0, 2.0, 1, 0.01, 0.1)
    backtest.close()
    print(LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary())


if __name__ == "__main__":
    main(sys.argv[1])
