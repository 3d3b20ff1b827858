"""Momentum: goes with a price that runs away from its own average, and leaves when it comes back.

    ringbook backtest --data market.npz --tick-size 0.1 --lot-size 0.001 \\
        --strategy examples/strategies/momentum.py:Momentum --param entry=8.0

Two exponential averages of the mid price, a fast and a slow one; the distance between them is the signal.
It takes liquidity with immediate-or-cancel orders, so it pays the spread and the taker fee each way: what
it earns in the middle has to be more than that.
"""

from __future__ import annotations

from math import exp
from typing import Annotated

from engine.core.types import OrdType, Side, TimeInForce
from engine.strategy.base import Range, Strategy


class Momentum(Strategy):
    """Holds ``order_qty`` in the direction of the signal, or nothing."""

    interval_ns: Annotated[int, Range(ge=1, le=2**62 - 1, doc="time between two looks at the market")] = (
        10_000_000
    )
    fast_ns: Annotated[int, Range(ge=1, doc="decay time of the fast average")] = 50_000_000
    slow_ns: Annotated[int, Range(ge=1, doc="decay time of the slow average")] = 500_000_000
    entry: Annotated[float, Range(ge=0, doc="ticks between the averages that open a position")] = 15.0
    exit: Annotated[float, Range(ge=0, doc="ticks below which it is closed")] = 3.0
    slip: Annotated[int, Range(ge=0, doc="ticks beyond the best price that an order may pay")] = 2
    order_qty: Annotated[float, Range(ge=0, doc="quantity held, in whole lots")] = 0.01

    def on_start(self, ctx):
        self._averages = {}  # symbol: [fast, slow]
        self._arm(ctx)

    def on_params(self, ctx):
        self._arm(ctx)

    def _arm(self, ctx):
        self._weights = [1 - exp(-self.interval_ns / decay) for decay in (self.fast_ns, self.slow_ns)]
        ctx.set_timer(self.interval_ns)

    def on_timer(self, ctx, now):
        for symbol in ctx.symbols:
            book = ctx.book(symbol)
            if book.best_bid_tick is None or book.best_ask_tick is None:
                continue
            signal = self._signal(symbol, (book.best_bid_tick + book.best_ask_tick) / 2)
            # Until the venue has answered, the position is not what it will be.
            if not ctx.orders(symbol):
                self._go_to(ctx, book, self._target(signal, ctx.position(symbol)))

    def _signal(self, symbol, mid):
        """The fast average above the slow one, in ticks."""
        averages = self._averages.setdefault(symbol, [mid, mid])
        for i, weight in enumerate(self._weights):
            averages[i] += weight * (mid - averages[i])
        return averages[0] - averages[1]

    def _target(self, signal, position):
        """The position to have: entered beyond ``entry``, kept down to ``exit``."""
        if abs(signal) >= self.entry:
            return self.order_qty if signal > 0 else -self.order_qty
        keep = position * signal > 0 and abs(signal) > self.exit
        return position if keep else 0.0

    def _go_to(self, ctx, book, target):
        lots = round((target - ctx.position(book.symbol)) / book.lot_size)
        if lots == 0 or not ctx.trading:
            return
        side = Side.BUY if lots > 0 else Side.SELL
        tick = book.best_ask_tick + self.slip if lots > 0 else book.best_bid_tick - self.slip
        px, qty = tick * book.tick_size, abs(lots) * book.lot_size
        ctx.submit(book.symbol, side, px, qty, OrdType.LIMIT, TimeInForce.IOC)
