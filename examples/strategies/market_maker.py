"""A market maker in Python; ``engine.strategy.native:MarketMaker`` is the same, compiled.

The rules are in that class's documentation, line by line; both send the same orders.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Annotated

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Range, Strategy


class MarketMaker(Strategy):
    """Quotes both sides around a middle that leans against the position."""

    interval_ns: Annotated[int, Range(ge=1, le=2**62 - 1, doc="time between two looks at the market")] = (
        100_000_000
    )
    half_spread: Annotated[
        float, Range(ge=0, le=1e12, doc="distance of the quotes from the middle, in ticks")
    ] = 5.0
    relative_half_spread: Annotated[
        float, Range(ge=0, le=1, doc="added to it, as a fraction of the price")
    ] = 0.0
    skew: Annotated[float, Range(ge=0, le=1e12, doc="ticks the quotes shift against each order_qty held")] = (
        0.5
    )
    order_qty: Annotated[float, Range(ge=0, doc="quantity of an order, rounded to lots, at least one")] = 0.01
    max_position: Annotated[float, Range(ge=0, doc="position that all quotes of a side may lead to")] = 0.1
    grid_num: Annotated[int, Range(ge=1, le=100, doc="orders a side")] = 1
    grid_interval: Annotated[int, Range(ge=1, le=10**12, doc="ticks between them")] = 1

    def on_start(self, ctx):
        self._armed = self.interval_ns
        ctx.set_timer(self.interval_ns)

    def on_params(self, ctx):
        if self.interval_ns != self._armed:
            self.on_start(ctx)

    def on_timer(self, ctx, now):
        for symbol in ctx.symbols:
            self._quote(ctx, symbol)

    def _quote(self, ctx, symbol):
        book = ctx.book(symbol)
        best_bid, best_ask = book.best_bid_tick, book.best_ask_tick
        if best_bid is None or best_ask is None:
            return
        position = round(ctx.position(symbol) / book.lot_size)
        order_lots = max(1, floor(self.order_qty / book.lot_size + 0.5))
        wanted = self._wanted(ctx.trading, best_bid, best_ask, position, order_lots, book.lot_size)
        live = ctx.orders(symbol)
        for order in live:
            if order.req is Status.NONE and (order.side, order.price_tick) not in wanted:
                ctx.cancel(order.order_id)
        present = {(order.side, order.price_tick) for order in live}
        for side, tick in wanted:
            if (side, tick) not in present:
                px, qty = tick * book.tick_size, order_lots * book.lot_size
                ctx.submit(symbol, side, px, qty, OrdType.LIMIT, TimeInForce.GTX)

    def _wanted(self, trading, best_bid, best_ask, position, order_lots, lot_size):
        """The quotes to have, as (side, price tick): bids from the best, then asks from the best."""
        if not trading:
            return []
        mid = (best_bid + best_ask) / 2
        half = self.half_spread + self.relative_half_spread * mid
        max_lots = floor(self.max_position / lot_size + 1e-6)
        middle = mid - self.skew * (position / order_lots)
        bid = min(floor(middle - half), best_bid)
        ask = max(ceil(middle + half), best_ask)
        n_bids = min(self.grid_num, (max_lots - position) // order_lots)
        n_asks = min(self.grid_num, (max_lots + position) // order_lots)
        bids = [bid - i * self.grid_interval for i in range(n_bids)]
        asks = [ask + i * self.grid_interval for i in range(n_asks)]
        return [(Side.BUY, t) for t in bids if t > 0] + [(Side.SELL, t) for t in asks if t > 0]
