"""A strategy whose decisions depend on all that it has seen, to test that a resumed run knows it."""

from __future__ import annotations

from collections import deque

import numpy as np

from engine.core.types import Side, Status
from engine.strategy.base import Strategy


class Keeper(Strategy):
    """Draws random numbers, remembers prices, and holds on to its context, its book and itself."""

    interval_ns: int = 3_000
    fail_after: int = 0

    def on_start(self, ctx):
        self.ctx = ctx
        self.owner = self
        self.market = ctx.book()
        self.random = np.random.default_rng(ctx.seed)
        self.seen = deque(maxlen=7)
        self.acts = 0
        ctx.log("started")
        ctx.set_timer(self.interval_ns)

    def on_book(self, ctx, book):
        self.seen.append((book.best_bid_tick, book.best_ask_tick))

    def on_fill(self, ctx, fill):
        self.seen.append(fill.order_id)
        self.ctx.log(f"{fill.px} {self.owner.acts}")

    def on_timer(self, ctx, now):
        self.acts += 1
        if self.acts == self.fail_after:
            raise ValueError(f"act {self.acts}")
        bid, ask = self.market.best_bid_tick, self.market.best_ask_tick
        if bid is None or ask is None:
            return
        draw = self.random.integers(0, 8)
        lots = 1 + len(repr(self.seen)) % 3
        if draw < 4:
            side = Side.BUY if draw % 2 else Side.SELL
            self.ctx.submit_ticks(None, side, (ask if draw % 2 else bid) + int(draw) - 2, lots)
        elif draw == 4:
            ctx.cancel_all()
        elif draw == 5:
            ctx.set_timer(self.interval_ns + 1_000 * lots)
        for order in ctx.orders()[3:]:
            if order.status is Status.NEW and order.req is Status.NONE:
                ctx.cancel(order.order_id)


class Unkeepable(Strategy):
    """Holds what no pickle can."""

    def on_start(self, ctx):
        self.call = lambda: None
        ctx.set_timer(1_000)


class Forgetful(Unkeepable):
    """The same, but knows it."""

    def __getstate__(self):
        return {"call": None}
