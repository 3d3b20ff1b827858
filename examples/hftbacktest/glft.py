"""Market making by Guéant, Lehalle and Fernandez-Tapia, calibrated to the last minute as it goes.

The model says how far from the mid price to quote, and how far to lean against the position, given how fast
the market moves and how often its orders reach a given depth: A * exp(-k * depth) times a second (O. Guéant,
"Optimal market making", arXiv 1605.01862, equations 4.6 and 4.7). A and k come from a line through the
logarithms of what was measured.

Run it on a recording of BTCUSDT (docs/data.md): ``python glft.py btcusdt.npz``.
"""

import sys

import numpy as np
from hftbacktest.stats import LinearAssetRecord
from numba import njit
from quoting import requote

import engine.backtest.hbt as hbt
from engine.backtest.hbt import BUY_EVENT

SECOND = 1_000_000_000

calibration_dtype = np.dtype(
    [("half_spread", "f8"), ("skew", "f8"), ("volatility", "f8"), ("A", "f8"), ("k", "f8")]
)
"""What the model said at each look: ticks, ticks for one order's worth of position, ticks a root second."""


@njit
def deepest_arrival(trades, mid, tick_size):
    """How many ticks beyond a mid price (in ticks) the market's orders went; -inf without any."""
    deepest = -np.inf
    for trade in trades:
        away = trade.px / tick_size - mid
        deepest = max(deepest, away if trade.ev & BUY_EVENT == BUY_EVENT else -away)
    return deepest


@njit
def trading_intensity(arrivals, seconds, counts):
    """How many times a second a quote would have been hit, half a tick from the mid price and every tick on.

    Args:
        arrivals: The deepest arrival of each interval; those that are not finite count for none.
        seconds: How long they took.
        counts: Room for the result.

    Returns:
        The part of ``counts`` up to the deepest.
    """
    counts[:] = 0.0
    deepest = 0
    for arrival in arrivals:
        if np.isfinite(arrival) and arrival > 0.5:
            reached = min(int(np.ceil(arrival - 0.5)), len(counts))
            counts[:reached] += 1.0
            deepest = max(deepest, reached)
    counts /= seconds
    return counts[:deepest]


@njit
def line(y):
    """Slope, and value at 0, of the least squares line through y at 0.5, 1.5, ..."""
    x = np.arange(len(y)) + 0.5
    slope = np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2)
    return slope, y.mean() - slope * x.mean()


@njit
def coefficients(gamma, A, k):
    """The model's c1 and c2, for one risk aversion and orders of one unit."""
    c1 = np.log(1.0 + gamma / k) / gamma
    c2 = np.sqrt(gamma / (2.0 * A * k) * (1.0 + gamma / k) ** (k / gamma + 1.0))
    return c1, c2


@njit
def glft(hbt, recorder, out, interval, window, every, fitted, gamma, lean, qty, max_position):
    """Quotes one order a side where the model wants it, until the recording ends.

    Args:
        hbt: A backtest of one asset that keeps last trades.
        recorder: What ``Recorder.recorder`` gives.
        out: ``calibration_dtype`` array, a row for each look at the market.
        interval: Nanoseconds between two looks.
        window: Looks that a calibration goes by.
        every: Looks between two calibrations.
        fitted: Ticks from the mid price that A and k are fitted to.
        gamma: Risk aversion.
        lean: What the model's skew is multiplied by.
        qty: Of an order.
        max_position: No more orders on the side that would add to a position of it.

    Returns:
        The rows of ``out`` that were written.
    """
    looks_a_second = 1e9 / interval
    arrivals = np.full(window, np.nan)
    moves = np.full(window, np.nan)
    counts = np.zeros(500)
    mid = A = k = volatility = np.nan
    t = 0
    while hbt.elapse(interval) == 0:
        depth = hbt.depth(0)
        if not np.isfinite(depth.best_bid + depth.best_ask):
            continue  # a side of the book is empty
        last_mid = mid
        mid = (depth.best_bid_tick + depth.best_ask_tick) / 2.0
        arrivals[t % window] = deepest_arrival(hbt.last_trades(0), last_mid, depth.tick_size)
        moves[t % window] = mid - last_mid
        hbt.clear_last_trades(0)
        hbt.clear_inactive_orders(0)
        if t % every == 0 and t >= window:
            intensity = trading_intensity(arrivals, window / looks_a_second, counts)[:fitted]
            if len(intensity) > 2:
                slope, at_mid = line(np.log(intensity))
                A, k = np.exp(at_mid), -slope
            volatility = np.nanstd(moves) * np.sqrt(looks_a_second)
        c1, c2 = coefficients(gamma, A, k)
        half_spread = c1 + c2 * volatility / 2.0
        skew = c2 * volatility * lean
        position = hbt.position(0)
        fair = mid - skew * position / qty
        if np.isfinite(fair + half_spread):
            bid_tick = min(int(np.round(fair - half_spread)), depth.best_bid_tick)
            ask_tick = max(int(np.round(fair + half_spread)), depth.best_ask_tick)
            bids = 1 if position < max_position else 0
            asks = 1 if position > -max_position else 0
            requote(hbt, 0, bid_tick, ask_tick, 1, bids, asks, qty)
        row = out[t]
        row.half_spread, row.skew, row.volatility, row.A, row.k = half_spread, skew, volatility, A, k
        t += 1
        recorder.record(hbt)
    return out[:t]


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
        .last_trades_capacity(10_000)
    )
    backtest = hbt.HashMapMarketDepthBacktest([asset])
    recorder = hbt.Recorder(1, 1_000_000)
    out = np.zeros(1_000_000, calibration_dtype)
    out = glft(backtest, recorder.recorder, out, SECOND // 10, 600, 50, 70, 0.05, 0.05, 0.01, 0.1)
    backtest.close()
    print("the last calibration:", dict(zip(calibration_dtype.names, out[-1].item(), strict=True)))
    print(LinearAssetRecord(recorder.get(0)).stats(book_size=10_000).summary())


if __name__ == "__main__":
    main(sys.argv[1])
