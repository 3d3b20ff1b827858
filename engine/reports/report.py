"""Everything that a report says of a session, as numbers: pages and ``--json`` are made of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from engine.core.types import Reason
from engine.reports import money, returns
from engine.reports.mids import HORIZONS_NS, Mids, of_session
from engine.reports.orders import FATES, Orders, chosen, orders, percentiles, ticks
from engine.reports.returns import Returns, Series, finite
from engine.reports.session import Session


@dataclass
class Part:
    """A strategy in an instrument, a strategy, or everything; None stands for all.

    Attributes:
        session: Whose numbers these are.
        mids: What the market was.
        strategy: Of this one only.
        symbol: In this one only.
        book_size: Capital.
        days_a_year: To annualise by.
    """

    session: Session
    mids: Mids
    strategy: str | None = None
    symbol: str | None = None
    book_size: float | None = None
    days_a_year: float = returns.TRADING_DAYS

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(filter(None, (self.strategy, self.symbol))) or "all"

    @cached_property
    def cells(self) -> list[tuple[str, str]]:
        """Strategies and instruments that it is made of."""
        return [
            (one.strategy, one.symbol)
            for one in self.session.accounts
            if self.strategy in (None, one.strategy) and self.symbol in (None, one.symbol)
        ]

    @cached_property
    def fills(self) -> np.ndarray:
        """Its fills."""
        return self.session.fills[chosen(self.session, self.session.fills, self.strategy, self.symbol)]

    @cached_property
    def orders(self) -> Orders:
        """Its orders."""
        return orders(self.session, self.mids, self.strategy, self.symbol)

    @cached_property
    def series(self) -> Series:
        """What it was worth over time."""
        parts = [returns.series(self.session, *cell) for cell in self.cells]
        return returns.together(parts)

    @cached_property
    def returns(self) -> Returns:
        """Return and risk."""
        return returns.returns(self.series, book_size=self.book_size, days_a_year=self.days_a_year)

    @cached_property
    def drawdown(self) -> float:
        """The deepest fall over every sample, as charts draw it; that of the returns is of ten seconds'."""
        return returns.drawdown(self.series) / (1.0 if self.book_size is None else self.book_size)

    @cached_property
    def daily(self) -> list[tuple[str, Returns]]:
        """Return and risk of each day."""
        return returns.daily(self.series, book_size=self.book_size, days_a_year=self.days_a_year)

    @cached_property
    def attribution(self) -> money.Attribution:
        """Where the profit came from."""
        return sum((money.attribution(self.session, *cell) for cell in self.cells), money.NOTHING)

    @cached_property
    def ticks(self) -> np.ndarray:
        """Nanoseconds from a tick's arrival to the sending of a request, where a clock ran."""
        return ticks(self.session, self.strategy, self.symbol)

    @cached_property
    def values(self) -> np.ndarray:
        """What each fill was worth."""
        return money.values(self.session, self.fills)

    @cached_property
    def markouts(self) -> np.ndarray:
        """Of each fill, by horizon."""
        return money.markouts_bps(self.fills, self.mids)

    @cached_property
    def slippage(self) -> np.ndarray:
        """Of each fill."""
        updates = self.session.orders
        key = updates["order_id"].astype(np.int64)
        ids, first = np.unique(key, return_index=True)
        sent = np.zeros(len(self.fills), np.int64)
        if len(ids):
            wanted = self.fills["order_id"].astype(np.int64)
            place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
            sent = np.where(ids[place] == wanted, updates["local_ts"][first[place]], 0)
        return money.slippage_bps(self.fills, sent, self.mids)

    def markout_curve(self, maker: bool | None = None) -> list[money.Spread]:
        """Mean markouts by horizon, weighted by value.

        Args:
            maker: Of fills that rested, or of those that took, only.
        """
        chosen = np.ones(len(self.fills), bool) if maker is None else (self.fills["is_maker"] != 0) == maker
        return [
            money.weighted(self.markouts[chosen, place], self.values[chosen])
            for place in range(len(HORIZONS_NS))
        ]

    def reasons(self) -> list[tuple[str, int, float]]:
        """Why fills happened: reason, how many, and their value; most first."""
        counts = Counter(self.fills["reason"].tolist())
        return [
            (_reason(code), n, float(self.values[self.fills["reason"] == code].sum()))
            for code, n in counts.most_common()
        ]

    def inventory(self) -> dict[str, float]:
        """Of one strategy in one instrument: how much it held; empty of several."""
        if len(self.cells) != 1 or len(self.series) == 0:
            return {}
        held = self.series.position
        turned = np.flatnonzero(np.diff(np.sign(held)) != 0)
        return {
            "mean": float(held.mean()),
            "mean_size": float(np.abs(held).mean()),
            "max_long": float(max(held.max(), 0.0)),
            "max_short": float(min(held.min(), 0.0)),
            "end": float(held[-1]),
            "time_flat": float((held == 0).mean()),
            "time_long": float((held > 0).mean()),
            "time_short": float((held < 0).mean()),
            "turns": float(len(turned)),
        }

    def execution(self) -> dict[str, float | int]:
        """Ratios of orders, requests and fills."""
        found, made = self.orders, len(self.fills)
        maker = self.fills["is_maker"] != 0
        value = float(self.values.sum())
        lots = int(found.rows["qty"][~found.rows["denied"]].sum())
        filled, left = found.count("filled"), found.count("price_left")
        slip = money.weighted(self.slippage, self.values)
        return {
            "orders": found.sent,
            "denied": int(np.count_nonzero(found.rows["denied"])),
            "requests": found.requests,
            "fills": made,
            "fill_ratio": _over(found.filled, found.sent),
            "fill_ratio_qty": _over(int(self.fills["qty"].sum()), lots),
            "maker_ratio": _over(float(self.values[maker].sum()), value),
            "maker_ratio_count": _over(int(maker.sum()), made),
            "order_to_trade": _over(found.requests, made),
            "queue_depletion": _over(left, left + filled),
            "slippage_bps": slip.mean,
            "slippage_error_bps": slip.error,
        }

    def to_json(self) -> dict[str, Any]:
        """All of it, fit for JSON."""
        return {
            "strategy": self.strategy,
            "symbol": self.symbol,
            "returns": self.returns.to_json(),
            "drawdown": finite(self.drawdown),
            "daily": [{"day": day, **found.to_json()} for day, found in self.daily],
            "pnl": self.attribution.to_json(),
            "execution": {name: finite(value) for name, value in self.execution().items()},
            "fates": {name: self.orders.count(name) for name in FATES},
            "reasons": [{"reason": r, "fills": n, "value": v} for r, n, v in self.reasons()],
            "markouts_bps": {
                name: [
                    {
                        "ms": horizon // 1_000_000,
                        "fills": one.count,
                        "mean": finite(one.mean),
                        "error": finite(one.error),
                    }
                    for horizon, one in zip(HORIZONS_NS, self.markout_curve(maker), strict=True)
                ]
                for name, maker in (("all", None), ("maker", True), ("taker", False))
            },
            "latency_ns": {
                "entry": percentiles(self.orders.entry_ns),
                "response": percentiles(self.orders.response_ns),
                "tick_to_trade": percentiles(self.ticks),
            },
            "inventory": self.inventory(),
        }


