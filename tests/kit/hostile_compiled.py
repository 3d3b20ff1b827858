"""The same from compiled code: every method with hostile numbers, and what outlives the backtest."""

from __future__ import annotations

import gc

import numpy as np
from numba import njit
from numba.core.errors import NumbaError

from engine.backtest import hbt
from tests.kit.hostile import INTEGERS, NUMBERS, attempt, described, made, pick

CALLS = 30


@njit
def call(backtest, op, a, order_id, n, x, y, flag):
    """One call by number, with arguments of the right types; what it gives as a number."""
    if op == 0:
        return float(backtest.elapse(n))
    if op == 1:
        return float(backtest.elapse_bt(n))
    if op == 2:
        return float(backtest.wait_order_response(a, order_id, n))
    if op == 3:
        return float(backtest.wait_next_feed(flag, n))
    if op in (4, 5, 6):
        return float(backtest.submit_buy_order(a, order_id, x, y, n, a, flag))
    if op in (7, 8, 9):
        return float(backtest.submit_sell_order(a, order_id, x, 0.01, n % 4, 0, flag))
    if op == 10:
        return float(backtest.modify(a, order_id, x, y, flag))
    if op == 11:
        return float(backtest.cancel(a, order_id, flag))
    if op == 12:
        backtest.clear_inactive_orders(a)
    if op == 13:
        backtest.clear_last_trades(a)
    if op == 14:
        return backtest.position(a) + backtest.num_assets + backtest.current_timestamp
    if op == 15:
        return float(len(backtest.last_trades(a)))
    if op == 16 and backtest.feed_latency(a) is None:
        return 1.0
    if op == 17 and backtest.order_latency(a) is None:
        return 1.0
    if op > 17:
        return look(backtest, op, a, order_id, n)
    return 0.0


@njit
def look(backtest, op, a, order_id, n):
    """As ``call``, of what a market gives."""
    depth = backtest.depth(a)
    orders = backtest.orders(a)
    if op == 18:
        return depth.best_bid + depth.best_ask + depth.best_bid_qty + depth.best_ask_qty + depth.tick_size
    if op == 19:
        return depth.bid_qty_at_tick(n) + depth.ask_qty_at_tick(n)
    if op == 20:
        levels = depth.snapshot()
        depth.snapshot_free(levels)
        depth.snapshot_free(levels)
        depth.snapshot_free(np.zeros(3))
        return float(len(levels)) + levels["qty"].sum()
    if op == 21:
        order = orders.get(order_id)
        return -1.0 if order is None else order.price + order.qty + order.arr[0].leaves_qty + order.exec_price
    if op == 22:
        return float(len(orders)) + (order_id in orders)
    if op == 23:
        return walks(backtest, a, n % 40)
    if op == 24:
        return float(orders.values().get().order_id)
    if op == 25:
        state = backtest.state_values(a)
        return state.position + state.balance + state.fee + state.num_trades + state.arr[0].trading_value
    if op == 26 and backtest._goto_end() == 1:
        return 1.0
    if op == 27 and n == 7:
        return float(backtest.close())
    if op == 28:
        return backtest.queue_ahead(a, order_id) + backtest.queue_total(a, order_id)
    if op == 29:
        return backtest.funding_paid(a)
    return 0.0


@njit
def walks(backtest, a, n):
    """Many walks at once, orders cleared while they are under way."""
    orders = backtest.orders(a)
    first = orders.values()
    total = 0.0
    if first.has_next():
        for _ in range(n):
            other = orders.values()
            while other.has_next():
                total += other.get().qty
            total += other.next() is None
        if n % 2:
            backtest.clear_inactive_orders(-1)
        total += first.get().price
        last = first.next()
        if last is not None:
            total += last.qty
    return total


@njit
def arrays(backtest):
    """What outlives a backtest, when compiled code gives it back."""
    state, trades = backtest.state_values(0), backtest.last_trades(0)
    return trades, trades[1:], state.arr, backtest.depth(0).snapshot()


@njit
def ladders(backtest):
    """The same of the depth with ranges."""
    depth = backtest.depth(0)
    return depth.bid_depth, depth.ask_depth[3:]


