"""Market making where the tick is large: the spread is one tick, and what counts is the place in the queue.

Prices hardly leave room to quote, so the strategy only asks on which of the best prices to stay. The fair
price lies between them: nearer to the side with less quantity (it will give way first), and moved by the last
trade. An order stays, and comes forward in its queue, until the fair price is within half a tick of it.

Run it on a recording of BTCUSDT (docs/data.md): ``python queue_position.py btcusdt.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt
from engine.backtest.hbt import BUY_EVENT

SECOND = 1_000_000_000


@njit
def last_trade_qty(trades):
    """Quantity of the last trade, negative of a sale; 0 without any."""
    if len(trades) == 0:
        return 0.0
    trade = trades[-1]
    return trade.qty if trade.ev & BUY_EVENT == BUY_EVENT else -trade.qty


@njit
def queue_position(hbt, recorder, interval, window, half_spread, impulse, levels, qty, max_position):
    """Requotes again and again until the recording ends.

    Args:
        hbt: A ``ROIVectorMarketDepthBacktest`` of one asset that keeps last trades.
        recorder: What ``Recorder.recorder`` gives.
        interval: Nanoseconds between two looks at the market.
        window: Looks over which the quantity at the best prices is averaged.
        half_spread: Ticks from the fair price to our first order; just under half a tick stays at the best.
        impulse: Half ticks by which a trade of the average best quantity moves the fair price.
        levels: Orders a side, a tick apart.
        qty: Of an order.
        max_position: No more orders on the side that would add to a position of it; the fair price leans by
            ``half_spread`` against one of this size.
    """
    best_qtys = np.full(window, np.nan)
    t = 0
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        if not np.isfinite(depth.best_bid + depth.best_ask):
            continue  # a side of the book is empty
        best_bid, best_ask = depth.best_bid_tick, depth.best_ask_tick
        bid_qty = depth.bid_depth[best_bid - depth.roi_lb_tick]
        ask_qty = depth.ask_depth[best_ask - depth.roi_lb_tick]
        best_qtys[t % window] = bid_qty + ask_qty
        t += 1
        pressure = (best_bid * ask_qty + best_ask * bid_qty) / (bid_qty + ask_qty)
        moved = impulse / 2.0 * last_trade_qty(hbt.last_trades(0)) / np.nanmean(best_qtys)
        hbt.clear_last_trades(0)
        position = hbt.position(0)
        fair = pressure + moved - half_spread * position / max_position
        bid_tick = int(np.floor(min(fair - half_spread, best_bid)))
        ask_tick = int(np.ceil(max(fair + half_spread, best_ask)))
        bids = levels if position < max_position else 0
        asks = levels if position > -max_position else 0
        requote(hbt, 0, bid_tick, ask_tick, 1, bids, asks, qty)
        recorder.record(hbt)


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
        .last_trades_capacity(1000)
    )
    backtest = hbt.ROIVectorMarketDepthBacktest([asset])
    recorder = hbt.Recorder(1, 1_000_000)
    queue_position(backtest, recorder.recorder, SECOND // 10, 600, 0.49, 1.0, 5, 0.01, 0.1)
    backtest.close()
    print(LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary())


if __name__ == "__main__":
    main(sys.argv[1])
