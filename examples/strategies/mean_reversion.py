"""Mean reversion: offers against a price that is far from its average, and takes the way back.

    ringbook backtest --data market.npz --tick-size 0.1 --lot-size 0.001 \\
        --strategy examples/strategies/mean_reversion.py:MeanReversion --maker-fee -0.00005

Far is measured in standard deviations, both over the same exponential window. All orders are post-only, so
every fill earns the maker's fee; an order that the market has left behind follows it.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Annotated

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Range, Strategy


class MeanReversion(Strategy):
    """One order at a time: against the deviation while flat, back out of the position while not."""

    interval_ns: Annotated[int, Range(ge=1, le=2**62 - 1, doc="time between two looks at the market")] = (
        50_000_000
    )
    window_ns: Annotated[int, Range(ge=1, doc="decay time of average and deviation")] = 2_000_000_000
    entry: Annotated[float, Range(ge=0, doc="deviations from the average that open a position")] = 1.5
    exit: Annotated[float, Range(doc="deviations, on the side it came from, that close it")] = 0.5
    stop: Annotated[float, Range(ge=0, doc="deviations against a position that close it too")] = 4.0
    order_qty: Annotated[float, Range(ge=0, doc="quantity of an order, in whole lots")] = 0.01

    def on_start(self, ctx):
        self._moments = {}  # symbol: [mean, variance], in ticks
        self._arm(ctx)

    def on_params(self, ctx):
        self._arm(ctx)

    def _arm(self, ctx):
        self._weight = 1 - exp(-self.interval_ns / self.window_ns)
        self._warm = ctx.now + self.window_ns
        ctx.set_timer(self.interval_ns)

    def on_timer(self, ctx, now):
        for symbol in ctx.symbols:
            book = ctx.book(symbol)
            if book.best_bid_tick is None or book.best_ask_tick is None:
                continue
            score = self._score(symbol, (book.best_bid_tick + book.best_ask_tick) / 2)
            if now >= self._warm:
                self._quote(ctx, book, self._wanted(score, ctx.position(symbol)))

    def _score(self, symbol, mid):
        """How many deviations the middle is above its average."""
        mean, variance = self._moments.setdefault(symbol, [mid, 0.0])
        off = mid - mean
        mean += self._weight * off
        variance = (1 - self._weight) * (variance + self._weight * off * off)
        self._moments[symbol] = [mean, variance]
        return (mid - mean) / sqrt(variance) if variance > 0 else 0.0

    def _wanted(self, score, position):
        """The side of the order to have, and its quantity; None for none."""
        if position:
            side = Side.SELL if position > 0 else Side.BUY
            against = -score if position > 0 else score
            return (side, abs(position)) if against < self.exit or against > self.stop else None
        if abs(score) < self.entry or abs(score) > self.stop:
            return None
        return (Side.SELL if score > 0 else Side.BUY), self.order_qty

    def _quote(self, ctx, book, wanted):
        side, qty = wanted or (None, 0.0)
        tick = book.best_bid_tick if side is Side.BUY else book.best_ask_tick
        live = ctx.orders(book.symbol)
        for order in live:
            if order.req is Status.NONE and (order.side, order.price_tick) != (side, tick):
                ctx.cancel(order.order_id)
        if wanted and not live and ctx.trading:
            ctx.submit(book.symbol, side, tick * book.tick_size, qty, OrdType.LIMIT, TimeInForce.GTX)
