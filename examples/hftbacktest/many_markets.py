"""Making several markets at once: one loop, a quote a side in each, and the risk spread over all of them.

Half spread and skew go by each market's own volatility, so that one setting does for all. Assets may be of
any kind; here a linear future, and an inverse one whose quantities are contracts and whose money is coin.

Run it on recordings of one time (docs/data.md): ``python many_markets.py linear.npz inverse.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import InverseAssetRecord, LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt
from engine.backtest.hbt import ALL_ASSETS

SECOND = 1_000_000_000


@njit
def many_markets(hbt, recorder, interval, decay, half_spread, skew, qtys, max_orders):
    """Requotes all assets again and again until the recordings end.

    Args:
        hbt: A backtest of any number of assets.
        recorder: What ``Recorder.recorder`` gives.
        interval: Nanoseconds between two looks at the markets.
        decay: What is left of a squared move in the volatility after a look.
        half_spread: From the mid price to our order, in volatilities.
        skew: By how much one order's worth of position moves both, in volatilities.
        qtys: Of an order, for each asset.
        max_orders: Position, in orders, at which nothing is added to it.
    """
    mids = np.full(hbt.num_assets, np.nan)
    variances = np.full(hbt.num_assets, np.nan)
    while hbt.elapse(interval) == 0:
        hbt.clear_inactive_orders(ALL_ASSETS)
        for i in range(hbt.num_assets):
            depth = hbt.depth(i)
            mid = (depth.best_bid_tick + depth.best_ask_tick) / 2.0
            if not np.isfinite(depth.best_bid + depth.best_ask):
                continue  # a side of the book is empty
            move = mid - mids[i]
            mids[i] = mid
            if not np.isfinite(move):
                continue  # the first look at it
            if not np.isfinite(variances[i]):
                variances[i] = 1.0
            variances[i] = decay * variances[i] + (1.0 - decay) * move**2
            volatility = np.sqrt(variances[i])
            orders_held = hbt.position(i) / qtys[i]
            fair = mid - skew * volatility * orders_held
            bid_tick = min(int(np.floor(fair - half_spread * volatility)), depth.best_bid_tick)
            ask_tick = max(int(np.ceil(fair + half_spread * volatility)), depth.best_ask_tick)
            bids = 1 if orders_held < max_orders else 0
            asks = 1 if orders_held > -max_orders else 0
            requote(hbt, i, bid_tick, ask_tick, 1, bids, asks, qtys[i])
        recorder.record(hbt)


def described(path, kind, contract_size, lot_size):
    """An asset on a recording."""
    asset = (
        hbt.BacktestAsset()
        .data(path)
        .constant_order_latency(10_000_000, 10_000_000)
        .power_prob_queue_model(3.0)
        .no_partial_fill_exchange()
        .trading_value_fee_model(-0.00005, 0.0007)
        .tick_size(0.1)
        .lot_size(lot_size)
    )
    return asset.inverse_asset(contract_size) if kind == "inverse" else asset.linear_asset(contract_size)


def main(linear, inverse):
    """Runs it on recordings and prints the statistics."""
    assets = [described(linear, "linear", 1.0, 0.001), described(inverse, "inverse", 100.0, 1.0)]
    backtest = hbt.HashMapMarketDepthBacktest(assets)
    recorder = hbt.Recorder(2, 1_000_000)
    many_markets(backtest, recorder.recorder, SECOND // 10, 0.99, 1.0, 0.2, np.array([0.01, 6.0]), 10)
    backtest.close()
    print(LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary())
    print(InverseAssetRecord(recorder.get(1)).contract_size(100.0).stats(book_size=0.2).summary())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
