"""One symbol's order book as the screen needs it: levels by price, best levels on demand.

An update is a dictionary write per level; reading the best ``n`` of ``m`` levels is O(m log n), done at
most ten times a second. No Textual.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import NamedTuple

from bridge.protocol import Depth, OrderUpdate

LEVEL_LIMIT = 20_000
"""Levels a side may hold; beyond, the half farthest from the market is forgotten."""


class BookView:
    """The levels of a book, as the last depth messages left them."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.ts = 0
        self.exch_ts = 0
        self.conflated = 0

    def apply(self, depth: Depth) -> None:
        """Takes in a depth message; a snapshot starts from an empty book."""
        if depth.snapshot:
            self.bids.clear()
            self.asks.clear()
        _merge(self.bids, depth.bids)
        _merge(self.asks, depth.asks)
        if len(self.bids) > LEVEL_LIMIT:
            self.bids = dict(heapq.nlargest(LEVEL_LIMIT // 2, self.bids.items()))
        if len(self.asks) > LEVEL_LIMIT:
            self.asks = dict(heapq.nsmallest(LEVEL_LIMIT // 2, self.asks.items()))
        self.ts, self.exch_ts = depth.ts, depth.exch_ts
        self.conflated += depth.conflated

    def top(self, count: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """The best ``count`` bids and asks, best first, as (price, quantity)."""
        return heapq.nlargest(count, self.bids.items()), heapq.nsmallest(count, self.asks.items())


def _merge(levels: dict[float, float], changes: list[tuple[float, float]]) -> None:
    for px, qty in changes:
        if qty > 0:
            levels[px] = qty
        else:
            levels.pop(px, None)


class Rung(NamedTuple):
    """A row of the ladder: the market's quantity and our own open quantity at a price."""

    px: float
    qty: float
    own_qty: float
    own_orders: int


class Ladder(NamedTuple):
    """The rungs of both sides from the market outwards, and how many of our orders lie beyond them."""

    bids: list[Rung]
    asks: list[Rung]
    own_below: int
    own_above: int


def ladder(book: BookView, own: Iterable[OrderUpdate], tick_size: float, depth: int) -> Ladder:
    """Merges the best market levels with our live orders.

    Args:
        book: The symbol's book.
        own: Our live orders in the symbol.
        tick_size: The symbol's tick size; prices are equal where their ticks are.
        depth: Rungs wanted on each side.
    """
    best_bids, best_asks = book.top(depth)
    own = list(own)
    bids, below = _side(best_bids, [o for o in own if o.side == "buy"], tick_size, depth, descending=True)
    asks, above = _side(best_asks, [o for o in own if o.side == "sell"], tick_size, depth, descending=False)
    return Ladder(bids, asks, below, above)


def _side(
    levels: list[tuple[float, float]],
    own: list[OrderUpdate],
    tick_size: float,
    depth: int,
    *,
    descending: bool,
) -> tuple[list[Rung], int]:
    def tick(px: float) -> float:
        return round(px / tick_size) if tick_size > 0 else px

    rungs = {tick(px): Rung(px, qty, 0.0, 0) for px, qty in levels}
    for order in own:
        at = tick(order.px)
        rung = rungs.get(at) or Rung(order.px, 0.0, 0.0, 0)
        rungs[at] = rung._replace(own_qty=rung.own_qty + order.leaves_qty, own_orders=rung.own_orders + 1)
    ordered = sorted(rungs.values(), key=lambda rung: rung.px, reverse=descending)
    return ordered[:depth], sum(rung.own_orders for rung in ordered[depth:])
