"""The oracle's book: orders in plain lists, the events they cause, and the state hash of docs/matching.md."""

from __future__ import annotations

from dataclasses import dataclass

from engine.core.errors import InvariantError
from engine.matching.records import (
    POST_ONLY,
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    EventKind,
    Life,
    OrderType,
    Phase,
    SelfTradePolicy,
)

BUY, SELL = 1, -1
MAX_PX = 2**31 - 1
MAX_QTY = 2**32 - 1
U64 = 2**64 - 1
IN_BOOK = (EventKind.ADDED, EventKind.CHANGED, EventKind.REMOVED)
SILENT = {"all": (), "trades": IN_BOOK, "none": tuple(kind for kind in EventKind if kind != EventKind.LEVEL)}


@dataclass(eq=False, slots=True)
class Order:
    """One live order: in the book, waiting as a stop, or arriving."""

    order_id: int
    owner: int
    side: int
    order_type: int
    time_in_force: int
    flags: int
    policy: int
    px: int
    stop_px: int
    expire_ts: int
    open: int
    display: int
    entry: int
    shown: int = 0
    in_book: bool = False
    waiting: bool = False
    is_top: bool = False

    @property
    def hidden(self) -> int:
        """What is open and not shown."""
        return self.open - self.shown

    @property
    def slides(self) -> bool:
        """Whether it moves behind the opposite best instead of trading."""
        return bool(self.flags & POST_ONLY_SLIDE)

    @property
    def post_only(self) -> bool:
        """Whether it must not trade on arrival."""
        return self.time_in_force == Life.GTX or bool(self.flags & (POST_ONLY | POST_ONLY_SLIDE))

    @property
    def reduce_only(self) -> bool:
        """Whether it may only bring its owner's position towards zero."""
        return bool(self.flags & REDUCE_ONLY)

    @property
    def prevention(self) -> int:
        """The policy it arrives with: a trade with oneself reduces nothing, so reduce-only has one."""
        return self.policy or (SelfTradePolicy.CANCEL_NEWEST if self.reduce_only else SelfTradePolicy.NONE)

    @property
    def ends_unfilled(self) -> bool:
        """Whether what does not trade on arrival ends."""
        return self.order_type in (OrderType.MARKET, OrderType.STOP) or self.time_in_force in (
            Life.IOC,
            Life.FOK,
        )

    def slice(self) -> int:
        """What it shows when it joins a queue."""
        return min(self.display, self.open) if self.display else self.open


def within(side: int, limit: int, px: int) -> bool:
    """Whether an order of ``side`` with that limit trades at ``px``."""
    return side * px <= side * limit


