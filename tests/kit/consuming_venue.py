"""A venue whose levels are consumed by own orders, as slowly and plainly as it can be said; no latencies.

It is ``partial_fill_exchange`` with ``liquidity_consumption`` and ``risk_adverse_queue_model``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from engine.backtest import hbt
from engine.book.naive import NaiveL2, round_half_away
from engine.core.types import (
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    TRADE_EVENT,
    Reason,
)

BUY, SELL = 1, -1
FILL = tuple[int, int, int, float, bool, int]
"""Time, order, tick, quantity, maker, reason."""


@dataclass
class Resting:
    """An order of ours in the book."""

    order_id: int
    side: int
    tick: int
    leaves: float
    front: float
    tif: int


@dataclass
class ConsumingVenue:
    """Takes rows and orders in time; ``fills`` is what came of it."""

    tick_size: float
    lot_size: float
    consumed: dict[tuple[int, int], float] = field(default_factory=dict)
    resting: list[Resting] = field(default_factory=list)
    fills: list[FILL] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = NaiveL2(self.tick_size, self.lot_size)

    # --- levels ---

    def _something(self, qty: float) -> bool:
        return round_half_away(qty / self.lot_size) > 0

    def _levels(self, side: int) -> dict[int, float]:
        return self.book.bid_depth if side == BUY else self.book.ask_depth

    def left(self, side: int, tick: int) -> float:
        """What can be had of a level."""
        left = self._levels(side).get(tick, 0.0) - self.consumed.get((side, tick), 0.0)
        return left if self._something(left) else 0.0

    def offers(self, side: int) -> list[int]:
        """The ticks of a side at which something can be had, best first."""
        best = self.book.best_bid_tick if side == BUY else self.book.best_ask_tick
        ticks = [t for t in self._levels(side) if (best - t) * side >= 0 and self.left(side, t) > 0.0]
        return sorted(ticks, key=lambda t: -t * side)

    def _take(self, side: int, tick: int, qty: float) -> None:
        self.consumed[side, tick] = self.consumed.get((side, tick), 0.0) + qty

    # --- the market ---

    def row(self, event: np.void) -> None:
        """One row of the recording."""
        ev, now = int(event["ev"]), int(event["exch_ts"])
        if not ev & EXCH_EVENT:
            return
        kind = ev & 0xFF
        side = BUY if ev & hbt.BUY_EVENT else SELL if ev & hbt.SELL_EVENT else 0
        tick = round_half_away(float(event["px"]) / self.tick_size)
        if kind == TRADE_EVENT and side:
            self._trade(-side, tick, float(event["qty"]), now)
            return
        before = self._levels(side).get(tick, 0.0)
        self.book._apply_row(event, 0)
        if kind in (DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT) and side:
            for order in self.resting:
                if (order.side, order.tick) == (side, tick):
                    order.front = min(order.front, float(event["qty"]))
            self._decay((side, tick), before - self._levels(side).get(tick, 0.0))
        elif kind == DEPTH_CLEAR_EVENT:
            self.consumed = {(s, t): q for (s, t), q in self.consumed.items() if t in self._levels(s)}
        self._match(now)

    def _decay(self, level: tuple[int, int], shrunk: float) -> None:
        if shrunk > 0.0 and level in self.consumed:
            self.consumed[level] -= shrunk
            if not self._something(self.consumed[level]):
                del self.consumed[level]

    def _in_order(self, side: int) -> list[Resting]:
        return sorted((o for o in self.resting if o.side == side), key=lambda o: -o.tick * side)

    def _match(self, now: int) -> None:
        for side in (BUY, SELL):
            for order in self._in_order(-side):
                for tick in self.offers(side):
                    if (order.tick - tick) * order.side >= 0 and order in self.resting:
                        qty = min(self.left(side, tick), order.leaves)
                        self._take(side, tick, qty)
                        self._fill_resting(order, qty, Reason.BEST_CROSSED, now)

    def _trade(self, side: int, tick: int, qty: float, now: int) -> None:
        """A trade that an order of ``side`` may have been in."""
        for order in self._in_order(side):
            if (order.tick - tick) * side > 0:
                self._fill_resting(order, order.leaves, Reason.TRADE_THROUGH, now)
            elif order.tick == tick:
                order.front -= qty
                if self._something(-order.front):
                    through = round_half_away(-order.front / self.lot_size) * self.lot_size
                    order.front = 0.0
                    self._fill_resting(order, min(through, order.leaves), Reason.QUEUE_FRONT, now)

    def _fill_resting(self, order: Resting, qty: float, reason: Reason, now: int) -> None:
        self.fills.append((now, order.order_id, order.tick, qty, True, int(reason)))
        order.leaves -= qty
        if not self._something(order.leaves):
            self.resting.remove(order)

    # --- our orders ---

    def order(self, order_id: int, side: int, tick: int, qty: float, tif: int, kind: int, now: int) -> None:
        """A new order arrives."""
        offers = self.offers(-side)
        reached = [t for t in offers if (tick - t) * side >= 0]
        if kind == hbt.MARKET:
            best = self.book.best_ask_tick if side == BUY else self.book.best_bid_tick
            reached = [t for t in offers if abs(t - best) <= 100]
        elif not reached:
            if tif in (hbt.GTC, hbt.GTX):
                self._rest(order_id, side, tick, qty, tif)
            return
        elif tif == hbt.GTX:
            return
        enough = not self._something(qty - sum(self.left(-side, t) for t in reached))
        if kind == hbt.LIMIT and tif == hbt.FOK and not enough:
            return
        for t in reached:
            took = min(self.left(-side, t), qty)
            self._take(-side, t, took)
            self.fills.append((now, order_id, t, took, False, int(Reason.TAKER)))
            qty -= took
            if not self._something(qty):
                return
        if kind == hbt.LIMIT and tif == hbt.GTC:
            self._rest(order_id, side, tick, qty, tif)

    def _rest(self, order_id: int, side: int, tick: int, qty: float, tif: int) -> None:
        self.resting.append(Resting(order_id, side, tick, qty, self._levels(side).get(tick, 0.0), tif))

    def find(self, order_id: int) -> Resting | None:
        """The order, if it rests."""
        return next((o for o in self.resting if o.order_id == order_id), None)

    def cancel(self, order_id: int) -> None:
        """A cancel arrives."""
        self.resting = [o for o in self.resting if o.order_id != order_id]

    def modify(self, order_id: int, tick: int, qty: float, now: int) -> None:
        """A modification of a resting order arrives."""
        order = self.find(order_id)
        if tick == order.tick and qty <= order.leaves:
            order.leaves = qty
            return
        self.cancel(order_id)
        self.order(order_id, order.side, tick, qty, order.tif, hbt.LIMIT, now)
