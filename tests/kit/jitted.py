"""Strategies of this kit with compiled handlers, by the names of their classes."""

from __future__ import annotations

from engine.strategy.base import Strategy
from engine.strategy.jit import Array, compiled
from tests.kit import reader, talker

Reader = compiled(reader.Reader)
Talker = compiled(talker.Talker)


@compiled
class Signals(Strategy):
    """Keeps sums of the signals called trend, and writes down the others."""

    _told: int = 0
    _when: int = 0
    _value: float = 0.0
    _second: bool = False

    def on_signal(self, ctx, signal):
        if signal.name != "trend":
            ctx.log(signal.name + " " + str(signal.value))
            return
        self._told += 1
        self._when += signal.ts
        self._value += signal.value
        if signal.symbol:
            self._second = ctx.symbols[1] == signal.symbol
            ctx.log(f"{ctx.position_lots(signal.symbol)} {signal.value}")
        else:
            ctx.log(f"all {signal.value}")


@compiled
class Raiser(Strategy):
    """Rests an order on each side and raises in the given callback, by its place in ``HANDLERS``."""

    where: int = 0
    nth: int = 1
    order_qty: float = 0.02
    _calls: int = 0

    def on_start(self, ctx):
        ctx.set_timer(5_000)
        ctx.buy(1.0, self.order_qty)
        self._here(ctx, 0)

    def on_book(self, ctx, book):
        self._here(ctx, 1)

    def on_trade(self, ctx, trade):
        self._here(ctx, 2)

    def on_order(self, ctx, order):
        self._here(ctx, 3)

    def on_fill(self, ctx, fill):
        self._here(ctx, 4)

    def on_timer(self, ctx, now):
        self._here(ctx, 5)
        book = ctx.book()
        if book.best_bid_tick is not None and book.best_ask_tick is not None and len(ctx.orders()) < 4:
            ctx.buy(book.best_bid, self.order_qty, post_only=True)
            ctx.sell(book.best_ask, self.order_qty, post_only=True)

    def on_stop(self, ctx):
        self._here(ctx, 7)

    def _here(self, ctx, callback):
        if callback == self.where:
            self._calls += 1
            if self._calls == self.nth:
                ctx.cancel(987654321)


PlainRaiser = Raiser.plain


@compiled
class Quoting(Strategy):
    """Quotes by what it remembers."""

    qty: float = 0.01
    _n: int = 0
    _drift: float = 0.0
    _last = Array(4)

    def on_book(self, ctx, book):
        bid = book.best_bid_tick
        if bid is None:
            return
        self._n += 1
        self._drift = 0.9 * self._drift + 0.1 * (bid - self._last[self._n % 4])
        self._last[self._n % 4] = bid
        if self._n % 3 == 0 and len(ctx.orders()) < 4:
            if self._drift > 0.0:
                ctx.submit_ticks(book.symbol, 1, bid, 5)
            else:
                ctx.submit_ticks(book.symbol, -1, bid + 2, 5)
        if self._n % 7 == 0:
            ctx.cancel_all()
