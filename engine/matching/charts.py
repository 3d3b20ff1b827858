"""Line charts as SVG, several on a page: no more than comparing curves needs, and no library for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 44
COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c")


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes:
        title: Above it.
        x_label: Below it.
        y_label: Beside it.
        curves: Name, x and y of each; points that a logarithmic axis cannot show are left out.
        log_x: Whether the x axis is logarithmic.
        log_y: Whether the y axis is.
        marks: Whether points are marked.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[tuple[str, np.ndarray, np.ndarray]]
    log_x: bool = False
    log_y: bool = False
    marks: bool = False


def page(charts: Sequence[Chart], columns: int = 2) -> str:
    """An SVG document with the charts in rows.

    Args:
        charts: At least one.
        columns: Charts in a row.
    """
    rows = math.ceil(len(charts) / columns)
    width, height = columns * WIDTH, rows * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, chart in enumerate(charts):
        parts.append(f'<g transform="translate({i % columns * WIDTH},{i // columns * HEIGHT})">')
        parts += _chart(chart)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Maps values to pixels."""

    def __init__(self, values: np.ndarray, log: bool, start: float, end: float) -> None:
        self.log = log
        values = values[np.isfinite(values)]
        if log:
            values = values[values > 0]
        low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 10.0)
        if log:
            low, high = math.log10(low), math.log10(high)
        elif low > 0 and low < 0.5 * high:
            low = 0.0
        if high - low < 1e-9 * max(1.0, abs(high)):
            low, high = low - 0.5, high + 0.5
        pad = 0.03 * (high - low)
        self.low, self.high = low - pad, high + pad
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        place = math.log10(value) if self.log else value
        return self.start + (place - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        if self.log:
            first, last = math.ceil(self.low), math.floor(self.high)
            step = max(1, (last - first) // 5)
            whole = [10.0**k for k in range(first, last + 1, step)]
            return whole if len(whole) > 1 else [10.0**self.low * 1.1, 10.0**self.high / 1.1]
        rough = (self.high - self.low) / 5.0
        base = 10.0 ** math.floor(math.log10(rough))
        step = next(base * m for m in (1, 2, 5, 10) if base * m >= rough)
        first = math.ceil(self.low / step)
        return [step * k for k in range(first, math.floor(self.high / step) + 1)]


def _number(value: float) -> str:
    if value != 0 and (abs(value) >= 1e5 or abs(value) < 1e-2):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:g}"


def _chart(chart: Chart) -> list[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    kept = []
    for name, x, y in chart.curves:
        shown = np.isfinite(x) & np.isfinite(y)
        shown &= (x > 0) | (not chart.log_x)
        shown &= (y > 0) | (not chart.log_y)
        kept.append((name, x[shown], y[shown]))
    x_axis = _Axis(np.concatenate([x for _, x, _ in kept]), chart.log_x, _LEFT, right)
    y_axis = _Axis(np.concatenate([y for _, _, y in kept]), chart.log_y, bottom, _TOP)
    parts = [f'<text x="{_LEFT}" y="18" font-size="13" font-weight="bold">{escape(chart.title)}</text>']
    for value in x_axis.ticks():
        at = f"{x_axis(value):.1f}"
        parts.append(f'<path d="M{at} {_TOP}V{bottom}" stroke="#e9ecef"/>')
        parts.append(f'<text x="{at}" y="{bottom + 14}" text-anchor="middle">{_number(value)}</text>')
    for value in y_axis.ticks():
        at = f"{y_axis(value):.1f}"
        parts.append(f'<path d="M{_LEFT} {at}H{right}" stroke="#e9ecef"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{at}" dy="4" text-anchor="end">{_number(value)}</text>')
    parts.append(f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="#495057"/>')
    parts.append(
        f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{escape(chart.x_label)}</text>"
    )
    middle = (_TOP + bottom) / 2
    parts.append(
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{escape(chart.y_label)}</text>"
    )
    for i, (name, x, y) in enumerate(kept):
        colour = COLOURS[i % len(COLOURS)]
        points = [(f"{x_axis(a):.1f}", f"{y_axis(b):.1f}") for a, b in zip(x, y, strict=True)]
        if points:
            line = "L".join(f"{a} {b}" for a, b in points)
            parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        if chart.marks:
            parts += [f'<circle cx="{a}" cy="{b}" r="2.5" fill="{colour}"/>' for a, b in points]
        parts.append(
            f'<text x="{right - 4}" y="{_TOP + 14 + 14 * i}" text-anchor="end" fill="{colour}">'
            f"{escape(name)}</text>"
        )
    return parts
