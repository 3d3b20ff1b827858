"""Fits a market law to a recording: what `observe.py` saw, as rates and distributions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from engine._version import __version__
from engine.matching import hawkes
from engine.matching.calibrate import calibrated
from engine.matching.laws import PROBABILITIES, Agents, Crowd, Fair, Feed, Law, Market, Takers
from engine.matching.observe import Observation

EDGES = (
    0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
)  # fmt: skip
"""Bins of distance, in ticks."""
FAR_FROM = 96
HAWKES_EVENTS = 100_000
"""More market orders than these are fitted by the first of them."""
ASSUMED = (
    "fair.jumps and fair.moves as those of the mid price; fair.activity, fair.news and fair.news_ticks, "
    "which need days of data; agents, whose numbers no recording by price tells apart from the crowd"
)


def fit(seen: Observation, *, name: str, source: str) -> Law:
    """Fits a law, and scales it until its market has as many market orders as the recording.

    Args:
        seen: A recording, observed.
        name: Of the law.
        source: What was observed, for the provenance.

    Returns:
        The law; it does not depend on any seed.

    Raises:
        DataError: There are too few market orders, or too few placements for the sizes of orders.
    """
    start = float(np.median(seen.mid)) * seen.tick_size
    figures = measured(seen)
    law = Law(
        name=name,
        market=Market(seen.tick_size, seen.lot_size, round(start / seen.tick_size) * seen.tick_size),
        crowd=fit_crowd(seen),
        takers=fit_takers(seen),
        fair=fit_fair(seen),
        agents=Agents(),
        feed=Feed(_quantiles(np.maximum(seen.latency, 0), 1.0, 0.0)),
        provenance={
            "source": source,
            "fitted_by": f"ringbook {__version__}",
            "seconds": round(seen.seconds, 3),
            "book_updates": len(seen.batch_ts),
            "level_changes": len(seen.change_ts),
            "market_orders": len(seen.take_ts),
            "inferred": "placements and cancellations are net changes of levels between two book updates",
            "assumed": ASSUMED,
        },
        measured=figures,
    )
    law, factor = calibrated(law, len(seen.take_ts) / seen.seconds)
    law.provenance["excitation"] = (
        f"times {factor:.5g}, which makes a simulated market as many market orders as the recording has"
    )
    return law


def _round(value: float) -> float:
    """Five significant digits: what follows is noise, and the file is for reading."""
    return float(f"{value:.5g}")


def _quantiles(values: np.ndarray, unit: float, least: float) -> tuple[float, ...]:
    """At the law's probabilities, never falling."""
    found = np.maximum(np.quantile(values, PROBABILITIES) / unit, least)
    return tuple(float(x) for x in np.maximum.accumulate([_round(x) for x in found]))


def fit_crowd(seen: Observation) -> Crowd:
    """Rates of placement, cancellation by resting quantity, and sizes, by distance."""
    edges = np.array(EDGES)
    which = np.digitize(seen.change_distance, edges) - 1
    placed = seen.change_lots > 0
    cancelled = ~placed & ~seen.change_passed
    bins = len(edges) - 1
    rate = np.bincount(which[placed], minlength=bins)[:bins] / seen.seconds
    lost = np.bincount(which[cancelled], -seen.change_lots[cancelled], bins)[:bins] / seen.seconds
    resting = 2.0 * np.array([seen.resting[a:b].sum() for a, b in pairwise(EDGES)])
    # A bin that nobody was seen to leave keeps its orders for an hour on average.
    hazard = np.where(resting > 0, lost / np.maximum(resting, 1e-9), 0.0)
    hazard = np.clip(hazard, 1.0 / 3600.0, 1000.0)
    gained = np.bincount(which[placed], seen.change_lots[placed], bins)[:bins] / seen.seconds
    mean = np.maximum(gained / np.maximum(rate, 1e-9), 1.0)
    lots, distance = seen.change_lots[placed], seen.change_distance[placed]
    sizes = [
        _quantiles(part if len(part) else np.ones(1), 1.0, 1.0)
        for part in (
            lots[distance == 0],
            lots[(distance > 0) & (distance < FAR_FROM)],
            lots[distance >= FAR_FROM],
        )
    ]
    return Crowd(
        edges=tuple(map(float, EDGES)),
        placed=tuple(_round(max(x, 1e-4 if i == 0 else 0.0)) for i, x in enumerate(rate)),
        cancelled=tuple(map(_round, hazard)),
        mean_lots=tuple(map(_round, mean)),
        touch=sizes[0],
        near=sizes[1],
        far=sizes[2],
        far_from=FAR_FROM,
    )


