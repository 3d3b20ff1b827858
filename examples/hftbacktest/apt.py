"""Market making on one market around a fair price taken from another (arbitrage pricing theory).

The return of a future follows that of its spot market, and what is left over returns to zero. So the fair
price of the future is its own average of the last minutes, moved by what spot has made since; both returns
are against averages, since a single past price is noise.

Run it on recordings of one time (docs/data.md): ``python apt.py futures.npz spot.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt

SECOND = 1_000_000_000
TRADED, LEADING = 0, 1


@njit
def mid_price(depth):
    """NaN when a side is empty."""
    return (depth.best_bid + depth.best_ask) / 2.0


@njit
def apt(hbt, recorder, interval, window, beta, half_spread, skew, levels, qty, max_position):
    """Requotes the first asset again and again until the recordings end.

    Args:
        hbt: A backtest of two assets: the one to trade, and the one that leads it.
        recorder: What ``Recorder.recorder`` gives.
        interval: Nanoseconds between two looks at the markets.
        window: Looks that averages are taken over; before, there are no orders.
        beta: What one of the leading asset's return makes of ours.
        half_spread: From the fair price to our first order of a side, as a fraction of it.
        skew: By how much one order's worth of position moves both, as a fraction of the price.
        levels: Orders a side, a tick apart.
        qty: Of an order.
        max_position: No more orders on the side that would add to a position of it.
    """
    own = np.full(window, np.nan)
    leading = np.full(window, np.nan)
    t = 0
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(TRADED)
        depth = hbt.depth(TRADED)
        mid, lead = mid_price(depth), mid_price(hbt.depth(LEADING))
        if not np.isfinite(mid + lead):
            continue  # a side of a book is empty
        own[t % window], leading[t % window] = mid, lead
        t += 1
        recorder.record(hbt)
        if t < window:
            continue
        fair = np.mean(own) * (1.0 + beta * (lead / np.mean(leading) - 1.0))
        position = hbt.position(TRADED)
        lean = skew * position / qty
        bid_tick = int(np.floor(min(fair * (1.0 - half_spread - lean), depth.best_bid) / depth.tick_size))
        ask_tick = int(np.ceil(max(fair * (1.0 + half_spread - lean), depth.best_ask) / depth.tick_size))
        bids = levels if position < max_position else 0
        asks = levels if position > -max_position else 0
        requote(hbt, TRADED, bid_tick, ask_tick, 1, bids, asks, qty)


def described(path, tick_size, lot_size, maker_fee):
    """An asset on a recording."""
    return (
        hbt.BacktestAsset()
        .data(path)
        .linear_asset(1.0)
        .constant_order_latency(10_000_000, 10_000_000)
        .power_prob_queue_model(3.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(maker_fee, 0.0007)
        .tick_size(tick_size)
        .lot_size(lot_size)
    )


def main(futures, spot):
    """Runs it on recordings and prints the statistics."""
    assets = [described(futures, 0.1, 0.001, -0.00005), described(spot, 0.01, 0.00001, 0.0)]
    backtest = hbt.HashMapMarketDepthBacktest(assets)
    recorder = hbt.Recorder(2, 1_000_000)
    apt(backtest, recorder.recorder, SECOND // 10, 600, 1.0, 0.0001, 0.00001, 1, 0.01, 0.1)
    backtest.close()
    print(LinearAssetRecord(recorder.get(TRADED)).stats(book_size=10_000).summary())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
