"""hftbacktest as oracle and as rival: its set-up from our configuration, and our strategies in Numba.

``market_maker`` is ``engine.strategy.native:MarketMaker`` line by line (the rules are in that class's
documentation); ``crosser`` is ``tests/kit/crosser.py``. Both record each fill as they see it.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

import hftbacktest
import numpy as np
from hftbacktest import (
    FILLED,
    GTC,
    GTX,
    LIMIT,
    MARKET,
    NEW,
    NONE,
)
from hftbacktest.order import BUY, FOK, IOC
from numba import njit

from engine.backtest.config import AssetConfig

fill_dtype = np.dtype(
    [("exch_ts", "i8"), ("price_tick", "i8"), ("lots", "i8"), ("side", "i8"), ("maker", "i8")], align=True
)
MARKET_MAKER_DEFAULTS = {
    "interval_ns": 100_000_000,
    "half_spread": 5.0,
    "relative_half_spread": 0.0,
    "skew": 0.5,
    "order_qty": 0.01,
    "max_position": 0.1,
    "grid_num": 1,
    "grid_interval": 1,
}


class PeerResult(NamedTuple):
    """What hftbacktest came to; the numbers have its names."""

    fills: np.ndarray
    position: float
    balance: float
    fee: float
    num_trades: int
    trading_volume: float
    trading_value: float


def build(
    asset: AssetConfig,
    events: np.ndarray,
    roi: tuple[float, float] | None = None,
    package: ModuleType = hftbacktest,
    threads: int = 1,
):
    """Makes a polled backtest.

    Args:
        asset: Our configuration.
        events: The data.
        roi: Lower and upper price of its vector book; without it, its hash map book.
        package: ``hftbacktest``, or ``engine.backtest.hbt``, which has the same interface.
        threads: How many the latter may use.
    """
    how = {} if package is hftbacktest else {"threads": threads}
    peer = package.BacktestAsset().data(events)
    if asset.asset == "inverse":
        peer.inverse_asset(asset.contract_size)
    else:
        peer.linear_asset(asset.contract_size)
    peer.constant_order_latency(asset.entry_latency_ns, asset.response_latency_ns)
    has_exponent = asset.queue_model.startswith("power_prob")
    getattr(peer, asset.queue_model)(*([asset.queue_n] if has_exponent else []))
    peer.no_partial_fill_exchange()
    getattr(peer, asset.fee_model)(asset.maker_fee, asset.taker_fee)
    peer.tick_size(asset.tick_size).lot_size(asset.lot_size)
    if roi is None:
        return package.HashMapMarketDepthBacktest([peer], **how)
    peer.roi_lb(roi[0]).roi_ub(roi[1])
    return package.ROIVectorMarketDepthBacktest([peer], **how)


def finish(hbt, fills: np.ndarray, n: int) -> PeerResult:
    """Takes the results and closes the backtest."""
    state = hbt.state_values(0)
    result = PeerResult(
        fills[:n].copy(),
        state.position,
        state.balance,
        state.fee,
        state.num_trades,
        state.trading_volume,
        state.trading_value,
    )
    hbt.close()
    return result


def run_market_maker(
    asset: AssetConfig,
    events: np.ndarray,
    roi: tuple[float, float] | None = None,
    *,
    record: bool = True,
    package: ModuleType = hftbacktest,
    threads: int = 1,
    **params: float,
) -> PeerResult:
    """Runs the market maker in a polled backtest.

    Args:
        asset: Our configuration.
        events: The data.
        roi: As :func:`build`.
        record: Whether to record the fills, which costs another look at each order at each poll.
        package: As :func:`build`.
        threads: As :func:`build`.
        **params: Parameters of the market maker that differ from the defaults.
    """
    values = MARKET_MAKER_DEFAULTS | params
    hbt = build(asset, events, roi, package, threads)
    fills = np.zeros(max(len(events), 1024) if record else 1, fill_dtype)
    n = market_maker(hbt, *values.values(), fills, record)
    return finish(hbt, fills, n)


def run_crosser(
    asset: AssetConfig, events: np.ndarray, interval_ns: int, order_qty: float, modify_ticks: int = 2
) -> PeerResult:
    """Runs the crosser in hftbacktest.

    Args:
        asset: Our configuration.
        events: The data.
        interval_ns: As the strategy's parameter.
        order_qty: As the strategy's parameter.
        modify_ticks: As the strategy's parameter.
    """
    hbt = build(asset, events)
    fills = np.zeros(max(len(events), 1024), fill_dtype)
    n = crosser(hbt, interval_ns, order_qty, modify_ticks, fills)
    return finish(hbt, fills, n)


@njit
def record_fills(hbt, fills, n):
    """Appends the orders that have filled since they were last cleared, and clears the ended ones."""
    lot_size = hbt.depth(0).lot_size
    orders = hbt.orders(0).values()
    while orders.has_next():
        order = orders.get()
        if order.status == FILLED:
            fills[n].exch_ts = order.exch_timestamp
            fills[n].price_tick = order.exec_price_tick
            fills[n].lots = math.floor(order.exec_qty / lot_size + 0.5)
            fills[n].side = order.side
            fills[n].maker = order.arr[0].maker
            n += 1
    hbt.clear_inactive_orders(0)
    return n


@njit
def market_maker(
    hbt,
    interval_ns,
    half_spread,
    relative_half_spread,
    skew,
    order_qty,
    max_position,
    grid_num,
    grid_interval,
    fills,
    record,
):
    """Runs to the end of the data and returns the number of fills."""
    tick_size = hbt.depth(0).tick_size
    lot_size = hbt.depth(0).lot_size
    order_lots = max(1, math.floor(order_qty / lot_size + 0.5))
    max_lots = math.floor(max_position / lot_size + 1e-6)
    qty = order_lots * lot_size
    order_id = 1
    n = 0
    have_bid = np.zeros(grid_num, np.bool_)
    have_ask = np.zeros(grid_num, np.bool_)
    while hbt.elapse(interval_ns) == 0:
        if record:
            n = record_fills(hbt, fills, n)
        else:
            hbt.clear_inactive_orders(0)
        depth = hbt.depth(0)
        if math.isnan(depth.best_bid) or math.isnan(depth.best_ask):
            continue
        position = math.floor(hbt.position(0) / lot_size + 0.5)
        mid = (depth.best_bid_tick + depth.best_ask_tick) / 2.0
        half = half_spread + relative_half_spread * mid
        middle = mid - skew * (position / order_lots)
        bid = min(math.floor(middle - half), depth.best_bid_tick)
        ask = max(math.ceil(middle + half), depth.best_ask_tick)
        n_bids = max(0, min(grid_num, (max_lots - position) // order_lots))
        n_asks = max(0, min(grid_num, (max_lots + position) // order_lots))
        have_bid[:] = False
        have_ask[:] = False
        orders = hbt.orders(0).values()
        while orders.has_next():
            order = orders.get()
            off = bid - order.price_tick if order.side == BUY else order.price_tick - ask
            wanted = n_bids if order.side == BUY else n_asks
            level = off // grid_interval
            if off >= 0 and off % grid_interval == 0 and level < wanted:
                if order.side == BUY:
                    have_bid[level] = True
                else:
                    have_ask[level] = True
            elif order.req == NONE:
                hbt.cancel(0, order.order_id, False)
        for i in range(n_bids):
            tick = bid - i * grid_interval
            if tick > 0 and not have_bid[i]:
                hbt.submit_buy_order(0, order_id, tick * tick_size, qty, GTX, LIMIT, False)
                order_id += 1
        for i in range(n_asks):
            tick = ask + i * grid_interval
            if tick > 0 and not have_ask[i]:
                hbt.submit_sell_order(0, order_id, tick * tick_size, qty, GTX, LIMIT, False)
                order_id += 1
    return record_fills(hbt, fills, n) if record else 0


@njit
def crosser(hbt, interval_ns, order_qty, modify_ticks, fills):
    """Runs to the end of the data and returns the number of fills."""
    tick_size = hbt.depth(0).tick_size
    lot_size = hbt.depth(0).lot_size
    lots = max(1, math.floor(order_qty / lot_size + 0.5))
    qty = lots * lot_size
    order_id = 1
    k = -1
    n = 0
    while hbt.elapse(interval_ns) == 0:
        n = record_fills(hbt, fills, n)
        depth = hbt.depth(0)
        if math.isnan(depth.best_bid) or math.isnan(depth.best_ask):
            continue
        k += 1
        oldest = np.uint64(0)
        oldest_tick = 0
        oldest_side = 0
        oldest_lots = 0
        orders = hbt.orders(0).values()
        while orders.has_next():
            order = orders.get()
            if order.status == NEW and order.req == NONE and (oldest == 0 or order.order_id < oldest):
                oldest = order.order_id
                oldest_tick = order.price_tick
                oldest_side = order.side
                oldest_lots = math.floor(order.qty / lot_size + 0.5)
        if oldest != 0:
            if k % 5 == 3:
                step = modify_ticks if oldest_side == BUY else -modify_ticks
                hbt.modify(0, oldest, (oldest_tick + step) * tick_size, oldest_lots * lot_size, False)
            elif k % 5 == 4 and oldest_lots > 1:
                hbt.modify(0, oldest, oldest_tick * tick_size, (oldest_lots - 1) * lot_size, False)
            elif k % 7 == 6:
                hbt.cancel(0, oldest, False)
        bid = depth.best_bid_tick
        ask = depth.best_ask_tick
        step = k % 8
        if step == 0:
            hbt.submit_buy_order(0, order_id, ask * tick_size, qty, GTC, LIMIT, False)
        elif step == 1:
            hbt.submit_sell_order(0, order_id, bid * tick_size, qty, GTC, LIMIT, False)
        elif step == 2:
            hbt.submit_buy_order(0, order_id, bid * tick_size, qty, IOC, LIMIT, False)
        elif step == 3:
            hbt.submit_sell_order(0, order_id, (bid - 5) * tick_size, qty, FOK, LIMIT, False)
        elif step == 4:
            hbt.submit_buy_order(0, order_id, ask * tick_size, qty, GTC, MARKET, False)
        elif step == 5:
            hbt.submit_sell_order(0, order_id, bid * tick_size, qty, GTC, MARKET, False)
        elif step == 6:
            hbt.submit_buy_order(0, order_id, ask * tick_size, qty, GTX, LIMIT, False)
        else:
            hbt.submit_sell_order(0, order_id, (ask + 1) * tick_size, qty, GTX, LIMIT, False)
        order_id += 1
    return record_fills(hbt, fills, n)
