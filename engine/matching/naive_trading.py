"""The oracle's trading: who meets whom, self-trade prevention, stops and the uncross of an auction."""

from __future__ import annotations

from engine.core.types import Reason
from engine.matching.naive_book import BUY, SELL, NaiveBook, Order, within
from engine.matching.records import AllocationRule, EventKind, OrderType, Phase, SelfTradePolicy


class NaiveTrading(NaiveBook):
    """A book in which arriving orders trade."""

    def __init__(
        self,
        allocation: int,
        top_share: int,
        min_allocation: int,
        protection_ticks: int,
        instrument: int,
        events: str,
    ) -> None:
        super().__init__(instrument, events, top_matters=allocation == AllocationRule.PRO_RATA)
        self.allocation = allocation
        self.top_share = top_share
        self.min_allocation = min_allocation
        self.protection_ticks = protection_ticks
        self.own: Order | None = None  # the command's own order, whose executions its result counts
        self.exec_qty = 0
        self.exec_value = 0
        self.just_triggered: list[Order] = []
        self.active: list[Order] = []

    # --- one order arrives ---------------------------------------------------------------------

    def limit_of(self, order: Order) -> int:
        """The worst price at which the order trades now."""
        if order.order_type not in (OrderType.MARKET, OrderType.STOP):
            return order.px
        far_band = self.bands[1] if order.side == BUY else self.bands[0]
        best = self.best(-order.side)
        if not self.protection_ticks or best is None:
            return far_band
        limit = best + order.side * self.protection_ticks
        return min(limit, far_band) if order.side == BUY else max(limit, far_band)

    def fillable(self, order: Order) -> int:
        """The quantity a fill-or-kill order may count on."""
        limit = self.limit_of(order)
        total = 0
        for px in self.prices(-order.side):
            queue = self.levels[-order.side][px]
            if not within(order.side, limit, px):
                break
            mine = [o for o in queue if order.prevention and o.owner == order.owner]
            if mine and order.prevention != SelfTradePolicy.CANCEL_OLDEST:
                break
            total += sum(o.open for o in queue if not o.reduce_only and o not in mine)
        return total

    def arrive(self, order: Order) -> None:
        """An active order trades what it can; the rest stays in the book or ends."""
        reason = self.sweep(order) if self.phase == Phase.CONTINUOUS else None
        if reason is not None:
            self.end(order, reason)
        elif not order.open:
            self.forget(order)
        elif order.ends_unfilled:
            self.end(order, Reason.UNFILLED_IOC_FOK)
        else:
            self.rest(order)
        self.queue_triggered()

    def sweep(self, taker: Order) -> int | None:
        """Trades while the opposite best is within the limit; the reason if that ended the order."""
        limit = self.limit_of(taker)
        while taker.open:
            px = self.best(-taker.side)
            if px is None or not within(taker.side, limit, px):
                return None
            if not self.reducible(taker):
                return Reason.REDUCE_ONLY
            queue = self.levels[-taker.side][px]
            reached = queue[:1] if self.allocation == AllocationRule.FIFO else queue
            mine = [o for o in reached if taker.prevention and o.owner == taker.owner]
            if not mine:
                self.play_round(taker, queue)
            elif self.prevent_self_trade(taker, mine[0]):
                return Reason.SELF_TRADE
        return None

    def prevent_self_trade(self, taker: Order, resting: Order) -> bool:
        """Applies the arriving order's policy; whether the arriving order has to end."""
        policy = taker.prevention
        if policy == SelfTradePolicy.CANCEL_NEWEST:
            return True
        if policy in (SelfTradePolicy.CANCEL_OLDEST, SelfTradePolicy.CANCEL_BOTH):
            self.end(resting, Reason.SELF_TRADE)
            return policy == SelfTradePolicy.CANCEL_BOTH
        taken = min(taker.open, resting.open)
        if resting.open == taken:
            self.end(resting, Reason.SELF_TRADE)
        else:
            self.shrink(resting, resting.open - taken)
        if taker.open == taken:
            return True
        self.shrink(taker, taker.open - taken)
        return False

    # --- one round at a level ------------------------------------------------------------------

    def play_round(self, taker: Order, queue: list[Order]) -> None:
        """Shares what arrives among what the level shows now."""
        left = self.reducible(taker)
        showing = list(queue)  # next slices are not of this round
        if self.allocation == AllocationRule.FIFO:
            self.hit(showing[0], taker, left, showing)
            return
        if self.allocation == AllocationRule.PRO_RATA:
            left = self.share_out(taker, left, showing)
        else:
            showing.sort(key=lambda order: -order.shown)
        for resting in list(showing):
            while left and resting in showing:
                left -= self.hit(resting, taker, left, showing)

    def share_out(self, taker: Order, left: int, showing: list[Order]) -> int:
        """The top order's share, then everybody's in proportion; what is left after them."""
        for top in [order for order in showing if order.is_top]:
            left -= self.hit(top, taker, left * self.top_share // 100, showing)
        total = sum(order.shown for order in showing)
        shares = [(order, min(left * order.shown // total, order.shown)) for order in showing]
        for order, share in shares:
            if share >= self.min_allocation:
                left -= self.hit(order, taker, share, showing)
        return left

    def hit(self, resting: Order, taker: Order, qty: int, showing: list[Order]) -> int:
        """Trades up to ``qty`` with what the order shows, or ends it if it has nothing to reduce.

        Returns:
            What was traded. ``showing`` loses the order when its slice is gone.
        """
        if not qty:
            return 0
        qty = min(qty, resting.shown, self.reducible(resting))
        if resting.reduce_only and resting.owner == taker.owner:
            qty = 0
        if not qty:
            showing.remove(resting)
            self.end(resting, Reason.REDUCE_ONLY)
            return 0
        if qty == resting.shown:
            showing.remove(resting)
        taker.open -= qty
        self.trade(resting, taker, resting.px, qty, taker.side)
        self.execute(resting, qty)
        return qty

    def trade(self, resting: Order, other: Order, px: int, qty: int, side: int) -> None:
        """One trade: its event, the positions, the last price and the stops it triggers."""
        self.emit(
            EventKind.TRADE,
            order_id=resting.order_id,
            other_id=other.order_id,
            px=px,
            qty=qty,
            owner=resting.owner,
            other_owner=other.owner,
            side=side,
        )
        for order in (resting, other):
            self.positions[order.owner] = self.positions.get(order.owner, 0) + order.side * qty
            if order is self.own:
                self.exec_qty += qty
                self.exec_value += px * qty
        self.last_px = px
        if self.phase == Phase.CONTINUOUS:
            self.trigger()

    # --- stops ---------------------------------------------------------------------------------

    def is_triggered(self, stop: Order) -> bool:
        """Whether the last trade's price is at the stop price or beyond."""
        return self.last_px is not None and stop.side * self.last_px >= stop.side * stop.stop_px

    def trigger(self) -> None:
        """Collects the stops that the last price triggers."""
        for stop in [stop for stop in self.stops if self.is_triggered(stop)]:
            self.stops.remove(stop)
            stop.waiting = False
            self.just_triggered.append(stop)

    def queue_triggered(self) -> None:
        """What was just triggered gets in line to become active, oldest entry first."""
        self.active += sorted(self.just_triggered, key=lambda stop: stop.entry)
        self.just_triggered = []

    def wait(self, stop: Order) -> None:
        """A stop waits, or becomes active at once where the last price triggers it already."""
        if self.phase == Phase.CONTINUOUS and self.is_triggered(stop):
            self.activate(stop)
        else:
            stop.waiting = True
            self.stops.append(stop)

    def activate(self, stop: Order) -> None:
        """A triggered stop arrives as a market or limit order."""
        self.tell(EventKind.TRIGGERED, stop, stop.open)
        if stop.order_type == OrderType.STOP and self.best(-stop.side) is None:
            self.end(stop, Reason.NO_LIQUIDITY)
            return
        if stop.post_only and self.crosses(stop.side, stop.px):
            behind = self.best(-stop.side) - stop.side
            if not stop.slides or not self.bands[0] <= behind <= self.bands[1]:
                self.end(stop, Reason.POST_ONLY_CROSSED)
                return
            stop.px = behind
        self.arrive(stop)

    def activate_all(self) -> None:
        """Activates triggered stops, one finishing before the next, until none is left."""
        while self.active:
            self.activate(self.active.pop(0))

    # --- the auction ---------------------------------------------------------------------------

    def uncross(self) -> None:
        """Trades the crossed part of the book at one price."""
        px = self.uncross_price()
        if px is None:
            return
        volume = 0
        while self.crosses(BUY, px) and self.crosses(SELL, px):
            buyer = self.levels[BUY][self.best(BUY)][0]
            seller = self.levels[SELL][self.best(SELL)][0]
            qty = min(buyer.shown, seller.shown)
            volume += qty
            self.trade(buyer, seller, px, qty, 0)
            self.execute(buyer, qty)
            self.execute(seller, qty)
        self.emit(EventKind.UNCROSSED, px=px, qty=volume)
        self.exec_qty = volume
        self.exec_value = (px * volume + 2**63) % 2**64 - 2**63

    def uncross_price(self) -> int | None:
        """The auction's price by docs/matching.md, None when the book does not cross."""
        bid, ask = self.best(BUY), self.best(SELL)
        if bid is None or ask is None or bid < ask:
            return None
        # Demand changes only just above a bid, supply only at an ask: between two such ticks all are alike.
        starts = {ask, *self.levels[SELL], *(px + 1 for px in self.levels[BUY])}
        starts = sorted(px for px in starts if ask <= px <= bid)
        ends = [px - 1 for px in starts[1:]] + [bid]
        judged = []
        for start, end in zip(starts, ends, strict=True):
            demand = sum(o.open for px, queue in self.levels[BUY].items() if px >= start for o in queue)
            supply = sum(o.open for px, queue in self.levels[SELL].items() if px <= start for o in queue)
            judged.append(((-min(demand, supply), abs(demand - supply)), start, end))
        best = min(merit for merit, _, _ in judged)
        alike = [(start, end) for merit, start, end in judged if merit == best]
        near = self.last_px
        if near is None:
            near = (alike[0][0] + alike[-1][1]) // 2
        closest = [min(max(near, start), end) for start, end in alike]
        return min(closest, key=lambda px: (abs(px - near), px))
