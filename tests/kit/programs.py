"""Random calls to a polled backtest, made compiled on hftbacktest and on ours, and what each shows."""

from __future__ import annotations

import numpy as np
from numba import njit

call_dtype = np.dtype(
    [
        ("op", "i8"),
        ("id", "u8"),
        ("ns", "i8"),
        ("ticks", "i8"),
        ("qty", "f8"),
        ("time_in_force", "i8"),
        ("order_type", "i8"),
    ]
)

ELAPSE, NEXT_FEED, NEXT_ANY, BUY, SELL, CANCEL = range(6)
MODIFY, WAIT, CLEAR, CLEAR_TRADES, BUY_WAIT, CANCEL_WAIT = range(6, 12)
CLOCK = 1_000_000_000_000
"""Times are compared modulo this, so that a double holds them."""

COLUMNS = (
    "result",
    "now",
    "position",
    "balance",
    "fee",
    "num_trades",
    "trading_volume",
    "trading_value",
    "best_bid_tick",
    "best_ask_tick",
    "best_bid",
    "best_ask",
    "bid_qty",
    "ask_qty",
    "feed_exch",
    "feed_local",
    "sent",
    "reached",
    "answered",
    "trades",
    "traded",
    "orders",
    "order_sum",
)


@njit
def _order_sum(orders, ids):
    """A number of everything a strategy can read of its orders, and how many there are."""
    total = 0.0
    count = 0
    for order_id in range(1, ids + 1):
        order = orders.get(order_id)
        if order is None:
            continue
        count += 1
        weight = 1.0 + 0.001 * order_id
        total += weight * (
            order.qty
            + 3.0 * order.leaves_qty
            + 0.01 * order.price_tick
            + 7.0 * order.req
            + 11.0 * order.status
            + 13.0 * order.side
            + 17.0 * order.time_in_force
            + 19.0 * order.order_type
            + 1e-9 * (order.exch_timestamp % 1_000_000_000)
            + 3e-9 * (order.local_timestamp % 1_000_000_000)
        )
        if order.status == 3 or order.status == 5:
            total += weight * (order.exec_qty + 0.02 * order.exec_price_tick)
        if order.cancellable:
            total += 23.0
        if order_id not in orders:
            total += 1e9
    return count, total


@njit
def run_program(hbt, asset, calls, out):
    """Makes the calls on one asset and writes a row of ``COLUMNS`` after each; returns how many were made.

    Stops when hftbacktest reports an error of its venue, or has filled a market order at the price of a side
    that is empty: after that it is in no state to be compared.
    """
    ids = 0
    for i in range(len(calls)):
        call = calls[i]
        depth = hbt.depth(asset)
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        middle = 1000
        if bid > -(1 << 62):
            middle = bid
        elif ask < (1 << 62):
            middle = ask
        price = (middle + call["ticks"]) * depth.tick_size
        op = call["op"]
        known = call["id"] in hbt.orders(asset)
        result = 0
        if op == ELAPSE:
            result = hbt.elapse(call["ns"])
        elif op == NEXT_FEED:
            result = hbt.wait_next_feed(False, call["ns"])
        elif op == NEXT_ANY:
            result = hbt.wait_next_feed(True, call["ns"])
        elif op in (BUY, BUY_WAIT):
            ids = max(ids, call["id"])
            result = hbt.submit_buy_order(
                asset,
                call["id"],
                price,
                call["qty"],
                call["time_in_force"],
                call["order_type"],
                op == BUY_WAIT,
            )
        elif op == SELL:
            ids = max(ids, call["id"])
            result = hbt.submit_sell_order(
                asset, call["id"], price, call["qty"], call["time_in_force"], call["order_type"], False
            )
        elif op in (CANCEL, CANCEL_WAIT):
            result = hbt.cancel(asset, call["id"], op == CANCEL_WAIT)
        elif op == MODIFY:
            result = hbt.modify(asset, call["id"], price, call["qty"], False)
        elif op == WAIT:
            result = hbt.wait_order_response(asset, call["id"], call["ns"])
        elif op == CLEAR:
            hbt.clear_inactive_orders(asset)
        else:
            hbt.clear_last_trades(asset)
        state = hbt.state_values(asset)
        passes_time = op <= NEXT_ANY or op == WAIT or (op == BUY_WAIT and not known)
        if (passes_time and result >= 10) or abs(state.trading_value) > 1e12:
            return i
        depth = hbt.depth(asset)
        row = out[i]
        row[0], row[1] = result, hbt.current_timestamp % CLOCK
        row[2], row[3], row[4] = hbt.position(asset), state.balance, state.fee
        row[5], row[6], row[7] = state.num_trades, state.trading_volume, state.trading_value
        row[8], row[9] = depth.best_bid_tick, depth.best_ask_tick
        row[10], row[11] = depth.best_bid, depth.best_ask
        row[12] = depth.bid_qty_at_tick(middle)
        row[13] = depth.ask_qty_at_tick(middle)
        feed = hbt.feed_latency(asset)
        if feed is not None:
            exch_ts, local_ts = feed
            row[14], row[15] = exch_ts % CLOCK, local_ts % CLOCK
        latency = hbt.order_latency(asset)
        if latency is not None:
            sent, reached, answered = latency
            row[16], row[17] = sent % CLOCK, reached % CLOCK
            row[18] = answered % CLOCK
        trades = hbt.last_trades(asset)
        row[19] = len(trades)
        row[20] = 0.0
        for trade in trades:
            row[20] += trade.qty * trade.px + 1e-9 * (trade.local_ts % 1_000_000_000)
        row[21], row[22] = _order_sum(hbt.orders(asset), ids)
    return len(calls)