@njit
def caught(backtest, n):
    """Goes on after a refusal, which belongs to Python: its caller hears of that."""
    total = 0
    for _ in range(3):
        try:
            total += backtest.elapse(n)
        except Exception:
            total += 1
    return total


@njit
def of_depth(depth):
    return depth.best_bid + depth.bid_qty_at_tick(1000) + len(depth.snapshot())


@njit
def of_orders(orders, order_id):
    values = orders.values()
    return len(orders) + (order_id in orders) + (1 if values.has_next() else 0)


@njit
def of_order(order):
    return order.price + order.order_id + order.arr[0].qty


@njit
def of_state(state):
    return state.position + state.arr[0].fee


def numbers(rng: np.random.Generator) -> tuple:
    """Arguments of ``call``; half of the time such as get through."""
    right = rng.random() < 0.5
    signed = [n for n in INTEGERS if -(2**63) <= n < 2**63]
    asset = int(rng.integers(2)) if right else pick(rng, signed)
    n = int(rng.integers(0, 20_000)) if right else pick(rng, signed)
    px = 490.0 + rng.integers(40) * 0.5 if right else pick(rng, NUMBERS)
    qty = 0.01 if right else pick(rng, NUMBERS)
    order_id = int(rng.integers(5)) if right else pick(rng, [n for n in INTEGERS if 0 <= n < 2**64])
    return asset, np.uint64(order_id), np.int64(n), float(px), float(qty), bool(rng.random() < 0.2)


def outlive(rng: np.random.Generator, backtest) -> None:
    """Keeps arrays and views of a backtest, lets it go, and reads them."""
    kept = [*arrays(backtest)]
    if isinstance(backtest, hbt.ROIVectorMarketDepthBacktest):
        kept += ladders(backtest)
    before = [array.tobytes() for array in kept]
    depth, orders, state = backtest.depth(0), backtest.orders(0), backtest.state_values(0)
    order = orders.get(1)
    del backtest
    gc.collect()
    others = [made(rng) for _ in range(3)]
    assert [array.tobytes() for array in kept] == before
    of_depth(depth), of_orders(orders, 2**64 - 1), of_state(state)
    if order is not None:
        of_order(order)
    del others


def wrong_types() -> None:
    """Numba refuses what has no type that fits, when it compiles."""
    backtest = hbt.HashMapMarketDepthBacktest([described(1)])
    for value in (None, "x", (1, 2), np.zeros(2), 1j):
        for function in (
            njit(lambda backtest, value: backtest.elapse(value)),
            njit(lambda backtest, value: backtest.depth(value).best_bid),
            njit(lambda backtest, value: backtest.orders(0).get(value) is None),
            njit(lambda backtest, value: backtest.submit_buy_order(0, 1, value, 1.0, 0, 0, False)),
            njit(lambda backtest, value: backtest.depth(0).bid_qty_at_tick(value)),
        ):
            assert attempt("a wrong type", function, backtest, value, also=(NumbaError,)) is None
    for function in (
        njit(lambda backtest: backtest.depth(0)),
        njit(lambda backtest: backtest.orders(0).values()),
        njit(lambda backtest: backtest.nothing),
        njit(lambda backtest: backtest.depth(0).bid_depth),
    ):
        assert attempt("what does not come out", function, backtest, also=(NumbaError,)) is None


def compiled(seed: int, rounds: int) -> None:
    """Everything above, again and again."""
    rng = np.random.default_rng(seed)
    wrong_types()
    for _ in range(rounds):
        backtest = made(rng)
        if rng.random() < 0.8:
            backtest.elapse(int(rng.integers(400_000)))
        for _ in range(200):
            op = int(rng.integers(CALLS))
            attempt(f"call {op}", call, backtest, op, *numbers(rng))
        attempt("caught", caught, backtest, -1, also=(SystemError,))
        backtest.check_invariants()
        fresh = made(rng)
        fresh.elapse(200_000)
        attempt("submit", fresh.submit_buy_order, 0, 1, 490.0, 0.01, hbt.GTC, hbt.LIMIT, True)
        outlive(rng, fresh)
        del fresh
