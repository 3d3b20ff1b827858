"""A strategy that does what a script says, and writes down what it sees; for tests of single situations."""

from __future__ import annotations

import json

from engine.core.types import OrdType, Side, TimeInForce
from engine.strategy.base import Strategy


class Scripted(Strategy):
    """Acts at given polls.

    ``script`` is JSON: a list of ``[poll, action, arguments...]`` with the actions ``buy`` and ``sell``
    (tick, quantity, optionally a TimeInForce name), ``modify`` (which of its orders, tick, quantity) and
    ``cancel`` (which). The poll of number n is at ``first + n * interval_ns``.
    """

    interval_ns: int = 1_000
    script: str = "[]"

    def on_start(self, ctx):
        self._polls = 0
        self._ids = []
        self._todo = json.loads(self.script)
        ctx.set_timer(self.interval_ns)

    def on_timer(self, ctx, now):
        self._polls += 1
        tick_size = ctx.book().tick_size
        for poll, action, *rest in self._todo:
            if poll != self._polls:
                continue
            if action in ("buy", "sell"):
                side = Side.BUY if action == "buy" else Side.SELL
                tif = TimeInForce[rest[2] if len(rest) > 2 else "GTC"]
                order = ctx.submit(None, side, rest[0] * tick_size, rest[1], OrdType.LIMIT, tif)
                self._ids.append(order)
            elif action == "modify":
                ctx.modify(self._ids[rest[0]], rest[1] * tick_size, rest[2])
            else:
                ctx.cancel(self._ids[rest[0]])


class Watching(Scripted):
    """The same, and it logs each trade and the best prices after each message: rows come to it one by one."""

    def on_book(self, ctx, book):
        ctx.log(f"book {book.best_bid_tick} {book.best_ask_tick}")

    def on_trade(self, ctx, trade):
        ctx.log(f"trade {trade.px} {trade.qty}")
