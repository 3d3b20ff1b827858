"""The obvious market-by-price book: two dicts. The oracle of ``engine.book.l2`` and its specification.

The semantics are those of hftbacktest's ``HashMapMarketDepth``:

* A level is removed when its quantity rounds to no lot; otherwise the raw quantity is stored.
* A bid at or through the best ask moves the best ask up to the next ask above that bid (and an ask the
  best bid down), but the crossed levels stay stored: the feed is trusted to remove them. They are
  *stale*: found by tick, not listed, and never best unless a clear passes them.
* The next best is looked for no further than the outermost level set since its side was last empty
  (``low_bid_tick``, ``high_ask_tick``), so a stale level below it does not become best.
* Clearing up to a price removes from the best to that price, inclusive, then looks for the next best
  from *two* ticks beyond it. A price that is not finite clears the side; no side clears both.

A BBO event, which hftbacktest ignores, sets its level and drops whatever was better on its side; with a
quantity of no lot it removes the level.
"""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import numpy as np

from engine.core.errors import DataError, InvariantError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    event_dtype,
)

INVALID_MIN = -(2**63)
INVALID_MAX = 2**63 - 1
U64 = 2**64 - 1
VIEWS = {"all": EXCH_EVENT | LOCAL_EVENT, "local": LOCAL_EVENT, "exch": EXCH_EVENT}


def round_half_away(x: float) -> int:
    """The integer nearest to ``x``, halves away from zero, as C's and Rust's ``round`` do."""
    magnitude = math.floor(Fraction(abs(x)) + Fraction(1, 2))
    return magnitude if x >= 0 else -magnitude


def mix(x: int) -> int:
    """The finaliser of splitmix64."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & U64
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & U64
    return x ^ (x >> 31)


def mix_levels(levels: list[tuple[int, float]]) -> int:
    """The sum of the levels' hashes, which needs no order."""
    total = 0
    for tick, qty in levels:
        bits = struct.unpack("<Q", struct.pack("<d", qty))[0]
        total += mix((mix((tick + 0x9E3779B97F4A7C15) & U64) + bits) & U64)
    return total & U64


