"""Return and risk of an equity series, by hftbacktest's definitions; docs/reports.md has the formulas."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from engine.reports.session import Session

SECONDS_PER_DAY = 86_400.0
DAY_NS = 86_400_000_000_000
RESAMPLE_NS = 10_000_000_000
"""hftbacktest's default: ratios are of the last sample of each ten seconds."""
TRADING_DAYS = 252.0


@dataclass(frozen=True)
class Series:
    """What a strategy was worth over time, in one instrument or in several together.

    Attributes:
        ts: Nanoseconds.
        price: Middle price; of several instruments, NaN.
        position: Quantity; of several, NaN.
        gross: Equity before fees and funding.
        fee: Fees and funding paid so far.
        num_trades: Executions so far.
        volume: Quantity traded so far.
        value: Value traded so far.
    """

    ts: np.ndarray
    price: np.ndarray
    position: np.ndarray
    gross: np.ndarray
    fee: np.ndarray
    num_trades: np.ndarray
    volume: np.ndarray
    value: np.ndarray

    @property
    def equity(self) -> np.ndarray:
        """After fees and funding."""
        return self.gross - self.fee

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: np.ndarray | slice) -> Series:
        """Some of the samples."""
        return Series(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def series(session: Session, strategy: str, symbol: str) -> Series:
    """A strategy's samples in an instrument.

    Args:
        session: With samples.
        strategy: Its name.
        symbol: The instrument's.
    """
    slot = session.strategies.index(strategy)
    number = [one.symbol for one in session.instruments].index(symbol)
    meta = session.instruments[number]
    rows = session.samples
    rows = rows[(rows["strategy"] == slot) & (rows["instrument"] == number)]
    fills = session.fills
    fills = fills[(fills["strategy"] == slot) & (fills["instrument"] == number)]
    order = np.argsort(fills["local_ts"], kind="stable")
    fills = fills[order]
    until = np.searchsorted(fills["local_ts"], rows["ts"], side="right")
    volume = fills["qty"] * meta.lot_size
    value = meta.contract_size * (volume * fills["px"] if meta.asset == "linear" else volume / fills["px"])

    def so_far(values: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(values)])[until]

    cost = rows["fee"] + rows["funding"]
    return Series(
        ts=rows["ts"],
        price=rows["mid_price"],
        position=rows["position"],
        gross=rows["equity"] + cost,
        fee=cost,
        num_trades=so_far(np.ones(len(fills))),
        volume=so_far(volume),
        value=so_far(value),
    )


def together(parts: list[Series]) -> Series:
    """Several series of the same times as one.

    Args:
        parts: Perhaps none.
    """
    if not parts:
        return Series(np.empty(0, np.int64), *[np.empty(0)] * (len(fields(Series)) - 1))
    if len(parts) == 1:
        return parts[0]
    common = parts[0].ts
    for part in parts[1:]:
        common = np.intersect1d(common, part.ts)
    cut = [part.take(np.isin(part.ts, common)) for part in parts]
    nothing = np.full(len(common), math.nan)
    sums = {
        name: np.sum([getattr(part, name) for part in cut], axis=0)
        for name in ("gross", "fee", "num_trades", "volume", "value")
    }
    return Series(ts=common, price=nothing, position=nothing, **sums)


def resample(whole: Series, every_ns: int = RESAMPLE_NS) -> Series:
    """The last sample of each interval, at the interval's start; intervals without samples are left out.

    Args:
        whole: In order of time.
        every_ns: The interval; they begin at multiples of it since the epoch.
    """
    if len(whole) == 0:
        return whole
    number = whole.ts // every_ns
    last = np.concatenate([np.flatnonzero(number[1:] != number[:-1]), [len(number) - 1]])
    cut = whole.take(last)
    return Series(
        number[last] * every_ns,
        *(getattr(cut, one.name) for one in fields(Series) if one.name != "ts"),
    )


