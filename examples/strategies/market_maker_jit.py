"""The market maker of market_maker.py in ticks and lots, with handlers that Numba compiles.

The rules are in the documentation of ``engine.strategy.native:MarketMaker``; all three send the same
orders. ``MarketMaker.plain`` is the class below without compiling, for a debugger.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Annotated

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Range, Strategy
from engine.strategy.jit import Array, compiled


@compiled
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

    _armed: int = 0
    _held = Array((2, 100), bool)  # which places of the grid have an order: bids, asks

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
        position = ctx.position_lots(symbol)
        # More lots than 1e15 are no order and no limit any more, and would not fit an integer.
        lots = max(1, floor(min(self.order_qty / book.lot_size + 0.5, 1e15)))
        most = floor(min(self.max_position / book.lot_size + 1e-6, 1e15))
        mid = (best_bid + best_ask) / 2
        half = self.half_spread + self.relative_half_spread * mid
        middle = mid - min(max(self.skew * (position / lots), -1e15), 1e15)
        bid, n_bids = min(floor(middle - half), best_bid), 0
        ask, n_asks = max(ceil(middle + half), best_ask), 0
        if ctx.trading:
            n_bids = min(self.grid_num, (most - position) // lots)
            n_asks = min(self.grid_num, (most + position) // lots)
        self._keep(ctx, symbol, bid, ask, n_bids, n_asks)
        for place in range(n_bids):
            tick = bid - place * self.grid_interval
            if tick > 0 and not self._held[0, place]:
                ctx.submit_ticks(symbol, Side.BUY, tick, lots, OrdType.LIMIT, TimeInForce.GTX)
        for place in range(n_asks):
            tick = ask + place * self.grid_interval
            if tick > 0 and not self._held[1, place]:
                ctx.submit_ticks(symbol, Side.SELL, tick, lots, OrdType.LIMIT, TimeInForce.GTX)

    def _keep(self, ctx, symbol, bid, ask, n_bids, n_asks):
        """Notes the wanted places that have an order, and cancels the orders that are not wanted."""
        self._held[:] = False
        for order in ctx.orders(symbol):
            buys = order.side is Side.BUY
            off = bid - order.price_tick if buys else order.price_tick - ask
            place = off // self.grid_interval
            if 0 <= place < (n_bids if buys else n_asks) and place * self.grid_interval == off:
                self._held[0 if buys else 1, place] = True
            elif order.req is Status.NONE:
                ctx.cancel(order.order_id)
