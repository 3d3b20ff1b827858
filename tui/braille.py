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


class Axis(NamedTuple):
    """The value axis: its ends, the value at labelled rows (top first), and the labels' distance."""

    low: float
    high: float
    labels: dict[int, float]
    step: float


class Plot(NamedTuple):
    """A drawn chart: rows of runs of (characters, tone), top first, and its value axis.

    Tones are ``gain``, ``loss``, ``gain-ground``, ``loss-ground``, ``axis`` and empty.
    """

    rows: list[list[tuple[str, str]]]
    axis: Axis


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


def axis(values: Sequence[float], height: int) -> Axis:
    """The value axis of a chart that is ``height`` cells high, zero labelled where it is on it."""
    low, high = bounds(values)
    step = nice_step(high - low, max(1, height // 2))
    labels: dict[int, float] = {}
    for number in range(math.ceil(low / step), math.floor(high / step + 1e-9) + 1):
        labels.setdefault(_dot(number * step, low, high, height) // 4, number * step)
    if low <= 0 <= high:
        labels[_dot(0.0, low, high, height) // 4] = 0.0
    return Axis(low, high, labels, step)


def _dot(value: float, low: float, high: float, height: int) -> int:
    return round((high - value) * (4 * height - 1) / (high - low))


def plot(times: Sequence[int], values: Sequence[float], width: int, height: int) -> Plot:
    """Draws a series.

    Args:
        times: Nanoseconds, ascending; at least one.
        values: As many, finite.
        width: Cells across, at least 1.
        height: Cells down, at least 1.
    """
    low, high, labels, step = axis(values, height)
    columns, scale = 2 * width, (4 * height - 1) / (high - low)
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
    zero = dot(0.0) // 4 if low <= 0 <= high else None
    return Plot(_paint(cells, below, zero), Axis(low, high, labels, step))


def _paint(cells: list[list[int]], below: list[bool], zero: int | None) -> list[list[tuple[str, str]]]:
    """Gives each cell its character and tone; between the line and zero the ground is tinted."""
    base = zero if zero is not None else -1 if below and all(below) else len(cells)
    line = [[y for y, row in enumerate(cells) if row[x]] for x in range(len(below))]
    tops, bottoms = [min(rows) for rows in line], [max(rows) for rows in line]
    rows = []
    for y, bits in enumerate(cells):
        runs: list[tuple[str, str]] = []
        for x, dots in enumerate(bits):
            if dots:
                char, tone = chr(_BLANK + dots), "loss" if y > base or (y == base and below[x]) else "gain"
            elif y == zero:
                char, tone = ZERO_CHAR, "axis"
            elif bottoms[x] < y < base:
                char, tone = " ", "gain-ground"
            elif base < y < tops[x]:
                char, tone = " ", "loss-ground"
            else:
                char, tone = " ", ""
            if runs and runs[-1][1] == tone:
                runs[-1] = (runs[-1][0] + char, tone)
            else:
                runs.append((char, tone))
        rows.append(runs)
    return rows
