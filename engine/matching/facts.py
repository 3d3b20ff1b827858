"""What markets look like: the stylised facts of a recording, as curves and figures to lay beside another's.

Both are seen alike: changes of levels are gathered over the same interval first, as venues send them, since a
market that reports each change at once would look different for that alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from engine.matching.fit import measured, sampled
from engine.matching.observe import Observation, observe

INTERVAL = 50_000_000
"""Nanoseconds over which changes of levels are gathered; that of Binance's USD-M stream."""
IMPACT_SECONDS = (0.1, 1.0, 10.0)
_DEPTH = 1
_TAIL = 400


@dataclass(frozen=True)
class Curve:
    """Points of a curve.

    Attributes:
        x: Shape ``(n,)``.
        y: Shape ``(n,)``.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Facts:
    """The facts of one market.

    Attributes:
        figures: Numbers by name.
        spread: Share of updates whose spread is more than x ticks.
        depth: Mean lots a tick at x ticks from the best.
        waits: Share of times between market orders that are more than x seconds.
        tails: Share of one-second returns that are more than x standard deviations, either way.
        clusters: Autocorrelation of absolute one-second returns at a lag of x seconds.
        impact: Mean move of the mid price, in ticks and in the order's direction, in the second after a
            market order of x lots.
    """

    figures: dict[str, float]
    spread: Curve
    depth: Curve
    waits: Curve
    tails: Curve
    clusters: Curve
    impact: Curve


def gathered(events: np.ndarray, interval: int = INTERVAL) -> np.ndarray:
    """The same events with changes of levels sent together at the ends of intervals, the last of each level.

    Args:
        events: ``event_dtype`` array, sorted by exchange time.
        interval: In nanoseconds, above 0.
    """
    depth = (events["ev"] & np.uint64(0xFF)) == _DEPTH
    rows = np.flatnonzero(depth)
    window = events["exch_ts"][rows] // interval
    side = (events["ev"][rows] >> np.uint64(29)) & np.uint64(1)
    # The last row of each window, side and price stays.
    order = np.lexsort((rows, events["px"][rows], side, window))
    key = np.empty(len(rows), [("w", "i8"), ("s", "u8"), ("p", "f8")])
    key["w"], key["s"], key["p"] = window[order], side[order], events["px"][rows][order]
    last = np.append(key[1:] != key[:-1], True)[: len(rows)]
    keep = np.zeros(len(events), bool)
    keep[~depth] = True
    keep[rows[order[last]]] = True
    result = events.copy()
    delay = (window + 1) * interval - events["exch_ts"][rows]
    result["exch_ts"][rows] += delay
    result["local_ts"][rows] += delay
    result = result[keep]
    return result[np.argsort(result["exch_ts"], kind="stable")]


def _alike(events: np.ndarray, interval: int) -> np.ndarray:
    """The events gathered, unless they come gathered."""
    times = np.unique(events["exch_ts"][(events["ev"] & np.uint64(0xFF)) == _DEPTH])
    if not interval or len(times) < 2 or np.median(np.diff(times)) > interval / 2:
        return events
    return gathered(events, interval)


def facts(events: np.ndarray, tick_size: float, lot_size: float, interval: int = INTERVAL) -> Facts:
    """Measures a recording.

    Args:
        events: ``event_dtype`` array, sorted by exchange time.
        tick_size: Price of a tick.
        lot_size: Quantity of a lot.
        interval: Changes of levels are gathered over so many nanoseconds; 0 leaves them as they are.

    Raises:
        DataError: It is too short, as :func:`engine.matching.observe.observe` says.
    """
    seen = observe(_alike(events, interval), tick_size, lot_size)
    returns = np.diff(sampled(seen, 1.0))
    waits = np.diff(seen.take_ts) / 1e9
    sizes, moves, samples = _impact(seen, 1.0)
    figures: dict[str, float] = {"seconds": seen.seconds}
    for key, value in measured(seen).items():
        if isinstance(value, float):
            figures[key] = value
        elif key == "sign_autocorrelation":
            figures["sign_autocorrelation_1"] = value[0] if value else 0.0
            figures["sign_autocorrelation_10"] = value[3] if len(value) > 3 else 0.0
    figures["level_changes_per_second"] = len(seen.change_ts) / seen.seconds
    figures["excess_kurtosis_1s"] = _kurtosis(returns)
    figures["excess_kurtosis_10s"] = _kurtosis(np.diff(sampled(seen, 10.0)))
    figures["impact_1s_of_median_order"] = float(np.interp(np.median(seen.take_lots), sizes, moves))
    figures["impact_1s_of_largest_percent"] = float(moves[-1]) if len(moves) else 0.0
    figures["impact_orders"] = float(samples)
    spread = (seen.ask - seen.bid).astype(float)
    return Facts(
        figures=figures,
        spread=_survival(spread),
        depth=_depth(seen),
        waits=_survival(np.maximum(waits, 1e-4)),
        tails=_survival(np.abs(returns - returns.mean()) / max(float(returns.std()), 1e-12)),
        clusters=_clusters(returns),
        impact=Curve(sizes, moves),
    )


def _kurtosis(returns: np.ndarray) -> float:
    if len(returns) < 4 or returns.std() == 0.0:
        return 0.0
    away = returns - returns.mean()
    return float((away**4).mean() / (away**2).mean() ** 2 - 3.0)


def _survival(values: np.ndarray) -> Curve:
    """How much is greater than each value, thinned out where there are many."""
    values = np.sort(values)
    n = len(values)
    if not n:
        return Curve(np.empty(0), np.empty(0))
    greater = 1.0 - np.searchsorted(values, values, "right") / n
    # As many of the common ones as of the rare ones.
    places = np.concatenate((np.linspace(0, n - 1, _TAIL), n - np.geomspace(1, n, _TAIL)))
    pick = np.unique(places.astype(int))
    pick = pick[greater[pick] > 0]
    x, first = np.unique(values[pick], return_index=True)
    return Curve(x, greater[pick][first])


def _depth(seen: Observation) -> Curve:
    """Mean lots a tick in bins of distance that widen."""
    edges = np.unique(np.concatenate((np.arange(8), np.geomspace(8, len(seen.resting), 24)))).astype(int)
    edges = np.unique(edges)
    x = (edges[:-1] + edges[1:] - 1) / 2.0
    y = np.array([seen.resting[a:b].mean() for a, b in pairwise(edges)])
    return Curve(x + 1.0, np.maximum(y, 1e-3))


def _clusters(returns: np.ndarray) -> Curve:
    lags = np.arange(1, min(31, len(returns) // 4))
    size = np.abs(returns) - np.abs(returns).mean()
    power = float((size**2).mean())
    if not len(lags) or power == 0.0:
        return Curve(np.empty(0), np.empty(0))
    return Curve(lags.astype(float), np.array([float((size[:-k] * size[k:]).mean()) / power for k in lags]))


def _impact(seen: Observation, seconds: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Sizes of market orders, mean moves after them, and how many orders that is."""
    before = np.searchsorted(seen.batch_ts, seen.take_ts, "left") - 1
    after = np.searchsorted(seen.batch_ts, seen.take_ts + int(seconds * 1e9), "right") - 1
    use = (before >= 0) & (seen.take_ts + int(seconds * 1e9) <= seen.batch_ts[-1])
    if np.count_nonzero(use) < 100:
        return np.array([1.0]), np.array([0.0]), int(np.count_nonzero(use))
    move = (seen.mid[after] - seen.mid[before])[use] * seen.take_side[use]
    lots = seen.take_lots[use]
    edges = np.quantile(lots, [0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0])
    sizes, moves = [], []
    for low, high in pairwise(edges):
        inside = (lots >= low) & ((lots < high) | (high == edges[-1]))
        if inside.any():
            sizes.append(math.exp(float(np.log(lots[inside]).mean())))
            moves.append(float(move[inside].mean()))
    order = np.argsort(sizes)
    return np.array(sizes)[order], np.array(moves)[order], int(np.count_nonzero(use))
