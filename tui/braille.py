"""A line chart in braille dots, two by four to a cell, as plain text and tones. No Textual.

Cost: O(points + cells) a plot.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
ZERO_CHAR = "┈"
MOST_SHRINKING = 4.0
"""Zero is on the chart unless that would shrink the line by more than this factor."""


class Plot(NamedTuple):
    """A drawn chart: rows of (character, tone), top first, and where the labels of the value axis stand.

    Tones are ``gain``, ``loss``, ``axis`` and empty.
    """

    rows: list[list[tuple[str, str]]]
    labels: dict[int, float]
    step: float


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The value axis's ends: the values with zero where it fits, and never of no extent."""
    low, high = min(values), max(values)
    with_zero = min(low, 0.0), max(high, 0.0)
    extent = high - low
    if extent == 0 or (with_zero[1] - with_zero[0]) <= MOST_SHRINKING * extent:
        low, high = with_zero
    if high - low < 1e-12 * max(1.0, abs(high)):
        pad = abs(high) * 0.01 or 1.0
        low, high = low - pad, high + pad
    return low, high


def nice_step(extent: float, most: int) -> float:
    """The least step of the series 1, 2, 5 times a power of ten that needs at most ``most`` labels."""
    rough = extent / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough * (1 - 1e-9):
            return factor * power
    return 10.0 * power


def plot(times: Sequence[int], values: Sequence[float], width: int, height: int) -> Plot:
    """Draws a series.

    Args:
        times: Nanoseconds, ascending; at least one.
        values: As many, finite.
        width: Cells across, at least 1.
        height: Cells down, at least 1.
    """
    low, high = bounds(values)
    columns, dots = 2 * width, 4 * height
    scale = (dots - 1) / (high - low)
    cells = [[0] * width for _ in range(height)]
    below = [False] * width

    def dot(value: float) -> int:
        return round((high - value) * scale)

    start, span = times[0], max(1, times[-1] - times[0])
    previous, first = dot(values[0]), 0
    for column in range(columns):
        # The column shows every value up to its right edge, joined to where the last one ended.
        last = bisect_right(times, start + span * (column + 1) // columns)
        drawn = [dot(value) for value in values[first:last]]
        first = max(first, last)
        top, bottom = min([previous, *drawn]), max([previous, *drawn])
        if drawn:
            previous = drawn[-1]
        for y in range(top, bottom + 1):
            cells[y // 4][column // 2] |= _DOTS[column % 2][y % 4]
        below[column // 2] = values[max(0, last - 1)] < 0
    zero = dot(0.0) // 4 if low <= 0 <= high else -1
    rows = []
    for y, line in enumerate(cells):
        row = []
        for x, bits in enumerate(line):
            if bits:
                row.append((chr(_BLANK + bits), "loss" if y > zero >= 0 or (y == zero and below[x]) else "gain"))
            else:
                row.append((ZERO_CHAR, "axis") if y == zero else (" ", ""))
        rows.append(row)
    if zero < 0:
        tone = "gain" if low > 0 else "loss"
        rows = [[(char, tone if had else had) for char, had in row] for row in rows]
    step = nice_step(high - low, max(1, height // 2))
    return Plot(rows, _labels(low, high, step, height, dot), step)


def _labels(low: float, high: float, step: float, height: int, dot: object) -> dict[int, float]:
    labels: dict[int, float] = {}
    value = math.ceil(low / step) * step
    while value <= high + step * 1e-9:
        labels.setdefault(dot(value) // 4, 0.0 if abs(value) < step * 1e-9 else value)  # type: ignore[operator]
        value += step
    if low <= 0 <= high:
        labels[dot(0.0) // 4] = 0.0  # type: ignore[operator]
    return {row: label for row, label in labels.items() if 0 <= row < height}
