"""The obvious market-by-order book: dicts and lists. The oracle of ``engine.book.l3`` and its specification.

Totals and bests are those of hftbacktest's ``HashMapMarketDepth``:

* An add counts in its level whatever its quantity, and becomes best when its price is better.
* A level goes when a cancel, or a modification to another price, leaves less than half a lot of it; a
  modification at its own price leaves it and the bests alone, even with nothing left.
* A best at or through the opposite one moves that as in ``naive.py``: crossed levels stay stored, stale.
* Clears take a whole side or both, whatever the price.

Queues and fills are those of its ``L3FIFOQueueModel``:

* A modification loses the order's place when its price changes or its quantity grows.
* A fill takes out the own orders ahead of the filled one in its queue, and those at prices better than the
  execution's up to the best. A new best takes out the opposite own orders it reaches, from where the best
  was. "Up to" and "from" do not hold where there are fewer own orders than ticks in between: then those
  beyond are taken out as well. hftbacktest looks for them the cheaper way, and so the outcomes differ.
* hftbacktest fills in the order of a hash map; here and in the fast book it is best price first, then first
  come first.

Where hftbacktest would stop the process (a level dropped for less than half a lot while orders remain, an
impossible price) the level counts as empty, or the row is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from engine.book.naive import INVALID_MAX, INVALID_MIN, VIEWS, NaiveL2, round_half_away
from engine.core.errors import DataError, InvariantError, OrderIdExists, OrderNotFound
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    DEPTH_CLEAR_EVENT,
    FILL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
)


@dataclass(slots=True, eq=False)
class NaiveOrder:
    """An order in a queue; ``own`` ones carry their tag as their id."""

    order_id: int
    side: int
    tick: int
    qty: float
    own: bool


class NaiveL3:
    """A market-by-order book of dicts; every method means what it means in ``engine.book.l3.L3``."""

    def __init__(self, tick_size: float, lot_size: float) -> None:
        self.depth = NaiveL2(tick_size, lot_size)
        self.orders: dict[int, NaiveOrder] = {}
        self.queues: dict[tuple[int, int], list[NaiveOrder]] = {}
        self.given: list[int] = []

    # --- totals ---

    def _levels(self, side: int) -> dict[int, float]:
        return self.depth.bid_depth if side > 0 else self.depth.ask_depth

    def _best(self, side: int) -> int:
        return self.depth.best_bid_tick if side > 0 else self.depth.best_ask_tick

    def _increase(self, side: int, tick: int, qty: float) -> None:
        depth, levels = self.depth, self._levels(side)
        self._store(levels, tick, levels.get(tick, 0.0) + qty)
        if side > 0:
            if tick > depth.best_bid_tick:
                depth.best_bid_tick = tick
                if tick >= depth.best_ask_tick:
                    depth.best_ask_tick = depth._above(tick)
            depth.low_bid_tick = min(depth.low_bid_tick, tick)
        else:
            if tick < depth.best_ask_tick:
                depth.best_ask_tick = tick
                if tick <= depth.best_bid_tick:
                    depth.best_bid_tick = depth._below(tick)
            depth.high_ask_tick = max(depth.high_ask_tick, tick)

    def _store(self, levels: dict[int, float], tick: int, total: float) -> None:
        if total > 0.0:
            levels[tick] = total
        else:
            levels.pop(tick, None)

    def _reduce(self, side: int, tick: int, qty: float) -> None:
        depth, levels = self.depth, self._levels(side)
        total = levels.get(tick, 0.0) - qty
        if total > 0.0 and round_half_away(total / depth.lot_size) > 0:
            levels[tick] = total
            return
        levels.pop(tick, None)
        if tick != self._best(side):
            return
        if side > 0:
            depth.best_bid_tick = depth._below(tick)
            if depth.best_bid_tick == INVALID_MIN:
                depth.low_bid_tick = INVALID_MAX
        else:
            depth.best_ask_tick = depth._above(tick)
            if depth.best_ask_tick == INVALID_MAX:
                depth.high_ask_tick = INVALID_MIN

    # --- the market's orders ---

    def add(self, order_id: int, side: int, px: float, qty: float, row: int = 0) -> None:
        tick, qty = self.depth._valid(px, qty, row)
        if order_id in self.orders:
            raise OrderIdExists(f"order {order_id}")
        prev = self._best(side)
        order = self.orders[order_id] = NaiveOrder(order_id, side, tick, qty, False)
        self._increase(side, tick, qty)
        self._queue(order)
        self._improved(side, prev)

    def modify(self, order_id: int, px: float, qty: float, row: int = 0) -> None:
        order = self._find(order_id)
        tick, qty = self.depth._valid(px, qty, row)
        prev = self._best(order.side)
        if tick == order.tick:
            levels = self._levels(order.side)
            self._store(levels, tick, levels.get(tick, 0.0) + (qty - order.qty))
        else:
            self._reduce(order.side, order.tick, order.qty)
            self._increase(order.side, tick, qty)
        self._requeue(order, tick, qty)
        self._improved(order.side, prev)

    def cancel(self, order_id: int) -> None:
        order = self._find(order_id)
        del self.orders[order_id]
        self._reduce(order.side, order.tick, order.qty)
        self._unqueue(order)

    def clear(self, side: int = 0) -> None:
        for one in (1, -1):
            if side in (0, one):
                own = [order for order in self._own() if order.side == one]
                self._give(own)
                self.depth.clear(one, math.inf)
                self.orders = {i: order for i, order in self.orders.items() if order.side != one}
                self.queues = {at: queue for at, queue in self.queues.items() if at[0] != one}

    def _find(self, order_id: int) -> NaiveOrder:
        if order_id not in self.orders:
            raise OrderNotFound(f"order {order_id}")
        return self.orders[order_id]

    # --- queues ---

    def _queue(self, order: NaiveOrder) -> None:
        self.queues.setdefault((order.side, order.tick), []).append(order)

    def _unqueue(self, order: NaiveOrder) -> None:
        queue = self.queues[order.side, order.tick]
        queue.remove(order)
        if not queue:
            del self.queues[order.side, order.tick]

    def _requeue(self, order: NaiveOrder, tick: int, qty: float) -> None:
        if tick != order.tick or qty > order.qty:
            self._unqueue(order)
            order.tick = tick
            self._queue(order)
        order.qty = qty

    # --- own orders ---

    def _own(self) -> list[NaiveOrder]:
        """Own orders, best price first, then first come first; bids before asks."""
        found = [order for queue in self.queues.values() for order in queue if order.own]
        return sorted(found, key=lambda order: (-order.side, -order.side * order.tick))

    def _give(self, orders: list[NaiveOrder]) -> None:
        for order in orders:
            self._unqueue(order)
            self.given.append(order.order_id)

    def _between(self, side: int, worst: int, best: int) -> list[NaiveOrder]:
        """Own orders from the price ``worst`` to ``best``, or beyond where that is cheaper to find."""
        everything = len(self._own()) < (best - worst) * side
        return [
            order
            for order in self._own()
            if order.side == side
            and (order.tick - worst) * side >= 0
            and (everything or (best - order.tick) * side >= 0)
        ]

    def _improved(self, side: int, prev: int) -> None:
        """A best of ``side`` that came from ``prev`` meets the opposite own orders."""
        best = self._best(side)
        if (best - prev) * side > 0:
            self._give(self._between(-side, best, prev + side))

    def fill(self, order_id: int, px: float, row: int = 0) -> None:
        order = self._find(order_id)
        side, best = order.side, self._best(order.side)
        exec_tick, _ = self.depth._valid(px, 0.0, row)
        if (best - exec_tick) * side > 0:
            self._give(self._between(side, exec_tick + side, best))
        queue = self.queues[side, order.tick]
        self._give([ahead for ahead in queue[: queue.index(order)] if ahead.own])

    def insert_own(self, side: int, tick: int, qty: float, tag: int) -> NaiveOrder:
        order = NaiveOrder(tag, side, tick, qty, True)
        self._queue(order)
        return order

    def modify_own(self, order: NaiveOrder, tick: int, qty: float) -> None:
        self._requeue(order, tick, qty)

    def remove_own(self, order: NaiveOrder) -> None:
        self._unqueue(order)

    def ahead_of(self, order: NaiveOrder) -> float:
        queue = self.queues[order.side, order.tick]
        return sum(ahead.qty for ahead in queue[: queue.index(order)] if not ahead.own)

    def take_given(self) -> list[int]:
        given, self.given = self.given, []
        return given

    # --- events ---

    def apply(self, events: np.ndarray, view: str = "all") -> int:
        rows = np.flatnonzero(events["ev"] & np.uint64(VIEWS[view]))
        for row in rows:
            try:
                self._apply_row(events[row], int(row), view)
            except (OrderNotFound, OrderIdExists) as error:
                raise DataError(str(error), row=int(row), field="order_id") from None
        return len(rows)

    def _apply_row(self, event: np.void, row: int, view: str) -> None:
        ev, order_id, px, qty = (event[field].item() for field in ("ev", "order_id", "px", "qty"))
        side = 1 if ev & BUY_EVENT else -1 if ev & SELL_EVENT else 0
        kind = ev & 0xFF
        if kind == ADD_ORDER_EVENT and side:
            self.add(order_id, side, px, qty, row)
        elif kind == MODIFY_ORDER_EVENT:
            self.modify(order_id, px, qty, row)
        elif kind == CANCEL_ORDER_EVENT:
            self.cancel(order_id)
        elif kind == DEPTH_CLEAR_EVENT:
            self.clear(side)
        else:
            if kind == FILL_EVENT and side and view != "local":
                self.fill(order_id, px, row)
            return
        self.depth.ts = int(event["exch_ts"])

    # --- looking at it ---

    def __len__(self) -> int:
        return len(self.orders)

    @property
    def ts(self) -> int:
        return self.depth.ts

    @property
    def best_bid_tick(self) -> int:
        return self.depth.best_bid_tick

    @property
    def best_ask_tick(self) -> int:
        return self.depth.best_ask_tick

    def qty_at_tick(self, side: int, tick: int) -> float:
        return self._levels(side).get(tick, 0.0)

    def levels(self, side: int, n: int | None = None) -> np.ndarray:
        return self.depth.bids(n) if side > 0 else self.depth.asks(n)

    def queue(self, side: int, tick: int) -> list[tuple[int, float, bool]]:
        return [(order.order_id, order.qty, order.own) for order in self.queues.get((side, tick), [])]

    def order(self, order_id: int) -> tuple[int, int, float] | None:
        order = self.orders.get(order_id)
        return None if order is None else (order.side, order.tick, order.qty)

    def hash(self) -> int:
        return self.depth.hash()

    def check_invariants(self) -> None:
        queued = [order for queue in self.queues.values() for order in queue if not order.own]
        if len(queued) != len(self.orders) or any(self.orders[o.order_id] is not o for o in queued):
            raise InvariantError("the queues do not hold the orders")
