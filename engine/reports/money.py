"""Where a session's profit came from: spread, inventory, fees, funding; slippage and markouts of its fills.

Sums that have to add up are of exact rational numbers, as in compare.py; docs/reports.md has the formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from engine.reports.mids import HORIZONS_NS, Mids
from engine.reports.session import InstrumentMeta, Session


@dataclass(frozen=True)
class Attribution:
    """A profit and its parts, which add up to it exactly.

    Attributes:
        profit: What the fills are worth at the last price, after fees and funding.
        spread: What each fill gained against the middle price when it was learned of.
        inventory: What positions gained while that price moved.
        fees: Minus what was paid; rebates are positive.
        funding: Minus what was paid for holding positions.
    """

    profit: Fraction
    spread: Fraction
    inventory: Fraction
    fees: Fraction
    funding: Fraction

    def __add__(self, other: Attribution) -> Attribution:
        names = ("profit", "spread", "inventory", "fees", "funding")
        return Attribution(*(getattr(self, name) + getattr(other, name) for name in names))

    def to_json(self) -> dict[str, float]:
        """By name, rounded to doubles."""
        names = ("profit", "spread", "inventory", "fees", "funding")
        return {name: float(getattr(self, name)) for name in names}


NOTHING = Attribution(*[Fraction(0)] * 5)


def worth(meta: InstrumentMeta, px: float) -> Fraction:
    """The part of a lot's value that goes up when a holder gains, at a price."""
    size = Fraction(meta.contract_size) * Fraction(meta.lot_size)
    return (Fraction(px) if meta.asset == "linear" else Fraction(-1.0 / px)) * size


def attribution(session: Session, strategy: str, symbol: str) -> Attribution:
    """Splits the profit of a strategy in an instrument.

    Args:
        session: Its fills, its last prices and its funding.
        strategy: Whose.
        symbol: In what.
    """
    number = [one.symbol for one in session.instruments].index(symbol)
    meta = session.instruments[number]
    slot = session.strategies.index(strategy)
    fills = session.fills
    fills = fills[(fills["strategy"] == slot) & (fills["instrument"] == number)]
    spread = fees = Fraction(0)
    inventory = Fraction(0)
    before: Fraction | None = None
    held = 0
    for side, lots, px, fee, mid in fills[["side", "qty", "px", "fee", "mid_price"]].tolist():
        paid = worth(meta, px)
        # Without a market there is nothing to have gained against, and all is inventory's.
        fair = paid if math.isnan(mid) else worth(meta, mid)
        if before is not None:
            inventory += held * (fair - before)
        spread += side * lots * (fair - paid)
        fees -= Fraction(fee)
        held += side * lots
        before = fair
    if held and before is not None and not math.isnan(meta.mid):
        inventory += held * (worth(meta, meta.mid) - before)
    funding = -sum(
        (Fraction(a.funding) for a in session.accounts if (a.strategy, a.symbol) == (strategy, symbol)),
        Fraction(0),
    )
    return Attribution(spread + inventory + fees + funding, spread, inventory, fees, funding)


def attribution_over_time(session: Session, strategy: str, symbol: str) -> dict[str, np.ndarray]:
    """The parts so far, at each of the session's fills: ``ts``, ``spread``, ``inventory``, ``fees``.

    Args:
        session: Its fills.
        strategy: Whose.
        symbol: In what.
    """
    number = [one.symbol for one in session.instruments].index(symbol)
    meta = session.instruments[number]
    fills = session.fills
    fills = fills[(fills["strategy"] == session.strategies.index(strategy)) & (fills["instrument"] == number)]
    size = meta.contract_size * meta.lot_size
    fair = np.where(np.isnan(fills["mid_price"]), fills["px"], fills["mid_price"])
    if meta.asset == "linear":
        paid, fair = fills["px"] * size, fair * size
    else:
        paid, fair = -size / fills["px"], -size / fair
    signed = fills["qty"] * fills["side"].astype(np.int64)
    moved = np.diff(fair, prepend=fair[:1])
    held = np.cumsum(signed) - signed
    return {
        "ts": fills["local_ts"].copy(),
        "spread": np.cumsum(signed * (fair - paid)),
        "inventory": np.cumsum(held * moved),
        "fees": -np.cumsum(fills["fee"]),
    }


@dataclass(frozen=True)
class Spread:
    """Of some numbers: how many, their mean, weighted by value, and that mean's standard error."""

    count: int
    mean: float
    error: float


def weighted(values: np.ndarray, weights: np.ndarray) -> Spread:
    """The weighted mean of what is no NaN.

    Args:
        values: Perhaps with NaN.
        weights: Not negative.
    """
    known = ~np.isnan(values)
    values, weights = values[known], weights[known]
    total = weights.sum()
    if len(values) == 0 or total <= 0:
        return Spread(0, math.nan, math.nan)
    mean = float((values * weights).sum() / total)
    if len(values) < 2:
        return Spread(len(values), mean, math.nan)
    # Of a ratio of sums, to first order.
    error = float(np.sqrt((weights**2 * (values - mean) ** 2).sum()) / total)
    return Spread(len(values), mean, error * math.sqrt(len(values) / (len(values) - 1)))


def slippage_bps(fills: np.ndarray, sent: np.ndarray, mids: Mids) -> np.ndarray:
    """How much worse than the middle price at sending each fill was, in basis points; negative is better.

    Args:
        fills: Of a session.
        sent: When each one's order was sent first; 0 where that is not known.
        mids: What the market was.
    """
    at = mids.at(fills["instrument"], sent)
    return 1e4 * fills["side"] * (fills["px"] - at) / at


def markouts_bps(fills: np.ndarray, mids: Mids, horizons: tuple[int, ...] = HORIZONS_NS) -> np.ndarray:
    """What each fill had gained by some time after it, in basis points of its price.

    Args:
        fills: Of a session.
        mids: What the market was.
        horizons: Nanoseconds after a fill was learned of.

    Returns:
        An array of fills by horizons; NaN where the session had ended.
    """
    found = np.empty((len(fills), len(horizons)))
    for place, horizon in enumerate(horizons):
        later = mids.at(fills["instrument"], fills["local_ts"] + horizon)
        found[:, place] = 1e4 * fills["side"] * (later - fills["px"]) / fills["px"]
    return found


def values(session: Session, fills: np.ndarray) -> np.ndarray:
    """What each fill was worth, in money."""
    size = np.array([one.contract_size * one.lot_size for one in session.instruments])
    linear = np.array([one.asset == "linear" for one in session.instruments])
    qty = fills["qty"] * size[fills["instrument"]]
    return np.where(linear[fills["instrument"]], qty * fills["px"], qty / fills["px"])