def fit_takers(seen: Observation) -> Takers:
    """The Hawkes process of market orders, and the sizes of those that the best was enough for."""
    n = min(len(seen.take_ts), HAWKES_EVENTS)
    seconds = (seen.take_ts[:n] - seen.take_ts[0]) / 1e9 if n else np.empty(0)
    process = hawkes.fit(seconds, seen.take_side[:n])
    # Clusters of clusters of an explosive fit would never end.
    shrink = min(1.0, 0.9 / process.branching)
    return Takers(
        base=_round(process.base),
        decay=tuple(map(_round, process.decay)),
        self_excite=tuple(_round(shrink * x) for x in process.self_excite),
        cross_excite=tuple(_round(shrink * x) for x in process.cross_excite),
        lots=_quantiles(seen.take_lots[seen.take_sweep == 0], 1.0, 1.0),
    )


def fit_fair(seen: Observation) -> Fair:
    """The volatility of the fair value: that of the mid price over the longest horizon with 60 returns."""
    mid = seen.mid
    moves = np.diff(mid)
    horizon = min(60.0, max(1.0, seen.seconds / 60.0))
    volatility = math.sqrt(float(np.var(np.diff(sampled(seen, horizon)))) / horizon)
    moved = np.flatnonzero(moves)
    jumps = max(len(moved) / seen.seconds, 1e-3)
    later = np.searchsorted(seen.batch_ts, seen.batch_ts[moved + 1] + 1_000_000_000, "right") - 1
    size = moves[moved]
    kept = (mid[later] - mid[moved]) * np.sign(size) > 0.5 * np.abs(size)
    follow = float(kept.mean()) if len(kept) else 0.5
    moving = moves != 0
    rate = float(moving.mean())
    next_too = float(moving[1:][moving[:-1]].mean()) if moving[:-1].any() else 0.0
    persistence = _correlation(np.sign(size[:-1]), np.sign(size[1:]))
    return Fair(
        volatility=_round(volatility),
        jumps=_round(jumps),
        moves=_quantiles(np.abs(size) if len(size) else np.ones(1), 1.0, 0.5),
        again=_round(min(max((next_too - rate) / max(1.0 - rate, 1e-9), 0.0), 0.9)),
        along=_round(0.5 + 0.5 * persistence),
        follow=_round(follow),
    )


def sampled(seen: Observation, seconds: float) -> np.ndarray:
    """Mid prices in ticks on a grid of time, each the last one before it."""
    step = round(seconds * 1e9)
    grid = np.arange(seen.batch_ts[0], seen.batch_ts[-1], step)
    return seen.mid[np.searchsorted(seen.batch_ts, grid, "right") - 1]


def measured(seen: Observation) -> dict[str, float | list[float]]:
    """Figures to compare markets by, which a law is not made by."""
    spread = seen.ask - seen.bid
    side = seen.take_side.astype(float)
    lags = [lag for lag in (1, 2, 5, 10, 20, 50, 100) if lag < len(side) // 4]
    through = seen.passed_traded / seen.passed_lots if seen.passed_lots else 0.0
    result: dict[str, float | list[float]] = {
        "spread_one_tick": float((spread == 1).mean()),
        "spread_mean_ticks": float(spread.mean()),
        "best_lots_mean": float((seen.bid_lots.mean() + seen.ask_lots.mean()) / 2.0),
        "mid_moves_per_second": float(np.count_nonzero(np.diff(seen.mid)) / seen.seconds),
        "passed_levels_traded": through,
        "market_orders_per_second": len(side) / seen.seconds,
        "sign_autocorrelation_lags": [float(lag) for lag in lags],
        "sign_autocorrelation": [_correlation(side[:-lag], side[lag:]) for lag in lags],
    }
    for seconds in (0.1, 1.0, 10.0):
        mid = sampled(seen, seconds)
        if len(mid) > 10:
            key = f"volatility_{seconds:g}s".replace(".", "_")
            result[key] = math.sqrt(float(np.var(np.diff(mid))) / seconds)
    return {
        key: _round(value) if isinstance(value, float) else [_round(x) for x in value]
        for key, value in result.items()
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2 or a.std() == 0.0 or b.std() == 0.0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
