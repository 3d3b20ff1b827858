"""Latencies: what many of them come to, as a table and as a histogram of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)
BAR = 46


def figures(samples: np.ndarray) -> dict[str, float]:
    """The mean, the quantiles and the extremes of some latencies.

    Args:
        samples: Nanoseconds, at least one.

    Returns:
        ``n``, ``mean``, ``min``, ``p50`` to ``p99.99`` and ``max``. A quantile is a sample that was measured:
        the least with that part of all at or below it.
    """
    values = np.quantile(samples, QUANTILES, method="inverted_cdf")
    named = {f"p{100 * q:g}": float(value) for q, value in zip(QUANTILES, values, strict=True)}
    return {
        "n": len(samples),
        "mean": float(samples.mean()),
        "min": float(samples.min()),
        **named,
        "max": float(samples.max()),
    }


def buckets(samples: np.ndarray, steps: int = 4) -> list[tuple[float, float, int]]:
    """Counts in buckets whose bounds grow by a constant factor, as HDR histograms have them.

    Args:
        samples: Nanoseconds, at least one, none below 1.
        steps: Buckets from a power of two to the next, each as wide as the others of that octave.

    Returns:
        Lower bound, upper bound (not in it) and count, from the first bucket with a sample to the last.
    """
    octave = np.floor(np.log2(samples))
    step = np.minimum(np.floor((samples / 2.0**octave - 1.0) * steps), steps - 1)
    places, counts = np.unique((octave * steps + step).astype(int), return_counts=True)
    found = dict(zip(places.tolist(), counts.tolist(), strict=True))

    def bound(place: int) -> float:
        return 2.0 ** (place // steps) * (1.0 + place % steps / steps)

    return [
        (bound(place), bound(place + 1), found.get(place, 0)) for place in range(places[0], places[-1] + 1)
    ]


def histogram(samples: np.ndarray, steps: int = 4) -> list[str]:
    """A histogram as lines of text: bounds, count, part at or below, and a bar.

    Long gaps without a sample become one line. A bucket with any sample has a bar of at least a dot.

    Args:
        samples: Nanoseconds, at least one, none below 1.
        steps: As :func:`buckets`.
    """
    rows = buckets(samples, steps)
    most, total = max(count for _, _, count in rows), len(samples)
    lines, below, empty = [], 0, 0
    for low, high, count in rows:
        empty = empty + 1 if count == 0 else 0
        if empty > 1:
            continue
        below += count
        bar = "#" * (count * BAR // most) or ("." if count else "")
        text = f"{low:>10,.0f} to {high:>10,.0f} ns {count:>9,} {100 * below / total:>8.3f} %  {bar}"
        lines.append(text.rstrip())
    return lines


def table(rows: Sequence[tuple[str, dict[str, float]]]) -> list[str]:
    """Lines of a table of :func:`figures`.

    Args:
        rows: What was measured, and its figures.
    """
    names = ("n", *(f"p{100 * q:g}" for q in QUANTILES), "max")
    width = max(len(case) for case, _ in rows)
    lines = [f"{'':<{width}} " + "".join(f"{name:>10}" for name in names)]
    for case, found in rows:
        lines.append(f"{case:<{width}} " + "".join(f"{found[name]:>10,.0f}" for name in names))
    return lines
