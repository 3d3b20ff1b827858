"""Why two sessions of the same strategies earned differently: live or paper against a backtest.

The difference of their profits is split into parts that add up to it exactly, because each lot that either
session traded is counted in one part only; docs/compare.md has the formula and where it comes from. Sums are
exact rational numbers: nothing depends on the order of adding, nothing is rounded before it is printed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from engine.core.errors import DataError
from engine.reports.align import Execution, Life, lives, pair
from engine.reports.session import InstrumentMeta, Session

PARTS = ("latency", "queue", "fees", "missed", "funding", "mark")
"""Where a difference can come from; see docs/compare.md."""

WINDOW_NS = 1_000_000_000
SLACK_NS = 1_000_000_000
REL_TOLERANCE = 1e-9
"""How far a session's books may be from its fills: rounding of doubles, no more."""


@dataclass
class Row:
    """One strategy in one instrument.

    Attributes:
        strategy: Its name.
        symbol: The instrument.
        live: Profit of the first session: what its engine called equity.
        backtest: Of the second.
        parts: What the difference is made of, by name.
        lots: Lots that stand behind each part.
        traded_value: Of the first session.
    """

    strategy: str
    symbol: str
    live: Fraction = Fraction(0)
    backtest: Fraction = Fraction(0)
    parts: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(PARTS, Fraction(0)))
    lots: Counter[str] = field(default_factory=Counter)
    traded_value: float = 0.0

    @property
    def difference(self) -> Fraction:
        """``live - backtest``."""
        return self.live - self.backtest

    def add(self, part: str, value: Fraction, lots: int = 0) -> None:
        """Counts some lots in a part."""
        self.parts[part] += value
        self.lots[part] += lots


@dataclass
class Comparison:
    """Two sessions held against each other.

    Attributes:
        rows: Each strategy in each instrument.
        pairs: Orders that were in both.
        same_instant: Of these, sent at the same nanosecond.
        only_live: Orders of the first session that the other did not send.
        only_backtest: The other way round.
        delays: Nanoseconds from sending to the venue, by session, of the pairs that arrived in both.
    """

    rows: list[Row]
    pairs: int
    same_instant: int
    only_live: int
    only_backtest: int
    delays: tuple[list[int], list[int]]

    @property
    def difference(self) -> Fraction:
        """Of all rows."""
        return sum((row.difference for row in self.rows), Fraction(0))

    def part(self, name: str) -> Fraction:
        """A part of all rows."""
        return sum((row.parts[name] for row in self.rows), Fraction(0))

    @property
    def traded_value(self) -> float:
        """What the first session traded."""
        return math.fsum(row.traded_value for row in self.rows)

    @property
    def fraction(self) -> float:
        """The size of the difference as a fraction of the traded value; 0 without either."""
        size = abs(float(self.difference))
        if size == 0.0:
            return 0.0
        return size / self.traded_value if self.traded_value > 0 else math.inf

    def to_json(self) -> dict[str, Any]:
        """What ``ringbook compare --json`` prints."""
        return {
            "live": float(sum((row.live for row in self.rows), Fraction(0))),
            "backtest": float(sum((row.backtest for row in self.rows), Fraction(0))),
            "difference": float(self.difference),
            "parts": {name: float(self.part(name)) for name in PARTS},
            "traded_value": self.traded_value,
            "fraction_of_traded_value": None if math.isinf(self.fraction) else self.fraction,
            "orders": {
                "in_both": self.pairs,
                "at_the_same_instant": self.same_instant,
                "only_live": self.only_live,
                "only_backtest": self.only_backtest,
            },
            "median_delay_ns": {
                name: median(values) for name, values in zip(("live", "backtest"), self.delays, strict=True)
            },
            "rows": [
                {
                    "strategy": row.strategy,
                    "symbol": row.symbol,
                    "live": float(row.live),
                    "backtest": float(row.backtest),
                    "difference": float(row.difference),
                    "parts": {name: float(value) for name, value in row.parts.items()},
                    "lots": {name: row.lots[name] for name in PARTS if row.lots[name]},
                }
                for row in self.rows
            ],
        }