class NaiveBook:
    """Orders, queues, positions and the event log, with nothing decided about who trades.

    Attributes:
        orders: Every live order by id.
        levels: For each side, price to queue.
        stops: Waiting stops, in no order.
        positions: Lots bought less sold, by owner.
    """

    def __init__(self, instrument: int, events: str, top_matters: bool) -> None:
        self.instrument = instrument
        self.silent = SILENT[events]
        self.top_matters = top_matters
        self.clock = 0
        self.phase = int(Phase.CONTINUOUS)
        self.last_px: int | None = None
        self.bands = (-MAX_PX, MAX_PX)
        self.seq = 0
        self.entries = 0
        self.orders: dict[int, Order] = {}
        self.levels: dict[int, dict[int, list[Order]]] = {BUY: {}, SELL: {}}
        self.stops: list[Order] = []
        self.positions: dict[int, int] = {}
        self.events: list[tuple] = []
        self.touched: dict[tuple[int, int], None] = {}

    # --- reading -------------------------------------------------------------------------------

    def best(self, side: int) -> int | None:
        """The best price of a side, None when it is empty."""
        prices = self.levels[side]
        if not prices:
            return None
        return max(prices) if side == BUY else min(prices)

    def prices(self, side: int) -> list[int]:
        """Prices of a side, best first."""
        return sorted(self.levels[side], reverse=side == BUY)

    def crosses(self, side: int, px: int) -> bool:
        """Whether the opposite best is at ``px`` or better."""
        best = self.best(-side)
        return best is not None and within(side, px, best)

    def reducible(self, order: Order) -> int:
        """What the order may trade: all of it, or what brings its owner's position to zero."""
        if not order.reduce_only:
            return order.open
        return min(order.open, max(0, -order.side * self.positions.get(order.owner, 0)))

    def new_entry(self) -> int:
        """The next entry number."""
        self.entries += 1
        return self.entries

    # --- events --------------------------------------------------------------------------------

    def emit(
        self,
        kind: int,
        *,
        order_id: int = 0,
        other_id: int = 0,
        px: int = 0,
        qty: int = 0,
        owner: int = 0,
        other_owner: int = 0,
        side: int = 0,
        reason: int = 0,
    ) -> None:
        """Appends one event, in the field order of ``MatchEvent``."""
        if kind in self.silent:
            return
        self.seq += 1
        who = (order_id, other_id, px, qty, owner, other_owner, self.instrument)
        self.events.append((self.seq, self.clock, *who, 0, int(kind), side, int(reason), 0))

    def tell(self, kind: int, order: Order, qty: int, reason: int = 0) -> None:
        """One event about an order."""
        self.emit(
            kind,
            order_id=order.order_id,
            px=order.px,
            qty=qty,
            owner=order.owner,
            side=order.side,
            reason=reason,
        )
        if kind in IN_BOOK:
            self.touched.setdefault((order.side, order.px))

    def tell_levels(self) -> None:
        """One LEVEL for each level touched since the last call."""
        for side, px in self.touched:
            queue = self.levels[side].get(px, [])
            shown = sum(order.shown for order in queue)
            self.emit(EventKind.LEVEL, side=side, px=px, qty=shown, other_id=len(queue))

    # --- moving orders -------------------------------------------------------------------------

    def join(self, order: Order) -> None:
        """Puts an order at the end of its queue."""
        queue = self.levels[order.side].setdefault(order.px, [])
        order.shown = order.slice()
        order.in_book = True
        queue.append(order)
        self.tell(EventKind.ADDED, order, order.shown)

    def rest(self, order: Order) -> None:
        """Puts what is left of an arriving order into the book; it may become its level's top order."""
        best = self.best(order.side)
        made_the_best = best is None or order.side * order.px > order.side * best
        order.is_top = self.top_matters and made_the_best
        self.join(order)

    def leave(self, order: Order) -> None:
        """Takes an order out of its queue."""
        queue = self.levels[order.side][order.px]
        queue.remove(order)
        if not queue:
            del self.levels[order.side][order.px]
        order.in_book = order.is_top = False
        order.shown = 0
        self.tell(EventKind.REMOVED, order, 0)

    def forget(self, order: Order) -> None:
        """Takes the order off the list of the living."""
        del self.orders[order.order_id]

    def end(self, order: Order, reason: int) -> None:
        """Ends a live order wherever it is."""
        if order.in_book:
            self.leave(order)
        if order.waiting:
            self.stops.remove(order)
            order.waiting = False
        self.tell(EventKind.ENDED, order, order.open, reason)
        self.forget(order)

    def execute(self, order: Order, qty: int) -> None:
        """Takes traded quantity off a resting order: what it shows shrinks, then the next slice comes."""
        order.open -= qty
        order.shown -= qty
        if order.shown:
            self.tell(EventKind.CHANGED, order, order.shown)
            return
        self.leave(order)
        if order.open:
            self.join(order)
        else:
            self.forget(order)

    def shrink(self, order: Order, new_open: int) -> None:
        """A smaller open quantity without a trade: the place is kept, hidden quantity goes first."""
        order.open = new_open
        self.tell(EventKind.REPLACED, order, new_open)
        if order.in_book and order.shown > new_open:
            order.shown = new_open
            self.tell(EventKind.CHANGED, order, new_open)

    # --- state ---------------------------------------------------------------------------------

    def words(self) -> list[int]:
        """The words of the state hash."""
        last = 0 if self.last_px is None else self.last_px
        words = [self.clock, self.phase, last, int(self.last_px is not None), *self.bands, self.seq]
        for side in (BUY, SELL):
            for px in self.prices(side):
                for o in self.levels[side][px]:
                    words += [o.order_id, o.owner, o.px, o.shown, o.hidden, o.display]
                    words += [o.time_in_force, o.flags, o.policy, o.expire_ts, int(o.is_top)]
        for o in sorted(self.stops, key=lambda order: order.entry):
            words += [o.order_id, o.owner, o.side, o.order_type, o.stop_px, o.px, o.open, o.display]
            words += [o.time_in_force, o.flags, o.policy, o.expire_ts]
        for owner in sorted(self.positions):
            if self.positions[owner]:
                words += [owner, self.positions[owner]]
        return words

    def state_hash(self) -> int:
        """The hash of the state; equal states have equal hashes in every implementation."""
        h = 0xCBF29CE484222325
        for word in self.words():
            h = ((h ^ (word & U64)) * 0x9E3779B97F4A7C15) & U64
            h ^= h >> 32
        return h

    def check_invariants(self) -> None:
        """Raises :class:`InvariantError` when something that always holds does not."""
        in_book = [o for side in (BUY, SELL) for queue in self.levels[side].values() for o in queue]
        bid, ask = self.best(BUY), self.best(SELL)
        uncrossed = bid is None or ask is None or bid < ask or self.phase == Phase.AUCTION
        faults = {
            "the book is crossed": not uncrossed,
            "positions do not add up to zero": sum(self.positions.values()) != 0,
            "an empty level": any(not q for side in (BUY, SELL) for q in self.levels[side].values()),
            "live orders are not those of book and stops": len(in_book) + len(self.stops) != len(self.orders)
            or any(self.orders.get(o.order_id) is not o for o in in_book + self.stops),
            "shown quantities": any(not 0 < o.shown <= o.open <= MAX_QTY for o in in_book),
            "hidden quantity without a display quantity": any(o.hidden and not o.display for o in in_book),
        }
        for fault, holds in faults.items():
            if holds:
                raise InvariantError(fault)
