"""A strategy that rests an order on each side and raises, or falls silent, where it is told to."""

from __future__ import annotations

from engine.core.types import Side
from engine.strategy.base import Strategy


class Raiser(Strategy):
    """Keeps an order ``away`` from either best; ``where`` and ``nth`` say which call of what raises."""

    where: str = ""
    nth: int = 1
    silent: bool = False
    """Do nothing any more from there on instead of raising."""
    order_qty: float = 0.02
    away: float = 0.0
    """Price units between an order and the best of its side."""

    def on_start(self, ctx):
        self._left, self._idle = self.nth, False
        ctx.set_timer(5_000)
        ctx.buy(1.0, self.order_qty)
        self._here("on_start")

    def on_book(self, ctx, book):
        self._here("on_book")

    def on_trade(self, ctx, trade):
        self._here("on_trade")

    def on_order(self, ctx, order):
        self._here("on_order")

    def on_fill(self, ctx, fill):
        self._here("on_fill")

    def on_timer(self, ctx, now):
        self._here("on_timer")
        book = ctx.book()
        if self._idle or book.best_bid_tick is None or book.best_ask_tick is None:
            return
        sides = {order.side for order in ctx.orders() if order.px > 1.0}
        if Side.BUY not in sides:
            ctx.buy(book.best_bid - self.away, self.order_qty, post_only=True)
        if Side.SELL not in sides:
            ctx.sell(book.best_ask + self.away, self.order_qty, post_only=True)

    def on_stop(self, ctx):
        self._here("on_stop")

    def _here(self, callback):
        if callback != self.where:
            return
        self._left -= 1
        if self._left == 0 and self.silent:
            self._idle = True
        elif self._left == 0:
            raise RuntimeError(f"boom in {callback}")