@dataclass(frozen=True)
class Returns:
    """Return and risk; see docs/reports.md for each formula.

    Money is the quote's (the base's of an inverse asset). What cannot be had (two samples are needed, and a
    ratio needs something to divide by) is NaN. ``factor`` is what SR and Sortino are annualised by.
    """

    total: float
    annual: float
    sr: float
    sortino: float
    factor: float
    max_drawdown: float
    over_max_drawdown: float
    over_trade: float
    num_trades: float
    daily_num_trades: float
    volume: float
    daily_volume: float
    turnover: float
    daily_turnover: float
    max_position_value: float
    mean_position_value: float
    median_position_value: float
    days: float
    samples: int

    def to_json(self) -> dict[str, Any]:
        """By name; None where there is no number."""
        return {one.name: finite(getattr(self, one.name)) for one in fields(self)}


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: None stands for them."""
    return value if value is None or math.isfinite(value) else None


def _over(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def drawdown(whole: Series) -> float:
    """The deepest fall of equity from a maximum before it, over every sample; NaN without any.

    Args:
        whole: Samples in order of time.
    """
    equity = whole.equity
    known = equity[~np.isnan(equity)]
    return float(np.max(np.maximum.accumulate(known) - known)) if len(known) else math.nan


def returns(
    whole: Series,
    *,
    every_ns: int = RESAMPLE_NS,
    book_size: float | None = None,
    days_a_year: float = TRADING_DAYS,
) -> Returns:
    """Return and risk of a series.

    Args:
        whole: Samples in order of time.
        every_ns: What is resampled to.
        book_size: Capital: return, drawdown and turnover are then parts of it.
        days_a_year: To annualise by.
    """
    cut = resample(whole, every_ns)
    return _returns(cut, whole.take(slice(0, 1)), book_size, days_a_year)


def daily(
    whole: Series,
    *,
    every_ns: int = RESAMPLE_NS,
    book_size: float | None = None,
    days_a_year: float = TRADING_DAYS,
) -> list[tuple[str, Returns]]:
    """The same of each UTC day: its date and its numbers.

    Args:
        whole: Samples in order of time.
        every_ns: What is resampled to.
        book_size: Capital.
        days_a_year: To annualise by.
    """
    cut = resample(whole, every_ns)
    number = cut.ts // DAY_NS
    found = []
    before = whole.take(slice(0, 1))
    for day in np.unique(number).tolist():
        rows = np.flatnonzero(number == day)
        found.append((str(np.datetime64(day, "D")), _returns(cut.take(rows), before, book_size, days_a_year)))
        before = cut.take(rows[-1:])
    return found


def _returns(cut: Series, before: Series, book_size: float | None, days_a_year: float) -> Returns:
    """Of resampled samples; what was traded counts from ``before``, a series of one sample."""
    if len(cut) < 2:
        return Returns(*([math.nan] * (len(fields(Returns)) - 1)), samples=len(cut))
    equity = cut.equity
    known = equity[~np.isnan(equity)]
    total = float(known[-1] - known[0]) if len(known) else math.nan
    steps = np.diff(equity)
    steps = steps[~np.isnan(steps)]
    factor = math.sqrt(SECONDS_PER_DAY / ((cut.ts[1] - cut.ts[0]) / 1e9) * days_a_year)
    mean = float(np.mean(steps)) if len(steps) else math.nan
    spread = float(np.std(steps, ddof=1)) if len(steps) > 1 else math.nan
    downside = float(np.sqrt(np.mean(np.minimum(steps, 0.0) ** 2))) if len(steps) else math.nan
    fall = drawdown(cut)
    days = float((cut.ts[-1] - cut.ts[0]) / 1e9 / SECONDS_PER_DAY)
    made = {
        name: float(getattr(cut, name)[-1] - getattr(before, name)[0])
        for name in ("num_trades", "volume", "value")
    }
    held = np.abs(cut.position) * cut.price
    held = held[~np.isnan(held)]
    size = 1.0 if book_size is None else book_size
    return Returns(
        total=total / size,
        annual=total / size / days * days_a_year,
        sr=_over(mean, spread) * factor,
        sortino=_over(mean, downside) * factor,
        factor=factor,
        max_drawdown=fall / size,
        over_max_drawdown=_over(total, fall),
        over_trade=_over(total, made["value"]),
        num_trades=made["num_trades"],
        daily_num_trades=made["num_trades"] / days,
        volume=made["volume"],
        daily_volume=made["volume"] / days,
        turnover=made["value"] / size,
        daily_turnover=made["value"] / size / days,
        max_position_value=float(held.max()) if len(held) else math.nan,
        mean_position_value=float(held.mean()) if len(held) else math.nan,
        median_position_value=float(np.median(held)) if len(held) else math.nan,
        days=days,
        samples=len(cut),
    )