def random_program(
    seed: int, calls: int, *, step_ns: int, reach: int = 4, lot_size: float = 0.01
) -> np.ndarray:
    """Calls at random: many let time pass, ids come again, orders cross, rest far away, are tiny or huge.

    Args:
        seed: Of everything.
        calls: How many.
        step_ns: Durations are multiples of it, so that many times coincide with the feed's.
        reach: How many ticks from the best bid most orders are.
        lot_size: Of the asset.

    Returns:
        ``call_dtype`` array of shape ``(calls,)``; the first lets time pass, which is what starts it.
    """
    rng = np.random.default_rng(seed)
    program = np.zeros(calls, call_dtype)
    program["op"] = rng.choice(
        12, calls, p=[0.22, 0.07, 0.08, 0.15, 0.15, 0.11, 0.08, 0.04, 0.04, 0.02, 0.02, 0.02]
    )
    program["op"][0] = ELAPSE
    program["id"] = rng.integers(1, max(calls // 4, 2), calls)
    program["ns"] = rng.choice([0, 1, 2, 3, 8, 20], calls) * step_ns
    far = rng.random(calls) < 0.1
    program["ticks"] = np.where(far, rng.integers(-300, 300, calls), rng.integers(-reach, reach + 1, calls))
    lots = rng.choice(
        [1.0, 2.0, 5.0, 30.0, 1e-3, 1e6, 0.37], calls, p=[0.4, 0.2, 0.15, 0.1, 0.05, 0.05, 0.05]
    )
    program["qty"] = lots * lot_size
    program["time_in_force"] = rng.choice(4, calls, p=[0.4, 0.4, 0.1, 0.1])
    program["order_type"] = rng.choice(2, calls, p=[0.93, 0.07])
    return program


def rows_before(rows: np.ndarray, times: np.ndarray) -> int:
    """After how many calls the first of some moments had not come yet.

    Args:
        rows: What was written after each call.
        times: The moments, of shape ``(n,)``, in nanoseconds.
    """
    now = (rows[:, COLUMNS.index("now")] - rows[0, COLUMNS.index("now")]) % CLOCK
    since = (times - rows[0, COLUMNS.index("now")]) % CLOCK
    return int((now < since.min()).sum()) if len(times) else len(rows)


def first_difference(theirs: np.ndarray, ours: np.ndarray, calls: np.ndarray, log: np.ndarray) -> str:
    """Which call is the first after which two logs differ, and in what; empty when they agree to 1e-9.

    Which of several answers of one instant comes last is up to a hash in hftbacktest, and shows in ``sent``.

    Args:
        theirs: hftbacktest's rows.
        ours: Our rows, as many.
        calls: What was called.
        log: Our order log.
    """
    same = np.isclose(theirs, ours, rtol=1e-9, atol=1e-9, equal_nan=True)
    times, counts = np.unique(log["ts"][log["answer"]] % CLOCK, return_counts=True)
    tied = np.isin(ours[:, COLUMNS.index("answered")], times[counts > 1])
    same[tied, COLUMNS.index("sent")] = True
    if same.all():
        return ""
    row = int(np.flatnonzero(~same.all(axis=1))[0])
    columns = {COLUMNS[i]: (float(theirs[row, i]), float(ours[row, i])) for i in np.flatnonzero(~same[row])}
    return f"after call {row} {calls[row]}: hftbacktest's and ours are {columns}"
