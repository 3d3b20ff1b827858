"""A strategy whose decisions depend on the market alone, and that writes them down."""

from __future__ import annotations

from engine.core.types import OrdType, Side, TimeInForce
from engine.strategy.base import Strategy


class Decider(Strategy):
    """Sends an order when the best prices move, when enough was traded, and by the clock."""

    path: str = ""
    after: int = 0
    _best: tuple[int, int, bool] | None = None
    _traded: float = 0.0
    _side: Side = Side.BUY

    def on_start(self, ctx):
        ctx.set_timer(40_000_000)

    def on_book(self, ctx, book):
        best = book.best_bid_tick, book.best_ask_tick, (book.best_bid_qty or 0.0) > (book.best_ask_qty or 0.0)
        if None in best:
            # A market of which the first rows have come: outside the engine they may come one by one.
            return
        if best != self._best:
            self._decide(ctx, book, "book", Side.BUY if self._best and best > self._best else Side.SELL)
        self._best = best

    def on_trade(self, ctx, trade):
        if ctx.now < self.after:
            return
        self._traded += trade.qty
        if self._traded > 0.05:
            self._traded = 0.0
            self._decide(ctx, ctx.book(trade.symbol), "trade", trade.side)

    def on_timer(self, ctx, now):
        self._decide(ctx, ctx.book(), "timer", self._side)

    def on_fill(self, ctx, fill):
        self._side = Side.SELL if fill.side is Side.BUY else Side.BUY

    def _decide(self, ctx, book, why, side):
        if ctx.now < self.after:
            return
        px = book.best_ask if why != "timer" else book.best_bid
        if px is None:
            return
        if why != "timer":
            with open(self.path, "a", encoding="ascii") as file:
                file.write(f"{ctx.now} {why} {side.name} {px:.1f}\n")
        order_type, time_in_force = OrdType.LIMIT, TimeInForce.IOC
        ctx.submit(book.symbol, side, px, book.lot_size, order_type, time_in_force)