class NaiveL2:
    """A market-by-price book of two dicts; every method means what it means in ``engine.book.l2.L2``."""

    def __init__(self, tick_size: float, lot_size: float) -> None:
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.ts = 0
        self.bid_depth: dict[int, float] = {}
        self.ask_depth: dict[int, float] = {}
        self.best_bid_tick = INVALID_MIN
        self.best_ask_tick = INVALID_MAX
        self.low_bid_tick = INVALID_MAX
        self.high_ask_tick = INVALID_MIN

    # --- changing it ---

    def _valid(self, px: float, qty: float, row: int) -> tuple[int, float]:
        if not abs(px / self.tick_size) < 2**62:
            raise DataError(f"{px} is not within 2**62 ticks", row=row, field="px")
        if not 0.0 <= qty <= min(9.2e18 * self.lot_size, 1e300):
            raise DataError(f"{qty} is no quantity", row=row, field="qty")
        return round_half_away(px / self.tick_size), qty

    def _below(self, start: int) -> int:
        return max((t for t in self.bid_depth if self.low_bid_tick <= t < start), default=INVALID_MIN)

    def _above(self, start: int) -> int:
        return min((t for t in self.ask_depth if start < t <= self.high_ask_tick), default=INVALID_MAX)

    def update_bid(self, px: float, qty: float, row: int = 0) -> tuple[int, int, int, float, float]:
        tick, qty = self._valid(px, qty, row)
        prev_best, prev_qty = self.best_bid_tick, self.bid_depth.get(tick, 0.0)
        if round_half_away(qty / self.lot_size) == 0:
            self.bid_depth.pop(tick, None)
            if tick == self.best_bid_tick:
                self.best_bid_tick = self._below(tick)
                if self.best_bid_tick == INVALID_MIN:
                    self.low_bid_tick = INVALID_MAX
        else:
            self.bid_depth[tick] = qty
            if tick > self.best_bid_tick:
                self.best_bid_tick = tick
                if tick >= self.best_ask_tick:
                    self.best_ask_tick = self._above(tick)
            self.low_bid_tick = min(self.low_bid_tick, tick)
        return tick, prev_best, self.best_bid_tick, prev_qty, qty

    def update_ask(self, px: float, qty: float, row: int = 0) -> tuple[int, int, int, float, float]:
        tick, qty = self._valid(px, qty, row)
        prev_best, prev_qty = self.best_ask_tick, self.ask_depth.get(tick, 0.0)
        if round_half_away(qty / self.lot_size) == 0:
            self.ask_depth.pop(tick, None)
            if tick == self.best_ask_tick:
                self.best_ask_tick = self._above(tick)
                if self.best_ask_tick == INVALID_MAX:
                    self.high_ask_tick = INVALID_MIN
        else:
            self.ask_depth[tick] = qty
            if tick < self.best_ask_tick:
                self.best_ask_tick = tick
                if tick <= self.best_bid_tick:
                    self.best_bid_tick = self._below(tick)
            self.high_ask_tick = max(self.high_ask_tick, tick)
        return tick, prev_best, self.best_ask_tick, prev_qty, qty

    def clear(self, side: int = 0, upto_px: float = math.nan) -> None:
        if side != 0 and math.isfinite(upto_px):
            ratio = min(max(upto_px / self.tick_size, -(2.0**62)), 2.0**62)
            self._clear_upto(side, round_half_away(ratio))
            return
        if side >= 0:
            self.bid_depth.clear()
            self.best_bid_tick, self.low_bid_tick = INVALID_MIN, INVALID_MAX
        if side <= 0:
            self.ask_depth.clear()
            self.best_ask_tick, self.high_ask_tick = INVALID_MAX, INVALID_MIN

    def _clear_upto(self, side: int, tick: int) -> None:
        if side > 0:
            if self.best_bid_tick != INVALID_MIN:
                for t in [t for t in self.bid_depth if tick <= t <= self.best_bid_tick]:
                    del self.bid_depth[t]
            self.best_bid_tick = self._below(tick - 1)
            if self.best_bid_tick == INVALID_MIN:
                self.low_bid_tick = INVALID_MAX
        else:
            if self.best_ask_tick != INVALID_MAX:
                for t in [t for t in self.ask_depth if self.best_ask_tick <= t <= tick]:
                    del self.ask_depth[t]
            self.best_ask_tick = self._above(tick + 1)
            if self.best_ask_tick == INVALID_MAX:
                self.high_ask_tick = INVALID_MIN

    def _bbo(self, side: int, px: float, qty: float, row: int) -> None:
        tick = (self.update_bid if side > 0 else self.update_ask)(px, qty, row)[0]
        if round_half_away(qty / self.lot_size) == 0:
            return
        if side > 0:
            self.bid_depth = {t: q for t, q in self.bid_depth.items() if t <= tick}
            self.best_bid_tick = tick
        else:
            self.ask_depth = {t: q for t, q in self.ask_depth.items() if t >= tick}
            self.best_ask_tick = tick

    def _apply_row(self, event: np.void, row: int) -> None:
        ev, px, qty = int(event["ev"]), float(event["px"]), float(event["qty"])
        kind = ev & 0xFF
        side = 1 if ev & BUY_EVENT else -1 if ev & SELL_EVENT else 0
        if kind == DEPTH_CLEAR_EVENT:
            if side and math.isfinite(px):
                self._valid(px, 0.0, row)
            self.clear(side, px)
        elif side and kind in (DEPTH_EVENT, DEPTH_SNAPSHOT_EVENT):
            (self.update_bid if side > 0 else self.update_ask)(px, qty, row)
        elif side and kind == DEPTH_BBO_EVENT:
            self._bbo(side, px, qty, row)
        else:
            return
        self.ts = int(event["exch_ts"])

    def apply(self, events: np.ndarray, view: str = "all") -> int:
        return sum(1 for _ in self._rows(events, view))

    def _rows(self, events: np.ndarray, view: str):
        for row in np.flatnonzero(events["ev"] & np.uint64(VIEWS[view])):
            self._apply_row(events[row], int(row))
            yield row

    # --- looking at it ---

    @property
    def best_bid(self) -> float:
        return math.nan if self.best_bid_tick == INVALID_MIN else self.best_bid_tick * self.tick_size

    @property
    def best_ask(self) -> float:
        return math.nan if self.best_ask_tick == INVALID_MAX else self.best_ask_tick * self.tick_size

    @property
    def best_bid_qty(self) -> float:
        return self.bid_depth.get(self.best_bid_tick, 0.0)

    @property
    def best_ask_qty(self) -> float:
        return self.ask_depth.get(self.best_ask_tick, 0.0)

    def bid_qty_at_tick(self, tick: int) -> float:
        return self.bid_depth.get(tick, 0.0)

    def ask_qty_at_tick(self, tick: int) -> float:
        return self.ask_depth.get(tick, 0.0)

    def _bid_levels(self) -> list[tuple[int, float]]:
        return sorted(((t, q) for t, q in self.bid_depth.items() if t <= self.best_bid_tick), reverse=True)

    def _ask_levels(self) -> list[tuple[int, float]]:
        return sorted((t, q) for t, q in self.ask_depth.items() if t >= self.best_ask_tick)

    def bids(self, n: int | None = None) -> np.ndarray:
        return np.array([(t * self.tick_size, q) for t, q in self._bid_levels()[:n]]).reshape(-1, 2)

    def asks(self, n: int | None = None) -> np.ndarray:
        return np.array([(t * self.tick_size, q) for t, q in self._ask_levels()[:n]]).reshape(-1, 2)

    def snapshot(self) -> np.ndarray:
        flags = DEPTH_SNAPSHOT_EVENT | EXCH_EVENT | LOCAL_EVENT
        rows = [(flags | BUY_EVENT, t, q) for t, q in self._bid_levels()]
        rows += [(flags | SELL_EVENT, t, q) for t, q in self._ask_levels()]
        return np.array(
            [(ev, self.ts, self.ts, t * self.tick_size, q, 0, 0, 0.0) for ev, t, q in rows], event_dtype
        )

    def hash(self) -> int:
        bids, asks = mix_levels(self._bid_levels()), mix_levels(self._ask_levels())
        return mix((mix((bids + 1) & U64) * 3 + mix((asks + 2) & U64)) & U64)

    def check_invariants(self) -> None:
        if self.best_bid_tick != INVALID_MIN and self.best_bid_tick not in self.bid_depth:
            raise InvariantError("the best bid is not a level")
        if self.best_ask_tick != INVALID_MAX and self.best_ask_tick not in self.ask_depth:
            raise InvariantError("the best ask is not a level")
