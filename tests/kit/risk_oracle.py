"""The risk chain, slow and obvious: every sum is taken from lists of all there was, none is kept in between.

It knows orders, executions and marks as plain Python values and answers one question: which reason, of
which scope, denies this order, if any. The compiled chain has to answer the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from engine.risk.limits import RiskLimits

NS = 1_000_000_000
DAY = 86_400 * NS
CELL, STRATEGY, INSTRUMENT, EVERYTHING = range(4)


@dataclass
class Live:
    """A live order."""

    strategy: int
    instrument: int
    side: int
    tick: int
    lots: int


@dataclass
class Sent:
    """A message that went to the venue: ``what`` is new, modify or cancel."""

    ts: int
    strategy: int
    instrument: int
    what: str
    side: int = 0
    tick: int = 0
    lots: int = 0


@dataclass
class Oracle:
    """What happened so far, and the limits of every scope.

    Attributes:
        tick_size: Of all instruments.
        lot_size: Of all instruments.
        limits: By (kind of scope, strategy, instrument), the parts that do not matter -1.
        live: Live orders by id.
        sent: All messages.
        trades: All executions: (ts, strategy, instrument, side, tick, lots).
        books: By instrument (bid tick, ask tick, venue's time).
    """

    tick_size: float
    lot_size: float
    limits: dict[tuple[int, int, int], RiskLimits] = field(default_factory=dict)
    live: dict[int, Live] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    trades: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    books: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def position(self, strategy: int, instrument: int) -> int:
        return sum(
            side * lots for _, s, i, side, _, lots in self.trades if within((s, i), (strategy, instrument))
        )

    def open(self, strategy: int, instrument: int, side: int) -> int:
        return sum(
            o.lots
            for o in self.live.values()
            if o.side == side and within((o.strategy, o.instrument), (strategy, instrument))
        )

    def value(self, tick: int, lots: int) -> float:
        return tick * self.tick_size * (lots * self.lot_size)

    def mid(self, instrument: int) -> float:
        bid, ask, _ = self.books[instrument]
        return (bid * self.tick_size + ask * self.tick_size) / 2.0

    def gross(self, strategy: int, instrument: int, extra: Live) -> float:
        """Worst side of each cell of a scope at the mid, with one order more."""
        total = 0.0
        cells = {(o.strategy, o.instrument) for o in [*self.live.values(), extra]}
        cells |= {(s, i) for _, s, i, *_ in self.trades}
        for s, i in cells:
            if within((s, i), (strategy, instrument)):
                own = (s, i) == (extra.strategy, extra.instrument)
                buy = self.open(s, i, 1) + (extra.lots if own and extra.side > 0 else 0)
                sell = self.open(s, i, -1) + (extra.lots if own and extra.side < 0 else 0)
                position = self.position(s, i)
                total += self.mid(i) * (max(position + buy, sell - position) * self.lot_size)
        return total

    def tokens_lack(self, times: list[int], rate: float, burst: int, now: int) -> Fraction:
        """How many tokens a bucket lacks, from all times at which one was taken."""
        missing, last = Fraction(0), 0
        interval = -(-NS // Fraction(rate))
        for ts in times:
            missing = min(max(Fraction(0), missing - Fraction(ts - last, interval)) + 1, Fraction(burst))
            last = ts
        return max(Fraction(0), missing - Fraction(now - last, interval))

    def denies(self, now: int, order: Live) -> tuple[str, int]:
        """The reason and the scope that deny an order, or ("", 0)."""
        own = (order.strategy, order.instrument)
        for kind, scope in (
            (CELL, own),
            (STRATEGY, (order.strategy, -1)),
            (INSTRUMENT, (-1, order.instrument)),
            (EVERYTHING, (-1, -1)),
        ):
            limits = self.limits.get((kind, *scope))
            reason = self.scope_denies(limits, scope, now, order) if limits is not None else ""
            if reason:
                return reason, kind
        cell = self.limits.get((CELL, *own))
        anybody = any(
            (limits := self.limits.get(key)) is not None and limits.self_trade_prevention
            for key in ((INSTRUMENT, -1, order.instrument), (EVERYTHING, -1, -1))
        )
        if anybody or (cell is not None and cell.self_trade_prevention):
            for other in self.live.values():
                same = other.instrument == order.instrument and other.side == -order.side
                meets = (order.tick - other.tick) * order.side >= 0
                if same and meets and (anybody or other.strategy == order.strategy):
                    return "self_trade_prevention", EVERYTHING if anybody else CELL
        return "", 0

    def scope_denies(self, limits: RiskLimits, scope: tuple[int, int], now: int, order: Live) -> str:
        """The first reason of one scope, in the documented order."""
        own = (order.strategy, order.instrument)
        book_ts = self.books[order.instrument][2]
        position = self.position(*own)
        worst_own = self.open(*own, order.side) + order.lots
        reduces = position * order.side < 0 and worst_own <= abs(position)
        worst = self.open(*scope, order.side) + order.lots + order.side * self.position(*scope)
        mid, px = self.mid(order.instrument), order.tick * self.tick_size
        value = self.value(order.tick, order.lots)
        held = [o for o in self.live.values() if within((o.strategy, o.instrument), scope)]
        if limits.restricted:
            return "restricted_instrument"
        if limits.reduce_only and not reduces:
            return "reduce_only"
        if limits.max_data_age_ns is not None and now - book_ts > limits.max_data_age_ns:
            return "stale_market_data"
        if limits.max_clock_skew_ns is not None and book_ts - now > limits.max_clock_skew_ns:
            return "clock_sanity"
        if limits.price_collar_bps is not None and abs(px - mid) > limits.price_collar_bps / 1e4 * mid:
            return "price_collar"
        if limits.max_order_qty is not None and order.lots > int(limits.max_order_qty / self.lot_size + 1e-6):
            return "max_order_qty"
        if limits.max_position is not None and worst > int(limits.max_position / self.lot_size + 1e-6):
            return "max_position"
        if limits.max_notional is not None and value > limits.max_notional:
            return "max_notional"
        if limits.max_open_orders is not None and len(held) >= limits.max_open_orders:
            return "max_open_orders"
        open_value = sum(Fraction(self.value(o.tick, o.lots)) for o in [*held, order])
        if limits.max_open_notional is not None and float(open_value) > limits.max_open_notional:
            return "max_open_notional"
        other = self.open(*own, -order.side) - order.side * position
        raises = worst_own + order.side * position > other
        gross = limits.max_gross_notional if raises else None
        if gross is not None and self.gross(*scope, order) > gross:
            return "max_gross_notional"
        return self.rates_deny(limits, scope, now, order)

    def rates_deny(self, limits: RiskLimits, scope: tuple[int, int], now: int, order: Live) -> str:
        """The reasons that look back in time."""
        mine = [m for m in self.sent if within((m.strategy, m.instrument), scope)]
        if limits.max_order_to_trade_ratio is not None:
            today = len([m for m in mine if m.ts // DAY == now // DAY])
            trades = len([t for t in self.trades if t[0] // DAY == now // DAY and within(t[1:3], scope)])
            counts = today >= (limits.order_to_trade_grace or 0)
            if counts and (today + 1) / max(trades, 1) > limits.max_order_to_trade_ratio:
                return "max_order_to_trade_ratio"
        new = [m for m in mine if m.what == "new"]
        if limits.duplicate_window_ns:
            said = (order.instrument, order.side, order.tick, order.lots)
            for m in new[-16:]:
                recent = now - m.ts <= limits.duplicate_window_ns
                if recent and (m.instrument, m.side, m.tick, m.lots) == said:
                    return "duplicate_content"
        if limits.order_rate is not None:
            burst = limits.order_burst or max(1, int(limits.order_rate))
            if self.tokens_lack([m.ts for m in new], limits.order_rate, 10**9, now) > burst - 1:
                return "order_rate"
        if limits.message_rate is not None:
            burst = limits.message_burst or max(1, int(limits.message_rate))
            lack = self.tokens_lack([m.ts for m in mine], limits.message_rate, burst, now)
            if lack > burst - 1 - (limits.cancel_reserve or 0):
                return "message_rate"
        return ""


def within(cell: tuple[int, ...], scope: tuple[int, int]) -> bool:
    """Whether a (strategy, instrument) belongs to a scope; -1 stands for all."""
    return scope[0] in (-1, cell[0]) and scope[1] in (-1, cell[1])