def median(values: list[int]) -> int | None:
    """The lower median; None without any."""
    return sorted(values)[(len(values) - 1) // 2] if values else None


def compare(
    live: Session, backtest: Session, *, window_ns: int = WINDOW_NS, slack_ns: int = SLACK_NS
) -> Comparison:
    """Splits the difference of two sessions' profits.

    Args:
        live: The one; its last prices value what is matched.
        backtest: The other, of the same strategies, instruments and period.
        window_ns: How far apart orders may have been sent to be the same order.
        slack_ns: How far apart the sessions' starts, and their ends, may be.

    Raises:
        DataError: Periods, instruments or strategies differ, or a session's fills do not make its books:
            it began with a position, or its logs are not whole.
    """
    _check_same(live, backtest, slack_ns)
    rows = {}
    for account in live.accounts:
        rows[account.strategy, account.symbol] = Row(
            account.strategy, account.symbol, traded_value=account.trading_value
        )
    ours, theirs = lives(live), lives(backtest)
    values = {}
    for mine, other in zip(live.instruments, _by_symbol(live, backtest), strict=True):
        values[mine.symbol] = _LotValues(mine, _mark(mine, other))
        _mark_and_books(live, mine, ours, values[mine.symbol], rows, "live")
        _mark_and_books(backtest, other, theirs, values[mine.symbol], rows, "backtest")
    pairs, only_ours, only_theirs = pair(ours, theirs, window_ns)
    for a, b in pairs:
        _split_pair(a, b, rows[a.strategy, a.symbol], values[a.symbol])
    for orders, sign in ((only_ours, 1), (only_theirs, -1)):
        for one in orders:
            for fill in one.fills:
                value = values[one.symbol].net(one.side, fill, fill.lots)
                rows[one.strategy, one.symbol].add("missed", sign * value, fill.lots)
    for row in rows.values():
        if sum(row.parts.values()) != row.difference:
            raise AssertionError(f"{row.strategy} in {row.symbol}: parts do not make the difference")
    arrived = [(a, b) for a, b in pairs if a.arrived is not None and b.arrived is not None]
    return Comparison(
        rows=sorted(rows.values(), key=lambda row: (row.strategy, row.symbol)),
        pairs=len(pairs),
        same_instant=sum(a.sent == b.sent for a, b in pairs),
        only_live=len(only_ours),
        only_backtest=len(only_theirs),
        delays=([a.arrived - a.sent for a, _ in arrived], [b.arrived - b.sent for _, b in arrived]),
    )


def _check_same(live: Session, backtest: Session, slack_ns: int) -> None:
    """Raises unless the two can be compared at all."""
    for what in ("first_ts", "last_ts"):
        mine, other = getattr(live, what), getattr(backtest, what)
        if abs(mine - other) > slack_ns:
            seconds = (mine - other) / 1e9
            word = "begins" if what == "first_ts" else "ends"
            later = "after" if seconds > 0 else "before"
            raise DataError(
                f"not the same period: the live session {word} {abs(seconds):.3f} s {later} the backtest; "
                f"at most {slack_ns / 1e9:g} s are let pass"
            )
    other = {one.symbol: one for one in backtest.instruments}
    for one in live.instruments:
        if one.symbol not in other:
            raise DataError(f"{one.symbol} is in the live session only")
        for name in ("tick_size", "lot_size", "contract_size", "asset"):
            mine, theirs = getattr(one, name), getattr(other[one.symbol], name)
            if mine != theirs:
                raise DataError(
                    f"{one.symbol}: {name} is {mine} in the live session, {theirs} in the backtest"
                )
    for symbol in sorted(set(other) - {one.symbol for one in live.instruments}):
        raise DataError(f"{symbol} is in the backtest only")
    seats = [{(one.strategy, one.symbol) for one in session.accounts} for session in (live, backtest)]
    for strategy, symbol in sorted(seats[0] ^ seats[1]):
        where = "live session" if (strategy, symbol) in seats[0] else "backtest"
        raise DataError(f"{strategy} trades {symbol} in the {where} only")


def _by_symbol(live: Session, backtest: Session) -> Iterable[InstrumentMeta]:
    other = {one.symbol: one for one in backtest.instruments}
    return [other[one.symbol] for one in live.instruments]


def _mark(mine: InstrumentMeta, other: InstrumentMeta) -> float:
    """The price at which lots of both sessions are valued: the live one's last, or what there is."""
    return next((mid for mid in (mine.mid, other.mid) if not math.isnan(mid)), math.nan)


class _LotValues:
    """What lots of an instrument bought or sold at a price are worth at the mark."""

    def __init__(self, instrument: InstrumentMeta, mark: float) -> None:
        self._size = Fraction(instrument.contract_size) * Fraction(instrument.lot_size)
        self._inverse = instrument.asset != "linear"
        # Without any market nothing may be open; what is closed is worth the same at every mark.
        self.mark = self.worth(1.0 if math.isnan(mark) else mark)

    def worth(self, px: float) -> Fraction:
        """The part of a lot's value that goes up when a holder gains, at a price."""
        return Fraction(-1.0 / px if self._inverse else px) * self._size

    def gross(self, side: int, lots: int, px: float) -> Fraction:
        """What lots traded at a price have gained at the mark."""
        return side * lots * (self.mark - self.worth(px))

    def net(self, side: int, fill: Execution, lots: int) -> Fraction:
        """The same of some lots of a fill, after their share of its fee."""
        return self.gross(side, lots, fill.px) - share(fill, lots)

    def at_price_of(self, fill: Execution, other: Execution, fee: Fraction) -> Fraction:
        """What the fee would have been at another fill's price, to the precision of a double."""
        ratio = fill.px / other.px if self._inverse else other.px / fill.px
        return Fraction(float(fee) * ratio)


def share(fill: Execution, lots: int) -> Fraction:
    """The part of a fill's fee that some of its lots bear."""
    return Fraction(fill.fee) * lots / fill.lots


def _mark_and_books(
    session: Session,
    instrument: InstrumentMeta,
    orders: list[Life],
    values: _LotValues,
    rows: dict[tuple[str, str], Row],
    which: str,
) -> None:
    """Sums up a session's profit in an instrument, at its own last price, and holds it against its books."""
    sign = 1 if which == "live" else -1
    held: Counter[str] = Counter()
    seated: set[str] = set()
    profit: dict[str, Fraction] = {}
    for one in orders:
        if one.symbol != instrument.symbol:
            continue
        for fill in one.fills:
            held[one.strategy] += one.side * fill.lots
            net = values.net(one.side, fill, fill.lots)
            profit[one.strategy] = profit.get(one.strategy, Fraction(0)) + net
    for account in session.accounts:
        if account.symbol != instrument.symbol:
            continue
        seated.add(account.strategy)
        row = rows[account.strategy, account.symbol]
        lots = held[account.strategy]
        total = profit.get(account.strategy, Fraction(0))
        if lots and math.isnan(instrument.mid):
            raise DataError(
                f"{account.strategy} ends the {which} session with {account.symbol} and no market in it"
            )
        moved = Fraction(0)
        if lots:
            moved = lots * (values.worth(instrument.mid) - values.mark)
        row.add("mark", sign * moved)
        row.add("funding", -sign * Fraction(account.funding))
        total += moved - Fraction(account.funding)
        if which == "live":
            row.live = total
        else:
            row.backtest = total
        _check_books(account, lots, float(total), instrument, which)
    for strategy in sorted(set(held) - seated):
        raise DataError(f"{strategy} has fills in {instrument.symbol} and no account, {which} session")


def _check_books(account: Any, lots: int, total: float, instrument: InstrumentMeta, which: str) -> None:
    """The engine's books must be what its fills make."""
    where = f"{account.strategy} in {account.symbol}, {which} session"
    if round(account.position / instrument.lot_size) != lots:
        raise DataError(
            f"{where}: fills make {lots} lots and its books have {account.position:g}: "
            "it began with a position, or its log is not whole"
        )
    scale = max(abs(account.trading_value), abs(account.equity), 1.0)
    if not math.isnan(account.equity) and abs(total - account.equity) > REL_TOLERANCE * scale:
        raise DataError(f"{where}: fills make {total!r} and its books say {account.equity!r}")


def _split_pair(a: Life, b: Life, row: Row, values: _LotValues) -> None:
    """Counts each lot of an order that both sent: those that both executed, then what only one did."""
    i = j = 0
    left_a = a.fills[0].lots if a.fills else 0
    left_b = b.fills[0].lots if b.fills else 0
    moved = "queue" if a.arrived == b.arrived else "latency"
    while i < len(a.fills) and j < len(b.fills):
        lots = min(left_a, left_b)
        _split_lots(a.side, lots, a.fills[i], b.fills[j], moved, row, values)
        left_a -= lots
        left_b -= lots
        if left_a == 0:
            i += 1
            left_a = a.fills[i].lots if i < len(a.fills) else 0
        if left_b == 0:
            j += 1
            left_b = b.fills[j].lots if j < len(b.fills) else 0
    for sign, one, other, at, left in ((1, a, b, i, left_a), (-1, b, a, j, left_b)):
        for place, fill in enumerate(one.fills[at:]):
            lots = left if place == 0 else fill.lots
            row.add(_cause(fill.ts, one, other), sign * values.net(one.side, fill, lots), lots)


def _split_lots(
    side: int, lots: int, mine: Execution, theirs: Execution, moved: str, row: Row, values: _LotValues
) -> None:
    """Counts lots that both executed: by price, by who was there first, and what is left is fees."""
    ours, other = share(mine, lots), share(theirs, lots)
    price = values.gross(side, lots, mine.px) - values.gross(side, lots, theirs.px)
    whole = other - ours
    if mine.is_maker != theirs.is_maker:
        # A taker's fee in place of a maker's comes of when the order was where.
        fees = Fraction(0)
    elif mine.px == theirs.px or whole == 0:
        fees = whole
    else:
        # A dearer price makes the same rate a dearer fee: that goes with the price.
        fees = other - values.at_price_of(mine, theirs, ours)
        fees = fees if abs(fees) > REL_TOLERANCE * abs(other) else Fraction(0)
    row.add("fees", fees, lots if fees else 0)
    rest = price + whole - fees
    row.add(moved, rest, lots if rest else 0)


def _cause(ts: int, one: Life, other: Life) -> str:
    """Why the other session's order did not execute what this one did at ``ts``."""
    if other.denied:
        return "missed"
    if one.arrived == ts == other.arrived:
        # Both met the same market on arrival, and the venue gave one of them more.
        return "queue"
    theirs, ours = other.joined(ts), one.joined(ts)
    if theirs is None or ours is None or (theirs[1] - ours[1]) * one.side < 0:
        # It was not there yet or no more, or a change of its price had not arrived.
        return "latency"
    # Whoever joined later is further back; one that came in time and was passed over is the queue's matter.
    return "queue" if theirs[0] <= ours[0] else "latency"
