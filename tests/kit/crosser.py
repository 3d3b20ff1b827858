"""A strategy that does everything a venue can be asked for; its twin is in benchmarks/peers.

Poll by poll it crosses the market, rests beside it, asks for what cannot be had, and modifies and cancels
its oldest resting order. It means nothing; it is there to compare engines.
"""

from __future__ import annotations

from engine.core.types import OrdType, Side, Status, TimeInForce
from engine.strategy.base import Strategy


class Crosser(Strategy):
    """Cycles through kinds of requests."""

    interval_ns: int = 100_000_000
    order_qty: float = 0.003
    modify_ticks: int = 2

    def on_start(self, ctx):
        self._polls = 0
        ctx.set_timer(self.interval_ns)

    def on_timer(self, ctx, now):
        book = ctx.book()
        bid, ask = book.best_bid_tick, book.best_ask_tick
        if bid is None or ask is None:
            return
        k = self._polls
        self._polls += 1
        resting = [o for o in ctx.orders() if o.status is Status.NEW and o.req is Status.NONE]
        oldest = min(resting, key=lambda o: o.order_id, default=None)
        lots = max(1, round(self.order_qty / book.lot_size))
        if oldest is not None:
            own = round(oldest.qty / book.lot_size)
            if k % 5 == 3:
                step = self.modify_ticks if oldest.side is Side.BUY else -self.modify_ticks
                ctx.modify(oldest.order_id, (oldest.price_tick + step) * book.tick_size, own * book.lot_size)
            elif k % 5 == 4 and own > 1:
                ctx.modify(oldest.order_id, oldest.price_tick * book.tick_size, (own - 1) * book.lot_size)
            elif k % 7 == 6:
                ctx.cancel(oldest.order_id)
        side, tick, tif, kind = self._request(k % 8, bid, ask)
        qty = lots * book.lot_size
        ctx.submit(None, side, tick * book.tick_size, qty, kind, tif)

    @staticmethod
    def _request(step, bid, ask):
        limit, market = OrdType.LIMIT, OrdType.MARKET
        return (
            (Side.BUY, ask, TimeInForce.GTC, limit),
            (Side.SELL, bid, TimeInForce.GTC, limit),
            (Side.BUY, bid, TimeInForce.IOC, limit),
            (Side.SELL, bid - 5, TimeInForce.FOK, limit),
            (Side.BUY, ask, TimeInForce.GTC, market),
            (Side.SELL, bid, TimeInForce.GTC, market),
            (Side.BUY, ask, TimeInForce.GTX, limit),
            (Side.SELL, ask + 1, TimeInForce.GTX, limit),
        )[step]
