"""The obvious matcher: lists, dicts and ``sorted``. The oracle of ``engine.matching.matcher``.

It spells out docs/matching.md and is where to look when that page leaves a question. Commands and answers are
here, the book in ``naive_book``, the trading in ``naive_trading``.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from engine.core.types import Reason
from engine.matching.naive_book import BUY, MAX_PX, MAX_QTY, SELL, Order
from engine.matching.naive_trading import NaiveTrading
from engine.matching.records import (
    POST_ONLY,
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    AllocationRule,
    Code,
    EventKind,
    Kind,
    Life,
    OrderType,
    Phase,
    SelfTradePolicy,
    command_dtype,
    event_dtype,
    result_dtype,
)

Command = namedtuple("Command", command_dtype.names)

RESTING_LIVES = (Life.GTC, Life.DAY, Life.GTD)
LIVES = {
    OrderType.LIMIT: (*RESTING_LIVES, Life.GTX, Life.IOC, Life.FOK),
    OrderType.MARKET: (Life.IOC, Life.FOK),
    OrderType.STOP: RESTING_LIVES,
    OrderType.STOP_LIMIT: RESTING_LIVES,
}
PRICED = (OrderType.LIMIT, OrderType.STOP_LIMIT)
MAX_SLICES = 1000
STOPS = (OrderType.STOP, OrderType.STOP_LIMIT)


def in_range(px: int) -> bool:
    """Whether a price is one at all."""
    return -MAX_PX <= px <= MAX_PX


def good_qty(qty: int, display: int) -> bool:
    """Whether a quantity is one, and not more than 1000 of its slices."""
    return 1 <= qty <= MAX_QTY and (not display or qty <= MAX_SLICES * display)


class NaiveMatcher(NaiveTrading):
    """One instrument's matcher, as slow and plain as can be.

    Args:
        allocation: An :class:`AllocationRule`.
        top_share: Percent of what arrives at a level for its top order, with ``PRO_RATA``.
        min_allocation: Smaller shares, in lots, become none, with ``PRO_RATA``.
        protection_ticks: How far beyond the best a market order trades; 0 without a limit.
        max_owners: Owners are 1 to this.
        max_orders: How many orders may be live.
        levels: Whether LEVEL events are put out.
        events: What else is put out: ``"all"``, ``"trades"`` (no ADDED, CHANGED, REMOVED) or ``"none"``.
        instrument: The number its events carry.
    """

    def __init__(
        self,
        allocation: int = AllocationRule.FIFO,
        *,
        top_share: int = 0,
        min_allocation: int = 0,
        protection_ticks: int = 0,
        max_owners: int = 1024,
        max_orders: int = 65536,
        levels: bool = True,
        events: str = "all",
        instrument: int = 0,
    ) -> None:
        super().__init__(allocation, top_share, min_allocation, protection_ticks, instrument, events)
        self.max_owners = max_owners
        self.max_orders = max_orders
        self.with_levels = levels

    def apply(self, commands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Applies commands one after the other.

        Args:
            commands: Of ``command_dtype``.

        Returns:
            One result a command and all their events, ``result_dtype`` and ``event_dtype``.
        """
        self.events = []
        results = [self.answer(Command._make(row)) for row in commands.tolist()]
        return np.array(results, result_dtype), np.array(self.events, event_dtype)

    def answer(self, c: Command) -> tuple:
        """Applies one command; a row of ``result_dtype``."""
        first = self.seq
        self.touched = {}
        self.own = None
        self.exec_qty = self.exec_value = 0
        code = Code.UNSORTED
        if c.ts >= self.clock:
            if c.ts > self.clock:
                self.clock = c.ts
                self.expire()
            handle = HANDLERS.get(c.kind)
            code = handle(self, c) if handle else Code.INVALID_REQUEST
            self.activate_all()
        if self.with_levels:
            self.tell_levels()
        own = self.own
        leaves, px = (own.open, own.px) if own and self.orders.get(own.order_id) is own else (0, 0)
        return self.exec_qty, self.exec_value, leaves, px, int(code), self.seq - first

    def expire(self) -> None:
        """Ends what the clock has passed."""
        due = [o for o in self.orders.values() if o.time_in_force == Life.GTD and o.expire_ts <= self.clock]
        for order in sorted(due, key=lambda o: (o.expire_ts, o.entry)):
            self.end(order, Reason.EXPIRED_TIME)

    # --- ADD -----------------------------------------------------------------------------------

    def add(self, c: Command) -> Code:
        """A new order."""
        code = self.check_fields(c) or self.check_state(c)
        if code:
            return code
        order = Order(
            order_id=c.order_id,
            owner=c.owner,
            side=c.side,
            order_type=c.order_type,
            time_in_force=c.time_in_force,
            flags=c.flags,
            policy=c.self_trade,
            px=c.px if c.order_type in PRICED else 0,
            stop_px=c.stop_px if c.order_type in STOPS else 0,
            expire_ts=c.expire_ts if c.time_in_force == Life.GTD else 0,
            open=c.qty,
            display=c.display_qty if c.display_qty < c.qty else 0,
            entry=self.new_entry(),
        )
        is_stop = order.order_type in STOPS
        if self.phase == Phase.CONTINUOUS and not is_stop:
            code = self.check_book(order)
            if code:
                return code
        self.orders[order.order_id] = self.own = order
        self.tell(EventKind.ACCEPTED, order, order.open)
        if is_stop:
            self.wait(order)
        else:
            self.arrive(order)
        return Code.OK

    def check_fields(self, c: Command) -> Code:
        """What is wrong with the command by itself."""
        post_only = bool(c.flags & (POST_ONLY | POST_ONLY_SLIDE))
        if (
            not 1 <= c.owner <= self.max_owners
            or c.order_id == 0
            or c.side not in (BUY, SELL)
            or c.time_in_force not in LIVES.get(c.order_type, ())
            or c.flags & ~(POST_ONLY | POST_ONLY_SLIDE | REDUCE_ONLY)
            or c.self_trade > SelfTradePolicy.DECREMENT
            or (post_only and (c.order_type not in PRICED or c.time_in_force in (Life.IOC, Life.FOK)))
            or (c.flags & REDUCE_ONLY and c.order_type in STOPS)
        ):
            return Code.INVALID_REQUEST
        if c.display_qty > (c.qty if c.order_type in PRICED else 0) or not good_qty(c.qty, c.display_qty):
            return Code.BAD_QTY
        return self.check_prices(c, c.order_type in PRICED, c.order_type in STOPS, in_range, Code.BAD_TICK)

    def check_prices(self, c: Command, limit: bool, stop: bool, allowed, otherwise: Code) -> Code:
        """``otherwise`` when one of the prices that matter is not allowed."""
        prices = [c.px] * limit + [c.stop_px] * stop
        return Code.OK if all(allowed(px) for px in prices) else otherwise

    def in_bands(self, px: int) -> bool:
        """Whether orders at that price are taken."""
        return self.bands[0] <= px <= self.bands[1]

    def check_state(self, c: Command) -> Code:
        """What forbids the new order now, the book aside."""
        if c.order_id in self.orders:
            return Code.ORDER_ID_EXIST
        is_stop = c.order_type in STOPS
        may_rest = c.order_type == OrderType.LIMIT and c.time_in_force in RESTING_LIVES and not c.flags
        taken = {Phase.CONTINUOUS: True, Phase.AUCTION: is_stop or may_rest}
        if not taken.get(self.phase, False):
            return Code.PHASE
        if self.check_prices(c, c.order_type in PRICED, is_stop, self.in_bands, Code.PRICE_BAND):
            return Code.PRICE_BAND
        if c.time_in_force == Life.GTD and c.expire_ts <= self.clock:
            return Code.EXPIRED
        if c.flags & REDUCE_ONLY:
            opposite = -c.side * self.positions.get(c.owner, 0)
            if opposite <= 0 or (c.time_in_force == Life.FOK and c.qty > opposite):
                return Code.REDUCE_ONLY
        return Code.FULL if len(self.orders) >= self.max_orders else Code.OK

    def check_book(self, order: Order) -> Code:
        """What the opposite side forbids; a post-only order that may slide gets its price here."""
        if order.post_only and self.crosses(order.side, order.px):
            if not order.slides:
                return Code.POST_ONLY
            behind = self.best(-order.side) - order.side
            if not self.in_bands(behind):
                return Code.PRICE_BAND
            order.px = behind
        if order.time_in_force == Life.FOK and self.fillable(order) < order.open:
            return Code.FOK
        if order.order_type == OrderType.MARKET and self.best(-order.side) is None:
            return Code.NO_LIQUIDITY
        return Code.OK

    # --- CANCEL, REDUCE, MODIFY, MASS_CANCEL ---------------------------------------------------

    def find(self, c: Command, operator: bool) -> tuple[Code, Order | None]:
        """The order that a command means, if it may."""
        if not (0 if operator else 1) <= c.owner <= self.max_owners or c.order_id == 0:
            return Code.INVALID_REQUEST, None
        order = self.orders.get(c.order_id)
        if order is None:
            return Code.ORDER_NOT_FOUND, None
        if c.owner not in (0, order.owner):
            return Code.NOT_OWNER, None
        return Code.OK, order

    def cancel(self, c: Command) -> Code:
        """Takes an order out."""
        code, order = self.find(c, operator=True)
        if order:
            self.end(order, Reason.CANCEL_REQUESTED if c.owner else Reason.CANCEL_BY_OPERATOR)
        return code

    def reduce(self, c: Command) -> Code:
        """Takes quantity off an order."""
        code, order = self.find(c, operator=True)
        if order is None:
            return code
        if not 1 <= c.qty <= MAX_QTY:
            return Code.BAD_QTY
        if c.qty >= order.open:
            return self.cancel(c)
        self.own = order
        self.shrink(order, order.open - c.qty)
        order.display = min(order.display, order.open)
        return Code.OK

    def modify(self, c: Command) -> Code:
        """A new price and open quantity."""
        code, order = self.find(c, operator=False)
        if order is None:
            return code
        has_px = not order.waiting or order.order_type == OrderType.STOP_LIMIT
        keeps = order.waiting or (c.px == order.px and c.qty <= order.open)
        if not good_qty(c.qty, order.display):
            return Code.BAD_QTY
        if self.check_prices(c, has_px, order.waiting, in_range, Code.BAD_TICK):
            return Code.BAD_TICK
        anew = {Phase.CONTINUOUS: True, Phase.AUCTION: not order.post_only}
        if self.phase == Phase.CLOSED or not (keeps or anew.get(self.phase, False)):
            return Code.PHASE
        if self.check_prices(c, has_px, order.waiting, self.in_bands, Code.PRICE_BAND):
            return Code.PRICE_BAND
        if order.waiting:
            self.modify_stop(order, c)
        elif keeps:
            self.shrink(order, c.qty)
            order.display = min(order.display, order.open)
        else:
            return self.replace(order, c)
        self.own = order
        return Code.OK

    def modify_stop(self, stop: Order, c: Command) -> None:
        """New prices and quantity of a waiting stop, which may trigger it."""
        stop.px = c.px if stop.order_type == OrderType.STOP_LIMIT else 0
        stop.stop_px = c.stop_px
        stop.open = c.qty
        stop.display = min(stop.display, stop.open)
        self.own = stop
        self.tell(EventKind.REPLACED, stop, stop.open)
        self.stops.remove(stop)
        stop.waiting = False
        self.wait(stop)

    def replace(self, order: Order, c: Command) -> Code:
        """Takes an order out of its queue and lets it arrive anew."""
        old_px, order.px = order.px, c.px
        code = self.check_book(order) if self.phase == Phase.CONTINUOUS else Code.OK
        new_px, order.px = order.px, old_px
        if code:
            return code
        self.own = order
        order.open = c.qty
        self.emit(
            EventKind.REPLACED,
            order_id=order.order_id,
            px=new_px,
            qty=c.qty,
            owner=order.owner,
            side=order.side,
        )
        self.leave(order)
        order.px = new_px
        order.display = min(order.display, order.open)
        order.entry = self.new_entry()
        self.arrive(order)
        return Code.OK

    def mass_cancel(self, c: Command) -> Code:
        """Cancels by owner and side."""
        if c.owner > self.max_owners or c.side not in (0, BUY, SELL):
            return Code.INVALID_REQUEST
        for order in self.in_book_order():
            if c.owner in (0, order.owner) and c.side in (0, order.side):
                self.end(order, Reason.MASS_CANCEL)
        return Code.OK

    def in_book_order(self) -> list[Order]:
        """Every live order: bids from the best, asks from the best, waiting stops oldest entry first."""
        queues = [self.levels[side][px] for side in (BUY, SELL) for px in self.prices(side)]
        return [o for queue in queues for o in queue] + sorted(self.stops, key=lambda o: o.entry)

    # --- PHASE, BANDS, TIME --------------------------------------------------------------------

    def change_phase(self, c: Command) -> Code:
        """Another phase, with what ends and begins with it."""
        if c.qty not in tuple(Phase) or c.qty == self.phase:
            return Code.INVALID_REQUEST
        if self.phase == Phase.AUCTION:
            if c.qty == Phase.HALTED:
                return Code.PHASE
            self.uncross()
        self.phase = c.qty
        self.emit(EventKind.PHASE_CHANGED, qty=c.qty)
        for order in self.in_book_order():
            if self.phase == Phase.AUCTION and order.reduce_only:
                self.end(order, Reason.REDUCE_ONLY)
            if self.phase == Phase.CLOSED and order.time_in_force == Life.DAY:
                self.end(order, Reason.DAY_END)
        if self.phase == Phase.CONTINUOUS:
            self.trigger()
            self.queue_triggered()
        return Code.OK

    def set_bands(self, c: Command) -> Code:
        """Prices between which orders are taken."""
        if c.px > c.stop_px or not (in_range(c.px) and in_range(c.stop_px)):
            return Code.BAD_TICK
        self.bands = (c.px, c.stop_px)
        return Code.OK

    def move_clock(self, c: Command) -> Code:
        """Nothing more."""
        return Code.OK


HANDLERS = {
    Kind.ADD: NaiveMatcher.add,
    Kind.CANCEL: NaiveMatcher.cancel,
    Kind.MODIFY: NaiveMatcher.modify,
    Kind.REDUCE: NaiveMatcher.reduce,
    Kind.MASS_CANCEL: NaiveMatcher.mass_cancel,
    Kind.PHASE: NaiveMatcher.change_phase,
    Kind.BANDS: NaiveMatcher.set_bands,
    Kind.TIME: NaiveMatcher.move_clock,
}
