"""Books by price: the bridge's of what it has published, a client's of what it has had."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterable
from zlib import crc32

from bridge import protocol as p

Levels = Iterable[tuple[float, float]]


class Sides:
    """Quantity by price on both sides.

    Attributes:
        symbol: The instrument.
        bids: Quantity by price, in quantity and price units.
        asks: As ``bids``.
        seq: The last message applied.
        ts: Its engine time, ns.
        exch_ts: Its exchange time, ns.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.seq = self.ts = self.exch_ts = 0

    def change(self, bids: Levels, asks: Levels, snapshot: bool = False) -> None:
        """Changes levels; a snapshot begins with none."""
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            if snapshot:
                side.clear()
            for px, qty in levels:
                if qty > 0:
                    side[px] = qty
                else:
                    side.pop(px, None)

    def checksum(self) -> int:
        """What :class:`bridge.protocol.Depth` calls it: CRC-32 of all levels, never 0. O(n log n)."""
        flat = [one for level in sorted(self.bids.items(), reverse=True) for one in level]
        flat += [one for level in sorted(self.asks.items()) for one in level]
        return crc32(struct.pack(f"<{len(flat)}d", *flat)) or 1

    def levels(self, n: int) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """The best ``n`` bids and asks as (price, quantity), best first."""
        bids = heapq.nlargest(n, self.bids)
        asks = heapq.nsmallest(n, self.asks)
        return [(px, self.bids[px]) for px in bids], [(px, self.asks[px]) for px in asks]


class Book(Sides):
    """A book kept from :class:`bridge.protocol.Depth` messages, with its best prices at hand.

    Attributes:
        conflated: How many messages merged several changes.
        stale: No snapshot yet, or a gap is being healed, or the connection is lost.
    """

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        self.conflated = 0
        self.stale = True
        self._best_bid: float | None = None
        self._best_ask: float | None = None

    def apply(self, depth: p.Depth) -> None:
        """Applies one message; a snapshot replaces the book."""
        self.change(depth.bids, depth.asks, depth.snapshot)
        self.seq, self.ts, self.exch_ts = depth.seq, depth.ts, depth.exch_ts
        if depth.conflated:
            self.conflated += 1

    def change(self, bids: Levels, asks: Levels, snapshot: bool = False) -> None:
        """Changes levels; a snapshot begins with none."""
        if snapshot:
            self.bids.clear()
            self.asks.clear()
            self._best_bid = self._best_ask = None
        # Written out for both sides: this is most of what a message costs its reader.
        side, best, gone = self.bids, self._best_bid, False
        for px, qty in bids:
            if qty > 0:
                side[px] = qty
                if best is None or px > best:
                    best = px
            elif side.pop(px, None) is not None and px == best:
                gone = True
        self._best_bid = max(side, default=None) if gone and best not in side else best
        side, best, gone = self.asks, self._best_ask, False
        for px, qty in asks:
            if qty > 0:
                side[px] = qty
                if best is None or px < best:
                    best = px
            elif side.pop(px, None) is not None and px == best:
                gone = True
        self._best_ask = min(side, default=None) if gone and best not in side else best

    @property
    def best_bid(self) -> float | None:
        """The highest bid's price, or None."""
        return self._best_bid

    @property
    def best_ask(self) -> float | None:
        """The lowest ask's price, or None."""
        return self._best_ask

    @property
    def mid(self) -> float | None:
        """Between the best bid and ask; None while one of them is missing."""
        if self._best_bid is None or self._best_ask is None:
            return None
        return (self._best_bid + self._best_ask) / 2

    def copy(self) -> Book:
        """A book that later messages do not change."""
        other = Book(self.symbol)
        other.__dict__.update(self.__dict__)
        other.bids, other.asks = dict(self.bids), dict(self.asks)
        return other
