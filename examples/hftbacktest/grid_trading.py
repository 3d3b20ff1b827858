"""High-frequency grid trading: orders at fixed distances around the mid price, leaning against the position.

Run it on a recording of BTCUSDT (docs/data.md): ``python grid_trading.py btcusdt.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt

SECOND = 1_000_000_000


@njit
def grid_trading(hbt, recorder, interval, half_spread, step, levels, skew, qty, max_position):
    """Requotes a grid again and again until the recording ends.

    Args:
        hbt: A backtest of one asset.
        recorder: What ``Recorder.recorder`` gives.
        interval: Nanoseconds between two looks at the market.
        half_spread: Ticks from the price we think fair to the first order of a side.
        step: Ticks between orders.
        levels: Orders a side.
        skew: Ticks by which one order's worth of position moves the price we think fair.
        qty: Of an order.
        max_position: No more orders on the side that would add to a position of it.
    """
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        mid = (depth.best_bid + depth.best_ask) / 2.0
        if not np.isfinite(mid):
            continue  # a side of the book is empty
        position = hbt.position(0)
        fair = mid / depth.tick_size - skew * position / qty
        # Never through the market, and always on the grid: else every move of the price is a new queue.
        bid = min(fair - half_spread, depth.best_bid_tick)
        ask = max(fair + half_spread, depth.best_ask_tick)
        bid_tick = int(np.floor(bid / step)) * step
        ask_tick = int(np.ceil(ask / step)) * step
        bids = levels if position < max_position else 0
        asks = levels if position > -max_position else 0
        requote(hbt, 0, bid_tick, ask_tick, step, bids, asks, qty)
        recorder.record(hbt)


def main(path):
    """Runs it on a recording and prints the statistics."""
    asset = (
        hbt.BacktestAsset()
        .data(path)
        .linear_asset(1.0)
        .constant_order_latency(10_000_000, 10_000_000)
        .power_prob_queue_model(2.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(0.1)
        .lot_size(0.001)
    )
    backtest = hbt.HashMapMarketDepthBacktest([asset])
    recorder = hbt.Recorder(1, 1_000_000)
    grid_trading(backtest, recorder.recorder, SECOND // 10, 20.0, 10, 10, 2.0, 0.01, 0.1)
    backtest.close()
    print(LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary())


if __name__ == "__main__":
    main(sys.argv[1])