@dataclass
class Report:
    """A session's report.

    Attributes:
        session: Of what.
        book_size: Capital that return, drawdown and turnover are parts of; None leaves them money.
        days_a_year: To annualise by.
        facts: What else is known of the run, by name, to be shown.
    """

    session: Session
    book_size: float | None = None
    days_a_year: float = returns.TRADING_DAYS
    facts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def mids(self) -> Mids:
        """What the market was."""
        return of_session(self.session)

    def part(self, strategy: str | None = None, symbol: str | None = None) -> Part:
        """A part of it."""
        return Part(self.session, self.mids, strategy, symbol, self.book_size, self.days_a_year)

    @cached_property
    def whole(self) -> Part:
        """Everything."""
        return self.part(*self.cells[0].cells[0]) if len(self.cells) == 1 else self.part()

    @cached_property
    def cells(self) -> list[Part]:
        """Each strategy in each of its instruments."""
        return [self.part(one.strategy, one.symbol) for one in self.session.accounts]

    def to_json(self) -> dict[str, Any]:
        """What ``ringbook report --json`` prints."""
        session = self.session
        return {
            "kind": session.kind,
            "first_ts": session.first_ts,
            "last_ts": session.last_ts,
            "config_hash": session.config_hash,
            "seed": session.seed,
            "facts": self.facts,
            "book_size": self.book_size,
            "days_a_year": self.days_a_year,
            "all": self.whole.to_json(),
            "parts": [one.to_json() for one in self.cells],
        }


def _over(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _reason(code: int) -> str:
    try:
        return Reason(code).name.lower()
    except ValueError:
        return str(code)
