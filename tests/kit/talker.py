"""A strategy that answers everything it hears at once, to test drivers at instants where much happens."""

from __future__ import annotations

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Strategy


class Talker(Strategy):
    """Listens to books, trades, orders and fills of all its symbols, and asks for something each time."""

    interval_ns: int = 100_000
    _said: int = 0

    def on_start(self, ctx):
        ctx.set_timer(self.interval_ns)

    def on_book(self, ctx, book):
        self._say(ctx, book.symbol)

    def on_trade(self, ctx, trade):
        self._say(ctx, trade.symbol)

    def on_order(self, ctx, order):
        if order.status is Status.NEW and order.order_id % 3 == 0 and order.req is Status.NONE:
            ctx.cancel(order.order_id)

    def on_fill(self, ctx, fill):
        # Hedges in the next symbol, so that one market's answer reaches another market.
        symbols = ctx.symbols
        self._said += 1
        other = symbols[(symbols.index(fill.symbol) + 1) % len(symbols)]
        if self._said % 4 == 0:
            side = Side.SELL if fill.side is Side.BUY else Side.BUY
            ctx.submit(other, side, 0.0, ctx.book(other).lot_size, OrdType.MARKET, TimeInForce.GTC)

    def on_timer(self, ctx, now):
        for symbol in ctx.symbols:
            self._say(ctx, symbol)

    def _say(self, ctx, symbol):
        book = ctx.book(symbol)
        self._said += 1
        if book.best_bid_tick is None or book.best_ask_tick is None or self._said % 5:
            return
        if self._said % 2:
            side, tick = Side.BUY, book.best_bid_tick + self._said % 3 - 1
        else:
            side, tick = Side.SELL, book.best_ask_tick + 1 - self._said % 3
        if tick > 0 and len(ctx.orders(symbol)) < 20:
            qty = (1 + self._said % 3) * book.lot_size
            ctx.submit(symbol, side, tick * book.tick_size, qty, OrdType.LIMIT, TimeInForce.GTC)
