"""A strategy that reads all there is to read and asks in all ways there are, to hold compiled against plain.

It means nothing. What it reads goes into sums, which ``digest`` of both must agree on.
"""

from __future__ import annotations

import math

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Strategy
from engine.strategy.jit import Array

CALLS = (
    "on_start", "on_params", "on_stop", "on_book", "on_trade", "on_order", "on_fill", "on_timer", "on_signal",
)  # fmt: skip
"""What ``_counts`` counts."""


class Reader(Strategy):
    """Listens to everything and keeps sums of it."""

    interval_ns: int = 5_000
    weight: float = 0.5
    quiet: bool = False
    name: str = "not for handlers"
    DEPTH = 3

    _calls: int = 0
    _last: int = 0
    _flag: bool = True
    _sum: float = 0.0
    _counts = Array(9, int)
    _empty: int = 0
    _table = Array((2, 3), fill=1.5)

    def on_start(self, ctx):
        ctx.set_timer(self.interval_ns, ctx.now + 1_000)
        self._count(0)
        ctx.log("starts with " + str(self.interval_ns))
        self._add(float(ctx.seed % 1000))

    def on_params(self, ctx):
        self._count(1)
        self._add(self.weight)

    def on_stop(self, ctx):
        self._count(2)
        self._add(ctx.trading)

    def on_book(self, ctx, book):
        self._count(3)
        self._read_book(ctx.symbols.index(book.symbol), book)

    def on_trade(self, ctx, trade):
        self._count(4)
        side = 1.0 if trade.side is Side.BUY else -1.0 if trade.side == Side.SELL else 0.5
        self._add(trade.px * side + trade.qty)
        self._add(trade.local_ts - trade.exch_ts)
        self._table[0, self._calls % 3] += trade.qty

    def on_order(self, ctx, order):
        self._count(5)
        self._read_order(order)
        live = ctx.order(order.order_id)
        if live is None or live.status is not Status.NEW or live.req is not Status.NONE:
            return
        if live.order_type is OrdType.MARKET:
            return
        if live.order_id % 4 == 1:
            ctx.modify(order.order_id, order.px + ctx.book(order.symbol).tick_size, order.leaves_qty)
        elif live.order_id % 4 == 2:
            ctx.modify_ticks(order.order_id, order.price_tick, order.leaves_lots)

    def on_fill(self, ctx, fill):
        self._count(6)
        self._add(fill.px + fill.qty + fill.fee + fill.lots + fill.price_tick * self.weight)
        self._add(0.0 if math.isnan(fill.mid_price) else fill.mid_price)
        self._add(fill.order_id + fill.side + fill.reason + (fill.local_ts - fill.exch_ts))
        self._add(1.0 if fill.is_maker else 2.0)
        self._read_state(ctx.state(fill.symbol))

    def on_timer(self, ctx, now):
        self._count(7)
        self._add(now - self._last)
        self._last = now
        self._flag = not self._flag
        for place, symbol in enumerate(ctx.symbols):
            self._ask(ctx, place, symbol)
        if self._calls % 11 == 0:
            self._add(ctx.cancel_all())
        elif self._calls % 7 == 0:
            self._add(ctx.cancel_all(ctx.symbols[-1]))

    def on_signal(self, ctx, signal):
        self._count(8)
        self._add(signal.value + signal.ts)
        if signal.symbol:
            self._read_book(0, ctx.book(signal.symbol))
        if signal.name == "trend":
            self._add(len(ctx.orders()))

    def _ask(self, ctx, place, symbol):
        book = ctx.book(symbol)
        bid, ask = book.best_bid_tick, book.best_ask_tick
        if bid is None or ask is None or not ctx.trading:
            return
        kind = (self._calls + place) % 6
        size = book.lot_size
        if kind == 0:
            self._add(ctx.buy(book.best_bid, 2 * size, symbol, True))
        elif kind == 1:
            self._add(ctx.sell(book.best_ask, 3 * size, symbol=symbol))
        elif kind == 2:
            self._add(ctx.submit(symbol, Side.BUY, book.best_ask, size, time_in_force=TimeInForce.IOC))
        elif kind == 3:
            self._add(ctx.submit(symbol, Side.SELL, 0.0, size, OrdType.MARKET))
        elif kind == 4:
            self._add(
                ctx.submit_ticks(symbol, Side.SELL, max(bid, ask - 2), 1, OrdType.LIMIT, TimeInForce.GTX)
            )
        elif bid > 4:
            self._add(ctx.submit_ticks(symbol, Side.BUY, min(bid - 3, ask), 2))
        if len(ctx.orders(symbol)) > 6:
            for order in ctx.orders(symbol):
                if order.is_live and order.req is Status.NONE:
                    ctx.cancel(order.order_id)
                    # A walk does not see what is sent while it lasts.
                    ctx.submit_ticks(symbol, order.side, order.price_tick, order.lots)
        for order in ctx.orders():
            self._read_order(order)
        self._add(len(ctx.orders()) + ctx.position(symbol) + ctx.position_lots(symbol))

    def _read_book(self, place, book):
        if math.isnan(book.mid):
            self._empty += 1
        else:
            self._add(book.best_bid + book.best_ask + book.mid)
            self._add(book.bid_qty(book.best_bid_tick) - book.ask_qty(book.best_ask_tick + self.DEPTH))
        self._add(book.best_bid_qty + book.best_ask_qty + book.tick_size + book.lot_size + book.contract_size)
        for px, qty in book.bids(self.DEPTH):
            self._add(px * qty)
        for px, qty in book.asks():
            self._add(px * qty)
        self._table[1, place % 3] = self._weighed(book.best_bid_qty, self.weight)

    def _read_order(self, order):
        self._add(order.order_id + order.client_order_id + order.price_tick + order.lots + order.leaves_lots)
        self._add(order.cum_exec_lots + order.exec_lots + (order.local_ts - self._last) * 1e-9)
        self._add(
            order.px + order.qty + order.leaves_qty + order.cum_exec_qty + order.exec_qty + order.exec_px
        )
        self._add(order.side + 2 * order.status + 3 * order.req + 5 * order.reason + 7 * order.order_type)
        self._add(11 * order.time_in_force + (order.exch_ts > 0) + order.is_live)

    def _read_state(self, state):
        self._add(state.position + state.balance + state.fee + state.num_trades + state.trading_volume)
        self._add(state.trading_value + state.realized_pnl)
        for value in (state.avg_px, state.unrealized_pnl, state.equity):
            self._add(0.0 if math.isnan(value) else value)

    def _count(self, place):
        self._calls += 1
        self._counts[place] += 1

    def _add(self, value):
        if not self.quiet:
            self._sum = (self._sum * 0.999 + value) % 1e6

    @staticmethod
    def _weighed(value, weight):
        return value * weight


def digest(strategy) -> tuple:
    """All that a Reader keeps."""
    tables = strategy._counts.tolist(), strategy._table.tolist()
    numbers = strategy._calls, strategy._last, strategy._flag, strategy._sum
    return *numbers, *tables, strategy._empty
